//! Number formats: from a calibrated range to the map from real values to codes (METRICS section 2).

mod formats;
mod profile;
mod words;

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::error::near_or;
use crate::kernels::count::{CodeMap, Range};
use crate::kernels::{FLOAT_TYPES, FloatType};

pub use formats::{Formats, WeightScale};
pub use profile::{Precision, Profile};
pub use words::{FORMATS, NOTES, reference};

/// A family of maps, one for each range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFormat {
    /// Fixed point of so many bits, sign included, with a power-of-two scale: the largest that the range fits.
    Fixed(u32),
    /// Linear 8-bit: symmetric, or unsigned where the range holds no negative value.
    Int8,
    /// Signed significands of values rounded to a floating-point type.
    Float(FloatType),
    /// The integers that the network itself stores, less their zero point; fixed point of 16 bits where it stores floats.
    Stored,
    /// As a precision file says, layer by layer and operand by operand ([`Profile`]).
    Profile,
}

/// The integers that a network stores an operand as; the engine holds `q - zero_point`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored {
    /// The float value of one code step; none where filters have scales of their own.
    pub scale: Option<f32>,
    /// The code of zero.
    pub zero_point: i32,
    /// Smallest and largest code `q`.
    pub range: (i32, i32),
    /// Bits of a code.
    pub bits: u32,
}

impl Stored {
    /// Baseline width B of what multiplies, `q - zero_point`: bits of the largest magnitude, and one for the sign where codes lie
    /// below the zero point (METRICS section 2). Symmetric codes whose lowest does not occur in `range` (of all that the engine
    /// holds) have the narrow range.
    fn baseline(&self, range: Range) -> u32 {
        let (low, high) = (self.range.0 - self.zero_point, self.range.1 - self.zero_point);
        let is_narrow = self.zero_point == 0 && low == -high - 1 && range.min <= range.max && range.min > low as f32;
        let low = if is_narrow { -high } else { low };
        let most = low.unsigned_abs().max(high.unsigned_abs());
        u32::BITS - most.leading_zeros() + u32::from(low < 0)
    }
}

/// The numbers that one operand is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// From what the engine holds to codes.
    pub map: CodeMap,
    /// Baseline width B.
    pub bits: u32,
    /// The float value of 1 in what the engine holds; none where filters have scales of their own.
    pub unit: Option<f32>,
    /// Whether each filter has a map of its own, which differs from this one in its scale.
    pub per_filter: bool,
    /// The width of the layer that a precision file states, in place of that of its values.
    pub width: Option<u32>,
    /// What the codes are, if they are the network's own.
    pub stored: Option<Stored>,
}

impl Coding {
    /// Bits of the two's complement words that hold all codes.
    pub fn word(&self) -> u32 {
        let Self { map: CodeMap { lo, hi, .. }, bits, .. } = *self;
        let fits = if lo < 0 { lo >= -1 << (bits - 1) && hi < 1 << (bits - 1) } else { hi < 1 << bits };
        if fits { bits } else { bits + 1 }
    }
}

impl Default for NumberFormat {
    fn default() -> Self {
        Self::Fixed(16)
    }
}

impl fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bits) => write!(f, "fixed{bits}"),
            Self::Int8 => f.write_str("int8"),
            Self::Float(of) => f.write_str(of.name()),
            Self::Stored => f.write_str("stored"),
            Self::Profile => f.write_str("profile"),
        }
    }
}

impl FromStr for NumberFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bits = text.strip_prefix("fixed").and_then(|bits| bits.parse().ok());
        match (text, bits) {
            ("int8", _) => Ok(Self::Int8),
            ("stored", _) => Ok(Self::Stored),
            ("profile", _) => Ok(Self::Profile),
            (_, Some(bits @ 2..=16)) => Ok(Self::Fixed(bits)),
            _ => FLOAT_TYPES.into_iter().find(|of| of.name() == text).map(Self::Float).ok_or_else(|| {
                let known = "give fixed2 to fixed16, int8, bf16, fp16, e4m3, e5m2 or stored";
                let names = ["int8", "bf16", "fp16", "e4m3", "e5m2", "stored"].map(str::to_owned);
                let names = (2..=16).map(|bits| format!("fixed{bits}")).chain(names);
                let detail = match near_or(text, names, "").as_str() {
                    "" => known.to_owned(),
                    near => format!("{known}; {near}"),
                };
                Error::invalid(format!("number format {text}"), detail)
            }),
        }
    }
}

impl NumberFormat {
    /// Baseline width B.
    pub fn bits(self) -> u32 {
        match self {
            Self::Fixed(bits) => bits,
            Self::Int8 => 8,
            Self::Float(of) => of.significand_bits(),
            Self::Stored | Self::Profile => Self::default().bits(),
        }
    }

    /// How many scales weights have in it by default, if any: those of floats and stored codes are not chosen here.
    fn weight_scale(self) -> Option<WeightScale> {
        match self {
            Self::Int8 => Some(WeightScale::Filter),
            Self::Fixed(_) => Some(WeightScale::Tensor),
            Self::Float(_) | Self::Stored | Self::Profile => None,
        }
    }

