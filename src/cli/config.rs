//! `deadweight.toml`: options that hold unless the command line says otherwise, as defaults of clap's arguments.

mod file;
mod print;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use self::file::{Entry, read};
use super::args::Cli;
use crate::error::{exit, near_files};
use crate::{Error, Result};

/// The file's name where none is given.
const NAME: &str = "deadweight.toml";
/// Names the file, as `--config` does.
const VARIABLE: &str = "DEADWEIGHT_CONFIG";

/// Flags of the file.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Take options that the command line does not give from FILE [default: deadweight.toml here or in a directory above, up to
    /// one with .git; DEADWEIGHT_CONFIG names another]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Read no deadweight.toml
    #[arg(long, global = true)]
    pub no_config: bool,
    /// Print the options as TOML, each with where it comes from, and do nothing else
    #[arg(long, global = true)]
    pub print_config: bool,
    /// The file that was read.
    #[arg(skip)]
    pub file: Option<PathBuf>,
    /// What the line gives to the verb: flags, and the names of values.
    #[arg(skip)]
    pub given: Vec<String>,
}

/// Why [`parse`] gives no command line.
pub(super) enum Ended {
    /// Help, version, or an error of usage, which clap prints.
    Clap(clap::Error),
    /// An error of the file.
    Error(Error),
    /// The options, which were asked for.
    Printed(String),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Parses `line` with the file's options as defaults.
///
/// # Errors
/// What to print in place of running.
pub(super) fn parse(line: &[OsString]) -> Result<Cli, Ended> {
    // Which verb it is and what was given; mistakes are found below.
    let Ok(given) = Cli::command().ignore_errors(true).try_get_matches_from(line) else {
        return Cli::command()
            .try_get_matches_from(line)
            .map_err(Ended::Clap)
            .map(|_| unreachable!("it has a mistake"));
    };
    let prints = given.get_flag("print_config");
    let file = place(&given)?;
    let defaults = match &file {
        None => Defaults { command: Cli::command(), entries: Vec::new() },
        Some(path) => Defaults::of(read(path, &built())?, path, &given)?,
    };
    let command = if prints { all_optional(defaults.command) } else { defaults.command };
    let matches = command.try_get_matches_from(line).map_err(Ended::Clap)?;
    if prints {
        return Err(Ended::Printed(print::options(&built(), &matches, &defaults.entries, file.as_deref())));
    }
    let mut cli = Cli::from_arg_matches(&matches).map_err(Ended::Clap)?;
    cli.config.file = file;
    let (verb, of_verb) = verb_of(&matches);
    let built = built();
    let given = below(&built, &verb).get_arguments().filter(|arg| is_given(of_verb, arg));
    cli.config.given = given.filter(|arg| !arg.is_global_set()).map(shown).collect();
    Ok(cli)
}

/// `--flag`, or the name of a value that has none.
fn shown(arg: &Arg) -> String {
    let name = || arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    arg.get_long().map(|long| format!("--{long}")).or_else(name).unwrap_or_else(|| arg.get_id().to_string())
}

/// Whether the line that `given` is of gives `arg`.
fn is_given(given: &ArgMatches, arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    given.try_contains_id(id).is_ok() && given.value_source(id) == Some(ValueSource::CommandLine)
}

/// The command with what clap adds to it: global arguments below each verb.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// `command` without anything that must be given.
fn all_optional(command: Command) -> Command {
    let command = command.mut_args(|arg| arg.required(false)).subcommand_required(false);
    command.mut_subcommands(all_optional)
}

/// The file that is to be read, if any.
fn place(given: &ArgMatches) -> Result<Option<PathBuf>> {
    if given.get_flag("no_config") {
        return Ok(None);
    }
    let variable = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = given.get_one::<PathBuf>("config").cloned().map(|path| ("--config", path));
    if let Some((flag, path)) = named.or(variable.map(|path| (VARIABLE, path))) {
        if path.is_dir() {
            return Err(Error::invalid(format!("{flag} {}", path.display()), "is a directory, must be a file"));
        }
        if !path.exists() {
            let hint = near_files(&path, "give a file of options (docs/configuration.md)");
            return Err(Error::NotFound { what: format!("{flag} {}", path.display()), hint });
        }
        return Ok(Some(path));
    }
    let Ok(here) = std::env::current_dir() else { return Ok(None) };
    for folder in here.ancestors() {
        let path = folder.join(NAME);
        if path.is_file() {
            return Ok(Some(path));
        }
        if folder.join(".git").exists() {
            break;
        }
    }
    Ok(None)
}

/// The command with the file's options as its defaults.
struct Defaults {
    command: Command,
    /// Those of the verb that hold.
    entries: Vec<Entry>,
}

impl Defaults {
    /// Of `entries` those that are of the verb in `given` and are neither given there nor excluded by what is given.
    fn of(entries: Vec<Entry>, path: &Path, given: &ArgMatches) -> Result<Self> {
        let (verb, given) = verb_of(given);
        let built = built();
        let command = below(&built, &verb);
        let find = |entry: &Entry| command.get_arguments().find(|arg| arg.get_long() == Some(&entry.key));
        // What is said of the verb wins over what is said of all, as the later one.
        let mut held: Vec<Entry> = Vec::new();
        for entry in entries.into_iter().filter(|entry| verb.starts_with(&entry.verb)) {
            held.retain(|earlier| earlier.key != entry.key);
            held.push(entry);
        }
        let typed: Vec<&Arg> = command.get_arguments().filter(|arg| is_given(given, arg)).collect();
        held.retain(|entry| {
            find(entry)
                .is_some_and(|arg| !is_given(given, arg) && !typed.iter().any(|typed| exclude(command, arg, typed)))
        });
        for (i, entry) in held.iter().enumerate() {
            let arg = find(entry).expect("only arguments of the verb are held");
            let excludes = |other: &&Entry| {
                find(other).is_some_and(|of| !is_off(entry, arg) && !is_off(other, of) && exclude(command, arg, of))
            };
            let clash = held[..i].iter().find(excludes);
            if let Some(other) = clash {
                let detail = format!("excludes {} of line {}; leave one out", other.key, other.line);
                return Err(entry.error(path, &detail));
            }
        }
        let mut with_defaults = Cli::command();
        for entry in &held {
            let arg = find(entry).expect("only arguments of the verb are held");
            let of = if arg.is_global_set() { &[] } else { &verb[..] };
            with_defaults = with_default(with_defaults, of, arg.get_id().as_str(), &entry.values);
        }
        Ok(Self { command: with_defaults, entries: held })
    }
}

/// Whether `entry` is a switch that is off, which excludes nothing.
fn is_off(entry: &Entry, arg: &Arg) -> bool {
    !arg.get_action().takes_values() && entry.values.iter().all(|value| ["false", "0"].contains(&value.as_str()))
}

/// Whether one of two arguments may not be given with the other.
fn exclude(command: &Command, a: &Arg, b: &Arg) -> bool {
    let says = |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|arg| arg.get_id() == b.get_id());
    says(a, b) || says(b, a)
}

