//! Post-training quantisation: turns a float graph into one of 8-bit integers, given the range of every value.
//!
//! Activations have one scale and zero point per value, `0..=255` over its range extended to 0; weights have one symmetric
//! scale per filter. Layers without an integer version stay float, between a dequantising and a quantising node.

use std::collections::HashMap;
use std::sync::Arc;

use super::passes::Rewrite;
use super::stored::{self, Filters};
use super::{Graph, Node, NodeDef};
use crate::kernels::pool::PoolShape;
use crate::kernels::{Activation, Codes, Integer, Requantize, Rounding};
use crate::layers::{Conv, IntegerWeights, Layer, Param, PoolKind};

/// Splits residuals, and activations that are more than bounds, off the convolutions that they were fused into.
pub fn split_epilogue(graph: &Graph) -> Graph {
    let mut rewrite = Rewrite::default();
    for node in graph.handles() {
        let def = graph.def(node);
        let (mut plain, activation) = (def.clone(), activation_of(&def.layer));
        let residual = plain.inputs.get(1).copied().filter(|_| matches!(def.layer, Layer::Conv(_)));
        if residual.is_none() && bounds_only(activation) {
            rewrite.keep(node, def);
            continue;
        }
        match &mut plain.layer {
            Layer::Conv(conv) => conv.activation = Activation::Identity,
            Layer::Linear(linear) => linear.activation = Activation::Identity,
            _ => {}
        }
        if residual.is_some() {
            plain.inputs.truncate(1);
        }
        rewrite.keep(node, &plain);
        if let Some(residual) = residual {
            let inputs = vec![node, residual];
            rewrite
                .keep(node, &NodeDef { name: format!("{}.add", def.name), layer: Layer::Add, inputs, ..def.clone() });
        }
        if activation != Activation::Identity {
            let name = format!("{}.{}", def.name, activation.name());
            rewrite
                .keep(node, &NodeDef { name, layer: Layer::Activation(activation), inputs: vec![node], ..def.clone() });
        }
    }
    rewrite.finish(graph)
}

fn activation_of(layer: &Layer) -> Activation {
    match layer {
        Layer::Conv(conv) => conv.activation,
        Layer::Linear(linear) => linear.activation,
        _ => Activation::Identity,
    }
}

fn bounds_only(activation: Activation) -> bool {
    matches!(activation, Activation::Identity | Activation::Relu | Activation::Relu6)
}

/// `graph` with an extra node after each value, so that watching these nodes observes every value. Also returns the nodes, in
/// the order of the values.
pub fn observed(graph: &Graph) -> (Graph, Vec<Node>) {
    let mut rewrite = Rewrite::default();
    let observer = |node: Node| {
        let def = graph.def(node);
        rewrite.keep(node, def);
        let layer = Layer::Activation(Activation::Identity);
        rewrite.beside(&NodeDef { name: format!("{}.range", def.name), layer, inputs: vec![node], ..def.clone() })
    };
    let observers = graph.handles().map(observer).collect();
    (rewrite.finish(graph), observers)
}

/// `graph`, whose epilogues must be split, in 8-bit integers; `ranges` are the smallest and largest of each value.
///
/// # Panics
/// If there is not one range per node.
pub fn quantize(graph: &Graph, ranges: &[(f32, f32)]) -> Graph {
    assert_eq!(ranges.len(), graph.nodes.len(), "one range per value");
    let codes = ranges.iter().map(|&range| codes(range)).collect();
    Builder::new(graph, codes, &|_| None).build()
}

/// Quantisation parameters for values between `low` and `high`.
fn codes((low, high): (f32, f32)) -> Codes {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = (f64::from(high) - f64::from(low)) / 255.0;
    let scale = if scale > 0.0 { scale as f32 } else { 1.0 };
    Codes { scale, zero_point: (-low / scale).round().clamp(0.0, 255.0) as i32, signed: false }
}

