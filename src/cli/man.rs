//! `deadweight man`: manual pages.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::args::Cli;
use super::out::Out;
use crate::{Error, Result};

/// Arguments of `man`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  deadweight man > deadweight.1
  deadweight man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Directory for the pages of all commands; without it that of the program is printed
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Prints the page of the program, or writes those of all commands.
pub(super) fn run(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.folder else {
        let mut out = Out::open(None)?;
        out.write_bytes(&page(command))?;
        return out.finish();
    };
    if !folder.is_dir() {
        return Err(Error::invalid(format!("DIR {}", folder.display()), "is not an existing directory"));
    }
    for command in with_all_below(command) {
        let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
        let mut out = Out::open(Some(&folder.join(name)))?;
        out.write_bytes(&page(command))?;
        out.finish()?;
    }
    Ok(())
}

/// `command` and all commands below it.
fn with_all_below(command: Command) -> Vec<Command> {
    let below: Vec<Command> = command.get_subcommands().cloned().collect();
    std::iter::once(command).chain(below.into_iter().flat_map(with_all_below)).collect()
}

fn page(command: Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    Man::new(command).render(&mut bytes).expect("memory can be written");
    bytes
}
