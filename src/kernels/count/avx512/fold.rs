//! Group widths of sixteen pixels, reduced from the or'ed magnitudes of each four.

use std::arch::x86_64::*;

use super::super::lines::{PIXELS, SIGN};

/// Pixels that are reduced together: those of the largest group.
pub(super) const FOLDED: usize = PIXELS[2];
/// Pixels that are coded together: those of a group of 64.
pub(super) const FOUR: usize = PIXELS[1];

/// Stores the group widths of sixteen pixels, whose summaries (magnitudes or'ed with signs) come joined by fours. Returns the
/// widths of the groups of 16, a pair of pixels to an integer, and whether any code is negative.
#[inline(always)]
pub(super) unsafe fn fold(
    [a, b, c, d]: [__m512i; FOLDED / FOUR],
    [to_16, to_64, to_256]: [*mut u8; 3],
) -> ([i32; FOLDED / 2], bool) {
    // SAFETY: the caller vouches for the features and for room for sixteen widths of each.
    unsafe {
        // Each step merges what is left of two registers into one.
        let (low, high) = (join_64(a, b), join_64(c, d));
        let (even, odd) =
            (_mm512_shuffle_i64x2::<0b10_00_10_00>(low, high), _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high));
        let v = _mm512_or_si512(even, odd);
        let v = _mm512_or_si512(v, _mm512_shuffle_i64x2::<0b10_11_00_01>(v, v));
        // Pixels 0 to 7 are in the first quarter, the rest in the third.
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
        let mut groups = [0; FOLDED / 2];
        _mm256_storeu_si256(groups.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(widths));
        (groups, _mm_cvtsi128_si32(_mm512_castsi512_si128(of_256)) & i32::from(SIGN) != 0)
    }
}

/// In each 128 bits: `[a0 | a2, b0 | b2, a1 | a3, b1 | b3]` of 32-bit elements.
#[inline(always)]
pub(super) unsafe fn join_32(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe { _mm512_or_si512(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)) }
}

/// In each 128 bits: `[a0 | a1, b0 | b1]` of 64-bit elements.
#[inline(always)]
unsafe fn join_64(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe { _mm512_or_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)) }
}

/// Group widths of sixteen summaries.
#[inline(always)]
pub(super) unsafe fn widths_of(summaries: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let sign = _mm512_srli_epi32::<15>(summaries);
        let m = _mm512_and_si512(summaries, _mm512_set1_epi32(i32::from(!SIGN)));
        let unused = _mm512_lzcnt_epi32(m);
        _mm512_sub_epi32(_mm512_add_epi32(sign, _mm512_set1_epi32(32)), unused)
    }
}
