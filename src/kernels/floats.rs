//! Floating-point types of few bits: values rounded to them, as exponents and significands.

/// Bits of the fraction of an f32, and its bias.
const FRACTION: u32 = 23;
const BIAS: u32 = 127;

/// A floating-point type of a sign, an exponent and a fraction. Subnormal values are values of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatType {
    /// Bits of the exponent.
    pub exponent: u32,
    /// Bits of the fraction; the significand has the hidden bit besides.
    pub fraction: u32,
    /// Exponent and fraction of the largest finite value, as one integer.
    largest: u32,
}

/// bf16, fp16, e4m3 and e5m2.
pub const FLOAT_TYPES: [FloatType; 4] = [
    FloatType { exponent: 8, fraction: 7, largest: 0x7f7f },
    FloatType { exponent: 5, fraction: 10, largest: 0x7bff },
    // The type without infinities: 448.
    FloatType { exponent: 4, fraction: 3, largest: 0x7e },
    FloatType { exponent: 5, fraction: 2, largest: 0x7b },
];

impl FloatType {
    /// The type of f32's exponents whose significands have `bits` bits, the hidden one among them: 1 to
    /// [`FloatType::MOST_SIGNIFICAND`].
    ///
    /// # Panics
    /// For other `bits`.
    pub fn of_significand(bits: u32) -> Self {
        assert!((1..=Self::MOST_SIGNIFICAND).contains(&bits), "significands of 1 to {} bits", Self::MOST_SIGNIFICAND);
        let fraction = bits - 1;
        Self { exponent: 8, fraction, largest: (0xff << fraction) - 1 }
    }

    /// Most bits of the significand of a type by [`FloatType::of_significand`]: those of fp16 and TF32.
    pub const MOST_SIGNIFICAND: u32 = 11;

