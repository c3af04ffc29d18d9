//! Our networks against torchvision's, timm's, transformers' and others': names, shapes, features and outputs.
//!
//! The weights are seeded by parameter name on both sides (see `reference/make_networks.py`), so that equal outputs
//! prove equal names, structure, padding and epsilon at once.

use std::sync::Arc;

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::graph::{Graph, Node, NodeDef, Params, passes};
use deadweight::hex::hex;
use deadweight::layers::{Layer, Padding, Param, Shape};
use deadweight::models::{self, Card, Naming};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::naive;

/// Largest difference allowed, relative to the root mean square of the reference.
const TOLERANCE: f64 = 1e-4;

/// Runs a graph on one image.
pub type Executor = fn(&Graph, Shape, &[f32]) -> Vec<f32>;

/// All implementations.
pub const EXECUTORS: &[(&str, Executor); 3] = &[("plain loops", naive::run), ("native", native), ("candle", candle)];

/// The native engine, as the program runs it: folded and fused.
fn native(graph: &Graph, shape: Shape, image: &[f32]) -> Vec<f32> {
    let graph = passes::fuse_epilogue(&passes::fold_norm(graph));
    Session::new(Arc::new(graph), shape, 1, EngineOptions::new(2)).unwrap().run(image, None).unwrap()
}

/// candle's operations, neither folded nor fused.
fn candle(graph: &Graph, shape: Shape, image: &[f32]) -> Vec<f32> {
    CandleEngine::new(graph, candle_core::Device::Cpu).unwrap().run(image, shape, None).unwrap()
}

#[derive(Deserialize)]
struct Reference {
    card: String,
    naming: Naming,
    input: [usize; 4],
    /// Tokens of a network that reads numbers; 0 for one that reads images.
    #[serde(default)]
    vocabulary: usize,
    /// Which outputs are stored: every `step`-th.
    step: usize,
    tensors: usize,
    names_sha256: String,
    logits: Vec<f32>,
    /// Empty for networks that do not pool to one pixel.
    features: Vec<f32>,
    /// Numbers of the architecture that differ from the card's.
    arch: toml::Table,
}

impl Reference {
    fn card(&self) -> Card {
        let mut card = models::card(&self.card).unwrap().clone();
        card.arch.extend(self.arch.clone());
        card.naming = Some(self.naming);
        card
    }

    fn graph(&self) -> Graph {
        models::build(&self.card(), Params::Random(0)).unwrap().0
    }

    /// Outputs of all images, one after the other.
    fn run(&self, graph: &Graph, executor: Executor) -> Vec<f32> {
        let [n, c, h, w] = self.input;
        let shape = Shape::new(c, h, w);
        let value = |i: usize| match self.vocabulary {
            0 => pixel(i),
            tokens => (i.wrapping_mul(2_654_435_761) % (1 << 32) % tokens) as f32,
        };
        let pixels: Vec<f32> = (0..n * shape.elements()).map(value).collect();
        let outputs = pixels.chunks(shape.elements()).flat_map(|image| executor(graph, shape, image));
        outputs.collect()
    }
}

/// Value `i` of the input.
pub fn pixel(i: usize) -> f32 {
    (i as u32).wrapping_mul(2_654_435_761) as f32 / (1u64 << 31) as f32 - 1.0
}

fn references() -> Vec<Reference> {
    serde_json::from_str(include_str!("reference/networks.json")).unwrap()
}

/// Largest difference relative to the root mean square of `want`.
pub fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square: f64 = want.iter().map(|&v| f64::from(v).powi(2)).sum();
    let rms = (square / want.len() as f64).sqrt();
    got.iter().zip(want).map(|(&g, &w)| (f64::from(g) - f64::from(w)).abs() / rms).fold(0.0, f64::max)
}

/// The tensors of a layer named after its weight; fastai's is next to the module that has the bias.
fn named(tensors: &mut Vec<(String, Vec<usize>)>, name: &str, weight: &Param, bias: Option<&Param>) {
    tensors.push((name.to_owned(), weight.shape.clone()));
    let bias_name = name.replace("weight", "bias").replace(".bias_hh_l0_raw", ".module.bias_hh_l0");
    tensors.extend(bias.map(|bias| (bias_name, bias.shape.clone())));
}

