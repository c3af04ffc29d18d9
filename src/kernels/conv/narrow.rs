//! Convolution with so few filters that a block of them would be mostly padding. The lanes are input channels instead, and
//! each sum is reduced over its lanes.

use std::ops::Range;

use super::epilogue::{Area, Output};
use super::{ConvShape, Job};
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;
use crate::kernels::tile::unrolled;

/// Most filters: with more, a block is filled well enough.
const MOST_FILTERS: usize = 4;
/// Tasks for each thread: enough to share evenly.
const TASKS: usize = 8;
/// Pixels of a tile.
const PIXELS: usize = 7;

pub(super) struct Narrow {
    shape: ConvShape,
    /// `[block][R][S][filter][16]`.
    weights: Buffer,
}

impl Narrow {
    /// Whether it computes the layer's shape, and is faster for it.
    pub(super) fn fits(shape: &ConvShape, x: &Geometry) -> bool {
        x.lanes == LANES && shape.groups == 1 && shape.in_channels >= LANES && shape.out_channels <= MOST_FILTERS
    }

    pub(super) fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        let (taps, filters) = (shape.kernel.0 * shape.kernel.1, shape.out_channels);
        let mut weights = Buffer::zeroed(shape.in_channels.div_ceil(LANES) * taps * filters * LANES);
        for (at, &value) in weight.iter().enumerate() {
            let (filter, channel, tap) = (at / taps / shape.in_channels, at / taps % shape.in_channels, at % taps);
            weights[((channel / LANES * taps + tap) * filters + filter) * LANES + channel % LANES] = value;
        }
        Self { shape: *shape, weights }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let h = job.yg.h;
        let bands = (TASKS * exec.pool.threads()).div_ceil(job.images).min(h);
        exec.for_each_task(job.images * bands, |_, task| {
            let (image, band) = (task / bands, task % bands);
            self.band(exec.isa, job, image, h * band / bands..h * (band + 1) / bands);
        });
    }

    /// Some rows of the first image.
    pub(super) fn rows(&self, isa: Isa, job: &Job<'_>, rows: Range<usize>) {
        self.band(isa, job, 0, rows);
    }

    fn band(&self, isa: Isa, job: &Job<'_>, image: usize, rows: Range<usize>) {
        let area = Area { image, blocks: 0..1, rows: rows.clone(), columns: 0..job.yg.w };
        let band = Band { narrow: self, job, image, rows };
        match self.shape.out_channels {
            1 => isa.run(Tiled::<1>(band)),
            2 => isa.run(Tiled::<2>(band)),
            3 => isa.run(Tiled::<3>(band)),
            _ => isa.run(Tiled::<4>(band)),
        }
        // SAFETY: these rows are this task's, and they are in the output.
        unsafe { job.finish(isa, area) };
    }
}

/// Some rows of one image.
struct Band<'a> {
    narrow: &'a Narrow,
    job: &'a Job<'a>,
    image: usize,
    rows: Range<usize>,
}

/// A band by `K` filters.
struct Tiled<'a, const K: usize>(Band<'a>);

impl<const K: usize> Kernel for Tiled<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = self.0.job.yg.w;
        let output = self.0.job.output(s, self.0.image);
        for y in self.0.rows.clone() {
            let mut x = 0;
            while x < w {
                if w >= PIXELS {
                    // The last tile starts earlier, so that no mask is needed.
                    let at = x.min(w - PIXELS);
                    self.tile::<S, PIXELS>(s, &output, y, at);
                    x = at + PIXELS;
                } else {
                    self.tile::<S, 1>(s, &output, y, x);
                    x += 1;
                }
            }
        }
    }
}

impl<const K: usize> Tiled<'_, K> {
    /// `P` pixels from column `x` of row `y` on.
    #[inline(always)]
    fn tile<S: Simd, const P: usize>(&self, s: S, output: &Output<S>, y: usize, x: usize) {
        let &Band { narrow: Narrow { shape, weights }, job, image, .. } = &self.0;
        let (xg, (rows, columns)) = (job.xg, shape.kernel);
        let top = y * shape.stride.0 + xg.halo.top - shape.padding.top;
        let left = x * shape.stride.1 + xg.halo.left - shape.padding.left;
        let origin = image * xg.image_len() + top * xg.row_len() + left * LANES;
        let mut sums = [[s.splat(0.0); P]; K];
        // SAFETY: the halo of `x` holds every tap of every window (asserted at packing), so the last tap of the last
        // pixel lies in `job.x`; the weights hold sixteen floats for each tap, filter and block. The pixels are in the
        // output and this task's.
        unsafe {
            let mut filter = weights.as_ptr();
            for block in 0..xg.blocks() {
                let plane = job.x.as_ptr().add(origin + block * xg.plane_len());
                for (r, t) in (0..rows).flat_map(|r| (0..columns).map(move |t| (r, t))) {
                    let tap = plane.add(r * shape.dilation.0 * xg.row_len() + t * shape.dilation.1 * LANES);
                    unrolled!(k < K, {
                        let weight = s.load_ptr(filter.add(k * LANES));
                        unrolled!(p < P, {
                            sums[k][p] = s.fma(s.load_ptr(tap.add(p * shape.stride.1 * LANES)), weight, sums[k][p]);
                        });
                    });
                    filter = filter.add(K * LANES);
                }
            }
            let mut pixels = [[0.0; LANES]; P];
            unrolled!(k < K, {
                unrolled!(p < P, {
                    let mut lanes = [0.0; LANES];
                    s.store(&mut lanes, sums[k][p]);
                    pixels[p][k] = job.bias[k] + sum(lanes);
                });
            });
            unrolled!(p < P, {
                output.store(s, [[s.load(&pixels[p])]], 0, y, x + p);
            });
        }
    }
}

/// The sum of the lanes, reduced by halves in this order on every level.
#[inline(always)]
fn sum(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
