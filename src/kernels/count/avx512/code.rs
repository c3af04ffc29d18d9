//! Codes, the widths of their groups, and what both add up to, sixteen pixels at a time.

use std::arch::x86_64::*;

use super::super::code::Encoder;
use super::super::counter::LaneSums;
use super::super::groups::GroupCounts;
use super::super::lanes::LaneTotals;
use super::super::lines::{Coding, Couple, Halves, LONGEST, PIXELS, SIGN, Source};
use super::super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::add::{BOOTH4, NAF, NONE, POPCOUNT, add_to, split, terms};
use crate::kernels::geometry::LANES;
use crate::kernels::tile::unrolled;

/// Pixels whose summaries are folded together: those of the largest group.
const FOLDED: usize = PIXELS[2];
/// Couples of them.
const COUPLES: usize = FOLDED / 2;
/// Bits of infinity.
const INFINITE: u32 = 0x7f80_0000;

/// Where the codes of some lines go.
pub(in super::super) struct Coded<'a> {
    pub(in super::super) codes: &'a mut [Couple],
    pub(in super::super) widths: [&'a mut [u8]; 3],
    pub(in super::super) nonzeros: &'a mut [u16],
    /// Groups by width.
    pub(in super::super) counts: &'a mut GroupCounts,
}

/// Codes `lines` lines of `from`: the codes, the widths of the groups that hold each pixel and, where codes are noted, the
/// non-zero ones side by side go to `to`; even and odd pixels are added to `sums`. Returns how many non-zero codes there
/// are, or nothing, and sums and totals are as they were, if a value is beyond the codes, NaN or infinite.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn code(
    coding: Coding,
    from: Source<'_>,
    lines: usize,
    to: Coded<'_>,
    sums: Option<&mut Halves<'_>>,
    totals: &mut LaneTotals,
) -> Option<usize> {
    let unused = &mut Halves { even: &mut LaneSums::default(), odd: None };
    // SAFETY: the caller vouches for the features.
    unsafe {
        match (sums, coding.encoder) {
            (None, None) => code_lines::<false, false, NONE>(coding, from, lines, to, unused, totals),
            (None, Some(_)) => code_lines::<false, true, NONE>(coding, from, lines, to, unused, totals),
            (Some(sums), None) => code_lines::<true, false, NONE>(coding, from, lines, to, sums, totals),
            (Some(sums), Some(Encoder::Naf)) => code_lines::<true, true, NAF>(coding, from, lines, to, sums, totals),
            (Some(sums), Some(Encoder::Popcount)) => {
                code_lines::<true, true, POPCOUNT>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Booth4)) => {
                code_lines::<true, true, BOOTH4>(coding, from, lines, to, sums, totals)
            }
            (Some(sums), Some(Encoder::Runs)) => code_lines::<true, true, NONE>(coding, from, lines, to, sums, totals),
        }
    }
}

/// As [`code`]; adds to `sums` if `SUMS`, keeps non-zero codes if `KEEP`. One function for all that call it: it is long.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bitalg,avx512vbmi2,popcnt")]
unsafe fn code_lines<const SUMS: bool, const KEEP: bool, const ENCODER: u8>(
    Coding { map, .. }: Coding,
    from: Source<'_>,
    lines: usize,
    to: Coded<'_>,
    sums: &mut Halves<'_>,
    totals: &mut LaneTotals,
) -> Option<usize> {
    let (pixels, stride) = (from.pixels, from.pixels.next_multiple_of(FOLDED));
    assert!(lines > 0 && pixels > 0 && from.x.len() >= (lines - 1) * from.row + pixels * LANES, "lines of pixels");
    assert!(to.codes.len() * 2 >= lines * stride, "room for codes");
    assert!(to.widths.iter().all(|widths| widths.len() >= lines * stride), "room for widths");
    assert!(to.nonzeros.len() >= lines * stride * LANES, "room for a couple of pixels more than there are");
    // SAFETY: the caller vouches for the features; values are read of the pixels that are there, codes and widths are
    // stored up to the next multiple of `FOLDED` pixels, and a store to `nonzeros` starts at most 32 for each earlier
    // couple after its start.
    unsafe {
        let mut coder = Coder::<SUMS, KEEP, ENCODER>::new(map.scale, to.nonzeros.as_mut_ptr());
        let counts = to.counts;
        let [widths_16, widths_64, widths_256] = to.widths;
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
                let odd = if (pixels - start) % 2 == 1 && pixels - start < FOLDED { 0 } else { !0 };
                match (pixels - start).div_ceil(2) {
                    1 => coder.chunk::<1>(x, odd, codes, widths, counts),
                    2 => coder.chunk::<2>(x, odd, codes, widths, counts),
                    3 => coder.chunk::<3>(x, odd, codes, widths, counts),
                    4 => coder.chunk::<4>(x, odd, codes, widths, counts),
                    5 => coder.chunk::<5>(x, odd, codes, widths, counts),
                    6 => coder.chunk::<6>(x, odd, codes, widths, counts),
                    7 => coder.chunk::<7>(x, odd, codes, widths, counts),
                    _ => coder.chunk::<COUPLES>(x, odd, codes, widths, counts),
                }
                unflushed += FOLDED;
            }
        }
        let used = ((1u32 << from.used.0) - 1) as __mmask16;
        // What fills up lanes and couples is zero.
        let filled = lines * ((pixels % 2) * from.used.0 + (from.used.0 - from.used.1));
        let zeros = _mm512_mask_reduce_add_epi32(used, coder.zeros) as usize - filled;
        let (high, low) =
            (_mm512_mask_reduce_max_epi32(used, coder.high), _mm512_mask_reduce_max_epu32(used, coder.low));
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
        if !finite || !fits(extremes[0]) || !fits(extremes[1]) {
            for line in (0..lines).map(|line| line * stride..line * stride + pixels) {
                let widths = [&widths_16[line.clone()], &widths_64[line.clone()], &widths_256[line]];
                counts.of_line(widths, |count| *count -= 1);
            }
            return None;
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
        Some(coder.kept)
    }
}

