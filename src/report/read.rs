//! Parses the JSON document back into the report that it was made of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::document::SCHEMA;
use super::phases::Phases;
use super::quality::Quality;
use super::scopes::{Extents, Part, Report, Scope};
use crate::measurement::{Format, Model, Provenance, Tool};
use crate::metrics::{self, Cell, Cells, Compute, Fraction, Interval, Kind, Metric, Value, Which};
use crate::tally::{GATES, Padding};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: String,
    model: Model,
    data: Data,
    format: Format,
    options: BTreeMap<String, String>,
    notes: Vec<String>,
    tool: Tool,
    layers: Vec<Layer>,
    network: Numbers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    inputs: u64,
    inputs_sha256: String,
    skipped: u64,
    preprocessing: String,
    quality: Option<Json>,
    phases: Option<Phases>,
}

/// Metrics by name, of the layer and of its operands.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Numbers {
    metrics: Map<String, Json>,
    activations: Map<String, Json>,
    weights: Map<String, Json>,
    outputs: Map<String, Json>,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    kind: String,
    shape: Extents,
    #[serde(default)]
    gates: Vec<Map<String, Json>>,
    #[serde(default)]
    steps: Vec<Map<String, Json>>,
    #[serde(flatten)]
    numbers: Map<String, Json>,
}

impl Report {
    /// Reads a document that `measure --format json` or `report --format json` printed; messages call it `file`. Its rows and all
    /// formats are those of the report that it was made of.
    ///
    /// ```
    /// use deadweight::measurement::Measurement;
    /// use deadweight::report::{Report, document, rows, to_json};
    /// # use deadweight::{engine::{Backend, EngineOptions}, measure::{Quiet, Settings, calibrate_and_measure}, model::{LoadOptions, Model}};
    /// # let model = Model::load("digits", &LoadOptions::default())?;
    /// # let data = model.builtin_data().expect("built in")?;
    /// # let settings = Settings { limit: Some(2), ..Settings::default() };
    /// # let backend = Backend::Native(EngineOptions::new(1));
    /// # let run = calibrate_and_measure(&model, &backend, &data, &settings, &Quiet)?.1;
    /// # let folder = tempfile::tempdir().expect("a folder");
    /// # let path = folder.path().join("run.dwm");
    /// # std::fs::write(&path, run.to_bytes()).expect("written");
    /// // What `deadweight measure digits -o run.dwm` wrote, as JSON and back.
    /// let text = to_json(&document(&Report::new(&Measurement::load(&path)?)));
    /// let report = Report::from_json("run.json", &text)?;
    /// let zeros = rows(&report).into_iter().find(|row| {
    ///     row.scope == "network" && row.operand == "activations" && row.metric == "zeros"
    /// });
    /// let zeros = zeros.expect("every measurement has them");
    /// assert_eq!(zeros.value, Some(zeros.numerator.unwrap() as f64 / zeros.denominator.unwrap() as f64));
    /// # Ok::<(), deadweight::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Malformed`] naming what is no such document, or a number of it that is none.
    pub fn from_json(file: &str, text: &str) -> Result<Self> {
        let wrong = |error: serde_json::Error| Error::malformed(file, format!("is no measurement in JSON: {error}"));
        let value: Json = serde_json::from_str(text).map_err(wrong)?;
        match value["schema"].as_str() {
            Some(SCHEMA) => {}
            Some(other) => return Err(Error::malformed(file, format!("is of {other}, not {SCHEMA}"))),
            None => return Err(Error::malformed(file, "is no measurement in JSON: it names no schema")),
        }
        let document: Document = serde_json::from_value(value).map_err(wrong)?;
        let mut scopes = Vec::new();
        for (index, layer) in document.layers.into_iter().enumerate() {
            let place = format!("{file}: {}", layer.name);
            let mut add = |part: Part, numbers: Map<String, Json>| {
                scopes.push(Scope {
                    shape: (part == Part::Layer).then(|| layer.shape.clone()),
                    part,
                    layer: layer.name.clone(),
                    index: Some(index),
                    kind: layer.kind.clone(),
                    cells: cells(&place, serde_json::from_value(numbers.into()).map_err(wrong)?)?,
                });
                Ok::<_, Error>(())
            };
            add(Part::Layer, layer.numbers)?;
            for mut gate in layer.gates {
                let name = gate.remove("gate");
                let mut known = GATES.into_iter().flatten();
                let known = known.find(|known| name.as_ref().is_some_and(|name| name == *known));
                let known = known.ok_or_else(|| Error::malformed(&place, "has a gate that no recurrent layer has"))?;
                add(Part::Gate(known), gate)?;
            }
            for mut steps in layer.steps {
                let bounds = ["first", "last"].map(|bound| steps.remove(bound).and_then(|bound| bound.as_u64()));
                let [Some(first), Some(last)] = bounds else {
                    return Err(Error::malformed(&place, "has steps without a first or a last"));
                };
                add(Part::Steps(first, last), steps)?;
            }
        }
        scopes.push(Scope::network(cells(&format!("{file}: network"), document.network)?));
        let Data { inputs, inputs_sha256, skipped, preprocessing, quality, phases } = document.data;
        let quality: Option<Quality> = quality
            .map(serde_json::from_value)
            .transpose()
            .map_err(|_| Error::malformed(format!("{file}: quality"), "is that of no task"))?;
        let Document { model, format, options, notes, tool, .. } = document;
        let provenance = Provenance { model, preprocessing, format, options, notes, tool };
        Ok(Self { provenance, inputs, inputs_sha256, skipped, quality, phases, scopes })
    }
}

