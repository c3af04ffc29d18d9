//! Layer kinds on our kernels: what halo they need, how they run.

use super::fused::Fused;
use super::state::State;
use crate::kernels::attention::{KvCache, Operands, attention};
use crate::kernels::conv::{ConvShape, PackedConv};
use crate::kernels::conv_transpose::PackedConvTranspose;
use crate::kernels::integer_lstm::PackedIntegerLstm;
use crate::kernels::linear::PackedLinear;
use crate::kernels::norm::PackedNorm;
use crate::kernels::pool::PoolShape;
use crate::kernels::recurrence::PackedRecurrence;
use crate::kernels::resize::Bilinear;
use crate::kernels::rotary::PackedTurns;
use crate::kernels::{
    Activation, Buffer, Exec, Geometry, Halo, Integer, copy, matmul, pointwise, pool, sequence, softmax,
};
use crate::layers::{Attention, Conv, Layer, MatMul, PoolKind, Positions, Shuffle, Slice, Step, Subsample};

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

/// The halo that `layer` reads around its first input of `h` x `w`.
pub(super) fn halo(layer: &Layer, h: usize, w: usize) -> Halo {
    match layer {
        Layer::Conv(conv) => conv_shape(conv, h, w).halo(h, w),
        _ => Halo::default(),
    }
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
