//! Operands rounded to few bits: weights in place, activations by a layer before each that multiplies them, so that every reader
//! of a value has its own precision; what never leaves a layer, by the layer itself.

use super::passes::Rewrite;
use super::{Graph, Node, NodeDef};
use crate::kernels::Activation;
use crate::kernels::count::CodeMap;
use crate::layers::{Layer, Param};
use std::collections::BTreeMap;

/// Where a layer's operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One of its inputs.
    Input(usize),
    /// Its weights; of a recurrence, those of the values of the step before.
    Weights,
    /// Of a recurrence: the weights of its projection.
    Projection,
    /// Of a recurrence: what a step reads of the one before (0), or what the projection reads (1).
    State(usize),
    /// Of attention: its probabilities.
    Probabilities,
}

/// Where operand `operand` (0 activations, 1 weights) of the product at `node` is; `inside` says that it is the second product of
/// the node: the projection of a recurrence, probabilities and values of attention.
pub fn place(graph: &Graph, node: Node, inside: bool, operand: usize) -> Place {
    match (&graph.def(node).layer, inside, operand) {
        (Layer::MatMul(_), _, operand) | (Layer::Attention(_), false, operand) => Place::Input(operand),
        (Layer::Attention(_), true, 0) => Place::Probabilities,
        (Layer::Attention(_), true, _) => Place::Input(2),
        (Layer::Lstm(_) | Layer::Recurrent(_), inside, 0) => Place::State(usize::from(inside)),
        (Layer::Lstm(_), true, _) => Place::Projection,
        (_, _, 0) => Place::Input(0),
        _ => Place::Weights,
    }
}

/// `graph` with the operands of `maps` rounded to the values of their codes.
pub fn rounded(graph: &Graph, maps: &BTreeMap<(Node, Place), CodeMap>) -> Graph {
    let mut rewrite = Rewrite::default();
    // By value and codes (a scale's bits, the largest code, a significand's bits), so that readers in the same numbers share a layer.
    let mut made = BTreeMap::<(Node, [u32; 3]), Node>::new();
    for node in graph.handles() {
        let def = graph.def(node);
        let mut replaced = Vec::new();
        for (input, &value) in def.inputs.iter().enumerate() {
            let Some(&map) = maps.get(&(node, Place::Input(input))) else { continue };
            let key = [map.scale.to_bits(), map.hi as u32, map.float.map_or(0, |of| of.significand_bits())];
            let rounding = *made.entry((value, key)).or_insert_with(|| {
                let from = graph.def(value);
                let name = format!("{}.round", from.name);
                let layer = Layer::Activation(Activation::Round(map));
                rewrite.beside(&NodeDef { name, layer, inputs: vec![value], channels: from.channels, codes: None })
            });
            replaced.push((input, rounding));
        }
        let layer = inside(&def.layer, |place| maps.get(&(node, place)).copied());
        rewrite.keep(node, &NodeDef { layer, ..def.clone() });
        replaced.into_iter().for_each(|(input, rounding)| rewrite.read(node, input, rounding));
    }
    rewrite.finish(graph)
}

/// `layer` with what it holds rounded to the codes of `map`.
fn inside(layer: &Layer, map: impl Fn(Place) -> Option<CodeMap>) -> Layer {
    let mut layer = layer.clone();
    let round = |weights: &mut Param, place: Place| {
        if let Some(map) = map(place) {
            weights.data = weights.data.iter().map(|&weight| map.nearest(weight)).collect();
        }
    };
    match &mut layer {
        Layer::Conv(conv) => round(&mut conv.weight, Place::Weights),
        Layer::ConvTranspose(conv) => round(&mut conv.weight, Place::Weights),
        Layer::Linear(linear) => round(&mut linear.weight, Place::Weights),
        Layer::Lstm(lstm) => {
            round(&mut lstm.weight, Place::Weights);
            lstm.projection.iter_mut().for_each(|weights| round(weights, Place::Projection));
            lstm.rounding = [0, 1].map(|which| map(Place::State(which)));
        }
        Layer::Recurrent(layer) => {
            round(&mut layer.weight, Place::Weights);
            layer.rounding = map(Place::State(0));
        }
        Layer::Attention(attention) => attention.rounding = map(Place::Probabilities),
        _ => {}
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Params, Scope};
    use crate::layers::Conv;

    #[test]
    fn readers_round_at_their_own_precision_and_others_not_at_all() {
        let net = Scope::new(Params::Random(1));
        let x = net.input(16);
        let a = net.at("a").conv(x, Conv::new(16, 1));
        let b = net.at("b").conv(a, Conv::new(16, 1));
        let c = net.at("c").conv(a, Conv::new(16, 1));
        let d = net.at("d").conv(a, Conv::new(16, 1));
        let sum = net.add(b, c);
        let sum = net.add(sum, d);
        let y = net.add(sum, a);
        let (graph, _) = net.finish(y).unwrap();
        let (fine, coarse) = (CodeMap::linear(64.0, -127, 127), CodeMap::linear(4.0, -7, 7));
        let maps = [((b, Place::Input(0)), fine), ((c, Place::Input(0)), fine), ((d, Place::Input(0)), coarse)];
        let rounded = rounded(&graph, &maps.into_iter().chain([((c, Place::Weights), coarse)]).collect());
        let find = |graph: &Graph, name: &str| graph.nodes.iter().find(|def| def.name == name).unwrap().clone();
        let read = |name: &str| find(&rounded, name).inputs[0];
        assert_eq!(read("b"), read("c"));
        assert_ne!(read("b"), read("d"));
        assert!(matches!(rounded.def(read("d")).layer, Layer::Activation(Activation::Round(map)) if map == coarse));
        assert_eq!(rounded.nodes.len(), graph.nodes.len() + 2);
        let weights = |graph: &Graph, name: &str| match find(graph, name).layer {
            Layer::Conv(conv) => conv.weight.data,
            _ => unreachable!("a convolution"),
        };
        assert!(weights(&graph, "b").as_ptr() == weights(&rounded, "b").as_ptr(), "what is not rounded is not copied");
        let want: Vec<f32> =
            weights(&graph, "c").iter().map(|w| (w * 4.0).round_ties_even().clamp(-7.0, 7.0) / 4.0).collect();
        assert_eq!(weights(&rounded, "c")[..], want[..]);
    }
}
