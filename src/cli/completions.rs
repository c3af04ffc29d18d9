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
    match shell {
        Shell::Zsh => or_files(&String::from_utf8_lossy(&bytes)).into_bytes(),
        _ => bytes,
    }
}

/// The script of zsh, in which a model is a card or a file: a list of values alone leaves no file to choose.
fn or_files(script: &str) -> String {
    let list = |names: &[&str]| format!("({})", names.join(" "));
    let (cards, models) = (list(&card_names()), list(&with_families()));
    let function = |name: &str, list: &str| {
        format!("_deadweight_{name}() {{\n    _alternative 'cards:card:{list}' 'files:file:_files'\n}}\n\n")
    };
    let script = script.replace(&models, "_deadweight_archs").replace(&cards, "_deadweight_models");
    let functions = function("archs", &models) + &function("models", &cards);
    script.replacen("_deadweight() {", &format!("{functions}_deadweight() {{"), 1)
}

fn card_names() -> Vec<&'static str> {
    cards().iter().map(|card| card.name.as_str()).collect()
}

/// What `--arch` takes beside files.
fn with_families() -> Vec<&'static str> {
    card_names().into_iter().chain(family_names()).collect()
}

/// `command`, in which models are named by cards. Other names are right too, so that it parses nothing.
fn with_cards(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "model" => arg.value_parser(PossibleValuesParser::new(card_names())),
        "arch" => arg.value_parser(PossibleValuesParser::new(with_families())),
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
        let zsh = String::from_utf8(script(Shell::Zsh)).unwrap();
        assert!(zsh.contains(":_deadweight_models'") && zsh.contains(":_deadweight_archs'"), "{zsh}");
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
