//! The parameter-free shortcut of CIFAR ResNets ("option A"): a strided copy framed by zero channels.

use super::Shape;

/// `y[before + c, i, j] = x[c, i·stride, j·stride]`; the other channels are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsample {
    /// Rows and columns from one copied pixel to the next.
    pub stride: usize,
    /// Zero channels before.
    pub before: usize,
    /// Zero channels after.
    pub after: usize,
}

impl Subsample {
    pub(super) fn output(&self, x: Shape) -> Shape {
        Shape::new(self.before + x.c + self.after, x.h.div_ceil(self.stride), x.w.div_ceil(self.stride))
    }
}
