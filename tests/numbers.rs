//! Numbers of a network that its weights state: removed channels, classes, input channels, blocks, a missing classifier.

use std::collections::BTreeMap;

use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::layers::{Layer, Shape};
use deadweight::model::{LoadOptions, Model};
use deadweight::models::{self, Card, Fit, Task};
use deadweight::weights::Weights;
use proptest::prelude::*;
use serde::Deserialize;

use crate::binary::text;
use crate::facts::build::{Tensor, network, tensors, write};
use crate::parity::{EXECUTORS, distance, pixel};

/// As in the comparison of whole networks.
const TOLERANCE: f64 = 1e-4;

/// A network of removed channels, and what PyTorch answers.
#[derive(Deserialize)]
struct Reference {
    card: String,
    arch: toml::Table,
    input: [usize; 4],
    filters: BTreeMap<String, usize>,
    logits: Vec<f32>,
}

/// Learned tensors of `graph` if each layer has as many filters as `filters` says of its path and the number it has.
fn resized(graph: &Graph, filters: &dyn Fn(&str, usize) -> usize) -> Vec<Tensor> {
    let (mut channels, mut all): (Vec<usize>, Vec<Tensor>) = (vec![], vec![]);
    for def in &graph.nodes {
        let input = def.inputs.first().map_or(def.channels, |input| channels[input.index()]);
        let mut put = |name: &str, shape: &[usize]| {
            let name = format!("{}.{name}", def.name);
            let values = Scope::new(Params::Random(0)).parameter(&name, shape).data.to_vec();
            all.push((name, shape.to_vec(), values));
        };
        channels.push(match &def.layer {
            Layer::Conv(conv) => {
                let depthwise = conv.is_depthwise();
                let out = if depthwise { input } else { filters(&def.name, conv.out_channels) };
                put("weight", &[out, if depthwise { 1 } else { input }, conv.kernel.0, conv.kernel.1]);
                conv.bias_values.iter().for_each(|_| put("bias", &[out]));
                out
            }
            Layer::Linear(linear) => {
                let pixels = linear.in_features / graph.def(def.inputs[0]).channels;
                let out = filters(&def.name, linear.out_features);
                put("weight", &[out, input * pixels]);
                put("bias", &[out]);
                out
            }
            Layer::BatchNorm(_) => {
                ["weight", "bias", "running_mean", "running_var"].into_iter().for_each(|name| put(name, &[input]));
                input
            }
            _ => input,
        });
    }
    all
}

fn weights(tensors: Vec<Tensor>) -> Weights {
    Weights::from_tensors("pruned", tensors).unwrap()
}

/// The network that the numbers of `arch` and the card `name` describe.
fn declared(name: &str, arch: &toml::Table) -> Graph {
    let mut card = models::card(name).unwrap().clone();
    card.arch.extend(arch.clone());
    models::build(&card, Params::Declared).unwrap().0
}

fn fit(name: &str, tensors: Vec<Tensor>) -> Result<Fit, deadweight::Error> {
    models::fit(models::card(name).unwrap(), Params::Stored(weights(tensors)))
}

