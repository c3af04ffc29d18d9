//! What counting an operand adds up: integers that merge in any order.

use std::ops::AddAssign;
use std::sync::Arc;

use super::classes::Classes;
use super::code::{CodeMap, Encoder, MAX_WIDTH, popcount};
use crate::kernels::geometry::LANES;

/// Sums kept for every channel.
pub const LANE_SUMS: usize = 4;
/// Index of the non-zero count in a channel's sums.
pub const NONZERO: usize = 0;
/// Index of the sum of value widths.
pub const WIDTH: usize = 1;
/// Index of the sum of terms.
pub const TERMS: usize = 2;
/// Index of the sum, over non-zero values, of the width of their group of 16.
pub const NONZERO_G16: usize = 3;

/// Sizes of the groups, in values.
pub const GROUP_SIZES: [usize; 3] = [16, 64, 256];

/// Groups by width, 0..=17.
pub type WidthHistogram = [u64; MAX_WIDTH + 1];

/// Sums over the positions of one class for one block of channels, for each group size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSums {
    /// Sum over positions of the width of the group that holds the position.
    pub width: [u64; 3],
    /// Positions whose group is all zero.
    pub zero: [u64; 3],
}

impl GroupSums {
    /// Adds the sums of other positions.
    pub fn add(&mut self, other: &Self) {
        for size in 0..GROUP_SIZES.len() {
            self.width[size] += other.width[size];
            self.zero[size] += other.zero[size];
        }
    }

    /// Takes out the sums of positions that were added.
    pub fn subtract(&mut self, other: &Self) {
        for size in 0..GROUP_SIZES.len() {
            self.width[size] -= other.width[size];
            self.zero[size] -= other.zero[size];
        }
    }
}

/// What the codes of an operand add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ones of magnitudes.
    pub ones: u64,
    /// Codes.
    pub sum: i64,
    /// Squares of codes.
    pub squares: u128,
    /// Widths.
    pub widths: u64,
    /// Terms by the encoder chosen.
    pub terms: u64,
}

impl Totals {
    /// Of codes of `map`.
    pub fn of(codes: impl IntoIterator<Item = i32>, map: CodeMap, encoder: Encoder) -> Self {
        codes.into_iter().fold(Self::default(), |mut all, code| {
            let magnitude = code.unsigned_abs() as u16;
            all += Self {
                ones: popcount(magnitude).into(),
                sum: code.into(),
                squares: u128::from(magnitude).pow(2),
                widths: map.width(code).into(),
                terms: encoder.terms(magnitude).into(),
            };
            all
        })
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        let Self { ones, sum, squares, widths, terms } = other;
        self.ones += ones;
        self.sum += sum;
        self.squares += squares;
        self.widths += widths;
        self.terms += terms;
    }
}

/// What the values of an operand add up to, wherever they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSums {
    /// Groups by width, for each group size.
    pub group_widths: [WidthHistogram; 3],
    /// How many there are.
    pub elements: u64,
    /// How often each code was seen, from the smallest; empty where that is not counted.
    pub codes: Vec<u64>,
    /// What codes add up to, where that is counted and it is not counted how often each is seen.
    pub totals: Option<Totals>,
    /// Values that are exactly 0.0.
    pub natural_zeros: u64,
    /// Values beyond the range of codes.
    pub saturated: u64,
    /// Smallest and largest value, as keys that order as the values do ([`key`]).
    pub extremes: [i32; 2],
    /// Smallest and largest code.
    pub code_extremes: [i32; 2],
}

impl ValueSums {
    /// Nothing yet, for so many codes.
    pub fn new(codes: usize) -> Self {
        let group_widths = [[0; MAX_WIDTH + 1]; 3];
        let (codes, extremes) = (vec![0; codes], [i32::MAX, i32::MIN]);
        let totals = None;
        Self {
            group_widths,
            elements: 0,
            codes,
            totals,
            natural_zeros: 0,
            saturated: 0,
            extremes,
            code_extremes: extremes,
        }
    }

    /// The same, with what codes add up to if that `is_counted`.
    pub fn with_totals(self, is_counted: bool) -> Self {
        Self { totals: is_counted.then(Totals::default), ..self }
    }

