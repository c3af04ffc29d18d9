//! Comparisons: figures of several measurements side by side, layers matched by name, with what became of each.

mod change;
mod conditions;
mod csv;
mod document;
mod matching;
mod order;
mod text;

use clap::ValueEnum;

use crate::metrics::Kind;
use crate::report::columns::{self, Column};
use crate::report::{self, Figure, Report, Scope, to_json};
use crate::tally::Statistics;
use crate::{Error, Result};

pub use change::{Change, Verdict};
pub use conditions::Difference;
pub use document::SCHEMA;
pub use matching::{Matching, Prefix, matched};
pub use order::Sort;
pub use text::{amount, precise, precise_in};

/// A measurement and the file that it is of.
#[derive(Clone, Debug)]
pub struct Side {
    /// The file, as the user named it.
    pub file: String,
    /// What it says.
    pub report: Report,
}

/// A figure of all sides.
#[derive(Clone, Debug)]
pub struct Row {
    /// The layer's name in the base; `network` for the sums.
    pub layer: String,
    /// The layer's place in the base; none of the network.
    pub index: Option<usize>,
    /// The layer's kind; nothing for the network.
    pub kind: String,
    /// Its column, by place.
    pub column: usize,
    /// Its name in each side, where that has it.
    pub names: Vec<Option<String>>,
    /// The figure in each side.
    pub figures: Vec<Option<Figure>>,
    /// What became of it in each side but the base.
    pub changes: Vec<Change>,
}

/// Several measurements, the first of which is the base.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The measurements.
    pub sides: Vec<Side>,
    /// What is compared.
    pub columns: Vec<Column>,
    /// The figures: the network's, then layer by layer in the order of the base.
    pub rows: Vec<Row>,
    /// In what the others were measured otherwise, so that differences are not of the network alone.
    pub differences: Vec<Difference>,
    /// The prefix that names of each side but the base were matched by.
    pub prefixes: Vec<Option<Prefix>>,
    /// Of each side the names of the layers that it alone has.
    pub only: Vec<Vec<String>>,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: a row a figure
    #[default]
    Table,
    /// One document
    Json,
    /// A line a figure and file
    Csv,
    /// The table in Markdown
    Md,
}

impl Format {
    /// `comparison` as text that ends with a newline; `width` (of the terminal, if it is one) concerns the table.
    pub fn render(self, comparison: &Comparison, width: Option<u16>) -> String {
        match self {
            Self::Table => text::table(comparison, width),
            Self::Json => to_json(&document::document(comparison)),
            Self::Csv => csv::render(comparison),
            Self::Md => text::markdown(comparison),
        }
    }
}

/// The columns of a report of what was counted at all of these levels.
pub fn common_columns(counted: impl IntoIterator<Item = Statistics>) -> Vec<Column> {
    columns::default(counted.into_iter().min().unwrap_or(Statistics::Values))
}

/// Finds out whether all of `sides` have `columns`, which `flag` names.
///
/// # Errors
/// [`Error::Invalid`] for a column that is not one number, or of what a side did not count.
pub fn check_columns(flag: &str, sides: &[Side], columns: &[Column]) -> Result<()> {
    for column in columns {
        let name = &column.name;
        let wrong = |detail: String| Err(Error::invalid(format!("{flag} {name}"), detail));
        match column.metric().map(|(metric, _)| metric.kind) {
            None => return wrong("is no number that could be compared".into()),
            Some(Kind::Histogram | Kind::PerChannel) if !name.contains(':') => {
                return wrong(format!("is several numbers: name one by its place, e.g. {name}:0"));
            }
            _ => {}
        }
        let lacks = |side: &&Side| column.needs().iter().any(|needs| !report::has(&side.report.provenance, *needs));
        if let Some(side) = sides.iter().find(lacks) {
            return wrong(format!("was not counted for {}", side.file));
        }
    }
    Ok(())
}

impl Comparison {
    /// Compares `columns` of all others with those of the first side; without any, the columns of a report but for those that
    /// others imply.
    ///
    /// # Errors
    /// As [`check_columns`].
    pub fn new(sides: Vec<Side>, columns: &[Column]) -> Result<Self> {
        let columns = match columns {
            [] => {
                let mut common = common_columns(sides.iter().map(|side| report::counted(&side.report.provenance)));
                common.retain(|column| !["macs.effectual", "potential.A"].contains(&column.name.as_str()));
                common
            }
            chosen => chosen.to_vec(),
        };
        check_columns("--columns", &sides, &columns)?;
        let layers: Vec<Vec<&Scope>> = sides.iter().map(|side| side.report.layers().collect()).collect();
        let names: Vec<Vec<&str>> =
            layers.iter().map(|layers| layers.iter().map(|scope| scope.layer.as_str()).collect()).collect();
        let matchings: Vec<Matching> = names[1..].iter().map(|other| matched(&names[0], other)).collect();
        let mut rows = Vec::new();
        let mut add = |scopes: Vec<Option<&Scope>>, index: Option<usize>| {
            let base = scopes[0].expect("the base has what its layers are matched with");
            for (at, column) in columns.iter().enumerate() {
                let figures: Vec<Option<Figure>> =
                    scopes.iter().map(|scope| scope.and_then(|scope| column.figure(scope))).collect();
                if figures.iter().all(Option::is_none) {
                    continue;
                }
                let changes = figures[1..].iter().map(|new| Change::between(figures[0].as_ref(), new.as_ref()));
                rows.push(Row {
                    layer: base.layer.clone(),
                    index,
                    kind: base.kind.clone(),
                    column: at,
                    names: scopes.iter().map(|scope| scope.map(|scope| scope.layer.clone())).collect(),
                    changes: changes.collect(),
                    figures,
                });
            }
        };
        add(sides.iter().map(|side| Some(side.report.network())).collect(), None);
        let mut pairs = Vec::new();
        for (index, own) in layers[0].iter().enumerate() {
            let others = matchings.iter().zip(&layers[1..]);
            let others: Vec<Option<&Scope>> =
                others.map(|(matching, layers)| matching.places[index].map(|place| layers[place])).collect();
            pairs.push(others.clone());
            if others.iter().any(Option::is_some) {
                add([Some(*own)].into_iter().chain(others).collect(), Some(index));
            }
        }
        let differences = conditions::differences(&sides, &layers[0], &pairs);
        let left = |has: &dyn Fn(usize) -> bool, names: &[&str]| -> Vec<String> {
            names.iter().enumerate().filter(|(at, _)| !has(*at)).map(|(_, name)| (*name).to_owned()).collect()
        };
        let of_base = left(&|at| matchings.iter().any(|matching| matching.places[at].is_some()), &names[0]);
        let others = matchings.iter().zip(&names[1..]);
        let of_others = others.map(|(matching, names)| left(&|at| matching.places.contains(&Some(at)), names));
        let only = [of_base].into_iter().chain(of_others).collect();
        let prefixes = matchings.into_iter().map(|matching| matching.prefix).collect();
        Ok(Self { columns, rows, differences, prefixes, only, sides })
    }

    /// Whether all measured the same inputs.
    pub fn has_same_inputs(&self) -> bool {
        self.sides.iter().all(|side| side.report.inputs_sha256 == self.sides[0].report.inputs_sha256)
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
