//! ONNX files: ONNX Runtime's results for small networks, and the errors for unsupported ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::graph::{Graph, passes};
use deadweight::kernels::Rounding;
use deadweight::layers::Layer;
use deadweight::model::{LoadOptions, Model, OnnxBy};
use deadweight::models::{self, ImportedNetwork};
use deadweight::weights::onnx::Onnx;
use proptest::prelude::*;
use rten_onnx::onnx::{AttributeProto, DataLocation, DataType, GraphProto, ModelProto, NodeProto};

use crate::binary;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/onnx").join(name)
}

fn read(name: &str) -> ImportedNetwork {
    let onnx = Onnx::from_bytes(name, &std::fs::read(file(name)).unwrap()).unwrap();
    models::onnx::build(&onnx, None, Rounding::Float32).unwrap()
}

/// Image `n` of make_onnx.py.
fn image(n: u32) -> Vec<f32> {
    let value = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(n * 40503) >> 13;
    (0..3 * 18 * 18).map(|i| (value(i) % 256) as f32 / 255.0).collect()
}

fn run(network: &ImportedNetwork, image: &[f32]) -> Vec<f32> {
    let graph = passes::fuse_epilogue(&passes::fold_norm(&network.graph));
    Session::new(Arc::new(graph), network.input, 1, EngineOptions::new(2)).unwrap().run(image, None).unwrap()
}

fn kinds(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|def| def.layer.kind()).collect()
}

