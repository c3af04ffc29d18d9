//! ONNX files with one fact each: what an operator states is obeyed as in ONNX Runtime, or refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::graph::passes;
use deadweight::kernels::Rounding;
use deadweight::models;
use deadweight::weights::onnx::Onnx;

/// The output of make_onnx_stated.py.
#[derive(serde::Deserialize)]
struct Stored {
    x: Vec<f32>,
    /// Outputs by file; `None` if it must be refused.
    cases: BTreeMap<String, Option<Vec<f32>>>,
}

fn run(folder: &str, name: &str, x: &[f32]) -> deadweight::Result<Vec<f32>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(folder);
    let onnx = Onnx::from_bytes(name, &std::fs::read(folder.join(format!("{name}.onnx"))).unwrap())?;
    let network = models::onnx::build(&onnx, None, Rounding::Float32)?;
    let graph = passes::fuse_epilogue(&passes::fold_norm(&network.graph));
    Session::new(Arc::new(graph), network.input, 1, EngineOptions::new(2))?.run(x, None)
}

#[test]
fn what_an_operator_states_is_obeyed_or_refused() {
    let Stored { x, cases } = serde_json::from_str(include_str!("reference/onnx_stated.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, want) in &cases {
        match (run("onnx_stated", name, &x), want) {
            (Ok(got), Some(want)) => {
                let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                if apart > 1e-5 || got.len() != want.len() {
                    wrong.push(format!("{name}: {apart} apart, {} values for {}", got.len(), want.len()));
                }
            }
            (Ok(_), None) => wrong.push(format!("{name}: is run")),
            (Err(error), Some(_)) => wrong.push(format!("{name}: is refused: {error}")),
            (Err(error), None) => {
                let said = error.to_string();
                // A contradiction within the file counts as damage.
                let damaged = ["conv_kernel_shape"].contains(&name.as_str());
                if i32::from(error.exit_code()) != if damaged { 1 } else { 4 } || !said.contains(name.as_str()) {
                    wrong.push(format!("{name}: exit {}: {said}", error.exit_code()));
                }
            }
        }
    }
    assert!(cases.len() == 100 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The output of make_onnx_dead.py.
#[derive(serde::Deserialize)]
struct Dead {
    x: Vec<f32>,
    cases: BTreeMap<String, Vec<f32>>,
}

/// Filters of scales near 1e-20, and biases at the ends of 32 bits or beyond: sums wrap as ONNX Runtime's do.
#[test]
fn dead_filters_and_saturated_biases_have_the_codes_of_onnx_runtime() {
    let Dead { x, cases } = serde_json::from_str(include_str!("reference/onnx_dead.json")).unwrap();
    for (name, want) in &cases {
        let got = run("onnx_dead", name, &x).unwrap_or_else(|error| panic!("{name}: {error}"));
        let wrong = got.iter().zip(want).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
        assert!(wrong == 0 && got.len() == want.len(), "{name}: {wrong} of {} differ: {got:?} {want:?}", want.len());
    }
    assert_eq!(cases.len(), 3);
}
