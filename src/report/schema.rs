//! The JSON Schemas of documents and of lines of inputs, and the reference page of the metrics: all made of the list.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use super::document::{EXACT, SCHEMA};
use crate::kernels::count::Encoder;
use crate::metrics::{Kind, Metric, Needs, Which};
use crate::tally::{GATES, Padding};

/// JSON Schema (draft 2020-12) of [`super::document()`] with `metrics`.
pub fn schema(metrics: &[&Metric]) -> Json {
    let file = object(json!({ "name": text(), "bytes": count(), "sha256": sha256() }), &[]);
    let model = object(
        json!({
            "name": text(), "task": text(), "note": text(), "naming": text(), "parameters": count(),
            "folded": nullable("boolean"), "quantized": text(), "source": text(), "licence": text(), "files": list(file.clone()),
            "classes": {
                "type": "object", "propertyNames": { "pattern": "^[0-9]+$" }, "additionalProperties": text(),
            },
        }),
        &["note", "quantized", "classes"],
    );
    let number = || json!({ "type": "number" });
    let phase = object(
        json!({
            "tokens": count(), "macs": number(), "weights": number(), "activations": number(), "cache": number(),
        }),
        &[],
    );
    let data = object(
        json!({
            "inputs": count(), "inputs_sha256": sha256(), "skipped": count(), "preprocessing": text(),
            "quality": quality(), "phases": object(json!({ "prefill": phase, "decode": phase }), &[]),
        }),
        &["quality", "phases"],
    );
    let design =
        object(json!({ "name": text(), "parameters": { "type": "object", "additionalProperties": count() } }), &[]);
    let format = object(
        json!({
            "name": text(), "precision": file, "weight_scale": text(), "encoder": { "enum": Encoder::ALL.map(Encoder::name) }, "min_one": { "type": "boolean" },
            "statistics": text(), "extra": list(text()), "designs": list(design), "calibration_inputs": count(), "calibration_sha256": sha256(),
        }),
        &["precision", "weight_scale", "extra", "designs"],
    );
    let extents = |items: usize| {
        let extent = json!({ "type": ["integer", "null"], "minimum": 0 });
        json!({ "type": "array", "items": extent, "minItems": items, "maxItems": items })
    };
    let shape = object(
        json!({
            "input": extents(3), "output": extents(3), "weight": extents(4), "stride": extents(2),
            "padding": extents(4), "dilation": extents(2), "groups": count(),
        }),
        &[],
    );
    let gate = with_numbers(metrics, json!({ "gate": { "enum": GATES.concat() } }), &[]);
    let steps = with_numbers(metrics, json!({ "first": count(), "last": count() }), &["weights"]);
    let layer = json!({ "name": text(), "kind": text(), "shape": shape, "gates": list(gate), "steps": list(steps) });
    let layer = with_numbers(metrics, layer, &["gates", "steps"]);
    let document = object(
        json!({
            "schema": { "const": SCHEMA }, "model": model, "data": data, "format": format,
            "options": { "type": "object", "additionalProperties": text() },
            "notes": list(text()),
            "tool": object(json!({ "name": text(), "version": text(), "backend": text() }), &[]),
            "layers": list(layer), "network": with_numbers(metrics, json!({}), &[]),
        }),
        &[],
    );
    titled(document, "A measurement of deadweight")
}

/// JSON Schema of [`super::InputLine`], of which each line of `--per-input` is one, with `metrics`.
pub fn input_schema(metrics: &[&Metric]) -> Json {
    let sampled: Vec<&Metric> = metrics.iter().copied().filter(|metric| metric.is_sampled()).collect();
    let line = json!({
        "index": count(), "id": text(), "sha256": sha256(), "label": count(),
        "prediction": object(json!({ "class": count(), "name": text() }), &[]), "quality": quality(),
    });
    let mut line = with_numbers(&sampled, line, &["label", "prediction", "quality"]);
    let fields = line["properties"].as_object_mut().expect("an object");
    for which in [Which::Weights, Which::Outputs] {
        fields.remove(which.name());
    }
    titled(line, "An input that deadweight measured")
}