#[test]
fn small_networks_have_the_outputs_of_onnx_runtime() {
    let stored: serde_json::Value = serde_json::from_str(include_str!("reference/onnx.json")).unwrap();
    let stored = stored.as_object().unwrap();
    assert_eq!(stored.len(), 9);
    let mut wrong = Vec::new();
    for (name, outputs) in stored {
        let network = read(&format!("{name}.onnx"));
        for (n, want) in outputs.as_array().unwrap().iter().enumerate() {
            let want: Vec<f32> = want.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
            let got = run(&network, &image(n as u32));
            let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Integers equal those of ONNX Runtime, and so do the floats they are dequantised to.
            let allowed = if name.contains("_q") { 0.0 } else { 1e-5 };
            if apart > allowed || got.len() != want.len() {
                wrong.push(format!("{name} image {n}: {apart} apart, {got:?} and {want:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_between_integers_become_integer_layers() {
    // Only the input is quantised, only the output dequantised.
    for name in ["residual_qdq", "residual_qlinear"] {
        let network = read(&format!("{name}.onnx"));
        let want =
            ["input", "quantize", "conv", "max_pool", "conv", "conv", "conv", "add", "mean", "linear", "dequantize"];
        assert_eq!(kinds(&network.graph), want, "{name}");
        let integer = |layer: &Layer| match layer {
            Layer::Conv(conv) => conv.integer.is_some(),
            Layer::Linear(linear) => linear.integer.is_some(),
            _ => true,
        };
        assert!(network.graph.nodes.iter().all(|def| integer(&def.layer)), "{name}");
    }
    // A hard sigmoid and a product have no integer layers.
    let network = read("mobile_hard_qdq.onnx").graph;
    let count = |kind: &str| kinds(&network).iter().filter(|k| **k == kind).count();
    assert_eq!((count("conv"), count("hard_sigmoid"), count("mul")), (7, 5, 5));
    assert!(count("dequantize") > 5);
}

#[test]
fn a_quantised_network_is_measured_in_the_codes_it_stores() {
    let folder = tempfile::tempdir().unwrap();
    let picture = image::RgbImage::from_fn(18, 18, |x, y| image::Rgb([x as u8 * 14, y as u8 * 14, 128]));
    picture.save(folder.path().join("image.png")).unwrap();
    let measure = |name: &str| {
        let path = file(name);
        let args = ["measure", path.to_str().unwrap(), "image.png", "--format", "json"];
        let output = binary::deadweight().args(args).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("a card with --arch"), "preprocessing is a guess: {said}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    for (name, layers) in [("residual_qdq.onnx", 5), ("residual_qlinear.onnx", 5), ("mobile_qdq.onnx", 6)] {
        let document = measure(name);
        assert_eq!(document["format"]["name"], "stored", "{name}");
        let rows = document["layers"].as_array().unwrap();
        assert_eq!(rows.len(), layers, "{name}");
        for row in rows {
            assert_eq!(row["weights"]["bits"]["value"], 8.0, "{name}");
            assert!(row["activations"]["zero_point"]["value"].is_f64(), "{name}: {row}");
        }
    }
    let document = measure("mobile.onnx");
    assert_eq!(document["format"]["name"], "fixed16");
    assert_eq!(document["model"]["folded"], true);
}

/// The residual network with a change, as bytes.
fn changed(change: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::parse_buf(&std::fs::read(file("residual_qdq.onnx")).unwrap()).unwrap();
    change(model.graph.as_mut().unwrap());
    model.write_buf().unwrap()
}

fn node<'a>(graph: &'a mut GraphProto, op: &str) -> &'a mut NodeProto {
    graph.node.iter_mut().find(|node| node.op_type.as_deref() == Some(op)).unwrap()
}

fn attribute<'a>(node: &'a mut NodeProto, name: &str) -> &'a mut AttributeProto {
    node.attribute.iter_mut().find(|attribute| attribute.name.as_deref() == Some(name)).unwrap()
}

#[test]
fn what_cannot_be_imported_is_named_in_the_error() {
    let whole = changed(|_| {});
    // Graphs in attributes of operators of graphs.
    let deep = (0..18).fold(vec![], |inner: Vec<u8>, _| {
        let length = inner.len() as u8;
        [&[0x32, length + 4, 0x0a, length + 2, 0x2a, length][..], &inner].concat()
    });
    let attribute_in = |message: Vec<u8>| {
        let wrap = |field: u8, inner: &[u8]| [&[field << 3 | 2, inner.len() as u8][..], inner].concat();
        [&[8, 8][..], &wrap(7, &wrap(1, &wrap(5, &message)))].concat()
    };
    let cases: Vec<(Vec<u8>, i32, &str)> = vec![
        (changed(|g| node(g, "MaxPool").op_type = Some("LpPool".into())), 4, "LpPool"),
        (changed(|g| node(g, "Conv").domain = Some("my.own".into())), 4, "my.own:Conv"),
        (changed(|g| node(g, "Conv").input[1] = "nothing".into()), 1, "reads nothing"),
        (changed(|g| node(g, "Conv").input.truncate(1)), 1, "has no input 1"),
        (changed(|g| attribute(node(g, "Conv"), "strides").ints[0] = 0), 1, "its strides are [0, 2]"),
        (changed(|g| attribute(node(g, "Conv"), "pads").ints[1] = -1), 1, "its pads are [2, -1, 2, 2]"),
        (changed(|g| attribute(node(g, "Conv"), "group").i = Some(3)), 1, "in 3 groups over [3, 18, 18]"),
        (changed(|g| attribute(node(g, "Conv"), "group").i = Some(-1)), 1, "in 0 groups"),
        (changed(|g| g.input.clear()), 4, "0 inputs"),
        (changed(|g| g.output.push(g.output[0].clone())), 4, "2 outputs"),
        (changed(|g| g.output[0].name = Some("other".into())), 1, "other: is the output"),
        (changed(|g| g.initializer[0].dims = vec![7]), 1, "its shape is [7]"),
        (changed(|g| g.initializer[0].dims = vec![-1]), 1, "its shape is [-1]"),
        (changed(|g| g.initializer[0].data_type = Some(DataType::STRING)), 4, "values of STRING"),
        (changed(|g| g.initializer[0].data_location = Some(DataLocation::EXTERNAL)), 1, "in another file"),
        (changed(|g| g.node.reverse()), 1, "no operator before made it"),
        (whole[..whole.len() / 2].to_vec(), 1, "truncated, damaged or no ONNX file"),
        (vec![8, 8], 1, "holds no graph"),
        (vec![8, 8, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f], 1, "bytes where 0 are left"),
        (attribute_in(deep), 1, "graphs in one another 16 times"),
        (b"version https://git-lfs.github.com/spec/v1".to_vec(), 1, "git lfs pull"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    for (bytes, want, part) in cases {
        std::fs::write(&path, bytes).unwrap();
        let options = LoadOptions { onnx: OnnxBy::Layers, ..LoadOptions::default() };
        let error = match Model::load(path.to_str().unwrap(), &options) {
            Err(error) => error,
            Ok(_) => panic!("{part}: is read"),
        };
        let said = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(i32::from(error.exit_code()) == want && said.contains(part), "{part}: {} {said}", error.exit_code());
        assert!(said.contains("net.onnx"), "{part}: {said}");
    }
    // A card with another input size.
    std::fs::write(&path, whole).unwrap();
    let options = LoadOptions { arch: Some("resnet18".into()), ..LoadOptions::default() };
    let error = Model::load(path.to_str().unwrap(), &options).err().unwrap().to_string();
    assert!(error.contains("makes inputs [3, 224, 224], the network reads [3, 18, 18]"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_an_error_and_no_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let mut bytes = std::fs::read(file("residual_qlinear.onnx")).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        // A damaged file may still be a network, possibly a large one; anything else is an error.
        if let Ok(onnx) = Onnx::from_bytes("damaged", &bytes) {
            let _ = models::onnx::build(&onnx, None, Rounding::Float32);
        }
    }
}
