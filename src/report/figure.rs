//! One number of a report: its value, exact where it is made of integers, and its interval where one is known.

use num_bigint::BigUint;

use super::columns::parameter_index;
use crate::metrics::{Cell, Fraction, Interval, Value};

/// One number of a scope, as a column names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The number; infinite where only the denominator is 0.
    pub number: f64,
    /// The same as a ratio of integers, where it is one; a count is one over 1.
    pub fraction: Option<Fraction>,
    /// Its 95 % interval, where it is known.
    pub interval: Option<Interval>,
}

impl Figure {
    /// The number of `cell` that `parameter` names: a mode of padding, or a place of a histogram. Without one, the number that
    /// stands for the value. None where there is none.
    pub fn of(cell: &Cell, parameter: Option<&str>) -> Option<Self> {
        let real = |number| Some(Self { number, fraction: None, interval: None });
        let ratio =
            |fraction: Fraction, interval| Some(Self { number: fraction.value()?, fraction: Some(fraction), interval });
        let index = parameter.map(|parameter| parameter_index(cell.value.kind(), parameter));
        match (&cell.value, index) {
            (Value::Count(count), None) => ratio(Fraction::new(*count, 1_u8), None),
            (Value::Ratio(fraction), None) => ratio(*fraction, cell.intervals[0]),
            (Value::Work(modes), mode) => {
                let mode = mode.unwrap_or(Some(0))?;
                ratio(modes[mode], cell.intervals[mode])
            }
            (Value::Histogram(counts) | Value::PerChannel(counts), Some(place)) => {
                ratio(Fraction::new(*counts.get(place?)?, 1_u8), None)
            }
            (Value::Least(number) | Value::Most(number) | Value::Derived(number), None) => real(*number),
            _ => None,
        }
    }

    /// Whether both are the same number: ratios of integers are compared exactly.
    pub fn is(&self, other: &Self) -> bool {
        match (self.fraction, other.fraction) {
            (Some(own), Some(other)) => {
                let [a, b, c, d] =
                    [own.numerator, other.denominator, other.numerator, own.denominator].map(BigUint::from);
                a * b == c * d
            }
            _ => self.number == other.number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    fn cell(value: Value) -> Cell {
        let metric = metrics::all().find(|metric| metric.kind == value.kind()).expect("a metric of each kind");
        Cell { metric, operand: None, value, intervals: [None; 2] }
    }

    #[test]
    fn parameters_name_one_number_of_several() {
        let number = |value: &Value, parameter| Figure::of(&cell(value.clone()), parameter).map(|of| of.number);
        let work = Value::Work([Fraction::new(4_u8, 2_u8), Fraction::new(3_u8, 2_u8)]);
        assert_eq!(number(&work, None), Some(2.0));
        assert_eq!(number(&work, Some("with_padding")), Some(2.0));
        assert_eq!(number(&work, Some("without_padding")), Some(1.5));
        assert_eq!(number(&work, Some("0")), None);
        let histogram = Value::Histogram(vec![7, 9]);
        assert_eq!(
            ["0", "1", "2", "x"].map(|place| number(&histogram, Some(place))),
            [Some(7.0), Some(9.0), None, None]
        );
        assert_eq!(number(&histogram, None), None);
        assert_eq!(number(&Value::Count(3), None), Some(3.0));
        assert_eq!(number(&Value::Count(3), Some("0")), None);
        assert_eq!(number(&Value::Derived(0.5), None), Some(0.5));
    }

    #[test]
    fn ratios_are_compared_beyond_what_a_double_holds() {
        let of = |a: u128, b: u128| Figure::of(&cell(Value::Ratio(Fraction::new(a, b))), None).expect("a number");
        let (large, more) = (of(1 << 60, 3), of((1 << 60) + 1, 3));
        assert!(large.number == more.number && !large.is(&more));
        assert!(of(u128::MAX / 3, u128::MAX / 3 * 3).is(&of(1, 3)), "no product overflows");
        assert!(of(5, 0).is(&of(7, 0)) && !of(5, 0).is(&of(5, 1)), "infinite is infinite");
    }
}
