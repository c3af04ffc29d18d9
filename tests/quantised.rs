//! Quantised checkpoints against PyTorch: its quantised modules, our own layout, and 4-bit weights.

use std::path::{Path, PathBuf};

use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::layers::Layer;
use deadweight::model::{LoadOptions, Model};
use deadweight::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};

/// The network of make_quantised.py.
const CARD: &str = r#"
    name = "small"
    family = "mobilenet_v2"
    task = "classify"
    description = ""
    input = { channels = 3, size = [32, 32], mean = [0.0, 0.0, 0.0], std = [1.0, 1.0, 1.0] }
    arch = { width = 0.1, depths = [1, 2, 1, 1, 1, 1, 1], classes = 5 }
"#;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/quantised").join(name)
}

fn load(path: &Path) -> deadweight::Result<Model> {
    let folder = tempfile::tempdir().unwrap();
    let card = folder.path().join("small.toml");
    std::fs::write(&card, CARD).unwrap();
    let options = LoadOptions { arch: Some(card.to_str().unwrap().to_owned()), ..LoadOptions::default() };
    Model::load(path.to_str().unwrap(), &options)
}

/// Tensors to add to a file: name, type, extents, bytes.
type With<'a> = &'a [(&'a str, Dtype, &'a [usize], &'a [u8])];

/// Image `n` of make_quantised.py.
fn image(n: u32) -> Vec<f32> {
    let value = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(n * 40503) >> 13;
    (0..3 * 32 * 32).map(|i| (value(i) % 256) as f32 / 255.0).collect()
}

/// Largest difference of the outputs for the four images from those stored as `reference`.
fn apart(model: &Model, reference: &str) -> f32 {
    let stored: serde_json::Value = serde_json::from_str(include_str!("reference/quantised.json")).unwrap();
    let native = Backend::Native(EngineOptions::new(2));
    let mut runner = Runner::new(&model.graph, model.input_shape(), &native, 1).unwrap();
    let mut apart = 0.0f32;
    for (n, want) in stored[reference].as_array().unwrap().iter().enumerate() {
        let got = runner.run(&image(n as u32), None).unwrap();
        let want: Vec<f32> = want.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_eq!(got.len(), want.len());
        apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(apart, f32::max);
    }
    apart
}

fn float_layers(model: &Model) -> Vec<&str> {
    let real = |layer: &Layer| match layer {
        Layer::Conv(conv) => conv.integer.is_none(),
        Layer::Linear(linear) => linear.integer.is_none(),
        _ => false,
    };
    model.graph.nodes.iter().filter(|def| real(&def.layer)).map(|def| def.name.as_str()).collect()
}

#[test]
fn integers_of_pytorch_and_of_our_layout_have_the_codes_of_pytorch() {
    for name in ["torch.pth", "ours.safetensors"] {
        let model = load(&file(name)).unwrap();
        assert!(model.stores_integers() && float_layers(&model).is_empty(), "{name}: {:?}", float_layers(&model));
        assert_eq!(apart(&model, "torch"), 0.0, "{name}");
    }
}

#[test]
fn weights_of_4_bits_are_computed_with_as_floats_and_counted_as_codes() {
    let model = load(&file("bits4.safetensors")).unwrap();
    assert!(model.stores_integers());
    let of = apart(&model, "bits4");
    assert!(of < 1e-4, "{of} apart");
    let layers = model.graph.nodes.iter().filter_map(|def| match &def.layer {
        Layer::Conv(conv) => Some((&def.name, &conv.weight, conv.low_bits.as_ref())),
        Layer::Linear(linear) => Some((&def.name, &linear.weight, linear.low_bits.as_ref())),
        _ => None,
    });
    let stored = Weights::open(file("bits4.safetensors")).unwrap();
    let mut count = 0;
    for (name, weight, low_bits) in layers {
        let low_bits = low_bits.unwrap_or_else(|| panic!("{name}: has no codes"));
        assert_eq!(low_bits.bits, 4, "{name}");
        let held = stored.integers(&format!("{name}.weight")).unwrap();
        let part = weight.data.len() / held.scales.len();
        let same = |(i, (&real, &code)): (usize, (&f32, &f32))| real == code * held.scales[i / part];
        assert!(weight.data.iter().zip(low_bits.codes.get().iter()).enumerate().all(same), "{name}");
        count += 1;
    }
    assert_eq!(count, 26);
}

#[test]
fn what_does_not_fit_is_named_in_the_error() {
    let bytes = std::fs::read(file("ours.safetensors")).unwrap();
    let whole = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    // The file without the named tensors, and with the given ones.
    let changed = |without: &[&str], with: With<'_>| {
        let kept = whole.iter().filter(|(name, _)| !without.contains(name) && with.iter().all(|w| w.0 != *name));
        let mut tensors: Vec<(String, TensorView)> = kept.map(|(name, view)| (name.to_owned(), view)).collect();
        for &(name, dtype, shape, data) in with {
            tensors.push((name.to_owned(), TensorView::new(dtype, shape.to_vec(), data).unwrap()));
        }
        std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        let error = match load(&path) {
            Err(error) => error,
            Ok(_) => return (0, "changed.safetensors".to_owned()),
        };
        (error.exit_code(), format!("{error} {}", error.hint().unwrap_or_default()))
    };
    let (layer, ones) = ("features.9.0", |count: usize| 1f32.to_le_bytes().repeat(count));
    let named = |part: &str| format!("{layer}.{part}");
    let cases: [(&[&str], With<'_>, u8, &str); 7] = [
        (
            &[&named("output_scale"), &named("output_zero_point")],
            &[],
            1,
            "features.9.0: the checkpoint has no scale for its values",
        ),
        (
            &["features.0.0.input_scale", "features.0.0.input_zero_point"],
            &[],
            1,
            "input: the checkpoint has no scale for its values",
        ),
        (&[&named("weight")], &[], 1, "features.9.0.weight_scale: there is no weight for it"),
        (&[], &[(&named("weight_scale"), Dtype::F32, &[7], &ones(7))], 1, "7 scales do not cut [1280, 32, 1, 1]"),
        (&[], &[(&named("weight_scale"), Dtype::F32, &[2560], &ones(2560))], 1, "one scale, or one per filter"),
        (&[], &[(&named("output_scale"), Dtype::F32, &[], &(-1f32).to_le_bytes())], 1, "scale [-1.0]"),
        (&[], &[(&named("output_zero_point"), Dtype::I32, &[], &300i32.to_le_bytes())], 1, "zero point [300.0]"),
    ];
    for (without, with, want, words) in cases {
        let (code, said) = changed(without, with);
        assert!(code == want && said.contains(words) && said.contains("changed.safetensors"), "{words}: {code} {said}");
    }
    // 32-bit sums wrap: no file is refused because some input could overflow them.
    let most = i32::MAX.to_le_bytes().repeat(8);
    assert_eq!(changed(&[], &[("features.0.0.bias", Dtype::I32, &[8], &most)]).0, 0);
}
