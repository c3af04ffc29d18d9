//! `deadweight compare`: measurements side by side, figure by figure.

use std::path::PathBuf;

use clap::Args;

use super::args::OutArgs;
use super::gates::{AssertArgs, side, warn_of_differences};
use super::out::Out;
use super::parsers::{column, share};
use crate::compare::{Comparison, Format, Side, Sort, check_columns};
use crate::report::columns::Column;
use crate::{Error, Result};

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Measurements: counts that `measure -o FILE.dwm` wrote, or JSON of `--format json`. The others are compared with the first
    #[arg(value_name = "FILE", num_args = 2.., required = true)]
    pub files: Vec<PathBuf>,
    /// What is compared, as columns of measure [default: MACs, zeros, widths, terms and potentials that all have]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = column)]
    pub columns: Vec<Column>,
    /// Order of the figures
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// Only figures that changed by more than noise
    #[arg(long)]
    pub only_changed: bool,
    /// Only figures that changed by P % of the first file's or more
    #[arg(long, value_name = "P%", value_parser = share)]
    pub threshold: Option<f64>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// What figures of all files but the first must be.
    #[command(flatten)]
    pub assertions: AssertArgs,
    /// Where to.
    #[command(flatten)]
    pub out: OutArgs,
}

/// Prints what became of the figures of the first file in the others.
pub(super) fn run(args: &CompareArgs) -> Result<()> {
    let mut out = Out::open(args.out.output.as_deref())?;
    let sides = args.files.iter().map(|path| side(path)).collect::<Result<Vec<Side>>>()?;
    let asserted: Vec<Column> = args.assertions.columns().cloned().collect();
    check_columns("--assert", &sides[1..], &asserted)?;
    let mut failed = Vec::new();
    for Side { file, report } in &sides[1..] {
        failed.extend(args.assertions.failures(report)?.into_iter().map(|failure| format!("{file}: {failure}")));
    }
    let mut comparison = Comparison::new(sides, &args.columns)?;
    warn_of_differences(&comparison);
    if args.only_changed {
        comparison.keep_changed();
    }
    if let Some(share) = args.threshold {
        comparison.keep_from(share);
    }
    comparison.sort(args.sort);
    out.write(&args.format.render(&comparison, out.width()))?;
    out.finish()?;
    if failed.is_empty() { Ok(()) } else { Err(Error::Gate { failed }) }
}
