//! Which layers are measured: their names, kinds and, for images of one size, their extents.

use std::borrow::Cow;

use super::outputs;
use super::profile;
use super::settings::Settings;
use crate::error::near_or;
use crate::format::{Coding, NumberFormat, Stored};
use crate::graph::{Graph, Node};
use crate::kernels::count::Range;
use crate::kernels::{Activation, Halo};
use crate::layers::{Attention, Conv, ConvTranspose, IntegerWeights, Layer, Linear, LowBits, Shape};
use crate::model::Model;
use crate::tally::{AttentionSpec, LayerShape, Phase};
use crate::{Error, Result};

/// One layer that is measured.
#[derive(Clone, Debug)]
pub struct MeasuredLayer {
    /// Its node.
    pub node: Node,
    /// Its name in the checkpoint.
    pub name: String,
    /// `conv`, `depthwise`, `conv_transpose`, `linear`, `lstm`, `gru`, `rnn`, `matmul`,
    /// `attention`.
    pub kind: &'static str,
    /// Whether it is the projection inside a recurrence, or the product of probabilities and values inside attention.
    pub inside: bool,
    /// Of attention, the queries.
    pub phase: Phase,
    /// If it is one of the two products of a recurrent layer, how many gates are stacked in it.
    pub gates: Option<usize>,
    /// The numbers of activations and of weights.
    pub codings: [Coding; 2],
    /// The numbers of its outputs, where these are counted.
    pub output: Option<Coding>,
}

/// The weights of a measured layer, filters outermost, as they are counted in `format`: codes as stored, or floats.
pub(super) fn weights<'a>(graph: &'a Graph, layer: &MeasuredLayer, format: NumberFormat) -> Cow<'a, [f32]> {
    let def = graph.def(layer.node);
    if let Some(projection) = def.layer.recurrence().and_then(|recurrence| recurrence.projection)
        && layer.inside
    {
        return Cow::Borrowed(&projection.data);
    }
    if let (Some(low), NumberFormat::Stored) = (low_bits(&def.layer), format) {
        return low.codes.get();
    }
    let held = weights_of(&def.layer).expect("measured layers have weights");
    match integer(&def.layer) {
        Some(IntegerWeights { scales, .. }) if scales.len() > 1 && format != NumberFormat::Stored => {
            let filter = held.len() / scales.len();
            held.iter().enumerate().map(|(i, code)| code * scales[i / filter]).collect()
        }
        _ => held,
    }
}

impl MeasuredLayer {
    /// Whether it multiplies activations, and has no weights.
    pub(super) fn is_of_activations(&self, graph: &Graph) -> bool {
        matches!(graph.def(self.node).layer, Layer::MatMul(_) | Layer::Attention(_))
    }

    /// Whether it is of queries of tokens that are generated one at a time.
    pub(super) fn is_decoded(&self) -> bool {
        matches!(self.phase, Phase::Decode(_))
    }

    /// Whether it is the product of probabilities and values inside attention.
    pub(super) fn is_of_probabilities(&self, graph: &Graph) -> bool {
        self.inside && matches!(graph.def(self.node).layer, Layer::Attention(_))
    }
}

/// How many filters `layer` has: output channels or features, rows of the stacked matrix of a recurrent layer.
pub(super) fn filters(graph: &Graph, layer: &MeasuredLayer) -> usize {
    let of = &graph.def(layer.node).layer;
    match of.recurrence() {
        Some(recurrence) if layer.inside => recurrence.outputs(),
        Some(recurrence) => recurrence.weight.shape[0],
        None => of.filters(),
    }
}

/// The integers of a few bits that the weights of `layer` are stored as.
fn low_bits(layer: &Layer) -> Option<&LowBits> {
    match layer {
        Layer::Conv(conv) => conv.low_bits.as_ref(),
        Layer::Linear(linear) => linear.low_bits.as_ref(),
        _ => None,
    }
}

