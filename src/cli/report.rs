//! `deadweight report`: everything that `measure` prints, from the counts in a file.

use std::path::PathBuf;

use clap::Args;

use super::args::OutArgs;
use super::out::Out;
use super::parsers::{column, encoder};
use crate::kernels::count::Encoder;
use crate::measurement::Measurement;
use crate::metrics::Needs;
use crate::report::columns::Column;
use crate::report::{self, Format, Report, columns};
use crate::{Error, Result};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Counts that `measure -o FILE.dwm` wrote
    #[arg(value_name = "FILE.dwm")]
    pub file: PathBuf,
    /// How it is printed
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
    check_format(args.format, &args.columns, &out)?;
    let mut measurement = Measurement::load(&args.file)?;
    let format = &mut measurement.provenance.format;
    if let Some(encoder) = args.encoder.filter(|encoder| *encoder != format.encoder) {
        let (asked, counted) = (encoder.name(), format.encoder.name());
        let detail = format!("cannot be had of counts by {counted}; measure again with --encoder {asked}");
        return Err(Error::invalid(format!("--encoder {asked}"), detail));
    }
    format.min_one = args.min_one.unwrap_or(format.min_one);
    write(&measurement, args.format, &args.columns, &mut out)?;
    out.finish()
}

/// Writes `measurement` in `format`, with `columns` or those that it has by default.
///
/// # Errors
/// [`Error::Invalid`] for columns of what was not counted; those of writing.
pub(super) fn write(measurement: &Measurement, format: Format, columns: &[Column], out: &mut Out) -> Result<()> {
    let provenance = &measurement.provenance;
    let counted = report::counted(provenance);
    let missing = |column: &Column| column.needs().into_iter().find(|needs| !report::has(provenance, *needs));
    if let Some((column, needs)) = columns.iter().find_map(|column| missing(column).map(|needs| (column, needs))) {
        let detail = match needs {
            Needs::Extra(_) => format!("was not counted; measure again with --metrics {}", column.address()),
            level => format!("needs --statistics {}, and {} was counted", level.name(), counted.name()),
        };
        return Err(Error::invalid(format!("--columns {}", column.name), detail));
    }
    let columns = if columns.is_empty() { columns::default(counted) } else { columns.to_vec() };
    let report =
        if format.has_columns() { Report::of_columns(measurement, &columns) } else { Report::new(measurement) };
    out.write_bytes(&format.render(&report, &columns, out.width())?)
}

/// Columns are of formats that have some, and what is no text is for no terminal.
///
/// # Errors
/// [`Error::Invalid`] for columns of another, and for a terminal.
pub(super) fn check_format(format: Format, columns: &[Column], out: &Out) -> Result<()> {
    if !format.has_columns() && !columns.is_empty() {
        return Err(Error::invalid("--columns", "is of table and md; other formats hold everything"));
    }
    if !format.is_text() && out.is_terminal() {
        return Err(Error::invalid("--format parquet", "is no text for a terminal: give -o FILE or a pipe"));
    }
    Ok(())
}
