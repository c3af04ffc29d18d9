//! Lines of codes along a reduction, value by value: what sums over MACs of attention are made of.

use super::attention::Counted;
use crate::kernels::count::{CodeMap, GROUP_SIZES, MAX_WIDTH, ValueSums, bits, key};

/// What is summed of one value of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    pub nonzero: u64,
    pub width: u64,
    pub terms: u64,
    /// Widths of the groups that hold it.
    pub groups: [u64; 3],
    /// 1 for each of these that is all zero.
    pub zeros: [u64; 3],
}

/// Largest magnitude of some codes, and whether one is negative.
#[derive(Clone, Copy, Debug, Default)]
struct Most {
    magnitude: u16,
    negative: bool,
}

impl Most {
    fn with(self, code: i32) -> Self {
        Self { magnitude: self.magnitude.max(code.unsigned_abs() as u16), negative: self.negative || code < 0 }
    }

    fn width(self, map: CodeMap) -> u64 {
        // The sign of a float is apart.
        u64::from(bits(self.magnitude)) + u64::from(self.negative && map.float.is_none())
    }
}

/// The width of a group of codes.
pub(super) fn width_of(codes: impl Iterator<Item = i32>, map: CodeMap) -> u64 {
    codes.fold(Most::default(), Most::with).width(map)
}

/// The code of `x`, and whether it was beyond the codes.
fn code(map: CodeMap, x: f32) -> (i32, bool) {
    match map.float {
        Some(of) => of.code(x * map.scale),
        None => {
            let (rounded, code) = map.rounded_and_code(x);
            (code, rounded != code)
        }
    }
}

/// The codes of a line, and what is summed of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    codes: Vec<i32>,
    values: Vec<Value>,
}

impl Line {
    /// The codes.
    pub(super) fn codes(&self) -> &[i32] {
        &self.codes
    }

    /// What is summed of each.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Takes the place of another line: codes the values `x`, of which the first stands at `start` of the reduction, and adds them to
    /// `sums`. The groups are aligned to the start of the reduction, and hold the line's values alone. False if a value is NaN or
    /// infinite.
    pub(super) fn read(
        &mut self,
        x: impl Iterator<Item = f32>,
        start: usize,
        map: CodeMap,
        how: Counted,
        sums: &mut ValueSums,
    ) -> bool {
        let Self { codes, values } = self;
        codes.clear();
        values.clear();
        let (mut finite, mut natural_zeros, mut beyond) = (true, 0, 0);
        let (mut extremes, mut code_extremes) = (sums.extremes, sums.code_extremes);
        for x in x {
            finite &= x.is_finite();
            let (code, saturated) = code(map, x);
            natural_zeros += u64::from(x == 0.0);
            beyond += u64::from(saturated);
            extremes = [extremes[0].min(key(x)), extremes[1].max(key(x))];
            code_extremes = [code_extremes[0].min(code), code_extremes[1].max(code)];
            if let Some(count) = sums.codes.get_mut((code - map.lo) as usize) {
                *count += 1;
            }
            codes.push(code);
        }
        sums.elements += codes.len() as u64;
        sums.natural_zeros += natural_zeros;
        sums.saturated += beyond;
        (sums.extremes, sums.code_extremes) = (extremes, code_extremes);
        let is_float = map.float.is_some();
        values.extend(codes.iter().map(|&code| {
            let magnitude = code.unsigned_abs() as u16;
            let terms = if how.terms { how.encoder.terms(magnitude) } else { 0 };
            Value {
                nonzero: u64::from(code != 0),
                width: u64::from(bits(magnitude)) + u64::from(code < 0 && !is_float),
                terms: terms.into(),
                ..Value::default()
            }
        }));
        for (which, size) in GROUP_SIZES.into_iter().enumerate() {
            let mut at = 0;
            while at < codes.len() {
                let end = (at + size - (start + at) % size).min(codes.len());
                let width = width_of(codes[at..end].iter().copied(), map);
                sums.group_widths[which][(width as usize).min(MAX_WIDTH)] += 1;
                for value in &mut values[at..end] {
                    value.groups[which] = width;
                    value.zeros[which] = u64::from(width == 0);
                }
                at = end;
            }
        }
        finite
    }
}
