//! Requantisation of 32-bit sums of integer products to 8-bit codes, with the roundings of the common runtimes.

use super::conv::Wrapped;
use super::geometry::LANES;
use super::simd::Simd;

/// How a sum is multiplied by a real number and rounded. Runtimes differ here by one code now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// In f32, ties to even: ONNX Runtime, PyTorch, XNNPACK.
    Float32,
    /// By a 31-bit mantissa and a shift, rounded twice: gemmlowp, TFLite's reference kernels.
    #[default]
    Fixed31,
    /// The same, rounded once, ties up: ruy, with which TFLite multiplies int8 matrices.
    Fixed31Once,
}

/// A real multiplier as `mantissa * 2^(shift - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed31 {
    /// 2^30 to 2^31 - 1, or 0.
    pub mantissa: i32,
    /// Power of two.
    pub shift: i32,
}

impl Fixed31 {
    /// The nearest to `real`, which must not be negative; those below 2^-32 become 0, and those from 2^30 on the largest, as in
    /// TFLite's `QuantizeMultiplier`.
    pub fn new(real: f64) -> Self {
        if real == 0.0 {
            return Self { mantissa: 0, shift: 0 };
        }
        if real >= f64::from(1 << 30) {
            return Self { mantissa: i32::MAX, shift: 30 };
        }
        let mut shift = real.log2().floor() as i32 + 1;
        let mut fraction = real / 2f64.powi(shift);
        // The logarithm may be rounded up.
        if fraction >= 1.0 {
            (fraction, shift) = (fraction / 2.0, shift + 1);
        } else if fraction < 0.5 {
            (fraction, shift) = (fraction * 2.0, shift - 1);
        }
        let mut mantissa = (fraction * f64::from(1u32 << 31)).round() as i64;
        if mantissa == 1 << 31 {
            (mantissa, shift) = (mantissa / 2, shift + 1);
        }
        match shift {
            ..-31 => Self { mantissa: 0, shift: 0 },
            31.. => Self { mantissa: i32::MAX, shift: 30 },
            _ => Self { mantissa: mantissa as i32, shift },
        }
    }

    /// `x` times it: the high half of the doubled product, rounded to nearest, ties up; then the shift, rounded to nearest,
    /// ties away from zero.
    #[inline(always)]
    pub fn apply(self, x: i32) -> i32 {
        let (left, right) = (self.shift.max(0), (-self.shift).max(0));
        let product = i64::from(x.wrapping_shl(left as u32)) * i64::from(self.mantissa);
        let high = ((product + (1 << 30)) >> 31) as i32;
        let mask = (1i32 << right).wrapping_sub(1);
        let threshold = (mask >> 1) + i32::from(high < 0);
        (high >> right) + i32::from((high & mask) > threshold)
    }

    /// `x` times it, rounded once to nearest, ties up.
    #[inline(always)]
    pub fn apply_once(self, x: i32) -> i32 {
        let right = 31 - self.shift;
        ((i64::from(x) * i64::from(self.mantissa) + (1 << (right - 1))) >> right) as i32
    }
}

/// Parameters that turn the sums of a filter into codes.
#[derive(Clone, Debug)]
pub struct Requantize {
    /// Added to the sums, `[K]`.
    pub bias: Vec<i32>,
    /// Added to the sums in f32, `[K]`, with [`Rounding::Float32`] alone: PyTorch's bias. Empty for none.
    pub offset: Vec<f32>,
    /// `[K]`: scale of the input times scale of the weights over scale of the output.
    pub multipliers: Vec<f64>,
    /// How the product is rounded.
    pub rounding: Rounding,
    /// Range of `q - zero_point` of the input, at most 8 bits wide.
    pub input: (i32, i32),
    /// Lower bound of `q - zero_point` of the output: of the 8-bit codes, cut by the activation. At most 0.
    pub low: i32,
    /// Upper bound, at least 0.
    pub high: i32,
    /// Whether a sum has left 32 bits and wrapped, as it does in the runtimes.
    pub wrapped: Wrapped,
}

impl Requantize {
    /// Whether codes, before clipping, are products in f32 that fit 32 bits.
    pub(super) fn is_small(&self) -> bool {
        self.rounding == Rounding::Float32 && self.offset.is_empty() && self.multipliers.iter().all(|&m| m <= 0.5)
    }
}

/// 1.5 * 2^23: adding it rounds a float to an integer.
const WHOLE: f32 = 12_582_912.0;

