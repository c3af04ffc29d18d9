//! Transposed convolution as a gather: each output pixel sums the taps that contribute to it.

use super::activation::Activation;
use super::conv::ConvShape;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::simd::Simd;

/// A transposed convolution with its weights packed. The padding of `shape` is cropped from the output.
pub struct PackedConvTranspose {
    shape: ConvShape,
    /// `[output block][R][S][input channel of the block's groups][16]`.
    weights: Vec<f32>,
    /// Input channels that each output block reads.
    channels: Vec<(usize, usize)>,
    /// Start of the weights of each output block.
    offsets: Vec<usize>,
    /// Bias, zero-padded to whole blocks.
    bias: Vec<f32>,
}

impl PackedConvTranspose {
    /// Packs `weight` `[C, K/groups, R, S]` and `bias` `[K]`.
    ///
    /// # Panics
    /// If the sizes contradict one another.
    pub fn new(shape: &ConvShape, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let ConvShape { in_channels, out_channels, kernel: (rows, columns), groups, .. } = *shape;
        let (group_in, group_out) = (in_channels / groups, out_channels / groups);
        assert_eq!(weight.len(), in_channels * group_out * rows * columns, "weights");
        let blocks = out_channels.div_ceil(LANES);
        let mut padded = vec![0.0; blocks * LANES];
        if let Some(bias) = bias {
            padded[..out_channels].copy_from_slice(bias);
        }
        let (mut weights, mut channels, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for block in 0..blocks {
            let last = ((block + 1) * LANES).min(out_channels) - 1;
            let range = (block * LANES / group_out * group_in, (last / group_out + 1) * group_in);
            channels.push(range);
            offsets.push(weights.len());
            for tap in 0..rows * columns {
                for channel in range.0..range.1 {
                    weights.extend((block * LANES..(block + 1) * LANES).map(|output| {
                        let inside = output < out_channels && output / group_out == channel / group_in;
                        let at = (channel * group_out + output % group_out) * rows * columns + tap;
                        if inside { weight[at] } else { 0.0 }
                    }));
                }
            }
        }
        Self { shape: *shape, weights, channels, offsets, bias: padded }
    }

    /// Computes the first `images` images of `y`.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: (&[f32], &Geometry),
        y: &mut [f32],
        yg: &Geometry,
        activation: Activation,
    ) {
        for_each_pixel(exec, images, &Op { packed: self, x: Source::new(x.0, x.1), activation }, y, yg);
    }
}

struct Op<'a> {
    packed: &'a PackedConvTranspose,
    x: Source<'a>,
    activation: Activation,
}

impl PixelOp for Op<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let PackedConvTranspose { shape, weights, channels, offsets, bias } = self.packed;
        let g = self.x.geometry;
        let mut sum = s.load(&bias[at.block * LANES..]);
        let (start, end) = channels[at.block];
        let weights = &weights[offsets[at.block]..];
        // Tap r of input row i contributes to row i * stride + r * dilation - crop.
        let source = |place: usize, cut: usize, tap: usize, dilation: usize, stride: usize, size: usize| {
            let distance = (place + cut).checked_sub(tap * dilation)?;
            (distance.is_multiple_of(stride) && distance / stride < size).then_some(distance / stride)
        };
        for r in 0..shape.kernel.0 {
            let Some(row) = source(at.y, shape.padding.top, r, shape.dilation.0, shape.stride.0, g.h) else { continue };
            for t in 0..shape.kernel.1 {
                let column = source(at.x, shape.padding.left, t, shape.dilation.1, shape.stride.1, g.w);
                let Some(column) = column else { continue };
                let taps = &weights[(r * shape.kernel.1 + t) * (end - start) * LANES..][..(end - start) * LANES];
                for (channel, filters) in (start..end).zip(taps.chunks_exact(LANES)) {
                    let value = self.x.channel(at.image, channel, row, column);
                    sum = s.fma(s.splat(value), s.load(filters), sum);
                }
            }
        }
        self.activation.apply(s, sum)
    }
}
