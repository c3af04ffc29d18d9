//! Layer kinds on our kernels: what halo they need, how they are prepared, how they run.

use std::sync::Arc;

use super::fused::Fused;
use super::plan::Plan;
use super::state::State;
use crate::graph::{Graph, Node};
use crate::kernels::attention::{KvCache, Operands, attention};
use crate::kernels::conv::{ConvShape, PackedConv};
use crate::kernels::conv_transpose::PackedConvTranspose;
use crate::kernels::integer_lstm::PackedIntegerLstm;
use crate::kernels::linear::PackedLinear;
use crate::kernels::norm::PackedNorm;
use crate::kernels::pool::PoolShape;
use crate::kernels::recurrence::{Cell, PackedRecurrence, RecurrenceParams};
use crate::kernels::resize::Bilinear;
use crate::kernels::rotary::PackedTurns;
use crate::kernels::{
    Activation, Buffer, Exec, Geometry, Halo, Integer, LANES, copy, matmul, pointwise, pool, sequence, softmax,
};
use crate::layers::{
    self, Attention, Conv, ConvTranspose, Layer, Linear, Lstm, MatMul, Param, PoolKind, Positions, Recurrent, Shuffle,
    Slice, Step, Subsample,
};

/// A prepared node: weights packed, tables built.
pub(super) enum Op {
    Input,
    Conv(PackedConv, Activation),
    /// The last node of a fused group, and the others of it.
    Fused(Box<Fused>),
    Inner,
    ConvTranspose(PackedConvTranspose, Activation),
    Linear(PackedLinear, Activation),
    Lookup(copy::Table),
    Recurrence(PackedRecurrence),
    IntegerLstm(PackedIntegerLstm),
    MatMul(MatMul),
    Attention(Attention),
    Norm(PackedNorm),
    Rotary(PackedTurns),
    Positions(Positions),
    /// Learned steps, zero-padded to whole blocks.
    Tokens(Vec<f32>),
    Step(Step),
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Activation(Activation),
    Pool(PoolShape, PoolKind),
    GlobalAvgPool,
    Add,
    Sub,
    Mul,
    Concat,
    Resize(Bilinear),
    Shuffle(Shuffle),
    Slice(Slice),
    Fill(f32),
    WeightedMean,
    Softmax(f32),
    Integer(Integer),
    Rows,
    Subsample(Subsample),
}

pub(super) fn conv_shape(conv: &Conv, h: usize, w: usize) -> ConvShape {
    ConvShape {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        dilation: conv.dilation,
        padding: conv.halo(h, w),
        groups: conv.groups,
    }
}

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

/// The halo that `layer` reads around its first input of `h` x `w`.
pub(super) fn halo(layer: &Layer, h: usize, w: usize) -> Halo {
    match layer {
        Layer::Conv(conv) => conv_shape(conv, h, w).halo(h, w),
        _ => Halo::default(),
    }
}

/// The rows of `table`, each zero-padded to whole blocks.
fn padded_rows(table: &Param) -> Vec<f32> {
    let features = table.shape[1];
    let filling = features.next_multiple_of(LANES) - features;
    let rows = table.data.chunks(features.max(1));
    rows.flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0.0, filling))).collect()
}

