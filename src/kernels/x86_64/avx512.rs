//! [`Simd`] for AVX-512: one register per vector.

use std::arch::x86_64::*;

use super::Avx512;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;
use crate::kernels::tile::unrolled;

// Each method calls intrinsics of the level's features; the token proves the CPU has them.
impl Simd for Avx512 {
    type V = __m512;
    const REGISTERS: usize = 32;

    #[inline(never)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        self.run(kernel)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable floats; the token proves AVX-512F.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for sixteen writable floats; the token proves AVX-512F.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn stream_ptr(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for sixteen writable floats at a multiple of 64; the token proves AVX-512F.
        unsafe { _mm512_stream_ps(to, v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn exp2i(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        const PAIRS: usize = LANES / 2;
        const FOURS: usize = LANES / 4;
        let (mut pairs, mut fours, mut all) = (rows, rows, rows);
        // SAFETY: the token proves AVX-512F.
        unsafe {
            unrolled!(i < PAIRS, {
                pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
                pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
            });
            // Then in each quarter `q` of row `4 * g + j`: lane `4 * q + j` of the rows from `4 * g` on.
            unrolled!(i < PAIRS, {
                let low = i / 2 * 4 + i % 2;
                let (low, high) = (_mm512_castps_pd(pairs[low]), _mm512_castps_pd(pairs[low + 2]));
                fours[2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
                fours[2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
            });
            unrolled!(j < FOURS, {
                let (a, b, c, d) = (fours[j], fours[4 + j], fours[8 + j], fours[12 + j]);
                let (first, second) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0x44>(c, d));
                all[j] = _mm512_shuffle_f32x4::<0x88>(first, second);
                all[4 + j] = _mm512_shuffle_f32x4::<0xdd>(first, second);
                let (third, fourth) = (_mm512_shuffle_f32x4::<0xee>(a, b), _mm512_shuffle_f32x4::<0xee>(c, d));
                all[8 + j] = _mm512_shuffle_f32x4::<0x88>(third, fourth);
                all[12 + j] = _mm512_shuffle_f32x4::<0xdd>(third, fourth);
            });
        }
        all
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for sixteen readable integers; the token proves AVX-512F.
        unsafe { _mm512_loadu_epi32(from) }
    }
    #[inline(always)]
    fn to_ints(self, v: Self::I) -> [i32; LANES] {
        // SAFETY: both are 64 bytes of integers without padding.
        unsafe { std::mem::transmute(v) }
    }
    #[inline(always)]
    fn dot2(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512 VNNI.
        unsafe { _mm512_dpwssd_epi32(sum, a, b) }
    }
    #[inline(always)]
    fn dot4(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn to_floats(self, v: Self::I) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    fn to_integers(self, v: Self::V) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_cvttps_epi32(v) }
    }
    #[inline(always)]
    fn to_nearest(self, v: Self::V) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_cvtps_epi32(v) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable bytes; the token proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable half floats; the token proves AVX-512F.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    fn low_nibbles<const FIRST: i32>(self, v: Self::I) -> Self::V {
        let floats: [f32; LANES] = std::array::from_fn(|nibble| (nibble as i32 + FIRST) as f32);
        // A permutation looks at the lowest four bits of an index.
        // SAFETY: the array holds sixteen floats; the token proves AVX-512F.
        unsafe { _mm512_permutexvar_ps(v, _mm512_loadu_ps(floats.as_ptr())) }
    }
    #[inline(always)]
    fn next_nibbles(self, v: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_srli_epi32::<4>(v) }
    }
    #[inline(always)]
    fn min_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_min_epi32(a, b) }
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_srli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn where_not_zero(self, v: Self::I, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_maskz_mov_epi32(_mm512_test_epi32_mask(v, v), a) }
    }
    #[inline(always)]
    fn count_not_zero(self, v: Self::I) -> u32 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_test_epi32_mask(v, v) }.count_ones()
    }
    #[inline(always)]
    fn as_ints(self, v: Self::V) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_castps_si512(v) }
    }
    #[inline(always)]
    fn as_floats(self, v: Self::I) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_castsi512_ps(v) }
    }
    #[inline(always)]
    fn fours(self, v: [Self::I; 4]) -> Self::I {
        // SAFETY: the token proves AVX-512BW.
        unsafe { _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3])) }
    }
    #[inline(always)]
    fn transpose_fours(self, v: Self::I) -> Self::I {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(lanes, v)
        }
    }
    #[inline(always)]
    unsafe fn quads(self, rows: [*const i32; 4]) -> [Self::I; 4] {
        // SAFETY: the caller vouches for sixteen readable integers each; the token proves AVX-512BW.
        unsafe {
            let [a, b, c, d] = rows.map(|row| _mm512_loadu_epi32(row));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (last_ab, last_cd) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(last_ab, last_cd),
                _mm512_unpackhi_epi16(last_ab, last_cd),
            ]
        }
    }
    #[inline(always)]
    fn low_bytes(self, v: Self::I) -> [i32; LANES / 4] {
        // SAFETY: the token proves AVX-512F; both are 16 bytes of integers without padding.
        unsafe { std::mem::transmute(_mm512_cvtepi32_epi8(v)) }
    }
}
