//! What codes and widths add up to.

use std::arch::x86_64::*;

use super::super::classes::Run;
use super::super::code::Encoder;
use super::super::counter::LaneSums;
use super::super::lines::PIXELS;
use super::super::sums::{LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH, WidthHistogram};
use crate::kernels::geometry::LANES;

/// Pixels whose widths lie side by side in a line: those of the largest group.
const FOLDED: usize = PIXELS[2];

/// Adds how many groups of each size have which width: of lines of `stride` pixels, of which the first `pixels` count.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn count_widths(
    widths: [&[u8]; 3],
    stride: usize,
    pixels: usize,
    to: &mut [WidthHistogram; 3],
) {
    /// Bytes of a register.
    const WIDE: usize = 64;
    for start in (0..widths[0].len()).step_by(WIDE) {
        // Sixteen pixels at a time are of one line.
        let quarters = (0..WIDE).step_by(FOLDED).filter(|quarter| start + quarter < widths[0].len());
        let counting = quarters.fold(0u64, |mask, quarter| {
            let counted = pixels.saturating_sub((start + quarter) % stride).min(FOLDED);
            mask | ((1u64 << counted) - 1) << quarter
        });
        for ((widths, firsts), to) in
            widths.iter().zip([!0, 0x1111_1111_1111_1111, 0x0001_0001_0001_0001]).zip(&mut *to)
        {
            let mask = counting & firsts;
            // SAFETY: the caller vouches for the features; masked-off bytes are not read, and counted ones are there.
            let v = unsafe { _mm512_maskz_loadu_epi8(mask, widths.as_ptr().add(start).cast()) };
            for (width, to) in to.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the features.
                let equal = unsafe { _mm512_mask_cmpeq_epi8_mask(mask, v, _mm512_set1_epi8(width as i8)) };
                *to += u64::from(equal.count_ones());
            }
        }
    }
}

/// Sum of every `step`-th width from the first on, and how many of them are zero. A step is at most 64.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn add_widths(widths: &[u8], step: usize) -> (u64, u64) {
    let window = 64 / step * step;
    let pattern = (0..window).step_by(step).fold(0u64, |mask, bit| mask | 1 << bit);
    // SAFETY: the caller vouches for the features; masked-off bytes are not read.
    unsafe {
        let (mut sums, mut zeros) = (_mm512_setzero_si512(), 0);
        for part in widths.chunks(window) {
            let mask = pattern & u64::MAX >> (64 - part.len());
            let v = _mm512_maskz_loadu_epi8(mask, part.as_ptr().cast());
            sums = _mm512_add_epi64(sums, _mm512_sad_epu8(v, _mm512_setzero_si512()));
            zeros += u64::from((mask & !_mm512_test_epi8_mask(v, v)).count_ones());
        }
        (_mm512_reduce_add_epi64(sums) as u64, zeros)
    }
}

/// Adds the pixels of `run` in each line of `stride` pixels to the sums of their place.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn add(
    codes: &[[i16; LANES]],
    widths: &[u8],
    stride: usize,
    run: Run,
    encoder: Option<Encoder>,
    to: &mut LaneSums,
) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        match encoder {
            None => add_lines::<{ NONE }>(codes, widths, stride, run, to),
            Some(Encoder::Naf) => add_lines::<{ NAF }>(codes, widths, stride, run, to),
            Some(Encoder::Popcount) => add_lines::<{ POPCOUNT }>(codes, widths, stride, run, to),
            Some(Encoder::Booth4) => add_lines::<{ BOOTH4 }>(codes, widths, stride, run, to),
            Some(Encoder::Runs) => unreachable!("a table, which the portable loop looks up"),
        }
    }
}

/// Adds each pixel to the sums of a place of its own.
///
/// # Safety
/// The CPU must have the features of the AVX-512 level.
#[inline(always)]
pub(in super::super) unsafe fn add_each(
    codes: &[[i16; LANES]],
    widths: &[u8],
    encoder: Option<Encoder>,
    to: &mut [LaneSums],
) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        match encoder {
            None => add_pixels::<{ NONE }>(codes, widths, to),
            Some(Encoder::Naf) => add_pixels::<{ NAF }>(codes, widths, to),
            Some(Encoder::Popcount) => add_pixels::<{ POPCOUNT }>(codes, widths, to),
            Some(Encoder::Booth4) => add_pixels::<{ BOOTH4 }>(codes, widths, to),
            Some(Encoder::Runs) => unreachable!("a table, which the portable loop looks up"),
        }
    }
}

// The encoders that have loops of their own.
const NAF: u8 = Encoder::Naf as u8;
const POPCOUNT: u8 = Encoder::Popcount as u8;
const BOOTH4: u8 = Encoder::Booth4 as u8;
/// No terms are counted.
const NONE: u8 = u8::MAX;

/// Terms of thirty-two magnitudes: `Encoder::terms`.
#[inline(always)]
unsafe fn terms<const ENCODER: u8>(m: __m512i) -> __m512i {
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

/// Two pixels in one register, and the widths of their groups.
#[inline(always)]
unsafe fn couple(codes: &[[i16; LANES]], widths: &[u8], [first, second]: [usize; 2]) -> (__m512i, u16) {
    // SAFETY: the caller vouches for the features; loads are of whole arrays of sixteen lanes.
    unsafe {
        let low = _mm512_castsi256_si512(_mm256_loadu_si256(codes[first].as_ptr().cast()));
        let both = _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(codes[second].as_ptr().cast()));
        (both, u16::from_le_bytes([widths[first], widths[second]]))
    }
}