/// Builds an integer graph.
pub(super) struct Builder<'a> {
    from: &'a Graph,
    /// Quantisation parameters of each value.
    codes: Vec<Codes>,
    /// The integers that a node's weights are stored as, if they are.
    stored: &'a dyn Fn(&NodeDef) -> Option<Filters>,
    readers: Vec<Vec<Node>>,
    graph: Graph,
    /// New nodes that hold old values as integers, and as floats.
    integers: HashMap<Node, Node>,
    floats: HashMap<Node, Node>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(from: &'a Graph, codes: Vec<Codes>, stored: &'a dyn Fn(&NodeDef) -> Option<Filters>) -> Self {
        let (integers, floats) = (HashMap::new(), HashMap::new());
        Self { from, codes, stored, readers: from.readers(), graph: Graph::default(), integers, floats }
    }

    pub(super) fn build(mut self) -> Graph {
        for node in self.from.handles() {
            if !self.integer(node) {
                let def = self.from.def(node);
                let inputs = def.inputs.iter().map(|&input| self.float(input)).collect();
                let made = self.push(NodeDef { inputs, ..def.clone() });
                self.floats.insert(node, made);
            }
        }
        let output = self.float(self.from.output());
        self.graph.output = Some(output);
        self.graph
    }

    fn push(&mut self, def: NodeDef) -> Node {
        self.graph.nodes.push(def);
        Node(self.graph.nodes.len() as u32 - 1)
    }

    /// The value of `node` as floats.
    fn float(&mut self, node: Node) -> Node {
        if let Some(&float) = self.floats.get(&node) {
            return float;
        }
        let integer = self.integers[&node];
        let codes = self.graph.def(integer).codes.expect("integers have codes");
        let float = self.push_converter(node, "dequantize", Integer::Dequantize(codes), integer, None);
        self.floats.insert(node, float);
        float
    }

    /// The value of `node` as integers, with their quantisation parameters.
    fn codes_of(&mut self, node: Node) -> (Node, Codes) {
        if let Some(&integer) = self.integers.get(&node) {
            return (integer, self.graph.def(integer).codes.expect("integers have codes"));
        }
        let (float, codes) = (self.floats[&node], self.codes[node.index()]);
        let integer = self.push_converter(node, "quantize", Integer::Quantize(codes, ROUNDING), float, Some(codes));
        self.integers.insert(node, integer);
        (integer, codes)
    }

    fn push_converter(
        &mut self,
        node: Node,
        suffix: &str,
        integer: Integer,
        input: Node,
        codes: Option<Codes>,
    ) -> Node {
        let def = self.from.def(node);
        let name = format!("{}.{suffix}", def.name);
        self.push(NodeDef { name, layer: Layer::Integer(integer), inputs: vec![input], channels: def.channels, codes })
    }

    /// Turns `node` into an integer layer; false if there is no such layer.
    fn integer(&mut self, node: Node) -> bool {
        let from = self.from;
        let def = from.def(node);
        let own = self.codes[node.index()];
        let bounds = |activation: Activation| {
            let (low, high) = own.bounds();
            match activation {
                Activation::Relu => (low.max(0), high),
                Activation::Relu6 => (low.max(0), high.min((6.0 / own.scale).round() as i32)),
                _ => (low, high),
            }
        };
        let (layer, inputs, codes) = match &def.layer {
            Layer::Conv(conv) if products(&conv.weight) <= PRODUCTS => {
                let (x, x_codes) = self.codes_of(def.inputs[0]);
                let bias = conv.bias_values.as_ref();
                let bounds = bounds(conv.activation);
                let (weight, integer) = match (self.stored)(def) {
                    Some(stored) => stored::filters(&conv.weight, stored, bias, (x_codes, own), bounds),
                    None => filters(&conv.weight, bias, (x_codes, own), bounds),
                };
                let activation = Activation::Identity;
                let conv = Conv {
                    weight,
                    integer: Some(integer),
                    low_bits: None,
                    bias_values: None,
                    activation,
                    ..conv.clone()
                };
                (Layer::Conv(conv), vec![x], own)
            }
            Layer::Linear(linear) if !linear.steps && products(&linear.weight) <= PRODUCTS => {
                let (x, x_codes) = self.codes_of(def.inputs[0]);
                let bounds = bounds(linear.activation);
                let bias = linear.bias.as_ref();
                let (weight, integer) = match (self.stored)(def) {
                    Some(stored) => stored::filters(&linear.weight, stored, bias, (x_codes, own), bounds),
                    None => filters(&linear.weight, bias, (x_codes, own), bounds),
                };
                let mut linear = linear.clone();
                (linear.weight, linear.integer, linear.bias) = (weight, Some(integer), None);
                (linear.activation, linear.low_bits) = (Activation::Identity, None);
                (Layer::Linear(linear), vec![x], own)
            }
            // If an activation alone reads the sum, sum and activation become one layer there.
            Layer::Add if self.bounded_after(node).is_some() => return true,
            Layer::Add => self.sum(def, own, bounds(Activation::Identity)),
            Layer::Activation(activation @ (Activation::Relu | Activation::Relu6)) => {
                let before = from.def(def.inputs[0]);
                match before.layer {
                    Layer::Add if self.bounded_after(def.inputs[0]).is_some() => {
                        self.sum(before, own, bounds(*activation))
                    }
                    _ => {
                        let (x, codes) = self.codes_of(def.inputs[0]);
                        let layer = Integer::Rescale {
                            scales: (codes.scale, own.scale),
                            rounding: ROUNDING,
                            bounds: bounds(*activation),
                        };
                        (Layer::Integer(layer), vec![x], own)
                    }
                }
            }
            Layer::Pool(pool) if pool.kind == PoolKind::Max => {
                let (x, codes) = self.codes_of(def.inputs[0]);
                (def.layer.clone(), vec![x], codes)
            }
            Layer::Pool(pool) if pool.kind == (PoolKind::Average { count_padding: false }) && !pool.ceil => {
                let (x, codes) = self.codes_of(def.inputs[0]);
                let shape = PoolShape { kernel: pool.kernel, stride: pool.stride, padding: pool.padding };
                (Layer::Integer(Integer::AveragePool { shape, codes, bounds: codes.bounds() }), vec![x], codes)
            }
            Layer::GlobalAvgPool => {
                let (x, codes) = self.codes_of(def.inputs[0]);
                let layer =
                    Integer::Mean { scales: (codes.scale, own.scale), rounding: ROUNDING, bounds: own.bounds() };
                (Layer::Integer(layer), vec![x], own)
            }
            Layer::Concat => {
                let mut parts = Vec::new();
                for &input in &def.inputs {
                    let (x, codes) = self.codes_of(input);
                    let layer =
                        Integer::Rescale { scales: (codes.scale, own.scale), rounding: ROUNDING, bounds: own.bounds() };
                    parts.push(if codes == own {
                        x
                    } else {
                        self.push_converter(input, "rescale", layer, x, Some(own))
                    });
                }
                (Layer::Concat, parts, own)
            }
            Layer::Slice(_) | Layer::Shuffle(_) => {
                let (x, codes) = self.codes_of(def.inputs[0]);
                (def.layer.clone(), vec![x], codes)
            }
            _ => return false,
        };
        let made = self.push(NodeDef { layer, inputs, codes: Some(codes), ..def.clone() });
        self.integers.insert(node, made);
        true
    }

    /// The activation that alone reads the sum at `node`, if it only clips.
    fn bounded_after(&self, node: Node) -> Option<Node> {
        let &[reader] = self.readers[node.index()].as_slice() else { return None };
        let bounds = matches!(self.from.def(reader).layer, Layer::Activation(Activation::Relu | Activation::Relu6));
        (bounds && self.from.output() != node).then_some(reader)
    }

    fn sum(&mut self, def: &NodeDef, own: Codes, bounds: (i32, i32)) -> (Layer, Vec<Node>, Codes) {
        let [(a, first), (b, second)] = [def.inputs[0], def.inputs[1]].map(|input| self.codes_of(input));
        let scales = ([first.scale, second.scale], own.scale);
        (Layer::Integer(Integer::Add { scales, bounds, rounding: ROUNDING }), vec![a, b], own)
    }
}

