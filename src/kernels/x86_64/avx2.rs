//! [`Simd`] for AVX2: two registers a vector.

use std::arch::x86_64::*;

use super::Avx2;
use crate::kernels::geometry::LANES;
use crate::kernels::halves::Halves;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;

/// Applies `f` to both registers. What looks like a closure is none: that would not be compiled for this level.
macro_rules! both {
    (|$x:ident| $f:expr, $a:expr) => {{
        let [first, second] = $a;
        [
            {
                let $x = first;
                $f
            },
            {
                let $x = second;
                $f
            },
        ]
    }};
    (|$x:ident, $y:ident| $f:expr, $a:expr, $b:expr) => {{
        let ([first, second], [of_first, of_second]) = ($a, $b);
        [
            {
                let ($x, $y) = (first, of_first);
                $f
            },
            {
                let ($x, $y) = (second, of_second);
                $f
            },
        ]
    }};
    ($f:expr, $a:expr, $b:expr, $c:expr) => {{
        let ([a, b], [of_a, of_b], [with_a, with_b]) = ($a, $b, $c);
        [$f(a, of_a, with_a), $f(b, of_b, with_b)]
    }};
    ($f:expr, $a:expr) => {{
        let [first, second] = $a;
        [$f(first), $f(second)]
    }};
    ($f:expr, $a:expr, $b:expr) => {{
        let ([first, second], [of_first, of_second]) = ($a, $b);
        [$f(first, of_first), $f(second, of_second)]
    }};
}
pub(super) use both;

// Each method calls intrinsics of the level's features; the token proves the CPU has them.
impl Simd for Avx2 {
    type V = [__m256; 2];
    const REGISTERS: usize = 8;

