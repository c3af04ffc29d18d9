//! Direct convolution: a block of pixels times a few blocks of filters kept in registers.

use super::{ConvShape, Job};
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Weights of one set of filter blocks: `[input block][R][S][lanes][blocks * 16]`, and the input blocks they meet.
struct Set {
    /// First filter block.
    first: usize,
    /// Filter blocks.
    blocks: usize,
    /// Input blocks, `start..end`; all of them unless the convolution is grouped.
    inputs: (usize, usize),
    /// Start of its weights.
    offset: usize,
}

pub(super) struct Direct {
    shape: ConvShape,
    sets: Vec<Set>,
    weights: Vec<f32>,
}

/// Above this many bytes of weights, tasks go through the rows for each set of filters, not the other way round.
const WEIGHTS_OUTER: usize = 1 << 20;

impl Direct {
    pub(super) fn new(shape: &ConvShape, weight: &[f32], x: &Geometry, y: &Geometry) -> Self {
        let blocks = y.blocks();
        let per_set = blocks_per_set(blocks, y.w);
        let (group_in, group_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let (rows, columns) = shape.kernel;
        let mut weights = Vec::new();
        let mut sets = Vec::new();
        let mut first = 0;
        while first < blocks {
            let count = [per_set, 4, 2, 1].into_iter().find(|&n| n <= per_set.min(blocks - first)).unwrap_or(1);
            let last_filter = ((first + count) * LANES).min(shape.out_channels) - 1;
            let (from, to) = (first * LANES / group_out, last_filter / group_out + 1);
            let inputs = (from * group_in / x.lanes, (to * group_in).div_ceil(x.lanes));
            sets.push(Set { first, blocks: count, inputs, offset: weights.len() });
            for block in inputs.0..inputs.1 {
                for tap in 0..rows * columns {
                    for lane in 0..x.lanes {
                        let channel = block * x.lanes + lane;
                        weights.extend((first * LANES..(first + count) * LANES).map(|filter| {
                            let group = filter / group_out;
                            let inside = filter < shape.out_channels && channel / group_in == group;
                            let at = || ((filter * group_in) + channel % group_in) * rows * columns + tap;
                            if inside { weight[at()] } else { 0.0 }
                        }));
                    }
                }
            }
            first += count;
        }
        Self { shape: *shape, sets, weights }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let h = job.yg.h;
        // Enough tasks for the threads to share evenly, few enough that a set's weights are reused over rows.
        let rows = h.div_ceil(4 * exec.pool.threads()).clamp(1, 8);
        let row_blocks = h.div_ceil(rows);
        let places = job.images * row_blocks;
        let weights_outer = self.weights.len() * size_of::<f32>() > WEIGHTS_OUTER;
        exec.for_each_task(places * self.sets.len(), |_, task| {
            let (set, place) = if weights_outer {
                (task / places, task % places)
            } else {
                (task % self.sets.len(), task / self.sets.len())
            };
            let start = place % row_blocks * rows;
            self.rows(exec.isa, job, &self.sets[set], place / row_blocks, start, h.min(start + rows));
        });
    }

    /// Rows `start..end` of one image for one set of filters.
    fn rows(&self, isa: Isa, job: &Job<'_>, set: &Set, image: usize, start: usize, end: usize) {
        let task = Rows { shape: &self.shape, job, set, weights: &self.weights[set.offset..], image, start, end };
        // The distance of neighbouring pixels is a constant of the inner loop where it is a usual one.
        match self.shape.stride.1 * job.xg.lanes {
            16 => task.dispatch::<16>(isa),
            32 => task.dispatch::<32>(isa),
            1 => task.dispatch::<1>(isa),
            2 => task.dispatch::<2>(isa),
            _ => task.dispatch::<0>(isa),
        }
    }
}

/// Filter blocks that share an input pixel's broadcast: many where rows are short, two where they are long.
fn blocks_per_set(blocks: usize, width: usize) -> usize {
    match width {
        ..4 if blocks >= 8 => 8,
        ..8 if blocks.is_multiple_of(4) => 4,
        ..8 if blocks.is_multiple_of(3) => 3,
        _ if blocks.is_multiple_of(2) || blocks > 4 => 2,
        3 => 3,
        _ => 1,
    }
    .min(blocks)
}

#[derive(Clone, Copy)]
struct Rows<'a> {
    shape: &'a ConvShape,
    job: &'a Job<'a>,
    set: &'a Set,
    weights: &'a [f32],
    image: usize,
    start: usize,
    end: usize,
}

