//! Exports: every target on a network of every kind of layer, by hand; the tools' own parsers read them in `exports/test_exports.py`.

mod codes;
mod crafted;
mod histograms;
mod loops;
mod program;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use deadweight::Result;
use deadweight::engine::{Backend, EngineOptions};
use deadweight::export::{Arrays, Dtype, LeftOut, Run, TARGETS, Written, target};
use deadweight::graph::{Params, Scope};
use deadweight::input::Dataset;
use deadweight::kernels::{Activation, Halo};
use deadweight::layers::{Conv, ConvTranspose, Padding, Shape};
use deadweight::measure::{Quiet, Settings, calibrate_and_measure};
use deadweight::measurement::Measurement;
use deadweight::model::Model;
use deadweight::tally::Extra;
use deadweight::tally::Statistics;
use deadweight::weights::Weights;

use crate::docs::assert_current;
use crate::hf;

/// Weights by name: every channel past the second of four is zero in `stem`.
fn weights() -> Params {
    let shapes = [
        ("stem", vec![16, 8, 3, 3]),
        ("dilated", vec![8, 16, 3, 3]),
        ("grouped", vec![12, 2, 3, 3]),
        ("dw", vec![12, 1, 3, 3]),
        ("tall", vec![6, 12, 3, 1]),
        ("up", vec![6, 5, 2, 2]),
        ("fc/head", vec![7, 200]),
    ];
    let value = |i: usize| (i * 37 % 101) as f32 / 50.0 - 0.99;
    let tensor = |(name, shape): (&str, Vec<usize>)| {
        let count = shape.iter().product();
        let is_cut = |i: usize| name == "stem" && i / 9 % 4 >= 2;
        let values = (0..count).map(|i| if is_cut(i) { 0.0 } else { value(i) }).collect();
        (format!("{name}.weight"), shape, values)
    };
    Params::Stored(Weights::from_tensors("all", shapes.map(tensor)).unwrap())
}

/// A network of every kind of layer that images meet.
fn network() -> Model {
    let net = Scope::new(weights());
    let around = |p: usize, q: usize| Padding::Explicit(Halo { top: p, bottom: p, left: q, right: q });
    let x = net.input(8);
    let x = net.at("stem").conv(x, Conv::new(16, 3).padding(1));
    let x = net.activation(x, Activation::Relu);
    let x = net.at("dilated").conv(x, Conv { dilation: (2, 3), ..Conv::new(8, 3).pad(around(2, 3)) });
    let x = net.at("grouped").conv(x, Conv::new(12, 3).stride(2).padding(1).groups(4));
    let x = net.activation(x, Activation::Relu);
    let x = net.at("dw").conv(x, Conv::new(12, 3).padding(1).groups(12));
    let x = net.at("tall").conv(x, Conv { kernel: (3, 1), stride: (2, 1), ..Conv::new(6, 3) });
    let x = net.at("up").conv_transpose(x, ConvTranspose::new(5, 2, 2));
    let x = net.at("fc/head").linear(x, 7, 40);
    Model::of_graph("all/kinds", net.finish(x).unwrap().0, Shape::new(8, 12, 10)).unwrap()
}

fn native() -> Backend {
    Backend::Native(EngineOptions::new(2))
}

fn inputs(model: &Model) -> Dataset {
    Dataset::random_numbers(&[], 3, 5, &model.preprocess)
}

/// Settings under which everything is counted.
fn full() -> Settings {
    Settings { statistics: Statistics::Full, ..Settings::default() }
}

fn counting() -> Settings {
    Settings { extra: vec![Extra::Traffic, Extra::Blocks, Extra::Outputs], ..full() }
}

fn measured(settings: &Settings) -> Measurement {
    let model = network();
    calibrate_and_measure(&model, &native(), &inputs(&model), settings, &Quiet).unwrap().1
}

/// A network of attention, whose projections are linear.
fn attention() -> Measurement {
    let model = hf::stored()["llama"].load(1).unwrap();
    let data = Dataset::random_tokens(60, 2, 4, &model.preprocess);
    calibrate_and_measure(&model, &native(), &data, &full(), &Quiet).unwrap().1
}

