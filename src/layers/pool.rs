//! Max and average pooling.

use super::Shape;
use crate::kernels::Halo;

/// What a window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value; padding is never the largest.
    Max,
    /// The mean over the window's pixels inside the tensor, or over the padded window.
    Average {
        /// Whether padding counts as zeros in the mean.
        count_padding: bool,
    },
}

impl PoolKind {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max_pool",
            Self::Average { .. } => "avg_pool",
        }
    }
}

/// Pooling over square windows.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Max or average.
    pub kind: PoolKind,
    /// Rows and columns of a window.
    pub kernel: usize,
    /// Stride of the windows.
    pub stride: usize,
    /// Around the input.
    pub padding: Halo,
    /// Whether a last window that starts inside but reaches beyond the padding counts (ceil mode of PyTorch and Caffe).
    pub ceil: bool,
}

impl Pool {
    /// Max pooling without padding.
    pub fn max(kernel: usize, stride: usize) -> Self {
        Self { kind: PoolKind::Max, kernel, stride, padding: Halo::default(), ceil: false }
    }

    /// Average pooling without padding.
    pub fn average(kernel: usize, stride: usize) -> Self {
        Self { kind: PoolKind::Average { count_padding: false }, ..Self::max(kernel, stride) }
    }

    /// The same padding on all four sides.
    pub fn padding(self, p: usize) -> Self {
        Self { padding: Halo { top: p, bottom: p, left: p, right: p }, ..self }
    }

    /// Windows that reach beyond the end count too.
    pub fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    pub(crate) fn output(&self, x: Shape) -> Result<Shape, String> {
        let extent = |size: usize, before: usize, after: usize| {
            let room = (size + before + after).checked_sub(self.kernel).filter(|_| size > 0)?;
            let count = if self.ceil { room.div_ceil(self.stride) } else { room / self.stride } + 1;
            // With ceil, a window must still start inside the input or its leading padding.
            Some(if self.ceil && (count - 1) * self.stride >= size + before { count - 1 } else { count })
        };
        let p = self.padding;
        match (extent(x.h, p.top, p.bottom), extent(x.w, p.left, p.right)) {
            (Some(h), Some(w)) => Ok(Shape::new(x.c, h, w)),
            _ => Err(format!("input {x} with its padding is smaller than the {0}x{0} window", self.kernel)),
        }
    }
}
