//! The command line: one file per verb. The only room that prints.

mod answers;
pub mod args;
pub mod bench;
pub mod compare;
pub mod completions;
pub mod config;
pub mod designs;
pub mod doctor;
mod engine_args;
mod examples;
pub mod explain;
pub mod export;
mod figures;
mod folder;
pub mod gates;
mod generate;
mod generate_args;
mod hub_inputs;
pub mod input_args;
mod interrupted;
mod levels;
pub mod man;
pub mod measure;
pub mod merge;
mod models;
mod onnx_args;
pub mod out;
mod overview;
mod page;
mod parsers;
pub mod parts;
pub mod per_input;
mod pictures;
pub mod precision;
mod progress;
pub mod pull;
pub mod report;
mod run;
mod save_outputs;
pub mod schema;
mod setup;
pub mod study;
mod study_table;
mod text_args;
mod threshold;
pub mod trace;
mod truth;
mod until;

use std::ffi::OsString;
use std::io::{self, Write};

use crate::error::{exit, near_files};
use crate::{Error, Result};
use args::{Cli, Verb};

/// Does what `line` says; the exit code, once everything is printed.
pub fn main(line: impl IntoIterator<Item = OsString>) -> u8 {
    let line: Vec<OsString> = line.into_iter().collect();
    let cli = match config::parse(&line) {
        Ok(cli) => cli,
        Err(ended) => return config::say(&ended),
    };
    let advice = interrupted::advice(&cli, &line);
    match run(cli) {
        Ok(()) => exit::DONE,
        Err(error @ Error::Interrupted) => explain(&error, Some(&advice())),
        Err(error) => explain(&error, None),
    }
}

/// Runs the verb.
fn run(cli: Cli) -> Result<()> {
    progress::start_log(cli.common);
    progress::watch_for_interrupts();
    if let Some(file) = &cli.config.file {
        tracing::info!("options from {}", file.display());
    }
    match cli.verb {
        None => overview::run(cli.common),
        Some(Verb::Models(args)) => models::run(&args, cli.common),
        Some(Verb::Run(args)) => run::run(&args, cli.common),
        Some(Verb::Measure(args)) => measure::run(&args, cli.common, &cli.config.given),
        Some(Verb::Bench(args)) => bench::run(&args, cli.common),
        Some(Verb::Designs(args)) => designs::run(&args, cli.common, &cli.config.given),
        Some(Verb::Threshold(args)) => threshold::run(&args, cli.common),
        Some(Verb::Precision(args)) => precision::run(&args, cli.common),
        Some(Verb::Study(args)) => study::run(&args, cli.common, &cli.config.given),
        Some(Verb::Report(args)) => report::run(&args),
        Some(Verb::Compare(args)) => compare::run(&args),
        Some(Verb::Merge(args)) => merge::run(&args),
        Some(Verb::Export(args)) => export::run(&args, cli.common),
        Some(Verb::Pull(args)) => pull::run(&args, cli.common),
        Some(Verb::Explain(args)) => explain::run(&args),
        Some(Verb::Schema(args)) => schema::run(args),
        Some(Verb::Doctor(args)) => doctor::run(&args, cli.common, cli.config.file.as_deref()),
        Some(Verb::Completions(args)) => completions::run(args),
        Some(Verb::Man(args)) => man::run(&args),
    }
}

/// Prints on stderr what went wrong and how to fix it, by `advice` or what the error says; returns the exit code.
fn explain(error: &Error, advice: Option<&str>) -> u8 {
    if out::is_reader_gone(error) {
        return exit::DONE;
    }
    let mut text = format!("error: {error}\n");
    let hint = match error {
        _ if advice.is_some() => advice.map(str::to_owned),
        Error::Io { path, source } if source.kind() == io::ErrorKind::NotFound => Some(near_files(path, "")),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory => Some("give a file in it".into()),
        other => other.hint().map(str::to_owned),
    };
    if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
        text += &format!("hint: {hint}\n");
    }
    // If stderr is gone too, the exit code remains.
    let _ = io::stderr().write_all(out::printable(&text).as_bytes());
    error.exit_code()
}