fn titled(mut schema: Json, title: &str) -> Json {
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

fn text() -> Json {
    json!({ "type": "string" })
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

fn sha256() -> Json {
    json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}

fn nullable(kind: &str) -> Json {
    json!({ "type": [kind, "null"] })
}

fn list(items: Json) -> Json {
    json!({ "type": "array", "items": items })
}

/// An object of `properties` and no others, all there but those of `optional`.
fn object(properties: Json, optional: &[&str]) -> Json {
    let names = properties.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let required: Vec<String> = names.into_iter().filter(|name| !optional.contains(&name.as_str())).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// How good answers were, by task.
fn quality() -> Json {
    let share = || object(json!({ "value": nullable("number"), "numerator": count(), "denominator": count() }), &[]);
    let class = object(json!({ "class": count(), "name": text(), "iou": share() }), &[]);
    let scored = json!({ "class": count(), "name": text(), "precision": share(), "recall": share(), "f1": share() });
    let tasks = [
        json!({ "labelled": count(), "top1": share(), "top5": share() }),
        json!({
            "images": count(), "pixels": count(), "accuracy": share(), "mean_iou": nullable("number"),
            "classes": list(class),
        }),
        json!({
            "images": count(), "psnr_db": { "type": "number" }, "input_psnr_db": { "type": "number" },
            "ssim": nullable("number"),
        }),
        json!({
            "tokens": count(), "accuracy": share(), "characters": count(), "perplexity": nullable("number"),
            "bits_per_character": nullable("number"), "bits_per_byte": nullable("number"),
        }),
        json!({
            "labelled": count(), "accuracy": share(), "macro_f1": nullable("number"),
            "classes": list(object(scored, &[])),
        }),
    ];
    let number = || json!({ "type": "number" });
    let embedding = json!({
        "inputs": count(), "top1": share(), "mean_cosine": number(), "least_cosine": number(),
    });
    let tasks = tasks.into_iter().map(|task| object(task, &[]));
    json!({ "anyOf": tasks.chain([object(embedding, &["top1"])]).collect::<Vec<_>>() })
}

/// An object of `fields` and the numbers of `metrics`, by operand.
fn with_numbers(metrics: &[&Metric], fields: Json, optional: &[&str]) -> Json {
    let of = |operand: Option<Which>| {
        let chosen = metrics.iter().filter(|metric| match operand {
            Some(which) => metric.operands().any(|of| of == which),
            None => !metric.is_of_operands(),
        });
        let properties: Map<String, Json> = chosen.map(|metric| (metric.name.to_owned(), value(metric))).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1 })
    };
    let mut fields = fields.as_object().cloned().unwrap_or_default();
    fields.insert("metrics".into(), of(None));
    fields.extend(Which::ALL.map(|which| (which.name().to_owned(), of(Some(which)))));
    object(fields.into(), &[&["metrics", "activations", "weights", "outputs"], optional].concat())
}

/// The schema of a metric's value.
fn value(metric: &Metric) -> Json {
    // Integers that a double may not hold are strings.
    let integer = json!({
        "anyOf": [{ "type": "integer", "minimum": 0, "maximum": EXACT as u64 }, { "type": "string", "pattern": "^[1-9][0-9]{15,}$" }]
    });
    let number = json!({ "type": "number" });
    let ratio = || {
        let fields = json!({
            "value": nullable("number"), "numerator": integer, "denominator": integer,
            "low": number, "high": number, "std": number,
        });
        let bounds = ["low", "high", "std"];
        let mut ratio = object(fields, &bounds);
        // All of them, or none.
        ratio["dependentRequired"] =
            bounds.into_iter().map(|bound| (bound.to_owned(), json!(bounds))).collect::<Map<_, _>>().into();
        ratio
    };
    let mut schema = match metric.kind {
        Kind::Count => object(json!({ "value": integer }), &[]),
        Kind::Number => object(json!({ "value": number }), &[]),
        Kind::Ratio => ratio(),
        Kind::Work => {
            let modes: Map<String, Json> =
                Padding::BOTH.into_iter().map(|padding| (padding.name().to_owned(), ratio())).collect();
            object(modes.into(), &[])
        }
        Kind::Histogram | Kind::PerChannel => object(json!({ "counts": list(integer) }), &[]),
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
        "# Metrics\n\nMade of the list of metrics (`src/metrics/`); `deadweight explain NAME` prints one of them.\n\n\
         - A metric of an operand is written `a.NAME` of activations, `w.NAME` of weights and `o.NAME` of outputs (what a layer\n  \
         stores, which is counted where it is asked for: `--metrics traffic` or a name with `o.`) where one word must hold both;\n  \
         in CSV, Parquet and JSON the operand stands apart.\n\
         - A figure of the network, a gate or some steps is the same function over pooled sums, never a mean of ratios.\n\
         - `statistics`: what must be counted, `--statistics`, or of other names `--metrics NAME`: what costs more and is\n  \
         counted only where it is asked for.\n\
         - `source`: where the definition comes from, or which design exploits it; [sources](sources.md) has them in full.\n",
    );
    let _ = write!(text, "\nExamples that name no values of their own are of one layer: {EXAMPLE_LAYER}.\n");
    for metric in metrics {
        let of = match metric.is_of_operands() {
            true => metric.operands().map(Which::name).collect::<Vec<_>>().join(", "),
            false => "layers".into(),
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

/// What `explain` prints of a metric, a line a fact.
pub fn explanation(metric: &Metric) -> String {
    let column = |which: Which| format!("{}.{} of {}", which.letter(), metric.name, which.name());
    let columns = match metric.is_of_operands() {
        true => metric.operands().map(column).collect::<Vec<_>>().join(", "),
        false => metric.name.into(),
    };
    let statistics = match metric.needs {
        Needs::Extra(extra) => format!("counted where it is asked for: --metrics {}", extra.name()),
        level => level.name().into(),
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
        ("statistics", statistics),
        ("interval", metric.interval().into()),
        ("column", columns),
    ];
    let known = facts.iter().filter(|(_, fact)| !fact.is_empty());
    known.map(|(name, fact)| format!("{name:<11} {fact}\n")).collect()
}
