//! The built-in model: its stored images have PyTorch's logits (`reference/digits.py`) on both engines, folded or not.

use std::cmp::Ordering;
use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::kernels::Pool;
use deadweight::measure::{Quiet, Settings, predict};
use deadweight::model::{LoadOptions, Model};
use serde::Deserialize;

/// Largest difference of a logit; they lie within -15..15.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    correct: usize,
    logits: Vec<Vec<f32>>,
}

#[test]
fn both_engines_have_the_logits_of_pytorch() {
    let reference: Reference = serde_json::from_str(include_str!("reference/digits.json")).unwrap();
    let candle = Backend::Candle(candle_core::Device::Cpu, Arc::new(Pool::new(1)));
    let mut wrong = Vec::new();
    for no_fold in [false, true] {
        let model = Model::load("digits", &LoadOptions { no_fold, ..LoadOptions::default() }).unwrap();
        let data = model.builtin_data().unwrap().unwrap();
        for backend in [Backend::Native(EngineOptions::new(2)), candle.clone()] {
            let what = format!("{}{}", backend.name(), if no_fold { ", batch norm on its own" } else { "" });
            let (mut row, mut correct) = (0, 0);
            let mut apart = vec![];
            let skipped = predict(&model, &backend, &data, &Settings::default(), &Quiet, |sample, logits, _| {
                let class = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                correct += usize::from(class == sample.label.map(|label| label as usize));
                for (class, (got, want)) in logits.iter().zip(&reference.logits[row]).enumerate() {
                    // Written so that NaN differs from everything.
                    if (got - want).abs().partial_cmp(&TOLERANCE) != Some(Ordering::Less) {
                        apart.push(format!("{what}: image {row}, logit {class}: {got}, PyTorch's is {want}"));
                    }
                }
                assert_eq!(logits.len(), reference.logits[row].len());
                row += 1;
                Ok(())
            });
            assert_eq!(skipped.unwrap(), 0);
            if (row, correct) != (reference.logits.len(), reference.correct) {
                wrong.push(format!("{what}: {correct} of {row} right, PyTorch gets {}", reference.correct));
            }
            wrong.extend(apart);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_card_is_the_trained_network() {
    let model = Model::load("digits", &LoadOptions::default()).unwrap();
    // Computed by hand: 147,456 + 4,718,592 + 2 * (1,179,648 + 2,359,296 + 131,072) + 640.
    assert_eq!(model.macs().unwrap(), 12_206_720);
    assert_eq!(model.parameters, 77_754);
    assert_eq!(model.builtin_data().unwrap().unwrap().len(), 32);
}