/// A [`Requantize`] by blocks of sixteen filters.
pub(super) struct Requantizer {
    blocks: Vec<Lanes>,
    /// Whether any filter has an offset.
    offsets: bool,
    rounding: Rounding,
    low: i32,
    high: i32,
}

/// Parameters of one block; padding lanes are all zero, and so are their codes.
struct Lanes {
    bias: [i32; LANES],
    offset: [f32; LANES],
    scale: [f32; LANES],
    mantissa: [i32; LANES],
    shift: [i32; LANES],
}

impl Requantizer {
    pub(super) fn new(requantize: &Requantize) -> Self {
        let Requantize { bias, offset, multipliers, rounding, low, high, .. } = requantize;
        assert_eq!(bias.len(), multipliers.len(), "a bias and a multiplier a filter");
        assert!(*low <= 0 && *high >= 0, "bounds enclose 0");
        assert!(offset.is_empty() || offset.len() == bias.len(), "an offset a filter, or none");
        let lanes = |(block, (bias, multipliers)): (usize, (&[i32], &[f64]))| {
            let fixed: Vec<Fixed31> = multipliers.iter().map(|&m| Fixed31::new(m)).collect();
            let lane = |lane: usize| fixed.get(lane).copied().unwrap_or(Fixed31 { mantissa: 0, shift: 0 });
            Lanes {
                bias: std::array::from_fn(|i| bias.get(i).copied().unwrap_or(0)),
                offset: std::array::from_fn(|i| offset.get(block * LANES + i).copied().unwrap_or(0.0)),
                scale: std::array::from_fn(|i| multipliers.get(i).copied().unwrap_or(0.0) as f32),
                mantissa: std::array::from_fn(|i| lane(i).mantissa),
                shift: std::array::from_fn(|i| lane(i).shift),
            }
        };
        let blocks = bias.chunks(LANES).zip(multipliers.chunks(LANES)).enumerate().map(lanes).collect();
        let offsets = !offset.is_empty();
        Self { blocks, offsets, rounding: *rounding, low: *low, high: *high }
    }

    /// Whether [`Requantizer::codes`] takes only a few instructions.
    pub(super) fn is_quick(&self) -> bool {
        self.rounding == Rounding::Float32
    }

    /// Whether any filter has an offset.
    pub(super) fn has_offsets(&self) -> bool {
        self.offsets
    }

    /// The initial sums of block `block`.
    #[inline(always)]
    pub(super) fn bias<S: Simd>(&self, s: S, block: usize) -> S::I {
        // SAFETY: the array holds sixteen integers.
        unsafe { s.load_int(self.blocks[block].bias.as_ptr()) }
    }

    /// The codes of block `block` as floats, for sums of products `sums`.
    #[inline(always)]
    pub(super) fn codes<S: Simd>(&self, s: S, block: usize, sums: S::I) -> S::V {
        self.codes_of_biased(s, block, s.add_int(sums, self.bias(s, block)))
    }

    /// Scaled sums of block `block`, not yet rounded to codes, for sums of products plus bias, with [`Rounding::Float32`];
    /// `OFFSETS` is [`Self::has_offsets`].
    #[inline(always)]
    pub(super) fn scaled<S: Simd, const OFFSETS: bool>(&self, s: S, block: usize, sums: S::I) -> S::V {
        let lanes = &self.blocks[block];
        let mut scaled = s.to_floats(sums);
        if OFFSETS {
            scaled = s.add(scaled, s.load(&lanes.offset));
        }
        s.mul(scaled, s.load(&lanes.scale))
    }

    /// As [`Self::codes_of_biased`], if [`Self::is_quick`]; `OFFSETS` is [`Self::has_offsets`].
    #[inline(always)]
    pub(super) fn quick_codes<S: Simd, const OFFSETS: bool>(&self, s: S, block: usize, sums: S::I) -> S::V {
        let scaled = self.scaled::<S, OFFSETS>(s, block, sums);
        let bounded = s.min(s.splat(self.high as f32), s.max(s.splat(self.low as f32), scaled));
        // Floats of this size have no fraction bits: adding it rounds, ties to even, and turns -0 into +0.
        let whole = s.splat(WHOLE);
        s.sub(s.add(bounded, whole), whole)
    }

