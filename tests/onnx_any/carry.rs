//! States that are carried from one input to the next: what they give and count is what it is where the states are inputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::engine::onnx::{Carry, OnnxOptions};
use deadweight::engine::{OnnxProgram, Runner};
use deadweight::input::{Dataset, npy_header};
use deadweight::measure::{Quiet, Settings, calibrate, measure};
use deadweight::measurement::Measurement;
use deadweight::model::{LoadOptions, Model, OnnxBy};

use super::{backend, file, program_of, shape};
use crate::binary::{fail, succeed, text};

/// Steps of two sequences, and values of a step of x, h and c.
const STEPS: [usize; 2] = [5, 3];
const X: usize = 5;
const H: usize = 4;

fn carry(input: &str, output: &str) -> Carry {
    Carry { input: input.into(), output: output.into(), start: None }
}

fn both() -> Vec<Carry> {
    vec![carry("h", "hn"), carry("c", "cn")]
}

fn load(carry: Vec<Carry>) -> Model {
    let options = LoadOptions { onnx: OnnxBy::File, carry, ..LoadOptions::default() };
    Model::load(file("lstm_step.onnx").to_str().unwrap(), &options).unwrap()
}

/// Values of step `step` of sequence `sequence`.
fn step(sequence: usize, step: usize) -> Vec<f32> {
    (0..X).map(|i| ((sequence * 31 + step * 7 + i * 5) % 13) as f32 / 6.0 - 1.0).collect()
}

/// Output `output` of a file without carried states.
fn run(output: &str, values: &[f32]) -> Vec<f32> {
    let options = OnnxOptions { output: Some(output.into()), ..OnnxOptions::default() };
    let program = program_of("lstm_step", &options).unwrap();
    let mut runner = Runner::new(program.graph(), shape(&program), &backend(&program, 1, 1 << 30), 1).unwrap();
    runner.run(values, None).unwrap()
}

/// The states before every step, and the outputs, of all sequences, each from `first`.
fn by_hand(first: &[f32]) -> (Vec<Vec<f32>>, Vec<f32>) {
    let (mut states, mut outputs) = (Vec::new(), Vec::new());
    for (sequence, steps) in STEPS.into_iter().enumerate() {
        let mut state = first.to_vec();
        for i in 0..steps {
            let values = [step(sequence, i), state.clone()].concat();
            states.push(state);
            outputs.extend(run("y", &values));
            state = [run("hn", &values), run("cn", &values)].concat();
        }
    }
    (states, outputs)
}

fn npy(path: &Path, shape: &[usize], values: &[f32]) -> PathBuf {
    let data = values.iter().flat_map(|value| value.to_le_bytes());
    std::fs::write(path, npy_header("<f4", shape).into_iter().chain(data).collect::<Vec<u8>>()).unwrap();
    path.to_owned()
}

/// Both sequences, a file each.
fn sequences(folder: &Path, model: &Model) -> Dataset {
    let arrays: Vec<(Option<String>, PathBuf)> = STEPS
        .into_iter()
        .enumerate()
        .map(|(sequence, steps)| {
            let values: Vec<f32> = (0..steps).flat_map(|i| step(sequence, i)).collect();
            (None, npy(&folder.join(format!("{sequence}.npy")), &[steps, 1, X], &values))
        })
        .collect();
    Dataset::named(&arrays, &model.inputs, &model.preprocess).unwrap()
}

fn measured(model: &Model, data: &Dataset, threads: usize, settings: &Settings) -> Measurement {
    let backend = backend(model.program.as_ref().unwrap(), threads, 1 << 30);
    let calibration = calibrate(model, &backend, data, settings, &Quiet).unwrap();
    measure(model, &backend, data, &calibration, &Quiet).unwrap()
}

#[test]
fn outputs_are_those_of_states_handed_on_by_hand() {
    let start: Vec<f32> = (0..2 * H).map(|i| i as f32 / 8.0 - 0.4).collect();
    for first in [vec![0.0; 2 * H], start] {
        let mut carried = both();
        for (state, values) in carried.iter_mut().zip(first.chunks(H)) {
            state.start = values.iter().any(|v| *v != 0.0).then(|| (vec![1, 1, H], values.to_vec()));
        }
        let program = program_of("lstm_step", &OnnxOptions { carry: carried, ..OnnxOptions::default() }).unwrap();
        assert_eq!(program.inputs().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["x"]);
        let (_, want) = by_hand(&first);
        let mut runner = Runner::new(program.graph(), shape(&program), &backend(&program, 2, 1 << 30), 8).unwrap();
        let mut got = Vec::new();
        for (sequence, steps) in STEPS.into_iter().enumerate() {
            runner.carry_states(&[]).unwrap();
            let all: Vec<f32> = (0..steps).flat_map(|i| step(sequence, i)).collect();
            // In one run, and cut in two.
            let (head, tail) = all.split_at(if sequence == 0 { all.len() } else { X });
            got.extend([runner.run(head, None).unwrap(), runner.run(tail, None).unwrap()].concat());
        }
        assert_eq!(got, want);
        assert!(runner.carry_states(&[vec![0.0; H]]).is_err(), "one state of two");
    }
}

