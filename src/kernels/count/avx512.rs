//! The two inner loops of the counting pass in AVX-512, two pixels a register; the portable loops are their oracle.

use std::arch::x86_64::*;

use super::classes::Run;
use super::code::{CUT, CodeMap, Encoder, MAGIC};
use super::counter::SIGN;
use super::lanes::LaneTotals;
use super::sums::{LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH};
use crate::kernels::geometry::LANES;

/// NaN, infinity and minus infinity, as `vfpclassps` numbers them.
const NOT_FINITE: i32 = 0x01 | 0x08 | 0x10 | 0x80;

/// Codes pairs of pixels, with the summary of each pixel's codes; the non-zero codes go to the front of `nonzeros`.
/// Returns how many there are.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(super) unsafe fn code(
    map: CodeMap,
    pixels: &[[[f32; LANES]; 2]],
    codes: &mut [[[i16; LANES]; 2]],
    summaries: &mut [[u16; 2]],
    nonzeros: &mut [u16],
    totals: &mut LaneTotals,
) -> usize {
    assert!(nonzeros.len() >= (pixels.len() + 1) * 2 * LANES, "room for a pair of pixels more than there are");
    let mut kept = 0;
    // SAFETY: the caller vouches for the features; loads and stores are of whole arrays of sixteen or thirty-two lanes,
    // and a store to `nonzeros` starts at most 32 for each earlier pair after its start.
    unsafe {
        let one = _mm512_set1_epi32(1);
        let sign = _mm512_set1_epi16(SIGN as i16);
        let (scale, cut, uncut, magic) =
            (_mm512_set1_ps(map.scale), _mm512_set1_ps(CUT), _mm512_set1_ps(-CUT), _mm512_set1_ps(MAGIC));
        let (lo, hi, magic_bits) =
            (_mm512_set1_epi32(map.lo), _mm512_set1_epi32(map.hi), _mm512_set1_epi32(MAGIC.to_bits() as i32));
        let (mut low, mut high) = (_mm512_loadu_ps(totals.low.as_ptr()), _mm512_loadu_ps(totals.high.as_ptr()));
        let mut zeros = _mm512_loadu_si512(totals.zeros.as_ptr().cast());
        let mut saturated = _mm512_loadu_si512(totals.saturated.as_ptr().cast());
        let mut bad = 0;
        for ((pair, codes), summaries) in pixels.iter().zip(codes).zip(summaries) {
            let mut halves = [_mm256_setzero_si256(); 2];
            for (values, half) in pair.iter().zip(&mut halves) {
                let x = _mm512_loadu_ps(values.as_ptr());
                let y = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(x, scale), uncut), cut);
                let rounded = _mm512_sub_epi32(_mm512_castps_si512(_mm512_add_ps(y, magic)), magic_bits);
                let code = _mm512_max_epi32(_mm512_min_epi32(rounded, hi), lo);
                *half = _mm512_cvtepi32_epi16(code);
                bad |= _mm512_fpclass_ps_mask::<NOT_FINITE>(x);
                zeros = _mm512_mask_add_epi32(zeros, _mm512_cmpeq_ps_mask(x, _mm512_setzero_ps()), zeros, one);
                saturated = _mm512_mask_add_epi32(saturated, _mm512_cmpneq_epi32_mask(rounded, code), saturated, one);
                low = _mm512_min_ps(x, low);
                high = _mm512_max_ps(x, high);
            }
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(halves[0]), halves[1]);
            _mm512_storeu_si512(codes.as_mut_ptr().cast(), both);
            let nonzero = _mm512_test_epi16_mask(both, both);
            let to = nonzeros.as_mut_ptr().add(kept);
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi16(nonzero, both));
            kept += nonzero.count_ones() as usize;
            // Magnitudes and signs or'ed, within each half.
            let all = _mm512_or_si512(_mm512_abs_epi16(both), _mm512_and_si512(both, sign));
            let all = _mm512_or_si512(all, _mm512_shuffle_i64x2::<0b10_11_00_01>(all, all));
            let all = _mm512_or_si512(all, _mm512_shuffle_epi32::<0b01_00_11_10>(all));
            let all = _mm512_or_si512(all, _mm512_shuffle_epi32::<0b10_11_00_01>(all));
            let all = _mm512_or_si512(all, _mm512_srli_epi32::<16>(all));
            let first = _mm_cvtsi128_si32(_mm512_castsi512_si128(all)) as u16;
            let second = _mm_cvtsi128_si32(_mm512_extracti32x4_epi32::<2>(all)) as u16;
            *summaries = [first, second];
        }
        _mm512_storeu_ps(totals.low.as_mut_ptr(), low);
        _mm512_storeu_ps(totals.high.as_mut_ptr(), high);
        _mm512_storeu_si512(totals.zeros.as_mut_ptr().cast(), zeros);
        _mm512_storeu_si512(totals.saturated.as_mut_ptr().cast(), saturated);
        totals.not_finite[0] |= u32::from(bad);
    }
    kept
}

