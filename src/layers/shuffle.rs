//! Pixel shuffle and unshuffle: channels to pixels and back (Shi 2016), in PyTorch's order of channels.

use super::Shape;

/// `up`: `y[c, i·f + a, j·f + b] = x[(c·f + a)·f + b, i, j]`; else its inverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    /// Rows (and columns) of pixels that become channels, f.
    pub factor: usize,
    /// Whether channels become pixels.
    pub up: bool,
}

impl Shuffle {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let f = self.factor;
        let fits = if self.up { x.c.is_multiple_of(f * f) } else { x.h.is_multiple_of(f) && x.w.is_multiple_of(f) };
        match (fits, self.up) {
            (false, true) => Err(format!("input {x} has no multiple of {} channels", f * f)),
            (false, false) => Err(format!("rows and columns of input {x} are no multiples of {f}")),
            (true, true) => Ok(Shape::new(x.c / (f * f), x.h * f, x.w * f)),
            (true, false) => Ok(Shape::new(x.c * f * f, x.h / f, x.w / f)),
        }
    }
}