    #[inline(never)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        self.run(kernel)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable floats; the token proves AVX2.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for sixteen writable floats; the token proves AVX2.
        unsafe {
            _mm256_storeu_ps(to, v[0]);
            _mm256_storeu_ps(to.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_add_ps, a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_sub_ps, a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_mul_ps, a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_div_ps, a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token proves FMA.
        unsafe { both!(_mm256_fmadd_ps, a, b, c) }
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token proves FMA.
        unsafe { both!(_mm256_fnmadd_ps, a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_max_ps, a, b) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_min_ps, a, b) }
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_round_ps::<NEAREST>(a[0]), _mm256_round_ps::<NEAREST>(a[1])] }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    }
    #[inline(always)]
    fn exp2i(self, a: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe {
            let exponents = both!(_mm256_add_epi32, self.to_nearest(a), self.splat_int(127));
            both!(|exponent| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)), exponents)
        }
    }
    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_set1_epi32(value); 2] }
    }
    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> Self::I {
        // SAFETY: the caller vouches for sixteen readable integers; the token proves AVX2.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast())] }
    }
    #[inline(always)]
    fn to_ints(self, v: Self::I) -> [i32; LANES] {
        // SAFETY: both are 64 bytes of integers without padding.
        unsafe { std::mem::transmute(v) }
    }
    #[inline(always)]
    fn dot2(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let products = both!(_mm256_madd_epi16, a, b);
            both!(_mm256_add_epi32, sum, products)
        }
    }
    #[inline(always)]
    fn dot4(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        // As pairs of 16 bits: the instruction for bytes saturates.
        // SAFETY: the token proves AVX2.
        unsafe {
            let low = _mm256_set1_epi16(0xff);
            let even = both!(|b| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)), b);
            let evens = self.dot2(both!(_mm256_and_si256, a, [low; 2]), even, sum);
            let odds = both!(|a| _mm256_srli_epi16::<8>(a), a);
            self.dot2(odds, both!(|b| _mm256_srai_epi16::<8>(b), b), evens)
        }
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_add_epi32, a, b) }
    }
    #[inline(always)]
    fn to_floats(self, v: Self::I) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cvtepi32_ps(v[0]), _mm256_cvtepi32_ps(v[1])] }
    }
    #[inline(always)]
    fn to_integers(self, v: Self::V) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cvttps_epi32(v[0]), _mm256_cvttps_epi32(v[1])] }
    }
    #[inline(always)]
    fn to_nearest(self, v: Self::V) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1])] }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable bytes; the token proves AVX2.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            self.to_floats([_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes))])
        }
    }
    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16) -> Self::V {
        // SAFETY: the caller vouches for sixteen readable half floats; the token proves F16C.
        unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(from.cast())), _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast()))] }
    }
    #[inline(always)]
    fn low_nibbles<const FIRST: i32>(self, v: Self::I) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe {
            let nibbles = both!(_mm256_and_si256, v, self.splat_int(15));
            self.to_floats(both!(_mm256_add_epi32, nibbles, self.splat_int(FIRST)))
        }
    }
    #[inline(always)]
    fn next_nibbles(self, v: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_srli_epi32::<4>(v[0]), _mm256_srli_epi32::<4>(v[1])] }
    }
    #[inline(always)]
    fn min_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_min_epi32, a, b) }
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, a: Self::I) -> Self::I {
        let by = [N as i32; 8];
        // SAFETY: the token proves AVX2; the array holds eight integers.
        unsafe {
            let by = _mm256_loadu_si256(by.as_ptr().cast());
            [_mm256_srlv_epi32(a[0], by), _mm256_srlv_epi32(a[1], by)]
        }
    }
    #[inline(always)]
    fn where_not_zero(self, v: Self::I, a: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            let zero = both!(_mm256_cmpeq_epi32, v, self.splat_int(0));
            both!(_mm256_andnot_si256, zero, a)
        }
    }
    #[inline(always)]
    fn count_not_zero(self, v: Self::I) -> u32 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let zeros = both!(_mm256_cmpeq_epi32, v, self.splat_int(0));
            let zeros = both!(|zeros| _mm256_movemask_ps(_mm256_castsi256_ps(zeros)).count_ones(), zeros);
            LANES as u32 - zeros[0] - zeros[1]
        }
    }
    #[inline(always)]
    fn as_ints(self, v: Self::V) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_castps_si256(v[0]), _mm256_castps_si256(v[1])] }
    }
    #[inline(always)]
    fn as_floats(self, v: Self::I) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_castsi256_ps(v[0]), _mm256_castsi256_ps(v[1])] }
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let mut columns = rows;
        for half in 0..2 {
            let (mut low, mut high) = ([rows[0][half]; LANES / 2], [rows[0][half]; LANES / 2]);
            for i in 0..LANES / 2 {
                (low[i], high[i]) = (rows[i][half], rows[LANES / 2 + i][half]);
            }
            // SAFETY: the token proves AVX2.
            let (low, high) = unsafe { (transpose_eight(low), transpose_eight(high)) };
            for i in 0..LANES / 2 {
                columns[half * LANES / 2 + i] = [low[i], high[i]];
            }
        }
        columns
    }
    #[inline(always)]
    fn fours(self, [a, b, c, d]: [Self::I; 4]) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            // Both instructions cut what is beyond.
            let (low, high) = (both!(_mm256_packs_epi32, a, b), both!(_mm256_packs_epi32, c, d));
            both!(_mm256_packus_epi16, low, high)
        }
    }
    #[inline(always)]
    fn transpose_fours(self, [low, high]: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe {
            // Quarters 0 and 2 beside each other, and 1 and 3; lanes of two quarters alternate, then pairs of these.
            let even = _mm256_permute2x128_si256::<0x20>(low, high);
            let odd = _mm256_permute2x128_si256::<0x31>(low, high);
            let (first, last) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
            both!(|v| _mm256_permute4x64_epi64::<0b11_01_10_00>(v), [first, last])
        }
    }
    #[inline(always)]
    unsafe fn quads(self, rows: [*const i32; 4]) -> [Self::I; 4] {
        let mut quads = [self.splat_int(0); 4];
        for half in 0..2 {
            // SAFETY: the caller vouches for sixteen readable integers of each row; the token proves AVX2.
            unsafe {
                let mut of = [_mm256_setzero_si256(); 4];
                for row in 0..4 {
                    of[row] = _mm256_loadu_si256(rows[row].add(half * LANES / 2).cast());
                }
                let (low, high) = (_mm256_unpacklo_epi8(of[0], of[1]), _mm256_unpackhi_epi8(of[0], of[1]));
                let (of_low, of_high) = (_mm256_unpacklo_epi8(of[2], of[3]), _mm256_unpackhi_epi8(of[2], of[3]));
                quads[0][half] = _mm256_unpacklo_epi16(low, of_low);
                quads[1][half] = _mm256_unpackhi_epi16(low, of_low);
                quads[2][half] = _mm256_unpacklo_epi16(high, of_high);
                quads[3][half] = _mm256_unpackhi_epi16(high, of_high);
            }
        }
        quads
    }
    #[inline(always)]
    fn low_bytes(self, v: Self::I) -> [i32; LANES / 4] {
        let mut bytes = [0; LANES / 4];
        // SAFETY: the array holds sixteen bytes.
        unsafe { self.store_bytes(bytes.as_mut_ptr().cast(), v) };
        bytes
    }
}

/// Lane `j` of row `i` becomes lane `i` of row `j`.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn transpose_eight(rows: [__m256; LANES / 2]) -> [__m256; LANES / 2] {
    let (mut pairs, mut fours, mut all) = (rows, rows, rows);
    // SAFETY: the caller's.
    unsafe {
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        for i in 0..2 {
            // Lanes 0, 1, 2, 3 of each half, of four rows.
            let (a, b, c, d) = (pairs[4 * i], pairs[4 * i + 2], pairs[4 * i + 1], pairs[4 * i + 3]);
            fours[4 * i] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            fours[4 * i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
            fours[4 * i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(c, d);
            fours[4 * i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(c, d);
        }
        for i in 0..4 {
            all[i] = _mm256_permute2f128_ps::<0x20>(fours[i], fours[4 + i]);
            all[4 + i] = _mm256_permute2f128_ps::<0x31>(fours[i], fours[4 + i]);
        }
    }
    all
}
