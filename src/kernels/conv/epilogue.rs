//! What is done to a sum before it is stored: residual, activation or requantisation, zeroing of the padding lanes.

use std::ops::Range;

use super::Job;
use crate::kernels::activation::Activation;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::requantize::Requantizer;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{NEAR, WRITTEN, prefetch, unrolled};

/// Output size in bytes above which the third-level cache no longer holds the start when the next layer reads it.
pub(super) const STREAMED: usize = 48 << 20;
/// Output bytes per image above which it is in the third-level cache, no nearer, when it is written.
const FAR: usize = 400_000;

impl Job<'_> {
    /// The activation as lower and upper bound, if it is nothing else: tiles apply these as they store.
    fn bounds(&self) -> Option<(f32, f32)> {
        match self.activation {
            // Applied as tiles are stored, where that is cheap.
            _ if self.requantizer.is_some_and(|requantizer| !requantizer.is_quick()) => None,
            Activation::Identity => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            _ => None,
        }
    }

    /// Where and how the output of an image is stored.
    #[inline(always)]
    pub(super) fn output<S: Simd>(&self, s: S, image: usize) -> Output<S> {
        debug_assert!(image < self.images);
        let (low, high) = self.bounds().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let to = self.y.at(self.yg.at(image, 0, 0, 0));
        // What is finished in a second pass is read again at once, so it must not bypass the caches.
        let large = self.yg.len() * size_of::<f32>() >= STREAMED && self.bounds().is_some();
        let width = self.yg.w;
        let plane = |geometry: &Geometry| Plane { width, row: geometry.row_len(), plane: geometry.plane_len() };
        let streams = large && (to as usize).is_multiple_of(LANES * size_of::<f32>());
        Output {
            low: s.splat(low),
            high: s.splat(high),
            to,
            strides: plane(self.yg),
            streams,
            far: !streams && self.yg.image_len() * size_of::<f32>() > FAR,
            residual: self.residual.map(|(from, g)| (from[g.at(image, 0, 0, 0)..].as_ptr(), plane(g))),
        }
    }

    /// Applies what is more than bounds to stored sums, which are still in cache.
    ///
    /// # Safety
    /// The area is inside the output, and no other thread writes it.
    pub(super) unsafe fn finish(&self, isa: Isa, area: Area) {
        if self.bounds().is_none() {
            isa.run(Finish { job: self, area });
        }
    }
}

/// Pixels of a row, and strides in floats between rows and between blocks.
#[derive(Clone, Copy)]
struct Plane {
    width: usize,
    row: usize,
    plane: usize,
}

impl Plane {
    fn at(self, block: usize, y: usize, x: usize) -> usize {
        block * self.plane + y * self.row + x * LANES
    }

    /// Where pixel `x` of row `y` begins, and how far from there `P` pixels from it on do. If registers are few, the rows may be
    /// one long row for tiles of up to six: behind the last pixel of one comes the first of the next.
    #[inline(always)]
    fn pixels<S: Simd, const P: usize>(self, block: usize, y: usize, x: usize) -> (usize, [usize; P]) {
        let mut pixels = [0; P];
        unrolled!(p < P, {
            pixels[p] = p * LANES;
        });
        if S::REGISTERS >= 32 || P > 6 || x + P <= self.width {
            return (self.at(block, y, x), pixels);
        }
        let (y, column, halo) = (y + x / self.width, x % self.width, self.row - self.width * LANES);
        unrolled!(p < P, {
            pixels[p] += (column + p) / self.width * halo;
        });
        (self.at(block, y, column), pixels)
    }
}

/// The output of one image.
pub(super) struct Output<S: Simd> {
    low: S::V,
    high: S::V,
    /// First pixel of the first block.
    to: *mut f32,
    strides: Plane,
    /// Whether stores bypass the caches (non-temporal).
    streams: bool,
    /// Whether the output is far from the core, so that it is prefetched before it is written.
    far: bool,
    /// First pixel of the first block of the residual.
    residual: Option<(*const f32, Plane)>,
}

impl<S: Simd> Output<S> {
    /// Prefetches what [`Output::store`] will read and write of pixels `x..x + P` of row `y` of blocks `first..first + B`, if
    /// the output is far.
    #[inline(always)]
    pub(super) fn prefetch<const P: usize, const B: usize>(&self, first: usize, y: usize, x: usize) {
        if !self.far {
            return;
        }
        let to = self.to.wrapping_add(self.strides.at(first, y, x));
        unrolled!(b < B, {
            unrolled!(p < P, {
                prefetch::<_, WRITTEN>(to.wrapping_add(b * self.strides.plane + p * LANES));
            });
        });
        if let Some((from, strides)) = self.residual {
            let from = from.wrapping_add(strides.at(first, y, x));
            unrolled!(b < B, {
                unrolled!(p < P, {
                    prefetch::<_, NEAR>(from.wrapping_add(b * strides.plane + p * LANES));
                });
            });
        }
    }

