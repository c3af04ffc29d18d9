//! Chains of depthwise and pointwise convolutions, large enough to be fused, against ONNX Runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::input::Dataset;
use deadweight::kernels::Pool;
use deadweight::measure::{Quiet, Settings, predict, quantized};
use deadweight::model::{LoadOptions, Model};

use crate::binary;
use crate::engines::distance;

/// Largest difference of an output, relative to their root mean square.
const TOLERANCE: f64 = 1e-4;
/// The same for 8-bit integers in place of floats: the effect of rounding.
const ROUNDED: f64 = 0.1;

/// A file of `cases/wrong`, next to the assets.
fn case(name: &str) -> PathBuf {
    Path::new(env!("DEADWEIGHT_ASSETS_DIR")).join("../cases/wrong/panic-mobilenetv1").join(name)
}

fn answer(model: &Model, backend: &Backend, data: &Dataset) -> Vec<f32> {
    let mut all = Vec::new();
    predict(model, backend, data, &Settings::default(), &Quiet, |_, output, _| {
        all.extend_from_slice(output);
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn a_chain_of_depthwise_and_pointwise_convolutions_equals_onnx_runtime() {
    for name in ["tiny224", "tiny64"] {
        let [network, image] = ["onnx", "png"].map(|end| case(&format!("{name}.{end}")).to_str().unwrap().to_owned());
        let want = std::fs::read(case(&format!("{name}-expected.json"))).unwrap();
        let want: Vec<f32> = serde_json::from_slice(&want).unwrap();
        let model = Model::load(&network, &LoadOptions::default()).unwrap();
        let data = Dataset::open(&[PathBuf::from(&image)], &model.preprocess).unwrap();
        let native = |threads| Backend::Native(EngineOptions::new(threads));
        let candle = Backend::Candle(candle_core::Device::Cpu, Arc::new(Pool::new(2)));
        for backend in [native(1), native(2), candle] {
            let apart = distance(&answer(&model, &backend, &data), &want);
            assert!(apart < TOLERANCE, "{name} by {}: {apart} apart", backend.name());
        }
        let integers = quantized(&model, &native(2), &data, &Settings::default(), &Quiet).unwrap();
        let apart = distance(&answer(&integers, &native(2), &data), &want);
        assert!(apart < ROUNDED, "{name} in integers: {apart} apart");
        for line in [&["run"][..], &["measure"], &["run", "--quantize", "int8"], &["measure", "--quantize", "int8"]] {
            let output = binary::deadweight().arg(line[0]).args([&network, &image]).args(&line[1..]).output().unwrap();
            assert!(output.status.success(), "{line:?} {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
