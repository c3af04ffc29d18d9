//! Columns of tables: metrics by name, `a.` of activations, `w.` of weights, `o.` of outputs, with a parameter behind a colon where
//! a metric has several numbers.

use super::scopes::Scope;
use super::units;
use crate::error::near;
use crate::metrics::{self, Metric, Needs, Show, Value, Which};
use crate::tally::{Extra, Padding};

/// Shown unless others are chosen.
const DEFAULT: [&str; 11] = [
    "macs.per_input",
    "a.zeros",
    "w.zeros",
    "macs.effectual",
    "a.width.g16",
    "a.terms",
    "potential.A",
    "potential.W+A",
    "potential.Ap.g16",
    "potential.Ae",
    "potential.We+Ae",
];

/// The same where neither terms nor codes were counted.
const OF_VALUES: [&str; 11] = [
    "macs.per_input",
    "a.zeros",
    "w.zeros",
    "macs.effectual",
    "a.width.layer",
    "a.width.g16",
    "potential.A",
    "potential.W+A",
    "potential.Ap.layer",
    "potential.Ap.g16",
    "potential.W+A+Ap",
];

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What `--columns` calls it.
    pub name: String,
    /// Its heading, in up to two lines.
    pub header: String,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Kind,
    Metric { metric: &'static Metric, operand: Option<Which>, parameter: Option<String> },
}

impl Column {
    /// The column of that name.
    ///
    /// # Errors
    /// What names there are that are near.
    pub fn parse(name: &str) -> Result<Self, String> {
        if name == "kind" {
            return Ok(Self { name: name.into(), header: name.into(), of: Of::Kind });
        }
        let (address, parameter) = match name.split_once(':') {
            Some((address, parameter)) => (address, Some(parameter.to_owned())),
            None => (name, None),
        };
        let Some((metric, operand)) = find(address) else { return Err(unknown(name)) };
        Ok(Self { name: name.into(), ..Self::of(metric, operand, parameter) })
    }

    /// The column of `metric`, of `operand` if it has a value for each, and of one of its numbers if it has several.
    pub fn of(metric: &'static Metric, operand: Option<Which>, parameter: Option<String>) -> Self {
        let header = match operand {
            None => metric.heading.to_owned(),
            Some(which) => {
                let short = match which {
                    Which::Activations => "act",
                    Which::Weights => "wt",
                    Which::Outputs => "out",
                };
                match metric.heading.split_once('\n') {
                    Some((above, below)) => format!("{above} {short}\n{below}"),
                    None => format!("{}\n{short}", metric.heading),
                }
            }
        };
        let header = match &parameter {
            Some(parameter) if header.contains('\n') => format!("{header} {parameter}"),
            Some(parameter) => format!("{header}\n{parameter}"),
            None => header,
        };
        let letter = operand.map(|which| format!("{}.", which.letter())).unwrap_or_default();
        let behind = parameter.as_ref().map(|parameter| format!(":{parameter}")).unwrap_or_default();
        let name = format!("{letter}{}{behind}", metric.name);
        Self { name, header, of: Of::Metric { metric, operand, parameter } }
    }

    /// Its text in the row of `scope`.
    pub fn text(&self, scope: &Scope) -> String {
        let Of::Metric { metric, operand, parameter } = &self.of else { return scope.kind.clone() };
        let value = scope.cells.get(metric.name, *operand);
        let number = value.and_then(|value| match parameter {
            Some(parameter) => parameter_of(value, parameter),
            None => value.number(),
        });
        let Some(number) = number else { return "-".into() };
        match metric.show {
            _ if number.is_infinite() => "inf".into(),
            Show::Count => units::count(number as u64),
            Show::Percent => units::share(Some(number)),
            Show::Mean => format!("{number:.2}"),
            Show::Real => units::significant(number, 4),
            Show::Times => units::significant(number, 3),
        }
    }

    /// The metric, and the operand if the metric has a value for each.
    pub fn metric(&self) -> Option<(&'static Metric, Option<Which>)> {
        match &self.of {
            Of::Kind => None,
            Of::Metric { metric, operand, .. } => Some((metric, *operand)),
        }
    }

    /// Whether it holds text, which is aligned to the left.
    pub fn is_text(&self) -> bool {
        matches!(self.of, Of::Kind)
    }

    /// What must have been counted for it.
    pub fn needs(&self) -> Vec<Needs> {
        match &self.of {
            Of::Kind => Vec::new(),
            Of::Metric { metric, operand: Some(Which::Outputs), .. } => {
                vec![metric.needs, Needs::Extra(Extra::Outputs)]
            }
            Of::Metric { metric, .. } => vec![metric.needs],
        }
    }

    /// What asks `measure --metrics` for it.
    pub fn address(&self) -> &str {
        self.name.split(':').next().unwrap_or_default()
    }
}

/// The metric at `address`, and its operand.
pub(crate) fn find(address: &str) -> Option<(&'static Metric, Option<Which>)> {
    let of_operand = Which::ALL.into_iter().find_map(|which| {
        let name = address.strip_prefix(which.letter())?.strip_prefix('.')?;
        metrics::find(name).filter(|metric| metric.operands().any(|of| of == which)).map(|metric| (metric, Some(which)))
    });
    of_operand.or_else(|| {
        let metric = metrics::find(address).filter(|metric| !metric.is_of_operands())?;
        Some((metric, None))
    })
}

/// The message for an unknown name, with the nearest names.
pub(crate) fn unknown(name: &str) -> String {
    match near(name, names()).as_slice() {
        [] => "is no column; `deadweight explain` lists the metrics".into(),
        near => format!("is no column; near are {}", near.join(", ")),
    }
}

/// The names of all columns.
pub fn names() -> impl Iterator<Item = String> {
    std::iter::once("kind".to_owned()).chain(metrics::all().flat_map(|metric| match metric.is_of_operands() {
        true => metric.operands().map(|which| format!("{}.{}", which.letter(), metric.name)).collect(),
        false => vec![metric.name.to_owned()],
    }))
}

/// The number of `value` that `parameter` names: a mode of padding, or a place of a histogram.
fn parameter_of(value: &Value, parameter: &str) -> Option<f64> {
    match value {
        Value::Work(modes) => {
            let mode = Padding::BOTH.into_iter().position(|padding| padding.name() == parameter)?;
            modes[mode].value()
        }
        Value::Histogram(counts) | Value::PerChannel(counts) => {
            Some(*counts.get(parameter.parse::<usize>().ok()?)? as f64)
        }
        _ => None,
    }
}

/// The columns that are shown unless others are chosen, of what was counted.
pub fn default(counted: Needs) -> Vec<Column> {
    let names = if counted >= Needs::Full { DEFAULT } else { OF_VALUES };
    names.iter().map(|name| Column::parse(name).expect("a column")).collect()
}
