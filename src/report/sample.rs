//! A small document made by hand, for the tests of the formats.

use super::document::*;
use super::quality::{Accuracy, Quality};
use crate::metrics::POTENTIALS;

/// Two layers: one half zero, one whose input is all zero, so that its potentials are infinite.
pub(crate) fn document() -> Document {
    let conv = layer("conv1", "conv", 1_000, 400);
    let dead = Layer { groups: 2, ..layer("layer1.0|conv", "depthwise", 500, 0) };
    let mut activations = Operand { signed: None, scale: None, channel_nonzeros: None, ..operand(1_500, 600) };
    (activations.min, activations.max, activations.layer_width) = (None, None, None);
    (activations.mean, activations.std, activations.entropy) = (None, None, None);
    Document {
        schema: SCHEMA,
        model: Model {
            name: "tiny".into(),
            task: "classify".into(),
            note: Some("built-in demo".into()),
            naming: "torchvision".into(),
            parameters: 12_345,
            folded: Some(true),
            quantized: None,
            notes: vec![],
            source: "made by hand".into(),
            licence: "MIT".into(),
            files: vec![File { name: "tiny.safetensors".into(), bytes: 49_380, sha256: "00ff".into() }],
        },
        data: Data {
            inputs: 4,
            inputs_sha256: "ab12".into(),
            skipped: 1,
            preprocessing: "grey".into(),
            notes: vec![],
            quality: Some(Quality::Classify(Accuracy { labelled: 4, top1: 3, top5: 4 })),
        },
        format: Format {
            name: "fixed16".into(),
            bits: 16,
            encoder: "naf".into(),
            min_one: true,
            statistics: None,
            calibration_inputs: 4,
        },
        tool: Tool { name: "deadweight", version: "0.0.0", backend: "native".into() },
        network: Network {
            macs: macs(1_500, 400),
            activations: activations.clone(),
            weights: activations,
            potentials: potentials(1_500, 400),
        },
        layers: vec![conv, dead],
    }
}

fn layer(name: &str, kind: &str, dense: u64, effectual: u64) -> Layer {
    Layer {
        name: name.into(),
        kind: kind.into(),
        shape: Extents { input: [8, 5, 5].map(Some), output: [4, 3, 3].map(Some), weight: [4, 8, 3, 3] },
        stride: [1, 1],
        padding: [0, 1, 0, 1].map(Some),
        dilation: [1, 1],
        groups: 1,
        macs: macs(dense, effectual),
        activations: operand(dense, effectual),
        weights: operand(36, 30),
        potentials: potentials(dense, effectual),
        recurrent: None,
    }
}

fn macs(dense: u64, effectual: u64) -> Macs {
    let zero_activation = dense - effectual - 40;
    Macs { dense, padding: 10, zero_both: 10, zero_activation, zero_weight: 20, effectual }
}

fn ratio(a: u64, b: u64) -> Option<f64> {
    (b != 0).then(|| a as f64 / b as f64)
}

fn operand(elements: u64, nonzeros: u64) -> Operand {
    let zeros = elements - nonzeros;
    let mut histogram = vec![0; 18];
    (histogram[0], histogram[3]) = (zeros, nonzeros);
    let group = |size: u64, width: usize| {
        let mut histogram = vec![0; 18];
        histogram[width] = elements.div_ceil(size);
        Group { groups: elements.div_ceil(size), histogram, mean_width: Some(width as f64) }
    };
    let terms = |each: u64| Term {
        terms: each * nonzeros,
        per_value: ratio(each * nonzeros, elements),
        per_nonzero: ratio(each * nonzeros, nonzeros),
    };
    let zero_bits = |of_16: u64| Share { count: of_16 * elements, total: 16 * elements, share: ratio(of_16, 16) };
    Operand {
        bits: 16,
        signed: Some(false),
        scale: Some(1024.0),
        elements,
        zeros,
        zeros_natural: zeros - 1,
        zeros_rounded: 1,
        zero_share: ratio(zeros, elements),
        negative: Some(3),
        saturated: 2,
        min: Some(-0.001),
        max: Some(0.0068359375),
        mean: Some(0.00125),
        std: Some(0.002),
        layer_width: Some(3),
        width_histogram: Some(histogram.clone()),
        mean_width: ratio(3 * nonzeros, elements),
        groups: Groups { g16: group(16, 4), g64: group(64, 5), g256: group(256, 6) },
        zero_bits_sign_magnitude: Some(zero_bits(13)),
        zero_bits_twos_complement: Some(zero_bits(12)),
        raw: None,
        terms: Some(Terms { naf: terms(2), popcount: terms(3), booth4: terms(4), runs: terms(5) }),
        entropy: Some(0.971),
        dead_channels: 1,
        channel_nonzeros: Some(vec![nonzeros, 0]),
    }
}

fn potentials(dense: u64, effectual: u64) -> Potentials {
    let work = |dense: u64| {
        let (baseline, work) = (u128::from(dense) * 256, u128::from(effectual) * 256);
        Work { baseline, work, potential: ratio(dense, effectual) }
    };
    let potential = Potential { with_padding: work(dense), without_padding: work(dense - 10) };
    Potentials(POTENTIALS.iter().map(|(name, _)| (*name, potential)).collect())
}
