//! The x86-64 levels of [`Simd`]: AVX2 with FMA, and AVX-512 as Ice Lake and Zen 4 have it.

mod avx2_halves;
mod avx512;
mod avx512_halves;

use std::arch::x86_64::*;

use super::geometry::LANES;
use super::isa::Kernel;
use super::simd::Simd;

/// AVX2, FMA, BMI2: two registers a vector.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// AVX-512 F, BW, CD, DQ, VL, VNNI, VPOPCNTDQ, BITALG and VBMI2: one register a vector.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

macro_rules! level {
    ($name:ident, $($feature:tt),+) => {
        impl $name {
            /// A value of the type, which proves that this CPU has every feature of the level; `None` if it lacks one.
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
        // As pairs of 16 bits: the instruction for bytes saturates.
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
            let code = |v| _mm256_add_epi32(_mm256_and_si256(v, _mm256_set1_epi32(15)), _mm256_set1_epi32(FIRST));
            self.to_floats([code(v[0]), code(v[1])])
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
        unsafe { both!(_mm256_min_epi32, (a[0], a[1]), (b[0], b[1])) }
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
            let there = |v, a| _mm256_andnot_si256(_mm256_cmpeq_epi32(v, _mm256_setzero_si256()), a);
            [there(v[0], a[0]), there(v[1], a[1])]
        }
    }
    #[inline(always)]
    fn count_not_zero(self, v: Self::I) -> u32 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let zeros = v.map(|v| _mm256_castsi256_ps(_mm256_cmpeq_epi32(v, _mm256_setzero_si256())));
            LANES as u32 - zeros.map(|zeros| _mm256_movemask_ps(zeros).count_ones()).iter().sum::<u32>()
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
}
