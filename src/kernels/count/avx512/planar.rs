//! Planar operands: sixteen columns per register.

use std::arch::x86_64::*;

use super::super::code::Encoder;
use super::super::groups::GroupCounts;
use super::super::histogram::HistogramWriter;
use super::super::lines::{Coding, PIXELS, SIGN};
use super::super::planar::{Panel, PanelSums};
use super::super::sums::{NONZERO, NONZERO_G16, TERMS, WIDTH};
use super::add::{BOOTH4, NAF, NONE, POPCOUNT, add_to, terms};
use super::fold::widths_of;
use crate::kernels::geometry::LANES;

/// Smallest and largest value of the panel and the number of 0.0; `None` if a value is NaN or infinite.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
pub(in super::super) unsafe fn survey(panel: Panel<'_>) -> Option<([f32; 2], u32)> {
    let there = panel.mask();
    let (mut low, mut high) = (_mm512_set1_ps(f32::INFINITY), _mm512_set1_ps(f32::NEG_INFINITY));
    let (mut largest, mut zeros) = (_mm512_setzero_si512(), 0);
    for row in 0..panel.rows {
        for channel in 0..panel.channels {
            // SAFETY: the caller vouches for the features; masked-off columns are not read.
            let x = unsafe { _mm512_maskz_loadu_ps(there, panel.at(row, channel).as_ptr()) };
            low = _mm512_mask_min_ps(low, there, low, x);
            high = _mm512_mask_max_ps(high, there, high, x);
            largest = _mm512_max_epu32(largest, _mm512_castps_si512(_mm512_abs_ps(x)));
            zeros += _mm512_mask_cmp_ps_mask::<_CMP_EQ_OQ>(there, x, _mm512_setzero_ps()).count_ones();
        }
    }
    let finite = _mm512_reduce_max_epu32(largest) < f32::INFINITY.to_bits();
    finite.then(|| ([_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high)], zeros))
}

/// Adds up columns whose values are all in the range of the codes.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn add_up(
    panel: Panel<'_>,
    Coding { map, encoder }: Coding,
    counts: &mut GroupCounts,
    histogram: &mut HistogramWriter<'_>,
    sums: &mut PanelSums,
) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        match encoder {
            None => add_up_as::<false, { NONE }>(panel, map.scale, counts, histogram, sums),
            Some(Encoder::Naf) => add_up_as::<true, { NAF }>(panel, map.scale, counts, histogram, sums),
            Some(Encoder::Popcount) => add_up_as::<true, { POPCOUNT }>(panel, map.scale, counts, histogram, sums),
            Some(Encoder::Booth4) => add_up_as::<true, { BOOTH4 }>(panel, map.scale, counts, histogram, sums),
            Some(Encoder::Runs) => unreachable!("a table, which the portable loop looks up"),
        }
    }
}

/// As [`add_up`]; counts codes if `KEEP`.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bitalg,popcnt")]
unsafe fn add_up_as<const KEEP: bool, const ENCODER: u8>(
    panel: Panel<'_>,
    scale: f32,
    counts: &mut GroupCounts,
    histogram: &mut HistogramWriter<'_>,
    sums: &mut PanelSums,
) {
    let there = panel.mask();
    let (scale, one, thirty_two) = (_mm512_set1_ps(scale), _mm512_set1_epi32(1), _mm512_set1_epi32(32));
    let zero = _mm512_setzero_si512();
    let mut groups = [[zero; 2]; 3];
    let mut codes = [zero; LANES];
    for row in 0..panel.rows {
        // SAFETY: the caller vouches for the features; masked-off columns are not read; the arrays hold sixteen integers.
        unsafe {
            let mut summaries = zero;
            for channel in 0..panel.channels {
                let codes = &mut codes[channel];
                let x = _mm512_maskz_loadu_ps(there, panel.at(row, channel).as_ptr());
                *codes = _mm512_cvtps_epi32(_mm512_mul_ps(x, scale));
                let sign = _mm512_and_si512(_mm512_srai_epi32::<16>(*codes), _mm512_set1_epi32(i32::from(SIGN)));
                summaries = _mm512_ternarylogic_epi32::<0xfe>(summaries, _mm512_abs_epi32(*codes), sign);
                if KEEP {
                    let mut each = [0; LANES];
                    _mm256_storeu_si256(each.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(*codes));
                    for &code in &each[..panel.used] {
                        histogram.add(code);
                    }
                }
            }
            let of_64 = _mm512_or_si512(summaries, _mm512_shuffle_epi32::<0b10_11_00_01>(summaries));
            let of_64 = _mm512_or_si512(of_64, _mm512_shuffle_epi32::<0b01_00_11_10>(of_64));
            let of_256 = _mm512_or_si512(of_64, _mm512_shuffle_i32x4::<0b10_11_00_01>(of_64, of_64));
            let of_256 = _mm512_or_si512(of_256, _mm512_shuffle_i32x4::<0b01_00_11_10>(of_256, of_256));
            let widths = [widths_of(summaries), widths_of(of_64), widths_of(of_256)];
            let mut each = [[0; LANES]; 3];
            for size in 0..3 {
                let widths = widths[size];
                groups[size][0] = _mm512_add_epi32(groups[size][0], widths);
                let none = _mm512_testn_epi32_mask(widths, widths);
                groups[size][1] = _mm512_mask_add_epi32(groups[size][1], none, groups[size][1], one);
                _mm_storeu_si128(each[size].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(widths));
            }
            // No closures: they would not be inlined here.
            for column in 0..panel.used {
                *counts.of_16(column, each[0][column]) += 1;
            }
            for four in 0..panel.used.div_ceil(PIXELS[1]) {
                *counts.of_64(four, each[1][four * PIXELS[1]]) += 1;
            }
            *counts.of_256(each[2][0]) += 1;
            for channel in 0..panel.channels {
                let (code, sums) = (codes[channel], &mut sums.lanes[channel]);
                let m = _mm512_abs_epi32(code);
                let nonzero = _mm512_test_epi32_mask(m, m);
                let width = _mm512_sub_epi32(thirty_two, _mm512_lzcnt_epi32(m));
                add_to(&mut sums[NONZERO], _mm512_maskz_mov_epi32(nonzero, one));
                add_to(&mut sums[WIDTH], _mm512_add_epi32(width, _mm512_srli_epi32::<31>(code)));
                if ENCODER != NONE {
                    add_to(&mut sums[TERMS], terms::<ENCODER>(m));
                }
                add_to(&mut sums[NONZERO_G16], _mm512_maskz_mov_epi32(nonzero, widths[0]));
            }
        }
    }
    // SAFETY: as above.
    unsafe {
        for (size, [width, zero]) in groups.into_iter().enumerate() {
            add_to(&mut sums.width[size], width);
            add_to(&mut sums.zero[size], zero);
        }
    }
}
