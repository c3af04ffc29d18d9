//! Lines of pixels as codes, with the widths of their groups, and what both add up to.

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
use super::sums::{GroupSums, LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH};
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

/// Pixels (of sixteen values) in a group of 16, 64 and 256.
pub(super) const PIXELS: [usize; 3] = [1, 4, 16];
/// Bit of a group's summary that says that a code is negative; magnitudes have 15 bits.
pub(super) const SIGN: u16 = 0x8000;

/// Pixels whose 16-bit sums cannot overflow: widths are at most 17.
pub(super) const LONGEST: usize = u16::MAX as usize / MAX_WIDTH;

/// Codes of an even pixel and the odd one after it, lane by lane.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Couple(pub(super) [[i16; 2]; LANES]);

/// Where even and odd pixels are added: to two places, or both to one.
pub(super) struct Halves<'a> {
    pub(super) even: &'a mut LaneSums,
    pub(super) odd: Option<&'a mut LaneSums>,
}

impl Halves<'_> {
    /// Where pixels of this parity are added.
    #[inline(always)]
    pub(super) fn of(&mut self, pixel: usize) -> &mut LaneSums {
        match &mut self.odd {
            Some(odd) if pixel % 2 == 1 => odd,
            _ => self.even,
        }
    }
}

/// Sums of even and odd pixels, side by side as in a [`Couple`].
struct CoupleSums([[u16; 2 * LANES]; LANE_SUMS]);

impl CoupleSums {
    /// The sum `which` of a lane of the even pixels (`half` 0) or the odd ones.
    fn of(&self, half: usize, which: usize, lane: usize) -> u32 {
        self.0[which][2 * lane + half].into()
    }

    /// Adds those of the even pixels (`half` 0) or of the odd ones.
    #[inline(always)]
    fn add_to(&self, half: usize, to: &mut LaneSums) {
        for which in 0..LANE_SUMS {
            for lane in 0..LANES {
                to.0[which][lane] += self.of(half, which, lane);
            }
        }
    }
}

/// How values become codes, and what is noted of these.
#[derive(Clone, Copy)]
pub(super) struct Coding {
    pub(super) map: CodeMap,
    /// Whose terms are counted; none where neither terms nor codes are.
    pub(super) encoder: Option<Encoder>,
}

thread_local! {
    /// What the counters of a thread use one after another: it stays in the thread's caches.
    static MEMORY: Cell<Memory> = Cell::default();
}

/// What lines are while they are counted.
#[derive(Default)]
struct Memory {
    /// Codes, filling lanes and the odd pixel after the last zero.
    codes: Vec<Couple>,
    /// Width of the group of 16, 64, 256 that holds each pixel.
    widths: [Vec<u8>; 3],
}

/// Rows of one channel block (or all features of an image, or steps), coded.
#[derive(Default)]
pub(super) struct Lines {
    /// Pixels of each, and from one to the next: a multiple of the largest group.
    pixels: usize,
    stride: usize,
    memory: Memory,
    /// Groups by width, of all lines since they were last drained.
    pub(super) counts: GroupCounts,
    /// How often each code was seen, where codes are noted.
    pub(super) histogram: CodeHistogram,
}

impl Lines {
    /// Takes the thread's memory, which [`Lines::end`] gives back.
    pub(super) fn start(&mut self) {
        self.memory = MEMORY.take();
    }

    /// Gives the thread's memory back.
    pub(super) fn end(&mut self) {
        MEMORY.set(std::mem::take(&mut self.memory));
    }

    /// Forgets what it holds and makes room for `count` lines of `pixels`.
    pub(super) fn begin(&mut self, count: usize, pixels: usize) {
        self.pixels = pixels;
        self.stride = pixels.next_multiple_of(PIXELS[2]);
        let all = count * self.stride;
        if self.memory.widths[0].len() < all {
            self.memory.codes.resize(all / 2, Couple::default());
            self.memory.widths.iter_mut().for_each(|widths| widths.resize(all, 0));
        }
    }

    /// Codes `from` to `lines`, and adds its pixels to `sums`, where they are wanted, and counts its codes, where they are noted.
    #[inline(always)]
    pub(super) fn code<S: Simd>(
        &mut self,
        s: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        sums: Option<&mut Halves<'_>>,
        totals: &mut LaneTotals,
    ) {
        let mut sums = sums;
        if self.code_quickly(s, coding, from, lines.clone(), sums.as_deref_mut(), totals) {
            return;
        }
        for (index, line) in lines.enumerate() {
            let from = from.below(index);
            // What is beyond the codes is in few lines.
            if self.code_quickly(s, coding, from, line..line + 1, sums.as_deref_mut(), totals) {
                continue;
            }
            self.code_line(coding, from, line, totals);
            if let Some(sums) = &mut sums {
                let couples = line * self.stride / 2..(line * self.stride + self.pixels).div_ceil(2);
                for couples in couples.clone().step_by(LONGEST).map(|start| start..couples.end.min(start + LONGEST)) {
                    let added = self.add_couples(coding.encoder, couples);
                    added.add_to(0, sums.of(0));
                    added.add_to(1, sums.of(1));
                }
            }
        }
    }

