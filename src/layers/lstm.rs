//! The recurrence of an LSTM (Hochreiter 1997): what its inputs contribute was computed before, for all steps at once.

use super::{Param, Shape};

/// Over a sequence `x` `[4·H, 1, T]`, gates in the order i, f, g, o:
///
/// `a = x[:, t] + W·h + b`, `c = σ(a_f)·c + σ(a_i)·tanh(a_g)`, `h = σ(a_o)·tanh(c)`, `y[:, t] = h`.
#[derive(Clone, Debug)]
pub struct Lstm {
    /// `[4·H, H]`, gates in the order i, f, g, o.
    pub weight: Param,
    /// `[4·H]`, in the same order.
    pub bias: Option<Param>,
    /// Whether it goes from the last step to the first.
    pub reverse: bool,
}

impl Lstm {
    /// H.
    pub fn hidden(&self) -> usize {
        self.weight.shape[1]
    }

    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if (x.c, x.h) != (4 * self.hidden(), 1) {
            return Err(format!("input {x} is no sequence [{}, 1, T] of four gates", 4 * self.hidden()));
        }
        Ok(Shape { c: self.hidden(), ..x })
    }

    pub(super) fn macs(&self, y: Shape) -> u64 {
        (4 * self.hidden() * self.hidden()) as u64 * y.w as u64
    }
}
