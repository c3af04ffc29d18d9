//! Activations of small magnitude set to zero before the layers that multiply them with weights, as TEAL does.

use std::collections::{BTreeMap, BTreeSet};

use super::passes::Rewrite;
use super::{Graph, Node, NodeDef};
use crate::kernels::Activation;
use crate::layers::Layer;

/// Smallest magnitude that is told from zero.
const LEAST: f32 = 1e-30;

/// What layers of weights read in `graph`, by the values: the layers that read each. The layer that gives the network's answer, and
/// those that `chosen` does not choose by name, read their inputs as they are.
pub fn inputs(graph: &Graph, chosen: impl Fn(&str) -> bool) -> BTreeMap<Node, Vec<Node>> {
    let mut inputs = BTreeMap::<Node, Vec<Node>>::new();
    let last = answering(graph);
    for node in graph.handles() {
        let def = graph.def(node);
        let is_of_weights = matches!(def.layer, Layer::Conv(_) | Layer::Linear(_) | Layer::ConvTranspose(_));
        if is_of_weights && !last.contains(&node) && chosen(&def.name) {
            inputs.entry(def.inputs[0]).or_default().push(node);
        }
    }
    inputs
}

/// The layers whose values are the answer, or become it without another layer of weights.
fn answering(graph: &Graph) -> BTreeSet<Node> {
    let (mut found, mut open) = (BTreeSet::new(), vec![graph.output()]);
    while let Some(node) = open.pop() {
        let def = graph.def(node);
        match def.layer {
            Layer::Conv(_) | Layer::Linear(_) | Layer::ConvTranspose(_) => drop(found.insert(node)),
            Layer::Activation(_) => open.extend(&def.inputs),
            _ => {}
        }
    }
    found
}

/// `graph` with the values of `inputs` set to zero, for the layers that read each, where their magnitude is at most that of
/// `thresholds`, one a value. Other readers see the values as they are.
pub fn thresholded(graph: &Graph, inputs: &BTreeMap<Node, Vec<Node>>, thresholds: &[f32]) -> Graph {
    let mut rewrite = Rewrite::default();
    let readers: BTreeMap<Node, Node> =
        inputs.iter().flat_map(|(value, readers)| readers.iter().map(|reader| (*reader, *value))).collect();
    let thresholds: BTreeMap<Node, f32> =
        inputs.keys().copied().zip(thresholds.iter().copied()).filter(|(_, threshold)| *threshold >= LEAST).collect();
    let mut sparse = BTreeMap::new();
    for node in graph.handles() {
        let def = graph.def(node);
        match readers.get(&node).and_then(|value| sparse.get(value)) {
            Some(&input) => rewrite.keep_reading(node, def, input),
            None => rewrite.keep(node, def),
        }
        if let Some(&threshold) = thresholds.get(&node) {
            let layer = Layer::Activation(Activation::Threshold(threshold));
            let name = format!("{}.threshold", def.name);
            let inputs = vec![node];
            sparse.insert(node, rewrite.beside(&NodeDef { name, layer, inputs, channels: def.channels, codes: None }));
        }
    }
    rewrite.finish(graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Params, Scope};
    use crate::layers::Conv;

    #[test]
    fn a_value_is_cut_once_for_its_layers_and_not_for_others() {
        let net = Scope::new(Params::Random(1));
        let x = net.input(16);
        let a = net.at("a").conv(x, Conv::new(16, 1));
        let b = net.at("b").conv(a, Conv::new(16, 1));
        let c = net.at("c").conv(a, Conv::new(16, 1));
        let sum = net.add(b, c);
        let sum = net.add(sum, a);
        let y = net.at("head").conv(sum, Conv::new(4, 1));
        let (graph, _) = net.finish(y).unwrap();
        let inputs = inputs(&graph, |name| name != "a");
        assert_eq!(inputs, BTreeMap::from([(a, vec![b, c])]));
        let graph = thresholded(&graph, &inputs, &[0.5]);
        let read = |name: &str| {
            let def = graph.nodes.iter().find(|def| def.name == name).unwrap();
            def.inputs.iter().map(|node| graph.def(*node).name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((read("b"), read("c")), (vec!["a.threshold"], vec!["a.threshold"]));
        assert_eq!(read("a.threshold"), ["a"]);
        // The sum reads it as it is.
        let name = |node: &Node| graph.def(*node).name.as_str();
        let mut sums = graph.nodes.iter().filter(|def| matches!(def.layer, Layer::Add));
        assert!(sums.any(|def| def.inputs.iter().any(|input| name(input) == "a")));
        assert_eq!(thresholded(&graph, &BTreeMap::from([(a, vec![])]), &[0.0]).nodes.len(), graph.nodes.len());
    }
}
