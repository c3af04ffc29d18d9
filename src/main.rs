//! The binary: parse, run, error to exit code.

use std::process::ExitCode;

use deadweight::cli;

fn main() -> ExitCode {
    let code = match cli::parse(std::env::args_os()) {
        Ok(line) => cli::run(line).map_or_else(|error| cli::explain(&error), |()| deadweight::error::exit::DONE),
        Err(code) => code,
    };
    ExitCode::from(code)
}
