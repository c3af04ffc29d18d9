//! Integer codes: quantisation of a float, and the width and terms of a code (METRICS section 3).

use std::sync::LazyLock;

use crate::kernels::floats::FloatType;

/// Most bits a magnitude has: codes are at most 16 bits wide, sign included (or 8, unsigned).
pub const MAX_WIDTH: usize = 17;

/// Quantisation from floats to codes: `clamp(round_ties_even(x * scale), lo, hi)`, the product in f32; or the signed significand
/// of `x * scale` rounded to a floating-point type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeMap {
    /// Inverse of the quantisation step; for a floating-point type, the factor of values before they are rounded.
    pub scale: f32,
    /// Smallest code, at least -32767.
    pub lo: i32,
    /// Largest code, at most 32767.
    pub hi: i32,
    /// The floating-point type, if codes are significands. Their sign is apart: it adds no bit to widths.
    pub float: Option<FloatType>,
}

/// Adding this to a value of magnitude below 2^22 leaves the rounded integer (ties to even) in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;
/// Values are clipped here before rounding: far beyond every code, and within reach of [`MAGIC`].
pub(super) const CUT: f32 = 2_000_000.0;

impl CodeMap {
    /// Integers of `lo` to `hi`.
    pub const fn linear(scale: f32, lo: i32, hi: i32) -> Self {
        Self { scale, lo, hi, float: None }
    }

    /// Signed significands of values times `scale` rounded to the type `of`.
    pub fn float(scale: f32, of: FloatType) -> Self {
        let hi = (1 << of.significand_bits()) - 1;
        Self { scale, lo: -hi, hi, float: Some(of) }
    }

    /// The rounded value before clamping (clipped at two million), and the code; of integers.
    #[inline(always)]
    pub fn rounded_and_code(self, x: f32) -> (i32, i32) {
        let y = x * self.scale;
        let y = if y > -CUT { y } else { -CUT };
        let y = if y < CUT { y } else { CUT };
        let rounded = (y + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32;
        (rounded, rounded.clamp(self.lo, self.hi))
    }

    /// The code of `x`.
    #[inline(always)]
    pub fn code(self, x: f32) -> i32 {
        match self.float {
            Some(_) => self.code_as::<true>(x).0,
            None => self.code_as::<false>(x).0,
        }
    }

    /// The code of `x`, and whether `x` was beyond the codes; `FLOAT` says whether there is a floating-point type, so that loops
    /// are compiled for either.
    #[inline(always)]
    pub(super) fn code_as<const FLOAT: bool>(self, x: f32) -> (i32, bool) {
        match self.float {
            Some(of) if FLOAT => of.code(x * self.scale),
            _ => {
                let (rounded, code) = self.rounded_and_code(x);
                (code, rounded != code)
            }
        }
    }

    /// The value that the code of `x` stands for: `x` rounded to the nearest, ties to even, where it is not beyond all of them. Of a
    /// floating-point type without a scale, one of eight exponent bits. NaN stays NaN.
    pub fn nearest(self, x: f32) -> f32 {
        match self.float {
            _ if x.is_nan() => x,
            Some(of) => of.nearest(x),
            None => self.code(x) as f32 / self.scale,
        }
    }

    /// Width of a code: bits of its magnitude, and one for the sign of a negative integer.
    #[inline(always)]
    pub fn width(self, code: i32) -> u16 {
        if self.float.is_some() { bits(code.unsigned_abs() as u16) } else { width(code) }
    }

    /// Whether `x` is quantised without saturation; of integers.
    #[inline(always)]
    pub(super) fn fits(self, x: f32) -> bool {
        let (rounded, code) = self.rounded_and_code(x);
        rounded == code
    }

    /// How many codes there are.
    pub fn codes(self) -> usize {
        (self.hi - self.lo + 1) as usize
    }
}

/// Which digits of a magnitude count as terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoder {
    /// Non-zero digits of the canonical signed-digit form.
    #[default]
    Naf,
    /// Ones.
    Popcount,
    /// Non-zero digits of radix-4 modified Booth recoding.
    Booth4,
    /// Powers of two that the public simulator of the paper's authors emits.
    Runs,
}

