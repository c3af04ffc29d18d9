//! Weights that are computed with as floats and stored as integers of a few bits.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Weights that are computed with as floats and stored as low-bit integers.
#[derive(Clone, Debug)]
pub struct LowBits {
    /// Bits per integer, sign included.
    pub bits: u32,
    /// Whether integers have a sign.
    pub signed: bool,
    /// The integers, in the order of the weights.
    pub codes: LowBitCodes,
}

/// Integers that are there, or are made when they are asked for: a run that measures nothing pays nothing for them.
#[derive(Clone)]
pub enum LowBitCodes {
    /// In memory.
    Held(Arc<[f32]>),
    /// Read from what a file stores.
    Made(Arc<dyn Fn() -> Vec<f32> + Send + Sync>),
}

impl LowBitCodes {
    /// The integers.
    pub fn get(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Held(codes) => Cow::Borrowed(codes),
            Self::Made(make) => Cow::Owned(make()),
        }
    }
}

impl fmt::Debug for LowBitCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(codes) => write!(f, "{} codes", codes.len()),
            Self::Made(_) => f.write_str("codes of a file"),
        }
    }
}

impl LowBits {
    /// Weights stored as these codes minus their zero point: 4 bits if all fit, else 8, or 9 if the zero point makes them
    /// wider.
    pub fn stored(codes: Arc<[f32]>) -> Self {
        let fit = |bits: u32| {
            let most = (1 << (bits - 1)) as f32;
            codes.iter().all(|&code| code >= -most && code < most)
        };
        let bits = [4, 8].into_iter().find(|&bits| fit(bits)).unwrap_or(9);
        Self { bits, signed: true, codes: LowBitCodes::Held(codes) }
    }

    /// Ternary weights: 0, one positive and one negative value. `None` if there are others.
    pub fn ternary(weights: &[f32]) -> Option<Self> {
        let first = |positive: bool| weights.iter().copied().find(|w| if positive { *w > 0.0 } else { *w < 0.0 });
        let levels = [first(true), first(false)];
        let ternary = weights.iter().all(|&w| w == 0.0 || levels.contains(&Some(w)));
        let code = |&w: &f32| if w == 0.0 { 0.0 } else { w.signum() };
        ternary.then(|| Self { bits: 2, signed: true, codes: LowBitCodes::Held(weights.iter().map(code).collect()) })
    }

    /// Smallest and largest integer of that many bits.
    pub fn range(&self) -> (i32, i32) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }
}
