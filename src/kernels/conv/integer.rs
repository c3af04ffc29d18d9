//! Exact convolution of 8-bit integers in 32-bit sums, which wrap on overflow. Each step multiplies four bytes per lane, or
//! two 16-bit integers where differences to the zero point do not fit bytes.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::bytes::PackedRows;
use super::epilogue::Output;
use super::{ConvShape, Job};
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::integer::integer;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::requantize::{Requantize, Requantizer};
use crate::kernels::simd::{Simd, pair};
use crate::kernels::tile::{Integers, Loop, Walk, unrolled};

/// Bytes of a band's packed input, which stays in the second-level cache beside the weights.
const CACHED: usize = 200_000;
/// Tasks per thread, if there are several threads.
const TASKS: usize = 4;

/// Filter blocks that share an input's broadcast; weights `[R][S][word][blocks * 16]`.
struct Set {
    blocks: Range<usize>,
    offset: usize,
}

pub(super) struct Integer {
    shape: ConvShape,
    sets: Vec<Set>,
    weights: Buffer<i32>,
    /// Words per pixel: each packs two or four neighbouring channels.
    words: usize,
    /// Subtracted from an input to make it an unsigned byte; `None` if inputs stay 16-bit integers.
    lowest: Option<i32>,
    requantizer: Requantizer,
    scratch: Mutex<Vec<Buffer<i32>>>,
}

impl Integer {
    /// Weights `[K, C/groups, R, S]` are integers; weights across groups are zero.
    pub(super) fn new(shape: &ConvShape, weight: &[f32], requantize: &Requantize, x: &Geometry, y: &Geometry) -> Self {
        let (group_in, group_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let taps = shape.kernel.0 * shape.kernel.1;
        let (low, high) = requantize.input;
        let bytes = high - low <= 255 && weight.iter().all(|&w| (-128.0..=127.0).contains(&w));
        let channels = if bytes { 4 } else { 2 };
        let words = if x.c <= LANES { x.c.div_ceil(channels) } else { x.blocks() * LANES / channels };
        let code = |filter: usize, channel: usize, tap: usize| {
            let met =
                filter < shape.out_channels && channel < shape.in_channels && channel / group_in == filter / group_out;
            if met { weight[(filter * group_in + channel % group_in) * taps + tap] as i32 } else { 0 }
        };
        let word = |filter: usize, first: usize, tap: usize| match bytes {
            true => i32::from_le_bytes(std::array::from_fn(|i| code(filter, first + i, tap) as u8)),
            false => pair(code(filter, first, tap) as i16, code(filter, first + 1, tap) as i16),
        };
        let (mut weights, mut sets) = (Vec::new(), Vec::new());
        let mut first = 0;
        while first < y.blocks() {
            let blocks = first..first + blocks_of_set(y.blocks() - first, y.w);
            sets.push(Set { blocks: blocks.clone(), offset: weights.len() });
            for (tap, place) in (0..taps).flat_map(|tap| (0..words).map(move |place| (tap, place))) {
                let filters = blocks.start * LANES..blocks.end * LANES;
                weights.extend(filters.map(|filter| word(filter, channels * place, tap)));
            }
            first = blocks.end;
        }
        let mut requantize = requantize.clone();
        if bytes {
            // Every tap reads its input minus `low`, padding included.
            let each = group_in * taps;
            for (bias, weights) in requantize.bias.iter_mut().zip(weight.chunks(each.max(1))) {
                *bias = weights.iter().fold(*bias, |bias, &w| bias.wrapping_add(low.wrapping_mul(w as i32)));
            }
        }
        Self {
            shape: *shape,
            sets,
            weights: weights.into(),
            words,
            lowest: bytes.then_some(low),
            requantizer: Requantizer::new(&requantize),
            scratch: Mutex::default(),
        }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (h, sets, threads) = (job.yg.h, self.sets.len(), exec.pool.threads());
        let wanted = if threads == 1 { 1 } else { TASKS * threads };
        let bytes = job.xg.plane_len() / job.xg.lanes * self.words * size_of::<i32>();
        let bands = wanted.div_ceil(job.images).max(bytes.div_ceil(CACHED)).min(h);
        let height = h.div_ceil(bands);
        let bands = h.div_ceil(height);
        // Small maps: tasks also divide the filters.
        let chunks = wanted.div_ceil(job.images * bands).min(sets);
        exec.for_each_task(job.images * bands * chunks, |_, task| {
            let (place, chunk) = (task / chunks, task % chunks);
            let start = place % bands * height;
            let band = Band { conv: self, job, image: place / bands, rows: start..h.min(start + height) };
            band.run(exec.isa, &self.sets[sets * chunk / chunks..sets * (chunk + 1) / chunks]);
        });
    }

    /// Some rows of the first image.
    pub(super) fn rows(&self, isa: Isa, job: &Job<'_>, rows: Range<usize>) {
        Band { conv: self, job, image: 0, rows }.run(isa, &self.sets);
    }

    /// As [`Self::rows`], into packed rows.
    ///
    /// # Safety
    /// The pixels are in the rows `to`, which are alive and written by this thread alone.
    pub(super) unsafe fn rows_to_packed(&self, isa: Isa, job: &Job<'_>, rows: Range<usize>, to: PackedRows) {
        let band = Band { conv: self, job, image: 0, rows };
        band.with_packed_input(isa, |words| band.multiply(isa, &self.sets, words, Some(to)));
    }

    /// As [`Self::rows`], from packed rows.
    pub(super) fn rows_from_packed(&self, isa: Isa, job: &Job<'_>, rows: Range<usize>, words: &[i32]) {
        Band { conv: self, job, image: 0, rows }.multiply(isa, &self.sets, words, None);
    }
}

/// Number of filter blocks per set, of `blocks` in all: the narrower the map, the fewer pixels fill the registers.
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
    fn run(&self, isa: Isa, sets: &[Set]) {
        self.with_packed_input(isa, |words| self.multiply(isa, sets, words, None));
    }

