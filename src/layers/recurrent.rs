//! The recurrences of a GRU (Cho 2014) and of a plain RNN (Elman 1990), and what all recurrences have in common.

use super::{Layer, Lstm, Param, Shape};
use crate::kernels::count::CodeMap;

/// Over a sequence `x` `[G·H, 1, T]`, the contributions of the inputs to G stacked gates; with `s = W·h + b`:
///
/// - GRU, gates r, z, n: `h = σ(z)·h + (1 - σ(z))·tanh(x_n + σ(r)·s_n)`, where `r` and `z` are `x + s`;
/// - plain: `h = tanh(x + s)` or `max(x + s, 0)`.
///
/// `y[:, t] = h`.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// Its kind.
    pub cell: Cell,
    /// W, `[G·H, H]`.
    pub weight: Param,
    /// b, `[G·H]`.
    pub bias: Option<Param>,
    /// Whether it goes from the last step to the first.
    pub reverse: bool,
    /// What h is rounded to before the next step multiplies it with W, if it is; outputs are as they are.
    pub rounding: Option<CodeMap>,
}

/// What a step makes of its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Gates r, z, n. The reset gate multiplies the product of the candidate (PyTorch; ONNX' `linear_before_reset`, Keras'
    /// `reset_after`), so that all gates read the same hidden values.
    Gru,
    /// A hyperbolic tangent.
    Tanh,
    /// A ReLU.
    Relu,
}

impl Cell {
    /// Stacked gates.
    pub fn gates(self) -> usize {
        if self == Self::Gru { 3 } else { 1 }
    }
}

/// The product inside a recurrent layer of any kind: of the hidden values of the step before with the stacked gates.
#[derive(Clone, Copy, Debug)]
pub struct Recurrence<'a> {
    /// G.
    pub gates: usize,
    /// `[G·H, P]`.
    pub weight: &'a Param,
    /// `[G·H]`.
    pub bias: Option<&'a Param>,
    /// `[P, H]`, of the hidden values; without it P is H.
    pub projection: Option<&'a Param>,
    /// Whether it goes from the last step to the first.
    pub reverse: bool,
    /// What values are rounded to before the recurrent weights multiply them, and before the projection does.
    pub rounding: [Option<CodeMap>; 2],
}

impl Layer {
    /// What it has in common with other recurrent layers, if it is one.
    pub fn recurrence(&self) -> Option<Recurrence<'_>> {
        match self {
            Self::Lstm(Lstm { weight, bias, projection, reverse, rounding, .. }) => Some(Recurrence {
                gates: 4,
                weight,
                bias: bias.as_ref(),
                projection: projection.as_ref(),
                reverse: *reverse,
                rounding: *rounding,
            }),
            Self::Recurrent(Recurrent { cell, weight, bias, reverse, rounding }) => Some(Recurrence {
                gates: cell.gates(),
                weight,
                bias: bias.as_ref(),
                projection: None,
                reverse: *reverse,
                rounding: [*rounding, None],
            }),
            _ => None,
        }
    }
}

impl Recurrence<'_> {
    /// H.
    pub fn hidden(&self) -> usize {
        self.weight.shape[0] / self.gates
    }

    /// P, the number of values that one step passes to the next.
    pub fn outputs(&self) -> usize {
        self.weight.shape[1]
    }

    /// Whether the extents of its parameters fit one another.
    pub fn fits(&self) -> bool {
        let (hidden, outputs) = (self.hidden(), self.outputs());
        let projected = self.projection.map_or(outputs == hidden, |r| r.shape == [outputs, hidden]);
        projected && self.weight.shape[0] == self.gates * hidden
    }

    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let values = self.gates * self.hidden();
        if (x.c, x.h) != (values, 1) {
            let gates = ["one gate", "two gates", "three gates", "four gates"][self.gates - 1];
            return Err(format!("input {x} is no sequence [{values}, 1, T] of {gates}"));
        }
        Ok(Shape { c: self.outputs(), ..x })
    }

    pub(super) fn macs(&self, y: Shape) -> u64 {
        let count = |param: &Param| param.shape.iter().product::<usize>();
        (count(self.weight) + self.projection.map_or(0, count)) as u64 * y.w as u64
    }

    pub(super) fn parameters(&self) -> usize {
        let parts = [Some(self.weight), self.bias, self.projection];
        parts.into_iter().flatten().map(|param| param.shape.iter().product::<usize>()).sum()
    }
}
