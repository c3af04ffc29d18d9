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

/// Codes the values of a line, of which the first stands at `start` of the reduction, and adds them to `sums`. The groups are
/// aligned to the start of the reduction, and hold the line's values alone. None if a value is NaN or infinite.
pub(super) fn line(
    x: impl Iterator<Item = f32>,
    start: usize,
    map: CodeMap,
    how: Counted,
    sums: &mut ValueSums,
) -> Option<(Vec<i32>, Vec<Value>)> {
    let (mut codes, mut values) = (Vec::new(), Vec::new());
    for x in x {
        if !x.is_finite() {
            return None;
        }
        let (code, saturated) = code(map, x);
        sums.elements += 1;
        sums.natural_zeros += u64::from(x == 0.0);
        sums.saturated += u64::from(saturated);
        sums.extremes = [sums.extremes[0].min(key(x)), sums.extremes[1].max(key(x))];
        sums.code_extremes = [sums.code_extremes[0].min(code), sums.code_extremes[1].max(code)];
        if let Some(count) = sums.codes.get_mut((code - map.lo) as usize) {
            *count += 1;
        }
        let terms = if how.terms { how.encoder.terms(code.unsigned_abs() as u16) } else { 0 };
        values.push(Value {
            nonzero: u64::from(code != 0),
            width: map.width(code).into(),
            terms: terms.into(),
            ..Value::default()
        });
        codes.push(code);
    }
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
    Some((codes, values))
}
