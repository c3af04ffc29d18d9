//! Bilinear resize of activations to the rows and columns of another value.

use super::Shape;

/// How the corners are aligned. The second input gives the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// True: the corner pixels' centres coincide (`align_corners`); false: the corners of the corner pixels do.
    pub align_corners: bool,
}

impl Resize {
    pub(super) fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [x, like] = [inputs[0], inputs[1]];
        if x.h * x.w == 0 { Err(format!("resizes {x}")) } else { Ok(Shape { c: x.c, ..like }) }
    }
}
