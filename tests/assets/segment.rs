//! Segmentation: the mobile DeepLabV3 of TensorFlow, its weights with transformers' names, against PyTorch's run of the
//! original graph.

use std::collections::HashMap;

use deadweight::engine::{Backend, EngineOptions, Session};
use deadweight::graph::Graph;
use deadweight::input::{Dataset, IGNORE, Truth, TruthSource};
use deadweight::layers::Shape;
use deadweight::measure::{Quiet, Settings, calibrate, measure};
use deadweight::model::{LoadOptions, Model};
use deadweight::task::Quality;
use deadweight::task::segment::{Areas, class_map};
use deadweight::weights::Weights;
use safetensors::tensor::{Dtype, TensorView};

use super::{asset, json, stored};

/// transformers' name of a tensor; TensorFlow's converter concatenated the names of all that it folded into it.
fn renamed(name: &str) -> String {
    let bias = name.ends_with("ias") || name.ends_with("biases") || name.starts_with("logits/semantic/BiasAdd");
    // A weight has the name of its operation first, a bias its own name last.
    let own = if bias { name.rsplit(';').next() } else { name.split(';').next() }.unwrap();
    let place = match own.split('/').collect::<Vec<_>>()[..] {
        ["MobilenetV2", "Conv", ..] => "mobilenet_v2.conv_stem.first_conv".to_owned(),
        ["MobilenetV2", block, role, ..] => {
            let role = match role {
                "expand" => "expand_1x1",
                "depthwise" => "conv_3x3",
                "project" => "reduce_1x1",
                other => panic!("{other} of {name}"),
            };
            match block.strip_prefix("expanded_conv_") {
                Some(number) => format!("mobilenet_v2.layer.{}.{role}", number.parse::<usize>().unwrap() - 1),
                None => format!("mobilenet_v2.conv_stem.{role}"),
            }
        }
        ["aspp0", ..] => "segmentation_head.conv_aspp".into(),
        ["image_pooling", ..] => "segmentation_head.conv_pool".into(),
        ["concat_projection", ..] => "segmentation_head.conv_projection".into(),
        ["logits", ..] => "segmentation_head.classifier".into(),
        _ => panic!("{name}"),
    };
    format!("{place}.convolution.{}", if bias { "bias" } else { "weight" })
}

fn model(folder: &std::path::Path) -> Model {
    let weights = Weights::open(asset("segment/deeplabv3-mnv2-0.5-pascal.float.safetensors")).unwrap();
    let tensors: HashMap<String, (Vec<usize>, Vec<u8>)> = weights
        .names()
        .map(|name| {
            let bytes = weights.read_f32(name).unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
            (renamed(name), (weights.shape(name).unwrap().to_vec(), bytes))
        })
        .collect();
    let views =
        tensors.iter().map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let path = folder.join("renamed.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let options = LoadOptions { arch: Some("deeplabv3_mobilenet_v2_0.5_513".into()), ..LoadOptions::default() };
    Model::load(path.to_str().unwrap(), &options).unwrap()
}

#[test]
fn maps_and_logits_are_those_of_the_original_graph() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let reference = "segment/deeplabv3-mnv2-0.5-pascal.ref.safetensors";
    let figures = json("segment/deeplabv3-mnv2-0.5-pascal.ref.json");
    // The network up to its last resize has the stored logits.
    let last = model.graph.def(model.graph.output());
    let before =
        Graph { nodes: model.graph.nodes[..model.graph.output().index()].to_vec(), output: Some(last.inputs[0]) };
    let shape = Shape::new(3, 513, 513);
    let [mut whole, mut low] = [model.graph.clone(), std::sync::Arc::new(before)]
        .map(|graph| Session::new(graph, shape, 1, EngineOptions::new(2)).unwrap());
    for image in ["bird", "voc23", "voc1"] {
        let data = Dataset::open(&[asset(&format!("data/segment/{image}.png"))], &model.preprocess).unwrap();
        let data = data.with_truths(TruthSource::Classes(asset("data/segment")));
        let sample = data.load(0).unwrap();
        let logits = low.run(&sample.values, None).unwrap();
        let (want, _) = stored(reference, &format!("{image}.logits_float_lowres"));
        // Stored channels-last.
        let apart = (0..want.len()).map(|i| (logits[i % 21 * 33 * 33 + i / 21] - want[i]).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-3, "{image}: logits are {apart} apart");
        let map = class_map(&whole.run(&sample.values, None).unwrap(), 21);
        let (want, _) = stored(reference, &format!("{image}.mask_float"));
        let other = map.iter().zip(&want).filter(|(got, want)| f32::from(**got) != **want).count();
        assert!(other <= 2, "{image}: {other} pixels of another class");
        let Some(Truth::Classes(truth)) = &sample.truth else { panic!("{image} has a map of classes") };
        let mut areas = Areas::default();
        areas.add(&map, truth, IGNORE);
        for (class, want) in figures[image]["iou_float"].as_object().unwrap() {
            let area = areas.classes[class.parse::<usize>().unwrap()];
            let got = area.intersection as f64 / area.union() as f64;
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < 2e-4, "{image}: IoU of class {class} is {got}, stored {want}");
        }
        let [right, all] = areas.pixels().map(|pixels| pixels as f64);
        let want = figures[image]["agree_truth_float"].as_f64().unwrap();
        assert!((right / all - want).abs() < 2e-5, "{image}: {} of the pixels are right, stored {want}", right / all);
    }
}

#[test]
fn a_measurement_has_the_mean_iou() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let files = ["bird", "voc1"].map(|image| asset(&format!("data/segment/{image}.png")));
    let data = Dataset::open(&files, &model.preprocess).unwrap();
    let data = data.with_truths(TruthSource::Classes(asset("data/segment")));
    let backend = Backend::Native(EngineOptions::new(2));
    let calibration = calibrate(&model, &backend, &data, &Settings::default(), &Quiet).unwrap();
    let measurement = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
    let Quality::Segment(areas) = &measurement.quality else { panic!("it segments") };
    // Classes 0, 1 and 3 occur; 2, 12 and 13 are predicted and do not: 0.
    let figures = json("segment/deeplabv3-mnv2-0.5-pascal.ref.json");
    let iou = |image: &str, class: &str| figures[image]["iou_float"][class].as_f64().unwrap();
    let of = |class: usize| areas.classes[class].intersection as f64 / areas.classes[class].union() as f64;
    assert!((of(3) - iou("bird", "3")).abs() < 2e-4 && of(1) <= iou("voc1", "1") + 2e-4, "{areas:?}");
    let classes: Vec<usize> = (0..areas.classes.len()).filter(|&class| areas.classes[class].union() > 0).collect();
    assert_eq!(classes, [0, 1, 2, 3, 12, 13]);
    let mean = classes.iter().map(|&class| of(class)).sum::<f64>() / 6.0;
    assert!((areas.mean_iou().unwrap() - mean).abs() < 1e-12);
}
