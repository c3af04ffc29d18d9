//! Numbers of a run by metric: a column holds one array over all scopes, and equal arrays are stored once.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::metrics::{Fraction, Interval, Value};
use crate::report::Scope;

/// The arrays of a run's columns.
#[derive(Default)]
pub(super) struct Arrays {
    all: Vec<Json>,
    places: HashMap<String, usize>,
}

impl Arrays {
    /// The place of the array of `numbers`, without what is null at its end; none if all are.
    fn add(&mut self, mut numbers: Vec<Json>) -> Option<usize> {
        while numbers.last().is_some_and(Json::is_null) {
            numbers.pop();
        }
        if numbers.is_empty() {
            return None;
        }
        let array = Json::Array(numbers);
        let next = self.all.len();
        let place = *self.places.entry(array.to_string()).or_insert(next);
        if place == next {
            self.all.push(array);
        }
        Some(place)
    }

    /// All of them, in the order of their places.
    pub(super) fn into_json(self) -> Json {
        self.all.into()
    }
}

/// The columns of `scopes` by address, `a.zeros`: of counts and sums above in `n`, sums below in `d`, half the width of 95 % intervals
/// in `h` (of work without padding in `m`, `e` and `i`), histograms in `c`, other numbers in `v`. Channels are left out.
pub(super) fn columns(scopes: &[Scope], arrays: &mut Arrays) -> Json {
    let mut columns: Vec<(String, [Vec<Json>; 8])> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (row, scope) in scopes.iter().enumerate() {
        for cell in scope.cells.iter() {
            let letter = cell.operand.map(|which| format!("{}.", which.letter())).unwrap_or_default();
            let address = format!("{letter}{}", cell.metric.name);
            let next = columns.len();
            let place = *places.entry(address.clone()).or_insert(next);
            if place == next {
                columns.push((address, Default::default()));
            }
            let mut put = |field: usize, number: Json| {
                let numbers = &mut columns[place].1[field];
                numbers.resize(row, Json::Null);
                numbers.push(number);
            };
            let mut ratio = |first: usize, fraction: Fraction, interval: Option<Interval>| {
                put(first, integer(fraction.numerator));
                put(first + 1, integer(fraction.denominator));
                if let Some(Interval { low, high, .. }) = interval {
                    put(first + 2, rounded((high - low) / 2.0, 3));
                }
            };
            match &cell.value {
                Value::Ratio(fraction) => ratio(0, *fraction, cell.intervals[0]),
                Value::Work([with, without]) => {
                    ratio(0, *with, cell.intervals[0]);
                    ratio(3, *without, cell.intervals[1]);
                }
                Value::Count(count) => put(0, integer(*count)),
                Value::Histogram(counts) => {
                    let used = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
                    put(6, json!(counts[..used]));
                }
                Value::Least(number) | Value::Most(number) | Value::Derived(number) => put(7, rounded(*number, 9)),
                Value::PerChannel(_) => {}
            }
        }
    }
    let field =
        |(name, numbers): (&str, Vec<Json>), arrays: &mut Arrays| Some((name.to_owned(), json!(arrays.add(numbers)?)));
    let column = |(address, fields): (String, [Vec<Json>; 8])| {
        let names = ["n", "d", "h", "m", "e", "i", "c", "v"];
        let fields: Map<String, Json> = names.into_iter().zip(fields).filter_map(|pair| field(pair, arrays)).collect();
        (!fields.is_empty()).then_some((address, Json::Object(fields)))
    };
    columns.into_iter().filter_map(column).collect::<Map<_, _>>().into()
}

/// A number as JSON; beyond 64 bits the nearest double.
fn integer(number: u128) -> Json {
    u64::try_from(number).map_or_else(|_| json!(number as f64), |number| json!(number))
}

/// A number in `digits` significant digits; null if it is not finite.
fn rounded(number: f64, digits: usize) -> Json {
    let rounded: f64 = format!("{number:.*e}", digits - 1).parse().unwrap_or(f64::NAN);
    // Whole numbers need no fraction.
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 { json!(rounded as i64) } else { json!(rounded) }
}
