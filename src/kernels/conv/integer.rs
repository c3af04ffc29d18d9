//! Convolution of 8-bit integers, exact: pairs of 16-bit differences to the zero points, 32-bit sums.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::{ConvShape, Job};
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::requantize::Requantizer;
use crate::kernels::simd::{Simd, pair};
use crate::kernels::tile::{Loop, Pairs, Walk};

/// Bytes of a band's input as pairs: it stays in the second-level cache beside the weights.
const CACHED: usize = 200_000;
/// Tasks for each thread.
const TASKS: usize = 4;
/// Adding it to an integer below 2^22 leaves that integer in the low bits.
const MAGIC: f32 = 12_582_912.0;

/// Filter blocks that share an input's broadcast; weights `[input block][R][S][pair][blocks * 16]`.
struct Set {
    blocks: Range<usize>,
    offset: usize,
}

pub(super) struct Integer {
    shape: ConvShape,
    sets: Vec<Set>,
    weights: Buffer<i32>,
    /// Pairs of channels of one pixel of an input block.
    pairs: usize,
    requantizer: Requantizer,
    scratch: Mutex<Vec<Buffer<i32>>>,
}

impl Integer {
    /// Weights `[K, C/groups, R, S]` are integers; channels of other groups meet zeros.
    pub(super) fn new(shape: &ConvShape, weight: &[f32], requantizer: Requantizer, x: &Geometry, y: &Geometry) -> Self {
        assert_eq!(x.lanes, LANES, "codes are blocked");
        let (group_in, group_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let taps = shape.kernel.0 * shape.kernel.1;
        let pairs = if x.blocks() == 1 { x.c.div_ceil(2) } else { LANES / 2 };
        let code = |filter: usize, channel: usize, tap: usize| {
            let met =
                filter < shape.out_channels && channel < shape.in_channels && channel / group_in == filter / group_out;
            if met { weight[(filter * group_in + channel % group_in) * taps + tap] as i16 } else { 0 }
        };
        let (mut weights, mut sets) = (Vec::new(), Vec::new());
        let mut first = 0;
        while first < y.blocks() {
            let blocks = first..first + blocks_of_set(y.blocks() - first, y.w);
            sets.push(Set { blocks: blocks.clone(), offset: weights.len() });
            for input in 0..x.blocks() {
                for (tap, place) in (0..taps).flat_map(|tap| (0..pairs).map(move |place| (tap, place))) {
                    let channel = input * LANES + 2 * place;
                    let filters = blocks.start * LANES..blocks.end * LANES;
                    weights.extend(filters.map(|k| pair(code(k, channel, tap), code(k, channel + 1, tap))));
                }
            }
            first = blocks.end;
        }
        let weights = weights.into();
        Self { shape: *shape, sets, weights, pairs, requantizer, scratch: Mutex::default() }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (h, sets, wanted) = (job.yg.h, self.sets.len(), TASKS * exec.pool.threads());
        let bytes = job.xg.image_len() / LANES * self.pairs * size_of::<i32>();
        let bands = wanted.div_ceil(job.images).max(bytes.div_ceil(CACHED)).min(h);
        let height = h.div_ceil(bands);
        let bands = h.div_ceil(height);
        // Small maps: the filters are shared out as well.
        let chunks = wanted.div_ceil(job.images * bands).min(sets);
        exec.for_each_task(job.images * bands * chunks, |_, task| {
            let (place, chunk) = (task / chunks, task % chunks);
            let start = place % bands * height;
            let free = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut scratch = free.unwrap_or_default();
            let band = Band { conv: self, job, image: place / bands, rows: start..h.min(start + height) };
            band.run(exec.isa, &self.sets[sets * chunk / chunks..sets * (chunk + 1) / chunks], &mut scratch);
            self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        });
    }
}

/// How many of `blocks` filter blocks to put in one set: the narrower the map, the fewer pixels fill the registers.
fn blocks_of_set(blocks: usize, width: usize) -> usize {
    let wanted: &[usize] = match width {
        ..4 => &[8, 4, 2, 1],
        4..14 => &[4, 2, 1],
        _ => &[2, 1],
    };
    wanted.iter().copied().find(|&n| n <= blocks).unwrap_or(1)
}

/// Some output rows of one image.
struct Band<'a> {
    conv: &'a Integer,
    job: &'a Job<'a>,
    image: usize,
    rows: Range<usize>,
}

macro_rules! tile_of {
    ($isa:ident, $strip:ident, $blocks:ident, $size:ident: $($b:literal x [$($p:literal)+]),+) => {
        match ($blocks, $size) {
            $($(($b, $p) => $isa.run(Tiled::<$p, $b>($strip)),)+)+
            _ => unreachable!("no tile of {} pixels and {} blocks is compiled", $size, $blocks),
        }
    };
}