impl Rows<'_> {
    fn dispatch<const STEP: usize>(self, isa: Isa) {
        let w = self.job.yg.w;
        if !isa.has_many_registers() {
            // One filter block and up to six pixels at a time: the sums are the same.
            for block in 0..self.set.blocks {
                match w {
                    6.. => isa.run(Tiled::<STEP, 6, 1>(self, block)),
                    4.. => isa.run(Tiled::<STEP, 4, 1>(self, block)),
                    _ => isa.run(Tiled::<STEP, 1, 1>(self, block)),
                }
            }
            return;
        }
        match (self.set.blocks, w) {
            (1, 14..) => isa.run(Tiled::<STEP, 14, 1>(self, 0)),
            (1, 8..) => isa.run(Tiled::<STEP, 8, 1>(self, 0)),
            (1, 4..) => isa.run(Tiled::<STEP, 4, 1>(self, 0)),
            (1, _) => isa.run(Tiled::<STEP, 1, 1>(self, 0)),
            (2, 14..) if waste(w, 14) <= waste(w, 11).min(waste(w, 8)) => isa.run(Tiled::<STEP, 14, 2>(self, 0)),
            (2, 11..) if waste(w, 11) <= waste(w, 8) => isa.run(Tiled::<STEP, 11, 2>(self, 0)),
            (2, 8..) => isa.run(Tiled::<STEP, 8, 2>(self, 0)),
            (2, 7) => isa.run(Tiled::<STEP, 7, 2>(self, 0)),
            (2, 4..) => isa.run(Tiled::<STEP, 4, 2>(self, 0)),
            (2, _) => isa.run(Tiled::<STEP, 1, 2>(self, 0)),
            (3, 7..) => isa.run(Tiled::<STEP, 7, 3>(self, 0)),
            (3, 4..) => isa.run(Tiled::<STEP, 4, 3>(self, 0)),
            (3, _) => isa.run(Tiled::<STEP, 1, 3>(self, 0)),
            (4, 6..) => isa.run(Tiled::<STEP, 6, 4>(self, 0)),
            (4, 4..) => isa.run(Tiled::<STEP, 4, 4>(self, 0)),
            (4, _) => isa.run(Tiled::<STEP, 1, 4>(self, 0)),
            (8, 2..) => isa.run(Tiled::<STEP, 2, 8>(self, 0)),
            (8, _) => isa.run(Tiled::<STEP, 1, 8>(self, 0)),
            (blocks, _) => unreachable!("sets of {blocks} blocks are not made"),
        }
    }
}

/// Pixels computed for a row of `w` in tiles of `tile`.
fn waste(w: usize, tile: usize) -> usize {
    w.div_ceil(tile) * tile
}

/// [`Rows`] in tiles of `PX` pixels and `OB` filter blocks from the given one on, input pixels `STEP` floats apart
/// (0: as the shape says).
struct Tiled<'a, const STEP: usize, const PX: usize, const OB: usize>(Rows<'a>, usize);

impl<const STEP: usize, const PX: usize, const OB: usize> Kernel for Tiled<'_, STEP, PX, OB> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::REGISTERS < 32 && PX * OB > 6 {
            // Never dispatched; saying so keeps the code of such tiles out of the levels that cannot hold them.
            unreachable!("a tile of {PX} pixels and {OB} blocks does not fit the registers");
        }
        let w = self.0.job.yg.w;
        for y in self.0.start..self.0.end {
            let mut x = 0;
            while x < w {
                // The last tile of a row starts earlier and computes some pixels again: no masks.
                let at = x.min(w - PX);
                self.tile(s, y, at);
                x = at + PX;
            }
        }
    }
}

