//! The quantising loop: one pair of pixels at a time, with the sums it keeps in registers.

use std::arch::x86_64::*;

use super::super::groups::GroupCounts;
use super::super::histogram::{BLOCK, HistogramWriter};
use super::super::lines::{ParitySums, SIGN};
use super::super::range::Range;
use super::super::source::{Source, Strided, Values};
use super::super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::add::{NONE, add_to, split, terms};
use super::fold::{FOLDED, FOUR, fold, join_32};
use crate::kernels::geometry::{LANES, LINE};
use crate::kernels::tile::{NEAR, prefetch};

/// Prefetch distance for floats, in bytes: large maps come from memory.
const AHEAD: usize = 2048;
/// Bit pattern of infinity.
const INFINITE: u32 = 0x7f80_0000;

// Kinds of values with a loop of their own.
/// Floats of either sign.
pub(super) const FLOATS: u8 = 0;
/// Floats, none of them negative.
pub(super) const NON_NEGATIVE: u8 = 1;
/// Codes of 0 to 255 in bytes.
pub(super) const BYTES: u8 = 2;

/// Sums over lines while they are coded. 16-bit sums hold an even and an odd pixel in each lane.
pub(super) struct Coder<'a, const KIND: u8, const SUMS: bool, const KEEP: bool, const ENCODER: u8> {
    scale: __m512,
    /// Stride in bytes from an even pixel to the next even one, and from an even pixel to the odd one after it.
    pub(super) pair_stride: usize,
    odd: isize,
    /// Vectors of 1 (32-bit and 16-bit), hidden from the compiler, which would turn known ones into mask arithmetic.
    one: __m512i,
    one_16: __m512i,
    /// Largest bit pattern as a signed and as an unsigned integer: these order positive and negative floats.
    high: __m512i,
    low: __m512i,
    zeros: __m512i,
    nonzero: __m512i,
    terms: __m512i,
    groups: __m512i,
    negative: __m512i,
    /// Sum of the leading zeros of 32-bit magnitudes of even and odd pixels, and the number of pairs summed.
    unused: [__m512i; 2],
    pairs: u32,
    /// Non-zero codes, where the values are codes already.
    counted: u32,
    pub(super) histogram: HistogramWriter<'a>,
}

impl<'a, const KIND: u8, const SUMS: bool, const KEEP: bool, const ENCODER: u8> Coder<'a, KIND, SUMS, KEEP, ENCODER> {
    const SIGNED: bool = KIND == FLOATS;

    #[inline(always)]
    pub(super) unsafe fn new(scale: f32, values: Values<'_>, histogram: HistogramWriter<'a>) -> Self {
        let (pair_stride, odd) = match values {
            Values::Bytes(plane) => (plane.pair_stride, plane.odd),
            Values::Floats(Strided { pixel, .. }) => (2 * pixel, pixel as isize),
        };
        // SAFETY: the caller vouches for the features.
        unsafe {
            let zero = _mm512_setzero_si512();
            Self {
                // Floats and packed words have four bytes each.
                pair_stride: pair_stride * 4,
                odd: odd * 4,
                scale: _mm512_set1_ps(scale),
                one: _mm512_set1_epi32(std::hint::black_box(1)),
                one_16: _mm512_set1_epi16(std::hint::black_box(1)),
                high: _mm512_set1_epi32(i32::MIN),
                low: zero,
                zeros: zero,
                nonzero: zero,
                terms: zero,
                groups: zero,
                negative: zero,
                unused: [zero; 2],
                pairs: 0,
                counted: 0,
                histogram,
            }
        }
    }