    /// Names of the types of f32's exponents, by the bits of their fractions.
    const OF_FRACTION: [&'static str; Self::MOST_SIGNIFICAND as usize] =
        ["e8m0", "e8m1", "e8m2", "e8m3", "e8m4", "e8m5", "e8m6", "bf16", "e8m8", "e8m9", "e8m10"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match (self.exponent, self.fraction) {
            (8, fraction) => Self::OF_FRACTION[fraction as usize],
            (5, 10) => "fp16",
            (4, _) => "e4m3",
            _ => "e5m2",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let of_significands = (1..=Self::MOST_SIGNIFICAND).map(Self::of_significand);
        FLOAT_TYPES.into_iter().chain(of_significands).find(|of| of.name() == name)
    }

    /// Bits of a significand, the hidden bit among them.
    pub fn significand_bits(self) -> u32 {
        self.fraction + 1
    }

    /// Exponent and fraction of `|x|` rounded to the type, ties to even, as one integer, which orders as the values do; and
    /// whether it was beyond the largest finite value, which stands for it then.
    #[inline(always)]
    fn rounded(self, x: f32) -> (u32, bool) {
        let (shift, bias) = (FRACTION - self.fraction, (1 << (self.exponent - 1)) - 1);
        let magnitude = x.to_bits() & (u32::MAX >> 1);
        // Half of the last place that stays, less one where that is even: what the sum carries is the rounding.
        let half = (1 << (shift - 1)) - 1 + (magnitude >> shift & 1);
        let normal = (magnitude.wrapping_add(half) >> shift).wrapping_sub((BIAS - bias) << self.fraction);
        // Beside a power whose last place is that of the subnormal values, the f32 sum rounds as they do.
        let power = (BIAS + FRACTION + 1 - bias - self.fraction) << FRACTION;
        let subnormal = (f32::from_bits(magnitude) + f32::from_bits(power)).to_bits().wrapping_sub(power);
        let rounded = if magnitude < (BIAS + 1 - bias) << FRACTION { subnormal } else { normal };
        (if rounded > self.largest { self.largest } else { rounded }, rounded > self.largest)
    }

    /// The significand, hidden bit included, of an exponent and a fraction as one integer.
    #[inline(always)]
    fn significand(self, pattern: u32) -> u32 {
        let hidden = 1 << self.fraction;
        if pattern < hidden { pattern } else { pattern & (hidden - 1) | hidden }
    }

    /// Exponent field and significand, hidden bit included, of `x` rounded to the type, ties to even; what is too large becomes
    /// the largest finite value.
    pub fn fields(self, x: f32) -> (u16, u16) {
        let (pattern, _) = self.rounded(x);
        ((pattern >> self.fraction) as u16, self.significand(pattern) as u16)
    }

    /// The significand of `x` rounded to the type, hidden bit included, with the sign of `x`; and whether `x` was beyond the
    /// largest finite value, which stands for it then.
    #[inline(always)]
    pub fn code(self, x: f32) -> (i32, bool) {
        let (pattern, beyond) = self.rounded(x);
        (with_sign(self.significand(pattern) as i32, x), beyond)
    }

    /// An integer that is equal for values that round to the same one and for no others: exponent and fraction, with the sign
    /// of `x`.
    #[inline(always)]
    pub fn pattern(self, x: f32) -> i32 {
        with_sign(self.rounded(x).0 as i32, x)
    }

    /// `x` rounded to a type of f32's exponents, ties to even; what is too large becomes the largest finite value.
    ///
    /// # Panics
    /// Where overflow is checked, for types of other exponents.
    #[inline(always)]
    pub fn nearest(self, x: f32) -> f32 {
        debug_assert_eq!(self.exponent, 8, "exponents of f32");
        let sign = x.to_bits() & !(u32::MAX >> 1);
        f32::from_bits(self.rounded(x).0 << (FRACTION - self.fraction) | sign)
    }

    /// The significand's magnitude of a [`FloatType::pattern`].
    #[inline(always)]
    pub fn significand_of(self, pattern: i32) -> u32 {
        self.significand(pattern.unsigned_abs())
    }
}

/// `magnitude` with the sign of `x`.
#[inline(always)]
fn with_sign(magnitude: i32, x: f32) -> i32 {
    let sign = x.to_bits() as i32 >> 31;
    (magnitude ^ sign) - sign
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    /// Every non-negative finite value of the type by exponent and fraction, by the definition of floating point.
    fn values(of: FloatType) -> Vec<f64> {
        let bias = (1 << (of.exponent - 1)) - 1;
        let value = |pattern: u32| {
            let (field, fraction) = ((pattern >> of.fraction) as i32, f64::from(pattern & ((1 << of.fraction) - 1)));
            let fraction = fraction / f64::from(1 << of.fraction);
            if field == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(field - bias) }
        };
        (0..=of.largest).map(value).collect()
    }

    /// The nearest of `values`, the even one of two; the value after the last would be `beyond`, and is saturated.
    fn nearest(values: &[f64], beyond: f64, x: f64) -> (usize, bool) {
        let above = values.partition_point(|&value| value < x);
        let at = |index: usize| values.get(index).copied().unwrap_or(beyond);
        let index = match above.checked_sub(1) {
            Some(below) => {
                let (down, up) = (x - at(below), at(above) - x);
                if down < up || down == up && below % 2 == 0 { below } else { above }
            }
            None => above,
        };
        (index.min(values.len() - 1), index >= values.len())
    }

    #[test]
    fn values_round_to_the_nearest_of_the_type_ties_to_even() {
        for of in FLOAT_TYPES {
            let values = values(of);
            let last = *values.last().unwrap();
            let beyond = last + (last - values[values.len() - 2]);
            let mut checked = 0;
            let mut check = |x: f32| {
                let (index, saturated) = nearest(&values, beyond, f64::from(x.abs()));
                let (field, fraction) = (index >> of.fraction, index & ((1 << of.fraction) - 1));
                let significand = if field > 0 { fraction | 1 << of.fraction } else { fraction };
                assert_eq!(of.fields(x), (field as u16, significand as u16), "{} {x:e}", of.name());
                let signed = |magnitude: usize| if x < 0.0 { -(magnitude as i32) } else { magnitude as i32 };
                assert_eq!(of.code(x), (signed(significand), saturated), "{} {x:e}", of.name());
                assert_eq!(of.pattern(x), signed(index), "{} {x:e}", of.name());
                assert_eq!(of.significand_of(of.pattern(x)), significand as u32, "{} {x:e}", of.name());
                checked += 1;
            };
            // Every value, what lies halfway to the next, and what is next to these.
            for pair in values.windows(2).map(|pair| [pair[0], pair[1]]).chain([[last, beyond]]) {
                for x in [pair[0], f64::midpoint(pair[0], pair[1])].map(|x| x as f32) {
                    for x in [x, x.next_up(), x.next_down()] {
                        [x, -x].into_iter().filter(|x| x.is_finite()).for_each(&mut check);
                    }
                }
            }
            [0.0, -0.0, f32::MAX, f32::MIN, f32::from_bits(1), 1e-30, -3e-41].into_iter().for_each(&mut check);
            let mut mixed = 1_u32;
            for _ in 0..100_000 {
                mixed = mixed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some(f32::from_bits(mixed)).filter(|x| x.is_finite()).into_iter().for_each(&mut check);
            }
            assert!(checked > 12 * of.largest, "{checked}");
        }
    }

    #[test]
    fn bf16_and_fp16_are_those_of_the_half_crate() {
        for bits in 0..=u32::from(u16::MAX) {
            // All patterns of bf16, each with what is cut off.
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(bits << 16 | low);
                if !x.is_finite() {
                    continue;
                }
                let wants = [bf16::from_f32(x).to_bits(), f16::from_f32(x).to_bits()];
                for ((of, want), infinite) in FLOAT_TYPES.into_iter().zip(wants).zip([0x7f80, 0x7c00]) {
                    let (want, beyond) = (want & 0x7fff, want & 0x7fff == infinite);
                    let want = want - u16::from(beyond);
                    assert_eq!(of.pattern(x).unsigned_abs(), u32::from(want), "{} {x:e}", of.name());
                    assert_eq!(of.code(x).1, beyond, "{} {x:e}", of.name());
                }
            }
            // All patterns of fp16 are values of it.
            let x = f16::from_bits(bits as u16);
            if x.is_finite() {
                assert_eq!(FLOAT_TYPES[1].pattern(x.to_f32()).unsigned_abs(), u32::from(x.to_bits() & 0x7fff));
            }
        }
    }

