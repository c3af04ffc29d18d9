//! Tidy CSV: every number of the report on its own line, for data frames.

use super::rows::{Row, rows};
use super::scopes::Report;

/// Names of the columns, in order.
const HEADER: [&str; 15] = [
    "model",
    "scope",
    "layer",
    "index",
    "part",
    "kind",
    "operand",
    "metric",
    "parameter",
    "value",
    "numerator",
    "denominator",
    "low",
    "high",
    "unit",
];

const IN_MEMORY: &str = "memory takes every record, and all have the header's fields";

/// All numbers. What has no value has an empty field, what is infinite is `inf`.
pub(super) fn render(report: &Report) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).expect(IN_MEMORY);
    for row in rows(report) {
        let Row {
            model,
            scope,
            layer,
            index,
            part,
            kind,
            operand,
            metric,
            parameter,
            value,
            numerator,
            denominator,
            low,
            high,
            unit,
        } = row;
        let integer = |number: Option<u128>| number.map(|number| number.to_string()).unwrap_or_default();
        let index = index.map(|index| index.to_string()).unwrap_or_default();
        // The shortest form that reads back the same.
        let real = |value: Option<f64>| value.map(|value| format!("{value:?}")).unwrap_or_default();
        let [value, low, high] = [value, low, high].map(real);
        let (numerator, denominator) = (integer(numerator), integer(denominator));
        let record: [&str; HEADER.len()] = [
            &model,
            scope,
            &layer,
            &index,
            &part,
            &kind,
            operand,
            &metric,
            &parameter,
            &value,
            &numerator,
            &denominator,
            &low,
            &high,
            &unit,
        ];
        writer.write_record(record).expect(IN_MEMORY);
    }
    String::from_utf8(writer.into_inner().expect(IN_MEMORY)).expect("all fields are UTF-8")
}
