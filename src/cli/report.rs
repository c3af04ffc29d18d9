//! `deadweight report`: everything that `measure` prints, from the counts in a file.

use std::path::PathBuf;

use clap::Args;

use super::args::OutArgs;
use super::out::Out;
use super::parsers::{column, encoder};
use crate::kernels::count::Encoder;
use crate::measurement::Measurement;
use crate::report::columns::Column;
use crate::report::{Format, Report, columns};
use crate::{Error, Result};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Counts that `measure -o FILE.dwm` wrote
    #[arg(value_name = "FILE.dwm")]
    pub file: PathBuf,
    /// table, json, csv or md
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Columns of table and md, as of measure
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = column)]
    pub columns: Vec<Column>,
    /// Terms that the potentials count [default: those that were counted]
    #[arg(long, value_parser = encoder())]
    pub encoder: Option<Encoder>,
    /// Charge at least 1 for each MAC that is not skipped (true), or not (false) [default: as it was measured]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub min_one: Option<bool>,
    /// Where to.
    #[command(flatten)]
    pub out: OutArgs,
}

/// Prints what the file's counts say.
pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let mut out = Out::open(args.out.output.as_deref())?;
    let mut measurement = Measurement::load(&args.file)?;
    let format = &mut measurement.provenance.format;
    if let Some(encoder) = args.encoder.filter(|encoder| *encoder != format.encoder) {
        let (asked, counted) = (encoder.name(), format.encoder.name());
        let detail = format!("cannot be had of counts by {counted}; measure again with --encoder {asked}");
        return Err(Error::invalid(format!("--encoder {asked}"), detail));
    }
    format.min_one = args.min_one.unwrap_or(format.min_one);
    out.write(&text(&measurement, args.format, &args.columns, out.width())?)?;
    out.finish()
}

/// `measurement` in `format`, with `columns` or those that it has by default.
///
/// # Errors
/// [`Error::Invalid`] for columns of a format that has none, or of what was not counted.
pub(super) fn text(
    measurement: &Measurement,
    format: Format,
    columns: &[Column],
    width: Option<u16>,
) -> Result<String> {
    check_columns(format, columns)?;
    let report = Report::new(measurement);
    let counted = report.counted();
    if let Some(column) = columns.iter().find(|column| column.needs() > counted) {
        let detail = format!("needs --statistics {}, and {} was counted", column.needs().name(), counted.name());
        return Err(Error::invalid(format!("--columns {}", column.name), detail));
    }
    let columns = if columns.is_empty() { columns::default(counted) } else { columns.to_vec() };
    Ok(format.render(&report, &columns, width))
}

/// Columns are of formats that have some.
///
/// # Errors
/// [`Error::Invalid`] for columns of another.
pub(super) fn check_columns(format: Format, columns: &[Column]) -> Result<()> {
    match format {
        Format::Json | Format::Csv if !columns.is_empty() => {
            Err(Error::invalid("--columns", "is of table and md; json and csv hold everything"))
        }
        _ => Ok(()),
    }
}
