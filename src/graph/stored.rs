//! Graphs of checkpoints whose values and weights are stored as integers.

use std::sync::Arc;

use super::passes::fuse_activations;
use super::quantize::{Builder, ROUNDING};
use super::{Graph, NodeDef};
use crate::kernels::{Activation, Codes, Requantize};
use crate::layers::{IntegerWeights, Layer, Param};
use crate::weights::{Affine, IntegerTensor, Weights};
use crate::{Error, Result};

/// `graph` with the integer values and weights of `weights`; `None` if only weights are integers.
///
/// # Errors
/// [`Error::Malformed`] naming the layer whose values have no scale; [`Error::Unsupported`] for an activation that is
/// more than bounds.
pub fn as_stored(graph: &Graph, weights: &Weights) -> Result<Option<Graph>> {
    let Some(quantised) = weights.quantised().filter(|quantised| !quantised.outputs.is_empty()) else {
        return Ok(None);
    };
    let mut graph = fuse_activations(graph);
    let mut codes: Vec<Codes> = Vec::new();
    let readers = graph.readers();
    for node in graph.handles() {
        let def = &mut graph.nodes[node.index()];
        // The largest code clips as a ReLU6 does, and PyTorch's quantised networks have a ReLU in its place.
        let bounded = |activation: &mut Activation| {
            if *activation == Activation::Relu6 {
                *activation = Activation::Relu;
            }
            matches!(activation, Activation::Identity | Activation::Relu | Activation::Relu6)
        };
        let fits = match &mut def.layer {
            Layer::Conv(conv) => bounded(&mut conv.activation),
            Layer::Linear(linear) => bounded(&mut linear.activation),
            Layer::Activation(activation) => bounded(activation),
            _ => true,
        };
        if !fits {
            let what = format!("{}: {}: its activation in integers", weights.source(), def.name);
            return Err(Error::unsupported(what, "integer ResNets and MobileNetV2 can be read"));
        }
        let affine = match &def.layer {
            Layer::Input => {
                let first = readers[0].first().map_or("", |&reader| graph.def(reader).name.as_str());
                quantised.inputs.get("quant").or_else(|| quantised.inputs.get(first))
            }
            Layer::Conv(_) | Layer::Linear(_) => quantised.outputs.get(&def.name),
            Layer::Add => {
                let parent = def.name.rsplit_once('.').map_or("", |(parent, _)| parent);
                let names = [def.name.clone(), format!("{parent}.add_relu"), format!("{parent}.skip_add")];
                names.iter().find_map(|name| quantised.outputs.get(name))
            }
            // Every other layer keeps the parameters of its input.
            _ => {
                codes.push(codes[graph.def(node).inputs[0].index()]);
                continue;
            }
        };
        let Some(&Affine { scale, zero_point, signed }) = affine else {
            let place = format!("{}: {}", weights.source(), graph.def(node).name);
            return Err(Error::malformed(place, "the checkpoint has no scale for its values"));
        };
        codes.push(Codes { scale, zero_point, signed });
    }
    let stored = |def: &NodeDef| {
        let integers = weights.integers(&format!("{}.weight", def.name))?;
        Some(Filters { integers, sums: quantised.sums.get(&def.name).cloned() })
    };
    for def in graph.nodes.iter().filter(|def| matches!(def.layer, Layer::Conv(_) | Layer::Linear(_))) {
        let place = || format!("{}: {}.weight", weights.source(), def.name);
        let filters = def.layer.filters();
        if stored(def).is_none_or(|stored| ![1, filters].contains(&stored.integers.scales.len())) {
            return Err(Error::malformed(place(), "is not 8-bit integers with one scale, or one per filter"));
        }
    }
    Ok(Some(Builder::new(&graph, codes, &stored).build()))
}

/// Weights as they are stored.
pub(super) struct Filters {
    integers: IntegerTensor,
    /// Bias in the scale of the sums, if stored so.
    sums: Option<Vec<i32>>,
}

/// The filters of `weight` as `stored`, and the requantisation from sums with codes `x` to codes `y`.
pub(super) fn filters(
    weight: &Param,
    stored: Filters,
    bias: Option<&Param>,
    (x, y): (Codes, Codes),
    (low, high): (i32, i32),
) -> (Param, IntegerWeights) {
    let IntegerTensor { codes, scales, zero_point, signed } = stored.integers;
    let scale = |k: usize| scales[if scales.len() == 1 { 0 } else { k }];
    // Products in f32, as in PyTorch.
    let products: Vec<f32> = (0..weight.shape[0]).map(|k| x.scale * scale(k)).collect();
    // Any other bias stays float, as in PyTorch; a filter with scale 0 has none.
    let offset = products.iter().enumerate().map(|(k, &product)| match bias {
        Some(bias) if product > 0.0 && stored.sums.is_none() => bias.data[k] / product,
        _ => 0.0,
    });
    let requantize = Requantize {
        offset: offset.collect(),
        bias: stored.sums.unwrap_or_else(|| vec![0; products.len()]),
        multipliers: products.iter().map(|product| f64::from(product / y.scale)).collect(),
        rounding: ROUNDING,
        input: x.bounds(),
        low,
        high,
        wrapped: Default::default(),
    };
    let requantize = Arc::new(requantize);
    (
        Param { shape: weight.shape.clone(), data: codes.into() },
        IntegerWeights { scales, zero_point, signed, requantize },
    )
}