    /// [`Lines::code`] by the vectors of this level; false, and nothing is added, where it has none or a value is beyond the
    /// codes, NaN or infinite.
    #[inline(always)]
    fn code_quickly<S: Simd>(
        &mut self,
        _: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        sums: Option<&mut Halves<'_>>,
        totals: &mut LaneTotals,
    ) -> bool {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            let (mut sums, all) = (sums, lines.start * self.stride..lines.end * self.stride);
            let [first, second, third] = &mut self.memory.widths;
            let to = avx512::Coded {
                codes: &mut self.memory.codes[all.start / 2..all.end / 2],
                widths: [&mut first[all.clone()], &mut second[all.clone()], &mut third[all]],
                counts: &mut self.counts,
                histogram: &mut self.histogram,
            };
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            let coded = unsafe { avx512::code(coding, from, lines.len(), to, sums.as_deref_mut(), totals) };
            if let (Some(Encoder::Runs), true, Some(sums)) = (coding.encoder, coded, sums) {
                // A table, which vectors do not look up.
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

    /// Codes one line, value by value.
    #[inline(always)]
    fn code_line(&mut self, coding: Coding, from: Source<'_>, line: usize, totals: &mut LaneTotals) {
        let mut tally = self.histogram.tally();
        let mut summaries = [0; PIXELS[2]];
        // Codes of an even pixel and of the odd one after it.
        let mut couple = [[0; LANES]; 2];
        for index in 0..self.pixels {
            let last = index + 1 == self.pixels;
            let codes = &mut couple[index % 2];
            let (values, used) = from.pixel(0, index);
            totals.code(coding.map, &values, used, codes);
            if coding.encoder.is_some() {
                tally.count_blocks((tally.waiting() / BLOCK) as u32);
                tally.make_room::<LANES>();
                codes.iter().for_each(|&code| tally.keep(code as u16));
            }
            let at = index % PIXELS[2];
            summaries[at] = codes.iter().fold(0, |ored, &code| ored | code.unsigned_abs() | code as u16 & SIGN);
            if index % 2 == 1 || last {
                let to = &mut self.memory.codes[(line * self.stride + index) / 2].0;
                for lane in 0..LANES {
                    to[lane] = [couple[0][lane], couple[1][lane]];
                }
                couple[1] = [0; LANES];
            }
            if at + 1 == PIXELS[2] || last {
                let start = line * self.stride + index - at;
                for (widths, size) in self.memory.widths.iter_mut().zip(PIXELS) {
                    let groups = summaries[..=at].chunks(size).zip(widths[start..=start + at].chunks_mut(size));
                    groups.for_each(|(group, widths)| {
                        widths.fill(width_of(group.iter().fold(0, |ored, &summary| ored | summary)));
                    });
                }
            }
        }
        let all = line * self.stride..line * self.stride + self.pixels;
        self.counts.of_line(self.memory.widths.each_ref().map(|widths| &widths[all.clone()]), |count| *count += 1);
    }

    /// The codes of a pixel.
    fn codes_of(&self, line: usize, pixel: usize) -> impl Iterator<Item = i16> {
        self.memory.codes[(line * self.stride + pixel) / 2].0.iter().map(move |couple| couple[pixel % 2])
    }

    /// Sums of some couples, at most [`LONGEST`].
    #[inline(always)]
    fn add_couples(&self, encoder: Option<Encoder>, couples: impl Iterator<Item = usize>) -> CoupleSums {
        // Chosen once: the loops of each are vectors.
        match encoder {
            None => self.add_couples_with(couples, |_| 0),
            Some(Encoder::Naf) => self.add_couples_with(couples, |m| Encoder::Naf.terms(m)),
            Some(Encoder::Popcount) => self.add_couples_with(couples, |m| Encoder::Popcount.terms(m)),
            Some(Encoder::Booth4) => self.add_couples_with(couples, |m| Encoder::Booth4.terms(m)),
            Some(Encoder::Runs) => self.add_couples_with(couples, |m| Encoder::Runs.terms(m)),
        }
    }

    #[inline(always)]
    fn add_couples_with(&self, couples: impl Iterator<Item = usize>, terms: impl Fn(u16) -> u16) -> CoupleSums {
        let mut sums = CoupleSums([[0; 2 * LANES]; LANE_SUMS]);
        for couple in couples {
            let codes = self.memory.codes[couple].0.as_flattened();
            let widths = [self.memory.widths[0][2 * couple], self.memory.widths[0][2 * couple + 1]].map(u16::from);
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

    /// Adds some pixels, all even or all odd, of each of some lines to the first of `places`, and takes them out of the second.
    #[inline(always)]
    pub(super) fn move_columns<S: Simd>(
        &self,
        _: S,
        encoder: Option<Encoder>,
        lines: Range<usize>,
        columns: &[usize],
        [to, from]: [&mut LaneSums; 2],
    ) {
        // So many that sums of 16 bits hold them.
        for columns in columns.chunks(LONGEST / lines.len()) {
            #[cfg(target_arch = "x86_64")]
            if S::AVX512 && encoder != Some(Encoder::Runs) {
                let all = lines.start * self.stride..lines.end * self.stride;
                let (codes, widths) = (&self.memory.codes[all.start / 2..all.end / 2], &self.memory.widths[0][all]);
                // SAFETY: the vector type of this level is only made where the CPU has its features.
                unsafe { avx512::move_columns(codes, widths, self.stride, columns, encoder, [to, from]) };
                continue;
            }
            let couple = |line: usize, column: usize| (line * self.stride + column) / 2;
            let couples = lines.clone().flat_map(|line| columns.iter().map(move |&column| couple(line, column)));
            let added = self.add_couples(encoder, couples);
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

    /// Adds each pixel of the first `lines` lines, at most [`LONGEST`], to the sums of a place of its own.
    #[inline(always)]
    pub(super) fn add_each<S: Simd>(&self, _: S, encoder: Option<Encoder>, lines: usize, to: &mut [LaneSums]) {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 && encoder != Some(Encoder::Runs) {
            let all = lines * self.stride;
            let (codes, widths) = (&self.memory.codes[..all / 2], &self.memory.widths[0][..all]);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::add_each(codes, widths, self.stride, encoder, to) };
        }
        for (couple, to) in to.chunks_mut(2).enumerate() {
            let added = self.add_couples(encoder, (0..lines).map(|line| line * self.stride / 2 + couple));
            to.iter_mut().enumerate().for_each(|(half, to)| added.add_to(half, to));
        }
    }

    /// Sums of the groups that hold the even and the odd pixels of some lines.
    #[inline(always)]
    pub(super) fn groups<S: Simd>(&self, _: S, lines: Range<usize>) -> [GroupSums; 2] {
        let all = lines.start * self.stride..lines.end * self.stride;
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            let widths = self.memory.widths.each_ref().map(|widths| &widths[all.clone()]);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::add_widths(widths, self.stride, self.pixels) };
        }
        let mut sums = [GroupSums::default(); 2];
        for (size, widths) in self.memory.widths.iter().enumerate() {
            let (mut width, mut zero) = ([0u32; 2], [0u32; 2]);
            for line in widths[all.clone()].chunks_exact(self.stride) {
                let (couples, rest) = line[..self.pixels].as_chunks::<2>();
                for (half, &of) in
                    couples.iter().flat_map(|couple| couple.iter().enumerate()).chain(rest.iter().enumerate())
                {
                    width[half] += u32::from(of);
                    zero[half] += u32::from(of == 0);
                }
            }
            for half in 0..2 {
                (sums[half].width[size], sums[half].zero[size]) = (width[half].into(), zero[half].into());
            }
        }
        sums
    }

    /// Adds the groups that hold each pixel of the first `lines` lines, at most [`LONGEST`], to the sums of a place of its own.
    #[inline(always)]
    pub(super) fn groups_of_each(&self, lines: usize, to: &mut [GroupSums]) {
        const TOGETHER: usize = PIXELS[2];
        for (size, widths) in self.memory.widths.iter().enumerate() {
            for (first, to) in to.chunks_mut(TOGETHER).enumerate() {
                let (mut width, mut zero) = ([0u16; TOGETHER], [0u16; TOGETHER]);
                for line in widths[..lines * self.stride].chunks_exact(self.stride) {
                    let of: &[u8; TOGETHER] = &line.as_chunks().0[first];
                    for pixel in 0..TOGETHER {
                        width[pixel] += u16::from(of[pixel]);
                        zero[pixel] += u16::from(of[pixel] == 0);
                    }
                }
                for ((to, width), zero) in to.iter_mut().zip(width).zip(zero) {
                    to.width[size] += u64::from(width);
                    to.zero[size] += u64::from(zero);
                }
            }
        }
    }

    /// Sums of the groups that hold some pixels of each of some lines.
    pub(super) fn groups_of_columns(&self, lines: Range<usize>, columns: &[usize]) -> GroupSums {
        let mut sums = GroupSums::default();
        for at in lines.flat_map(|line| columns.iter().map(move |column| line * self.stride + column)) {
            for (size, widths) in self.memory.widths.iter().enumerate() {
                sums.width[size] += u64::from(widths[at]);
                sums.zero[size] += u64::from(widths[at] == 0);
            }
        }
        sums
    }
}

/// Width of the group that a summary is of.
#[inline(always)]
pub(super) fn width_of(summary: u16) -> u8 {
    (bits(summary & !SIGN) + (summary >> 15)) as u8
}