    /// Adds what other values of the operand added up to.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.codes.len(), other.codes.len(), "sums of one operand");
        for (sums, others) in self.group_widths.iter_mut().zip(&other.group_widths) {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        }
        self.elements += other.elements;
        // Pages of codes that were never seen are not written.
        let seen = self.codes.iter_mut().zip(&other.codes).filter(|(_, other)| **other != 0);
        seen.for_each(|(sum, other)| *sum += other);
        assert_eq!(self.totals.is_some(), other.totals.is_some(), "sums of one level");
        self.totals.iter_mut().zip(other.totals).for_each(|(own, other)| *own += other);
        self.natural_zeros += other.natural_zeros;
        self.saturated += other.saturated;
        for (own, other) in [(&mut self.extremes, other.extremes), (&mut self.code_extremes, other.code_extremes)] {
            *own = [own[0].min(other[0]), own[1].max(other[1])];
        }
    }
}

/// Everything one pass over an operand adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Classes of rows and of columns.
    pub classes: Arc<[Classes; 2]>,
    /// Channels (features, for a fully connected layer).
    pub channels: usize,
    /// `[row class][column class][channel, filled up to blocks]`, each [`LANE_SUMS`].
    pub lanes: Vec<[u64; LANE_SUMS]>,
    /// `[row class][column class][block]`.
    pub groups: Vec<GroupSums>,
    /// The values, wherever they stand.
    pub values: ValueSums,
}

/// An integer that orders as `x` does; zeros of both signs have the same.
pub fn key(x: f32) -> i32 {
    let bits = (x + 0.0).to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The value of a [`key`].
pub fn unkey(key: i32) -> f32 {
    f32::from_bits((key ^ (((key >> 31) as u32) >> 1) as i32) as u32)
}

impl Sums {
    /// Nothing yet.
    pub fn new(classes: Arc<[Classes; 2]>, channels: usize, codes: usize) -> Self {
        let places = classes[0].len() * classes[1].len();
        let blocks = channels.div_ceil(LANES);
        Self {
            channels,
            lanes: vec![[0; LANE_SUMS]; places * blocks * LANES],
            groups: vec![GroupSums::default(); places * blocks],
            values: ValueSums::new(codes),
            classes,
        }
    }

    /// Blocks of channels.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Where the sums of block `block` start among the blocks of the class.
    pub fn place(&self, row_class: usize, column_class: usize, block: usize) -> usize {
        (row_class * self.classes[1].len() + column_class) * self.blocks() + block
    }

    /// Adds what another pass over the same layer's operand added up.
    ///
    /// # Panics
    /// If the two are of different layers.
    pub fn merge(&mut self, other: &Self) {
        assert!(self.classes == other.classes && self.channels == other.channels, "sums of one layer");
        for (sums, others) in self.lanes.iter_mut().zip(&other.lanes) {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum += other;
            }
        }
        self.groups.iter_mut().zip(&other.groups).for_each(|(sums, others)| sums.add(others));
        self.values.merge(&other.values);
    }

    /// Sum of channel sum `which` of channel `c` over everything tap `(r, s)` reads.
    pub fn tap(&self, which: usize, c: usize, (r, s): (usize, usize)) -> u64 {
        self.over_tap((r, s), |row, column| self.lanes[self.place(row, column, c / LANES) * LANES + c % LANES][which])
    }

    /// Sums of the groups of channel block `block` over everything tap `(r, s)` reads.
    pub fn tap_groups(&self, block: usize, (r, s): (usize, usize)) -> GroupSums {
        let get = |f: fn(&GroupSums, usize) -> u64, size: usize| {
            self.over_tap((r, s), |row, column| f(&self.groups[self.place(row, column, block)], size))
        };
        GroupSums {
            width: std::array::from_fn(|size| get(|sums, size| sums.width[size], size)),
            zero: std::array::from_fn(|size| get(|sums, size| sums.zero[size], size)),
        }
    }

    /// Sum of channel sum `which` of channel `c` over the whole operand.
    pub fn channel(&self, which: usize, c: usize) -> u64 {
        let places = self.classes[0].len() * self.classes[1].len();
        let at = |place: usize| self.lanes[(place * self.blocks() + c / LANES) * LANES + c % LANES][which];
        (0..places).map(at).sum()
    }

    fn over_tap(&self, (r, s): (usize, usize), value: impl Fn(usize, usize) -> u64) -> u64 {
        let [rows, columns] = &*self.classes;
        let rows = (0..rows.len()).filter(|&class| rows.taps[class][r]);
        rows.flat_map(|row| (0..columns.len()).filter(|&class| columns.taps[class][s]).map(move |column| (row, column)))
            .map(|(row, column)| value(row, column))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_values_and_come_back() {
        let values = [f32::MIN, -2.5, -1e-40, 0.0, 1e-40, 1.0, f32::MAX];
        assert_eq!(key(-0.0), key(0.0));
        for pair in values.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        assert!(values.iter().all(|&v| unkey(key(v)).to_bits() == v.to_bits()));
    }
}