    #[test]
    fn significands_of_any_bits_round_as_the_definition_does() {
        for bits in 1..=FloatType::MOST_SIGNIFICAND {
            let of = FloatType::of_significand(bits);
            assert_eq!((of.significand_bits(), FloatType::from_name(of.name())), (bits, Some(of)));
            let values = values(of);
            // What would be the next has f32's exponent of infinity.
            let beyond_all = 2f64.powi(128);
            let mut mixed = bits;
            for _ in 0..2_000 {
                mixed = mixed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let x = f32::from_bits(mixed);
                if !x.is_finite() {
                    continue;
                }
                let (index, beyond) = nearest(&values, beyond_all, f64::from(x.abs()));
                assert_eq!(f64::from(of.nearest(x).abs()), values[index], "{bits} {x:e}");
                assert_eq!(of.nearest(x).is_sign_negative(), x.is_sign_negative());
                assert_eq!(of.code(x).1, beyond);
            }
        }
        assert_eq!(FloatType::of_significand(8), FLOAT_TYPES[0]);
    }

    #[test]
    fn types_have_names_and_largest_values() {
        let largest = FLOAT_TYPES.map(|of| (of.name(), *values(of).last().unwrap()));
        assert_eq!(largest[1..], [("fp16", 65504.0), ("e4m3", 448.0), ("e5m2", 57344.0)]);
        assert_eq!(largest[0], ("bf16", f64::from(f32::from_bits(0x7f7f_0000))));
        assert!(FLOAT_TYPES.into_iter().all(|of| FloatType::from_name(of.name()) == Some(of)));
        assert_eq!(FLOAT_TYPES.map(FloatType::significand_bits), [8, 11, 4, 3]);
        // 464 lies halfway to what would be 480 and goes to the even 448; more is beyond.
        assert_eq!([464.0, 464.1, -1e9].map(|x| FLOAT_TYPES[2].code(x)), [(14, false), (14, true), (-14, true)]);
    }
}
