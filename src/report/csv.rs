//! Tidy CSV: every number of the report on its own line, for data frames.

use super::rows::{Field, Row, rows};
use super::scopes::Report;

const IN_MEMORY: &str = "memory takes every record, and all have the header's fields";

/// All numbers. What has no value has an empty field, what is infinite is `inf`.
pub(super) fn render(report: &Report) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(Row::default().fields().map(|(name, _)| name)).expect(IN_MEMORY);
    for row in rows(report) {
        writer.write_record(row.fields().map(|(_, field)| text(field))).expect(IN_MEMORY);
    }
    writer.into_inner().expect(IN_MEMORY)
}

fn text(field: Field<'_>) -> String {
    match field {
        Field::Text(text) => text.to_owned(),
        Field::Place(place) => place.map(|place| place.to_string()).unwrap_or_default(),
        // The shortest form that reads back the same.
        Field::Real(number) => number.map(|number| format!("{number:?}")).unwrap_or_default(),
        Field::Integer(number) => number.map(|number| number.to_string()).unwrap_or_default(),
    }
}
