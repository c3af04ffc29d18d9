//! The report as one JSON document, `deadweight/measure/2`.
//!
//! Every metric stands under its own name: of a layer in `metrics`, of an operand in `activations` or `weights`. Ratios have
//! their numerator and denominator beside them, and the bounds of their 95 % interval and their standard deviation over inputs
//! where these are known; an infinite one is null over a denominator of 0. Integers that a double cannot hold are strings.

use serde_json::{Map, Value as Json, json};

use super::scopes::{Part, Report};
use crate::metrics::{Cell, Cells, Fraction, Interval, Value, Which};
use crate::tally::Padding;

/// Name and version of the document's layout.
pub const SCHEMA: &str = "deadweight/measure/2";

/// Largest integer up to which a double holds all.
pub(super) const EXACT: u128 = 1 << 53;

/// `report` as JSON.
pub fn document(report: &Report) -> Json {
    let provenance = &report.provenance;
    let mut data = Map::new();
    data.insert("inputs".into(), json!(report.inputs));
    data.insert("inputs_sha256".into(), json!(report.inputs_sha256));
    data.insert("skipped".into(), json!(report.skipped));
    data.insert("preprocessing".into(), json!(provenance.preprocessing));
    if let Some(quality) = &report.quality {
        data.insert("quality".into(), json!(quality));
    }
    if let Some(phases) = &report.phases {
        data.insert("phases".into(), json!(phases));
    }
    let mut layers: Vec<Map<String, Json>> = Vec::new();
    for scope in &report.scopes {
        let mut fields = numbers(&scope.cells);
        match &scope.part {
            Part::Layer => {
                let mut layer = Map::new();
                layer.insert("name".into(), json!(scope.layer));
                layer.insert("kind".into(), json!(scope.kind));
                layer.insert("shape".into(), json!(scope.shape));
                layer.append(&mut fields);
                layers.push(layer);
            }
            part @ (Part::Gate(_) | Part::Steps(..)) => {
                let mut named = Map::new();
                match part {
                    Part::Steps(first, last) => {
                        named.insert("first".into(), json!(first));
                        named.insert("last".into(), json!(last));
                    }
                    _ => drop(named.insert("gate".into(), json!(part.name()))),
                }
                named.append(&mut fields);
                let list = if let Part::Gate(_) = part { "gates" } else { "steps" };
                let layer = layers.last_mut().expect("parts stand behind their layer");
                let parts = layer.entry(list).or_insert_with(|| json!([])).as_array_mut().expect("a list of parts");
                parts.push(named.into());
            }
            Part::Network => {}
        }
    }
    json!({
        "schema": SCHEMA,
        "model": provenance.model,
        "data": data,
        "format": provenance.format,
        "options": provenance.options,
        "notes": provenance.notes,
        "tool": provenance.tool,
        "layers": layers,
        "network": numbers(&report.network().cells),
    })
}

/// The metrics of `cells`, by operand.
pub(super) fn numbers(cells: &Cells) -> Map<String, Json> {
    let mut fields = Map::new();
    for (name, operand) in [("metrics", None)].into_iter().chain(Which::ALL.map(|which| (which.name(), Some(which)))) {
        let cells = cells.iter().filter(|cell| cell.operand == operand);
        let values: Map<String, Json> = cells.map(|cell| (cell.metric.name.into(), value(cell))).collect();
        if !values.is_empty() {
            fields.insert(name.into(), values.into());
        }
    }
    fields
}

fn value(cell: &Cell) -> Json {
    let Cell { value, intervals, .. } = cell;
    match value {
        Value::Count(count) => json!({ "value": integer(*count) }),
        Value::Ratio(fraction) => ratio(*fraction, intervals[0]),
        Value::Work(modes) => {
            let modes = Padding::BOTH.into_iter().zip(modes.iter().zip(intervals));
            let ratios =
                modes.map(|(padding, (fraction, interval))| (padding.name().into(), ratio(*fraction, *interval)));
            ratios.collect::<Map<_, _>>().into()
        }
        Value::Histogram(counts) | Value::PerChannel(counts) => {
            json!({ "counts": counts.iter().map(|&count| integer(count.into())).collect::<Vec<_>>() })
        }
        Value::Least(number) | Value::Most(number) | Value::Derived(number) => json!({ "value": number }),
    }
}

fn ratio(fraction: Fraction, interval: Option<Interval>) -> Json {
    // JSON has no infinity.
    let value = fraction.value().filter(|value| value.is_finite());
    let (numerator, denominator) = (integer(fraction.numerator), integer(fraction.denominator));
    let mut fields = json!({ "value": value, "numerator": numerator, "denominator": denominator });
    if let Some(Interval { std, low, high }) = interval {
        (fields["low"], fields["high"], fields["std"]) = (json!(low), json!(high), json!(std));
    }
    fields
}

fn integer(number: u128) -> Json {
    if number <= EXACT { json!(number as u64) } else { json!(number.to_string()) }
}
