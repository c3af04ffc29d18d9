//! Tidy rows for data frames: one number a row, with its layer, operand and metric. CSV and Parquet hold these rows.

use serde_json::Value as Json;

use super::scopes::{Report, Scope};
use crate::metrics::{Cell, Value};

/// One number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The model's name.
    pub model: String,
    /// `run`, `layer`, `gate`, `steps` or `network`: rows of one scope add up, rows of several do not.
    pub scope: &'static str,
    /// The layer's name; `network` for its sums, nothing for what is of the whole run.
    pub layer: String,
    /// The layer's place in the network, from 0.
    pub index: Option<usize>,
    /// Which gate, or which steps.
    pub part: String,
    /// The layer's kind.
    pub kind: String,
    /// `activations`, `weights`, `outputs`, or nothing.
    pub operand: &'static str,
    /// The metric's name, as `explain` lists it.
    pub metric: String,
    /// Which of the metric's numbers, if it has several.
    pub parameter: String,
    /// The number; none where there is none, infinite where only the denominator is 0.
    pub value: Option<f64>,
    /// Numerator of a ratio of sums, or the count; exact.
    pub numerator: Option<u128>,
    /// Denominator of a ratio of sums.
    pub denominator: Option<u128>,
    /// Lower bound of the 95 % interval of a ratio, where it is known.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
    /// Its unit.
    pub unit: String,
}

/// A field of a row, by its type; what is empty is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// A name.
    Text(&'a str),
    /// A place in the network.
    Place(Option<usize>),
    /// A number.
    Real(Option<f64>),
    /// An exact count.
    Integer(Option<u128>),
}

impl Row {
    /// Its fields by the names of their columns, in the order of these.
    pub fn fields(&self) -> [(&'static str, Field<'_>); 15] {
        [
            ("model", Field::Text(&self.model)),
            ("scope", Field::Text(self.scope)),
            ("layer", Field::Text(&self.layer)),
            ("index", Field::Place(self.index)),
            ("part", Field::Text(&self.part)),
            ("kind", Field::Text(&self.kind)),
            ("operand", Field::Text(self.operand)),
            ("metric", Field::Text(&self.metric)),
            ("parameter", Field::Text(&self.parameter)),
            ("value", Field::Real(self.value)),
            ("numerator", Field::Integer(self.numerator)),
            ("denominator", Field::Integer(self.denominator)),
            ("low", Field::Real(self.low)),
            ("high", Field::Real(self.high)),
            ("unit", Field::Text(&self.unit)),
        ]
    }
}

/// All numbers of `report`, in a fixed order.
pub fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    let model = &report.provenance.model;
    let blank = Row { model: model.name.clone(), scope: "run", ..Row::default() };
    let count = |metric: &str, parameter: &str, count: u64, unit: &str| Row {
        metric: metric.into(),
        parameter: parameter.into(),
        value: Some(count as f64),
        numerator: Some(count.into()),
        unit: unit.into(),
        ..blank.clone()
    };
    rows.push(count("parameters", "", model.parameters, "values"));
    rows.extend(model.files.iter().map(|file| count("file_bytes", &file.name, file.bytes, "bytes")));
    rows.push(count("inputs", "", report.inputs, "inputs"));
    rows.push(count("skipped", "", report.skipped, "inputs"));
    rows.push(count("calibration_inputs", "", report.provenance.format.calibration_inputs, "inputs"));
    if let Some(quality) = &report.quality {
        let quality = serde_json::to_value(quality).expect("a quality has names for keys");
        flatten(&blank, "quality", &quality, &mut rows);
    }
    report.scopes.iter().for_each(|scope| of_scope(&blank, scope, &mut rows));
    rows
}

fn of_scope(blank: &Row, scope: &Scope, rows: &mut Vec<Row>) {
    let blank = Row {
        scope: scope.part.scope(),
        layer: scope.layer.clone(),
        index: scope.index,
        part: scope.part.name(),
        kind: scope.kind.clone(),
        ..blank.clone()
    };
    if let Some(shape) = &scope.shape {
        let shape = serde_json::to_value(shape).expect("extents have names for keys");
        flatten(&blank, "shape", &shape, rows);
    }
    for cell in scope.cells.iter() {
        let Cell { metric, operand, value, intervals } = cell;
        let of = Row {
            operand: operand.map_or("", |which| which.name()),
            metric: metric.name.into(),
            unit: metric.unit.into(),
            ..blank.clone()
        };
        match value {
            Value::Count(count) => rows.push(Row { value: value.number(), numerator: Some(*count), ..of }),
            Value::Ratio(_) | Value::Work(_) => {
                rows.extend(value.fractions().into_iter().zip(intervals).map(|((padding, fraction), interval)| Row {
                    parameter: padding.map_or("", |padding| padding.name()).into(),
                    value: fraction.value(),
                    numerator: Some(fraction.numerator),
                    denominator: Some(fraction.denominator),
                    low: interval.map(|interval| interval.low),
                    high: interval.map(|interval| interval.high),
                    ..of.clone()
                }))
            }
            Value::Histogram(counts) | Value::PerChannel(counts) => {
                rows.extend(counts.iter().enumerate().map(|(place, &count)| Row {
                    parameter: place.to_string(),
                    value: Some(count as f64),
                    numerator: Some(count.into()),
                    ..of.clone()
                }));
            }
            Value::Least(_) | Value::Most(_) | Value::Derived(_) => rows.push(Row { value: value.number(), ..of }),
        }
    }
}

/// The numbers below `value`, named by their keys; places of lists are parameters.
fn flatten(blank: &Row, metric: &str, value: &Json, rows: &mut Vec<Row>) {
    match value {
        Json::Object(fields) if fields.contains_key("numerator") => rows.push(Row {
            metric: metric.into(),
            value: fields["value"].as_f64(),
            numerator: fields["numerator"].as_u64().map(u128::from),
            denominator: fields["denominator"].as_u64().map(u128::from),
            ..blank.clone()
        }),
        Json::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(blank, &format!("{metric}.{name}"), value, rows));
        }
        Json::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                // Of a list of classes the class's name.
                let name = item.get("name").and_then(Json::as_str).map(str::to_owned);
                let parameter = name.unwrap_or_else(|| place.to_string());
                flatten(&Row { parameter, ..blank.clone() }, metric, item, rows);
            }
        }
        Json::Number(number) => rows.push(Row {
            metric: metric.into(),
            value: number.as_f64(),
            numerator: number.as_u64().map(u128::from),
            ..blank.clone()
        }),
        Json::Null => rows.push(Row { metric: metric.into(), ..blank.clone() }),
        Json::Bool(_) | Json::String(_) => {}
    }
}
