//! Sums over the values themselves (before quantisation), lane by lane.

use super::code::CodeMap;
use super::sums::{ValueSums, key};
use crate::kernels::geometry::LANES;

/// Sums over the values of each lane.
pub(super) struct LaneTotals {
    pub(super) not_finite: [u32; LANES],
    pub(super) zeros: [u32; LANES],
    pub(super) saturated: [u32; LANES],
    pub(super) low: [f32; LANES],
    pub(super) high: [f32; LANES],
    /// Ones of magnitudes, codes and their squares, where these are counted.
    pub(super) ones: [u64; LANES],
    pub(super) sum: [i64; LANES],
    pub(super) squares: [u64; LANES],
    /// Smallest and largest code, where codes do not order as values do: of floating-point types.
    codes: [[i32; LANES]; 2],
}

impl Default for LaneTotals {
    fn default() -> Self {
        let none = [0; LANES];
        let (low, high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        Self {
            not_finite: none,
            zeros: none,
            saturated: none,
            low,
            high,
            ones: [0; LANES],
            sum: [0; LANES],
            squares: [0; LANES],
            codes: [[i32::MAX; LANES], [i32::MIN; LANES]],
        }
    }
}

impl LaneTotals {
    /// Quantises one pixel, of which `used` lanes count; the codes of the others are zero. `FLOAT`: whether the map has a
    /// floating-point type.
    #[inline(always)]
    pub(super) fn code<const FLOAT: bool>(
        &mut self,
        map: CodeMap,
        values: &[f32; LANES],
        used: usize,
        codes: &mut [i16; LANES],
    ) {
        *codes = [0; LANES];
        for lane in 0..used {
            let x = values[lane];
            let (code, beyond) = map.code_as::<FLOAT>(x);
            codes[lane] = code as i16;
            if FLOAT {
                self.codes[0][lane] = self.codes[0][lane].min(code);
                self.codes[1][lane] = self.codes[1][lane].max(code);
            }
            self.not_finite[lane] |= u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000);
            self.zeros[lane] += u32::from(x == 0.0);
            self.saturated[lane] += u32::from(beyond);
            self.low[lane] = if x < self.low[lane] { x } else { self.low[lane] };
            self.high[lane] = if x > self.high[lane] { x } else { self.high[lane] };
        }
    }

    /// Adds the results of a vector loop over finite values in the range of the codes.
    pub(super) fn add_finite(&mut self, [low, high]: [f32; 2], zeros: u32) {
        self.low[0] = self.low[0].min(low);
        self.high[0] = self.high[0].max(high);
        self.zeros[0] += zeros;
    }

    pub(super) fn add_to(&self, to: &mut ValueSums) {
        let total = |lanes: &[u32; LANES]| lanes.iter().copied().map(u64::from).sum::<u64>();
        to.natural_zeros += total(&self.zeros);
        to.saturated += total(&self.saturated);
        if let Some(totals) = &mut to.totals {
            totals.ones += self.ones.iter().sum::<u64>();
            totals.sum += self.sum.iter().sum::<i64>();
            totals.squares += self.squares.iter().copied().map(u128::from).sum::<u128>();
        }
        let [least, most] = &mut to.code_extremes;
        *least = self.codes[0].iter().fold(*least, |least, &code| least.min(code));
        *most = self.codes[1].iter().fold(*most, |most, &code| most.max(code));
        let [low, high] = &mut to.extremes;
        *low = self.low.iter().fold(*low, |low, &v| if v == f32::INFINITY { low } else { low.min(key(v)) });
        *high = self.high.iter().fold(*high, |high, &v| if v == f32::NEG_INFINITY { high } else { high.max(key(v)) });
    }
}
