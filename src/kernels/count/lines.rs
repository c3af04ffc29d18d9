//! Lines of pixels as codes, with the widths of their groups: what a pass looks at twice.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::classes::Run;
use super::code::{CodeMap, Encoder, bits};
use super::counter::LaneSums;
use super::lanes::LaneTotals;
use super::sums::{GroupSums, LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH, WidthHistogram};
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

/// Pixels (of sixteen values) in a group of 16, 64 and 256.
pub(super) const PIXELS: [usize; 3] = [1, 4, 16];
/// Bit of a group's summary that says that a code is negative; magnitudes have 15 bits.
pub(super) const SIGN: u16 = 0x8000;

/// Rows of one channel block (or all features of an image), coded.
#[derive(Default)]
pub(super) struct Lines {
    /// How many, the pixels of each, and from one to the next: a multiple of the largest group.
    count: usize,
    pixels: usize,
    stride: usize,
    /// Codes, sixteen a pixel, filling lanes zero.
    codes: Vec<[i16; LANES]>,
    /// Width of the group of 16, 64, 256 that holds each pixel.
    widths: [Vec<u8>; 3],
    /// Non-zero codes, side by side, and how many of it they are: what follows them is left over.
    nonzeros: Vec<u16>,
    kept: usize,
}

impl Lines {
    /// Forgets what it holds and makes room for `count` lines of `pixels`.
    pub(super) fn begin(&mut self, count: usize, pixels: usize) {
        (self.count, self.pixels, self.kept) = (count, pixels, 0);
        self.stride = pixels.next_multiple_of(PIXELS[2]);
        let all = count * self.stride;
        if self.codes.len() < all {
            self.codes.resize(all, [0; LANES]);
            self.widths.iter_mut().for_each(|widths| widths.resize(all, 0));
            self.nonzeros.resize((all + 2) * LANES, 0);
        }
    }

    /// The codes that are not zero, of all lines.
    pub(super) fn nonzeros(&self) -> &[u16] {
        &self.nonzeros[..self.kept]
    }