#[test]
fn networks_of_removed_channels_are_those_of_pytorch() {
    let references: Vec<Reference> = serde_json::from_str(include_str!("reference/pruned.json")).unwrap();
    let mut wrong = vec![];
    for Reference { card, arch, input: [n, c, h, w], filters, logits } in references {
        let stored = |name: &str, card: usize| filters.get(name).copied().unwrap_or(card);
        // The card says neither the numbers of filters nor those of classes and of pixels before the classifier.
        let fit = fit(&card, resized(&declared(&card, &arch), &stored)).unwrap();
        assert!(fit.notes.len() == 1 && fit.notes[0].contains(&format!(" than card {card}: ")), "{:?}", fit.notes);
        let shape = Shape::new(c, h, w);
        let images: Vec<f32> = (0..n * shape.elements()).map(pixel).collect();
        for (name, executor) in EXECUTORS {
            let got: Vec<f32> =
                images.chunks(shape.elements()).flat_map(|image| executor(&fit.graph, shape, image)).collect();
            let apart = distance(&got, &logits);
            if apart.is_nan() || apart > TOLERANCE {
                wrong.push(format!("{card}, {name}: {apart}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// For each layer with filters, the first one with which it shares their number, because their outputs are added.
fn ties(graph: &Graph) -> BTreeMap<String, String> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut source: Vec<String> = vec![];
    for def in &graph.nodes {
        let of = |input: &Node| source[input.index()].clone();
        source.push(match &def.layer {
            Layer::Conv(conv) if !conv.is_depthwise() => def.name.clone(),
            Layer::Linear(_) => def.name.clone(),
            Layer::Add => {
                let [a, b] = [0, 1].map(|i| root(&first, &of(&def.inputs[i])));
                if a != b {
                    first.insert(b, a.clone());
                }
                a
            }
            _ => def.inputs.first().map_or_else(String::new, of),
        });
    }
    first
}

fn root(first: &BTreeMap<String, String>, name: &str) -> String {
    first.get(name).map_or_else(|| name.to_owned(), |other| root(first, other))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn networks_of_any_numbers_of_filters_run_alike_on_both_engines(
        card in prop::sample::select(vec!["resnet18", "mobilenet_v2", "vgg11"]), seed in any::<u64>(), most in 1usize..24,
    ) {
        let classes = 7;
        let arch = if card == "vgg11" { "rows = 1" } else { "" }.parse().unwrap();
        let graph = declared(card, &arch);
        let ties = ties(&graph);
        let last = graph.def(graph.output()).name.clone();
        let filters = |name: &str, _: usize| match root(&ties, name) {
            root if root == last => classes,
            root => 1 + (root.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)) >> 7) as usize % most,
        };
        let fit = fit(card, resized(&graph, &filters)).unwrap();
        prop_assert_eq!(fit.graph.def(fit.graph.output()).channels, classes);
        let shape = Shape::new(3, 32, 32);
        let image: Vec<f32> = (0..shape.elements()).map(pixel).collect();
        let [_, native, candle] = EXECUTORS;
        let apart = distance(&native.1(&fit.graph, shape, &image), &candle.1(&fit.graph, shape, &image));
        prop_assert!(apart <= TOLERANCE, "{card} {seed} {most}: {apart}");
    }
}

#[test]
fn contradictory_numbers_are_all_listed() {
    let graph = declared("resnet18", &"classes = 3".parse().unwrap());
    let filters = |name: &str, _: usize| match name {
        "fc" => 3,
        "layer1.0.conv2" => 5,
        "layer1.1.conv2" => 6,
        _ => 4,
    };
    let mut tensors = resized(&graph, &filters);
    for (name, shape, values) in &mut tensors {
        if name == "layer2.0.conv1.weight" {
            (*shape, *values) = (vec![4, 9, 3, 3], vec![0.0; 4 * 9 * 9]);
        }
    }
    tensors.push(("layer3.1.extra.weight".into(), vec![1], vec![0.0]));
    let said = fit("resnet18", tensors).err().unwrap().to_string();
    for problem in [
        "layer1.0: adds 5 channels of layer1.0.conv2 to 4 of conv1",
        "layer1.1: adds 6 channels of layer1.1.conv2 to 5 of layer1.0.conv2",
        "layer2.0.conv1.weight: is [4, 9, 3, 3], the network needs [4, 6, 3, 3]; layer1.1.conv2 has 6 channels",
        "layer3.1.extra.weight: left over",
    ] {
        assert!(said.contains(problem), "{problem}: {said}");
    }
}

/// The tensors of the card `name` with random weights.
fn whole(name: &str) -> Vec<Tensor> {
    tensors(&network(models::card(name).unwrap()))
}

fn without(tensors: &[Tensor], below: &str) -> Vec<Tensor> {
    tensors.iter().filter(|(name, ..)| !name.starts_with(below)).cloned().collect()
}

#[test]
fn a_backbone_below_a_prefix_ends_in_features() {
    let tensors = whole("digits");
    let card = models::card("digits").unwrap();
    let features = {
        let (graph, _) = models::build(card, Params::Stored(weights(tensors.clone()))).unwrap();
        let pool = graph.handles().find(|node| matches!(graph.def(*node).layer, Layer::GlobalAvgPool)).unwrap();
        Graph { output: Some(pool), nodes: graph.nodes[..=pool.index()].to_vec() }
    };
    let mut below: Vec<Tensor> = without(&tensors, "fc.");
    below.iter_mut().for_each(|(name, ..)| *name = format!("encoder.{name}"));
    below.push(("head.0.weight".into(), vec![2, 64], vec![0.0; 128]));
    let mut beside = without(&tensors, "fc.");
    beside.push(("projection_head.0.weight".into(), vec![2, 64], vec![0.0; 128]));
    let shape = Shape::new(1, 32, 32);
    let image: Vec<f32> = (0..shape.elements()).map(pixel).collect();
    let want = EXECUTORS[1].1(&features, shape, &image);
    for (tensors, notes) in [
        (
            below,
            ["read from encoder.*", "left out: head.0.weight", "no classifier: the network ends in the 64 features"],
        ),
        (beside, ["left out: projection_head.0.weight", "no classifier", "ends in the 64 features"]),
    ] {
        let fit = models::fit(card, Params::Stored(weights(tensors))).unwrap();
        assert!(fit.headless);
        assert_eq!(EXECUTORS[1].1(&fit.graph, shape, &image), want);
        let said = fit.notes.join("\n");
        assert!(notes.iter().all(|note| said.contains(note)), "{said}");
    }
    // What is not of a head is no backbone's.
    let mut more = without(&tensors, "fc.");
    more.push(("layer1.0.se.fc1.weight".into(), vec![1], vec![0.0]));
    let said = models::fit(card, Params::Stored(weights(more))).err().unwrap().to_string();
    assert!(said.contains("se.fc1.weight: left over") && said.contains("fc.weight: missing"), "{said}");
}

#[test]
fn features_are_printed_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (file, image) = (folder.path().join("w.safetensors"), folder.path().join("x.png"));
    write(&file, &without(&whole("digits"), "fc."));
    image::GrayImage::from_fn(32, 32, |x, y| image::Luma([(7 * x + y * y) as u8])).save(&image).unwrap();
    let run = |line: &[&str]| {
        let output = crate::binary::deadweight().args(line).output().unwrap();
        let [out, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code().unwrap(), out, said)
    };
    let (file, image) = (text(&file), text(&image));
    let (code, out, said) = run(&["run", file, image, "--arch", "digits"]);
    assert!(code == 0 && out.contains("64 features of norm ") && said.contains("has no classifier"), "{out}{said}");
    let (code, out, _) = run(&["run", file, image, "--arch", "digits", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let features: Vec<f64> =
        json["inputs"][0]["features"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    let norm = features.iter().map(|value| value * value).sum::<f64>().sqrt();
    assert!(code == 0 && features.len() == 64 && (json["inputs"][0]["norm"].as_f64().unwrap() - norm).abs() < 1e-4);
    let (code, out, _) = run(&["measure", file, image, "--arch", "digits"]);
    assert!(code == 0 && out.contains("features") && !out.contains("top-1"), "{out}");
}

fn load(tensors: &[Tensor], arch: Option<&str>) -> Result<Model, deadweight::Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    write(&path, tensors);
    Model::load(text(&path), &LoadOptions { arch: arch.map(str::to_owned), ..LoadOptions::default() })
}

#[test]
fn weights_alone_or_with_their_family_say_which_network_they_are_of() {
    // The built-in network reads one channel.
    for (name, arch, notes) in [
        ("digits", None, vec!["recognised as card digits"]),
        ("resnet20-cifar", None, vec!["recognised as card resnet20-cifar"]),
        ("mobilenetv1-0.25-retinaface", None, vec!["recognised as card mobilenetv1-0.25-retinaface"]),
        ("dncnn_gray", Some("denoise"), vec![]),
        ("scenes", None, vec!["recognised as card scenes"]),
    ] {
        let model = load(&whole(name), arch).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((model.card.family.as_str(), model.card.task), {
            let card: &Card = models::card(name).unwrap();
            (card.family.as_str(), card.task)
        });
        for note in notes {
            assert!(model.notes.iter().any(|said| said.contains(note)), "{name}: {:?}", model.notes);
        }
    }
    // Padding and epsilon are in no shape.
    let narrow = whole("mobilenetv3_small_050");
    let model = load(&narrow, Some("mobilenet_v3")).unwrap();
    assert!(
        model.notes.iter().any(|note| note.contains("also fit") || note.contains("recognised")),
        "{:?}",
        model.notes
    );
    let error = load(&[("a.weight".into(), vec![1], vec![0.0])], None).err().unwrap();
    assert!(error.exit_code() == 2 && error.to_string().contains("name its card with --arch"), "{error}");
    let error = load(&[("a.weight".into(), vec![1], vec![0.0])], Some("vgg")).err().unwrap();
    assert!(error.exit_code() == 4 && error.to_string().contains("the naming of its parameters"), "{error}");
}

#[test]
fn another_number_of_input_channels_is_prepared_for() {
    let mut tensors = whole("resnet20-cifar");
    for (name, shape, values) in &mut tensors {
        if name == "conv1.weight" {
            values.truncate(values.len() / 3);
            shape[1] = 1;
        }
    }
    let model = load(&tensors, Some("resnet20-cifar")).unwrap();
    assert_eq!((model.preprocess.channels(), model.card.task), (1, Task::Classify));
    assert!(model.notes.iter().any(|note| note.contains("reads 1 channels")), "{:?}", model.notes);
}

#[test]
fn tensorflows_spelling_and_layout_are_read() {
    let tensors = whole("digits");
    let spelt = tensors.iter().map(|(name, shape, values)| {
        let (place, parameter) = name.rsplit_once('.').unwrap();
        let place = place.replace('.', "/");
        let norm = shape.len() == 1 && (place.contains("bn") || place.contains("downsample/1"));
        let kernel = |axes: &[usize]| {
            let extents: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
            let strides: Vec<usize> = axes.iter().map(|&axis| shape[axis + 1..].iter().product()).collect();
            let index = |mut i: usize| {
                let mut at = 0;
                for (extent, stride) in extents.iter().zip(&strides).rev() {
                    at += i % extent * stride;
                    i /= extent;
                }
                at
            };
            let values = (0..values.len()).map(|i| values[index(i)]).collect();
            (format!("{place}/kernel"), extents.clone(), values)
        };
        match (parameter, shape.len()) {
            ("weight", 4) => kernel(&[2, 3, 1, 0]),
            ("weight", 2) => kernel(&[1, 0]),
            (parameter, _) => {
                let parameter = match parameter {
                    "weight" => "gamma",
                    "bias" if norm => "beta",
                    "bias" => "biases",
                    "running_mean" => "moving_mean",
                    _ => "moving_variance",
                };
                (format!("{place}/{parameter}"), shape.clone(), values.clone())
            }
        }
    });
    let [plain, spelt] = [tensors.clone(), spelt.collect()].map(|tensors| fit("digits", tensors).unwrap().graph);
    let shape = Shape::new(1, 32, 32);
    let image: Vec<f32> = (0..shape.elements()).map(pixel).collect();
    assert_eq!(EXECUTORS[1].1(&plain, shape, &image), EXECUTORS[1].1(&spelt, shape, &image));
}

#[test]
fn impossible_extents_are_errors() {
    let mut tensors = whole("digits");
    for (name, shape, values) in &mut tensors {
        if name == "conv1.weight" || name == "layer1.0.conv1.weight" {
            (*shape, *values) = (vec![1 << 40, 0, 3, 3], vec![]);
        }
    }
    for block in 0..5000 {
        tensors.push((format!("layer2.{block}.x"), vec![1], vec![0.0]));
    }
    for arch in [Some("digits"), Some("resnet"), None] {
        let error = load(&tensors, arch).err().unwrap();
        assert!([1, 2].contains(&error.exit_code()), "{error}");
    }
}
