//! `compare` from the outside, and its page.

use std::path::Path;

use clap::Parser;
use deadweight::cli::args::Cli;
use serde_json::Value;

use crate::binary::{deadweight, fail, succeed, text};
use crate::docs::{assert_current, blocks};

const COMPARE: &str = include_str!("../docs/compare.md");
const CI: &str = include_str!("../docs/ci.md");

/// The words of a line of a shell: quotes hold words together, what is redirected is no word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.split(" >> ").next().unwrap().chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' => quote = Some(c),
            None if c == ' ' => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words
}

#[test]
fn every_command_of_both_pages_is_understood() {
    let shell = [blocks(COMPARE, "sh"), blocks(CI, "sh")].concat();
    let shell = shell.into_iter().flat_map(str::lines);
    let steps =
        blocks(CI, "yaml").into_iter().flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("run: "));
    let lines: Vec<&str> = shell.chain(steps).filter(|line| line.starts_with("deadweight ")).collect();
    assert_eq!(lines.len(), 11, "{lines:#?}");
    for line in lines {
        if let Err(error) = Cli::try_parse_from(words(line)) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn comparison_docs_are_current() {
    let folder = tempfile::tempdir().unwrap();
    let [example] = blocks(COMPARE, "text")[..] else { panic!("one example") };
    let mut made = String::new();
    for command in example.lines().filter_map(|line| line.strip_prefix("$ deadweight ")) {
        let output = deadweight().args(words(command)).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        made += &format!("$ deadweight {command}\n{}", String::from_utf8(output.stdout).unwrap());
    }
    assert_current("compare.md", &COMPARE.replace(example, &made));
}

/// Measures some inputs of `digits` into `name`.
fn measured(folder: &Path, name: &str, flags: &[&str]) -> String {
    let path = text(&folder.join(name)).to_owned();
    let limit = if flags.contains(&"--limit") { &[][..] } else { &["--limit", "4"] };
    succeed(&[&["measure", "digits", "-q", "-o", &path], limit, flags].concat());
    path
}

fn json(args: &[&str]) -> Value {
    serde_json::from_slice(&succeed(&[&["compare", "--format", "json"], args].concat())).unwrap()
}

#[test]
fn counts_and_json_of_one_run_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let counts = measured(folder.path(), "run.dwm", &[]);
    let document = measured(folder.path(), "run.json", &["--format", "json"]);
    let comparison = json(&[&counts, &document]);
    assert_eq!((&comparison["schema"], &comparison["same_inputs"]), (&"deadweight/compare/1".into(), &true.into()));
    let rows = comparison["rows"].as_array().unwrap();
    // The network and 10 layers, 9 metrics each.
    assert_eq!(rows.len(), 99);
    assert!(rows.iter().all(|row| row["others"][0]["verdict"] == "same" && row["base"]["value"].is_number()));
    assert_eq!(rows[0]["scope"], "network");
    let table = String::from_utf8(succeed(&["compare", &counts, &document, "--only-changed"])).unwrap();
    assert!(table.ends_with("changes  none\n"), "{table}");
}

#[test]
fn three_files_are_compared_and_what_differs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let base = measured(folder.path(), "base.dwm", &[]);
    let eight = measured(folder.path(), "eight.dwm", &["--bits", "8", "--encoder", "booth4"]);
    let few = measured(folder.path(), "few.json", &["--format", "json", "--limit", "3", "--layers", "^(conv1|layer1)"]);
    let files = [&base[..], &eight, &few];
    let output = deadweight().arg("compare").args(files).args(["--columns", "W+A,a.zeros"]).output().unwrap();
    let (table, warned) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for what in ["number format: fixed16", "encoder: naf", "inputs: 4 (", "calibration: of 4 inputs"] {
        assert!(table.contains(what) && warned.contains(what), "{what}: {table}{warned}");
    }
    assert!(!table.contains("for these every difference is exact"), "{table}");
    let headings = table.lines().find(|line| line.starts_with("layer ")).unwrap();
    let headings: Vec<&str> = headings.split_whitespace().collect();
    assert_eq!(headings, ["layer", "metric", "base", "eight", "change", "ratio", "few", "change", "ratio"]);
    let comparison = json(&[files[0], files[1], files[2], "-q", "--columns", "W+A,a.zeros", "--sort", "order"]);
    assert_eq!(comparison["differences"].as_array().unwrap().len(), 4, "{}", comparison["differences"]);
    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 22);
    let last = &rows[21];
    assert_eq!((&last["layer"], &last["others"][0]["name"]), (&"fc".into(), &"fc".into()));
    assert_eq!((&last["others"][1]["name"], &last["others"][1]["verdict"]), (&Value::Null, &"missing".into()));

    let lines = String::from_utf8(succeed(&[&["compare", "--format", "csv", "-q"], &files[..]].concat())).unwrap();
    let mut reader = csv::Reader::from_reader(lines.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 2 * 99);
    assert!(records.iter().all(|record| record.len() == 18 && record[5] == base[..]));
    let markdown = String::from_utf8(succeed(&[&["compare", "--format", "md", "-q"], &files[..]].concat())).unwrap();
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| ")).count(), 2 + 99);
    // Only in one of two.
    let only = json(&[&few, &base, "-q", "--columns", "macs"]);
    assert_eq!(only["files"][0]["only"].as_array().unwrap().len(), 0);
    assert_eq!(only["files"][1]["only"].as_array().unwrap().len(), 7);
}

#[test]
fn wrong_files_and_columns_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = measured(folder.path(), "run.dwm", &["--statistics", "values"]);
    let other = text(&folder.path().join("other.csv")).to_owned();
    std::fs::write(&other, "layer,macs\n").unwrap();
    let cut = text(&folder.path().join("cut.dwm")).to_owned();
    let bytes = std::fs::read(&run).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 9]).unwrap();
    let missing = text(&folder.path().join("none.dwm")).to_owned();
    let cases: [(&[&str], i32, &str); 11] = [
        (&[&run], 2, "2 values required"),
        (&[&run, &missing], 3, "hint: give a file that"),
        (&[&run, &other], 1, "is no measurement in JSON"),
        (&[&run, &cut], 1, "cut.dwm"),
        (&[&run, &run, "--columns", "kind"], 2, "is no number"),
        (&[&run, &run, "--columns", "a.terms"], 2, "a.terms: was not counted for"),
        (&[&run, &run, "--columns", "a.delta.terms"], 2, "is no column"),
        (&[&run, &run, "--threshold", "1"], 2, "give a percentage"),
        (&[&run, &run, "--sort", "size"], 2, "change, order, metric"),
        (&[&run, &run, "--format", "parquet"], 2, "csv"),
        (&[&run, &run, "--assert", "network.a.terms > 1"], 2, "--assert a.terms: was not counted for"),
    ];
    for (args, code, want) in cases {
        let (got, said) = fail(&[&["compare"], args].concat());
        assert!(got == code && said.contains(want), "{args:?}: {got}, {said}");
    }
    // What all have is compared without being asked for.
    assert!(succeed(&["compare", &run, &run]).len() > 100);
}
