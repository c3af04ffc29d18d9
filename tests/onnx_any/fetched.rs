//! Public ONNX files: outputs of ONNX Runtime, MACs by ONNX's shape inference, classes of two layers each by a count of every MAC.
//! make_onnx_fetched.py made what they are compared with.

use std::collections::BTreeMap;
use std::path::Path;

use deadweight::engine::Runner;
use deadweight::engine::onnx::{InputExtents, OnnxProgram};
use deadweight::model::{LoadOptions, Model, OnnxBy};
use serde_json::Value as Json;

use crate::binary::succeed;

use super::{backend, classes, counts_of, floats, sample, shape};

fn load(name: &str, extents: Vec<usize>) -> Model {
    let path = Path::new(env!("DEADWEIGHT_FETCHED_DIR")).join(format!("{name}.onnx"));
    let extents = InputExtents { shapes: vec![(None, extents)], size: None };
    let options = LoadOptions { onnx: OnnxBy::File, extents, ..LoadOptions::default() };
    Model::load(path.to_str().unwrap(), &options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The input of the script: a line of dark strokes for the detector of text, else a pattern.
fn input(name: &str, program: &OnnxProgram, shape: &[usize]) -> Vec<f32> {
    let &[_, channels, rows, columns] = shape else { panic!("{name} reads images") };
    if name != "ppocr_det" {
        return sample(program, 0);
    }
    let dark = |row: usize, column: usize| {
        (24..40).contains(&row) && (10..86).contains(&column) && (column % 6 < 3 || [26, 31, 37].contains(&row))
    };
    let pixel = |i: usize| if dark(i / columns % rows, i % columns) { -2.0 } else { 2.25 };
    (0..channels * rows * columns).map(pixel).collect()
}

#[test]
fn public_files_give_the_outputs_and_counts_of_others() {
    let all: BTreeMap<String, Json> = serde_json::from_str(include_str!("../reference/onnx_fetched.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, stored) in all.iter().filter(|(name, _)| *name != "versions") {
        let numbers = |list: &Json| list.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        let given: Vec<usize> = numbers(&stored["shape"]);
        let model = load(name, given.clone());
        let program = model.program.clone().unwrap();
        let extents: Vec<usize> = numbers(&stored["output"]);
        assert_eq!(program.output_shape(), extents, "{name}");
        let mut runner = Runner::new(&model.graph, shape(&program), &backend(&program, 2, 1 << 30), 1).unwrap();
        let given = input(name, &program, &given);
        let got = runner.run(&given, None).unwrap();
        let largest = stored["largest"].as_f64().unwrap() as f32;
        let some: Vec<f32> =
            got.iter().copied().step_by(numbers(&Json::Array(vec![stored["step"].clone()]))[0]).collect();
        let apart = some.iter().zip(floats(&stored["values"])).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if apart > 1e-4 * largest {
            wrong.push(format!("{name}: {apart} apart of {largest}"));
        }
        let rows = got.chunks(*extents.last().unwrap());
        let top = rows.map(|row| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap());
        let want: Vec<usize> = numbers(&stored["top"]);
        let top: Vec<usize> = top.take(want.len()).collect();
        if top != want && name != "ppocr_det" {
            wrong.push(format!("{name}: top {top:?}, not {want:?}"));
        }
        let macs = program.macs();
        // All of them are measured.
        wrong.extend(program.notes());
        if stored["macs"] != macs {
            wrong.push(format!("{name}: {macs} MACs, not {}", stored["macs"]));
        }
        let counted: BTreeMap<String, Vec<u128>> = counts_of(&program, 2, 1 << 30, &given)
            .iter()
            .map(|(row, tally)| (row.clone(), classes(tally).to_vec()))
            .collect();
        let want: BTreeMap<String, Vec<u128>> = serde_json::from_value(stored["classes"].clone()).unwrap();
        for (row, want) in want {
            // Behind float layers a value at the edge of code zero may fall on either side: one in ten thousand.
            let near = |(a, b): (&u128, &u128)| a.abs_diff(*b) <= want[0] / 10_000;
            if !counted.get(&row).is_some_and(|got| got.iter().zip(&want).all(near)) {
                wrong.push(format!("{name}: {row}: {:?}, not {want:?}", counted.get(&row)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_metrics_are_counted_of_public_files() {
    for (name, size) in [("ppocr_cls", "48x96"), ("ppocr_rec", "48x96"), ("ddddocr_det", "416x416")] {
        let path = Path::new(env!("DEADWEIGHT_FETCHED_DIR")).join(format!("{name}.onnx"));
        let path = path.to_str().unwrap();
        let line =
            ["measure", path, "--input-size", size, "--random-inputs", "2", "--metrics", "all", "--format", "json"];
        let document: Json = serde_json::from_slice(&succeed(&line)).unwrap();
        let share = document["layers"].as_array().unwrap().iter().map(|layer| &layer["outputs"]["traffic.zvc"]);
        assert!(share.filter(|traffic| traffic["value"].is_number()).count() > 10, "{name}");
    }
}
