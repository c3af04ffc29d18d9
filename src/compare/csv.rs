//! Tidy CSV of a comparison: a figure of a file on a line, beside that of the base.

use super::{Comparison, Row};
use crate::report::Figure;

const IN_MEMORY: &str = "memory takes every record, and all have the header's fields";

/// The names of the columns.
const HEADER: [&str; 18] = [
    "scope",
    "layer",
    "index",
    "kind",
    "metric",
    "base_file",
    "base",
    "base_low",
    "base_high",
    "file",
    "name",
    "value",
    "low",
    "high",
    "difference",
    "margin",
    "ratio",
    "verdict",
];

/// All figures. What has no value has an empty field, what is infinite is `inf`.
pub(super) fn render(comparison: &Comparison) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).expect(IN_MEMORY);
    for row in &comparison.rows {
        for other in 1..comparison.sides.len() {
            writer.write_record(record(comparison, row, other)).expect(IN_MEMORY);
        }
    }
    String::from_utf8(writer.into_inner().expect(IN_MEMORY)).expect("names and numbers are UTF-8")
}

fn record(comparison: &Comparison, row: &Row, other: usize) -> [String; HEADER.len()] {
    // The shortest form that reads back the same.
    let number = |number: Option<f64>| number.map(|number| format!("{number:?}")).unwrap_or_default();
    let bounds = |figure: Option<&Figure>| {
        let interval = figure.and_then(|figure| figure.interval);
        [
            figure.map(|figure| figure.number),
            interval.map(|interval| interval.low),
            interval.map(|interval| interval.high),
        ]
        .map(number)
    };
    let [base, base_low, base_high] = bounds(row.figures[0].as_ref());
    let [value, low, high] = bounds(row.figures[other].as_ref());
    let change = &row.changes[other - 1];
    [
        if row.index.is_some() { "layer" } else { "network" }.into(),
        row.layer.clone(),
        row.index.map(|index| index.to_string()).unwrap_or_default(),
        row.kind.clone(),
        comparison.columns[row.column].name.clone(),
        comparison.sides[0].file.clone(),
        base,
        base_low,
        base_high,
        comparison.sides[other].file.clone(),
        row.names[other].clone().unwrap_or_default(),
        value,
        low,
        high,
        number(change.difference),
        number(change.margin),
        number(change.ratio),
        change.verdict.name().into(),
    ]
}