    /// Codes `values` to line `line`; of each pixel's lanes the first `used.0` count, of the last one's `used.1`. Keeps the
    /// codes that are not zero, if asked to.
    #[inline(always)]
    pub(super) fn code<S: Simd>(
        &mut self,
        _: S,
        (map, keep): (CodeMap, bool),
        values: &[f32],
        line: usize,
        used: (usize, usize),
        totals: &mut LaneTotals,
    ) {
        let pixels = values.as_chunks::<LANES>().0;
        let place = line * self.stride..(line + 1) * self.stride;
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            let [first, second, third] = &mut self.widths;
            let widths = [&mut first[place.clone()], &mut second[place.clone()], &mut third[place.clone()]];
            let codes = &mut self.codes[place.clone()];
            let nonzeros = &mut self.nonzeros[self.kept..];
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            let kept = unsafe {
                match keep {
                    true => avx512::code::<true>(map, pixels, used, codes, widths, nonzeros, totals),
                    false => avx512::code::<false>(map, pixels, used, codes, widths, nonzeros, totals),
                }
            };
            if let Some(kept) = kept {
                self.kept += kept;
                return;
            }
        }
        let (last, others) = pixels.split_last().expect("a line has pixels");
        let mut summaries = [0; PIXELS[2]];
        for (index, values) in others.iter().chain([last]).enumerate() {
            let used = if index == others.len() { used.1 } else { used.0 };
            let codes = &mut self.codes[place.start + index];
            totals.code(map, values, used, codes);
            for &code in &*codes {
                // Stored first and kept after: no branch to mispredict.
                self.nonzeros[self.kept] = code as u16;
                self.kept += usize::from(code != 0);
            }
            let at = index % PIXELS[2];
            summaries[at] = codes.iter().fold(0, |ored, &code| ored | code.unsigned_abs() | code as u16 & SIGN);
            if at + 1 == PIXELS[2] || index == others.len() {
                let start = place.start + index - at;
                for (widths, size) in self.widths.iter_mut().zip(PIXELS) {
                    let groups = summaries[..=at].chunks(size).zip(widths[start..=start + at].chunks_mut(size));
                    groups.for_each(|(group, widths)| {
                        widths.fill(width_of(group.iter().fold(0, |ored, &summary| ored | summary)));
                    });
                }
            }
        }
    }

    /// Adds how many groups of each size have which width.
    #[inline(always)]
    pub(super) fn count_groups<S: Simd>(&self, _: S, to: &mut [WidthHistogram; 3]) {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            let widths = self.widths.each_ref().map(|widths| &widths[..self.count * self.stride]);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::count_widths(widths, self.stride, self.pixels, to) };
        }
        for ((widths, size), to) in self.widths.iter().zip(PIXELS).zip(to) {
            for line in widths[..self.count * self.stride].chunks_exact(self.stride) {
                line[..self.pixels].iter().step_by(size).for_each(|&width| to[usize::from(width)] += 1);
            }
        }
    }

    /// Adds the widths of the groups that hold the pixels of `run` in `lines`.
    #[inline(always)]
    pub(super) fn add_groups<S: Simd>(&self, _: S, lines: Range<usize>, run: Run, to: &mut GroupSums) {
        let Run { start, count, step } = run;
        for (size, widths) in self.widths.iter().enumerate() {
            let (mut sum, mut zero) = (0, 0);
            for line in lines.clone() {
                let at = line * self.stride + start;
                #[cfg(target_arch = "x86_64")]
                if S::AVX512 && count > 2 && step <= 64 {
                    // SAFETY: the vector type of this level is only made where the CPU has its features.
                    let (of_run, zeros) = unsafe { avx512::add_widths(&widths[at..][..(count - 1) * step + 1], step) };
                    sum += of_run;
                    zero += zeros;
                    continue;
                }
                for &width in widths[at..].iter().step_by(step).take(count) {
                    sum += u64::from(width);
                    zero += u64::from(width == 0);
                }
            }
            to.width[size] += sum;
            to.zero[size] += zero;
        }
    }

    /// Adds the pixels of `run` in `lines` to the sums of their place.
    #[inline(always)]
    pub(super) fn add<S: Simd>(
        &self,
        _: S,
        lines: Range<usize>,
        run: Run,
        (encoder, terms): (Option<Encoder>, &impl Fn(u16) -> u16),
        to: &mut LaneSums,
    ) {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 && encoder != Some(Encoder::Runs) {
            let all = lines.start * self.stride..lines.end * self.stride;
            let (codes, widths) = (&self.codes[all.clone()], &self.widths[0][all]);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::add(codes, widths, self.stride, run, encoder, to) };
        }
        let mut sums = [[0u16; LANES]; LANE_SUMS];
        for line in lines {
            for at in (0..run.count).map(|pixel| line * self.stride + run.start + pixel * run.step) {
                add_pixel(&self.codes[at], self.widths[0][at], terms, &mut sums);
            }
        }
        for (to, sums) in to.iter_mut().flatten().zip(sums.iter().flatten()) {
            *to += u32::from(*sums);
        }
    }

    /// Adds each pixel of the only line to the sums of a place of its own.
    #[inline(always)]
    pub(super) fn add_each<S: Simd>(
        &self,
        _: S,
        (encoder, terms): (Option<Encoder>, &impl Fn(u16) -> u16),
        to: &mut [LaneSums],
    ) {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 && encoder != Some(Encoder::Runs) {
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            return unsafe { avx512::add_each(&self.codes[..self.pixels], &self.widths[0], encoder, to) };
        }
        for ((codes, &width), to) in self.codes.iter().zip(&self.widths[0]).zip(to) {
            let mut sums = [[0u16; LANES]; LANE_SUMS];
            add_pixel(codes, width, terms, &mut sums);
            for (to, sums) in to.iter_mut().flatten().zip(sums.iter().flatten()) {
                *to += u32::from(*sums);
            }
        }
    }
}

/// Adds one pixel, whose group of 16 has the width `group`.
#[inline(always)]
fn add_pixel(codes: &[i16; LANES], group: u8, terms: &impl Fn(u16) -> u16, sums: &mut [[u16; LANES]; LANE_SUMS]) {
    for lane in 0..LANES {
        let code = codes[lane];
        let m = code.unsigned_abs();
        sums[NONZERO][lane] += u16::from(m != 0);
        sums[WIDTH][lane] += bits(m) + u16::from(code < 0);
        sums[TERMS][lane] += terms(m);
        sums[NONZERO_G16][lane] += if m != 0 { u16::from(group) } else { 0 };
    }
}

/// Width of the group that a summary is of.
#[inline(always)]
fn width_of(summary: u16) -> u8 {
    (bits(summary & !SIGN) + (summary >> 15)) as u8
}
