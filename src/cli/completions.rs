//! `deadweight completions`: scripts with which shells complete commands, flags, their values, and names of cards.

use clap::builder::PossibleValuesParser;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::args::Cli;
use super::out::Out;
use crate::Result;
use crate::models::{cards, family_names};

/// Arguments of `completions`.
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  deadweight completions bash > ~/.local/share/bash-completion/completions/deadweight
  deadweight completions zsh > ~/.zfunc/_deadweight
  deadweight completions fish > ~/.config/fish/completions/deadweight.fish")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: CompletionsArgs) -> Result<()> {
    let mut out = Out::open(None)?;
    out.write_bytes(&script(args.shell))?;
    out.finish()
}

fn script(shell: Shell) -> Vec<u8> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut with_cards(Cli::command()), "deadweight", &mut bytes);
    bytes
}

/// `command`, in which models are named by cards. Other names are right too, so that it parses nothing.
fn with_cards(command: Command) -> Command {
    let names: Vec<&str> = cards().iter().map(|card| card.name.as_str()).collect();
    let with_families: Vec<&str> = names.iter().copied().chain(family_names()).collect();
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "model" => arg.value_parser(PossibleValuesParser::new(&names)),
        "arch" => arg.value_parser(PossibleValuesParser::new(&with_families)),
        _ => arg,
    });
    command.mut_subcommands(with_cards)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_flags_and_cards() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(script.contains("number-format") && script.contains("checkpoint-every"), "{shell}");
            // The generators of elvish and PowerShell know no values.
            if matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish) {
                assert!(script.contains("mobilenet_v2") && script.contains("rnn_tanh"), "{shell}");
            }
        }
    }
}