    /// Calls `use_words` with the packed input.
    fn with_packed_input(&self, isa: Isa, use_words: impl FnOnce(&[i32])) {
        let scratch = || self.conv.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = scratch().pop().unwrap_or_default();
        let (shape, xg) = (&self.conv.shape, self.job.xg);
        let top = self.rows.start * shape.stride.0 + xg.halo.top - shape.padding.top;
        let rows = (self.rows.len() - 1) * shape.stride.0 + shape.dilation.0 * (shape.kernel.0 - 1) + 1;
        words.reserve(rows * xg.row_len() / xg.lanes * self.conv.words);
        isa.run(PackInput { band: self, rows: top..top + rows, to: &mut words });
        use_words(&words);
        scratch().push(words);
    }

    /// Computes the rows from packed input, into packed rows if `to` is given.
    fn multiply(&self, isa: Isa, sets: &[Set], words: &[i32], to: Option<PackedRows>) {
        let width = self.job.yg.w;
        let size = [14, 7, 4, 2, 1].into_iter().find(|&size| size <= width).unwrap_or(1);
        for set in sets {
            let (blocks, size) = match isa.has_many_registers() {
                true => (set.blocks.len(), size.min(28 / set.blocks.len())),
                false => (1, size.min(4)),
            };
            // 28 / 8 is no tile size.
            let size = if size == 3 { 2 } else { size };
            for block in (0..set.blocks.len()).step_by(blocks) {
                let strip = Strip { band: self, set, block, words, to };
                tile_of!(isa, strip, blocks, size: 1 x [14 7 4 2 1], 2 x [14 7 4 2 1], 4 x [7 4 2 1], 8 x [2 1]);
            }
        }
    }
}

/// Packs padded rows of the input, `[row][column][word]`.
struct PackInput<'a> {
    band: &'a Band<'a>,
    rows: Range<usize>,
    to: &'a mut [i32],
}

impl Kernel for PackInput<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Band { conv, job, image, .. } = self.band;
        let (xg, words) = (job.xg, conv.words);
        let row = xg.row_len() / xg.lanes * words;
        let add = s.splat_int(-conv.lowest.unwrap_or(0));
        for (to, y) in self.to.chunks_exact_mut(row).zip(self.rows) {
            if xg.lanes == 1 {
                let planes = job.x[image * xg.image_len() + y * xg.row_len()..].chunks(xg.plane_len()).take(xg.c);
                pack_planes(to, words, planes.map(|plane| &plane[..xg.row_len()]), conv.lowest);
                continue;
            }
            for block in 0..xg.blocks() {
                let from = &job.x[image * xg.image_len() + block * xg.plane_len() + y * xg.row_len()..][..xg.row_len()];
                let pixels = to.chunks_exact_mut(words).zip(from.as_chunks::<LANES>().0);
                if conv.lowest.is_some() {
                    for (to, from) in pixels {
                        let bytes = s.low_bytes(s.add_int(s.to_integers(s.load(from)), add));
                        match to[block * LANES / 4..].first_chunk_mut() {
                            Some(to) => *to = bytes,
                            None => to.copy_from_slice(&bytes[..words]),
                        }
                    }
                } else {
                    for (to, from) in pixels {
                        let codes = s.to_ints(s.to_integers(s.load(from)));
                        for (i, to) in to[block * LANES / 2..].iter_mut().take(LANES / 2).enumerate() {
                            *to = pair(codes[2 * i] as i16, codes[2 * i + 1] as i16);
                        }
                    }
                }
            }
        }
    }
}