    /// The codes of block `block` as floats, for sums of products plus bias.
    #[inline(always)]
    pub(super) fn codes_of_biased<S: Simd>(&self, s: S, block: usize, sums: S::I) -> S::V {
        match (self.is_quick(), self.offsets) {
            (true, true) => return self.quick_codes::<S, true>(s, block, sums),
            (true, false) => return self.quick_codes::<S, false>(s, block, sums),
            (false, _) => {}
        }
        let lanes = &self.blocks[block];
        // Loops of one step each, which the compiler vectorises.
        let sums = s.to_ints(sums);
        let mut codes = [0.0; LANES];
        match self.rounding {
            Rounding::Float32 | Rounding::Fixed31 => {
                for i in 0..LANES {
                    let fixed = Fixed31 { mantissa: lanes.mantissa[i], shift: lanes.shift[i] };
                    codes[i] = fixed.apply(sums[i]).max(self.low).min(self.high) as f32;
                }
            }
            Rounding::Fixed31Once => {
                for i in 0..LANES {
                    let fixed = Fixed31 { mantissa: lanes.mantissa[i], shift: lanes.shift[i] };
                    codes[i] = fixed.apply_once(sums[i]).max(self.low).min(self.high) as f32;
                }
            }
        }
        s.load(&codes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::simd::Scalar;

    #[test]
    fn multipliers_are_a_mantissa_and_a_shift() {
        assert_eq!(Fixed31::new(1.0), Fixed31 { mantissa: 1 << 30, shift: 1 });
        assert_eq!(Fixed31::new(0.5), Fixed31 { mantissa: 1 << 30, shift: 0 });
        assert_eq!(Fixed31::new(0.999_999_999_9), Fixed31 { mantissa: 1 << 30, shift: 1 });
        for none in [1e-12, 1e-20, 1e-300, f64::from(f32::MIN_POSITIVE) / 8.0] {
            assert_eq!(Fixed31::new(none), Fixed31 { mantissa: 0, shift: 0 });
        }
        for many in [f64::from(1 << 30), 1e40, f64::INFINITY] {
            assert_eq!(Fixed31::new(many), Fixed31 { mantissa: i32::MAX, shift: 30 });
        }
        // The largest and the smallest sums, by hand: (x * 2^30 + 2^30) >> 31.
        let half = Fixed31::new(0.5);
        assert_eq!([i32::MAX, i32::MIN, -i32::MAX].map(|x| half.apply(x)), [1 << 30, -(1 << 30), -(1 << 30) + 1]);
        assert_eq!(Fixed31::new(0.0).apply(77), 0);
        // Rounded twice: a quarter of 1 first becomes a half, then 1; a quarter of -1 first becomes 0.
        let quarter = Fixed31::new(0.25);
        assert_eq!([2, -2, 6, -6, 1, -1].map(|x| quarter.apply(x)), [1, -1, 2, -2, 1, 0]);
    }

    proptest! {
        #[test]
        fn a_product_is_off_by_three_quarters_at_most(x in -30_000_000i32..30_000_000, real in 1e-6f64..2.0) {
            let got = f64::from(Fixed31::new(real).apply(x));
            prop_assert!((got - f64::from(x) * real).abs() <= 0.7501 + f64::from(x).abs() * 1e-9, "{got}");
        }

        #[test]
        fn lanes_round_as_one_does(sums in any::<[i32; 16]>(), real in 1e-6f64..0.02) {
            let sums = sums.map(|sum| sum >> 6);
            let of = |rounding| Requantizer::new(&Requantize {
                bias: vec![-5; 16], offset: vec![], multipliers: vec![real; 16], rounding, input: (-255, 255), low: -100_000, high: 100_000, wrapped: Wrapped::default(),
            });
            let one = |sum: i32| Fixed31::new(real).apply(sum - 5).clamp(-100_000, 100_000) as f32;
            prop_assert_eq!(of(Rounding::Fixed31).codes(Scalar, 0, sums), sums.map(one));
            let exact = |sum: i32| {
                let Fixed31 { mantissa, shift } = Fixed31::new(real);
                let product = f64::from(sum - 5) * f64::from(mantissa) * 2f64.powi(shift - 31);
                (product + 0.5).floor().clamp(-1e5, 1e5) as f32
            };
            prop_assert_eq!(of(Rounding::Fixed31Once).codes(Scalar, 0, sums), sums.map(exact));
            let one = |sum: i32| ((sum - 5) as f32 * real as f32).round_ties_even().clamp(-1e5, 1e5);
            prop_assert_eq!(of(Rounding::Float32).codes(Scalar, 0, sums), sums.map(one));
        }
    }
}
