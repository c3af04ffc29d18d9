//! What codes are made of, couple by couple.

use std::arch::x86_64::*;

use super::super::groups::GroupCounts;
use super::super::histogram::{BLOCK, Tally};
use super::super::lines::{Halves, SIGN};
use super::super::range::Range;
use super::super::source::{Source, Strided, Values};
use super::super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::add::{NONE, add_to, split, terms};
use super::fold::{FOLDED, FOUR, fold, join_32};
use crate::kernels::geometry::{LANES, LINE};
use crate::kernels::tile::{NEAR, prefetch};

/// How many bytes ahead reals are called to the cache: those of large maps come from memory.
const AHEAD: usize = 2048;
/// Bits of infinity.
const INFINITE: u32 = 0x7f80_0000;

// Kinds of values that have loops of their own.
/// Reals of either sign.
pub(super) const REALS: u8 = 0;
/// Reals of which none is negative.
pub(super) const NOT_NEGATIVE: u8 = 1;
/// Codes of 0 to 255 in bytes.
pub(super) const BYTES: u8 = 2;

/// What lines add up to while they are coded; sums of 16 bits hold an even and an odd pixel of each lane.
pub(super) struct Coder<'a, const KIND: u8, const SUMS: bool, const KEEP: bool, const ENCODER: u8> {
    scale: __m512,
    /// Bytes from an even pixel to the next even one, and to the odd one beside it.
    pub(super) couple: usize,
    odd: isize,
    /// Ones of 32 and of 16 bits, of which the compiler does not know that they are: it would make vectors of masks.
    one: __m512i,
    one_16: __m512i,
    /// Largest pattern of a value as a signed integer, and as an unsigned one: positive and negative values order so.
    high: __m512i,
    low: __m512i,
    zeros: __m512i,
    nonzero: __m512i,
    terms: __m512i,
    groups: __m512i,
    negative: __m512i,
    /// Leading zeros of 32-bit magnitudes of even and odd pixels, and how many of each there were.
    unused: [__m512i; 2],
    couples: u32,
    /// Codes that are not zero, where values come as codes.
    counted: u32,
    pub(super) tally: Tally<'a>,
}

impl<'a, const KIND: u8, const SUMS: bool, const KEEP: bool, const ENCODER: u8> Coder<'a, KIND, SUMS, KEEP, ENCODER> {
    const SIGNED: bool = KIND == REALS;

    #[inline(always)]
    pub(super) unsafe fn new(scale: f32, values: Values<'_>, tally: Tally<'a>) -> Self {
        let (couple, odd) = match values {
            Values::Bytes(plane) => (plane.couple, plane.odd),
            Values::Reals(Strided { pixel, .. }) => (2 * pixel, pixel as isize),
        };
        // SAFETY: the caller vouches for the features.
        unsafe {
            let zero = _mm512_setzero_si512();
            Self {
                // Reals and cells have four bytes each.
                couple: couple * 4,
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
                couples: 0,
                counted: 0,
                tally,
            }
        }
    }