/// What lines add up to while they are coded; sums of 16 bits hold an even and an odd pixel of each lane.
struct Coder<const SUMS: bool, const KEEP: bool, const ENCODER: u8> {
    scale: __m512,
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
    nonzeros: *mut u16,
    kept: usize,
}

impl<const SUMS: bool, const KEEP: bool, const ENCODER: u8> Coder<SUMS, KEEP, ENCODER> {
    #[inline(always)]
    unsafe fn new(scale: f32, nonzeros: *mut u16) -> Self {
        // SAFETY: the caller vouches for the features.
        unsafe {
            let zero = _mm512_setzero_si512();
            Self {
                scale: _mm512_set1_ps(scale),
                high: _mm512_set1_epi32(i32::MIN),
                low: zero,
                zeros: zero,
                nonzero: zero,
                terms: zero,
                groups: zero,
                negative: zero,
                unused: [zero; 2],
                couples: 0,
                nonzeros,
                kept: 0,
            }
        }
    }

    /// `C` couples of pixels, of the last of which only the lanes of `odd` belong to an odd one.
    #[inline(always)]
    unsafe fn chunk<const C: usize>(
        &mut self,
        x: *const f32,
        odd: __mmask16,
        to: *mut __m512i,
        widths: [*mut u8; 3],
        counts: &mut GroupCounts,
    ) {
        // SAFETY: the caller vouches for the features, the pixels to read and room to store sixteen.
        unsafe {
            let mut codes = [_mm512_setzero_si512(); C];
            let mut summaries = codes;
            unrolled!(i < C, {
                let x = x.add(2 * i * LANES);
                let lanes = if i + 1 == C { odd } else { !0 };
                let values = [_mm512_loadu_ps(x), _mm512_maskz_loadu_ps(lanes, x.wrapping_add(LANES))];
                (codes[i], summaries[i]) = self.couple(values, to.add(i));
            });
            let mut all = [_mm512_setzero_si512(); COUPLES];
            all[..C].copy_from_slice(&summaries);
            let (groups, signs) = fold(all, widths);
            unrolled!(i < C, {
                self.see(codes[i], *groups.as_ptr().add(i));
            });
            if SUMS && signs {
                unrolled!(i < C, {
                    self.negative = _mm512_add_epi16(self.negative, _mm512_srli_epi16::<15>(codes[i]));
                });
            }
            // Scalar work, for which the vectors leave room.
            unrolled!(i < C, {
                *counts.of_16(2 * i, *widths[0].add(2 * i)) += 1;
                if i + 1 < C || odd != 0 {
                    *counts.of_16(2 * i + 1, *widths[0].add(2 * i + 1)) += 1;
                }
                if i.is_multiple_of(2) {
                    *counts.of_64(i / 2, *widths[1].add(2 * i)) += 1;
                }
            });
            *counts.of_256(*widths[2]) += 1;
        }
    }

