//! The x86-64 levels of [`Simd`](super::simd::Simd): AVX2 with FMA, and AVX-512 as Ice Lake and Zen 4 have it.

mod avx2;
mod avx2_halves;
mod avx512;
mod avx512_halves;

use super::isa::Kernel;

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