/// Every tensor that the layers read, as the checkpoint names it.
fn tensors(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![];
    for def in &graph.nodes {
        let mut add = |name: &str, param: &Param| tensors.push((format!("{}.{name}", def.name), param.shape.clone()));
        let (weight, bias) = match &def.layer {
            Layer::Conv(conv) => (Some(&conv.weight), conv.bias_values.as_ref()),
            Layer::ConvTranspose(conv) => (Some(&conv.weight), conv.bias_values.as_ref()),
            // A sequence layer is named after its weight, unless it is the decoder.
            Layer::Lstm(_) | Layer::Recurrent(_) => {
                let of = def.layer.recurrence().unwrap();
                named(&mut tensors, &def.name, of.weight, of.bias);
                let projection = of.projection.map(|r| (def.name.replace("weight_hh", "weight_hr"), r.shape.clone()));
                tensors.extend(projection);
                continue;
            }
            Layer::Linear(linear) if def.name.contains("weight_ih") => {
                named(&mut tensors, &def.name, &linear.weight, linear.bias.as_ref());
                continue;
            }
            Layer::Linear(linear) => ((!linear.tied).then_some(&linear.weight), linear.bias.as_ref()),
            Layer::Embedding(embedding) => (Some(&embedding.table), None),
            Layer::BatchNorm(norm) => {
                add("running_mean", &norm.mean);
                add("running_var", &norm.variance);
                (Some(&norm.weight), Some(&norm.bias))
            }
            _ => (None, None),
        };
        weight.into_iter().for_each(|param| add("weight", param));
        bias.into_iter().for_each(|param| add("bias", param));
    }
    tensors.sort();
    tensors
}

/// The part of the network up to the pooled features.
fn cut_at_features(graph: &Graph) -> Graph {
    let pool = |&node: &Node| matches!(graph.def(node).layer, Layer::GlobalAvgPool);
    let output = graph.handles().rev().find(pool).expect("a network with features pools");
    Graph { nodes: graph.nodes[..=output.index()].to_vec(), output: Some(output) }
}

#[test]
fn names_and_shapes_are_those_of_the_original_networks() {
    let mut wrong = vec![];
    for reference in references() {
        let tensors = tensors(&reference.graph());
        let listing: String = tensors.iter().map(|(name, shape)| format!("{name} {shape:?}\n")).collect();
        let digest = hex(Sha256::digest(listing));
        if (tensors.len(), &digest) != (reference.tensors, &reference.names_sha256) {
            wrong.push(format!(
                "{} {:?}: {} of {}",
                reference.card,
                reference.naming,
                tensors.len(),
                reference.tensors
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn features_and_logits_are_those_of_the_original_networks() {
    let mut wrong = vec![];
    for reference in references() {
        let graph = reference.graph();
        for &(name, executor) in EXECUTORS {
            let outputs: Vec<f32> = reference.run(&graph, executor).into_iter().step_by(reference.step).collect();
            let mut apart = vec![distance(&outputs, &reference.logits)];
            if !reference.features.is_empty() {
                let features = cut_at_features(&graph);
                let kept = reference.features.len() / reference.input[0];
                let got: Vec<f32> = reference
                    .run(&features, executor)
                    .chunks(graph.def(features.output()).channels)
                    .flat_map(|image| image[..kept].to_vec())
                    .collect();
                apart.push(distance(&got, &reference.features));
            }
            if !apart.iter().all(|&apart| apart <= TOLERANCE) {
                wrong.push(format!("{} {:?}, {name}: logits and features {apart:?}", reference.card, reference.naming));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_epsilon_or_padding_would_be_seen() {
    let mut unseen = vec![];
    for reference in references().iter().filter(|reference| reference.card.starts_with("mobilenet")) {
        let same = |def: &NodeDef| matches!(&def.layer, Layer::Conv(conv) if conv.padding == Padding::Same);
        let other = if reference.graph().nodes.iter().any(same) { "symmetric" } else { "same" };
        for (field, value) in [("eps", toml::Value::from(2e-3)), ("padding", other.into())] {
            let mut card = reference.card();
            card.arch.insert(field.into(), value);
            let (graph, _) = models::build(&card, Params::Random(0)).unwrap();
            let apart = distance(&reference.run(&graph, naive::run), &reference.logits);
            if apart < 10.0 * TOLERANCE {
                unseen.push(format!("{} {:?}: {field} {apart}", card.name, reference.naming));
            }
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}
