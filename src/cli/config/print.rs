//! `--print-config`: the options of a command as a file of them, each with where it comes from.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{Entry, NO_OPTIONS};

/// The options that `matches` have, of which `entries` come from `file`.
pub(super) fn options(command: &Command, matches: &ArgMatches, entries: &[Entry], file: Option<&Path>) -> String {
    let (verb, matches) = super::verb_of(matches);
    let command = super::below(command, &verb);
    let program: Vec<&str> = std::iter::once("deadweight").chain(verb.iter().map(String::as_str)).collect();
    let of = file.map_or("without a file of them".to_owned(), |file| format!("with those of {}", file.display()));
    let mut text = format!("# Options of {}, {of}\n", program.join(" "));
    if !verb.is_empty() {
        text += &format!("[{}]\n", verb.join("."));
    }
    let mut unset = Vec::new();
    for arg in command.get_arguments() {
        let Some(key) = arg.get_long().filter(|key| !NO_OPTIONS.contains(key)) else { continue };
        let id = arg.get_id().as_str();
        let entry = entries.iter().find(|entry| entry.key == key);
        let source = match (matches.value_source(id), entry) {
            (None, _) => {
                unset.push(key);
                continue;
            }
            (Some(ValueSource::DefaultValue), Some(entry)) => format!("line {}", entry.line),
            (Some(ValueSource::DefaultValue), None) => "default".to_owned(),
            (Some(_), _) => "command line".to_owned(),
        };
        text += &format!("{key} = {}  # {source}\n", value(arg, matches));
    }
    if !unset.is_empty() {
        text += &format!("# not set: {}\n", unset.join(", "));
    }
    text
}

/// The value of `arg` in TOML.
fn value(arg: &Arg, matches: &ArgMatches) -> toml::Value {
    let id = arg.get_id().as_str();
    match arg.get_action() {
        ArgAction::SetTrue => return toml::Value::Boolean(matches.get_flag(id)),
        ArgAction::Count => return toml::Value::Integer(matches.get_count(id).into()),
        _ => {}
    }
    let raw = matches.get_raw(id).into_iter().flatten();
    let mut values: Vec<toml::Value> = raw.map(|value| typed(&value.to_string_lossy())).collect();
    let takes_several = arg.get_value_delimiter().is_some() || matches!(arg.get_action(), ArgAction::Append);
    match takes_several {
        true => toml::Value::Array(values),
        false => values.pop().expect("a value that has a source is there"),
    }
}

/// `text` as a number where it is one, as TOML would write it.
fn typed(text: &str) -> toml::Value {
    let integer = text.parse::<i64>().ok().filter(|number| number.to_string() == text).map(toml::Value::Integer);
    let float = || text.parse::<f64>().ok().filter(|number| number.to_string() == text).map(toml::Value::Float);
    integer.or_else(float).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}