/// Number of products in one sum, for filters `[K, ...]`.
fn products(weight: &Param) -> usize {
    weight.shape[1..].iter().product()
}

/// Filters `[K, ...]` as integers with one scale each, and the requantisation from sums with codes `x` to codes `y`.
fn filters(
    weight: &Param,
    bias: Option<&Param>,
    (x, y): (Codes, Codes),
    (low, high): (i32, i32),
) -> (Param, IntegerWeights) {
    let filters = weight.shape[0];
    let each = weight.data.len() / filters;
    let scales: Vec<f32> = weight
        .data
        .chunks(each)
        .map(|filter| filter.iter().fold(0.0f32, |most, w| most.max(w.abs())) / 127.0)
        .map(|scale| if scale > 0.0 { scale } else { 1.0 })
        .collect();
    let integers = weight.data.iter().enumerate();
    let data = integers.map(|(i, w)| (w / scales[i / each]).round_ties_even().clamp(-127.0, 127.0)).collect();
    let products = scales.iter().map(|&scale| f64::from(x.scale) * f64::from(scale));
    let bias = products.clone().enumerate().map(|(k, product)| {
        let float = bias.map_or(0.0, |bias| f64::from(bias.data[k]));
        (float / product).round_ties_even().clamp(f64::from(-BIAS), f64::from(BIAS)) as i32
    });
    let requantize = Requantize {
        bias: bias.collect(),
        offset: Vec::new(),
        multipliers: products.map(|product| product / f64::from(y.scale)).collect(),
        rounding: ROUNDING,
        input: x.bounds(),
        low,
        high,
        wrapped: Default::default(),
    };
    let requantize = Arc::new(requantize);
    (Param { shape: weight.shape.clone(), data }, IntegerWeights { scales, zero_point: 0, signed: true, requantize })
}

