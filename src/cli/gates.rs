//! Gates: what figures must be, asked when the document is written.

use std::path::{Path, PathBuf};

use clap::Args;

use super::parsers::{assertion, tolerance};
use super::report::check_counted;
use crate::compare::{Comparison, Difference, Side, check_columns, common_columns};
use crate::gate::{Assertion, Known, Tolerance, deviations};
use crate::measurement::Measurement;
use crate::report::columns::Column;
use crate::report::{Report, counted};
use crate::{Error, Result};

/// Demands on figures.
#[derive(Args, Debug)]
pub struct AssertArgs {
    /// Fail with exit code 5 unless SCOPE.METRIC is as said (may be repeated): 'network.potential.W+A >= 2.0', 'layer1.*.a.zeros > 10%',
    /// 'quality.top1 >= 75%'. SCOPE is network, a layer (in quotes if it must be), a pattern with * and ?, or layers for all; one of
    /// >= <= > < == != compares
    #[arg(long = "assert", value_name = "ASSERTION", value_parser = assertion)]
    pub assertions: Vec<Assertion>,
}

impl AssertArgs {
    /// The columns that they may be of.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.assertions.iter().flat_map(Assertion::columns)
    }

    /// The figures of `report` that are not as demanded.
    pub(super) fn failures(&self, report: &Report) -> Result<Vec<String>> {
        let failures = self.assertions.iter().map(|assertion| assertion.failures(report));
        Ok(failures.collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Demands on figures of one run.
#[derive(Args, Debug)]
pub struct GateArgs {
    /// By themselves.
    #[command(flatten)]
    pub assertions: AssertArgs,
    /// Fail with exit code 5 where a figure of the network or a layer (of --columns, or those of the table) differs from that of
    /// FILE, counts (.dwm) or JSON, by more than --tolerance
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// The largest difference from the baseline, of its figure [default: 0%, none at all]
    #[arg(long, value_name = "P%", value_parser = tolerance, requires = "baseline")]
    pub tolerance: Option<Tolerance>,
}

impl GateArgs {
    /// Nothing is asked of a part of a run, whose figures are not the run's.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what to do instead, if something is asked.
    pub(super) fn refuse_parts(&self) -> Result<()> {
        let flag = match self {
            Self { baseline: Some(_), .. } => "--baseline with --shard",
            Self { assertions, .. } if !assertions.assertions.is_empty() => "--assert with --shard",
            _ => return Ok(()),
        };
        let detail =
            "a part's figures are not the run's; ask `deadweight report` of what `deadweight merge` makes of the parts";
        Err(Error::invalid(flag, detail))
    }
}

/// Demands, with the baseline read.
pub(super) struct Gates<'a> {
    args: &'a GateArgs,
    columns: &'a [Column],
    baseline: Option<Side>,
}

impl<'a> Gates<'a> {
    /// Reads the baseline, of which `columns` are compared, before any work is done.
    ///
    /// # Errors
    /// Those of [`Report::load`], and [`Error::Invalid`] for columns that the baseline does not have.
    pub(super) fn open(args: &'a GateArgs, columns: &'a [Column]) -> Result<Self> {
        let baseline = args.baseline.as_deref().map(side).transpose()?;
        if let Some(baseline) = &baseline {
            check_columns("--columns", std::slice::from_ref(baseline), columns)?;
        }
        Ok(Self { args, columns, baseline })
    }

    /// Finds out whether there is what assertions are of, before anything is measured.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a layer or an answer that the network does not have.
    pub(super) fn check(&self, layers: &[String], task: &str) -> Result<()> {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let known = Known { layers: &layers, task };
        self.args.assertions.assertions.iter().try_for_each(|assertion| assertion.check(known))
    }

    /// The same of a measurement that exists, and whether it has what was counted for them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what it does not have.
    pub(super) fn check_measured(&self, measurement: &Measurement) -> Result<()> {
        let layers: Vec<String> = measurement.layers.iter().map(|layer| layer.name.clone()).collect();
        self.check(&layers, &measurement.provenance.model.task)?;
        check_counted(measurement, self.args.assertions.columns(), |column| format!("--assert: {}", column.name))?;
        check_counted(measurement, self.columns, |column| format!("--columns {}", column.name))
    }

    /// Asks for the figures of `measurement`, which is called `name`. What differs from how the baseline was measured is logged.
    ///
    /// # Errors
    /// [`Error::Gate`] with all figures that are not as demanded.
    pub(super) fn judge(&self, measurement: &Measurement, name: &str) -> Result<()> {
        let Self { args, columns, baseline } = self;
        let asserted: Vec<Column> = args.assertions.columns().cloned().collect();
        let mut failed = Vec::new();
        if !args.assertions.assertions.is_empty() {
            failed = args.assertions.failures(&Report::of_columns(measurement, &asserted))?;
        }
        if let Some(baseline) = baseline {
            let counted = [&baseline.report.provenance, &measurement.provenance].map(counted);
            let columns = if columns.is_empty() { common_columns(counted) } else { columns.to_vec() };
            let run = Side { file: name.to_owned(), report: Report::of_columns(measurement, &columns) };
            let tolerance = args.tolerance.unwrap_or_default();
            let (figures, comparison) = deviations(baseline.clone(), run, &columns, tolerance)?;
            warn_of_differences(&comparison);
            failed.extend(figures);
        }
        if failed.is_empty() { Ok(()) } else { Err(Error::Gate { failed }) }
    }
}

/// The measurement in the file `path`.
///
/// # Errors
/// Those of [`Report::load`].
pub(super) fn side(path: &Path) -> Result<Side> {
    Ok(Side { file: path.display().to_string(), report: Report::load(path)? })
}

/// Logs in what the sides of `comparison` were measured otherwise.
pub(super) fn warn_of_differences(comparison: &Comparison) {
    for difference in &comparison.differences {
        let Difference { side, what, base, other } = difference;
        let [first, file] = [0, *side].map(|side| &comparison.sides[side].file);
        tracing::warn!("{what}: {base} of {first}, {other} of {file}; figures differ for that reason, too");
    }
}