/// What makes `layer` one of integers.
fn integer(layer: &Layer) -> Option<&IntegerWeights> {
    match layer {
        Layer::Conv(conv) => conv.integer.as_ref(),
        Layer::Linear(linear) => linear.integer.as_ref(),
        Layer::Lstm(lstm) => lstm.integer.as_ref().map(|(_, weights)| weights),
        _ => None,
    }
}

/// What the network stores the activations of `layer` as.
pub(super) fn stored_activations(graph: &Graph, layer: &MeasuredLayer) -> Option<Stored> {
    if layer.is_of_probabilities(graph) {
        return None;
    }
    let def = graph.def(layer.node);
    // A recurrence reads its own output of the step before.
    let read = if def.layer.recurrence().is_some() { layer.node } else { def.inputs[0] };
    outputs::stored_output(graph, read)
}

/// What the network stores the second operand of `layer` as, a product of two activations.
pub(super) fn stored_second(graph: &Graph, layer: &MeasuredLayer) -> Option<Stored> {
    let which = if layer.is_of_probabilities(graph) { 2 } else { 1 };
    outputs::stored_output(graph, graph.def(layer.node).inputs[which])
}

/// What the network stores the weights of `layer` as.
pub(super) fn stored_weights(graph: &Graph, layer: &MeasuredLayer) -> Option<Stored> {
    if let Some(low) = low_bits(&graph.def(layer.node).layer) {
        // Their float values have scales of their own.
        return Some(Stored { scale: None, zero_point: 0, range: low.range(), bits: low.bits });
    }
    let IntegerWeights { scales, zero_point, signed, .. } = integer(&graph.def(layer.node).layer)?;
    let range = if *signed { (-128, 127) } else { (0, 255) };
    let scale = (scales.len() == 1).then(|| scales[0]);
    Some(Stored { scale, zero_point: *zero_point, range, bits: 8 })
}

/// The weights of a MAC layer, filters outermost.
fn weights_of(layer: &Layer) -> Option<Cow<'_, [f32]>> {
    match layer {
        Layer::Conv(conv) => Some(Cow::Borrowed(&conv.weight.data)),
        Layer::Linear(linear) => Some(match linear.channels_last {
            Some(channels) => Cow::Owned(channels_last(&linear.weight.data, linear.in_features, channels)),
            None => Cow::Borrowed(&linear.weight.data),
        }),
        Layer::ConvTranspose(conv) => Some(Cow::Owned(conv.filters_first())),
        _ => layer.recurrence().map(|recurrence| Cow::Borrowed(&recurrence.weight.data[..])),
    }
}

/// Filters of `features` weights each, in the order channel, row, column, in the order row, column, channel.
fn channels_last(weight: &[f32], features: usize, channels: usize) -> Vec<f32> {
    let pixels = features / channels;
    let order =
        |filter: &[f32]| (0..features).map(|i| filter[i % channels * pixels + i / channels]).collect::<Vec<_>>();
    weight.chunks_exact(features).flat_map(order).collect()
}

/// The name of a MAC layer's kind.
fn kind(layer: &Layer) -> Option<&'static str> {
    match layer {
        Layer::Conv(conv) if conv.is_depthwise() => Some("depthwise"),
        Layer::Conv(_) | Layer::Linear(_) | Layer::ConvTranspose(_) => Some(layer.kind()),
        Layer::MatMul(_) | Layer::Attention(_) => Some(layer.kind()),
        _ => layer.recurrence().map(|_| layer.kind()),
    }
}

