//! `deadweight report`: everything that `measure` prints, from the counts in a file.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::OutArgs;
use super::examples;
use super::figures::Figures;
use super::gates::{GateArgs, Gates};
use super::out::Out;
use super::page::{self, OpenArgs};
use super::parsers::{column, encoder};
use crate::kernels::count::Encoder;
use crate::measurement::Measurement;
use crate::metrics::Needs;
use crate::report::columns::Column;
use crate::report::{self, Format, Report, columns, html};
use crate::{Error, Result};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Counts that `measure -o FILE.dwm` wrote; several for a page or figures
    #[arg(value_name = "FILE.dwm", required = true)]
    pub files: Vec<PathBuf>,
    /// How it is printed [default: table; html for `-o FILE.html`]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
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
    /// Put what `run --examples DIR` saved on the page: inputs with the answers to them
    #[arg(long, value_name = "DIR")]
    pub examples: Vec<PathBuf>,
    /// Write the figures to DIR as SVG files: MACs, zeros and widths of each run, potentials of all
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// The browser.
    #[command(flatten)]
    pub browser: OpenArgs,
    /// Where to.
    #[command(flatten)]
    pub out: OutArgs,
}

/// Prints what the files' counts say.
pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let format = page::format(args.format, args.out.output.as_deref());
    let is_page = format == Format::Html;
    // Figures and the page in the browser stand for what is printed, unless that is asked for as well.
    let is_asked = args.format.is_some() || args.out.output.is_some() || !args.columns.is_empty();
    let is_printed = is_asked || !(args.browser.open || args.svg.is_some());
    if is_printed && !is_page && args.files.len() > 1 {
        let detail =
            "several runs stand side by side on a page (-o FILE.html) or in figures (--svg DIR); others are of one run";
        return Err(Error::invalid(format!("--format {}", format.name()), detail));
    }
    if !args.examples.is_empty() && !is_page && !args.browser.open {
        return Err(Error::invalid("--examples", "is for a page: give -o FILE.html or --open"));
    }
    let mut out = if is_printed { Some(Out::open(args.out.output.as_deref())?) } else { None };
    if let Some(out) = &out {
        check_format(format, if args.gates.baseline.is_some() { &[] } else { &args.columns }, out)?;
    }
    let gates = Gates::open(&args.gates, &args.columns)?;
    if args.files.len() > 1 && args.gates.baseline.is_some() {
        return Err(Error::invalid("--baseline", "is for one run; compare several with `deadweight compare`"));
    }
    let figures = args.svg.as_deref().map(Figures::open).transpose()?;
    let examples = args.examples.iter().map(|folder| examples::load(folder)).collect::<Result<Vec<_>>>()?.concat();
    let measurements = args.files.iter().map(|file| load(file, args)).collect::<Result<Vec<_>>>()?;
    measurements.iter().try_for_each(|measurement| gates.check_measured(measurement))?;
    let (reports, page) = (OnceCell::new(), OnceCell::new());
    let reports = || reports.get_or_init(|| measurements.iter().map(Report::new).collect::<Vec<_>>());
    let page = || page.get_or_init(|| html::page(reports(), &examples).into_bytes());
    match (&mut out, &measurements[..]) {
        (Some(out), _) if is_page => out.write_bytes(page())?,
        (Some(out), [one, ..]) => write(one, format, &args.columns, out)?,
        _ => {}
    }
    if let Some(figures) = &figures {
        figures.write(reports())?;
    }
    out.map_or(Ok(()), Out::finish)?;
    // Figures of all files, each with its file where there are several.
    let mut failed = Vec::new();
    for (file, measurement) in args.files.iter().zip(&measurements) {
        let file = file.display().to_string();
        match gates.judge(measurement, &file) {
            Err(Error::Gate { failed: figures }) => {
                failed.extend(figures.into_iter().map(|figure| match args.files.len() {
                    1 => figure,
                    _ => format!("{file}: {figure}"),
                }))
            }
            other => other?,
        }
    }
    let judged = if failed.is_empty() { Ok(()) } else { Err(Error::Gate { failed }) };
    match args.browser.open {
        true => judged.and(page::show(args.out.output.as_deref().filter(|_| is_page), || Ok(page().clone()))),
        false => judged,
    }
}

/// The counts in `file`, as the flags want them reported.
fn load(file: &Path, args: &ReportArgs) -> Result<Measurement> {
    let mut measurement = Measurement::load(file)?;
    let format = &mut measurement.provenance.format;
    if let Some(encoder) = args.encoder.filter(|encoder| *encoder != format.encoder) {
        let (asked, counted) = (encoder.name(), format.encoder.name());
        let detail = format!("cannot be had of counts by {counted}; measure again with --encoder {asked}");
        return Err(Error::invalid(format!("--encoder {asked}"), detail));
    }
    format.min_one = args.min_one.unwrap_or(format.min_one);
    Ok(measurement)
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
        let flag = format!("--format {}", format.name());
        return Err(Error::invalid(flag, "is no text for a terminal: give -o FILE or a pipe"));
    }
    Ok(())
}