/// Adds a pair of pixels, the widths of whose groups are the low two bytes of `groups`, to 16-bit sums.
#[inline(always)]
unsafe fn add_pair<const ENCODER: u8>(sums: &mut [__m512i; LANE_SUMS], code: __m512i, groups: u16) {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let m = _mm512_abs_epi16(code);
        let nonzero = _mm512_test_epi16_mask(m, m);
        // Every bit below the highest set, so that their count is the width.
        let smeared = _mm512_or_si512(m, _mm512_srli_epi16::<1>(m));
        let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<2>(smeared));
        let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<4>(smeared));
        let smeared = _mm512_or_si512(smeared, _mm512_srli_epi16::<8>(smeared));
        let width = _mm512_add_epi16(_mm512_popcnt_epi16(smeared), _mm512_srli_epi16::<15>(code));
        // Each half's own byte in every 16 bits.
        let first = _mm512_castsi256_si512(_mm256_set1_epi16(0x8000u16 as i16));
        let own = _mm512_inserti64x4::<1>(first, _mm256_set1_epi16(0x8001u16 as i16));
        let group = _mm512_shuffle_epi8(_mm512_set1_epi16(groups as i16), own);
        sums[NONZERO] = _mm512_mask_add_epi16(sums[NONZERO], nonzero, sums[NONZERO], _mm512_set1_epi16(1));
        sums[WIDTH] = _mm512_add_epi16(sums[WIDTH], width);
        sums[TERMS] = _mm512_add_epi16(sums[TERMS], terms::<ENCODER>(m));
        sums[NONZERO_G16] = _mm512_mask_add_epi16(sums[NONZERO_G16], nonzero, sums[NONZERO_G16], group);
    }
}

/// As [`add`].
#[inline(always)]
unsafe fn add_lines<const ENCODER: u8>(
    codes: &[[i16; LANES]],
    widths: &[u8],
    stride: usize,
    Run { start, count, step }: Run,
    to: &mut LaneSums,
) {
    let lines = codes.len() / stride;
    assert!(lines * count <= usize::from(u16::MAX) / super::super::code::MAX_WIDTH, "sums of 16 bits");
    // SAFETY: the caller vouches for the features; loads are of whole arrays of sixteen lanes.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); LANE_SUMS];
        for line in 0..lines {
            let first = line * stride + start;
            if step == 1 {
                let codes = codes[first..first + count].as_chunks::<2>().0;
                let widths = widths[first..first + count].as_chunks::<2>().0;
                for (codes, widths) in codes.iter().zip(widths) {
                    let code = _mm512_loadu_si512(codes.as_ptr().cast());
                    add_pair::<ENCODER>(&mut sums, code, u16::from_le_bytes(*widths));
                }
            } else {
                for pair in 0..count / 2 {
                    let pair = [first + 2 * pair * step, first + (2 * pair + 1) * step];
                    let (code, groups) = couple(codes, widths, pair);
                    add_pair::<ENCODER>(&mut sums, code, groups);
                }
            }
        }
        if count % 2 == 1 {
            // The last pixels of two lines make a pair.
            let last = |line: usize| line * stride + start + (count - 1) * step;
            for pair in 0..lines / 2 {
                let (code, groups) = couple(codes, widths, [last(2 * pair), last(2 * pair + 1)]);
                add_pair::<ENCODER>(&mut sums, code, groups);
            }
            if lines % 2 == 1 {
                let at = last(lines - 1);
                add_pair::<ENCODER>(
                    &mut sums,
                    _mm512_zextsi256_si512(_mm256_loadu_si256(codes[at].as_ptr().cast())),
                    u16::from(widths[at]),
                );
            }
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            let halves = _mm256_add_epi16(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
            add_to(to, halves);
        }
    }
}

/// As [`add_each`].
#[inline(always)]
unsafe fn add_pixels<const ENCODER: u8>(codes: &[[i16; LANES]], widths: &[u8], to: &mut [LaneSums]) {
    // SAFETY: the caller vouches for the features; loads are of whole arrays of sixteen lanes.
    unsafe {
        for ((codes, widths), to) in codes.chunks(2).zip(widths.chunks(2)).zip(to.chunks_mut(2)) {
            let (code, groups) = match codes {
                [_, _] => (_mm512_loadu_si512(codes.as_ptr().cast()), u16::from_le_bytes([widths[0], widths[1]])),
                _ => (_mm512_zextsi256_si512(_mm256_loadu_si256(codes.as_ptr().cast())), u16::from(widths[0])),
            };
            let mut sums = [_mm512_setzero_si512(); LANE_SUMS];
            add_pair::<ENCODER>(&mut sums, code, groups);
            for (which, sum) in sums.into_iter().enumerate() {
                let halves = [_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)];
                for (to, half) in to.iter_mut().zip(halves) {
                    add_to(&mut to[which], half);
                }
            }
        }
    }
}

/// Adds sixteen 16-bit sums to 32-bit ones.
#[inline(always)]
unsafe fn add_to(to: &mut [u32; LANES], sums: __m256i) {
    // SAFETY: the caller vouches for the features; the array holds sixteen integers.
    unsafe {
        let before = _mm512_loadu_si512(to.as_ptr().cast());
        _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_add_epi32(before, _mm512_cvtepu16_epi32(sums)));
    }
}
