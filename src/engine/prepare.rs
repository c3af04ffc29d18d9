//! How layer kinds are prepared for our kernels: weights packed, tables built, both shared with the same layer for another size.

use std::sync::Arc;

use super::fused::Fused;
use super::op::{Op, conv_shape};
use super::plan::Plan;
use crate::graph::{Graph, Node};
use crate::kernels::conv::{ConvShape, PackedConv};
use crate::kernels::conv_transpose::PackedConvTranspose;
use crate::kernels::integer_lstm::PackedIntegerLstm;
use crate::kernels::linear::PackedLinear;
use crate::kernels::norm::PackedNorm;
use crate::kernels::pool::PoolShape;
use crate::kernels::recurrence::{Cell, PackedRecurrence, RecurrenceParams};
use crate::kernels::resize::Bilinear;
use crate::kernels::rotary::PackedTurns;
use crate::kernels::{Activation, Halo, LANES, copy};
use crate::layers::{self, ConvTranspose, Layer, Linear, Lstm, Param, Recurrent};

fn transpose_shape(conv: &ConvTranspose) -> ConvShape {
    ConvShape {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        dilation: conv.dilation,
        padding: conv.padding,
        groups: conv.groups,
    }
}

/// A linear layer as a convolution of single pixels.
fn product(linear: &Linear) -> ConvShape {
    ConvShape {
        in_channels: linear.in_features,
        out_channels: linear.out_features,
        kernel: (1, 1),
        stride: (1, 1),
        dilation: (1, 1),
        padding: Halo::default(),
        groups: 1,
    }
}

/// The rows of `table`, each zero-padded to whole blocks.
fn padded_rows(table: &Param) -> Vec<f32> {
    let features = table.shape[1];
    let filling = features.next_multiple_of(LANES) - features;
    let rows = table.data.chunks(features.max(1));
    rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0.0, filling))).collect()
}

impl Op {
    /// Packs what `node` needs for the layouts of `plan`; `winograd` as in [`PackedConv::new`]. What `before`, the same node for inputs
    /// of another size, has packed is shared where the layout is the same.
    pub(super) fn prepare(
        graph: &Graph,
        plan: &Plan,
        node: Node,
        winograd: Option<(usize, usize)>,
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        match before.filter(|before| before.serves_any_size()) {
            Some(before) => Arc::clone(before),
            None => Arc::new(Self::packed(graph, plan, node, winograd, before.map(|before| &**before))),
        }
    }

    /// Whether it depends on no extent of its input.
    fn serves_any_size(&self) -> bool {
        matches!(
            self,
            Self::ConvTranspose(..)
                | Self::Lookup(_)
                | Self::Recurrence(_)
                | Self::IntegerLstm(_)
                | Self::Norm(_)
                | Self::Tokens(_)
                | Self::Affine { .. }
        )
    }