/// What `layer` reads; of sequences with padding, their tokens without it.
pub(super) fn layer_operands<'a>(
    layer: &Attention,
    images: usize,
    inputs: &[(&'a [f32], &'a Geometry)],
) -> Operands<'a> {
    let inside = layer.pad.map(|pad| {
        let (ids, geometry) = inputs[3];
        let kept = |image: usize, step: &usize| ids[geometry.index(image, 0, 0, *step)] != pad as f32;
        let of = |image: usize| {
            let first = (0..geometry.w).find(|step| kept(image, step)).unwrap_or(0);
            let end = (0..geometry.w).rev().find(|step| kept(image, step)).map_or(0, |last| last + 1);
            first.min(end)..end
        };
        (0..images).map(of).collect()
    });
    Operands { q: inputs[0], k: inputs[1], v: inputs[2], inside, rounding: layer.rounding }
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

    /// What `batch` sequences keep from one run to the next.
    pub(super) fn state(&self, batch: usize) -> State {
        let floats = match self {
            Self::Recurrence(packed) => packed.state_len(),
            Self::IntegerLstm(lstm) => lstm.state_len(),
            // Tokens so far.
            Self::Rotary(_) | Self::Positions(_) => 1,
            Self::Attention(attention) => return State::Cache(Box::new(KvCache::new(attention.shape, batch))),
            _ => 0,
        };
        State::Floats(Buffer::zeroed(floats * batch))
    }

    /// Name of the kernel.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv(conv, _) => conv.method(),
            Self::Fused(_) | Self::Inner => "fused",
            Self::ConvTranspose(..) => "transposed",
            Self::Linear(..) => "linear",
            Self::Lookup(_) => "lookup",
            Self::Recurrence(packed) => packed.name(),
            Self::IntegerLstm(_) => "integer",
            Self::MatMul(_) => "matmul",
            Self::Attention(_) => "attention",
            Self::Norm(_) => "norm",
            Self::Rotary(_) => "rotary",
            Self::Positions(_) => "positions",
            Self::Tokens(_) => "tokens",
            Self::Step(_) => "step",
            Self::Affine { .. } => "affine",
            Self::Activation(activation) => activation.name(),
            Self::Pool(_, kind) => kind.name(),
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Concat => "concat",
            Self::Resize(_) => "bilinear",
            Self::Shuffle(_) => "shuffle",
            Self::Slice(_) => "slice",
            Self::Fill(_) => "fill",
            Self::WeightedMean => "weighted_mean",
            Self::Softmax(_) => "softmax",
            Self::Rows => "rows",
            Self::Integer(integer) => integer.name(),
            Self::Subsample(_) => "subsample",
        }
    }

    /// Computes the first `images` images of `y` from `inputs`; reads `state` and replaces it, if the layer has one.
    pub(super) fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        inputs: &[(&[f32], &Geometry)],
        y: &mut [f32],
        yg: &Geometry,
        state: &mut State,
    ) {
        let Some(&x) = inputs.first() else { return };
        match self {
            Self::Input | Self::Inner => {}
            Self::Fused(_) => unreachable!("a group runs on the input of its first node"),
            Self::Conv(conv, activation) => conv.run(exec, images, x.0, y, inputs.get(1).copied(), *activation),
            Self::ConvTranspose(conv, activation) => conv.run(exec, images, x, y, yg, *activation),
            Self::Linear(linear, activation) => linear.run(exec, images, x.0, y, yg, *activation),
            Self::Lookup(table) => copy::lookup(exec, images, table, x, y, yg),
            Self::Recurrence(packed) => packed.run(exec, images, x, (y, yg), state.floats(), None),
            Self::IntegerLstm(lstm) => lstm.run(exec, images, x, (y, yg), state.floats()),
            Self::MatMul(product) => matmul::matmul(exec, images, product.inner, x, inputs[1], y, yg),
            Self::Attention(layer) => {
                let operands = layer_operands(layer, images, inputs);
                attention(exec, images, &operands, (y, yg), state.cache(), exec.rows);
            }
            Self::Norm(norm) => norm.run(exec, images, x, y, yg),
            Self::Rotary(turns) => turns.run(exec, images, x, (y, yg), state.floats()),
            Self::Positions(Positions { first, skip, .. }) => {
                sequence::positions(exec, images, (*first, *skip), x, (y, yg), state.floats());
            }
            Self::Tokens(before) => sequence::tokens(exec, images, before, x, y, yg),
            Self::Step(step) => sequence::column(exec, images, step.column(x.1.w), x, y, yg),
            Self::Affine { scale, shift } => pointwise::affine(exec, images, (scale, shift), x, y, yg),
            Self::Activation(activation) => pointwise::activation(exec, images, *activation, x, y, yg),
            Self::Pool(shape, PoolKind::Max) => pool::max(exec, images, shape, x, y, yg),
            Self::Pool(shape, PoolKind::Average { count_padding }) => {
                pool::average(exec, images, shape, *count_padding, x, y, yg);
            }
            Self::GlobalAvgPool => pool::global_average(exec, images, x, y, yg),
            Self::Add => pointwise::add(exec, images, x, inputs[1], y, yg),
            Self::Sub => pointwise::sub(exec, images, x, inputs[1], y, yg),
            Self::Mul => pointwise::mul(exec, images, x, inputs[1], y, yg),
            Self::Concat => copy::concat(exec, images, inputs, y, yg),
            Self::Resize(bilinear) => bilinear.run(exec, images, x, y, yg),
            Self::Shuffle(shuffle) => copy::shuffle(exec, images, (shuffle.factor, shuffle.up), x, y, yg),
            Self::Slice(slice) => {
                copy::slice(exec, images, (slice.start, slice.cut.top, slice.cut.left), x, y, yg);
            }
            Self::WeightedMean => pool::weighted_mean(exec, images, x, inputs[1], y, yg),
            Self::Fill(value) => pointwise::fill(exec, images, *value, y, yg),
            Self::Softmax(beta) => softmax::softmax(exec, images, *beta, x, y, yg),
            Self::Integer(integer) => integer.run(exec, images, inputs, y, yg),
            Self::Rows => copy::rows(exec, images, x, y, yg),
            Self::Subsample(subsample) => {
                copy::subsample(exec, images, (subsample.stride, subsample.before), x, y, yg);
            }
        }
    }
}
