//! Lines (rows of pixels) as codes, the widths of their groups, and sums over both.

mod groups;

use std::cell::Cell;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::code::{CodeMap, Encoder, MAX_WIDTH, bits};
use super::counter::LaneSums;
use super::groups::GroupCounts;
use super::histogram::{BLOCK, CodeHistogram};
use super::lanes::LaneTotals;
use super::source::Source;
use super::sums::{LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH};
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

/// Pixels (of sixteen channels) in a group of 16, 64 and 256 values.
pub(super) const PIXELS: [usize; 3] = [1, 4, 16];
/// Bit of a group's summary that marks a negative code; magnitudes have 15 bits.
pub(super) const SIGN: u16 = 0x8000;

/// Number of pixels whose 16-bit sums cannot overflow: widths are at most 17.
pub(super) const LONGEST: usize = u16::MAX as usize / MAX_WIDTH;

/// Codes of an even pixel and the odd one after it, interleaved lane by lane: one 512-bit register.
///
/// ```text
/// lane      0        1      ...     15
/// i16    [e0 o0]  [e1 o1]   ...  [e15 o15]    e: even pixel, o: odd pixel
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct PixelPair(pub(super) [[i16; 2]; LANES]);

/// Accumulators of even and odd pixels: two, or one for both.
pub(super) struct ParitySums<'a> {
    pub(super) even: &'a mut LaneSums,
    pub(super) odd: Option<&'a mut LaneSums>,
}

impl ParitySums<'_> {
    /// The accumulator for pixels of this parity.
    #[inline(always)]
    pub(super) fn of(&mut self, pixel: usize) -> &mut LaneSums {
        match &mut self.odd {
            Some(odd) if pixel % 2 == 1 => odd,
            _ => self.even,
        }
    }
}

/// Sums of even and odd pixels, interleaved as in a [`PixelPair`].
struct PairSums([[u16; 2 * LANES]; LANE_SUMS]);

impl PairSums {
    /// Sum `which` of a lane, for the even pixels (`half` 0) or the odd ones.
    fn of(&self, half: usize, which: usize, lane: usize) -> u32 {
        self.0[which][2 * lane + half].into()
    }

    /// Adds the sums of the even pixels (`half` 0) or of the odd ones to `to`.
    #[inline(always)]
    fn add_to(&self, half: usize, to: &mut LaneSums) {
        for which in 0..LANE_SUMS {
            for lane in 0..LANES {
                to.0[which][lane] += self.of(half, which, lane);
            }
        }
    }
}

/// How values are quantised, and what is counted of the codes.
#[derive(Clone, Copy)]
pub(super) struct Coding {
    pub(super) map: CodeMap,
    /// Whose terms are counted; `None` if neither terms nor codes are.
    pub(super) encoder: Option<Encoder>,
}

thread_local! {
    /// Buffers that the counters of a thread share one after another, so that they stay in its caches.
    static BUFFERS: Cell<LineBuffers> = Cell::default();
}

/// Buffers for the lines that are being counted.
#[derive(Default)]
struct LineBuffers {
    /// Codes; padding lanes and an odd pixel after the last are zero.
    codes: Vec<PixelPair>,
    /// Width of the group of 16, 64, 256 that holds each pixel.
    widths: [Vec<u8>; 3],
}

/// Rows of one channel block (or all features of an image, or steps) as codes.
#[derive(Default)]
pub(super) struct Lines {
    /// Pixels of a line, and the stride between lines: a multiple of the largest group.
    pixels: usize,
    stride: usize,
    buffers: LineBuffers,
    /// Groups by width, over all lines since they were last drained.
    pub(super) counts: GroupCounts,
    /// How often each code occurs, if codes are counted.
    pub(super) histogram: CodeHistogram,
}

impl Lines {
    /// Takes the thread's buffers; [`Lines::end`] returns them.
    pub(super) fn start(&mut self) {
        self.buffers = BUFFERS.take();
    }

    /// Returns the thread's buffers.
    pub(super) fn end(&mut self) {
        BUFFERS.set(std::mem::take(&mut self.buffers));
    }

    /// Makes room for `count` lines of `pixels`; what was there is overwritten.
    pub(super) fn begin(&mut self, count: usize, pixels: usize) {
        self.pixels = pixels;
        self.stride = pixels.next_multiple_of(PIXELS[2]);
        let all = count * self.stride;
        if self.buffers.widths[0].len() < all {
            self.buffers.codes.resize(all / 2, PixelPair::default());
            self.buffers.widths.iter_mut().for_each(|widths| widths.resize(all, 0));
        }
    }