    /// Up to sixteen pixels, in loops over four: sums are added at once, because no register is left to hold them back.
    #[inline(always)]
    pub(super) unsafe fn chunk(
        &mut self,
        x: *const u8,
        pixels: usize,
        to: *mut __m512i,
        widths: [*mut u8; 3],
        counts: &mut GroupCounts,
    ) {
        // SAFETY: the caller vouches for the features, the pixels to read and room to store sixteen.
        unsafe {
            let (whole, all) = (pixels / FOUR, pixels.div_ceil(FOUR));
            // Some buffered codes are counted beside each four pixels: the vector code leaves room for scalar work.
            // The table replaces a division by the number of fours.
            let blocks = if KEEP { (self.histogram.buffered() / BLOCK) as u32 * [0, 12, 6, 4, 3][all] / 12 } else { 0 };
            let zero = _mm512_setzero_si512();
            // The last four results, shifted along.
            let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
            for four in 0..whole {
                (a, b, c) = (b, c, d);
                let x = x.add(four * FOUR / 2 * self.pair_stride);
                if KIND != BYTES && self.odd == LINE as isize {
                    for line in (0..FOUR * LINE).step_by(LINE) {
                        prefetch::<_, NEAR>(x.wrapping_add(AHEAD + line));
                    }
                }
                d = self.code_four(x, FOUR, to.add(four * FOUR / 2));
                if KEEP {
                    self.histogram.count_blocks(blocks);
                }
            }
            if whole < all {
                (a, b, c) = (b, c, d);
                d = self.code_four(x.add(whole * FOUR / 2 * self.pair_stride), pixels % FOUR, to.add(whole * FOUR / 2));
                if KEEP {
                    self.histogram.count_blocks(blocks);
                }
            }
            for _ in all..FOLDED / FOUR {
                (a, b, c, d) = (b, c, d, zero);
            }
            let (groups, signs) = fold([a, b, c, d], widths);
            if KEEP {
                self.histogram.make_room::<{ FOLDED * LANES + 2 * LANES }>();
            }
            for pair in 0..pixels.div_ceil(2) {
                self.count_nonzero(_mm512_loadu_si512(to.add(pair)), *groups.as_ptr().add(pair));
            }
            if Self::SIGNED && SUMS && signs {
                for pair in 0..pixels.div_ceil(2) {
                    let negative = _mm512_srli_epi16::<15>(_mm512_loadu_si512(to.add(pair)));
                    self.negative = _mm512_add_epi16(self.negative, negative);
                }
            }
            for pixel in 0..pixels {
                *counts.of_16(pixel, *widths[0].add(pixel)) += 1;
            }
            for four in 0..all {
                *counts.of_64(four, *widths[1].add(four * FOUR)) += 1;
            }
            *counts.of_256(*widths[2]) += 1;
        }
    }

    /// Codes the first `pixels` of four pixels to `to`, and zeros for the rest. Returns magnitudes or'ed with signs, joined.
    #[inline(always)]
    unsafe fn code_four(&mut self, x: *const u8, pixels: usize, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features, the pixels to read and room for four.
        unsafe {
            let first = self.code_pair(x, pixels, to);
            join_32(first, self.code_pair(x.wrapping_add(self.pair_stride), pixels.saturating_sub(2), to.add(1)))
        }
    }

    /// Codes the first `pixels` of a pair to `to`. Returns the magnitudes or'ed with the signs.
    #[inline(always)]
    unsafe fn code_pair(&mut self, x: *const u8, pixels: usize, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features, the pixels to read and room for two.
        unsafe {
            let x = [x, x.wrapping_offset(self.odd)];
            let there: [__mmask16; 2] = [if pixels > 0 { !0 } else { 0 }, if pixels > 1 { !0 } else { 0 }];
            if KIND == BYTES {
                let even = _mm_maskz_loadu_epi8(there[0], x[0].cast());
                self.code_bytes(even, _mm_maskz_loadu_epi8(there[1], x[1].cast()), to)
            } else {
                let even = _mm512_maskz_loadu_ps(there[0], x[0].cast());
                self.code_floats(even, _mm512_maskz_loadu_ps(there[1], x[1].cast()), to)
            }
        }
    }

