//! [`Halves`] for AVX-512.

use std::arch::x86_64::*;

use super::Avx512;
use crate::kernels::halves::Halves;

/// Halves of odd index.
const UPPER: __mmask32 = 0xaaaa_aaaa;

// Each method calls intrinsics of the level's features; the token proves the CPU has them.
impl Halves for Avx512 {
    type I = __m512i;

    #[inline(always)]
    unsafe fn store_int(self, to: *mut i32, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable integers; the token proves AVX-512F.
        unsafe { _mm512_storeu_epi32(to, v) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable bytes; the token proves AVX-512F.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(v)) }
    }
    #[inline(always)]
    unsafe fn store_words(self, to: *mut u16, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable halves; the token proves AVX-512F.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(v)) }
    }
    #[inline(always)]
    unsafe fn pair_bytes(self, even: *const u8, odd: *const u8) -> Self::I {
        // SAFETY: the caller vouches for sixteen readable bytes of each; the token proves AVX-512BW.
        unsafe {
            let (even, odd) = (_mm_loadu_si128(even.cast()), _mm_loadu_si128(odd.cast()));
            let both = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
            _mm512_cvtepu8_epi16(both)
        }
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn xor(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn upper(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_srli_epi32::<16>(a) }
    }
    #[inline(always)]
    fn max_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_max_epi32(a, b) }
    }
    #[inline(always)]
    fn max_unsigned(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_max_epu32(a, b) }
    }
    #[inline(always)]
    fn add_zeros(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mask_add_epi32(sum, _mm512_testn_epi32_mask(a, a), sum, one) }
    }
    #[inline(always)]
    fn add_zero_floats(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mask_add_epi32(sum, _mm512_testn_epi32_mask(a, _mm512_set1_epi32(i32::MAX)), sum, one) }
    }
    #[inline(always)]
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn add_leading_zeros(self, sum: Self::I, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512CD.
        unsafe { _mm512_add_epi32(sum, _mm512_lzcnt_epi32(a)) }
    }
    /// Leading zeros.
    #[inline(always)]
    fn add_exponents(self, sum: Self::I, a: Self::I) -> Self::I {
        self.add_leading_zeros(sum, a)
    }
    #[inline(always)]
    fn bits_of(self, sum: Self::I, all: u32, _: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_epi32(_mm512_set1_epi32((all * i32::BITS) as i32), sum) }
    }
    #[inline(always)]
    fn pair(self, even: Self::I, odd: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_mask_blend_epi16(UPPER, even, _mm512_slli_epi32::<16>(odd)) }
    }
    #[inline(always)]
    fn add_halves(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_add_epi16(a, b) }
    }
    #[inline(always)]
    fn abs_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_abs_epi16(a) }
    }
    #[inline(always)]
    fn shift_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_srli_epi16::<1>(a) }
    }
    #[inline(always)]
    fn sign_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_srli_epi16::<15>(a) }
    }
    #[inline(always)]
    fn max_halves(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_max_epu16(a, b) }
    }
    #[inline(always)]
    fn ones_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512 BITALG.
        unsafe { _mm512_popcnt_epi16(a) }
    }
    #[inline(always)]
    fn add_zero_halves(self, sum: Self::I, a: Self::I, one: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_mask_add_epi16(sum, _mm512_testn_epi16_mask(a, a), sum, one) }
    }
    #[inline(always)]
    fn add_where_halves(self, sum: Self::I, a: Self::I, value: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_mask_add_epi16(sum, _mm512_test_epi16_mask(a, a), sum, value) }
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut u16, a: Self::I) -> usize {
        // SAFETY: the caller vouches for thirty-two writable halves; the token proves AVX-512 BW and VBMI2.
        unsafe {
            let nonzero = _mm512_test_epi16_mask(a, a);
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi16(nonzero, a));
            nonzero.count_ones() as usize
        }
    }
    /// In each 128 bits: `[a0 | a2, b0 | b2, a1 | a3, b1 | b3]` of lanes.
    #[inline(always)]
    fn join(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_or_si512(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)) }
    }
    #[inline(always)]
    fn fold(self, [a, b, c, d]: [Self::I; 4]) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe {
            // In each 128 bits the or of lanes of four pairs; each step merges what is left of two registers into one.
            let low = _mm512_or_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
            let high = _mm512_or_si512(_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d));
            let (even, odd) =
                (_mm512_shuffle_i64x2::<0b10_00_10_00>(low, high), _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high));
            let v = _mm512_or_si512(even, odd);
            let v = _mm512_or_si512(v, _mm512_shuffle_i64x2::<0b10_11_00_01>(v, v));
            // Pixels 0 to 7 are in the first quarter, the rest in the third.
            let in_order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
            _mm512_maskz_permutexvar_epi16(!UPPER, in_order, v)
        }
    }
    #[inline(always)]
    fn spread(self, a: Self::I) -> [Self::I; 2] {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let four = _mm512_or_si512(a, _mm512_shuffle_epi32::<0b10_11_00_01>(a));
            let four = _mm512_or_si512(four, _mm512_shuffle_epi32::<0b01_00_11_10>(four));
            let all = _mm512_or_si512(four, _mm512_shuffle_i32x4::<0b10_11_00_01>(four, four));
            [four, _mm512_or_si512(all, _mm512_shuffle_i32x4::<0b01_00_11_10>(all, all))]
        }
    }
}