    /// Up to sixteen pixels. Loops have bodies of four, so that sums are not put off: for what waits there are no registers.
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
            // Codes that wait are counted a part beside each four: vectors leave room for scalar work.
            // A table in place of a division by the fours.
            let blocks = if KEEP { (self.tally.waiting() / BLOCK) as u32 * [0, 12, 6, 4, 3][all] / 12 } else { 0 };
            let zero = _mm512_setzero_si512();
            // The last of them, which move up.
            let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
            for four in 0..whole {
                (a, b, c) = (b, c, d);
                let x = x.add(four * FOUR / 2 * self.couple);
                if KIND != BYTES && self.odd == LINE as isize {
                    for line in (0..FOUR * LINE).step_by(LINE) {
                        prefetch::<_, NEAR>(x.wrapping_add(AHEAD + line));
                    }
                }
                d = self.four(x, FOUR, to.add(four * FOUR / 2));
                if KEEP {
                    self.tally.count_blocks(blocks);
                }
            }
            if whole < all {
                (a, b, c) = (b, c, d);
                d = self.four(x.add(whole * FOUR / 2 * self.couple), pixels % FOUR, to.add(whole * FOUR / 2));
                if KEEP {
                    self.tally.count_blocks(blocks);
                }
            }
            for _ in all..FOLDED / FOUR {
                (a, b, c, d) = (b, c, d, zero);
            }
            let (groups, signs) = fold([a, b, c, d], widths);
            if KEEP {
                self.tally.make_room::<{ FOLDED * LANES + 2 * LANES }>();
            }
            for couple in 0..pixels.div_ceil(2) {
                self.see(_mm512_loadu_si512(to.add(couple)), *groups.as_ptr().add(couple));
            }
            if Self::SIGNED && SUMS && signs {
                for couple in 0..pixels.div_ceil(2) {
                    let negative = _mm512_srli_epi16::<15>(_mm512_loadu_si512(to.add(couple)));
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

    /// Codes the first `pixels` of four pixels to `to`, and zeros for the rest. Returns the magnitudes with the signs, joined.
    #[inline(always)]
    unsafe fn four(&mut self, x: *const u8, pixels: usize, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features, the pixels to read and room for four.
        unsafe {
            let first = self.coded(x, pixels, to);
            join_32(first, self.coded(x.wrapping_add(self.couple), pixels.saturating_sub(2), to.add(1)))
        }
    }

    /// Codes the first `pixels` of a couple to `to`. Returns the magnitudes with the signs.
    #[inline(always)]
    unsafe fn coded(&mut self, x: *const u8, pixels: usize, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features, the pixels to read and room for two.
        unsafe {
            let x = [x, x.wrapping_offset(self.odd)];
            let there: [__mmask16; 2] = [if pixels > 0 { !0 } else { 0 }, if pixels > 1 { !0 } else { 0 }];
            if KIND == BYTES {
                let even = _mm_maskz_loadu_epi8(there[0], x[0].cast());
                self.bytes(even, _mm_maskz_loadu_epi8(there[1], x[1].cast()), to)
            } else {
                let even = _mm512_maskz_loadu_ps(there[0], x[0].cast());
                self.reals(even, _mm512_maskz_loadu_ps(there[1], x[1].cast()), to)
            }
        }
    }

    /// Codes a couple of pixels to `to`. Returns the magnitudes with the signs.
    #[inline(always)]
    unsafe fn reals(&mut self, a: __m512, b: __m512, to: *mut __m512i) -> __m512i {
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

    /// As [`Self::reals`], of codes.
    #[inline(always)]
    unsafe fn bytes(&mut self, even: __m128i, odd: __m128i, to: *mut __m512i) -> __m512i {
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

    /// Adds the magnitudes of a couple, which come split as well.
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
            self.couples += 1;
            if ENCODER != NONE {
                self.terms = _mm512_add_epi16(self.terms, terms::<ENCODER>(m));
            }
        }
    }

    /// Adds what the codes of a couple, whose groups have the widths in the halves of `groups`, are.
    #[inline(always)]
    unsafe fn see(&mut self, codes: __m512i, groups: i32) {
        // SAFETY: the caller vouches for the features and for room in the tally.
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
                _mm512_storeu_si512(self.tally.end().cast(), kept);
                self.tally.wait(nonzero.count_ones() as usize);
            }
        }
    }

    /// Moves the sums on before they can overflow.
    #[inline(always)]
    pub(super) unsafe fn flush(&mut self, to: &mut Halves<'_>) {
        if !SUMS {
            return;
        }
        // SAFETY: the caller vouches for the features.
        unsafe {
            let (nonzero, terms, groups) = (split(self.nonzero), split(self.terms), split(self.groups));
            let negative = split(self.negative);
            let all = _mm512_set1_epi32((self.couples * u32::BITS) as i32);
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
            (self.unused, self.couples) = ([zero; 2], 0);
        }
    }

    /// Smallest and largest value and how many are 0.0, of the `lines` lines `from` that were coded; none if a value is not of
    /// the kind, NaN or infinite.
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
        // What fills up lanes and couples is zero.
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
            // Of values of one sign the patterns tell one extreme alone.
            (true, true) => [if negative { f32::from_bits(low) } else { 0.0 }, f32::from_bits(high.max(0) as u32)],
            _ => extremes(from, lines),
        };
        Some((extremes, zeros as u32))
    }
}

/// Smallest and largest value of lines, where vectors did not tell: few have no zero and one sign.
fn extremes(from: Source<'_>, lines: usize) -> [f32; 2] {
    let Range { min, max } = from.range(lines);
    [min, max]
}