impl<const STEP: usize, const PX: usize, const OB: usize> Tiled<'_, STEP, PX, OB> {
    /// `PX` pixels from column `x0` of row `y`.
    #[inline(always)]
    fn tile<S: Simd>(&self, s: S, y: usize, x0: usize) {
        let Self(Rows { shape, job, set, weights, image, .. }, block) = *self;
        let xg = job.xg;
        let step = if STEP == 0 { shape.stride.1 * xg.lanes } else { STEP };
        let first = set.first + block;
        let mut sums = [[s.splat(0.0); PX]; OB];
        for (b, sums) in sums.iter_mut().enumerate() {
            *sums = [s.load(&job.bias[(first + b) * LANES..]); PX];
        }
        let (rows, columns) = shape.kernel;
        let width = set.blocks * LANES;
        // Top left tap of the first pixel, in the frame of the buffer.
        let top = y * shape.stride.0 + xg.halo.top - shape.padding.top;
        let left = x0 * shape.stride.1 + xg.halo.left - shape.padding.left;
        let origin = image * xg.image_len() + top * xg.row_len() + left * xg.lanes;
        // SAFETY: the halo of `x` holds every tap of every window (asserted at packing), so the largest offset below,
        // of the last tap of the last pixel, lies in `job.x`; weights hold `width` floats for each of the same steps.
        unsafe {
            let mut weight = weights.as_ptr().add(block * LANES);
            for input in set.inputs.0..set.inputs.1 {
                let plane = job.x.as_ptr().add(origin + input * xg.plane_len());
                for ky in 0..rows {
                    let row = plane.add(ky * shape.dilation.0 * xg.row_len());
                    for kx in 0..columns {
                        let mut pixel = row.add(kx * shape.dilation.1 * xg.lanes);
                        for _ in 0..xg.lanes {
                            let mut filters = [s.splat(0.0); OB];
                            for (b, filters) in filters.iter_mut().enumerate() {
                                *filters = s.load_ptr(weight.add(b * LANES));
                            }
                            for p in 0..PX {
                                let value = s.splat(*pixel.add(p * step));
                                for b in 0..OB {
                                    sums[b][p] = s.fma(value, filters[b], sums[b][p]);
                                }
                            }
                            weight = weight.add(width);
                            pixel = pixel.add(1);
                        }
                    }
                }
            }
        }
        let masked = job.masked_block();
        for (b, sums) in sums.iter().enumerate() {
            for (p, &sum) in sums.iter().enumerate() {
                job.finish(s, sum, image, first + b, y, x0 + p, masked == Some(first + b));
            }
        }
    }
}

impl Job<'_> {
    /// Adds the residual, applies the activation and stores one pixel of one block.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a pixel's place has four coordinates")]
    pub(super) fn finish<S: Simd>(
        &self,
        s: S,
        sum: S::V,
        image: usize,
        block: usize,
        y: usize,
        x: usize,
        masked: bool,
    ) {
        let mut value = sum;
        if let Some((residual, geometry)) = self.residual {
            // SAFETY: the residual has the output's shape (asserted), so the pixel's block lies in its buffer.
            value = unsafe { s.add(value, s.load_ptr(residual.as_ptr().add(geometry.at(image, block, y, x)))) };
        }
        value = self.activation.apply(s, value);
        if masked {
            value = s.mul(value, s.load(&self.mask()));
        }
        // SAFETY: the pixel lies in the output (its buffer's length was asserted), and each pixel of each block belongs
        // to one task.
        unsafe { s.store_ptr(self.y.at(self.yg.at(image, block, y, x)), value) };
    }
}
