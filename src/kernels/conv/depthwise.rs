//! Depthwise convolution: one channel per lane, and its filter in the same lane.

use std::ops::Range;

use super::epilogue::{Area, Output};
use super::{ConvShape, Job};
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;
use crate::kernels::tile::unrolled;

pub(super) struct Depthwise {
    shape: ConvShape,
    /// `[block][R][S][16]`.
    weights: Buffer,
}

impl Depthwise {
    pub(super) fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        let taps = shape.kernel.0 * shape.kernel.1;
        let mut weights = Buffer::zeroed(shape.out_channels.div_ceil(LANES) * taps * LANES);
        for channel in 0..shape.out_channels {
            for tap in 0..taps {
                weights[(channel / LANES * taps + tap) * LANES + channel % LANES] = weight[channel * taps + tap];
            }
        }
        Self { shape: *shape, weights }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (blocks, h) = (job.yg.blocks(), job.yg.h);
        // Tasks are whole planes if there are many, else bands of rows.
        let bands = (4 * exec.pool.threads()).div_ceil(blocks * job.images).min(h);
        exec.for_each_task(job.images * bands * blocks, |_, task| {
            let (block, place) = (task % blocks, task / blocks);
            let (band, image) = (place % bands, place / bands);
            let band = Band { depthwise: self, job, image, block, rows: h * band / bands..h * (band + 1) / bands };
            band.run(exec.isa);
        });
    }

    /// Some rows of the first image.
    pub(super) fn rows(&self, isa: Isa, job: &Job<'_>, rows: Range<usize>) {
        for block in 0..job.yg.blocks() {
            Band { depthwise: self, job, image: 0, block, rows: rows.clone() }.run(isa);
        }
    }
}

/// Some rows of one block of one image.
#[derive(Clone)]
struct Band<'a> {
    depthwise: &'a Depthwise,
    job: &'a Job<'a>,
    image: usize,
    block: usize,
    rows: Range<usize>,
}

impl Band<'_> {
    fn run(self, isa: Isa) {
        let (job, columns) = (self.job, 0..self.job.yg.w);
        let area = Area { image: self.image, blocks: self.block..self.block + 1, rows: self.rows.clone(), columns };
        let shape = &self.depthwise.shape;
        match (shape.kernel, shape.stride.1, job.yg.w) {
            ((3, 3), 1, 7..) => isa.run(Tiled::<3, 1>(self)),
            ((3, 3), 2, 7..) => isa.run(Tiled::<3, 2>(self)),
            ((5, 5), 1, 7..) => isa.run(Tiled::<5, 1>(self)),
            ((5, 5), 2, 7..) => isa.run(Tiled::<5, 2>(self)),
            _ => isa.run(Tiled::<0, 0>(self)),
        }
        // SAFETY: the rows of this block are this task's, and they are in the output.
        unsafe { job.finish(isa, area) };
    }
}

/// A band with `SIDE` x `SIDE` filters and a column stride of `STRIDE` (0: as the shape says).
struct Tiled<'a, const SIDE: usize, const STRIDE: usize>(Band<'a>);

impl<const SIDE: usize, const STRIDE: usize> Kernel for Tiled<'_, SIDE, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = self.0.job.yg.w;
        let Band { job, image, ref rows, .. } = self.0;
        let output = job.output(s, image);
        let origin = image * job.xg.image_len();
        for y in rows.clone() {
            let mut x = 0;
            // Tiles of 14 while they fit; the rest in tiles of 7, the last of which starts earlier, so that no mask is needed.
            if S::REGISTERS >= 32 && SIDE > 0 {
                while w - x >= 14 {
                    self.tile::<S, 14>(s, &output, origin, y, x);
                    x += 14;
                }
            }
            while x < w {
                if SIDE > 0 {
                    let at = x.min(w - 7);
                    self.tile::<S, 7>(s, &output, origin, y, at);
                    x = at + 7;
                } else {
                    self.tile::<S, 1>(s, &output, origin, y, x);
                    x += 1;
                }
            }
        }
    }
}

impl<const SIDE: usize, const STRIDE: usize> Tiled<'_, SIDE, STRIDE> {
    /// `P` pixels from column `x` of row `y` on, of the image that begins at `origin`.
    #[inline(always)]
    fn tile<S: Simd, const P: usize>(&self, s: S, output: &Output<S>, origin: usize, y: usize, x: usize) {
        let Band { depthwise: Depthwise { shape, weights }, job, block, .. } = &self.0;
        let xg = job.xg;
        let (rows, columns) = if SIDE == 0 { shape.kernel } else { (SIDE, SIDE) };
        let stride = if STRIDE == 0 { shape.stride.1 } else { STRIDE };
        let mut sums = [s.load(&job.bias[block * LANES..]); P];
        let top = y * shape.stride.0 + xg.halo.top - shape.padding.top;
        let left = x * stride + xg.halo.left - shape.padding.left;
        let origin = origin + block * xg.plane_len() + top * xg.row_len() + left * LANES;
        // SAFETY: the halo of `x` holds every tap of every window (asserted at packing), so the last tap of the last
        // pixel lies in `job.x`; the weights hold sixteen floats for each tap of each block. The pixels are in the
        // output and this task's.
        unsafe {
            let origin = job.x.as_ptr().add(origin);
            let weights = weights.as_ptr().add(block * rows * columns * LANES);
            for r in 0..rows {
                for t in 0..columns {
                    let tap = origin.add(r * shape.dilation.0 * xg.row_len() + t * shape.dilation.1 * LANES);
                    let filter = s.load_ptr(weights.add((r * columns + t) * LANES));
                    unrolled!(p < P, {
                        sums[p] = s.fma(s.load_ptr(tap.add(p * stride * LANES)), filter, sums[p]);
                    });
                }
            }
            if let Some(requantizer) = job.requantizer.filter(|requantizer| requantizer.is_quick()) {
                unrolled!(p < P, {
                    sums[p] = requantizer.codes(s, *block, s.to_integers(sums[p]));
                });
            }
            output.store(s, [sums], *block, y, x);
        }
    }
}
