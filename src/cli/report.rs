//! `deadweight report`: everything that `measure` prints, from the counts in a file.

use std::path::PathBuf;

use clap::Args;

use super::args::OutArgs;
use super::gates::{GateArgs, Gates};
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
    /// What figures must be.
    #[command(flatten)]
    pub gates: GateArgs,
    /// Where to.
    #[command(flatten)]
    pub out: OutArgs,
}

/// Prints what the file's counts say.
pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let mut out = Out::open(args.out.output.as_deref())?;
    let has_other_columns = args.gates.baseline.is_some();
    check_format(args.format, if has_other_columns { &[] } else { &args.columns }, &out)?;
    let gates = Gates::open(&args.gates, &args.columns)?;
    let mut measurement = Measurement::load(&args.file)?;
    let format = &mut measurement.provenance.format;
    if let Some(encoder) = args.encoder.filter(|encoder| *encoder != format.encoder) {
        let (asked, counted) = (encoder.name(), format.encoder.name());
        let detail = format!("cannot be had of counts by {counted}; measure again with --encoder {asked}");
        return Err(Error::invalid(format!("--encoder {asked}"), detail));
    }
    format.min_one = args.min_one.unwrap_or(format.min_one);
    gates.check_measured(&measurement)?;
    write(&measurement, args.format, &args.columns, &mut out)?;
    out.finish()?;
    gates.judge(&measurement, &args.file.display().to_string())
}

/// Writes `measurement` in `format`, with `columns` or those that it has by default.
///
/// # Errors
/// [`Error::Invalid`] for columns of what was not counted; those of writing.
pub(super) fn write(measurement: &Measurement, format: Format, columns: &[Column], out: &mut Out) -> Result<()> {
    check_counted(measurement, columns, |column| format!("--columns {}", column.name))?;
    let counted = report::counted(&measurement.provenance);
    let columns = if columns.is_empty() { columns::default(counted) } else { columns.to_vec() };
    let report =
        if format.has_columns() { Report::of_columns(measurement, &columns) } else { Report::new(measurement) };
    out.write_bytes(&format.render(&report, &columns, out.width())?)
}

/// All of `columns` are of what was counted; messages call one by its `flag`.
///
/// # Errors
/// [`Error::Invalid`] with what would count the first that is not.
pub(super) fn check_counted<'a>(
    measurement: &Measurement,
    columns: impl IntoIterator<Item = &'a Column>,
    flag: impl Fn(&Column) -> String,
) -> Result<()> {
    let provenance = &measurement.provenance;
    let missing = |column: &Column| column.needs().into_iter().find(|needs| !report::has(provenance, *needs));
    let Some((column, needs)) = columns.into_iter().find_map(|column| Some((column, missing(column)?))) else {
        return Ok(());
    };
    let detail = match needs {
        Needs::Extra(_) => format!("was not counted; measure again with --metrics {}", column.address()),
        level => {
            format!("needs --statistics {}, and {} was counted", level.name(), report::counted(provenance).name())
        }
    };
    Err(Error::invalid(flag(column), detail))
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
