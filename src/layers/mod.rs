//! Layer kinds: attributes, shape rules and MAC counts, one file per kind. A closed set.

mod attention;
mod batch_norm;
mod conv;
mod conv_transpose;
mod embedding;
mod integer;
mod linear;
mod low_bits;
mod lstm;
mod matmul;
mod merge;
mod norm;
mod operand;
mod pool;
mod recurrent;
mod resize;
mod rotary;
mod sequence;
mod shuffle;
mod slice;
mod subsample;
mod values;
mod weighted_mean;

use std::sync::Arc;

use crate::kernels::{Activation, Integer, Requantize};

pub use attention::Attention;
pub use batch_norm::BatchNorm;
pub use conv::{Conv, Padding};
pub use conv_transpose::ConvTranspose;
pub use embedding::Embedding;
pub use linear::Linear;
pub use low_bits::{LowBitCodes, LowBits};
pub use lstm::Lstm;
pub use matmul::MatMul;
pub use norm::Norm;
pub use operand::Operand;
pub use pool::{Pool, PoolKind};
pub use recurrent::{Cell, Recurrence, Recurrent};
pub use resize::Resize;
pub use rotary::Rotary;
pub use sequence::{Positions, Step, Tokens};
pub use shuffle::Shuffle;
pub use slice::Slice;
pub use subsample::Subsample;
pub use values::Values;

/// Channels, rows and columns of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// `[c, h, w]`.
    pub fn new(c: usize, h: usize, w: usize) -> Self {
        Self { c, h, w }
    }

    /// Values of one image.
    pub fn elements(self) -> usize {
        self.c * self.h * self.w
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}]", self.c, self.h, self.w)
    }
}

/// A learned tensor.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its extents, outermost first.
    pub shape: Vec<usize>,
    /// Its values, row-major; empty for a network of shapes only.
    pub data: Values,
}

/// Parameters of an 8-bit layer with weights. Weights are codes minus their zero point; the bias is part of `requantize`.
#[derive(Clone, Debug)]
pub struct IntegerWeights {
    /// Step of the codes in real units: one for all, or one per filter.
    pub scales: Vec<f32>,
    /// Code of zero.
    pub zero_point: i32,
    /// Whether codes are -128..=127 or 0..=255.
    pub signed: bool,
    /// From sums of products to codes of the output.
    pub requantize: Arc<Requantize>,
}

/// A layer kind with its attributes and parameters.
#[derive(Clone, Debug)]
pub enum Layer {
    /// The network's input.
    Input,
    /// Convolution; after the fusing pass it may read a second input, the residual, added before its activation.
    Conv(Conv),
    /// Transposed convolution.
    ConvTranspose(ConvTranspose),
    /// Fully connected.
    Linear(Linear),
    /// Rows of a table.
    Embedding(Embedding),
    /// Recurrence of an LSTM.
    Lstm(Lstm),
    /// Recurrence of a GRU or a plain RNN.
    Recurrent(Recurrent),
    /// Product of two activations.
    MatMul(MatMul),
    /// Attention.
    Attention(Attention),
    /// Norm over channels.
    Norm(Norm),
    /// Rotary position embedding.
    Rotary(Rotary),
    /// Positions of steps.
    Positions(Positions),
    /// Pixels as steps of a sequence, after learned ones.
    Tokens(Tokens),
    /// One step of a sequence.
    Step(Step),
    /// Batch norm with running statistics.
    BatchNorm(BatchNorm),
    /// Pointwise function.
    Activation(Activation),
    /// Max or average over windows.
    Pool(Pool),
    /// Mean over all pixels.
    GlobalAvgPool,
    /// Sum of two.
    Add,
    /// Difference of two.
    Sub,
    /// Product with a gate.
    Mul,
    /// Concatenation along channels.
    Concat,
    /// Bilinear resize to the size of the second input.
    Resize(Resize),
    /// Pixel shuffle or unshuffle.
    Shuffle(Shuffle),
    /// Some channels, with borders cropped.
    Slice(Slice),
    /// One channel with a constant value, of the size of the input.
    Fill(f32),
    /// Mean over steps, weighted by the softmax of scores.
    WeightedMean,
    /// Rows of an image `[1, H, W]` as steps of a sequence `[W, 1, H]`.
    Rows,
    /// Softmax over channels, after multiplying by beta.
    Softmax(f32),
    /// A layer without weights in an 8-bit network.
    Integer(Integer),
    /// Strided copy framed by zero channels.
    Subsample(Subsample),
    /// An operand that comes from elsewhere.
    Operand(Operand),
}