    /// Quantises a pair of float pixels to `to`. Returns the magnitudes or'ed with the signs.
    #[inline(always)]
    unsafe fn code_floats(&mut self, a: __m512, b: __m512, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features and for room.
        unsafe {
            let even = _mm512_cvtps_epi32(_mm512_mul_ps(a, self.scale));
            let odd = _mm512_cvtps_epi32(_mm512_mul_ps(b, self.scale));
            let both = _mm512_mask_blend_epi16(0xaaaa_aaaa, even, _mm512_slli_epi32::<16>(odd));
            _mm512_storeu_si512(to, both);
            for x in [a, b] {
                let pattern = _mm512_castps_si512(x);
                if Self::SIGNED {
                    self.high = _mm512_max_epi32(self.high, pattern);
                }
                self.low = _mm512_max_epu32(self.low, pattern);
                let zero = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, _mm512_setzero_ps());
                self.zeros = _mm512_mask_add_epi32(self.zeros, zero, self.zeros, self.one);
            }
            let m = if Self::SIGNED { _mm512_abs_epi16(both) } else { both };
            self.add(m, if Self::SIGNED { split(m) } else { [even, odd] });
            if Self::SIGNED { _mm512_ternarylogic_epi64::<0xf8>(m, both, _mm512_set1_epi16(SIGN as i16)) } else { m }
        }
    }

    /// As [`Self::code_floats`], for values that are codes.
    #[inline(always)]
    unsafe fn code_bytes(&mut self, even: __m128i, odd: __m128i, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features and for room.
        unsafe {
            let both = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
            let both = _mm512_cvtepu8_epi16(both);
            _mm512_storeu_si512(to, both);
            self.low = _mm512_max_epu16(self.low, both);
            self.add(both, split(both));
            both
        }
    }

    /// Adds the magnitudes of a pair; `halves` are those of its even and odd pixel, widened to 32 bits.
    #[inline(always)]
    unsafe fn add(&mut self, m: __m512i, halves: [__m512i; 2]) {
        if !SUMS {
            return;
        }
        // SAFETY: the caller vouches for the features.
        unsafe {
            for (unused, m) in self.unused.iter_mut().zip(halves) {
                *unused = _mm512_add_epi32(*unused, _mm512_lzcnt_epi32(m));
            }
            self.pairs += 1;
            if ENCODER != NONE {
                self.terms = _mm512_add_epi16(self.terms, terms::<ENCODER>(m));
            }
        }
    }

    /// Adds the non-zero statistics of a pair; the low and high half of `groups` are the widths of its pixels' groups of 16.
    #[inline(always)]
    unsafe fn count_nonzero(&mut self, codes: __m512i, groups: i32) {
        // SAFETY: the caller vouches for the features and for room in the histogram's buffer.
        unsafe {
            let nonzero = _mm512_test_epi16_mask(codes, codes);
            if KIND == BYTES {
                self.counted += nonzero.count_ones();
            }
            if SUMS {
                self.nonzero = _mm512_mask_add_epi16(self.nonzero, nonzero, self.nonzero, self.one_16);
                self.groups = _mm512_mask_add_epi16(self.groups, nonzero, self.groups, _mm512_set1_epi32(groups));
            }
            if KEEP {
                let kept = _mm512_maskz_compress_epi16(nonzero, codes);
                _mm512_storeu_si512(self.histogram.end().cast(), kept);
                self.histogram.advance(nonzero.count_ones() as usize);
            }
        }
    }

    /// Moves the 16-bit sums to `to` before they can overflow.
    #[inline(always)]
    pub(super) unsafe fn flush(&mut self, to: &mut ParitySums<'_>) {
        if !SUMS {
            return;
        }
        // SAFETY: the caller vouches for the features.
        unsafe {
            let (nonzero, terms, groups) = (split(self.nonzero), split(self.terms), split(self.groups));
            let negative = split(self.negative);
            let all = _mm512_set1_epi32((self.pairs * u32::BITS) as i32);
            for half in 0..2 {
                let width = _mm512_add_epi32(_mm512_sub_epi32(all, self.unused[half]), negative[half]);
                let to = to.of(half);
                add_to(&mut to.0[NONZERO], nonzero[half]);
                add_to(&mut to.0[WIDTH], width);
                add_to(&mut to.0[TERMS], terms[half]);
                add_to(&mut to.0[NONZERO_G16], groups[half]);
            }
            let zero = _mm512_setzero_si512();
            (self.nonzero, self.terms, self.groups, self.negative) = (zero, zero, zero, zero);
            (self.unused, self.pairs) = ([zero; 2], 0);
        }
    }

    /// Smallest and largest value and the number of 0.0, over the `lines` lines of `from` that were coded. `None` if a value is
    /// not of the kind, NaN or infinite.
    #[inline(always)]
    pub(super) unsafe fn found(&self, from: Source<'_>, lines: usize) -> Option<([f32; 2], u32)> {
        let pixels = from.pixels;
        if KIND == BYTES {
            let all = lines * ((pixels - 1) * from.used.0 + from.used.1);
            let zeros = all as u32 - self.counted;
            // SAFETY: the caller vouches for the features.
            let high = unsafe {
                let [even, odd] = split(self.low);
                _mm512_reduce_max_epu32(_mm512_max_epu32(even, odd))
            };
            let extremes = if zeros > 0 { [0.0, high as f32] } else { extremes(from, lines) };
            return Some((extremes, zeros));
        }
        let used = ((1u32 << from.used.0) - 1) as __mmask16;
        // Padding of lanes and pairs is zero, and was counted.
        let filled = lines * ((pixels.next_multiple_of(FOUR) - pixels) * from.used.0 + (from.used.0 - from.used.1));
        // SAFETY: as above.
        let (zeros, low, high) = unsafe {
            let low = _mm512_mask_reduce_max_epu32(used, self.low);
            let high = if Self::SIGNED { _mm512_mask_reduce_max_epi32(used, self.high) } else { low as i32 };
            (_mm512_mask_reduce_add_epi32(used, self.zeros) as usize - filled, low, high)
        };
        let (negative, positive) = (low >> 31 == 1, high > 0);
        if high >= INFINITE as i32 || low >= INFINITE | 1 << 31 || negative && !Self::SIGNED {
            return None;
        }
        let extremes = match (negative || zeros > 0, positive || zeros > 0) {
            // If all values have one sign, the patterns hold only one of the extremes.
            (true, true) => [if negative { f32::from_bits(low) } else { 0.0 }, f32::from_bits(high.max(0) as u32)],
            _ => extremes(from, lines),
        };
        Some((extremes, zeros as u32))
    }
}

/// Smallest and largest value of lines where the vector loop found only one: lines without a zero and of one sign are rare.
fn extremes(from: Source<'_>, lines: usize) -> [f32; 2] {
    let Range { min, max } = from.range(lines);
    [min, max]
}