/// The metrics of `numbers`, in the order of their list: what is made of pooled values stands last.
fn cells(place: &str, mut numbers: Numbers) -> Result<Cells> {
    let mut cells = Vec::new();
    let is_pooled = |metric: &&Metric| matches!(metric.compute, Compute::Pooled(_));
    for metric in metrics::all().filter(|metric| !is_pooled(metric)).chain(metrics::all().filter(is_pooled)) {
        let operands = if metric.is_of_operands() { Which::ALL.map(Some).to_vec() } else { vec![None] };
        for operand in operands {
            let values = match operand {
                None => &mut numbers.metrics,
                Some(Which::Activations) => &mut numbers.activations,
                Some(Which::Weights) => &mut numbers.weights,
                Some(Which::Outputs) => &mut numbers.outputs,
            };
            let Some(json) = values.remove(metric.name) else { continue };
            let wrong = || Error::malformed(format!("{place}: {}", metric.name), format!("is no value of it: {json}"));
            let (value, intervals) = value(metric.kind, &json).ok_or_else(wrong)?;
            cells.push(Cell { metric, operand, value, intervals });
        }
    }
    let Numbers { metrics, activations, weights, outputs } = numbers;
    match [metrics, activations, weights, outputs].iter().flat_map(|of| of.keys()).next() {
        Some(name) => Err(Error::malformed(format!("{place}: {name}"), "is no metric of this version")),
        None => Ok(cells.into_iter().collect()),
    }
}

/// A value of `kind`, and the intervals of the ratios in it.
fn value(kind: Kind, json: &Json) -> Option<(Value, [Option<Interval>; 2])> {
    let number = || json["value"].as_f64();
    let counts = || -> Option<Vec<u64>> {
        json["counts"].as_array()?.iter().map(|count| integer(count)?.try_into().ok()).collect()
    };
    Some(match kind {
        Kind::Count => (Value::Count(integer(&json["value"])?), [None; 2]),
        // How a number pooled is no matter any more.
        Kind::Number => (Value::Derived(number()?), [None; 2]),
        Kind::Ratio => {
            let (fraction, interval) = ratio(json)?;
            (Value::Ratio(fraction), [interval, None])
        }
        Kind::Work => {
            let [with, without] = Padding::BOTH.map(|padding| ratio(&json[padding.name()]));
            let ((with, of_with), (without, of_without)) = (with?, without?);
            (Value::Work([with, without]), [of_with, of_without])
        }
        Kind::Histogram => (Value::Histogram(counts()?), [None; 2]),
        Kind::PerChannel => (Value::PerChannel(counts()?), [None; 2]),
    })
}

fn ratio(json: &Json) -> Option<(Fraction, Option<Interval>)> {
    let fraction = Fraction::new(integer(&json["numerator"])?, integer(&json["denominator"])?);
    let bounds = ["low", "high", "std"].map(|bound| json[bound].as_f64());
    let interval = match bounds {
        [Some(low), Some(high), Some(std)] => Some(Interval { std, low, high }),
        _ => None,
    };
    Some((fraction, interval))
}

/// An integer, which is a string where a double could not hold it.
fn integer(json: &Json) -> Option<u128> {
    json.as_u64().map(u128::from).or_else(|| json.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::{document, rows, sample, to_json};
    use super::*;

    #[test]
    fn a_document_is_read_as_the_report_that_it_was_made_of() {
        let mut report = sample::report();
        // Beyond what a double holds, and bounds.
        let large = |cell: &Cell| match &cell.value {
            Value::Ratio(_) => Cell {
                value: Value::Ratio(Fraction::new((1_u128 << 53) + 1, u128::MAX)),
                intervals: [Some(Interval { std: 0.1, low: 1.0 / 3.0, high: 1e-300 }), None],
                ..cell.clone()
            },
            _ => cell.clone(),
        };
        report.scopes[0].cells = report.scopes[0].cells.iter().map(large).collect();
        let text = to_json(&document(&report));
        let again = Report::from_json("a.json", &text).unwrap();
        assert_eq!(rows(&again), rows(&report));
        assert_eq!(to_json(&document(&again)), text);
    }

    #[test]
    fn what_is_no_document_is_one_error() {
        let text = to_json(&document(&sample::report()));
        let message = |text: &str| Report::from_json("a.json", text).unwrap_err().to_string();
        for (from, to, want) in [
            ("deadweight/measure/2", "deadweight/measure/9", "is of deadweight/measure/9"),
            ("\"schema\"", "\"scheme\"", "names no schema"),
            ("\"macs\": {", "\"muls\": {", "muls: is no metric of this version"),
            ("\"notes\": []", "\"notes\": [], \"more\": 1", "unknown field `more`"),
            ("\"numerator\": ", "\"numerator\": -", "is no value of it"),
            ("\"top1\": {", "\"top2\": {", "quality: is that of no task"),
            ("\"kind\": \"conv\",", "", "missing field `kind`"),
            ("\"weights\": {", "\"waits\": {", "unknown field `waits`"),
        ] {
            // The last of several: the first ratios are of quality, not of metrics.
            let (before, after) = text.rsplit_once(from).unwrap_or_else(|| panic!("{from}"));
            let got = message(&[before, to, after].concat());
            assert!(got.starts_with("a.json: ") && got.contains(want), "{to}: {got}");
        }
        assert!(message(&text[..text.len() / 2]).contains("is no measurement in JSON"));
    }
}