/// The extents of `layer`, where the values of `graph` have the extents `shapes`.
pub(super) fn extents(graph: &Graph, shapes: &[Shape], layer: &MeasuredLayer) -> LayerShape {
    let node = layer.node;
    let of = |node: Node| {
        let shape = shapes[node.index()];
        [shape.c, shape.h, shape.w]
    };
    let def = graph.def(node);
    let input = of(def.inputs[0]);
    if let Some(recurrence) = def.layer.recurrence() {
        // What it reads is its own output of the step before.
        let (features, out) = match layer.inside {
            true => (recurrence.hidden(), recurrence.outputs()),
            false => (recurrence.outputs(), recurrence.weight.shape[0]),
        };
        return LayerShape::steps(features, input[2], out);
    }
    let (Halo { top, bottom, left, right }, [k, c], kernel, stride, dilation, groups) = match &def.layer {
        Layer::Conv(conv) => {
            let channels = [conv.out_channels, conv.in_channels / conv.groups];
            (conv.halo(input[1], input[2]), channels, conv.kernel, conv.stride, conv.dilation, conv.groups)
        }
        Layer::ConvTranspose(conv) => {
            let channels = [conv.out_channels, conv.in_channels / conv.groups];
            (conv.padding, channels, conv.kernel, conv.stride, conv.dilation, conv.groups)
        }
        Layer::Linear(linear) if linear.steps => {
            return LayerShape::steps(linear.in_features, input[2], linear.out_features);
        }
        Layer::Linear(linear) => {
            let shape = LayerShape::linear(input, linear.out_features);
            return LayerShape { channels_last: linear.channels_last.is_some(), ..shape };
        }
        // One head.
        Layer::MatMul(product) => return LayerShape::steps(product.inner, input[2], of(def.inputs[1])[2]),
        Layer::Attention(Attention { shape, .. }) => {
            let steps = layer.phase.steps(input[2]).len();
            return if layer.inside {
                AttentionSpec::pv_shape(shape, steps)
            } else {
                AttentionSpec::qk_shape(shape, steps)
            };
        }
        other => unreachable!("{}: no MAC layer is a {}", def.name, other.kind()),
    };
    LayerShape {
        input,
        output: of(node),
        weight: [k, c, kernel.0, kernel.1],
        stride: [stride.0, stride.1],
        padding: [top, bottom, left, right],
        dilation: [dilation.0, dilation.1],
        groups,
        features: false,
        channels_last: false,
        transposed: matches!(def.layer, Layer::ConvTranspose(_)),
    }
}

/// Whether a ReLU (or ReLU6) follows `node` at once: its own, what alone reads it, or, of integers, the lower bound of its codes.
pub(super) fn ends_in_relu(graph: &Graph, node: Node) -> bool {
    let def = graph.def(node);
    let is_relu = |activation: Activation| matches!(activation, Activation::Relu | Activation::Relu6);
    let own = match &def.layer {
        // What follows a sum is of the sum.
        _ if def.inputs.len() > 1 => return false,
        Layer::Conv(Conv { activation, .. })
        | Layer::Linear(Linear { activation, .. })
        | Layer::ConvTranspose(ConvTranspose { activation, .. }) => *activation,
        _ => return false,
    };
    if let Some(weights) = integer(&def.layer) {
        return weights.requantize.low == 0;
    }
    match (own, &graph.readers()[node.index()][..]) {
        (Activation::Identity, [reader]) if node != graph.output() => match graph.def(*reader).layer {
            Layer::Activation(activation) => is_relu(activation),
            _ => false,
        },
        _ => is_relu(own),
    }
}

/// The products of the attention layer `name`, whether each is that of probabilities, and the queries of each, where the last
/// `generated` tokens of a sequence are generated one at a time.
fn products_of_attention(name: &str, generated: usize) -> Vec<(String, bool, Phase)> {
    let of = |(product, inside): (&str, bool)| {
        let prefill = (format!("{name}.{product}"), inside, Phase::Prefill(generated));
        let decode = (format!("{name}.{product}.decode"), inside, Phase::Decode(generated));
        [prefill].into_iter().chain((generated > 0).then_some(decode))
    };
    [("qk", false), ("pv", true)].into_iter().flat_map(of).collect()
}