    /// Quantises `from` to `lines`. Adds its pixels to `sums`, if given, and counts its codes, if there is an encoder.
    #[inline(always)]
    pub(super) fn code<S: Simd>(
        &mut self,
        s: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        sums: Option<&mut ParitySums<'_>>,
        totals: &mut LaneTotals,
    ) {
        let mut sums = sums;
        if self.code_quickly(s, coding, from, lines.clone(), sums.as_deref_mut(), totals) {
            return;
        }
        for (index, line) in lines.enumerate() {
            let from = from.below(index);
            // Values out of the range of the codes are in few lines.
            if self.code_quickly(s, coding, from, line..line + 1, sums.as_deref_mut(), totals) {
                continue;
            }
            match coding.map.float {
                Some(_) => self.code_line::<true>(coding, from, line, totals),
                None => self.code_line::<false>(coding, from, line, totals),
            }
            if let Some(sums) = &mut sums {
                let pairs = line * self.stride / 2..(line * self.stride + self.pixels).div_ceil(2);
                for pairs in pairs.clone().step_by(LONGEST).map(|start| start..pairs.end.min(start + LONGEST)) {
                    let added = self.add_pairs(coding.encoder, pairs);
                    added.add_to(0, sums.of(0));
                    added.add_to(1, sums.of(1));
                }
            }
        }
    }

    /// [`Lines::code`] by the vectors of this level. Returns false, and changes no sum, if the level has none (of floating-point
    /// types) or a value is out of the range of the codes, NaN or infinite.
    #[inline(always)]
    fn code_quickly<S: Simd>(
        &mut self,
        _: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        sums: Option<&mut ParitySums<'_>>,
        totals: &mut LaneTotals,
    ) -> bool {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 && coding.map.float.is_none() {
            let (mut sums, all) = (sums, lines.start * self.stride..lines.end * self.stride);
            let [first, second, third] = &mut self.buffers.widths;
            let to = avx512::Coded {
                codes: &mut self.buffers.codes[all.start / 2..all.end / 2],
                widths: [&mut first[all.clone()], &mut second[all.clone()], &mut third[all]],
                counts: &mut self.counts,
                histogram: &mut self.histogram,
            };
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            let coded = unsafe { avx512::code(coding, from, lines.len(), to, sums.as_deref_mut(), totals) };
            if let (Some(Encoder::Runs), true, Some(sums)) = (coding.encoder, coded, sums) {
                // By table, which the vector loop cannot look up.
                for (line, pixel) in lines.flat_map(|line| (0..self.pixels).map(move |pixel| (line, pixel))) {
                    for (sum, code) in sums.of(pixel).0[TERMS].iter_mut().zip(self.codes_of(line, pixel)) {
                        *sum += u32::from(Encoder::Runs.terms(code.unsigned_abs()));
                    }
                }
            }
            return coded;
        }
        let _ = (coding, from, lines, sums, totals);
        false
    }

    /// Quantises one line, value by value. For floating-point types (`FLOAT`) the sums later add magnitudes of codes: their sign is
    /// a bit of its own and adds none to a width.
    #[inline(always)]
    fn code_line<const FLOAT: bool>(&mut self, coding: Coding, from: Source<'_>, line: usize, totals: &mut LaneTotals) {
        let mut histogram = self.histogram.writer();
        let mut summaries = [0; PIXELS[2]];
        // Codes of an even pixel and of the odd one after it.
        let mut pair = [[0; LANES]; 2];
        for index in 0..self.pixels {
            let last = index + 1 == self.pixels;
            let codes = &mut pair[index % 2];
            let (values, used) = from.pixel(0, index);
            totals.code::<FLOAT>(coding.map, &values, used, codes);
            if coding.encoder.is_some() {
                histogram.count_blocks((histogram.buffered() / BLOCK) as u32);
                histogram.make_room::<LANES>();
                codes.iter().for_each(|&code| histogram.push(code as u16));
            }
            if FLOAT {
                codes.iter_mut().for_each(|code| *code = code.abs());
            }
            let at = index % PIXELS[2];
            summaries[at] = codes.iter().fold(0, |ored, &code| ored | code.unsigned_abs() | code as u16 & SIGN);
            if index % 2 == 1 || last {
                let to = &mut self.buffers.codes[(line * self.stride + index) / 2].0;
                for lane in 0..LANES {
                    to[lane] = [pair[0][lane], pair[1][lane]];
                }
                pair[1] = [0; LANES];
            }
            if at + 1 == PIXELS[2] || last {
                let start = line * self.stride + index - at;
                for (widths, size) in self.buffers.widths.iter_mut().zip(PIXELS) {
                    let groups = summaries[..=at].chunks(size).zip(widths[start..=start + at].chunks_mut(size));
                    groups.for_each(|(group, widths)| {
                        widths.fill(width_of(group.iter().fold(0, |ored, &summary| ored | summary)));
                    });
                }
            }
        }
        let all = line * self.stride..line * self.stride + self.pixels;
        self.counts.of_line(self.buffers.widths.each_ref().map(|widths| &widths[all.clone()]), |count| *count += 1);
    }