/// The verbs that were given, one below the other, and what was given to the last.
fn verb_of(mut given: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let mut verb = Vec::new();
    while let Some((name, below)) = given.subcommand() {
        verb.push(name.to_owned());
        given = below;
    }
    (verb, given)
}

/// The command of `verb`.
fn below<'a>(command: &'a Command, verb: &[String]) -> &'a Command {
    verb.iter().fold(command, |command, name| command.find_subcommand(name).expect("clap has found it"))
}

/// `command`, in which argument `id` of `verb` is `values` by default.
fn with_default(command: Command, verb: &[String], id: &str, values: &[String]) -> Command {
    match verb.split_first() {
        Some((first, rest)) => command.mut_subcommand(first, |below| with_default(below, rest, id, values)),
        None => command.mut_arg(id, |arg| {
            // The help of a switch has no default to hide.
            let hides = arg.get_action().takes_values();
            arg.required(false).hide_default_value(hides).default_values(values.to_vec())
        }),
    }
}

/// Prints what ended the parsing; the exit code.
pub(super) fn say(ended: &Ended) -> u8 {
    let written = match ended {
        Ended::Error(error) => return super::explain(error, None),
        Ended::Clap(answer) => answer.print().map(|()| if answer.use_stderr() { exit::USAGE } else { exit::DONE }),
        Ended::Printed(text) => {
            let mut out = super::out::Out::open(None);
            let written = out.as_mut().map_or(Ok(()), |out| out.write(text));
            return written.map_or_else(|error| super::explain(&error, None), |()| exit::DONE);
        }
    };
    match written {
        Ok(code) => code,
        Err(error)
            if error.kind() == std::io::ErrorKind::BrokenPipe
                && !matches!(ended, Ended::Clap(answer) if answer.use_stderr()) =>
        {
            exit::DONE
        }
        Err(_) => exit::FAILED,
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
