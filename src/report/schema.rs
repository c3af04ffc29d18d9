//! The JSON Schema of the document, and the reference page of the metrics: both made of the list.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::document::SCHEMA;
use crate::metrics::{Compute, Kind, Metric, Which};
use crate::tally::Padding;

/// JSON Schema (draft 2020-12) of [`super::document()`] with `metrics`.
pub fn schema(metrics: &[&Metric]) -> Json {
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0 });
    let nullable = |kind: &str| json!({ "type": [kind, "null"] });
    let object = |properties: Json, optional: &[&str]| {
        let names = properties.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let required: Vec<String> = names.into_iter().filter(|name| !optional.contains(&name.as_str())).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    };
    let file = object(json!({ "name": text, "bytes": count, "sha256": text }), &[]);
    let model = object(
        json!({
            "name": text, "task": text, "note": text, "naming": text, "parameters": count, "folded": nullable("boolean"),
            "quantized": text, "source": text, "licence": text, "files": { "type": "array", "items": file },
            "classes": { "type": "object", "additionalProperties": text },
        }),
        &["note", "quantized", "classes"],
    );
    let data = object(
        json!({
            "inputs": count, "inputs_sha256": text, "skipped": count, "preprocessing": text,
            "quality": { "type": "object" },
        }),
        &["quality"],
    );
    let format = object(
        json!({
            "name": text, "encoder": text, "min_one": { "type": "boolean" }, "statistics": text,
            "calibration_inputs": count, "calibration_sha256": text,
        }),
        &[],
    );
    let extents =
        |items: usize| json!({ "type": "array", "items": nullable("integer"), "minItems": items, "maxItems": items });
    let shape = object(
        json!({
            "input": extents(3), "output": extents(3), "weight": extents(4), "stride": extents(2),
            "padding": extents(4), "dilation": extents(2), "groups": count,
        }),
        &[],
    );
    let numbers = numbers(metrics);
    let with = |more: Json| {
        let mut fields = numbers.clone();
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let optional: Vec<&str> = numbers.keys().map(String::as_str).chain(["gates", "steps"]).collect();
        object(fields.into(), &optional)
    };
    let gate = with(json!({ "gate": text }));
    let step = with(json!({ "first": count, "last": count }));
    let layer = with(json!({
        "name": text, "kind": text, "shape": shape,
        "gates": { "type": "array", "items": gate }, "steps": { "type": "array", "items": step },
    }));
    let mut document = object(
        json!({
            "schema": { "const": SCHEMA }, "model": model, "data": data, "format": format,
            "options": { "type": "object", "additionalProperties": text },
            "notes": { "type": "array", "items": text },
            "tool": object(json!({ "name": text, "version": text, "backend": text }), &[]),
            "layers": { "type": "array", "items": layer }, "network": with(json!({})),
        }),
        &[],
    );
    document["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    document["title"] = json!("A measurement of deadweight");
    document
}

/// The metrics by operand, as schemas.
fn numbers(metrics: &[&Metric]) -> Map<String, Json> {
    let of = |operands: bool| {
        let chosen = metrics.iter().filter(|metric| metric.is_of_operands() == operands);
        let properties: Map<String, Json> = chosen.map(|metric| (metric.name.to_owned(), value(metric))).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    };
    let operands = Which::ALL.map(|which| (which.name().to_owned(), of(true)));
    [("metrics".to_owned(), of(false))].into_iter().chain(operands).collect()
}

/// The schema of a metric's value.
fn value(metric: &Metric) -> Json {
    // Integers that a double cannot hold are strings.
    let integer =
        json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+$" }] });
    let number = json!({ "type": "number" });
    let ratio = || {
        json!({
            "type": "object",
            "properties": {
                "value": { "type": ["number", "null"] }, "numerator": integer, "denominator": integer,
                "low": number, "high": number, "std": number,
            },
            "required": ["value", "numerator", "denominator"], "additionalProperties": false,
        })
    };
    let mut schema = match metric.kind {
        Kind::Count => json!({ "type": "object", "properties": { "value": integer }, "required": ["value"] }),
        Kind::Number => {
            json!({ "type": "object", "properties": { "value": { "type": "number" } }, "required": ["value"] })
        }
        Kind::Ratio => ratio(),
        Kind::Work => {
            let modes: Map<String, Json> =
                Padding::BOTH.into_iter().map(|padding| (padding.name().to_owned(), ratio())).collect();
            let required = Padding::BOTH.map(Padding::name);
            json!({ "type": "object", "properties": modes, "required": required, "additionalProperties": false })
        }
        Kind::Histogram | Kind::PerChannel => json!({
            "type": "object", "properties": { "counts": { "type": "array", "items": integer } }, "required": ["counts"],
        }),
    };
    schema["description"] = json!(format!("{}; {} ({})", metric.definition, metric.formula, metric.unit));
    schema
}

/// The layer of the metrics' examples; `tests/worked.rs` works them.
const EXAMPLE_LAYER: &str = "activations 0, 3, −5, 7 enter a linear layer of the filters 1, 0, −2, 15 and 0, 4, 0, −1, all codes of 16 bits \
                             and of scale 1";

/// The reference page of `metrics`, in Markdown.
pub fn reference(metrics: &[&Metric]) -> String {
    let mut text = String::from(
        "# Metrics\n\nMade of the list of metrics (`src/metrics/`); `deadweight explain NAME` prints one of them. A metric of an \
         operand is written `a.NAME` of activations and `w.NAME` of weights where one word must hold both; in CSV, Parquet \
         and JSON the operand stands apart. A figure of the network, a gate or some steps is the same function over pooled \
         sums, never a mean of ratios. Statistics: what must be counted, `--statistics`.\n",
    );
    let _ = write!(text, "\nExamples that name no values of their own are of one layer: {EXAMPLE_LAYER}.\n");
    for metric in metrics {
        let of = match metric.compute {
            Compute::Operand(_) => "each operand",
            Compute::Layer(_) | Compute::Pooled(_) => "layers",
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## `{}`\n\n{}.\n\n- formula: {}\n- of: {of}; unit: {}; pools as: {}\n- allows: {}; statistics: {}; source: {}\n",
            metric.name,
            capital(metric.definition),
            metric.formula.replace('|', "\\|"),
            metric.unit,
            metric.kind.name(),
            metric.allows.name(),
            metric.needs.name(),
            metric.source,
        );
        let _ = writeln!(text, "- interval: {}", metric.interval());
        if !metric.example.is_empty() {
            let _ = writeln!(text, "- example: {}", metric.example);
        }
    }
    text
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// Everything that is said of a metric, a line a fact.
pub fn words(metric: &Metric) -> String {
    let columns = match metric.compute {
        Compute::Operand(_) => format!("a.{0} of activations, w.{0} of weights", metric.name),
        Compute::Layer(_) | Compute::Pooled(_) => metric.name.into(),
    };
    let facts = [
        ("metric", metric.name.to_owned()),
        ("meaning", metric.definition.into()),
        ("formula", metric.formula.into()),
        ("example", metric.example.into()),
        ("its layer", format!("{EXAMPLE_LAYER}, unless the example names its own values")),
        ("unit", metric.unit.into()),
        ("pools as", metric.kind.name().into()),
        ("source", metric.source.into()),
        ("allows", metric.allows.name().into()),
        ("statistics", metric.needs.name().into()),
        ("interval", metric.interval().into()),
        ("column", columns),
    ];
    let known = facts.iter().filter(|(_, fact)| !fact.is_empty());
    known.map(|(name, fact)| format!("{name:<11} {fact}\n")).collect()
}
