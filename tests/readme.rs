//! The README's commands are valid, and its tables are what the program prints.

use clap::Parser;
use deadweight::cli::args::Cli;

use crate::binary;

const README: &str = include_str!("../README.md");

/// The README's code blocks of kind `kind`.
fn blocks(kind: &str) -> Vec<&'static str> {
    let open = format!("```{kind}\n");
    README.split(open.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_command_of_the_readme_is_understood() {
    let lines: Vec<&str> =
        blocks("sh").into_iter().flat_map(str::lines).filter(|line| line.starts_with("deadweight ")).collect();
    assert!(lines.len() >= 9, "the README shows few commands: {lines:?}");
    let wrong: Vec<String> = lines
        .into_iter()
        .filter_map(|line| {
            let command = line.split(" #").next().unwrap();
            let words = command.split_whitespace().map(|word| word.trim_matches('\''));
            Cli::try_parse_from(words).err().map(|error| format!("{line}: {error}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_of_the_readme_are_what_the_program_prints() {
    let tables = blocks("text");
    assert_eq!(tables.len(), 5, "all built-in models, then one of each class");
    for table in tables {
        let (command, shown) = table.split_once('\n').unwrap();
        let args = command.strip_prefix("$ deadweight ").map_or(vec![], |args| args.split(' ').collect());
        assert!(!args.is_empty() || command == "$ cargo run --release", "{command}");
        let output = binary::deadweight().args(args).output().unwrap();
        assert_eq!(shown, String::from_utf8(output.stdout).unwrap(), "{command}");
    }
}
