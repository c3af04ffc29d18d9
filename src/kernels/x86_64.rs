//! The x86-64 levels of [`Simd`]: AVX2 with FMA, and AVX-512 as Ice Lake and Zen 4 have it.

use std::arch::x86_64::*;

use super::geometry::LANES;
use super::isa::Kernel;
use super::simd::Simd;
use super::tile::unrolled;

/// AVX2, FMA, BMI2: two registers a vector.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// AVX-512 F, BW, CD, DQ, VL, VNNI, VPOPCNTDQ, BITALG and VBMI2: one register a vector.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

macro_rules! level {
    ($name:ident, $($feature:tt),+) => {
        impl $name {
            /// The token, if this CPU has every feature of the level.
            #[inline]
            pub fn new() -> Option<Self> {
                ($(std::arch::is_x86_feature_detected!($feature))&&+).then_some(Self(()))
            }

            /// Runs `kernel` inside a function compiled with the level's features.
            #[inline]
            pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
                #[target_feature($(enable = $feature),+)]
                fn inner<K: Kernel>(kernel: K, token: $name) -> K::Output {
                    kernel.run(token)
                }
                // SAFETY: `self` is only made by `new`, after all features were detected.
                unsafe { inner(kernel, self) }
            }
        }
    };
}

level!(Avx2, "avx2", "fma", "bmi1", "bmi2", "lzcnt", "popcnt", "f16c");
level!(
    Avx512,
    "avx512f",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512vl",
    "avx512vnni",
    "avx512vpopcntdq",
    "avx512bitalg",
    "avx512vbmi2",
    "avx2",
    "fma",
    "bmi1",
    "bmi2",
    "lzcnt",
    "popcnt",
    "f16c"
);

// Each method below calls intrinsics of the level's features; the token proves the CPU has them.
macro_rules! both {
    ($f:ident, $($arg:expr),+) => { [$f($($arg.0),+), $f($($arg.1),+)] };
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    type I = [__m256i; 2];
    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::V {
        let from: &[f32; LANES] = from.first_chunk().expect("sixteen lanes");
        // SAFETY: the array holds sixteen floats.
        unsafe { self.load_ptr(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32], v: Self::V) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("sixteen lanes");
        // SAFETY: the array holds sixteen floats.
        unsafe { self.store_ptr(to.as_mut_ptr(), v) }
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
        unsafe { both!(_mm256_add_ps, (a[0], a[1]), (b[0], b[1])) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_sub_ps, (a[0], a[1]), (b[0], b[1])) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_mul_ps, (a[0], a[1]), (b[0], b[1])) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_div_ps, (a[0], a[1]), (b[0], b[1])) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token proves FMA.
        unsafe { both!(_mm256_fmadd_ps, (a[0], a[1]), (b[0], b[1]), (c[0], c[1])) }
    }
    #[inline(always)]
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token proves FMA.
        unsafe { both!(_mm256_fnmadd_ps, (a[0], a[1]), (b[0], b[1]), (c[0], c[1])) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_max_ps, (a[0], a[1]), (b[0], b[1])) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_min_ps, (a[0], a[1]), (b[0], b[1])) }
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
            let bits = |a| _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127)));
            [_mm256_castsi256_ps(bits(a[0])), _mm256_castsi256_ps(bits(a[1]))]
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
            let products = both!(_mm256_madd_epi16, (a[0], a[1]), (b[0], b[1]));
            both!(_mm256_add_epi32, (sum[0], sum[1]), (products[0], products[1]))
        }
    }
    #[inline(always)]
    fn dot4(self, a: Self::I, b: Self::I, sum: Self::I) -> Self::I {
        // As pairs: the instruction for bytes saturates.
        // SAFETY: the token proves AVX2.
        unsafe {
            let low = _mm256_set1_epi16(0xff);
            let even = |b| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b));
            let evens =
                self.dot2([_mm256_and_si256(a[0], low), _mm256_and_si256(a[1], low)], [even(b[0]), even(b[1])], sum);
            let odds = [_mm256_srli_epi16::<8>(a[0]), _mm256_srli_epi16::<8>(a[1])];
            self.dot2(odds, [_mm256_srai_epi16::<8>(b[0]), _mm256_srai_epi16::<8>(b[1])], evens)
        }
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token proves AVX2.
        unsafe { both!(_mm256_add_epi32, (a[0], a[1]), (b[0], b[1])) }
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
}

impl Simd for Avx512 {
    type V = __m512;
    type I = __m512i;
    const REGISTERS: usize = 32;
    const AVX512: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::V {
        let from: &[f32; LANES] = from.first_chunk().expect("sixteen lanes");
        // SAFETY: the array holds sixteen floats.
        unsafe { self.load_ptr(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32], v: Self::V) {
        let to: &mut [f32; LANES] = to.first_chunk_mut().expect("sixteen lanes");
        // SAFETY: the array holds sixteen floats.
        unsafe { self.store_ptr(to.as_mut_ptr(), v) }
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
