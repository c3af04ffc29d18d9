//! Extremes, mean and standard deviation of an operand.

use super::{Compute, Kind, Metric, Needs, Operand, Show, Value};
use crate::kernels::count::unkey;

const BASE: Metric = Metric { unit: "real", show: Show::Real, kind: Kind::Number, ..Metric::BASE };

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "min",
        heading: "min",
        definition: "smallest real value",
        formula: "min x",
        example: "a -5, w -2",
        compute: Compute::Operand(|operand| extreme(operand, 0).map(Value::Least)),
        ..BASE
    },
    Metric {
        name: "max",
        heading: "max",
        definition: "largest real value",
        formula: "max x",
        example: "a 7, w 15",
        compute: Compute::Operand(|operand| extreme(operand, 1).map(Value::Most)),
        ..BASE
    },
    Metric {
        name: "mean",
        heading: "mean",
        definition: "mean of the codes, in real terms, each filter's by its own scale; absent for floats and for stored codes with a scale a filter",
        formula: "Σq / n / scale",
        needs: Needs::Terms,
        example: "a 5/4 = 1.25, w 17/8 = 2.125",
        compute: Compute::Operand(|operand| {
            if let Some([mean, _]) = of_filters(operand) {
                return Some(Value::Derived(mean));
            }
            let (n, (sum, _)) = (values(operand)?, operand.moments()?);
            Some(Value::Derived(sum as f64 / n as f64 / operand.scale()?))
        }),
        ..BASE
    },
    Metric {
        name: "std",
        heading: "std",
        definition: "standard deviation of the codes, in real terms, as the mean",
        formula: "√(n·Σq² − (Σq)²) / n / scale",
        needs: Needs::Terms,
        example: "a √(4·83 − 25)/4 = 4.380, w √(8·247 − 289)/8 = 5.134",
        compute: Compute::Operand(|operand| {
            if let Some([mean, mean_square]) = of_filters(operand) {
                return Some(Value::Derived((mean_square - mean * mean).max(0.0).sqrt()));
            }
            let (n, (sum, squares)) = (values(operand)?, operand.moments()?);
            // n·Σq² − (Σq)² is exact and never negative.
            let spread = u128::from(n).checked_mul(squares)?.checked_sub(sum.unsigned_abs().checked_pow(2)?)?;
            Some(Value::Derived((spread as f64).sqrt() / n as f64 / operand.scale()?))
        }),
        ..BASE
    },
];

impl Operand<'_> {
    /// Codes for a value of 1; none where filters have scales of their own, and of floating-point types, whose codes are significands.
    pub fn scale(&self) -> Option<f64> {
        if self.coding.per_filter || self.coding.map.float.is_some() {
            return None;
        }
        self.coding.unit.map(|unit| f64::from(self.coding.map.scale) / f64::from(unit))
    }
}

fn extreme(operand: &Operand<'_>, which: usize) -> Option<f64> {
    let (values, unit) = (operand.values?, operand.coding.unit?);
    (values.elements > 0).then(|| f64::from(unkey(values.extremes[which])) * f64::from(unit))
}

/// Mean and mean square of the codes over the scale, where filters have scales of their own.
fn of_filters(operand: &Operand<'_>) -> Option<[f64; 2]> {
    let (unit, n) = (f64::from(operand.coding.unit?), operand.elements() as f64);
    let sums = operand.filter_codes.iter().fold([0.0, 0.0], |[sum, squares], codes| {
        let scale = f64::from(f32::from_bits(codes.scale)) / unit;
        [sum + codes.sum as f64 / scale, squares + codes.squares as f64 / (scale * scale)]
    });
    (!operand.filter_codes.is_empty()).then(|| sums.map(|sum| sum / n))
}

/// How many values there are; none of none.
fn values(operand: &Operand<'_>) -> Option<u64> {
    Some(operand.elements()).filter(|n| *n > 0)
}