/// Adds an even run of pixels to the lane sums. False, and nothing is done, for the encoder that is a table.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(super) unsafe fn add_pairs(
    codes: &[[i16; LANES]],
    widths: &[u8],
    run: Run,
    encoder: Encoder,
    to: &mut [[u16; LANES]; LANE_SUMS],
) -> bool {
    // SAFETY: the caller vouches for the features; pixels are read through slices.
    unsafe {
        match encoder {
            Encoder::Naf => add_with(codes, widths, run, to, |m| {
                let half = _mm512_srli_epi16::<1>(m);
                _mm512_popcnt_epi16(_mm512_xor_si512(_mm512_add_epi16(m, half), half))
            }),
            Encoder::Popcount => add_with(codes, widths, run, to, |m| _mm512_popcnt_epi16(m)),
            Encoder::Booth4 => add_with(codes, widths, run, to, |m| {
                let edges = _mm512_xor_si512(m, _mm512_add_epi16(m, m));
                let digits = _mm512_or_si512(edges, _mm512_srli_epi16::<1>(edges));
                _mm512_popcnt_epi16(_mm512_and_si512(digits, _mm512_set1_epi16(0x5555)))
            }),
            Encoder::Runs => return false,
        }
    }
    true
}

/// As [`add_pairs`], with the encoder's `terms` of thirty-two magnitudes.
#[inline(always)]
unsafe fn add_with(
    codes: &[[i16; LANES]],
    widths: &[u8],
    run: Run,
    to: &mut [[u16; LANES]; LANE_SUMS],
    terms: impl Fn(__m512i) -> __m512i,
) {
    let Run { start, count, step } = run;
    // SAFETY: the caller vouches for the features; loads are of whole arrays of sixteen lanes.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); LANE_SUMS];
        let one = _mm512_set1_epi16(1);
        let load = |at: usize| _mm256_loadu_si256(codes[at].as_ptr().cast());
        for pair in 0..count / 2 {
            let (first, second) = (start + 2 * pair * step, start + (2 * pair + 1) * step);
            let code = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(first)), load(second));
            let m = _mm512_abs_epi16(code);
            let nonzero = _mm512_test_epi16_mask(m, m);
            // Every bit below the highest set, so that their count is the width.
            let smeared = _mm512_or_si512(m, _mm512_srli_epi16::<1>(m));
            let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<2>(smeared));
            let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<4>(smeared));
            let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<8>(smeared));
            let width = _mm512_add_epi16(_mm512_popcnt_epi16(smeared), _mm512_srli_epi16::<15>(code));
            let groups = [widths[first], widths[second]].map(|width| _mm256_set1_epi16(i16::from(width)));
            let group = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(groups[0]), groups[1]);
            sums[NONZERO] = _mm512_mask_add_epi16(sums[NONZERO], nonzero, sums[NONZERO], one);
            sums[WIDTH] = _mm512_add_epi16(sums[WIDTH], width);
            sums[TERMS] = _mm512_add_epi16(sums[TERMS], terms(m));
            sums[NONZERO_G16] = _mm512_mask_add_epi16(sums[NONZERO_G16], nonzero, sums[NONZERO_G16], group);
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            let halves = _mm256_add_epi16(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
            let before = _mm256_loadu_si256(to.as_ptr().cast());
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_add_epi16(before, halves));
        }
    }
}
