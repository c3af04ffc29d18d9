//! Files as torch.onnx.export writes them, weights in a second file: PyTorch's outputs, and both engines of those that are layers of ours.

use std::path::Path;

use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::layers::Shape;
use deadweight::model::{LoadOptions, Model, OnnxBy};
use safetensors::SafeTensors;

use super::{backend, native, shape};

fn path(name: &str) -> String {
    Path::new(env!("DEADWEIGHT_CASES_DIR")).join(name).to_str().unwrap().to_owned()
}

fn load(name: &str, onnx: OnnxBy) -> Model {
    let options = LoadOptions { onnx, ..LoadOptions::default() };
    Model::load(&path(&format!("{name}.onnx")), &options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn reference(name: &str) -> [Vec<f32>; 2] {
    let bytes = std::fs::read(path(&format!("{name}.onnx.ref.safetensors"))).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    ["input", "output"].map(|tensor| {
        let data = tensors.tensor(tensor).unwrap().data().to_vec();
        data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    })
}

/// Largest difference, and largest magnitude.
fn apart(got: &[f32], want: &[f32]) -> (f32, f32) {
    assert_eq!(got.len(), want.len());
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |most, value| most.max(value.abs()));
    (most(&mut got.iter().zip(want).map(|(a, b)| a - b)), most(&mut want.iter().copied()))
}

#[test]
fn exported_files_give_the_outputs_of_pytorch() {
    let mut wrong = Vec::new();
    for name in ["resnet18", "mobilenet_v3_small", "convnext_tiny", "deeplabv3", "lstm"] {
        let [input, output] = reference(name);
        let model = load(name, OnnxBy::File);
        let program = model.program.clone().unwrap();
        let mut runner = Runner::new(&model.graph, shape(&program), &backend(&program, 2, 1 << 30), 1).unwrap();
        let (apart, largest) = apart(&runner.run(&input, None).unwrap(), &output);
        if apart > 1e-4 * largest {
            wrong.push(format!("{name}: {apart} apart of {largest}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn both_engines_measure_the_same() {
    let of = |name: &str| Path::new(&path(&format!("{name}.onnx"))).to_owned();
    let images = ["resnet18", "mobilenet_v3_small"].map(|name| native::of_images(name, &of(name), 2));
    let wrong = [images.concat(), native::of_sequence("lstm", &of("lstm"))].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_of_our_layers_run_on_both_engines_alike() {
    for name in ["resnet18", "mobilenet_v3_small"] {
        let [input, output] = reference(name);
        let native = load(name, OnnxBy::Auto);
        assert!(native.program.is_none(), "{name} is made of our layers");
        let Shape { c, h, w } = native.input_shape();
        let backend = Backend::Native(EngineOptions::new(2));
        let mut runner = Runner::new(&native.graph, Shape::new(c, h, w), &backend, 1).unwrap();
        let (apart, largest) = apart(&runner.run(&input, None).unwrap(), &output);
        assert!(apart <= 1e-4 * largest, "{name}: {apart} apart of {largest}");
    }
}
