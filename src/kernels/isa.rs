//! Instruction-set levels, chosen at run time, and the only place where code is dispatched to them.

use super::simd::{Scalar, Simd};
#[cfg(target_arch = "x86_64")]
use super::x86_64::{Avx2, Avx512};

/// An instruction-set level. A value above [`Isa::SCALAR`] proves that this CPU supports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A computation that is written once and compiled for every level.
///
/// `run` must be `#[inline(always)]`, and so must all that it calls for vectors: it is inlined into a function that has the level's
/// features. A closure cannot be marked so; where it is not inlined, each of its instructions becomes a call.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The body, generic over the vector type of the level.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Plain Rust: available everywhere, and the reference for the other levels.
    pub const SCALAR: Self = Self(Level::Scalar);

    /// The best level this CPU has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::SCALAR)
    }

    /// All levels this CPU has, lowest first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            if Avx2::new().is_some() {
                levels.push(Self(Level::Avx2));
            }
            if Avx512::new().is_some() {
                levels.push(Self(Level::Avx512));
            }
        }
        levels
    }

    /// The level of that name, if this CPU has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// `scalar`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// Whether its register file holds a tile of 28 sums; no order of summation depends on it.
    pub fn has_many_registers(self) -> bool {
        match self.0 {
            Level::Scalar => Scalar::REGISTERS >= 32,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::REGISTERS >= 32,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::REGISTERS >= 32,
        }
    }

    /// Runs `kernel` compiled for this level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Scalar => kernel.run(Scalar),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::new().expect("an Isa of this level is only made where the CPU has it").run(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::new().expect("an Isa of this level is only made where the CPU has it").run(kernel),
        }
    }
}