impl Encoder {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Naf, Self::Popcount, Self::Booth4, Self::Runs];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naf => "naf",
            Self::Popcount => "popcount",
            Self::Booth4 => "booth4",
            Self::Runs => "runs",
        }
    }

    /// The encoder of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoder| encoder.name() == name)
    }

    /// Terms of the magnitude `m`, at most 32767.
    #[inline(always)]
    pub fn terms(self, m: u16) -> u16 {
        match self {
            Self::Naf => naf(m),
            Self::Popcount => popcount(m),
            Self::Booth4 => booth4(m),
            Self::Runs => runs(m),
        }
    }

    /// Terms of the magnitude `m` of a difference of two codes, at most 65534.
    #[inline(always)]
    pub fn terms_of_change(self, m: u32) -> u32 {
        match self {
            Self::Naf => (m ^ (3 * m)).count_ones(),
            Self::Popcount => m.count_ones(),
            Self::Booth4 => booth4_digits(m),
            Self::Runs => scan_runs(m).into(),
        }
    }
}

/// What is counted of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Zeros, widths and groups.
    Values,
    /// Terms by the encoder as well, and what codes add up to.
    Terms(Encoder),
    /// Terms as well, and how often each code is seen.
    Codes(Encoder),
}

/// How values are quantised, and what is counted of the codes.
#[derive(Clone, Copy)]
pub(super) struct Coding {
    pub(super) map: CodeMap,
    pub(super) detail: Detail,
}

impl Detail {
    /// Whose terms are counted, if any are.
    pub fn encoder(self) -> Option<Encoder> {
        match self {
            Self::Values => None,
            Self::Terms(encoder) | Self::Codes(encoder) => Some(encoder),
        }
    }

    /// Whether it is counted how often each code is seen.
    pub fn keeps_codes(self) -> bool {
        matches!(self, Self::Codes(_))
    }
}

/// Bits of a magnitude, 0 for 0.
#[inline(always)]
pub fn bits(m: u16) -> u16 {
    (u16::BITS - m.leading_zeros()) as u16
}

/// Sign-magnitude width of a code: bits of its magnitude, and one for the sign of a negative.
#[inline(always)]
pub fn width(v: i32) -> u16 {
    bits(v.unsigned_abs() as u16) + u16::from(v < 0)
}

/// Ones of a code's two's-complement word of `word` bits.
pub fn ones_twos_complement(v: i32, word: u32) -> u32 {
    (v as u32 & (u32::MAX >> (32 - word))).count_ones()
}

/// Ones.
#[inline(always)]
pub fn popcount(m: u16) -> u16 {
    m.count_ones() as u16
}

/// `popcount(m ^ 3m)`: `m ^ 3m` is even, and its half is `(m + m/2) ^ m/2`, which stays in 16 bits.
#[inline(always)]
pub fn naf(m: u16) -> u16 {
    let half = m >> 1;
    ((m + half) ^ half).count_ones() as u16
}

/// Digit i looks at bits 2i+1, 2i, 2i-1 and is zero where all three are equal.
#[inline(always)]
pub fn booth4(m: u16) -> u16 {
    booth4_digits(m.into()) as u16
}

#[inline(always)]
fn booth4_digits(m: u32) -> u32 {
    let edges = m ^ (m << 1);
    ((edges | (edges >> 1)) & 0x5555_5555).count_ones()
}

/// Powers of two that the run recoder emits, from a table.
#[inline(always)]
pub fn runs(m: u16) -> u16 {
    static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| (0..1 << 15).map(scan_runs).collect());
    u16::from(TABLE[usize::from(m)])
}

