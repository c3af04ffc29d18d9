//! Bilinear resize of activations.

use super::Shape;

/// To what size, and where the corners lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Rows and columns of the output.
    pub size: (usize, usize),
    /// True: the corner pixels' centres coincide (`align_corners`); false: the corners of the corner pixels do.
    pub align_corners: bool,
}

impl Resize {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        let (h, w) = self.size;
        if h * w * x.h * x.w == 0 { Err(format!("resizes {x} to {h}x{w}")) } else { Ok(Shape { h, w, ..x }) }
    }
}
