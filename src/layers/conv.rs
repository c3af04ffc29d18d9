//! Convolution: any stride, dilation, groups and padding.

use super::{IntegerWeights, LowBits, Param, Shape};
use crate::kernels::{Activation, Halo};

/// How much zero padding surrounds the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// These many rows and columns.
    Explicit(Halo),
    /// TensorFlow's "same": as much as makes the output `ceil(input / stride)`, the odd one after.
    Same,
}

/// Attributes and parameters of a convolution.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Filters, K.
    pub out_channels: usize,
    /// Channels of the input, C.
    pub in_channels: usize,
    /// Rows and columns of a filter, R and S.
    pub kernel: (usize, usize),
    /// Rows and columns from one window to the next.
    pub stride: (usize, usize),
    /// Rows and columns from one tap to the next.
    pub dilation: (usize, usize),
    /// Zeros around the input.
    pub padding: Padding,
    /// Groups of channels, each convolved on its own.
    pub groups: usize,
    /// Whether there is a bias; `None` lets the checkpoint decide.
    pub bias: Option<bool>,
    /// Filters, `[K, C/groups, R, S]`.
    pub weight: Param,
    /// Bias, `[K]`.
    pub bias_values: Option<Param>,
    /// Applied to the result (after the residual, if a second input is read).
    pub activation: Activation,
    /// Of a convolution of 8-bit integers.
    pub integer: Option<IntegerWeights>,
    /// The integers that the weights are stored as, if in a few bits.
    pub low_bits: Option<LowBits>,
}

impl Conv {
    /// `out` filters of `kernel` x `kernel`: stride 1, no padding, no dilation, one group, no bias.
    pub fn new(out: usize, kernel: usize) -> Self {
        Self {
            out_channels: out,
            in_channels: 0,
            kernel: (kernel, kernel),
            stride: (1, 1),
            dilation: (1, 1),
            padding: Padding::Explicit(Halo::default()),
            groups: 1,
            bias: Some(false),
            weight: Param { shape: vec![], data: Default::default() },
            bias_values: None,
            activation: Activation::Identity,
            integer: None,
            low_bits: None,
        }
    }

    /// The same stride in both directions.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: (stride, stride), ..self }
    }

    /// The same padding on all four sides.
    pub fn padding(self, p: usize) -> Self {
        Self { padding: Padding::Explicit(Halo { top: p, bottom: p, left: p, right: p }), ..self }
    }

    /// Any padding.
    pub fn pad(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// The same dilation in both directions.
    pub fn dilation(self, dilation: usize) -> Self {
        Self { dilation: (dilation, dilation), ..self }
    }

    /// Groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With or without bias.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// True if each channel has its own filter and there are as many outputs as inputs.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// The padding in rows and columns for an input of `h` x `w`.
    pub fn halo(&self, h: usize, w: usize) -> Halo {
        match self.padding {
            Padding::Explicit(halo) => halo,
            Padding::Same => {
                let (top, bottom) = same(h, self.kernel.0, self.stride.0, self.dilation.0);
                let (left, right) = same(w, self.kernel.1, self.stride.1, self.dilation.1);
                Halo { top, bottom, left, right }
            }
        }
    }

    pub(super) fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let x = inputs[0];
        if x.c != self.in_channels {
            return Err(format!("input has {} channels, the filters need {}", x.c, self.in_channels));
        }
        let halo = self.halo(x.h, x.w);
        let extent = |size: usize, before: usize, after: usize, kernel: usize, stride: usize, dilation: usize| {
            let (padded, reach) = (size + before + after, dilation * (kernel - 1) + 1);
            (size > 0 && padded >= reach).then(|| (padded - reach) / stride + 1)
        };
        let h = extent(x.h, halo.top, halo.bottom, self.kernel.0, self.stride.0, self.dilation.0);
        let w = extent(x.w, halo.left, halo.right, self.kernel.1, self.stride.1, self.dilation.1);
        let (Some(h), Some(w)) = (h, w) else {
            let (r, s) = self.kernel;
            return Err(format!("input {x} with its padding is smaller than the {r}x{s} filter with its dilation"));
        };
        let y = Shape::new(self.out_channels, h, w);
        match inputs.get(1) {
            Some(&residual) if residual != y => Err(format!("adds {residual} to {y}")),
            _ => Ok(y),
        }
    }

    pub(super) fn macs(&self, y: Shape) -> u64 {
        let per_output = self.in_channels / self.groups * self.kernel.0 * self.kernel.1;
        y.elements() as u64 * per_output as u64
    }
}

/// TensorFlow's rule: in total what the last window lacks, the smaller half before. The dilation widens the filter (as in
/// Keras), not the padding afterwards.
fn same(size: usize, kernel: usize, stride: usize, dilation: usize) -> (usize, usize) {
    let reach = dilation * (kernel - 1) + 1;
    let total = (size.div_ceil(stride).saturating_sub(1) * stride + reach).saturating_sub(size);
    (total / 2, total - total / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_follows_tensorflow() {
        assert_eq!(same(224, 3, 2, 1), (0, 1));
        assert_eq!(same(225, 3, 2, 1), (1, 1));
        assert_eq!(same(7, 5, 1, 1), (2, 2));
        assert_eq!(same(65, 3, 1, 4), (4, 4));
        assert_eq!(same(56, 1, 2, 1), (0, 0));
    }

    #[test]
    fn a_filter_larger_than_the_padded_input_is_an_error() {
        let conv = Conv { in_channels: 1, ..Conv::new(1, 5).padding(1) };
        assert!(conv.output(&[Shape::new(1, 2, 9)]).unwrap_err().contains("smaller than the 5x5"));
        assert_eq!(conv.output(&[Shape::new(1, 3, 9)]), Ok(Shape::new(1, 1, 7)));
    }
}
