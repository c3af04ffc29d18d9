//! Sums over codes and group widths that are already stored.

use std::arch::x86_64::*;

use super::super::code::Encoder;
use super::super::counter::LaneSums;
use super::super::lines::{LONGEST, PixelPair};
use super::super::sums::{GroupSums, LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH};
use crate::kernels::geometry::LANES;

/// Bytes of a register.
const WIDE: usize = 64;

/// Sums of group widths over lines of `stride` pixels, of which the first `pixels` count: the even and the odd pixels apart,
/// for each group size. Also counts the zero widths of each.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[target_feature(enable = "avx512f,avx512bw,popcnt")]
pub(in super::super) unsafe fn add_widths(widths: [&[u8]; 3], stride: usize, pixels: usize) -> [GroupSums; 2] {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let zero = _mm512_setzero_si512();
    let (mut sums, mut all) = ([[zero; 2]; 3], [GroupSums::default(); 2]);
    for (start, counting) in registers(widths[0].len(), stride, pixels) {
        for size in 0..3 {
            // SAFETY: the caller vouches for the features; masked-off bytes are not read, and counted ones are there.
            let v = unsafe { _mm512_maskz_loadu_epi8(counting, widths[size].as_ptr().add(start).cast()) };
            let [even, odd] = &mut sums[size];
            *even = _mm512_add_epi64(*even, _mm512_sad_epu8(_mm512_maskz_mov_epi8(EVEN, v), zero));
            *odd = _mm512_add_epi64(*odd, _mm512_sad_epu8(_mm512_srli_epi16::<8>(v), zero));
            let none = counting & !_mm512_test_epi8_mask(v, v);
            all[0].zero[size] += u64::from((none & EVEN).count_ones());
            all[1].zero[size] += u64::from((none & !EVEN).count_ones());
        }
    }
    for size in 0..3 {
        all[0].width[size] = _mm512_reduce_add_epi64(sums[size][0]) as u64;
        all[1].width[size] = _mm512_reduce_add_epi64(sums[size][1]) as u64;
    }
    all
}

/// The registers that cover `len` widths of lines of `stride` pixels: the offset of each, and a mask of its pixels that are
/// among the first `pixels` of their line.
#[inline(always)]
fn registers(len: usize, stride: usize, pixels: usize) -> impl Iterator<Item = (usize, u64)> {
    let first = |count: usize| u64::MAX >> (WIDE - count);
    // Lines that divide a register share it.
    let together = if WIDE.is_multiple_of(stride) { WIDE } else { stride };
    let pattern = match WIDE / stride {
        0 | 1 => !0,
        lines => (0..lines).fold(0, |mask, line| mask | first(pixels) << (line * stride)),
    };
    let pixels = if together == stride { pixels } else { WIDE };
    (0..len).step_by(together).flat_map(move |line| {
        (0..pixels).step_by(WIDE).map(move |start| {
            let left = (pixels - start).min(len - line - start).min(WIDE);
            (line + start, pattern & first(left))
        })
    })
}

/// Adds pixels `columns` (all even or all odd) of each line of `stride` pixels to the first of two accumulators, and subtracts
/// them from the second.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn move_columns(
    codes: &[PixelPair],
    widths: &[u8],
    stride: usize,
    columns: &[usize],
    encoder: Option<Encoder>,
    sums: [&mut LaneSums; 2],
) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        match encoder {
            None => add_pixels::<{ NONE }>(codes, widths, stride, columns, sums),
            Some(Encoder::Naf) => add_pixels::<{ NAF }>(codes, widths, stride, columns, sums),
            Some(Encoder::Popcount) => add_pixels::<{ POPCOUNT }>(codes, widths, stride, columns, sums),
            Some(Encoder::Booth4) => add_pixels::<{ BOOTH4 }>(codes, widths, stride, columns, sums),
            Some(Encoder::Runs) => unreachable!("a table, which the portable loop looks up"),
        }
    }
}

/// Adds each pixel of lines of `stride` pixels to the accumulator of its column.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn add_each(
    codes: &[PixelPair],
    widths: &[u8],
    stride: usize,
    encoder: Option<Encoder>,
    to: &mut [LaneSums],
) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        match encoder {
            None => add_columns::<{ NONE }>(codes, widths, stride, to),
            Some(Encoder::Naf) => add_columns::<{ NAF }>(codes, widths, stride, to),
            Some(Encoder::Popcount) => add_columns::<{ POPCOUNT }>(codes, widths, stride, to),
            Some(Encoder::Booth4) => add_columns::<{ BOOTH4 }>(codes, widths, stride, to),
            Some(Encoder::Runs) => unreachable!("a table, which the portable loop looks up"),
        }
    }
}

// Encoders with a loop of their own.
pub(super) const NAF: u8 = Encoder::Naf as u8;
pub(super) const POPCOUNT: u8 = Encoder::Popcount as u8;
pub(super) const BOOTH4: u8 = Encoder::Booth4 as u8;
/// Terms are not counted.
pub(super) const NONE: u8 = u8::MAX;

/// Terms of 32 magnitudes, as `Encoder::terms`.
#[inline(always)]
pub(super) unsafe fn terms<const ENCODER: u8>(m: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let digits = match ENCODER {
            NAF => {
                let half = _mm512_srli_epi16::<1>(m);
                _mm512_xor_si512(_mm512_add_epi16(m, half), half)
            }
            BOOTH4 => {
                let edges = _mm512_xor_si512(m, _mm512_add_epi16(m, m));
                let digits = _mm512_or_si512(edges, _mm512_srli_epi16::<1>(edges));
                _mm512_and_si512(digits, _mm512_set1_epi16(0x5555))
            }
            NONE => _mm512_setzero_si512(),
            _ => m,
        };
        _mm512_popcnt_epi16(digits)
    }
}

