//! A part of a tensor: some channels, with borders cropped.

use super::Shape;
use crate::kernels::Halo;

/// `channels` channels from `start` on, without the rows and columns of `cut`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First channel.
    pub start: usize,
    /// How many channels.
    pub channels: usize,
    /// Rows and columns cropped.
    pub cut: Halo,
}

impl Slice {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let Halo { top, bottom, left, right } = self.cut;
        let left_over = |size: usize, cut: usize| size.checked_sub(cut).filter(|&size| size > 0);
        match (left_over(x.h, top + bottom), left_over(x.w, left + right)) {
            (Some(h), Some(w)) if self.start + self.channels <= x.c => Ok(Shape::new(self.channels, h, w)),
            _ => Err(format!("input {x} is smaller than what is cut from it")),
        }
    }
}