/// Whether `graph` can generate tokens one at a time on a cache of keys and values: each query sees earlier keys only.
fn can_decode(graph: &Graph) -> bool {
    let causal = |layer: &Layer| match layer {
        Layer::Attention(of) => Some(of.shape.mask.causal),
        _ => None,
    };
    let mut layers = graph.nodes.iter().filter_map(|def| causal(&def.layer)).peekable();
    layers.peek().is_some() && layers.all(|causal| causal)
}

/// Names of the layers of `model` that `settings` measures, in the order of the network.
///
/// # Errors
/// [`Error::Invalid`] for layers or a way to generate that the model does not have.
pub fn layer_names(model: &Model, settings: &Settings) -> Result<Vec<String>> {
    Ok(chosen_layers(model, settings)?.into_iter().map(|layer| layer.name).collect())
}
/// Most layers that a message lists.
const LISTED: usize = 12;

/// The MAC layers of `model` that `settings` chooses, in the order of the network.
pub(super) fn chosen_layers(model: &Model, settings: &Settings) -> Result<Vec<MeasuredLayer>> {
    if settings.decode > 0 && !can_decode(&model.graph) {
        let detail =
            format!("is of networks whose attention is causal, and {} has none or another one", model.card.name);
        return Err(Error::invalid("--decode", detail));
    }
    let codings = settings.format.both().map(|format| format.coding(Range::default(), None));
    let readers = model.graph.readers();
    let gates_of = |node: Node| model.graph.def(node).layer.recurrence().map(|recurrence| recurrence.gates);
    let handles = model.graph.handles().map(|node| (node, model.graph.def(node)));
    let known = handles.flat_map(|(node, def)| {
        let kind = kind(&def.layer);
        let gates = match &def.layer {
            Layer::Linear(linear) if linear.steps => readers[node.index()].iter().find_map(|&reader| gates_of(reader)),
            _ => gates_of(node),
        };
        let layer = |(name, inside, phase): (String, bool, Phase)| {
            let gates = gates.filter(|_| !inside);
            kind.map(|kind| MeasuredLayer { node, name, kind, inside, phase, gates, codings, output: None })
        };
        let projected = def.layer.recurrence().is_some_and(|recurrence| recurrence.projection.is_some());
        let products = match def.layer {
            Layer::Attention(_) => products_of_attention(&def.name, settings.decode),
            // PyTorch names the projection beside the recurrent weights.
            _ if projected => vec![
                (def.name.clone(), false, Phase::WHOLE),
                (def.name.replace("weight_hh", "weight_hr"), true, Phase::WHOLE),
            ],
            _ => vec![(def.name.clone(), false, Phase::WHOLE)],
        };
        products.into_iter().filter_map(layer).collect::<Vec<_>>()
    });
    let known: Vec<MeasuredLayer> = known.collect();
    if let Some(profile) = &settings.profile {
        profile::check(profile, model, &known, settings)?;
    }
    let Some(pattern) = &settings.layers else { return Ok(known) };
    let (chosen, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|layer| pattern.is_match(&layer.name));
    if chosen.is_empty() {
        let known: Vec<&str> = others.iter().map(|layer| layer.name.as_str()).collect();
        let few = &known[..known.len().min(LISTED)];
        let among =
            if few.len() < known.len() { format!("{} layers, among them ", known.len()) } else { String::new() };
        // A layer, or what the names of several begin with.
        let beginnings = |name: &&str| {
            let ends: Vec<usize> = name.match_indices('.').map(|(end, _)| end).chain([name.len()]).collect();
            ends.into_iter().map(|end| name[..end].to_owned()).collect::<Vec<_>>()
        };
        let plain = pattern.as_str().trim_matches(['^', '$', '.', '*', '\\']);
        let near = near_or(plain, known.iter().flat_map(beginnings), "none is like it");
        let detail = format!("matches no layer that multiplies; {near}; they are {among}{}", few.join(", "));
        return Err(Error::invalid(format!("--layers {pattern}"), detail));
    }
    Ok(chosen)
}