/// Scans from the top. Outside a run, a 1 followed by two more 1s emits the power above it and enters a run, any other
/// 1 emits its own. Inside, each 0 emits, and a 1 followed by two 0s emits and leaves.
fn scan_runs(m: u32) -> u8 {
    let bit = |k: i32| k >= 0 && m >> k & 1 == 1;
    let (mut terms, mut running) = (0, false);
    for k in (0..18).rev() {
        let (this, next, after) = (bit(k), bit(k - 1), bit(k - 2));
        if running {
            if !this {
                terms += 1;
            } else if !next && !after {
                terms += 1;
                running = false;
            }
        } else if this {
            terms += 1;
            running = next && after;
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vectors() {
        let golden = [
            (0, [0, 0, 0, 0]),
            (1, [1, 1, 1, 1]),
            (3, [2, 2, 2, 2]),
            (5, [2, 2, 2, 2]),
            (7, [3, 2, 2, 2]),
            (11, [3, 3, 3, 3]),
            (15, [4, 2, 2, 2]),
            (23, [4, 3, 3, 3]),
            (27, [4, 4, 3, 3]),
            (60, [4, 2, 2, 2]),
            (77, [4, 4, 4, 4]),
            (91, [5, 5, 4, 4]),
            (127, [7, 2, 2, 2]),
            (128, [1, 1, 1, 2]),
            (170, [4, 4, 4, 5]),
            (219, [6, 6, 4, 5]),
            (255, [8, 2, 2, 2]),
            (1000, [6, 3, 3, 3]),
            (4095, [12, 2, 2, 2]),
            (21845, [8, 8, 8, 8]),
            (32767, [15, 2, 2, 2]),
        ];
        let wrong: Vec<_> = golden
            .into_iter()
            .filter(|&(m, want)| [popcount(m), runs(m), naf(m), booth4(m)] != want)
            .map(|(m, want)| (m, [popcount(m), runs(m), naf(m), booth4(m)], want))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn golden_means_and_order() {
        let mean = |f: fn(u16) -> u16, end: u16| {
            let sum: u64 = (0..=end).map(|m| u64::from(f(m))).sum();
            (sum as f64 / (f64::from(end) + 1.0) * 1000.0).round() / 1000.0
        };
        assert_eq!([popcount, runs, naf, booth4].map(|f| mean(f, 255)), [4.0, 3.199, 3.109, 3.5]);
        assert_eq!([popcount, runs, naf, booth4].map(|f| mean(f, 32767)), [7.5, 5.659, 5.444, 6.0]);
        for m in 0..1 << 15 {
            assert!(naf(m) <= runs(m) && runs(m) <= popcount(m) && popcount(m) <= bits(m), "{m}");
            assert_eq!(u32::from(naf(m)), (u32::from(m) ^ (3 * u32::from(m))).count_ones(), "{m}");
        }
    }

    #[test]
    fn widths() {
        assert_eq!([0, 1, -1, 255, -256, 32767, -32767].map(width), [0, 1, 2, 8, 10, 15, 16]);
        assert_eq!(ones_twos_complement(-1, 16), 16);
        assert_eq!(ones_twos_complement(-128, 8), 1);
        assert_eq!(ones_twos_complement(255, 8), 8);
    }

    #[test]
    fn codes_round_to_even_and_saturate() {
        let map = CodeMap::linear(2.0, -7, 7);
        let cases =
            [(0.25, 0), (0.75, 2), (1.25, 2), (-0.25, 0), (-0.75, -2), (3.4, 7), (3.75, 7), (-9.0, -7), (1e30, 7)];
        for (x, want) in cases {
            assert_eq!(map.code(x), want, "{x}");
        }
        assert_eq!(map.rounded_and_code(3.75), (8, 7));
        for i in -400_000..400_000i32 {
            let x = i as f32 / 64.0;
            let wide = CodeMap::linear(1.0, -32767, 32767);
            assert_eq!(wide.code(x), (x.round_ties_even() as i32).clamp(-32767, 32767), "{x}");
        }
    }
}
