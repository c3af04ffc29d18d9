//! The page of designs, made of their list and of the drawings in their files.

use std::fmt::Write as _;

use deadweight::designs::{ALL, Design, Parameter};

use crate::docs::{assert_current, blocks};

const HEAD: &str = "\
# Designs

What finite hardware reaches on the operands of a run. A potential ([metrics.md](metrics.md)) is what an idea is worth if no lane ever
waits; a design has so many lanes, which wait for one another, run empty where a layer does not fill them, or take a cycle for operands
that need none. Each design is a model of its tiles, fed with the real operands of every layer while the network runs. Its cycles are
integers, checked against slow loops, and what lies between them and the ideal has names.

```sh
deadweight designs resnet-50 photos/ --limit 8
deadweight designs resnet-50 photos/ --design pragmatic,tactical-e --by-layer
deadweight designs resnet-50 photos/ --design-config mine.toml      # other parameters
deadweight designs resnet-50 photos/ -o run.dwm                     # exact counts, which merge; any format of them later
deadweight designs run.dwm --design scnn --format csv -o scnn.csv
deadweight designs resnet-50 photos/ --precision resnet-50.toml     # in the bits that `precision` found: what Stripes and Loom are for
deadweight designs resnet-50 photos/ --bandwidth 25.6 --buffer 1024 --traffic shapeshifter   # a roofline
deadweight explain tactical-e                                       # what a design is, and its parameters
```

| column | meaning |
|---|---|
| `reached` | dense work of all bits over the work that the lanes could have done in the design's cycles: compares with a potential, whatever the size of the design |
| `potential` | the same if no lane ever waited: that of the metric under `idea`, where there is one |
| `work` | share of lane-cycles that do what the idea leaves to do |
| `floor` | lanes that take a cycle for operands that need none, because nothing takes no time |
| `shape` | lanes without an operand: channels, filters or windows that do not fill the design |
| `waits` | lanes that wait for the slowest of those that they move on with |
| `cycles` | over all inputs |
| `ms/input`, `by traffic` | with `--bandwidth`: each layer takes the longer of its cycles (at `--frequency`) and of its bits (in the code of `--traffic`, read again where two operands do not fit into `--buffer`); and the share of the time that bits decide |

## How layers are laid out

Products are walked tap by tap in *bricks* of 16 channels of a group. Windows are pixels of the output, or of the input of a transposed
convolution, which multiplies each by all filters at all taps; steps of a sequence; one of a fully connected layer. A step of a recurrence
begins when the one before it has ended. Where there is one window at a time, of a recurrence or a fully connected layer, each column of
windows is given filters of its own, as if it were a tile, and columns load their weights in turn (as in the simulator of the authors of
Bit-Tactical); not so in a tensor core. Filters are cut into sets of as many as a tile has;
as many sets as there are tiles run side by side, of several groups where a layer has groups, and the next begin when all are done.
Products of two activations (attention) are not mapped: no design here was published for them; how much of the network they are is
printed. Memory is that of a layer's bricks, for each input that is being run: 86 bytes for 16 channels at one place, however few of
them the layer has, and of all layers the weights' bricks (22 bytes) and the places of windows (4 bytes a window and tap).

With `--sample F%` designs whose time depends on activations run a part of the windows, drawn in blocks that they read side by side; what
is left behind the last full block always runs. The error beside the cycles is the standard error that two halves of the sample
give: rough for one layer, good for a network of many. Windows that run ahead (Pragmatic's registers) end with each half once more,
which makes small layers look a little slower. SCNN, and designs whose time depends on no activation, run whole.

A file of parameters has a table for each design and a whole number for each parameter:

```toml
[pragmatic]
first_stage = 4
registers = 0

[loom]
filters = 256
```
";

/// The drawing in the file of `design`.
fn drawing(design: &Design) -> &'static str {
    macro_rules! file {
        ($name:literal) => {
            include_str!(concat!("../../src/designs/", $name, ".rs"))
        };
    }
    let file = match design.name {
        "dense" => file!("dense"),
        "cnvlutin" => file!("cnvlutin"),
        "scnn" => file!("scnn"),
        "stripes" => file!("stripes"),
        "shapeshifter" => file!("shapeshifter"),
        "loom" => file!("loom"),
        "bit-fusion" => file!("bit_fusion"),
        "pragmatic" => file!("pragmatic"),
        "laconic" => file!("laconic"),
        "tactical-p" | "tactical-e" => file!("tactical"),
        "bit-wave" => file!("bit_wave"),
        "tensor-core-2:4" => file!("tensor_core"),
        "systolic" | "systolic-gated" => file!("systolic"),
        other => panic!("{other} has no file"),
    };
    let plain = file
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!'])));
    let plain: String = plain.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    blocks(plain.leak(), "text").first().copied().expect("a design has a drawing")
}

#[test]
fn docs_are_current() {
    let mut page = HEAD.to_owned();
    for design in ALL {
        let Design { name, definition, waits, source, potential, parameters, .. } = design;
        let _ = write!(page, "\n## {name}\n\n{}{}.", definition[..1].to_uppercase(), &definition[1..]);
        if let Some(potential) = potential {
            let _ = write!(page, " Its ideal is the potential `{potential}`.");
        }
        let _ = write!(page, "\n\n```text\n{}```\n\nWaits: {waits}. Source: {source}.\n\n", drawing(design));
        page += "| parameter | default | range | meaning |\n|---|---|---|---|\n";
        for Parameter { name, default, range, meaning } in *parameters {
            let _ = writeln!(page, "| `{name}` | {default} | {} to {} | {meaning} |", range.start(), range.end());
        }
    }
    assert_current("designs.md", &page);
}