    /// Whether its maps follow from the range of the values.
    pub fn is_calibrated(self) -> bool {
        !matches!(self, Self::Float(_) | Self::Profile)
    }

    /// The numbers for weights, all of which are in `range`: symmetric codes that leave out the lowest have the narrow range.
    pub fn weight_coding(self, range: Range, stored: Option<Stored>) -> Coding {
        let coding = self.coding(range, stored);
        Coding { bits: coding.stored.map_or(coding.bits, |stored| stored.baseline(range)), ..coding }
    }

    /// The numbers for an operand of which the engine holds values in `range` as far as is known, and the network stores the codes
    /// `stored`.
    pub fn coding(self, range: Range, stored: Option<Stored>) -> Coding {
        if let (Self::Stored, Some(stored)) = (self, stored) {
            let (low, high) = stored.range;
            let map = CodeMap::linear(1.0, low - stored.zero_point, high - stored.zero_point);
            return Coding {
                map,
                bits: stored.baseline(Range::default()),
                unit: stored.scale,
                per_filter: false,
                width: None,
                stored: Some(stored),
            };
        }
        // Where filters have scales of their own, the weights are held as floats here.
        let unit = stored.and_then(|stored| stored.scale).unwrap_or(1.0);
        let map = self.code_map(Range { min: range.min * unit, max: range.max * unit });
        let map = CodeMap { scale: map.scale * unit, ..map };
        Coding { map, bits: self.bits(), unit: Some(unit), per_filter: false, width: None, stored: None }
    }

    /// The maps of `weights`, of so many filters, in the numbers `coding` of this format: that of the tensor, or one a filter. The
    /// filters of a tensor without negative weights are coded without sign, and no others.
    pub fn weight_maps(self, coding: &Coding, weights: &[f32], filters: usize) -> Vec<CodeMap> {
        if !coding.per_filter {
            return vec![coding.map];
        }
        let unit = coding.unit.unwrap_or(1.0);
        let map = |filter: &[f32]| {
            let magnitude = Range::of(filter).magnitude() * unit;
            let range = Range { min: if coding.map.lo < 0 { -magnitude } else { 0.0 }, max: magnitude };
            CodeMap { scale: self.code_map(range).scale * unit, ..coding.map }
        };
        weights.chunks((weights.len() / filters).max(1)).map(map).collect()
    }

    /// The map for values in `range`; of a profile, which states none for outputs, that of fixed point of 16 bits. A range of nothing but zero has scale 1.
    pub fn code_map(self, range: Range) -> CodeMap {
        let magnitude = range.magnitude();
        match self {
            Self::Fixed(bits) => {
                let hi = (1 << (bits - 1)) - 1;
                CodeMap::linear(power_of_two(magnitude, hi), -hi, hi)
            }
            Self::Int8 if range.min >= 0.0 && range.min <= range.max => CodeMap::linear(linear(255, magnitude), 0, 255),
            Self::Int8 => CodeMap::linear(linear(127, magnitude), -127, 127),
            Self::Float(of) => CodeMap::float(1.0, of),
            Self::Stored | Self::Profile => Self::default().code_map(range),
        }
    }
}

/// The largest `2^f` with `magnitude * 2^f <= hi`, f within what f32 holds as a normal number.
fn power_of_two(magnitude: f32, hi: i32) -> f32 {
    if magnitude == 0.0 {
        return 1.0;
    }
    let fits = |f: i32| f64::from(magnitude) * 2f64.powi(f) <= f64::from(hi);
    let guess = (f64::from(hi) / f64::from(magnitude)).log2().floor() as i32;
    // The logarithm is rounded: the largest f that fits is the guess or a neighbour.
    let f = (guess - 1..=guess + 1).rev().find(|&f| fits(f)).unwrap_or(guess - 1);
    2f64.powi(f.clamp(-126, 126)) as f32
}

