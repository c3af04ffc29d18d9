//! Rotary position embedding (Su 2021).

use std::sync::Arc;

use super::Shape;
use crate::kernels::rotary::Turns;

/// Turns pairs of channels of each head of a sequence `[heads·d, 1, T]` by an angle that grows with the position:
///
/// `y_i = x_i · cos(p·f) - x_j · sin(p·f)`, `y_j = x_j · cos(p·f) + x_i · sin(p·f)` for each pair i, j with its frequency f.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// Which channels turn, and how fast.
    pub turns: Arc<Turns>,
    /// Positions that the network is made for.
    pub limit: usize,
}

impl Rotary {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if x.h != 1 || !x.c.is_multiple_of(self.turns.channels) {
            return Err(format!("input {x} is no sequence of heads of {} channels", self.turns.channels));
        }
        within(x.w, self.limit)?;
        Ok(x)
    }
}

/// An error if a sequence of `steps` steps needs more than `limit` positions.
pub(super) fn within(steps: usize, limit: usize) -> Result<(), String> {
    if steps <= limit {
        return Ok(());
    }
    Err(format!("a sequence of {steps} tokens is longer than the {limit} positions of the network; cut it shorter"))
}
