//! `deadweight explain`: what the metrics mean.

use clap::Args;

use super::out::Out;
use crate::designs::{self, Design};
use crate::error::near_or;
use crate::format;
use crate::metrics::{self, Compute, Metric, Which};
use crate::report::{Grid, explanation};
use crate::{Error, Result};

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  deadweight explain
  deadweight explain W+A
  deadweight explain formats
  deadweight explain pragmatic")]
pub struct ExplainArgs {
    /// The metric, e.g. zeros, a.width.g16, potential.W+A or W+A, `formats` for the number formats, a design, or `designs` for all of them; none lists all metrics
    #[arg(value_name = "METRIC")]
    pub metric: Option<String>,
}

/// Prints the explanation of one metric, or the list.
pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    let mut out = Out::open(None)?;
    match &args.metric {
        None => {
            let mut grid = Grid::new(["metric", "of", "statistics", "unit", "meaning"], &[0, 1, 2, 3, 4]);
            for metric in metrics::all() {
                let cells = [metric.name, of(metric), metric.needs.name(), metric.unit, metric.definition];
                grid.row(cells);
            }
            out.write(&grid.render(None))?;
        }
        Some(name) if name == "formats" => {
            let mut grid = Grid::new(["format", "B", "learned", "code q of a value x"], &[0, 1, 2, 3]);
            format::FORMATS.iter().for_each(|format| grid.row(*format));
            out.write(&grid.render(out.width()))?;
            for (title, note) in format::NOTES {
                out.write(&format!("\n{title}: {note}\n"))?;
            }
        }
        Some(name) if name == "designs" => {
            let all: Vec<String> = designs::ALL.iter().map(|design| design.explanation()).collect();
            out.write(&all.join("\n"))?;
        }
        Some(name) if Design::named(name).is_some() => {
            out.write(&Design::named(name).map(Design::explanation).unwrap_or_default())?;
        }
        Some(name) => {
            // Accepts a column's name, with the operand's letter and a parameter, or without.
            let plain = name.split(':').next().unwrap_or_default();
            let without = Which::ALL.iter().find_map(|which| plain.strip_prefix(which.letter())?.strip_prefix('.'));
            let metric = metrics::find(plain).or_else(|| without.and_then(metrics::find));
            let Some(metric) = metric else {
                let designs = designs::ALL.iter().map(|design| design.name).chain(["designs", "formats"]);
                let known = metrics::all().map(|metric| metric.name).chain(designs);
                let hint = near_or(plain, known, "`deadweight explain` lists all metrics");
                return Err(Error::NotFound { what: format!("metric {name}"), hint });
            };
            out.write(&explanation(metric))?;
        }
    }
    out.finish()
}

/// The scope of a metric.
fn of(metric: &Metric) -> &'static str {
    match metric.compute {
        Compute::Operand(_) => "operand",
        Compute::Layer(_) | Compute::Pooled(_) => "layer",
    }
}