impl Layer {
    /// The kind's name in reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv(_) => "conv",
            Self::ConvTranspose(_) => "conv_transpose",
            Self::Linear(_) => "linear",
            Self::Embedding(_) => "embedding",
            Self::Lstm(_) => "lstm",
            Self::Recurrent(Recurrent { cell: Cell::Gru, .. }) => "gru",
            Self::Recurrent(_) => "rnn",
            Self::MatMul(_) => "matmul",
            Self::Attention(_) => "attention",
            Self::Norm(norm) => norm.name(),
            Self::Rotary(_) => "rotary",
            Self::Positions(_) => "positions",
            Self::Tokens(_) => "tokens",
            Self::Step(Step::First) => "first_step",
            Self::Step(Step::Last) => "last_step",
            Self::BatchNorm(_) => "batch_norm",
            Self::Activation(activation) => activation.name(),
            Self::Pool(pool) => pool.kind.name(),
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Concat => "concat",
            Self::Resize(_) => "resize",
            Self::Shuffle(Shuffle { up: true, .. }) => "pixel_shuffle",
            Self::Shuffle(_) => "pixel_unshuffle",
            Self::Slice(_) => "slice",
            Self::Fill(_) => "fill",
            Self::WeightedMean => "weighted_mean",
            Self::Softmax(_) => "softmax",
            Self::Rows => "rows",
            Self::Integer(integer) => integer.name(),
            Self::Subsample(_) => "subsample",
            Self::Operand(_) => "operand",
        }
    }

    /// Shape of the output for `inputs`; the error says what was found and what is expected.
    pub(crate) fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        match self {
            Self::Input => unreachable!("the graph knows its input's shape"),
            Self::Conv(conv) => conv.output(inputs),
            Self::ConvTranspose(conv) => conv.output(inputs[0]),
            Self::Linear(linear) => linear.output(inputs[0]),
            Self::Embedding(embedding) => embedding.output(inputs[0]),
            Self::Lstm(_) | Self::Recurrent(_) => self.recurrence().expect("it is recurrent").output(inputs[0]),
            Self::MatMul(product) => product.output(inputs),
            Self::Attention(attention) => attention.output(inputs),
            Self::Norm(norm) => norm.output(inputs[0]),
            Self::Rotary(rotary) => rotary.output(inputs[0]),
            Self::Positions(positions) => positions.output(inputs[0]),
            Self::Tokens(tokens) => tokens.output(inputs[0]),
            Self::Step(step) => step.output(inputs[0]),
            Self::BatchNorm(norm) => norm.output(inputs[0]),
            Self::Activation(_) | Self::Softmax(_) => Ok(inputs[0]),
            Self::Rows if inputs[0].c == 1 => Ok(Shape::new(inputs[0].w, 1, inputs[0].h)),
            Self::Rows => Err(format!("input {} has several channels", inputs[0])),
            Self::Integer(integer) => integer::output(integer, inputs),
            Self::Pool(pool) => pool.output(inputs[0]),
            Self::GlobalAvgPool => Ok(Shape::new(inputs[0].c, 1, 1)),
            Self::Add | Self::Sub => merge::add(inputs),
            Self::Mul => merge::mul(inputs),
            Self::Concat => merge::concat(inputs),
            Self::Resize(resize) => resize.output(inputs),
            Self::Shuffle(shuffle) => shuffle.output(inputs[0]),
            Self::Slice(slice) => slice.output(inputs[0]),
            Self::Fill(_) => Ok(Shape { c: 1, ..inputs[0] }),
            Self::WeightedMean => weighted_mean::output(inputs),
            Self::Subsample(subsample) => Ok(subsample.output(inputs[0])),
            Self::Operand(operand) => Ok(operand.shape),
        }
    }

    /// MACs of one image with output `output` (METRICS section 1); 0 for kinds without MACs.
    pub fn macs(&self, output: Shape) -> u64 {
        match self {
            Self::Conv(conv) => conv.macs(output),
            Self::ConvTranspose(conv) => conv.macs(output),
            Self::Linear(linear) => linear.macs(output),
            Self::MatMul(product) => product.macs(output),
            Self::Attention(attention) => attention.macs(output),
            _ => self.recurrence().map_or(0, |recurrence| recurrence.macs(output)),
        }
    }

    /// Number of filters of a layer with weights; 0 for others.
    pub fn filters(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.out_channels,
            Self::ConvTranspose(conv) => conv.out_channels,
            Self::Linear(linear) => linear.out_features,
            _ => 0,
        }
    }

    /// Number of learned values.
    pub fn parameters(&self) -> usize {
        let count = |param: &Param| param.shape.iter().product::<usize>();
        let codes = |codes: &Option<IntegerWeights>| codes.as_ref().map_or(0, |codes| codes.requantize.bias.len());
        match self {
            Self::Conv(conv) => count(&conv.weight) + conv.bias_values.as_ref().map_or(0, count) + codes(&conv.integer),
            Self::ConvTranspose(conv) => count(&conv.weight) + conv.bias_values.as_ref().map_or(0, count),
            Self::Linear(linear) => {
                let weight = if linear.tied { 0 } else { count(&linear.weight) };
                weight + linear.bias.as_ref().map_or(0, count) + codes(&linear.integer)
            }
            Self::Embedding(embedding) => count(&embedding.table),
            Self::Norm(norm) => [&norm.weight, &norm.bias].into_iter().flatten().map(count).sum(),
            Self::Tokens(tokens) => count(&tokens.before),
            Self::BatchNorm(norm) => 2 * count(&norm.weight),
            _ => self.recurrence().map_or(0, |recurrence| recurrence.parameters()),
        }
    }
}
