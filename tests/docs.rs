//! The pages: their commands can be typed, and what is made of lists is current.

use std::fmt::Write as _;
use std::path::Path;

use clap::Parser;
use deadweight::cli::args::Cli;
use deadweight::error::exit;
use serde_json::Value;

use crate::binary;

const COMMANDS: &str = include_str!("../docs/commands.md");

/// The bodies of the blocks of kind `kind` on `page`.
pub fn blocks(page: &'static str, kind: &str) -> Vec<&'static str> {
    let open = format!("```{kind}\n");
    page.split(open.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Asserts that `page` is what is stored under `docs/`; with `UPDATE_DOCS` it is stored first.
pub fn assert_current(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = page.lines().zip(stored.lines()).find(|(now, then)| now != then);
    assert!(
        stored == page,
        "docs/{name} is not current: UPDATE_DOCS=1 cargo test docs_are_current\nfirst: {differ:#?}"
    );
}

/// README and all pages of the book.
fn pages() -> Vec<(String, &'static str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "docs/tutorials"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    let read = |path: std::path::PathBuf| (path.display().to_string(), &*std::fs::read_to_string(path).unwrap().leak());
    pages.into_iter().map(read).collect()
}

#[test]
fn every_command_of_the_pages_is_understood() {
    let (mut wrong, mut commands) = (Vec::new(), 0);
    for (name, page) in pages() {
        let lines = blocks(page, "sh").into_iter().flat_map(str::lines);
        for line in lines.filter(|line| line.starts_with("deadweight ")) {
            let words = shlex::split(line.split(" #").next().unwrap()).unwrap();
            let words = words.into_iter().take_while(|word| word != ">");
            wrong.extend(Cli::try_parse_from(words).err().map(|error| format!("{name}: {line}: {error}")));
            commands += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(commands > 100, "the pages show {commands} commands");
}

#[test]
fn every_exit_code_is_listed() {
    let codes = [
        exit::DONE,
        exit::FAILED,
        exit::USAGE,
        exit::UNAVAILABLE,
        exit::UNSUPPORTED,
        exit::GATE,
        exit::NOT_FINITE,
        exit::INTERRUPTED,
    ];
    let rows = COMMANDS.split("| exit code |").nth(1).unwrap().lines().skip(2).take_while(|line| line.starts_with('|'));
    let listed: Vec<u8> = rows.map(|row| row.split('|').nth(1).unwrap().trim().parse().unwrap()).collect();
    assert_eq!(listed, codes);
}

/// A JSON document that the program prints.
fn document(args: &[&str]) -> Value {
    serde_json::from_slice(&binary::succeed(args)).unwrap()
}

#[test]
fn networks_docs_are_current() {
    let list = document(&["models", "--format", "json"]);
    let mut page = String::from(include_str!("fixtures/networks.md"));
    for card in list["models"].as_array().unwrap() {
        let text = |field: &str| card[field].as_str().unwrap().to_owned();
        let millions = |field: &str| card[field].as_u64().map_or("–".into(), |n| format!("{:.2} M", n as f64 / 1e6));
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
            text("name"),
            text("task"),
            text("description"),
            millions("parameters"),
            millions("macs"),
            text("weights"),
            text("source"),
            text("licence"),
        )
        .unwrap();
    }
    assert_current("networks.md", &page);
}

/// The chart of the README: bars of potentials of the built-in models, on a logarithmic scale.
#[test]
fn chart_docs_are_current() {
    const MODELS: [(&str, &[&str]); 6] = [
        ("digits", &["digits"]),
        ("scenes", &["scenes"]),
        ("photos", &["photos"]),
        ("verses", &["verses"]),
        ("chapters", &["chapters"]),
        ("digits int8", &["digits", "--quantize", "int8"]),
    ];
    const POTENTIALS: [(&str, &str, &str); 5] = [
        ("A", "zero activations", "#7a9cc6"),
        ("W+A", "all zeros", "#3b6ea5"),
        ("Ap.g16", "group widths", "#8fbf8f"),
        ("Ae", "activation terms", "#e0a458"),
        ("We+Ae", "terms of both", "#c8553d"),
    ];
    let (left, width, bar, gap) = (90.0, 560.0, 11.0, 12.0);
    let at = |times: f64| left + width * times.log2() / 6.5;
    let top = 34.0;
    let bottom = top + MODELS.len() as f64 * (POTENTIALS.len() as f64 * bar + gap);
    let mut page = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n<title>Potentials of the built-in models: dense work over the work left</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        left + width + 50.0,
        bottom + 22.0
    );
    for (number, (name, meaning, colour)) in POTENTIALS.iter().enumerate() {
        let x = 12.0 + 134.0 * number as f64;
        writeln!(page, "<rect x=\"{x}\" y=\"8\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"17\">{name}: {meaning}</text>", x + 14.0).unwrap();
    }
    for times in [1, 2, 4, 8, 16, 32, 64] {
        let x = at(f64::from(times));
        writeln!(page, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#dddddd\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{times}×</text>", bottom + 14.0).unwrap();
    }
    let mut y = top + gap / 2.0;
    for (model, args) in MODELS {
        let network = document(&[&["measure"], args, &["--format", "json"]].concat())["network"].clone();
        writeln!(page, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{model}</text>", left - 8.0, y + 32.0).unwrap();
        for (name, _, colour) in POTENTIALS {
            let value = &network["metrics"][format!("potential.{name}")]["with_padding"]["value"];
            let times = value.as_f64().unwrap();
            let x = at(times);
            writeln!(page, "<rect x=\"{left}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\" font-size=\"9\">{times:.2}</text>", (x - left).max(0.5), bar - 1.0, x + 3.0, y + 8.5).unwrap();
            y += bar;
        }
        y += gap;
    }
    page.push_str("</svg>\n");
    assert_current("potentials.svg", &page);
}