fn linear(hi: i32, magnitude: f32) -> f32 {
    if magnitude == 0.0 { 1.0 } else { (f64::from(hi) / f64::from(magnitude)).min(f64::from(f32::MAX)) as f32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(min: f32, max: f32) -> Range {
        Range { min, max }
    }

    #[test]
    fn formats_parse_and_print() {
        for text in ["fixed2", "fixed16", "int8", "stored", "bf16", "fp16", "e4m3", "e5m2"] {
            assert_eq!(text.parse::<NumberFormat>().unwrap().to_string(), text);
        }
        for text in ["fixed1", "fixed17", "fixed", "int4", "", "fixed-3"] {
            assert!(text.parse::<NumberFormat>().unwrap_err().to_string().contains("fixed2 to fixed16"), "{text}");
        }
    }

    #[test]
    fn ranges_choose_scale_and_sign() {
        let map = NumberFormat::Fixed(16).code_map(range(-1.0, 0.5));
        assert_eq!((map.scale, map.lo, map.hi), (16384.0, -32767, 32767));
        assert_eq!(NumberFormat::Fixed(16).code_map(range(0.0, 32767.0)).scale, 1.0);
        assert_eq!(NumberFormat::Fixed(16).code_map(range(0.0, 32768.0)).scale, 0.5);
        assert_eq!(NumberFormat::Fixed(16).code_map(Range::default()).scale, 1.0);
        let map = NumberFormat::Int8.code_map(range(0.0, 6.0));
        assert_eq!((map.scale, map.lo, map.hi), (42.5, 0, 255));
        let map = NumberFormat::Int8.code_map(range(-2.0, 1.0));
        assert_eq!((map.scale, map.lo, map.hi), (63.5, -127, 127));
    }

    #[test]
    fn one_baseline_fits_all_that_multiplies() {
        let bits = |range: (i32, i32), zero_point: i32, least: f32| {
            let stored = Stored { scale: Some(1.0), zero_point, range, bits: 8 };
            NumberFormat::Stored.weight_coding(Range { min: least, max: 1.0 }, Some(stored)).bits
        };
        // Bytes whose zero is 0, or inside; signed ones whose zero is the lowest, or inside; symmetric weights, with their lowest.
        assert_eq!([bits((0, 255), 0, 0.0), bits((0, 255), 128, -128.0), bits((0, 255), 3, -3.0)], [8, 9, 9]);
        assert_eq!([bits((-128, 127), -128, 0.0), bits((-128, 127), 5, -133.0)], [8, 9]);
        assert_eq!([bits((-128, 127), 0, -127.0), bits((-128, 127), 0, -128.0), bits((-8, 7), 0, -7.0)], [8, 9, 4]);
        // Activations may reach the lowest code behind the inputs of calibration.
        let stored = Stored { scale: Some(1.0), zero_point: 0, range: (-128, 127), bits: 8 };
        assert_eq!(NumberFormat::Stored.coding(Range { min: -127.0, max: 1.0 }, Some(stored)).bits, 9);
    }

    #[test]
    fn filters_have_the_scales_of_their_own_values() {
        let weights = [0.5, -0.25, 0.125, 0.0625, 0.0, 0.0];
        for (format, want) in
            [(NumberFormat::Int8, [254.0, 1016.0, 1.0]), (NumberFormat::Fixed(8), [128.0, 512.0, 1.0])]
        {
            let coding = Coding { per_filter: true, ..format.coding(Range::of(&weights), None) };
            let maps = format.weight_maps(&coding, &weights, 3);
            assert_eq!(maps.iter().map(|map| map.scale).collect::<Vec<_>>(), want);
            // One filter has a negative weight: all have a sign.
            assert!(maps.iter().all(|map| (map.lo, map.hi) == (-127, 127)), "{maps:?}");
            let one = Coding { per_filter: false, ..coding };
            assert_eq!(format.weight_maps(&one, &weights, 3), [one.map]);
        }
        let positive = [1.0, 2.0, 4.0, 8.0];
        let coding = Coding { per_filter: true, ..NumberFormat::Int8.coding(Range::of(&positive), None) };
        let maps = NumberFormat::Int8.weight_maps(&coding, &positive, 2);
        assert_eq!(maps, [127.5, 31.875].map(|scale| CodeMap::linear(scale, 0, 255)));
    }

    #[test]
    fn floats_are_rounded_and_nothing_else() {
        let e4m3: NumberFormat = "e4m3".parse().unwrap();
        let coding = e4m3.coding(range(-1e9, 3.0), None);
        assert_eq!((coding.bits, coding.map.lo, coding.map.hi), (4, -15, 15));
        // 1.0625 lies halfway between 1 and 1.125; the significand of 448 is 1.75; half of the least value is 0.
        assert_eq!([1.0625, -3.5, 448.0, 0.0009765625, 0.001].map(|x| coding.map.code(x)), [8, -14, 14, 0, 1]);
        assert_eq!([-3.5, 3.5, 0.0].map(|x| coding.map.width(coding.map.code(x))), [4, 4, 0]);
        // Codes of a network are the values that they stand for.
        let stored = Stored { scale: Some(0.25), zero_point: 3, range: (0, 255), bits: 8 };
        assert_eq!(
            e4m3.coding(range(-3.0, 252.0), Some(stored)).map.code(5.0),
            e4m3.coding(range(0.0, 9.0), None).map.code(1.25)
        );
    }

    proptest! {
        #[test]
        fn the_scale_is_the_largest_power_of_two_that_fits(magnitude in 1e-30f32..1e30, bits in 2u32..17) {
            let map = NumberFormat::Fixed(bits).code_map(range(-magnitude, 0.0));
            prop_assert_eq!(map.scale.log2().fract(), 0.0);
            prop_assert!(f64::from(magnitude) * f64::from(map.scale) <= f64::from(map.hi));
            prop_assert!(f64::from(magnitude) * f64::from(map.scale) * 2.0 > f64::from(map.hi));
        }
    }
}