/// Adds a pair of pixels to 16-bit sums, given the widths of their groups of 16.
#[inline(always)]
unsafe fn add_pair<const ENCODER: u8>(sums: &mut [__m512i; LANE_SUMS], code: __m512i, [even, odd]: [u8; 2]) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let m = _mm512_abs_epi16(code);
        let nonzero = _mm512_test_epi16_mask(m, m);
        // Sets every bit below the highest set one: the number of ones is then the width.
        let smeared = _mm512_or_si512(m, _mm512_srli_epi16::<1>(m));
        let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<2>(smeared));
        let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<4>(smeared));
        let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<8>(smeared));
        let width = _mm512_add_epi16(_mm512_popcnt_epi16(smeared), _mm512_srli_epi16::<15>(code));
        let group = _mm512_set1_epi32(i32::from(even) | i32::from(odd) << 16);
        sums[NONZERO] = _mm512_mask_add_epi16(sums[NONZERO], nonzero, sums[NONZERO], _mm512_set1_epi16(1));
        sums[WIDTH] = _mm512_add_epi16(sums[WIDTH], width);
        sums[TERMS] = _mm512_add_epi16(sums[TERMS], terms::<ENCODER>(m));
        sums[NONZERO_G16] = _mm512_mask_add_epi16(sums[NONZERO_G16], nonzero, sums[NONZERO_G16], group);
    }
}

/// As [`move_columns`].
#[inline(always)]
unsafe fn add_pixels<const ENCODER: u8>(
    codes: &[PixelPair],
    widths: &[u8],
    stride: usize,
    columns: &[usize],
    [to, from]: [&mut LaneSums; 2],
) {
    let lines = codes.len() * 2 / stride;
    assert!(lines * columns.len() <= LONGEST && columns.iter().all(|&column| column < stride));
    // SAFETY: the caller vouches for the features; loads are of whole pairs.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); LANE_SUMS];
        let shift = _mm_cvtsi32_si128((columns[0] % 2 * 16) as i32);
        let mut positions = (0..lines).flat_map(|line| columns.iter().map(move |column| line * stride + column));
        // Two pixels make a pair.
        while let Some(first) = positions.next() {
            let even = _mm512_and_si512(load(codes, first, shift), _mm512_set1_epi32(0xffff));
            let (both, second) = match positions.next() {
                Some(second) => {
                    let odd = _mm512_slli_epi32::<16>(load(codes, second, shift));
                    (_mm512_or_si512(even, odd), widths[second])
                }
                None => (even, 0),
            };
            add_pair::<ENCODER>(&mut sums, both, [widths[first], second]);
        }
        for (which, sum) in sums.into_iter().enumerate() {
            let [even, odd] = split(sum);
            let sum = _mm512_add_epi32(even, odd);
            add_to(&mut to.0[which], sum);
            add_to(&mut from.0[which], _mm512_sub_epi32(_mm512_setzero_si512(), sum));
        }
    }
}

/// The codes of one pixel, in the low half of each lane; `shift` is 16 for an odd pixel.
#[inline(always)]
unsafe fn load(codes: &[PixelPair], at: usize, shift: __m128i) -> __m512i {
    // SAFETY: the caller vouches for the features; the load is of a whole pair.
    unsafe { _mm512_srl_epi32(_mm512_loadu_si512(codes[at / 2].0.as_ptr().cast()), shift) }
}

/// As [`add_each`].
#[inline(always)]
unsafe fn add_columns<const ENCODER: u8>(codes: &[PixelPair], widths: &[u8], stride: usize, to: &mut [LaneSums]) {
    let lines = codes.len() * 2 / stride;
    assert!(lines <= LONGEST, "sums of 16 bits hold the lines");
    assert!(to.len() <= stride, "pixels of a line");
    // SAFETY: the caller vouches for the features; loads are of whole pairs.
    unsafe {
        for (pair, to) in to.chunks_mut(2).enumerate() {
            let mut sums = [_mm512_setzero_si512(); LANE_SUMS];
            for at in (0..lines).map(|line| line * stride / 2 + pair) {
                let code = _mm512_loadu_si512(codes[at].0.as_ptr().cast());
                add_pair::<ENCODER>(&mut sums, code, [widths[2 * at], widths[2 * at + 1]]);
            }
            for (which, sum) in sums.into_iter().enumerate() {
                for (to, half) in to.iter_mut().zip(split(sum)) {
                    add_to(&mut to.0[which], half);
                }
            }
        }
    }
}

/// Splits 16-bit sums of an even and an odd pixel into 32-bit sums of each.
#[inline(always)]
pub(super) unsafe fn split(sums: __m512i) -> [__m512i; 2] {
    // SAFETY: the caller vouches for the features.
    unsafe { [_mm512_and_si512(sums, _mm512_set1_epi32(0xffff)), _mm512_srli_epi32::<16>(sums)] }
}

/// Adds sixteen sums to `to`.
#[inline(always)]
pub(super) unsafe fn add_to(to: &mut [u32; LANES], sums: __m512i) {
    // SAFETY: the caller vouches for the features; the array holds sixteen integers.
    unsafe {
        let before = _mm512_loadu_si512(to.as_ptr().cast());
        _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_add_epi32(before, sums));
    }
}
