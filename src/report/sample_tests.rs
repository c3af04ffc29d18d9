//! A small measurement made by hand, for the tests of the formats.

use std::sync::Arc;

use super::scopes::Report;
use crate::format::NumberFormat;
use crate::input::InputDigest;
use crate::kernels::Isa;
use crate::kernels::count::{Encoder, Range, count_reference};
use crate::measurement::{File, Format, LayerCounts, Measurement, Model, Provenance, Tool};
use crate::tally::{ActivationSums, LayerShape, LayerTally, Spread, WeightSums};
use crate::task::Quality;
use crate::task::classify::Accuracy;

/// Two layers over 4 inputs: one half zero, and one whose input is all zero, so that its potentials are infinite.
pub(crate) fn measurement() -> Measurement {
    Measurement {
        provenance: Provenance {
            model: Model {
                name: "tiny".into(),
                task: "classify".into(),
                note: Some("built-in demo".into()),
                naming: "torchvision".into(),
                parameters: 12_345,
                folded: Some(true),
                quantized: None,
                source: "made by hand".into(),
                licence: "MIT".into(),
                files: vec![File { name: "tiny.safetensors".into(), bytes: 49_380, sha256: "00ff".into() }],
                classes: Default::default(),
            },
            preprocessing: "grey".into(),
            format: Format {
                name: "fixed16".into(),
                precision: None,
                weight_scale: Some("tensor".into()),
                encoder: Encoder::Naf,
                min_one: false,
                statistics: "full".into(),
                extra: Vec::new(),
                designs: Vec::new(),
                calibration_inputs: 4,
                calibration_sha256: "cd34".into(),
            },
            options: [("calibrate".to_owned(), "32".to_owned())].into(),
            notes: Vec::new(),
            tool: Tool { name: "deadweight".into(), version: "0.0.0".into(), backend: "native".into() },
        },
        layers: vec![
            layer("conv1", "conv", |i| if i % 2 == 0 { 0.0 } else { i as f32 / 8.0 }),
            layer("layer1.0|conv", "conv", |_| 0.0),
        ],
        inputs: 4,
        skipped: 1,
        turned: 0,
        digest: InputDigest::default(),
        keys: vec![1, 2, 3, 4],
        quality: Quality::Classify(Accuracy { labelled: 4, top1: 3, top5: 4 }),
        spread: Spread::default(),
    }
}

/// What is printed of it.
pub(crate) fn report() -> Report {
    Report::new(&measurement())
}

/// A convolution of 3x3, 8 to 4 channels on 5x5, whose input `i` is `value(i)` in all 4 inputs.
fn layer(name: &str, kind: &str, value: impl Fn(usize) -> f32) -> LayerCounts {
    let shape = LayerShape {
        input: [8, 5, 5],
        output: [4, 4, 4],
        weight: [4, 8, 3, 3],
        stride: [1, 1],
        padding: [0, 1, 0, 1],
        dilation: [1, 1],
        groups: 1,
        features: false,
        transposed: false,
        channels_last: false,
    };
    let inputs: Vec<f32> = (0..4 * 8 * 25).map(|i| value(i % 200)).collect();
    let weights: Vec<f32> = (0..4 * 8 * 9).map(|i| if i % 6 == 0 { 0.0 } else { (i % 7) as f32 - 3.5 }).collect();
    let format = NumberFormat::default();
    let codings = [&inputs, &weights].map(|values| format.coding(Range::of(values), None));
    let [activations, filters] = codings.map(|coding| coding.map);
    let sums =
        count_reference(activations, Encoder::Naf, shape.grouping(), &Arc::new(shape.classes()), [4, 8, 5, 5], &inputs);
    let mut tally = LayerTally {
        images: 0,
        lowest: [activations.lo, filters.lo],
        activations: ActivationSums::new(&shape, activations.codes()),
        weights: WeightSums::count(Isa::SCALAR, &shape, &weights, &[filters], Encoder::Naf),
        outputs: None,
        recurrent: None,
        pairs: None,
        designs: Vec::new(),
        shape: shape.clone(),
    };
    tally.add(&shape, 4, &sums);
    LayerCounts { name: name.into(), kind: kind.into(), codings, output: None, tally }
}
