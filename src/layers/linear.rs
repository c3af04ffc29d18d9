//! Fully connected layer.

use super::{IntegerWeights, LowBits, Param, Shape};
use crate::kernels::Activation;

/// `y = W x + b` over all features of an image, in the order channel, row, column; or over those of each step of a
/// sequence `[in, 1, T]`.
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
    /// Whether the weight is shared with another layer.
    pub tied: bool,
    /// Whether the input is a sequence.
    pub steps: bool,
    /// Applied to the result.
    pub activation: Activation,
    /// Of a layer of 8-bit integers.
    pub integer: Option<IntegerWeights>,
    /// Channels of the input, if features are counted in the order row, column, channel of a channels-last network. `None`
    /// for the order channel, row, column, which [`Linear::weight`] always has.
    pub channels_last: Option<usize>,
    /// The integers that the weights are stored as, if in a few bits.
    pub low_bits: Option<LowBits>,
}

impl Linear {
    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if self.steps {
            if (x.c, x.h) != (self.in_features, 1) {
                return Err(format!("input {x} is no sequence [{}, 1, T]", self.in_features));
            }
            return Ok(Shape { c: self.out_features, ..x });
        }
        if x.elements() != self.in_features {
            return Err(format!("input {x} has {} features, the weight needs {}", x.elements(), self.in_features));
        }
        Ok(Shape::new(self.out_features, 1, 1))
    }

    pub(super) fn macs(&self, y: Shape) -> u64 {
        self.in_features as u64 * y.elements() as u64
    }
}
