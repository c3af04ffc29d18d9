//! Layers that make sequences, number their steps, and take one of them.

use super::rotary::within;
use super::{Param, Shape};

/// The positions of the steps of `x` `[C, 1, T]` as a sequence `[1, 1, T]` of numbers: `first`, `first + 1` and so on. A run that
/// goes on from another one numbers on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Number of the first step.
    pub first: usize,
    /// Steps that there are positions for.
    pub limit: usize,
    /// Whether there must be a step for every position.
    pub exact: bool,
    /// A token id that is not counted, of a sequence of such: its own position is `first - 1`.
    pub skip: Option<u32>,
}

impl Positions {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if x.h != 1 || self.skip.is_some() && x.c != 1 {
            return Err(format!("input {x} is no sequence"));
        }
        if self.exact && x.w != self.limit {
            return Err(format!("a sequence of {} steps is not of the network's {} positions", x.w, self.limit));
        }
        within(x.w, self.limit)?;
        Ok(Shape { c: 1, ..x })
    }
}

/// The pixels of `[C, H, W]` as steps of a sequence `[C, 1, n + H·W]`, row by row, after n learned steps.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `[n, C]`.
    pub before: Param,
}

impl Tokens {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let [n, c] = [self.before.shape[0], self.before.shape[1]];
        if x.c != c {
            return Err(format!("input {x} has {} channels, the steps before it have {c}", x.c));
        }
        Ok(Shape::new(c, 1, n + x.h * x.w))
    }
}

/// One step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first.
    First,
    /// The last.
    Last,
}

impl Step {
    /// `[C, 1, 1]` of `[C, 1, T]`.
    pub(super) fn output(self, x: Shape) -> Result<Shape, String> {
        if x.h != 1 { Err(format!("input {x} is no sequence [C, 1, T]")) } else { Ok(Shape { w: 1, ..x }) }
    }

    /// Its column among `steps`.
    pub fn column(self, steps: usize) -> usize {
        if self == Self::First { 0 } else { steps - 1 }
    }
}