/// Packs a row of pixels, `words` words each, from a row of each channel.
#[inline(always)]
fn pack_planes<'a>(to: &mut [i32], words: usize, rows: impl Iterator<Item = &'a [f32]>, lowest: Option<i32>) {
    to.fill(0);
    for (channel, row) in rows.enumerate() {
        let (word, shift, mask) = match lowest {
            Some(_) => (channel / 4, channel % 4 * 8, 0xff),
            None => (channel / 2, channel % 2 * 16, 0xffff),
        };
        let part = |code: f32| (integer(code).wrapping_sub(lowest.unwrap_or(0)) & mask) << shift;
        // Written out, so that it is vectorised.
        if words == 1 {
            to.iter_mut().zip(row).for_each(|(to, &code)| *to |= part(code));
        } else {
            to[word..].iter_mut().step_by(words).zip(row).for_each(|(to, &code)| *to |= part(code));
        }
    }
}

/// Rows of a band for the blocks of a set from the `block`-th on.
struct Strip<'a> {
    band: &'a Band<'a>,
    set: &'a Set,
    block: usize,
    /// The packed input.
    words: &'a [i32],
    /// Where the output is written, if packed.
    to: Option<PackedRows>,
}

struct Tiled<'a, const P: usize, const B: usize>(Strip<'a>);

impl<const P: usize, const B: usize> Kernel for Tiled<'_, P, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::REGISTERS < 32 && P * B > 4 {
            // Never dispatched; the check keeps the code of such tiles out of levels that cannot hold them in registers.
            unreachable!("a tile of {P} pixels and {B} blocks does not fit the registers");
        }
        match self.0.band.conv.lowest {
            Some(_) => self.tiles::<S, 4>(s),
            None => self.tiles::<S, 2>(s),
        }
    }
}

impl<const P: usize, const B: usize> Tiled<'_, P, B> {
    #[inline(always)]
    fn tiles<S: Simd, const A_LANE: usize>(&self, s: S) {
        let Strip { band: Band { conv, job, image, rows }, set, block, words: input, to } = self.0;
        let (Integer { shape, words, requantizer, .. }, xg) = (conv, job.xg);
        let row_len = xg.row_len() / xg.lanes * words;
        let (r, t) = shape.kernel;
        let width = set.blocks.len() * LANES;
        let step = words * width;
        let once = Loop { count: 1, input: 0, weights: 0 };
        let row = Loop { count: r, input: shape.dilation.0 * row_len, weights: t * step };
        // The words of neighbouring taps are contiguous.
        let (column, run) = match shape.dilation.1 {
            1 => (once, t * words),
            dilation => (Loop { count: t, input: dilation * words, weights: step }, *words),
        };
        let walk = Walk { outer: [once, row, column], run, pixel: shape.stride.1 * words, width, ahead: 0 };
        let left = (xg.halo.left - shape.padding.left) * words;
        let (first, weight) = (set.blocks.start + block, set.offset + block * LANES);
        let output: Option<Output<S>> = if to.is_none() { Some(job.output(s, *image)) } else { None };
        let mut biases = [[s.splat_int(0); P]; B];
        unrolled!(b < B, {
            biases[b] = [requantizer.bias(s, first + b); P];
        });
        for (y, row) in rows.clone().enumerate() {
            let from = y * shape.stride.0 * row_len + left;
            let mut x = 0;
            while x < job.yg.w {
                let at = x.min(job.yg.w - P);
                let from = from + at * walk.pixel;
                debug_assert!(walk.fits(P, B, input.len() - from, conv.weights.len() - weight));
                // SAFETY: the words hold every tap of every window of the band (the halo holds the padding, asserted at
                // packing); the weights were packed for this walk; the pixels are in the output and this task's.
                unsafe {
                    let (input, weight) = (input.as_ptr().add(from), conv.weights.as_ptr().add(weight));
                    let sums = walk.accumulate::<S, Integers<A_LANE>, P, B>(s, input, weight, biases);
                    match (&output, to) {
                        (Some(output), _) => output.store_codes(s, requantizer, &sums, first, row, at),
                        (None, Some(to)) => to.store(s, requantizer, &sums, first, row, at),
                        (None, None) => unreachable!("codes go somewhere"),
                    }
                }
                x = at + P;
            }
        }
    }
}
