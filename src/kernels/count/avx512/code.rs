//! Codes, the widths of their groups, and what both add up to, sixteen pixels at a time.

use std::arch::x86_64::*;

use super::super::code::Encoder;
use super::super::counter::LaneSums;
use super::super::groups::GroupCounts;
use super::super::histogram::{BLOCK, CodeHistogram, Tally};
use super::super::lanes::LaneTotals;
use super::super::lines::{Coding, Couple, Halves, LONGEST, SIGN, Source};
use super::super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::add::{BOOTH4, NAF, NONE, POPCOUNT, add_to, split, terms};
use super::fold::{FOLDED, FOUR, fold, join_32};
use crate::kernels::geometry::LANES;

/// Bits of infinity.
const INFINITE: u32 = 0x7f80_0000;

/// Where the codes of some lines go.
pub(in super::super) struct Coded<'a> {
    pub(in super::super) codes: &'a mut [Couple],
    pub(in super::super) widths: [&'a mut [u8]; 3],
    /// Groups by width.
    pub(in super::super) counts: &'a mut GroupCounts,
    /// How often each code is seen.
    pub(in super::super) histogram: &'a mut CodeHistogram,
}

/// Codes `lines` lines of `from`: the codes and the widths of the groups that hold each pixel go to `to`, where the groups and,
/// where codes are noted, the non-zero codes are counted; even and odd pixels are added to `sums`. False, and all that is
/// added up is as it was, if a value is beyond the codes, NaN or infinite.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn code(
    coding: Coding,
    from: Source<'_>,
    lines: usize,
    mut to: Coded<'_>,
    mut sums: Option<&mut Halves<'_>>,
    totals: &mut LaneTotals,
) -> bool {
    // SAFETY: the caller vouches for the features.
    unsafe {
        // A negative value where the codes have none is rare.
        if coding.map.lo == 0 && code_as::<false>(coding, from, lines, &mut to, sums.as_deref_mut(), totals) {
            return true;
        }
        code_as::<true>(coding, from, lines, &mut to, sums, totals)
    }
}

/// As [`code`]; false as well if a value is negative, or -0.0, and not `SIGNED`.
#[inline(always)]
unsafe fn code_as<const SIGNED: bool>(
    coding: Coding,
    from: Source<'_>,
    lines: usize,
    to: &mut Coded<'_>,
    sums: Option<&mut Halves<'_>>,
    totals: &mut LaneTotals,
) -> bool {
    let unused = &mut Halves { even: &mut LaneSums::default(), odd: None };
    // SAFETY: the caller vouches for the features.
    unsafe {
        match (sums, coding.encoder) {
            (None, None) => code_lines::<SIGNED, false, false, NONE>(coding, from, lines, to, unused, totals),
            (None, Some(_)) => code_lines::<SIGNED, false, true, NONE>(coding, from, lines, to, unused, totals),
            (Some(sums), None) => code_lines::<SIGNED, true, false, NONE>(coding, from, lines, to, sums, totals),
            (Some(sums), Some(Encoder::Naf)) => {
                code_lines::<SIGNED, true, true, NAF>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Popcount)) => {
                code_lines::<SIGNED, true, true, POPCOUNT>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Booth4)) => {
                code_lines::<SIGNED, true, true, BOOTH4>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Runs)) => {
                code_lines::<SIGNED, true, true, NONE>(coding, from, lines, to, sums, totals)
            }
        }
    }
}

