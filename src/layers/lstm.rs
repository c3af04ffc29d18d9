//! The recurrence of an LSTM (Hochreiter 1997); the contribution of the inputs was computed before, for all steps at once.

use super::{IntegerWeights, Param};
use crate::kernels::count::CodeMap;
use crate::kernels::integer_lstm::IntegerLstm;

/// Over a sequence `x` `[4·H, 1, T]`, gates in the order i, f, g, o:
///
/// `a = x[:, t] + W·h + b`, `c = σ(a_f)·c + σ(a_i)·tanh(a_g)`, `m = σ(a_o)·tanh(c)`, `y[:, t] = h`, where `h = m` or, with a
/// projection (Sak 2014), `h = R·m`.
#[derive(Clone, Debug)]
pub struct Lstm {
    /// `[4·H, P]`, gates in the order i, f, g, o; P is H without a projection.
    pub weight: Param,
    /// `[4·H]`, in the same order.
    pub bias: Option<Param>,
    /// R, `[P, H]`.
    pub projection: Option<Param>,
    /// Whether it goes from the last step to the first.
    pub reverse: bool,
    /// Bound of the cell's magnitude, if it has one.
    pub clip: Option<f32>,
    /// For an 8-bit recurrence: its scales, and the integers of its weights.
    pub integer: Option<(IntegerLstm, IntegerWeights)>,
    /// What h is rounded to before the next step multiplies it with W, and m before R does, if they are; outputs are as they are.
    pub rounding: [Option<CodeMap>; 2],
}

impl Lstm {
    /// H.
    pub fn hidden(&self) -> usize {
        self.weight.shape[0] / 4
    }

    /// P, the number of values that one step passes to the next.
    pub fn outputs(&self) -> usize {
        self.weight.shape[1]
    }
}