/// The rounding of every layer.
pub(super) const ROUNDING: Rounding = Rounding::Float32;
/// Largest bias.
const BIAS: i32 = 1 << 30;
/// Most products in a sum: with 8-bit weights and differences to a zero point, plus the largest bias, they fit 32 bits.
const PRODUCTS: usize = ((i32::MAX - BIAS) / (127 * 255)) as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::passes::fuse_epilogue;
    use crate::graph::{Params, Scope};

    #[test]
    fn a_residual_block_is_integers_from_end_to_end() {
        let net = Scope::new(Params::Random(1));
        let x = net.input(16);
        let y = net.at("conv1").conv(x, Conv::new(16, 3).padding(1).bias(true));
        let y = net.activation(y, Activation::HardSwish);
        let y = net.at("conv2").conv(y, Conv::new(16, 3).padding(1));
        let y = net.add(y, x);
        let y = net.relu(y);
        let graph = fuse_epilogue(&net.finish(y).unwrap().0);
        let split = split_epilogue(&graph);
        let kinds = |graph: &Graph| graph.nodes.iter().map(|def| def.layer.kind()).collect::<Vec<_>>();
        assert_eq!(kinds(&split), ["input", "conv", "hard_swish", "conv", "add", "relu"]);
        let (observed, observers) = observed(&split);
        assert_eq!((observed.nodes.len(), observers.len()), (12, 6));
        let graph = quantize(&split, &[(-1.0, 1.0); 6]);
        // Only the hard swish, which has no integer version, is computed in floats.
        let want = ["input", "quantize", "conv", "dequantize", "hard_swish", "quantize", "conv", "add", "dequantize"];
        assert_eq!(kinds(&graph), want);
        assert_eq!(graph.def(Node(2)).codes, Some(codes((-1.0, 1.0))));
    }

    #[test]
    fn sums_that_could_leave_32_bits_stay_float() {
        let kinds = |features: usize| {
            let net = Scope::new(Params::Random(1));
            let x = net.input(features);
            let y = net.at("fc").linear(x, 2, 1);
            let graph = quantize(&net.finish(y).unwrap().0, &[(0.0, 1.0); 2]);
            graph.nodes.iter().map(|def| def.layer.kind()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(33_155), ["input", "quantize", "linear", "dequantize"]);
        assert_eq!(kinds(33_156), ["input", "linear"]);
    }

    #[test]
    fn zero_is_a_code_whatever_the_range() {
        assert_eq!(codes((0.0, 2.55)), Codes { scale: 0.01, zero_point: 0, signed: false });
        assert_eq!(codes((-1.0, -0.5)).zero_point, 255);
        assert_eq!(codes((3.0, 5.1)).zero_point, 0);
        assert_eq!(codes((0.0, 0.0)), Codes { scale: 1.0, zero_point: 0, signed: false });
    }
}