    fn packed(graph: &Graph, plan: &Plan, node: Node, winograd: Option<(usize, usize)>, before: Option<&Self>) -> Self {
        let conv_before = before.and_then(|before| match before {
            Self::Conv(packed, _) => Some(packed),
            _ => None,
        });
        if plan.groups.is_inner(node) {
            return Self::Inner;
        }
        if let nodes @ [_, _, ..] = &plan.groups.ending_at(node)[..] {
            return Self::Fused(Box::new(Fused::prepare(graph, plan, nodes)));
        }
        let def = graph.def(node);
        let y = &plan.geometries[node.index()];
        let x = def.inputs.first().map_or(y, |input| &plan.geometries[input.index()]);
        match &def.layer {
            Layer::Input => Self::Input,
            Layer::Conv(conv) => {
                let shape = conv_shape(conv, x.h, x.w);
                if let Some(integer) = &conv.integer {
                    let packed = PackedConv::integer(&shape, &conv.weight.data, &integer.requantize, x, y);
                    return Self::Conv(packed, Activation::Identity);
                }
                let bias = conv.bias_values.as_ref().map(|bias| &bias.data[..]);
                let packed = PackedConv::sharing(conv_before, &shape, &conv.weight.data, bias, (x, y), winograd);
                Self::Conv(packed, conv.activation)
            }
            Layer::ConvTranspose(conv) => {
                let bias = conv.bias_values.as_ref().map(|bias| &bias.data[..]);
                let packed = PackedConvTranspose::new(&transpose_shape(conv), &conv.weight.data, bias);
                Self::ConvTranspose(packed, conv.activation)
            }
            Layer::Linear(linear) if linear.steps => {
                // A sequence is a row of pixels.
                let shape = product(linear);
                if let Some(integer) = &linear.integer {
                    let packed = PackedConv::integer(&shape, &linear.weight.data, &integer.requantize, x, y);
                    return Self::Conv(packed, Activation::Identity);
                }
                let bias = linear.bias.as_ref().map(|bias| &bias.data[..]);
                let codes = linear.weight.data.codes();
                let coded = codes.and_then(|codes| PackedConv::coded(&shape, Arc::clone(codes), bias, x, y));
                let floats = || PackedConv::sharing(conv_before, &shape, &linear.weight.data, bias, (x, y), None);
                Self::Conv(coded.unwrap_or_else(floats), linear.activation)
            }
            Layer::Embedding(embedding) => {
                let table = &embedding.table;
                let codes = table.data.codes().map(|codes| copy::Table::Coded(Arc::clone(codes)));
                Self::Lookup(codes.unwrap_or_else(|| copy::Table::Floats(padded_rows(table))))
            }
            Layer::Lstm(Lstm { integer: Some((integer, _)), weight, .. }) => {
                Self::IntegerLstm(PackedIntegerLstm::new(integer, &weight.data, weight.shape[1]))
            }
            Layer::Lstm(lstm) => Self::recurrence(&def.layer, Cell::Lstm { clip: lstm.clip.unwrap_or(f32::INFINITY) }),
            Layer::Recurrent(Recurrent { cell, .. }) => {
                let cell = match cell {
                    layers::Cell::Gru => Cell::Gru,
                    layers::Cell::Tanh => Cell::Rnn(Activation::Tanh),
                    layers::Cell::Relu => Cell::Rnn(Activation::Relu),
                };
                Self::recurrence(&def.layer, cell)
            }
            Layer::MatMul(product) => Self::MatMul(*product),
            Layer::Attention(attention) => Self::Attention(*attention),
            Layer::Norm(norm) => {
                let [weight, bias] =
                    [&norm.weight, &norm.bias].map(|param| param.as_ref().map(|param| &param.data[..]));
                Self::Norm(PackedNorm::new(norm.kind, norm.eps, (norm.groups, x.c / norm.groups), weight, bias))
            }
            Layer::Rotary(rotary) => Self::Rotary(PackedTurns::new(&rotary.turns, x.w)),
            Layer::Positions(positions) => Self::Positions(*positions),
            Layer::Tokens(tokens) => Self::Tokens(padded_rows(&tokens.before)),
            Layer::Step(step) => Self::Step(*step),
            Layer::Linear(linear) => {
                if let Some(integer) = &linear.integer {
                    // One window over the whole input.
                    let shape = ConvShape { kernel: (x.h, x.w), in_channels: x.c, ..product(linear) };
                    let packed = PackedConv::integer(&shape, &linear.weight.data, &integer.requantize, x, y);
                    return Self::Conv(packed, Activation::Identity);
                }
                let bias = linear.bias.as_ref().map(|bias| &bias.data[..]);
                let shared = before.and_then(|before| match before {
                    Self::Linear(packed, _) => packed.resized(x),
                    _ => None,
                });
                let packed = || PackedLinear::new(&linear.weight.data, bias, x, linear.out_features);
                Self::Linear(shared.unwrap_or_else(packed), linear.activation)
            }
            Layer::BatchNorm(norm) => {
                let (mut scale, mut shift): (Vec<_>, Vec<_>) =
                    norm.affine().into_iter().map(|(a, b)| (a as f32, b as f32)).unzip();
                scale.resize(scale.len().next_multiple_of(LANES), 0.0);
                shift.resize(shift.len().next_multiple_of(LANES), 0.0);
                Self::Affine { scale, shift }
            }
            Layer::Activation(activation) => Self::Activation(*activation),
            Layer::Pool(pool) => {
                let shape = PoolShape { kernel: pool.kernel, stride: pool.stride, padding: pool.padding };
                Self::Pool(shape, pool.kind)
            }
            Layer::GlobalAvgPool => Self::GlobalAvgPool,
            Layer::Add => Self::Add,
            Layer::Sub => Self::Sub,
            Layer::Mul => Self::Mul,
            Layer::Concat => Self::Concat,
            Layer::Resize(resize) => Self::Resize(Bilinear::new(x, y, resize.align_corners)),
            Layer::Shuffle(shuffle) => Self::Shuffle(*shuffle),
            Layer::Slice(slice) => Self::Slice(*slice),
            Layer::Fill(value) => Self::Fill(*value),
            Layer::WeightedMean => Self::WeightedMean,
            Layer::Softmax(beta) => Self::Softmax(*beta),
            Layer::Rows => Self::Rows,
            Layer::Integer(integer) => Self::Integer(integer.clone()),
            Layer::Subsample(subsample) => Self::Subsample(*subsample),
            Layer::Operand(_) => unreachable!("an operand of an ONNX file comes from the engine that runs it"),
        }
    }

    fn recurrence(layer: &Layer, cell: Cell) -> Self {
        let recurrence = layer.recurrence().expect("a recurrent layer");
        let params = RecurrenceParams {
            cell,
            weight: &recurrence.weight.data,
            bias: recurrence.bias.map(|bias| &bias.data[..]),
            projection: recurrence.projection.map(|projection| &projection.data[..]),
            hidden: recurrence.hidden(),
            outputs: recurrence.outputs(),
            rounding: recurrence.rounding,
        };
        Self::Recurrence(PackedRecurrence::new(params, recurrence.reverse))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineOptions, Session};
    use crate::graph::{Params, Scope};
    use crate::layers::{Conv, Shape};

    #[test]
    fn a_session_for_another_size_shares_what_is_packed() {
        let net = Scope::new(Params::Random(0));
        let x = net.input(16);
        let y = net.at("conv").conv(x, Conv::new(32, 3).padding(1));
        let y = net.at("norm").batch_norm(y, 1e-5);
        let (graph, _) = net.finish(y).unwrap();
        let session = Session::new(Arc::new(graph), Shape::new(16, 20, 20), 1, EngineOptions::new(1)).unwrap();
        let before = Arc::clone(&session.ops);
        let after = session.resized(Shape::new(16, 24, 33), 2).unwrap().ops;
        let [conv, norm] = [1, 2].map(|node| (&before[node], &after[node]));
        let (Op::Conv(first, _), Op::Conv(second, _)) = (&**conv.0, &**conv.1) else { panic!("a convolution") };
        assert!(first.shares(second) && Arc::ptr_eq(norm.0, norm.1));
        assert!(matches!(**norm.0, Op::Affine { .. }));
    }
}
