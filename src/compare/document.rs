//! The comparison as one JSON document, `deadweight/compare/1`.
//!
//! `files` has what is compared, the base first; `differences` in what they were measured otherwise; `only` of each file the layers
//! that it alone has. `rows` has a scope's figure by metric: `base`, then in `others` a value for each file behind it, with
//! `difference`, `ratio`, `margin` (half of the 95 % interval of the difference) and `verdict`: `same`, `changed`, `noise` or
//! `missing`. What is infinite or not known is null.

use serde_json::{Map, Value as Json, json};

use super::{Change, Comparison, Row, Side};
use crate::report::Figure;

/// Name and version of the document's layout.
pub const SCHEMA: &str = "deadweight/compare/1";

/// `comparison` as JSON.
pub(super) fn document(comparison: &Comparison) -> Json {
    let Comparison { sides, columns, rows, differences, only, .. } = comparison;
    let differences = differences.iter().map(|difference| {
        let file = &sides[difference.side].file;
        json!({ "file": file, "what": difference.what, "base": difference.base, "other": difference.other })
    });
    json!({
        "schema": SCHEMA,
        "files": sides.iter().zip(only).map(|(side, only)| file(side, only)).collect::<Vec<_>>(),
        "same_inputs": comparison.has_same_inputs(),
        "differences": differences.collect::<Vec<_>>(),
        "metrics": columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        "rows": rows.iter().map(|row| of_row(comparison, row)).collect::<Vec<_>>(),
    })
}

fn file(side: &Side, only: &[String]) -> Json {
    let report = &side.report;
    let provenance = &report.provenance;
    json!({
        "file": side.file,
        "model": provenance.model,
        "inputs": report.inputs,
        "inputs_sha256": report.inputs_sha256,
        "quality": report.quality,
        "format": provenance.format,
        "options": provenance.options,
        "tool": provenance.tool,
        "only": only,
    })
}

fn of_row(comparison: &Comparison, row: &Row) -> Json {
    let others = row.figures[1..].iter().zip(&row.changes).zip(&row.names[1..]).map(|((figure, change), name)| {
        let Change { difference, ratio, margin, verdict } = change;
        let mut fields = Map::new();
        fields.insert("name".into(), json!(name));
        fields.extend(numbers(figure.as_ref()));
        fields.insert("difference".into(), json!(difference));
        fields.insert("ratio".into(), finite(*ratio));
        fields.insert("margin".into(), json!(margin));
        fields.insert("verdict".into(), json!(verdict.name()));
        Json::from(fields)
    });
    json!({
        "scope": if row.index.is_some() { "layer" } else { "network" },
        "layer": row.layer,
        "index": row.index,
        "kind": row.kind,
        "metric": comparison.columns[row.column].name,
        "base": Map::from_iter(numbers(row.figures[0].as_ref())),
        "others": others.collect::<Vec<_>>(),
    })
}

/// The value and its interval, where that is known.
fn numbers(figure: Option<&Figure>) -> Vec<(String, Json)> {
    let interval = figure.and_then(|figure| figure.interval);
    let bounds = interval.map(|of| [("low", of.low), ("high", of.high), ("std", of.std)]);
    let bounds = bounds.into_iter().flatten().map(|(name, bound)| (name.to_owned(), json!(bound)));
    let value = ("value".to_owned(), finite(figure.map(|figure| figure.number)));
    [value].into_iter().chain(bounds).collect()
}

/// JSON has no infinity.
fn finite(number: Option<f64>) -> Json {
    json!(number.filter(|number| number.is_finite()))
}