/// As [`code`]; adds to `sums` if `SUMS`, counts codes if `KEEP`. One function for all that call it: it is long.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bitalg,avx512vbmi2,popcnt")]
unsafe fn code_lines<const SIGNED: bool, const SUMS: bool, const KEEP: bool, const ENCODER: u8>(
    Coding { map, .. }: Coding,
    from: Source<'_>,
    lines: usize,
    to: &mut Coded<'_>,
    sums: &mut Halves<'_>,
    totals: &mut LaneTotals,
) -> bool {
    let (pixels, stride) = (from.pixels, from.pixels.next_multiple_of(FOLDED));
    assert!(lines > 0 && pixels > 0 && from.x.len() >= (lines - 1) * from.row + pixels * LANES, "lines of pixels");
    assert!(to.codes.len() * 2 >= lines * stride, "room for codes");
    assert!(to.widths.iter().all(|widths| widths.len() >= lines * stride), "room for widths");
    // SAFETY: the caller vouches for the features; values are read of the pixels that are there, codes and widths are
    // stored up to the next multiple of `FOLDED` pixels; `chunk` makes room in the tally for all its couples and one more.
    unsafe {
        let mut coder = Coder::<SIGNED, SUMS, KEEP, ENCODER>::new(map.scale, to.histogram.tally());
        let counts = &mut *to.counts;
        let [widths_16, widths_64, widths_256] = &mut to.widths;
        let (to_16, to_64, to_256) = (widths_16.as_mut_ptr(), widths_64.as_mut_ptr(), widths_256.as_mut_ptr());
        let codes = to.codes.as_mut_ptr().cast::<__m512i>();
        let mut added = [LaneSums::default(); 2];
        let (mut unflushed, mut flushed) = (0, false);
        for line in 0..lines {
            let x = from.x.as_ptr().add(line * from.row);
            for start in (0..pixels).step_by(FOLDED) {
                if SUMS && unflushed + FOLDED > 2 * LONGEST {
                    let [even, odd] = &mut added;
                    coder.flush(&mut Halves { even, odd: Some(odd) });
                    (unflushed, flushed) = (0, true);
                }
                let x = x.add(start * LANES);
                let at = line * stride + start;
                let codes = codes.add(at / 2);
                let widths = [to_16.add(at), to_64.add(at), to_256.add(at)];
                coder.chunk(x, (pixels - start).min(FOLDED), codes, widths, counts);
                unflushed += FOLDED;
            }
        }
        let used = ((1u32 << from.used.0) - 1) as __mmask16;
        // What fills up lanes and couples is zero.
        let filled = lines * ((pixels.next_multiple_of(FOUR) - pixels) * from.used.0 + (from.used.0 - from.used.1));
        let zeros = _mm512_mask_reduce_add_epi32(used, coder.zeros) as usize - filled;
        let low = _mm512_mask_reduce_max_epu32(used, coder.low);
        let high = if SIGNED { _mm512_mask_reduce_max_epi32(used, coder.high) } else { low as i32 };
        let (negative, positive) = (low >> 31 == 1, high > 0);
        let finite = high < INFINITE as i32 && low < INFINITE | 1 << 31;
        let extremes = match (negative || zeros > 0, positive || zeros > 0) {
            // Of values of one sign the patterns tell one extreme alone.
            (true, true) => [if negative { f32::from_bits(low) } else { 0.0 }, f32::from_bits(high.max(0) as u32)],
            _ => from.extremes(lines),
        };
        let fits = |extreme| {
            let (rounded, code) = map.rounded_and_code(extreme);
            rounded == code
        };
        if !finite || negative && !SIGNED || !fits(extremes[0]) || !fits(extremes[1]) {
            for line in (0..lines).map(|line| line * stride..line * stride + pixels) {
                let widths = [&widths_16[line.clone()], &widths_64[line.clone()], &widths_256[line]];
                counts.of_line(widths, |count| *count -= 1);
            }
            if KEEP {
                coder.tally.count_all();
                drop(coder);
                let codes = to.codes[..lines * stride / 2].iter().flat_map(|couple| couple.0.as_flattened());
                codes.filter(|&&code| code != 0).for_each(|&code| to.histogram.remove(code as u16));
            }
            return false;
        }
        let [low, high] = extremes;
        totals.low[0] = totals.low[0].min(low);
        totals.high[0] = totals.high[0].max(high);
        totals.zeros[0] += zeros as u32;
        coder.flush(sums);
        if SUMS && flushed {
            for (half, added) in added.iter().enumerate() {
                for (to, added) in sums.of(half).0.iter_mut().zip(&added.0) {
                    add_to(to, _mm512_loadu_si512(added.as_ptr().cast()));
                }
            }
        }
        true
    }
}