    /// The codes of a pixel.
    fn codes_of(&self, line: usize, pixel: usize) -> impl Iterator<Item = i16> {
        self.buffers.codes[(line * self.stride + pixel) / 2].0.iter().map(move |pair| pair[pixel % 2])
    }

    /// Sums over some pairs, at most [`LONGEST`].
    #[inline(always)]
    fn add_pairs(&self, encoder: Option<Encoder>, pairs: impl Iterator<Item = usize>) -> PairSums {
        // Matched once, outside the loop: each loop is vectorised.
        match encoder {
            None => self.add_pairs_with(pairs, |_| 0),
            Some(Encoder::Naf) => self.add_pairs_with(pairs, |m| Encoder::Naf.terms(m)),
            Some(Encoder::Popcount) => self.add_pairs_with(pairs, |m| Encoder::Popcount.terms(m)),
            Some(Encoder::Booth4) => self.add_pairs_with(pairs, |m| Encoder::Booth4.terms(m)),
            Some(Encoder::Runs) => self.add_pairs_with(pairs, |m| Encoder::Runs.terms(m)),
        }
    }

    #[inline(always)]
    fn add_pairs_with(&self, pairs: impl Iterator<Item = usize>, terms: impl Fn(u16) -> u16) -> PairSums {
        let mut sums = PairSums([[0; 2 * LANES]; LANE_SUMS]);
        for pair in pairs {
            let codes = self.buffers.codes[pair].0.as_flattened();
            let widths = [self.buffers.widths[0][2 * pair], self.buffers.widths[0][2 * pair + 1]].map(u16::from);
            let mut groups = [[0; 2]; LANES];
            groups.fill(widths);
            let groups = groups.as_flattened();
            for i in 0..2 * LANES {
                let code = codes[i];
                let m = code.unsigned_abs();
                sums.0[NONZERO][i] += u16::from(m != 0);
                sums.0[WIDTH][i] += bits(m) + u16::from(code < 0);
                sums.0[TERMS][i] += terms(m);
                sums.0[NONZERO_G16][i] += if m != 0 { groups[i] } else { 0 };
            }
        }
        sums
    }

    /// Adds some columns (all even or all odd) of some lines to the first accumulator, and subtracts them from the second.
    #[inline(always)]
    pub(super) fn move_columns<S: Simd>(
        &self,
        _: S,
        encoder: Option<Encoder>,
        lines: Range<usize>,
        columns: &[usize],
        [to, from]: [&mut LaneSums; 2],
    ) {
        // As many as 16-bit sums hold.
        for columns in columns.chunks(LONGEST / lines.len()) {
            #[cfg(target_arch = "x86_64")]
            if S::AVX512 && encoder != Some(Encoder::Runs) {
                let all = lines.start * self.stride..lines.end * self.stride;
                let (codes, widths) = (&self.buffers.codes[all.start / 2..all.end / 2], &self.buffers.widths[0][all]);
                // SAFETY: the vector type of this level is only made where the CPU has its features.
                unsafe { avx512::move_columns(codes, widths, self.stride, columns, encoder, [to, from]) };
                continue;
            }
            let pair = |line: usize, column: usize| (line * self.stride + column) / 2;
            let pairs = lines.clone().flat_map(|line| columns.iter().map(move |&column| pair(line, column)));
            let added = self.add_pairs(encoder, pairs);
            let half = columns[0] % 2;
            for which in 0..LANE_SUMS {
                for lane in 0..LANES {
                    let sum = added.of(half, which, lane);
                    to.0[which][lane] += sum;
                    from.0[which][lane] -= sum;
                }
            }
        }
    }

    /// Adds each pixel of the first `lines` lines, at most [`LONGEST`], to the accumulator of its column.
    #[inline(always)]
    pub(super) fn add_each<S: Simd>(&self, _: S, encoder: Option<Encoder>, lines: usize, to: &mut [LaneSums]) {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 && encoder != Some(Encoder::Runs) {
            let all = lines * self.stride;
            let (codes, widths) = (&self.buffers.codes[..all / 2], &self.buffers.widths[0][..all]);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::add_each(codes, widths, self.stride, encoder, to) };
        }
        for (pair, to) in to.chunks_mut(2).enumerate() {
            let added = self.add_pairs(encoder, (0..lines).map(|line| line * self.stride / 2 + pair));
            to.iter_mut().enumerate().for_each(|(half, to)| added.add_to(half, to));
        }
    }
}

/// Width of the group with this summary.
#[inline(always)]
pub(super) fn width_of(summary: u16) -> u8 {
    (bits(summary & !SIGN) + (summary >> 15)) as u8
}
