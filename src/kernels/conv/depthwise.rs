//! Depthwise convolution: a channel a lane, a filter a lane.

use super::{ConvShape, Job};
use crate::kernels::exec::Exec;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;

pub(super) struct Depthwise {
    shape: ConvShape,
    /// `[block][R][S][16]`.
    weights: Vec<f32>,
}

impl Depthwise {
    pub(super) fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        let taps = shape.kernel.0 * shape.kernel.1;
        let mut weights = vec![0.0; shape.out_channels.div_ceil(LANES) * taps * LANES];
        for channel in 0..shape.out_channels {
            for tap in 0..taps {
                weights[(channel / LANES * taps + tap) * LANES + channel % LANES] = weight[channel * taps + tap];
            }
        }
        Self { shape: *shape, weights }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (blocks, h) = (job.yg.blocks(), job.yg.h);
        // Whole planes where there are many, else bands of rows.
        let bands = (4 * exec.pool.threads()).div_ceil(blocks * job.images).min(h);
        exec.for_each_task(job.images * bands * blocks, |_, task| {
            let (block, place) = (task % blocks, task / blocks);
            let (band, image) = (place % bands, place / bands);
            for y in h * band / bands..h * (band + 1) / bands {
                let row = Row { shape: &self.shape, weights: &self.weights, job, image, block, y };
                match (self.shape.stride.1, job.yg.w) {
                    (1, 14..) => exec.isa.run(Tiled::<1, 14>(row)),
                    (1, 7..) => exec.isa.run(Tiled::<1, 7>(row)),
                    (2, 14..) => exec.isa.run(Tiled::<2, 14>(row)),
                    (2, 7..) => exec.isa.run(Tiled::<2, 7>(row)),
                    _ => exec.isa.run(Tiled::<0, 1>(row)),
                }
            }
        });
    }
}

#[derive(Clone, Copy)]
struct Row<'a> {
    shape: &'a ConvShape,
    weights: &'a [f32],
    job: &'a Job<'a>,
    image: usize,
    block: usize,
    y: usize,
}

/// A row in tiles of `PX` pixels, `STRIDE` columns from one to the next (0: as the shape says).
struct Tiled<'a, const STRIDE: usize, const PX: usize>(Row<'a>);

impl<const STRIDE: usize, const PX: usize> Kernel for Tiled<'_, STRIDE, PX> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = self.0.job.yg.w;
        let mut x = 0;
        while x < w {
            let at = x.min(w - PX);
            if S::REGISTERS >= 32 || PX <= 7 {
                self.tile::<S, PX>(s, at);
            } else {
                // Few registers: two halves (PX is 14).
                self.tile::<S, 7>(s, at);
                self.tile::<S, 7>(s, at + PX - 7);
            }
            x = at + PX;
        }
    }
}

impl<const STRIDE: usize, const PX: usize> Tiled<'_, STRIDE, PX> {
    #[inline(always)]
    fn tile<S: Simd, const P: usize>(&self, s: S, x0: usize) {
        let Row { shape, weights, job, image, block, y } = self.0;
        let xg = job.xg;
        let stride = if STRIDE == 0 { shape.stride.1 } else { STRIDE };
        let (rows, columns) = shape.kernel;
        let mut sums = [s.load(&job.bias[block * LANES..]); P];
        let top = y * shape.stride.0 + xg.halo.top - shape.padding.top;
        let left = x0 * stride + xg.halo.left - shape.padding.left;
        let origin = image * xg.image_len() + block * xg.plane_len() + top * xg.row_len() + left * LANES;
        // SAFETY: the halo of `x` holds every tap of every window (asserted at packing), so the last tap of the last
        // pixel lies in `job.x`; the weights hold sixteen floats for each tap of each block.
        unsafe {
            let origin = job.x.as_ptr().add(origin);
            let mut weight = weights.as_ptr().add(block * rows * columns * LANES);
            for ky in 0..rows {
                for kx in 0..columns {
                    let tap = origin.add(ky * shape.dilation.0 * xg.row_len() + kx * shape.dilation.1 * LANES);
                    let filter = s.load_ptr(weight);
                    for (p, sum) in sums.iter_mut().enumerate() {
                        *sum = s.fma(s.load_ptr(tap.add(p * stride * LANES)), filter, *sum);
                    }
                    weight = weight.add(LANES);
                }
            }
        }
        let masked = job.masked_block() == Some(block);
        for (p, &sum) in sums.iter().enumerate() {
            job.finish(s, sum, image, block, y, x0 + p, masked);
        }
    }
}
