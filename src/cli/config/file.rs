//! Reading a file of options: keys are the long names of flags, tables the verbs.

use std::any::TypeId;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};

use crate::error::near_or;
use crate::{Error, Result};

/// Flags that are no options of a verb.
pub(super) const NO_OPTIONS: [&str; 5] = ["config", "no-config", "print-config", "help", "version"];

/// An option that a file gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The table it is in: the verb, and the one below it; empty for all verbs.
    pub verb: Vec<String>,
    /// The flag's long name.
    pub key: String,
    /// Its values, as the command line would have them.
    pub values: Vec<String>,
    /// Where it stands.
    pub line: usize,
}

impl Entry {
    /// What is wrong with it.
    pub(super) fn error(&self, path: &Path, detail: &str) -> Error {
        wrong(path, self.line, &self.key, detail)
    }
}

fn wrong(path: &Path, line: usize, key: &str, detail: &str) -> Error {
    Error::invalid(format!("{}:{line}: {key}", path.display()), detail)
}

/// The options in the file `path` of the program `command`, those of all verbs first.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for what is no TOML; [`Error::Invalid`] naming the line of a key that is no option, and of
/// a value that it does not take.
pub(super) fn read(path: &Path, command: &Command) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let line = |start: usize| text.as_bytes()[..start.min(text.len())].split(|&byte| byte == b'\n').count();
    let wrong = |error| Error::toml(path.display().to_string(), "", &text, &error);
    let table = DeTable::parse(&text).map_err(wrong)?;
    let mut entries = Reader { path, line: &line, command }.table(table.get_ref(), command, &[])?;
    entries.sort_by_key(|entry| (entry.verb.len(), entry.line));
    Ok(entries)
}

struct Reader<'a> {
    path: &'a Path,
    /// The line of a place in the text.
    line: &'a dyn Fn(usize) -> usize,
    command: &'a Command,
}

impl Reader<'_> {
    /// The options in `table`, which is of `command`, the one of `verb`.
    fn table(&self, table: &DeTable<'_>, command: &Command, verb: &[String]) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (key, value) in table {
            let (line, key) = ((self.line)(key.span().start), key.get_ref().as_ref());
            let wrong = |detail: &str| wrong(self.path, line, key, detail);
            if let DeValue::Table(inner) = value.get_ref() {
                let names = || command.get_subcommands().map(Command::get_name);
                let Some(below) = command.find_subcommand(key) else {
                    let near = near_or(key, names(), "`deadweight --help` lists them");
                    return Err(wrong(&format!("is no command; {near}")));
                };
                entries.extend(self.table(inner, below, &[verb, &[key.to_owned()]].concat())?);
                continue;
            }
            let Some(arg) = self.find(key, command, verb.is_empty()) else {
                return Err(wrong(&self.unknown(key, command, verb)));
            };
            let values = self.values(&arg, value.get_ref()).map_err(|detail| wrong(&detail))?;
            check(&arg, &values).map_err(|detail| wrong(&detail))?;
            entries.push(Entry { verb: verb.to_vec(), key: key.to_owned(), values, line });
        }
        Ok(entries)
    }

    /// The argument `key` of `command`, or, `of_all`, of any verb.
    fn find(&self, key: &str, command: &Command, of_all: bool) -> Option<Arg> {
        if NO_OPTIONS.contains(&key) {
            return None;
        }
        let here = command.get_arguments().find(|arg| arg.get_long() == Some(key)).cloned();
        let below = || command.get_subcommands().find_map(|below| self.find(key, below, true));
        here.or_else(|| of_all.then(below).flatten())
    }

    fn unknown(&self, key: &str, command: &Command, verb: &[String]) -> String {
        let others: Vec<&str> = self
            .command
            .get_subcommands()
            .filter(|below| self.find(key, below, false).is_some())
            .map(Command::get_name)
            .collect();
        if NO_OPTIONS.contains(&key) {
            return "is of the command line alone".into();
        }
        if !others.is_empty() {
            return format!("is no option of {}, but of {}", verb.join(" "), others.join(", "));
        }
        let commands: Vec<&Command> = match verb.is_empty() {
            true => command.get_subcommands().chain([command]).collect(),
            false => vec![command],
        };
        let known = commands.iter().flat_map(|command| command.get_arguments()).filter_map(Arg::get_long);
        let known: Vec<&str> = known.filter(|known| !NO_OPTIONS.contains(known)).collect();
        format!("is no option; {}", near_or(key, &known, "keys are long flags without the dashes"))
    }

    /// `value` as the command line would have it for `arg`.
    fn values(&self, arg: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
        let takes_several = arg.get_value_delimiter().is_some() || matches!(arg.get_action(), ArgAction::Append);
        match value {
            DeValue::Array(_) if !takes_several => Err("takes one value, not a list".into()),
            DeValue::Array(values) => values.iter().map(|value| self.one(arg, value.get_ref())).collect(),
            value => self.one(arg, value).map(|value| vec![value]),
        }
    }

    fn one(&self, arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        match value {
            DeValue::Boolean(value) => Ok(value.to_string()),
            _ if is_switch => Err("is a switch: give true or false".into()),
            DeValue::Integer(value) => Ok(value.to_string()),
            DeValue::Float(value) => Ok(value.to_string()),
            // Paths are relative to the file, so that they are right in each directory below it.
            DeValue::String(value) if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() && value != "-" => {
                let folder = self.path.parent().unwrap_or(Path::new(""));
                Ok(folder.join(value.as_ref()).display().to_string())
            }
            DeValue::String(value) => Ok(value.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                Err("give a text, a number, true or false, or a list of them".into())
            }
        }
    }
}

/// Whether `arg` takes `values`; else what clap says of it.
fn check(arg: &Arg, values: &[String]) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    if matches!(arg.get_action(), ArgAction::Count) {
        let counts = values.iter().all(|value| value.parse::<u8>().is_ok());
        return if counts { Ok(()) } else { Err("give how often: a number of 0 to 255".into()) };
    }
    let long = arg.get_long().unwrap_or_default().to_owned();
    // The argument by itself: others, which it may exclude or need, do not matter here.
    let alone = Arg::new("value").long(long.clone()).action(ArgAction::Append);
    let alone = alone.value_parser(arg.get_value_parser().clone()).value_delimiter(arg.get_value_delimiter());
    let line = values.iter().map(|value| format!("--{long}={value}"));
    let parsed =
        Command::new("deadweight").arg(alone).try_get_matches_from(std::iter::once("deadweight".into()).chain(line));
    parsed.map(|_| ()).map_err(|error| {
        let text = error.to_string();
        let said = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let said = said.take_while(|line| !line.starts_with("Usage") && !line.starts_with("For more"));
        said.collect::<Vec<_>>().join("; ").replacen("error: ", "", 1)
    })
}
