//! Columns of tables: metrics by name, `a.` of activations, `w.` of weights, `o.` of outputs, with a parameter behind a colon where
//! a metric has several numbers.

use super::figure::Figure;
use super::scopes::Scope;
use super::units;
use crate::error::near;
use crate::metrics::{self, Kind, Metric, Needs, Show, Which};
use crate::tally::{Extra, Padding, Statistics};

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
        match self.of {
            Of::Kind => scope.kind.clone(),
            Of::Metric { .. } => self.figure(scope).map_or_else(|| "-".into(), |figure| self.show(figure.number)),
        }
    }

    /// Its number in the row of `scope`, if there is one.
    pub fn figure(&self, scope: &Scope) -> Option<Figure> {
        let Of::Metric { metric, operand, parameter } = &self.of else { return None };
        let mut cells = scope.cells.iter();
        let cell = cells.find(|cell| cell.metric.name == metric.name && cell.operand == *operand)?;
        Figure::of(cell, parameter.as_deref())
    }

    /// `number` as the column shows it.
    pub fn show(&self, number: f64) -> String {
        match self.metric().map(|(metric, _)| metric.show) {
            _ if number.is_infinite() => "inf".into(),
            Some(Show::Count) => units::count(number as u64),
            Some(Show::Percent) => units::share(Some(number)),
            Some(Show::Mean) => format!("{number:.2}"),
            Some(Show::Real) => units::significant(number, 4),
            Some(Show::Times) | None => units::significant(number, 3),
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

/// Which of the numbers of a value of `kind` `parameter` names: a mode of padding, or a place of a histogram.
pub(crate) fn parameter_index(kind: Kind, parameter: &str) -> Option<usize> {
    match kind {
        Kind::Work => Padding::BOTH.into_iter().position(|padding| padding.name() == parameter),
        Kind::Histogram | Kind::PerChannel => parameter.parse().ok(),
        Kind::Count | Kind::Ratio | Kind::Number => None,
    }
}

/// The columns that are shown unless others are chosen, of what was counted.
pub fn default(counted: Statistics) -> Vec<Column> {
    let names = if counted >= Statistics::Terms { DEFAULT } else { OF_VALUES };
    names.iter().map(|name| Column::parse(name).expect("a column")).collect()
}