fn written(name: &str, measurement: &Measurement) -> Result<Written> {
    target(name).unwrap().write(&Run { measurement, file: "run.dwm" })
}

/// Files by name, as text.
fn files(written: &Written) -> BTreeMap<&str, &str> {
    written.files.iter().map(|(name, bytes)| (name.as_str(), std::str::from_utf8(bytes).unwrap())).collect()
}

/// The only file, without its comments.
fn body(written: &Written) -> String {
    let lines = std::str::from_utf8(&written.files[0].1).unwrap().lines();
    let is_comment = |line: &str| line.starts_with('#') || line.starts_with("//") || line.is_empty();
    lines.filter(|line| !is_comment(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn each_target_leaves_out_what_it_cannot_express_and_says_why() {
    let all = measured(&counting());
    let attention = attention();
    for target in TARGETS {
        let left = |measurement: &Measurement| -> Vec<String> {
            let run = Run { measurement, file: "run.dwm" };
            let written = match target.name {
                "npy" => Arrays::new(run, Dtype::Int).unwrap().finish(3),
                name => written(name, measurement).unwrap(),
            };
            // Notes say it too.
            let (_, notes) = written.files.iter().find(|(name, _)| name.is_empty() || name == "notes.txt").unwrap();
            let notes = std::str::from_utf8(notes).unwrap();
            written.left_out.iter().for_each(|left| assert!(notes.contains(&left.to_string()), "{notes}"));
            written.left_out.iter().map(LeftOut::to_string).collect()
        };
        let transposed = "up: it is a transposed convolution";
        let (dilated, tall) = ("dilated: it is dilated, 2x3", "tall: its strides differ, 2x1");
        let want: Vec<&str> = match target.name {
            "timeloop" | "sparseloop" | "cimloop" | "zigzag" | "stonne" => vec![transposed],
            "scalesim" => vec![dilated, "grouped: it has 4 groups", tall, transposed],
            "maestro" => vec![dilated],
            _ => vec![],
        };
        assert_eq!(left(&all), want, "{}", target.name);
        let of_attention = left(&attention);
        assert_eq!(of_attention.len(), 2 * 2, "{}: {of_attention:?}", target.name);
        assert!(of_attention.iter().all(|why| why.contains("attention.") && why.contains("two activations")));
    }
}

#[test]
fn problems_of_a_dilated_and_of_a_grouped_layer_are_those_made_by_hand() {
    let measurement = measured(&counting());
    let written = written("timeloop", &measurement).unwrap();
    let files = files(&written);
    let names: Vec<&str> = files.keys().copied().collect();
    let want =
        ["00_stem", "01_dilated", "02_grouped", "03_dw", "04_tall", "06_fc_head"].map(|name| format!("{name}.yaml"));
    assert_eq!(names, [&want.each_ref().map(String::as_str)[..], &["notes.txt"]].concat());
    let shape = "
    dimensions: [N, C, M, G, P, Q, R, S]
    coefficients:
      - {name: Wstride, default: 1}
      - {name: Hstride, default: 1}
      - {name: Wdilation, default: 1}
      - {name: Hdilation, default: 1}
    data_spaces:
      - name: Weights
        projection:
          - [[G]]
          - [[C]]
          - [[M]]
          - [[R]]
          - [[S]]
      - name: Inputs
        projection:
          - [[N]]
          - [[G]]
          - [[C]]
          - [[R, Wdilation], [P, Wstride]]
          - [[S, Hdilation], [Q, Hstride]]
      - name: Outputs
        projection:
          - [[N]]
          - [[G]]
          - [[M]]
          - [[P]]
          - [[Q]]
        read_write: true
";
    let by_hand = |first: &str, name: &str, extents: [usize; 8], coefficients: [usize; 4]| {
        let mut text = format!("{first}problem:\n  version: 0.4\n  shape:\n    name: \"{name}\"{shape}  instance:\n");
        let lines = ["N", "C", "M", "G", "P", "Q", "R", "S"].into_iter().zip(extents);
        let coefficients = ["Wstride", "Hstride", "Wdilation", "Hdilation"].into_iter().zip(coefficients);
        lines.chain(coefficients).for_each(|(name, value)| writeln!(text, "    {name}: {value}").unwrap());
        text
    };
    // 12x10 pixels behind padding of 2 rows and 3 columns: as many windows.
    let first = "# layer dilated (conv): 8 filters of 16x3x3, 1 groups, 12x10 windows\n";
    assert_eq!(files["01_dilated.yaml"], by_hand(first, "dilated", [1, 16, 8, 1, 12, 10, 3, 3], [1, 1, 2, 3]));
    // 4 groups of 2 channels and 3 filters; stride 2 makes 6x5 windows of 12x10.
    let first = "# layer grouped (conv): 12 filters of 2x3x3, 4 groups, 6x5 windows\n";
    assert_eq!(files["02_grouped.yaml"], by_hand(first, "grouped", [1, 2, 3, 4, 6, 5, 3, 3], [2, 2, 1, 1]));
    let first = "# layer tall (conv): 6 filters of 12x3x1, 1 groups, 2x5 windows\n";
    assert_eq!(files["04_tall.yaml"], by_hand(first, "tall", [1, 12, 6, 1, 2, 5, 3, 1], [2, 1, 1, 1]));
    let first = "# layer fc/head (linear): 7 filters of 200x1x1, 1 groups, 1x1 windows\n";
    assert_eq!(files["06_fc_head.yaml"], by_hand(first, "fc/head", [1, 200, 7, 1, 1, 1, 1, 1], [1, 1, 1, 1]));
}

#[test]
fn densities_are_the_exact_ratios_of_the_measurement() {
    let measurement = measured(&counting());
    let written = written("sparseloop", &measurement).unwrap();
    for (name, file) in files(&written).into_iter().filter(|(name, _)| *name != "notes.txt") {
        let layer =
            measurement.layers.iter().find(|layer| file.contains(&format!("name: \"{}\"", layer.name))).unwrap();
        let tally = &layer.tally;
        let outputs = tally.outputs.as_ref().unwrap();
        let want = [
            ("Weights", &tally.weights.filter_nonzeros, &tally.weights.values),
            ("Outputs", &outputs.channel_nonzeros, &outputs.values),
        ];
        for (space, nonzeros, values) in want {
            let nonzeros: u64 = nonzeros.iter().sum();
            let line = file.lines().find(|line| line.starts_with(&format!("      {space}: "))).unwrap();
            let density: f64 = line.split("density: ").nth(1).unwrap().split('}').next().unwrap().parse().unwrap();
            assert_eq!(density, nonzeros as f64 / values.elements as f64, "{name} {space}");
            assert!(line.ends_with(&format!("# {nonzeros} of {}", values.elements)), "{line}");
            let structured = space == "Weights" && layer.name == "stem";
            assert_eq!(line.contains("fixed_structured"), structured, "{name}: {line}");
        }
    }
    // What was not counted is left out, and said.
    let plain = measured(&full());
    let written = self::written("sparseloop", &plain).unwrap();
    assert!(files(&written).values().all(|file| !file.contains("      Outputs: ")));
    assert!(files(&written)["notes.txt"].contains("outputs have no density where they were not counted"));
}

#[test]
fn other_targets_have_the_rows_made_by_hand() {
    let measurement = measured(&counting());
    let written = |name: &str| written(name, &measurement).unwrap();
    let scalesim = written("scalesim");
    let tables = files(&scalesim);
    // 12x10 behind padding of 1; 12 channels of 6x5, each read by a filter of its own.
    let want = [
        "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides, Sparsity,",
        "stem, 14, 12, 3, 3, 8, 16, 1, 2:4,",
        "DP_dw, 8, 7, 3, 3, 12, 1, 1, 1:1,",
    ];
    assert_eq!(tables["conv.csv"].lines().collect::<Vec<_>>(), want);
    assert_eq!(tables["gemm.csv"], "Layer, M, N, K, Sparsity,\nfc_head, 1, 7, 200, 1:1,\n");
    let section =
        "[sparsity]\nSparsitySupport = true\nSparseRep = ellpack_block\nOptimizedMapping = false\nBlockSize = 4\n";
    assert!(tables["sparsity.cfg"].starts_with(section), "{}", tables["sparsity.cfg"]);
    // A layer that is left out has no say in it.
    let mut without = measurement.clone();
    without.layers[0].tally.shape.dilation = [2, 1];
    let written_without = self::written("scalesim", &without).unwrap();
    assert!(files(&written_without)["sparsity.cfg"].contains("SparsitySupport = false"));
    // Without the counts of blocks there is no N:M, and it is said.
    let plain = self::written("scalesim", &measured(&full())).unwrap();
    assert!(files(&plain)["conv.csv"].contains("stem, 14, 12, 3, 3, 8, 16, 1, 1:1,"));
    assert!(files(&plain)["notes.txt"].contains("measure --metrics nm"));

    let percents = loops::percents(&measurement);
    let gemm = |name: &str, layer: &str, [m, n, k]: [usize; 3]| {
        let [mk, kn] = percents[layer];
        format!(
            "\"$STONNE\" -SparseGEMM $SPARSE -layer_name={name} -M={m} -N={n} -K={k} -MK_sparsity={mk} -KN_sparsity={kn}"
        )
    };
    let conv = |name: &str, of: &str| {
        format!(
            "\"$STONNE\" -CONV $CONV -layer_name={name} -R=3 -S=3 {of} -N=1 {} -generate_tile=performance",
            if name == "dw" { "-X=8 -Y=7 -strides=1" } else { "-X=13 -Y=11 -strides=2" }
        )
    };
    let script = body(&written("stonne"));
    let lines: Vec<&str> = script.lines().filter(|line| line.starts_with('"')).collect();
    let want = [
        gemm("stem", "stem", [16, 120, 72]),
        gemm("dilated", "dilated", [8, 120, 144]),
        conv("grouped", "-C=8 -K=12 -G=4"),
        conv("dw", "-C=12 -K=12 -G=12"),
        gemm("tall", "tall", [6, 10, 36]),
        gemm("fc_head", "fc/head", [7, 1, 200]),
    ];
    assert_eq!(lines, want);
    assert_eq!(percents["stem"][0], 50);

    let text = body(&written("maestro"));
    let layer = |name: &str, kind: &str, strides: &str, dimensions: &str| {
        format!("Layer {name} {{\nType: {kind}\nStride {{ {strides} }}\nDimensions {{ {dimensions} }}\n}}\n")
    };
    let want = [
        layer("stem", "CONV", "X: 1, Y: 1", "K: 16, C: 8, R: 3, S: 3, Y: 14, X: 12"),
        layer("grouped", "NGCONV", "X: 2, Y: 2", "G: 4, K: 3, C: 2, R: 3, S: 3, Y: 13, X: 11"),
        layer("dw", "DSCONV", "X: 1, Y: 1", "K: 1, C: 12, R: 3, S: 3, Y: 8, X: 7"),
        layer("tall", "CONV", "X: 1, Y: 2", "K: 6, C: 12, R: 3, S: 1, Y: 5, X: 5"),
        layer("up", "TRCONV", "X: 1, Y: 1", "K: 5, C: 6, R: 2, S: 2, Y: 2, X: 5"),
        layer("fc_head", "CONV", "X: 1, Y: 1", "K: 7, C: 200, R: 1, S: 1, Y: 1, X: 1"),
    ];
    assert_eq!(text, format!("Network all_kinds {{\n{}}}\n", want.concat()));

    let text = body(&written("zigzag"));
    let grouped = text.split("- id: ").nth(3).unwrap();
    let want = "2
  name: \"grouped\"
  operator_type: Conv
  equation: O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]
  dimension_relations: [iy=2*oy+1*fy, ix=2*ox+1*fx]
  loop_dims: [B, G, K, C, OY, OX, FY, FX]
  loop_sizes: [1, 4, 3, 2, 6, 5, 3, 3]
  pr_loop_dims: [IY, IX]
  pr_loop_sizes: [12, 10]
  padding: [[1, 1], [1, 1]]
";
    assert!(grouped.starts_with(want), "{grouped}");
    let [weights, inputs, outputs] = widths(&measurement, "grouped");
    // Sums of 18 products have 5 bits more than a product.
    let line = format!("{{W: {weights}, I: {inputs}, O: {}, O_final: {outputs}}}", weights + inputs + 5);
    assert!(grouped.contains(&line), "{grouped} lacks {line}");
    let dilated = text.split("- id: ").nth(2).unwrap();
    assert!(dilated.contains("[iy=1*oy+2*fy, ix=1*ox+3*fx]") && dilated.contains("padding: [[2, 2], [3, 3]]"));
}

/// Bits of weights, inputs and outputs of a layer, from the codes that were seen.
fn widths(measurement: &Measurement, name: &str) -> [u32; 3] {
    let layer = measurement.layers.iter().find(|layer| layer.name == name).unwrap();
    let outputs = layer.tally.outputs.as_ref().unwrap();
    [&layer.tally.weights.values, &layer.tally.activations.values, &outputs.values].map(|values| {
        let [least, most] = values.code_extremes;
        let bits = |magnitude: u32| (0..32).find(|bits| magnitude < 1 << bits).unwrap();
        bits(most.unsigned_abs().max(least.unsigned_abs())) + u32::from(least < 0)
    })
}

#[test]
fn what_a_target_needs_and_the_run_lacks_is_said() {
    let values = measured(&Settings { statistics: Statistics::Values, ..full() });
    let error = written("cimloop", &values).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("measure with --statistics full"), "{error}");
    assert!(written("zigzag", &values).is_ok() && written("sparseloop", &values).is_ok());
    let floats = measured(&Settings { format: "bf16".parse().unwrap(), ..full() });
    for name in ["cimloop", "zigzag"] {
        let error = written(name, &floats).unwrap_err().to_string();
        assert!(error.contains("counted in bf16") && error.contains("significands"), "{error}");
    }
    assert!(Arrays::new(Run { measurement: &floats, file: "run.dwm" }, Dtype::Int).is_err());
    assert!(written("sparseloop", &floats).is_ok());
    // Nothing can be expressed.
    let only = |pattern: &str| {
        let settings = Settings { layers: Some(regex::Regex::new(pattern).unwrap()), ..full() };
        measured(&settings)
    };
    let error = written("timeloop", &only("^up$")).unwrap_err();
    assert!(error.exit_code() == 4 && error.hint().unwrap().contains("up: it is a transposed convolution"), "{error}");
    assert_eq!(written("maestro", &only("^up$")).unwrap().left_out, []);
    // Inputs of two sizes have no extents.
    let model = network();
    let mut two = calibrate_and_measure(&model, &native(), &inputs(&model), &full(), &Quiet).unwrap().1;
    two.layers[0].tally.shape.input[1] = deadweight::tally::VARIES;
    let left = written("timeloop", &two).unwrap().left_out;
    assert_eq!(left[0].to_string(), "stem: its inputs are of several sizes; measure inputs of one");
}

/// A measurement of every kind of layer, for the tools' own parsers.
#[test]
fn a_measurement_for_the_parsers_of_the_tools_is_written() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exports.dwm");
    std::fs::write(path, measured(&counting()).to_bytes()).unwrap();
}

#[test]
fn export_docs_are_current() {
    let mut table =
        String::from("| `--to` | for | writes | takes | leaves out | written after |\n|---|---|---|---|---|---|\n");
    for target in TARGETS {
        let deadweight::export::Target { name, tool, writes, takes, leaves, source, .. } = target;
        writeln!(table, "| `{name}` | {tool} | {writes} | {takes} | {leaves} | {source} |").unwrap();
    }
    let page = include_str!("fixtures/exports.md");
    assert_eq!(page.matches("@TARGETS@\n").count(), 1);
    assert_current("exports.md", &page.replace("@TARGETS@\n", &table));
}