#[test]
fn counts_are_those_of_states_as_inputs_however_a_run_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let model = load(both());
    let data = sequences(folder.path(), &model);
    let settings = |batch, shard| Settings { batch, shard, ..Settings::default() };
    let whole = measured(&model, &data, 1, &settings(1, None));
    assert_eq!(whole.inputs, 8);
    let carried = whole.provenance.options.get("carry").map(String::as_str);
    assert_eq!(carried, Some("h=hn c=cn"));
    for (threads, batch) in [(2, 3), (1, 8)] {
        assert!(measured(&model, &data, threads, &settings(batch, None)) == whole, "{threads} threads, batch {batch}");
    }
    for parts in [2, 3] {
        let parts = (1..=parts).map(|part| measured(&model, &data, 2, &settings(2, Some((part, parts)))));
        let merged = parts.reduce(|mut all, part| {
            all.add(&part, "the other part").unwrap();
            all
        });
        assert!(merged.unwrap() == whole, "parts add up to the whole");
    }
    // The same steps of a network to which states are inputs.
    let plain = load(vec![]);
    let (states, _) = by_hand(&[0.0; 2 * H]);
    let steps = STEPS.into_iter().enumerate().flat_map(|(sequence, steps)| (0..steps).map(move |i| step(sequence, i)));
    let part = |name: &str, values: Vec<f32>, width: usize| {
        let path = folder.path().join(format!("{name}.npy"));
        (Some(name.to_owned()), npy(&path, &[8, 1, width], &values))
    };
    let state = |start: usize| states.iter().flat_map(|state| state[start..start + H].to_vec()).collect();
    let arrays = [part("x", steps.flatten().collect(), X), part("h", state(0), H), part("c", state(H), H)];
    let by_hand = Dataset::named(&arrays, &plain.inputs, &plain.preprocess).unwrap();
    let want = measured(&plain, &by_hand, 1, &settings(1, None));
    assert!(want.layers == whole.layers, "counts of carried states are those of states as inputs");
    // One sequence of all steps is another thing.
    let one = (Some("x".to_owned()), folder.path().join("x.npy"));
    let joined = Dataset::named(&[one], &model.inputs, &model.preprocess).unwrap();
    assert!(measured(&model, &joined, 1, &settings(1, None)).layers != whole.layers);
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let refused = |carry: Vec<Carry>| {
        let error = program_of("lstm_step", &OnnxOptions { carry, ..OnnxOptions::default() });
        let error = error.map(|program: Arc<OnnxProgram>| program.macs()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let text = refused(vec![carry("z", "hn")]);
    assert!(text.contains("--carry z=hn") && text.contains("the inputs of lstm_step are x, h, c"), "{text}");
    let text = refused(vec![carry("h", "z")]);
    assert!(text.contains("--carry h=z") && text.contains("the outputs of lstm_step are y, hn, cn"), "{text}");
    let text = refused(vec![carry("h", "y")]);
    assert!(text.contains("y is [1, 1, 1, 3], h is [1, 1, 4]: a state keeps its extents"), "{text}");
    assert!(refused(vec![carry("h", "hn"), carry("h", "cn")]).contains("h is carried already"));
    let text = refused(vec![Carry { start: Some((vec![4], vec![0.0; 4])), ..carry("h", "hn") }]);
    assert!(text.contains("--carry-start h") && text.contains("[4], h of lstm_step is [1, 1, 4]"), "{text}");
}

#[test]
fn flags_of_states_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let step = file("lstm_step.onnx");
    let run = |more: &[&str]| fail(&[&["run", text(&step), "--random-inputs", "1"], more].concat());
    let (code, said) = run(&["--carry", "h=hn", "--carry", "c=y"]);
    assert!(code == 2 && said.contains("--carry c=y") && said.contains("a state keeps its extents"), "{said}");
    let (code, said) = run(&["--carry", "h=hn", "--carry-start", "c=c.npy"]);
    assert!(code == 2 && said.contains("--carry-start c") && said.contains("--carry c=OUTPUT"), "{said}");
    let start = npy(&folder.path().join("h.npy"), &[1, H], &[0.5; H]);
    let (code, said) = run(&["--carry", "h=hn", "--carry-start", &format!("h={}", text(&start))]);
    assert!(code == 2 && said.contains("[1, 4], h of") && said.contains("[1, 1, 4]"), "{said}");
    let (code, said) = fail(&["measure", "digits", "--carry", "h=hn"]);
    assert!(code == 2 && said.contains("--carry") && said.contains("is of ONNX files"), "{said}");
    let start = npy(&folder.path().join("h.npy"), &[1, 1, H], &[0.5; H]);
    let start = format!("h={}", text(&start));
    let args =
        ["measure", text(&step), "--random-inputs", "3", "--format", "json", "--carry", "h=hn", "--carry", "c=cn"];
    let said = succeed(&[&args[..], &["--carry-start", &start]].concat());
    assert!(String::from_utf8(said).unwrap().contains("\"carry\": \"h=hn from "));
}