    /// Codes a couple of pixels to `to`. Returns its codes, and their magnitudes with the signs.
    #[inline(always)]
    unsafe fn couple(&mut self, [a, b]: [__m512; 2], to: *mut __m512i) -> (__m512i, __m512i) {
        // SAFETY: the caller vouches for the features and for room.
        unsafe {
            let even = _mm512_cvtps_epi32(_mm512_mul_ps(a, self.scale));
            let odd = _mm512_cvtps_epi32(_mm512_mul_ps(b, self.scale));
            let both = _mm512_mask_blend_epi16(0xaaaa_aaaa, even, _mm512_slli_epi32::<16>(odd));
            _mm512_storeu_si512(to, both);
            for x in [a, b] {
                let pattern = _mm512_castps_si512(x);
                self.high = _mm512_max_epi32(self.high, pattern);
                self.low = _mm512_max_epu32(self.low, pattern);
                let zero = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x, _mm512_setzero_ps());
                self.zeros = _mm512_mask_add_epi32(self.zeros, zero, self.zeros, _mm512_set1_epi32(1));
            }
            let m = _mm512_abs_epi16(both);
            if SUMS {
                let low = _mm512_and_si512(m, _mm512_set1_epi32(0xffff));
                self.unused[0] = _mm512_add_epi32(self.unused[0], _mm512_lzcnt_epi32(low));
                self.unused[1] = _mm512_add_epi32(self.unused[1], _mm512_lzcnt_epi32(_mm512_srli_epi32::<16>(m)));
                self.couples += 1;
                if ENCODER != NONE {
                    self.terms = _mm512_add_epi16(self.terms, terms::<ENCODER>(m));
                }
            }
            (both, _mm512_ternarylogic_epi64::<0xf8>(m, both, _mm512_set1_epi16(SIGN as i16)))
        }
    }

    /// Adds what the codes of a couple, whose groups have the widths in the halves of `groups`, are.
    #[inline(always)]
    unsafe fn see(&mut self, codes: __m512i, groups: i32) {
        // SAFETY: the caller vouches for the features and for room in `nonzeros`.
        unsafe {
            let nonzero = _mm512_test_epi16_mask(codes, codes);
            if SUMS {
                self.nonzero = _mm512_mask_add_epi16(self.nonzero, nonzero, self.nonzero, _mm512_set1_epi16(1));
                self.groups = _mm512_mask_add_epi16(self.groups, nonzero, self.groups, _mm512_set1_epi32(groups));
            }
            if KEEP {
                let kept = _mm512_maskz_compress_epi16(nonzero, codes);
                _mm512_storeu_si512(self.nonzeros.add(self.kept).cast(), kept);
                self.kept += nonzero.count_ones() as usize;
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

/// Stores the widths of the groups of sixteen pixels, whose summaries come two a register; returns those of 16 for each
/// couple, in halves, and whether any code is negative.
#[inline(always)]
unsafe fn fold(s: [__m512i; COUPLES], [to_16, to_64, to_256]: [*mut u8; 3]) -> ([i32; COUPLES], bool) {
    // SAFETY: the caller vouches for the features and for room for sixteen widths of each.
    unsafe {
        // Each step puts what remains of two registers into one.
        let (a, b) = (join_32(s[0], s[1]), join_32(s[2], s[3]));
        let (c, d) = (join_32(s[4], s[5]), join_32(s[6], s[7]));
        let (low, high) = (join_64(a, b), join_64(c, d));
        let (even, odd) =
            (_mm512_shuffle_i64x2::<0b10_00_10_00>(low, high), _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high));
        let v = _mm512_or_si512(even, odd);
        let v = _mm512_or_si512(v, _mm512_shuffle_i64x2::<0b10_11_00_01>(v, v));
        // Pixels 0 to 7 are in the first quarter, the others in the third.
        let in_order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
        let of_16 = _mm512_maskz_permutexvar_epi16(0x5555_5555, in_order, v);
        let of_64 = _mm512_or_si512(of_16, _mm512_shuffle_epi32::<0b10_11_00_01>(of_16));
        let of_64 = _mm512_or_si512(of_64, _mm512_shuffle_epi32::<0b01_00_11_10>(of_64));
        let of_256 = _mm512_or_si512(of_64, _mm512_shuffle_i32x4::<0b10_11_00_01>(of_64, of_64));
        let of_256 = _mm512_or_si512(of_256, _mm512_shuffle_i32x4::<0b01_00_11_10>(of_256, of_256));
        let widths = widths_of(of_16);
        _mm_storeu_si128(to_16.cast(), _mm512_cvtepi32_epi8(widths));
        _mm_storeu_si128(to_64.cast(), _mm512_cvtepi32_epi8(widths_of(of_64)));
        _mm_storeu_si128(to_256.cast(), _mm512_cvtepi32_epi8(widths_of(of_256)));
        let mut groups = [0; COUPLES];
        _mm256_storeu_si256(groups.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(widths));
        (groups, _mm_cvtsi128_si32(_mm512_castsi512_si128(of_256)) & i32::from(SIGN) != 0)
    }
}

/// Neighbouring pairs of 32 bits of each register or'ed, side by side.
#[inline(always)]
unsafe fn join_32(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe { _mm512_or_si512(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)) }
}

/// Neighbouring pairs of 64 bits of each register or'ed, side by side.
#[inline(always)]
unsafe fn join_64(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe { _mm512_or_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)) }
}

/// Widths of the groups that sixteen summaries are of.
#[inline(always)]
unsafe fn widths_of(summaries: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let sign = _mm512_srli_epi32::<15>(summaries);
        let m = _mm512_and_si512(summaries, _mm512_set1_epi32(i32::from(!SIGN)));
        let unused = _mm512_lzcnt_epi32(m);
        _mm512_sub_epi32(_mm512_add_epi32(sign, _mm512_set1_epi32(32)), unused)
    }
}
