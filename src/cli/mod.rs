//! The command line: one file per verb. The only room that prints.

mod answers;
pub mod args;
pub mod bench;
pub mod explain;
mod generate;
mod generate_args;
pub mod input_args;
pub mod measure;
pub mod merge;
mod models;
mod onnx_args;
pub mod out;
mod overview;
mod parsers;
pub mod parts;
pub mod per_input;
mod pictures;
mod progress;
pub mod report;
mod run;
mod save_outputs;
mod setup;
mod text_args;
mod threshold;
mod truth;
mod until;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

use crate::error::{exit, near_files};
use crate::report::{input_schema, schema as report_schema, to_json};
use crate::{Error, Result};
use args::{Cli, Described, Verb};

/// Parses the command line; help, version and usage errors are printed here.
///
/// # Errors
/// The exit code, once everything is printed.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Cli, u8> {
    Cli::try_parse_from(line).map_err(|answer| match answer.print() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => exit::FAILED,
        _ if answer.use_stderr() => exit::USAGE,
        _ => exit::DONE,
    })
}

/// Runs the verb.
///
/// # Errors
/// What stopped it; [`explain()`] prints it.
pub fn run(cli: Cli) -> Result<()> {
    progress::start_log(cli.common);
    progress::watch_for_interrupts();
    match cli.verb {
        None => overview::run(cli.common),
        Some(Verb::Models(args)) => models::run(&args, cli.common),
        Some(Verb::Run(args)) => run::run(&args, cli.common),
        Some(Verb::Measure(args)) => measure::run(&args, cli.common),
        Some(Verb::Bench(args)) => bench::run(&args, cli.common),
        Some(Verb::Threshold(args)) => threshold::run(&args, cli.common),
        Some(Verb::Report(args)) => report::run(&args),
        Some(Verb::Merge(args)) => merge::run(&args),
        Some(Verb::Explain(args)) => explain::run(&args),
        Some(Verb::Schema(args)) => schema(args.of),
    }
}

/// Prints a JSON Schema.
fn schema(of: Described) -> Result<()> {
    let mut out = out::Out::open(None)?;
    let metrics: Vec<_> = crate::metrics::all().collect();
    let schema = match of {
        Described::Measure => report_schema(&metrics),
        Described::PerInput => input_schema(&metrics),
    };
    out.write(&to_json(&schema))?;
    out.finish()
}

/// Prints on stderr what went wrong and how to fix it; returns the exit code.
pub fn explain(error: &Error) -> u8 {
    if out::is_reader_gone(error) {
        return exit::DONE;
    }
    let mut text = format!("error: {error}\n");
    let hint = match error {
        Error::Io { path, source } if source.kind() == io::ErrorKind::NotFound => Some(near_files(path, "")),
        other => other.hint().map(str::to_owned),
    };
    if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
        text += &format!("hint: {hint}\n");
    }
    // If stderr is gone too, the exit code remains.
    let _ = io::stderr().write_all(out::printable(&text).as_bytes());
    error.exit_code()
}
