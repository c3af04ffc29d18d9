//! [`Halves`] for AVX2: two registers a vector.

use std::arch::x86_64::*;

use super::Avx2;
use super::avx2::both;
use crate::kernels::geometry::LANES;
use crate::kernels::halves::Halves;

/// Exponent of a float of one bit, less that one: 2^(n - 1) has n bits and exponent 126 + n; zero has exponent 0.
const BIAS: i32 = 126;

/// For each set of eight halves the bytes of those that are in it, in order.
static FIRST: [[u8; 16]; 256] = {
    let mut first = [[0; 16]; 256];
    let mut set = 0;
    while set < first.len() {
        let (mut half, mut kept) = (0, 0);
        while half < 8 {
            if set >> half & 1 == 1 {
                first[set][kept] = 2 * half;
                first[set][kept + 1] = 2 * half + 1;
                kept += 2;
            }
            half += 1;
        }
        set += 1;
    }
    first
};

// Each method calls intrinsics of the level's features; the token proves the CPU has them.
impl Halves for Avx2 {
    type I = [__m256i; 2];

    #[inline(always)]
    unsafe fn store_int(self, to: *mut i32, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable integers; the token proves AVX2.
        unsafe {
            _mm256_storeu_si256(to.cast(), v[0]);
            _mm256_storeu_si256(to.add(LANES / 2).cast(), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable bytes; the token proves AVX2.
        unsafe {
            let low = both!(_mm256_and_si256, v, [_mm256_set1_epi32(0xff); 2]);
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low[0], low[1]));
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.cast(), bytes);
        }
    }
    #[inline(always)]
    unsafe fn store_words(self, to: *mut u16, v: Self::I) {
        // SAFETY: the caller vouches for sixteen writable halves; the token proves AVX2.
        unsafe {
            let low = both!(_mm256_and_si256, v, [_mm256_set1_epi32(0xffff); 2]);
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low[0], low[1]));
            _mm256_storeu_si256(to.cast(), words);
        }
    }
    #[inline(always)]
    unsafe fn pair_bytes(self, even: *const u8, odd: *const u8) -> Self::I {
        // SAFETY: the caller vouches for sixteen readable bytes of each; the token proves AVX2.
        unsafe {
            let (even, odd) = (_mm_loadu_si128(even.cast()), _mm_loadu_si128(odd.cast()));
            [_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(even, odd)), _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(even, odd))]
        }
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_and_si256, a, b) }
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_or_si256, a, b) }
    }
    #[inline(always)]
    fn xor(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_xor_si256, a, b) }
    }
    #[inline(always)]
    fn upper(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_srli_epi32::<16>, a) }
    }
    #[inline(always)]
    fn max_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_max_epi32, a, b) }
    }
    #[inline(always)]
    fn max_unsigned(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_max_epu32, a, b) }
    }
    #[inline(always)]
    fn add_zeros(self, sum: Self::I, a: Self::I, _: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_sub_epi32, sum, both!(_mm256_cmpeq_epi32, a, [_mm256_setzero_si256(); 2])) }
    }
    #[inline(always)]
    fn add_zero_floats(self, sum: Self::I, a: Self::I, _: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let zero = _mm256_setzero_ps();
            let is_zero = both!(|a| _mm256_cmp_ps::<_CMP_EQ_OQ>(_mm256_castsi256_ps(a), zero), a);
            both!(|sum, is_zero| _mm256_sub_epi32(sum, _mm256_castps_si256(is_zero)), sum, is_zero)
        }
    }
    #[inline(always)]
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_sub_epi32, a, b) }
    }
    /// By exponents.
    #[inline(always)]
    fn add_leading_zeros(self, sum: Self::I, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let exponents = self.add_exponents([_mm256_setzero_si256(); 2], a);
            let zeros = both!(_mm256_sub_epi32, [_mm256_set1_epi32(BIAS + i32::BITS as i32); 2], exponents);
            both!(_mm256_add_epi32, sum, both!(_mm256_min_epi32, zeros, [_mm256_set1_epi32(32); 2]))
        }
    }
    /// Those of lanes as floats, whose 24 bits hold lanes of 16.
    #[inline(always)]
    fn add_exponents(self, sum: Self::I, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let exponents = both!(|a| _mm256_srli_epi32::<23>(_mm256_castps_si256(_mm256_cvtepi32_ps(a))), a);
            both!(_mm256_add_epi32, sum, exponents)
        }
    }
    #[inline(always)]
    fn bits_of(self, sum: Self::I, _: u32, nonzero: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let biases = both!(_mm256_mullo_epi32, nonzero, [_mm256_set1_epi32(BIAS); 2]);
            both!(_mm256_sub_epi32, sum, biases)
        }
    }
    #[inline(always)]
    fn pair(self, even: Self::I, odd: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(|even, odd| _mm256_blend_epi16::<0xaa>(even, _mm256_slli_epi32::<16>(odd)), even, odd) }
    }
    #[inline(always)]
    fn add_halves(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_add_epi16, a, b) }
    }
    #[inline(always)]
    fn abs_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_abs_epi16, a) }
    }
    #[inline(always)]
    fn shift_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_srli_epi16::<1>, a) }
    }
    #[inline(always)]
    fn sign_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_srli_epi16::<15>, a) }
    }
    #[inline(always)]
    fn max_halves(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_max_epu16, a, b) }
    }
    /// By a table of the ones of four bits.
    #[inline(always)]
    fn ones_halves(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
            let low = _mm256_set1_epi8(0xf);
            let first = both!(|a| _mm256_shuffle_epi8(table, _mm256_and_si256(a, low)), a);
            let second = both!(|a| _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(a), low)), a);
            both!(_mm256_maddubs_epi16, both!(_mm256_add_epi8, first, second), [_mm256_set1_epi8(1); 2])
        }
    }
    #[inline(always)]
    fn add_zero_halves(self, sum: Self::I, a: Self::I, _: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_sub_epi16, sum, both!(_mm256_cmpeq_epi16, a, [_mm256_setzero_si256(); 2])) }
    }
    #[inline(always)]
    fn add_where_halves(self, sum: Self::I, a: Self::I, value: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let zero = both!(_mm256_cmpeq_epi16, a, [_mm256_setzero_si256(); 2]);
            both!(_mm256_add_epi16, sum, both!(_mm256_andnot_si256, zero, value))
        }
    }
    #[inline(always)]
    unsafe fn compress(self, to: *mut u16, a: Self::I) -> usize {
        // SAFETY: the caller vouches for thirty-two writable halves: before each eight no more were kept than came; the token proves
        // AVX2.
        unsafe {
            let zeros = both!(_mm256_cmpeq_epi16, a, [_mm256_setzero_si256(); 2]);
            let there = !_mm256_movemask_epi8(_mm256_packs_epi16(zeros[0], zeros[1]));
            let quarters = [
                _mm256_castsi256_si128(a[0]),
                _mm256_castsi256_si128(a[1]),
                _mm256_extracti128_si256::<1>(a[0]),
                _mm256_extracti128_si256::<1>(a[1]),
            ];
            let mut kept = 0;
            for (eight, there) in quarters.into_iter().zip(there.to_le_bytes()) {
                let first = _mm_loadu_si128(FIRST[usize::from(there)].as_ptr().cast());
                _mm_storeu_si128(to.add(kept).cast(), _mm_shuffle_epi8(eight, first));
                kept += there.count_ones() as usize;
            }
            kept
        }
    }
    /// In each 128 bits: `[a0 | a2, b0 | b2, a1 | a3, b1 | b3]` of lanes.
    #[inline(always)]
    fn join(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(|a, b| _mm256_or_si256(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)), a, b) }
    }
    #[inline(always)]
    fn fold(self, [a, b, c, d]: [Self::I; 4]) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            // Two times eight pixels: the lanes of four pairs, or'ed over 128 bits, then over these.
            let (low, high) = ([a[0], c[0]], [a[1], c[1]]);
            let (of_low, of_high) = ([b[0], d[0]], [b[1], d[1]]);
            let low =
                both!(|a, b| _mm256_or_si256(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)), low, of_low);
            let high =
                both!(|a, b| _mm256_or_si256(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)), high, of_high);
            both!(
                |all| _mm256_cvtepu16_epi32(_mm_or_si128(
                    _mm256_castsi256_si128(all),
                    _mm256_extracti128_si256::<1>(all)
                )),
                both!(_mm256_or_si256, low, high)
            )
        }
    }
    #[inline(always)]
    fn spread(self, a: Self::I) -> [Self::I; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let twos = both!(|v| _mm256_or_si256(v, _mm256_shuffle_epi32::<0b10_11_00_01>(v)), a);
            let fours = both!(|v| _mm256_or_si256(v, _mm256_shuffle_epi32::<0b01_00_11_10>(v)), twos);
            let all = _mm256_or_si256(fours[0], fours[1]);
            [fours, [_mm256_or_si256(all, _mm256_permute2x128_si256::<1>(all, all)); 2]]
        }
    }
}
