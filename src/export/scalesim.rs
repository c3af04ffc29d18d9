//! SCALE-Sim: topologies, rows of convolutions in one and of matrix products in the other, with the N:M sparsity of weights.

use std::fmt::Write as _;

use super::layer::Loops;
use super::names::unique;
use super::{Form, Run, Target, Written};
use crate::Result;
use crate::measurement::LayerCounts;
use crate::tally::Extra;

pub(super) const TARGET: Target = Target {
    name: "scalesim",
    tool: "SCALE-Sim",
    writes: "a folder: `conv.csv` (topology), `gemm.csv` (for `-i gemm`), `sparsity.cfg` (a section of the configuration)",
    takes: "extents and strides, padding added to the inputs; `Sparsity` 2:4 or 4:8 where every block of weights has that, else 1:1",
    leaves: "groups but depthwise, dilations, strides that differ, transposed convolutions, recurrent layers, products of two activations",
    source: "`topology_utils.py`, `scale_config.py` of scalesim 3.0.0",
    form: Form::Folder(write),
};

/// How many aligned blocks of a layer's weights there are along its channels, and how many have few non-zeros: of 4, then of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks([u64; 4]);

impl Blocks {
    /// N and M, if every block of M has at most N non-zeros.
    pub fn fits(self) -> Option<[u64; 2]> {
        let [of_4, few_4, of_8, few_8] = self.0;
        [([2, 4], of_4, few_4), ([4, 8], of_8, few_8)]
            .into_iter()
            .find_map(|(nm, all, few)| (all > 0 && all == few).then_some(nm))
    }
}

/// Those of `counts`; none where they were not counted, and where channels do not fill whole blocks.
pub(super) fn blocks(counts: &LayerCounts) -> Option<Blocks> {
    let channels = counts.tally.shape.weight[1];
    let [of_4, few_4, of_8, few_8] = counts.tally.weights.extra.get(Extra::Blocks)?.try_into().ok()?;
    let whole = |size: usize, count: u64| if channels.is_multiple_of(size) { count } else { 0 };
    Some(Blocks([whole(4, of_4), few_4, whole(8, of_8), few_8]))
}

/// A row, and whether it is of a matrix product.
enum Row {
    Conv(String),
    Gemm(String),
}

fn write(run: &Run<'_>) -> Result<Written> {
    // A name with DP in it is read as that of a depthwise convolution.
    let names = unique(run.measurement.layers.iter().map(|counts| counts.name.as_str()), "_");
    let names: Vec<String> = names.into_iter().map(|name| name.replace("DP", "Dp")).collect();
    let names = unique(names.iter().map(String::as_str), "_");
    let (made, left_out) = run.each(row);
    let mut conv = String::from(
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides, Sparsity,\n",
    );
    let mut gemm = String::from("Layer, M, N, K, Sparsity,\n");
    let of = |text: &mut String, line: &str| text.push_str(line);
    for (index, row) in &made {
        match row {
            Row::Conv(rest) => of(&mut conv, &rest.replace('@', &names[*index])),
            Row::Gemm(rest) => of(&mut gemm, &rest.replace('@', &names[*index])),
        }
    }
    let counted = run.measurement.layers.iter().any(|counts| blocks(counts).is_some());
    let layers = made.iter().map(|(index, _)| &run.measurement.layers[*index]);
    let fitting: Vec<[u64; 2]> = layers.filter_map(|counts| blocks(counts)?.fits()).collect();
    let mut notes = vec![
        "IFMAP extents hold the padding, as far as windows read it; a depthwise convolution's name begins with DP_"
            .into(),
        "a row of gemm.csv multiplies M steps of K features by N filters".into(),
    ];
    if !counted {
        notes.push(
            "N:M of weights was not counted (`measure --metrics nm` counts it): Sparsity is 1:1 everywhere".into(),
        );
    }
    let files = [("conv.csv", conv), ("gemm.csv", gemm), ("sparsity.cfg", section(&fitting))];
    let files = files.map(|(name, text)| (name.to_owned(), text.into_bytes())).into();
    Ok(Written { files, left_out, notes })
}

/// The row of a layer, `@` for its name.
fn row(counts: &LayerCounts) -> Result<Row, String> {
    let loops = Loops::of(counts)?.not_transposed()?.not_dilated()?.one_stride()?;
    let [n, m] = blocks(counts).and_then(Blocks::fits).unwrap_or([1, 1]);
    let Loops { groups, filters, channels, kernel: [r, s], windows: [steps, _], .. } = loops;
    if loops.linear {
        return Ok(Row::Gemm(format!("@, {steps}, {filters}, {channels}, {n}:{m},\n")));
    }
    let (name, channels) = match loops.is_depthwise() {
        true => ("DP_@", groups),
        false => ("@", loops.not_grouped()?.channels),
    };
    let ([h, w], stride) = (loops.read(), loops.stride_of_both());
    Ok(Row::Conv(format!("{name}, {h}, {w}, {r}, {s}, {channels}, {filters}, {stride}, {n}:{m},\n")))
}

/// The section `[sparsity]` for layers of which some have these N:M.
fn section(fitting: &[[u64; 2]]) -> String {
    let largest = fitting.iter().map(|[_, m]| *m).max();
    let mut text = String::from("[sparsity]\n");
    let lines = [
        ("SparsitySupport", if largest.is_some() { "true".to_owned() } else { "false".into() }),
        ("SparseRep", "ellpack_block".into()),
        ("OptimizedMapping", "false".into()),
        ("BlockSize", largest.unwrap_or(4).to_string()),
        ("RandomNumberGeneratorSeed", "40".into()),
    ];
    for (key, value) in lines {
        writeln!(text, "{key} = {value}").expect("a string takes what is written to it");
    }
    text
}
