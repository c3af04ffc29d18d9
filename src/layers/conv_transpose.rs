//! Transposed convolution: each input pixel adds a filter-sized patch of output.

use super::{Param, Shape};
use crate::kernels::{Activation, Halo};

/// Attributes and parameters of a transposed convolution.
#[derive(Clone, Debug)]
pub struct ConvTranspose {
    /// Channels of the output.
    pub out_channels: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Rows and columns of a filter.
    pub kernel: (usize, usize),
    /// Rows and columns of output from one input pixel to the next.
    pub stride: (usize, usize),
    /// Rows and columns from one tap to the next.
    pub dilation: (usize, usize),
    /// Rows and columns cropped from the output.
    pub padding: Halo,
    /// Groups of channels, each convolved on its own.
    pub groups: usize,
    /// Whether there is a bias; `None` lets the checkpoint decide.
    pub bias: Option<bool>,
    /// Filters, `[C, K/groups, R, S]`.
    pub weight: Param,
    /// Bias, `[K]`.
    pub bias_values: Option<Param>,
    /// Applied to the result.
    pub activation: Activation,
}

impl ConvTranspose {
    /// `out` channels by filters of `kernel` x `kernel` at `stride`: no padding, no dilation, one group, no bias.
    pub fn new(out: usize, kernel: usize, stride: usize) -> Self {
        Self {
            out_channels: out,
            in_channels: 0,
            kernel: (kernel, kernel),
            stride: (stride, stride),
            dilation: (1, 1),
            padding: Halo::default(),
            groups: 1,
            bias: Some(false),
            weight: Param { shape: vec![], data: Default::default() },
            bias_values: None,
            activation: Activation::Identity,
        }
    }

    /// The weights as those of a convolution, `[K, C/groups, R, S]`.
    pub fn filters_first(&self) -> Vec<f32> {
        let taps = self.kernel.0 * self.kernel.1;
        let (inputs, outputs) = (self.in_channels / self.groups, self.out_channels / self.groups);
        let at = |i: usize| {
            let (filter, input, tap) = (i / (inputs * taps), i / taps % inputs, i % taps);
            let channel = filter / outputs * inputs + input;
            self.weight.data[(channel * outputs + filter % outputs) * taps + tap]
        };
        (0..self.out_channels * inputs * taps).map(at).collect()
    }

    pub(super) fn output(&self, x: Shape) -> Result<Shape, String> {
        if x.c != self.in_channels {
            return Err(format!("input has {} channels, the filters need {}", x.c, self.in_channels));
        }
        let extent = |size: usize, kernel: usize, stride: usize, dilation: usize, cut: usize| {
            (size.checked_sub(1)? * stride + dilation * (kernel - 1) + 1).checked_sub(cut).filter(|&size| size > 0)
        };
        let p = self.padding;
        let h = extent(x.h, self.kernel.0, self.stride.0, self.dilation.0, p.top + p.bottom);
        let w = extent(x.w, self.kernel.1, self.stride.1, self.dilation.1, p.left + p.right);
        match (h, w) {
            (Some(h), Some(w)) => Ok(Shape::new(self.out_channels, h, w)),
            _ => Err(format!("input {x} leaves no output once the padding is cropped")),
        }
    }

    /// The dense count of the equivalent zero-inserted convolution would include the inserted zeros. Counted as a scatter,
    /// each input pixel meets each tap once: `C·H·W·(K/groups)·R·S`. The input's extents are derived from `y`.
    pub(super) fn macs(&self, y: Shape) -> u64 {
        let back = |size: usize, kernel: usize, stride: usize, dilation: usize, cut: usize| {
            (size + cut - dilation * (kernel - 1) - 1) / stride + 1
        };
        let p = self.padding;
        let h = back(y.h, self.kernel.0, self.stride.0, self.dilation.0, p.top + p.bottom);
        let w = back(y.w, self.kernel.1, self.stride.1, self.dilation.1, p.left + p.right);
        (self.in_channels * h * w) as u64 * (self.out_channels / self.groups * self.kernel.0 * self.kernel.1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_come_first() {
        // Four channels to six in two groups; each weight encodes its channel, its output within the group and its tap.
        let data = (0..4 * 3 * 2).map(|i| (i / 6 * 100 + i / 2 % 3 * 10 + i % 2) as f32).collect();
        let weight = Param { shape: vec![4, 3, 1, 2], data };
        let conv = ConvTranspose { in_channels: 4, groups: 2, kernel: (1, 2), weight, ..ConvTranspose::new(6, 1, 1) };
        let want: Vec<f32> = (0..6)
            .flat_map(|filter| (0..2).map(move |input| (filter / 3 * 2 + input) * 100 + filter % 3 * 10))
            .flat_map(|start| [start as f32, (start + 1) as f32])
            .collect();
        assert_eq!(conv.filters_first(), want);
    }
}