impl Band<'_> {
    fn run(&self, isa: Isa, sets: &[Set], scratch: &mut Buffer<i32>) {
        let (shape, xg) = (&self.conv.shape, self.job.xg);
        let top = self.rows.start * shape.stride.0 + xg.halo.top - shape.padding.top;
        let rows = (self.rows.len() - 1) * shape.stride.0 + shape.dilation.0 * (shape.kernel.0 - 1) + 1;
        let row = xg.row_len() / LANES * self.conv.pairs;
        scratch.reserve(xg.blocks() * rows * row);
        isa.run(ToPairs { band: self, rows: top..top + rows, to: scratch });
        let width = self.job.yg.w;
        let size = [14, 7, 4, 2, 1].into_iter().find(|&size| size <= width).unwrap_or(1);
        for set in sets {
            let (blocks, size) = match isa.has_many_registers() {
                true => (set.blocks.len(), size.min(28 / set.blocks.len())),
                false => (1, size.min(4)),
            };
            // 28 / 8 is no tile.
            let size = if size == 3 { 2 } else { size };
            for block in (0..set.blocks.len()).step_by(blocks) {
                let strip = Strip { band: self, set, block, pairs: scratch, rows };
                tile_of!(isa, strip, blocks, size: 1 x [14 7 4 2 1], 2 x [14 7 4 2 1], 4 x [7 4 2 1], 8 x [2 1]);
            }
        }
    }
}

/// Copies rows of the input's frame as pairs, `[input block][row][column][pair]`.
struct ToPairs<'a> {
    band: &'a Band<'a>,
    rows: Range<usize>,
    to: &'a mut [i32],
}

impl Kernel for ToPairs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Band { conv, job, image, .. } = self.band;
        let (xg, pairs) = (job.xg, conv.pairs);
        let row = xg.row_len() / LANES * pairs;
        let code = |x: f32| (x + MAGIC).to_bits() as i16;
        for block in 0..xg.blocks() {
            for (to_row, y) in self.rows.clone().enumerate() {
                let from = &job.x[image * xg.image_len() + block * xg.plane_len() + y * xg.row_len()..][..xg.row_len()];
                let to = &mut self.to[(block * self.rows.len() + to_row) * row..][..row];
                let pixels = from.as_chunks::<LANES>().0;
                if pairs == LANES / 2 {
                    for (to, from) in to.as_chunks_mut::<{ LANES / 2 }>().0.iter_mut().zip(pixels) {
                        let codes = from.map(code);
                        *to = std::array::from_fn(|i| pair(codes[2 * i], codes[2 * i + 1]));
                    }
                } else {
                    for (to, from) in to.chunks_exact_mut(pairs).zip(pixels) {
                        for (i, to) in to.iter_mut().enumerate() {
                            *to = pair(code(from[2 * i]), code(from[2 * i + 1]));
                        }
                    }
                }
            }
        }
    }
}

/// Rows of a band for the blocks of a set from the `block`-th on.
struct Strip<'a> {
    band: &'a Band<'a>,
    set: &'a Set,
    block: usize,
    /// The input as pairs, `rows` rows a block.
    pairs: &'a [i32],
    rows: usize,
}

struct Tiled<'a, const P: usize, const B: usize>(Strip<'a>);

impl<const P: usize, const B: usize> Kernel for Tiled<'_, P, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::REGISTERS < 32 && P * B > 4 {
            // Never dispatched; saying so keeps the code of such tiles out of the levels that cannot hold them.
            unreachable!("a tile of {P} pixels and {B} blocks does not fit the registers");
        }
        let Strip { band: Band { conv, job, image, rows }, set, block, pairs: input, rows: input_rows } = self.0;
        let (Integer { shape, pairs, requantizer, .. }, xg) = (conv, job.xg);
        let row_len = xg.row_len() / LANES * pairs;
        let (r, t) = shape.kernel;
        let width = set.blocks.len() * LANES;
        let step = pairs * width;
        let plane = Loop { count: xg.blocks(), input: input_rows * row_len, weights: r * t * step };
        let row = Loop { count: r, input: shape.dilation.0 * row_len, weights: t * step };
        // Neighbouring taps of all pairs are one run.
        let (column, run) = match shape.dilation.1 {
            1 => (Loop { count: 1, input: 0, weights: 0 }, t * pairs),
            dilation => (Loop { count: t, input: dilation * pairs, weights: step }, *pairs),
        };
        let walk = Walk { outer: [plane, row, column], run, pixel: shape.stride.1 * pairs, width, ahead: 0 };
        let left = (xg.halo.left - shape.padding.left) * pairs;
        let first = set.blocks.start + block;
        for (y, row) in rows.clone().enumerate() {
            let from = y * shape.stride.0 * row_len + left;
            let mut x = 0;
            while x < job.yg.w {
                let at = x.min(job.yg.w - P);
                let from = from + at * walk.pixel;
                let weight = set.offset + block * LANES;
                debug_assert!(walk.fits(P, B, input.len() - from, conv.weights.len() - weight));
                // SAFETY: the pairs hold every tap of every window of the band (the halo holds the padding, asserted at
                // packing), the weights were packed for this walk.
                let sums = unsafe {
                    let (input, weight) = (input.as_ptr().add(from), conv.weights.as_ptr().add(weight));
                    walk.accumulate::<S, Pairs, P, B>(s, input, weight, [[s.splat_int(0); P]; B])
                };
                for b in 0..B {
                    // SAFETY: the pixels of this block are in the output and this task's.
                    let to = unsafe { job.y.slice(job.yg.at(*image, first + b, row, at), P * LANES) };
                    for (to, &sums) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(&sums[b]) {
                        *to = requantizer.codes(first + b, s.to_ints(sums));
                    }
                }
                x = at + P;
            }
        }
    }
}