    /// Adds the residual to `sums[b][p]`, the value of the `p`-th of [`Plane::pixels`] in block `first + b`, then bounds and
    /// stores it. Activations that are more than bounds are left to [`Job::finish`].
    ///
    /// # Safety
    /// The pixels and blocks are inside the output, and no other thread writes them.
    #[inline(always)]
    pub(super) unsafe fn store<const P: usize, const B: usize>(
        &self,
        s: S,
        mut sums: [[S::V; P]; B],
        first: usize,
        y: usize,
        x: usize,
    ) {
        // SAFETY: the caller vouches for the output; the residual has its shape and its buffer holds it (asserted).
        unsafe {
            if let Some((from, strides)) = self.residual {
                let (at, pixels) = strides.pixels::<S, P>(first, y, x);
                let from = from.add(at);
                unrolled!(b < B, {
                    unrolled!(p < P, {
                        sums[b][p] = s.add(sums[b][p], s.load_ptr(from.add(b * strides.plane + pixels[p])));
                    });
                });
            }
            let (at, pixels) = self.strides.pixels::<S, P>(first, y, x);
            let to = self.to.add(at);
            if self.streams {
                unrolled!(b < B, {
                    unrolled!(p < P, {
                        let value = s.min(self.high, s.max(self.low, sums[b][p]));
                        s.stream_ptr(to.add(b * self.strides.plane + pixels[p]), value);
                    });
                });
                return;
            }
            unrolled!(b < B, {
                unrolled!(p < P, {
                    let value = s.min(self.high, s.max(self.low, sums[b][p]));
                    s.store_ptr(to.add(b * self.strides.plane + pixels[p]), value);
                });
            });
        }
    }
}

impl<S: Simd> Output<S> {
    /// Stores the codes for `sums[b][p]`: sums of products plus bias, of pixel `x + p` of row `y` of block `first + b`.
    ///
    /// # Safety
    /// As [`Output::store`].
    #[inline(always)]
    pub(super) unsafe fn store_codes<const P: usize, const B: usize>(
        &self,
        s: S,
        requantizer: &Requantizer,
        sums: &[[S::I; P]; B],
        first: usize,
        y: usize,
        x: usize,
    ) {
        // SAFETY: the caller vouches for the output.
        unsafe {
            let to = self.to.add(self.strides.at(first, y, x));
            if requantizer.is_quick() && !requantizer.has_offsets() {
                unrolled!(b < B, {
                    unrolled!(p < P, {
                        let codes = requantizer.quick_codes::<S, false>(s, first + b, sums[b][p]);
                        s.store_ptr(to.add(b * self.strides.plane + p * LANES), codes);
                    });
                });
                return;
            }
            // The sums first: a loop over them here would spill them all.
            unrolled!(b < B, {
                unrolled!(p < P, {
                    let to = to.add(b * self.strides.plane + p * LANES);
                    to.cast::<[i32; LANES]>().write_unaligned(s.to_ints(sums[b][p]));
                });
            });
            for b in 0..B {
                for p in 0..P {
                    let to = to.add(b * self.strides.plane + p * LANES);
                    let codes = requantizer.codes_of_biased(s, first + b, s.load_int(to.cast()));
                    s.store_ptr(to, codes);
                }
            }
        }
    }
}

/// Some pixels of some blocks of one image.
pub(super) struct Area {
    pub(super) image: usize,
    pub(super) blocks: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

struct Finish<'a> {
    job: &'a Job<'a>,
    area: Area,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { job, area } = self;
        let activation = job.activation;
        let width = area.columns.len() * LANES;
        for block in area.blocks {
            let filling = LANES.min(job.yg.c - block * LANES)..LANES;
            for row in area.rows.clone() {
                // SAFETY: `finish` requires that the area is inside the output and written by this thread alone.
                let pixels = unsafe { job.y.slice(job.yg.at(area.image, block, row, area.columns.start), width) };
                if let Some(requantizer) = job.requantizer {
                    for pixel in pixels.as_chunks_mut::<LANES>().0 {
                        let codes = requantizer.codes(s, block, s.to_integers(s.load(pixel)));
                        s.store(pixel, codes);
                    }
                    continue;
                }
                for pixel in pixels.chunks_exact_mut(LANES) {
                    let value = activation.apply(s, s.load(pixel));
                    s.store(pixel, value);
                    if !activation.keeps_zero() {
                        pixel[filling.clone()].fill(0.0);
                    }
                }
            }
        }
    }
}
