//! Fully connected layer.

use super::{Param, Shape};
use crate::kernels::Activation;

/// `y = W x + b` over all features of an image, in the order channel, row, column.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// Features that enter.
    pub in_features: usize,
    /// Features that leave.
    pub out_features: usize,
    /// Applied to the result.
    pub activation: Activation,
}

impl Linear {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if x.elements() != self.in_features {
            return Err(format!("input {x} has {} features, the weight needs {}", x.elements(), self.in_features));
        }
        Ok(Shape::new(self.out_features, 1, 1))
    }

    pub(super) fn macs(&self) -> u64 {
        self.in_features as u64 * self.out_features as u64
    }
}