/// What lines add up to while they are coded; sums of 16 bits hold an even and an odd pixel of each lane.
struct Coder<'a, const SIGNED: bool, const SUMS: bool, const KEEP: bool, const ENCODER: u8> {
    scale: __m512,
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
    tally: Tally<'a>,
}

impl<'a, const SIGNED: bool, const SUMS: bool, const KEEP: bool, const ENCODER: u8>
    Coder<'a, SIGNED, SUMS, KEEP, ENCODER>
{
    #[inline(always)]
    unsafe fn new(scale: f32, tally: Tally<'a>) -> Self {
        // SAFETY: the caller vouches for the features.
        unsafe {
            let zero = _mm512_setzero_si512();
            Self {
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
                tally,
            }
        }
    }

    /// Up to sixteen pixels. Loops have bodies of four, so that sums are not put off: for what waits there are no registers.
    #[inline(always)]
    unsafe fn chunk(
        &mut self,
        x: *const f32,
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
                d = self.four(x.add(four * FOUR * LANES), FOUR, to.add(four * FOUR / 2));
                if KEEP {
                    self.tally.count_blocks(blocks);
                }
            }
            if whole < all {
                (a, b, c) = (b, c, d);
                d = self.four(x.add(whole * FOUR * LANES), pixels % FOUR, to.add(whole * FOUR / 2));
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
            if SIGNED && SUMS && signs {
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
    unsafe fn four(&mut self, x: *const f32, pixels: usize, to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features, the pixels to read and room for four.
        unsafe {
            let pixel = |pixel: usize| {
                let there: __mmask16 = if pixel < pixels { !0 } else { 0 };
                _mm512_maskz_loadu_ps(there, x.wrapping_add(pixel * LANES))
            };
            let first = self.couple([pixel(0), pixel(1)], to);
            join_32(first, self.couple([pixel(2), pixel(3)], to.add(1)))
        }
    }

    /// Codes a couple of pixels to `to`. Returns the magnitudes with the signs.
    #[inline(always)]
    unsafe fn couple(&mut self, [a, b]: [__m512; 2], to: *mut __m512i) -> __m512i {
        // SAFETY: the caller vouches for the features and for room.
        unsafe {
            let even = _mm512_cvtps_epi32(_mm512_mul_ps(a, self.scale));
            let odd = _mm512_cvtps_epi32(_mm512_mul_ps(b, self.scale));
            let both = _mm512_mask_blend_epi16(0xaaaa_aaaa, even, _mm512_slli_epi32::<16>(odd));
            _mm512_storeu_si512(to, both);
            for x in [a, b] {
                let pattern = _mm512_castps_si512(x);
                if SIGNED {
                    self.high = _mm512_max_epi32(self.high, pattern);
                }
                self.low = _mm512_max_epu32(self.low, pattern);
                let zero = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, _mm512_setzero_ps());
                self.zeros = _mm512_mask_add_epi32(self.zeros, zero, self.zeros, self.one);
            }
            let m = if SIGNED { _mm512_abs_epi16(both) } else { both };
            if SUMS {
                let halves = if SIGNED { split(m) } else { [even, odd] };
                for (unused, m) in self.unused.iter_mut().zip(halves) {
                    *unused = _mm512_add_epi32(*unused, _mm512_lzcnt_epi32(m));
                }
                self.couples += 1;
                if ENCODER != NONE {
                    self.terms = _mm512_add_epi16(self.terms, terms::<ENCODER>(m));
                }
            }
            if SIGNED { _mm512_ternarylogic_epi64::<0xf8>(m, both, _mm512_set1_epi16(SIGN as i16)) } else { m }
        }
    }

    /// Adds what the codes of a couple, whose groups have the widths in the halves of `groups`, are.
    #[inline(always)]
    unsafe fn see(&mut self, codes: __m512i, groups: i32) {
        // SAFETY: the caller vouches for the features and for room in the tally.
        unsafe {
            let nonzero = _mm512_test_epi16_mask(codes, codes);
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
    unsafe fn flush(&mut self, to: &mut Halves<'_>) {
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
}
