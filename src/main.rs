//! The binary: the command line, and the exit code.

use std::process::ExitCode;

use deadweight::cli;

fn main() -> ExitCode {
    ExitCode::from(cli::main(std::env::args_os()))
}
