//! The structure of the code: which modules import which, where printing and threads are allowed, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room (top-level module) and the rooms it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("hex", &[]),
    ("kernels", &["error"]),
    ("format", &["error", "kernels"]),
    ("timing", &["error"]),
    ("weights", &["error", "hex"]),
    ("layers", &["error", "kernels"]),
    ("graph", &["error", "kernels", "layers", "weights"]),
    ("probe", &["graph", "kernels"]),
    ("models", &["error", "graph", "kernels", "layers", "weights"]),
    // The engine of ONNX files runs the file itself, and knows which inputs it has.
    ("engine", &["error", "graph", "input", "kernels", "layers", "probe", "weights"]),
    // Images are resized by vectors.
    ("input", &["error", "hex", "kernels"]),
    ("task", &["error"]),
    ("builtin", &["error", "input"]),
    ("tally", &["error", "kernels"]),
    ("designs", &["error", "kernels", "tally"]),
    ("metrics", &["format", "kernels", "tally"]),
    ("measurement", &["error", "format", "hex", "input", "kernels", "tally", "task"]),
    ("source", &["builtin", "error", "hex", "input", "models", "weights"]),
    // A model that is an ONNX file, run as it is, holds what its engine prepared.
    ("model", &["builtin", "engine", "error", "graph", "input", "kernels", "layers", "models", "source", "weights"]),
    (
        "measure",
        &[
            "designs",
            "engine",
            "error",
            "format",
            "graph",
            "input",
            "kernels",
            "layers",
            "measurement",
            "metrics",
            "model",
            "models",
            "probe",
            "tally",
            "task",
            "timing",
            "weights",
        ],
    ),
    ("report", &["designs", "error", "hex", "input", "kernels", "measurement", "metrics", "tally", "task"]),
    // It reads counts, and writes the header that NumPy has.
    ("export", &["error", "format", "input", "kernels", "measurement", "metrics", "tally"]),
    (
        "study",
        &[
            "engine",
            "error",
            "format",
            "graph",
            "input",
            "kernels",
            "layers",
            "measure",
            "measurement",
            "model",
            "models",
            "task",
        ],
    ),
    ("compare", &["error", "metrics", "report", "tally"]),
    ("gate", &["compare", "error", "metrics", "report"]),
];

/// What may import every room, and is no room itself.
const ABOVE: &[&str] = &["cli", "lib", "library", "main"];

/// Files that may be longer than [`LONGEST`], and how long.
const LONGER: &[(&str, usize)] = &[];
const LONGEST: usize = 400;

/// Files of the tally that read floats (they store none).
const READS_FLOATS: &[&str] = &[
    "src/tally/attention.rs",
    "src/tally/head_values.rs",
    "src/tally/pairs.rs",
    "src/tally/shares.rs",
    "src/tally/weights.rs",
];

/// A source file by its path in the project.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The room it belongs to: the path component after `src/` (or of the project), up to the next slash or dot.
    fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or_default()
    }

    /// Numbered lines of code before the unit tests, without comments; empty for a file of tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let whole = if self.path.ends_with("tests.rs") { 0 } else { self.text.len() };
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(whole);
        let before = self.text[..tests].lines().count();
        let lines = self.text.lines().enumerate().take(before);
        lines.map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending = vec![root.join("src"), root.join("models")];
    let mut sources = Vec::new();
    while let Some(folder) = pending.pop() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { text: std::fs::read_to_string(&path).unwrap(), path: name });
            }
        }
    }
    sources
}

fn imports(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return match ABOVE.contains(&room) {
            true => vec![],
            false => vec![format!("{}: {room} is not in the table of rooms", source.path)],
        };
    };
    let mut wrong = Vec::new();
    // Levels from the file's own module up to the crate: that many `super::` leave the room.
    let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = inner.split('/').count();
    for (number, line) in source.code() {
        if line.contains(&"super::".repeat(depth)) {
            wrong.push(format!("{}:{number}: leaves {room} by super; write crate::", source.path));
        }
        if line.contains("crate::{") && !line.contains('}') {
            wrong.push(format!("{}:{number}: a list over several lines; write one use a room", source.path));
        }
        for part in line.split("crate::").skip(1) {
            let names = part.strip_prefix('{').map_or(vec![part], |list| list.split(',').collect());
            for name in names {
                let name = name.trim().split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
                let known = ROOMS.iter().any(|(known, _)| *known == name);
                if known && name != room && !allowed.contains(&name) {
                    wrong.push(format!(
                        "{}:{number}: imports crate::{name}; {room} may import {allowed:?}",
                        source.path
                    ));
                }
            }
        }
    }
    wrong
}

/// Lines of files outside `homes` that contain one of `words`.
fn strays(source: &Source, words: &[&str], homes: &[&str]) -> Vec<String> {
    if homes.iter().any(|home| source.path.starts_with(home)) {
        return vec![];
    }
    let found = source.code().filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    found.map(|(number, line)| format!("{}:{number}: {} belongs in {homes:?}", source.path, line.trim())).collect()
}

fn faults(source: &Source) -> Vec<String> {
    let mut wrong = imports(source);
    wrong.extend(strays(source, &["println!", "print!(", "eprintln!", "io::stdout"], &["src/cli/", "src/main.rs"]));
    wrong.extend(strays(source, &["thread::spawn", "thread::Builder"], &["src/kernels/threads.rs"]));
    if source.path.starts_with("src/tally/") {
        let floats = strays(source, &["f32", "f64"], READS_FLOATS);
        wrong.extend(floats.into_iter().map(|line| format!("{line} (integers only)")));
    }
    if !source.text.starts_with("//! ") {
        wrong.push(format!("{}: does not begin by saying what it is for", source.path));
    }
    let declared = ["#[cfg(test)]\nmod tests;", "#[cfg(test)]\n#[path = "];
    if source.text.contains("mod tests;") && !declared.iter().any(|form| source.text.contains(form)) {
        wrong.push(format!("{}: mod tests is not behind #[cfg(test)]", source.path));
    }
    let lines = source.text.lines().count();
    let longest = LONGER.iter().find(|(path, _)| *path == source.path).map_or(LONGEST, |(_, lines)| *lines);
    if lines > longest {
        wrong.push(format!("{}: {lines} lines, at most {longest}", source.path));
    }
    wrong
}

#[test]
fn the_house_is_in_order() {
    let sources = sources();
    assert!(sources.len() > 50, "{} files are not all", sources.len());
    let mut wrong: Vec<String> = sources.iter().flat_map(faults).collect();
    for exception in LONGER.iter().map(|(path, _)| path).chain(READS_FLOATS) {
        if !sources.iter().any(|source| source.path == *exception) {
            wrong.push(format!("{exception}: is an exception but does not exist"));
        }
    }
    for (path, _) in LONGER {
        if sources.iter().any(|source| source.path == *path && source.text.lines().count() <= LONGEST) {
            wrong.push(format!("{path}: needs no exception any more"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which of the modules directly in `folder` import which others of it by `super::`.
fn within(sources: &[Source], folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let files = || sources.iter().filter_map(|source| Some((source.path.strip_prefix(folder)?, source)));
    let module = |path: &str| path.split(['/', '.']).next().unwrap_or_default().to_owned();
    let modules: BTreeSet<String> = files().map(|(path, _)| module(path)).filter(|name| name != "mod").collect();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, source) in files() {
        let own = module(path);
        let of_own = imports.entry(own.clone()).or_default();
        for line in source.code().filter_map(|(_, line)| line.split_once("super::")).map(|(_, after)| after) {
            let names = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            of_own.extend(names.filter(|name| *name != own && modules.contains(*name)).map(str::to_owned));
        }
    }
    imports.remove("mod");
    imports
}

/// The modules that import one another in a circle, and those that import these.
fn circle(mut imports: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let free: Vec<String> =
            imports.iter().filter(|(_, of)| of.is_empty()).map(|(module, _)| module.clone()).collect();
        if free.is_empty() {
            return imports.into_keys().collect();
        }
        imports.retain(|module, _| !free.contains(module));
        imports.values_mut().for_each(|of| of.retain(|module| !free.contains(module)));
    }
}

#[test]
fn counting_kernels_import_one_another_in_no_circle() {
    let imports = within(&sources(), "src/kernels/count/");
    assert!(imports["lines"].contains("coder") && imports["extra"].contains("sums"), "{imports:?}");
    assert_eq!(circle(imports), [""; 0]);
    let planted = [("a", "use super::b::{X, Y};\n"), ("b", "use super::{a::Z, c::W};\n"), ("c", "use super::X;\n")];
    let planted = planted.map(|(name, text)| Source { path: format!("src/x/{name}.rs"), text: text.into() });
    assert_eq!(circle(within(&planted, "src/x/")), ["a", "b"]);
}

#[test]
fn planted_faults_are_found() {
    for (path, text, want) in [
        ("src/metrics/x.rs", "//! x\nuse crate::layers::Conv;\n", "src/metrics/x.rs:2: imports crate::layers"),
        ("src/kernels/x.rs", "//! x\nuse crate::{Error, tally::LayerTally};\n", "imports crate::tally"),
        ("src/input/x.rs", "//! x\nfn f() { println!(\"x\") }\n", "belongs in [\"src/cli/\""),
        ("src/input/x.rs", "//! x\nfn f() { std::thread::spawn(g); }\n", "threads.rs"),
        ("src/tally/x.rs", "//! x\npub mean: f64,\n", "integers only"),
        ("src/tally/x.rs", "//! x\nfn f(n: u64) -> f32 { n as f32 }\n", "integers only"),
        ("src/input/x.rs", "//! x\nmod tests;\n", "not behind #[cfg(test)]"),
        ("src/newroom/x.rs", "//! x\n", "newroom is not in the table"),
        ("models/x.rs", "//! x\nuse crate::engine::Plan;\n", "models/x.rs:2: imports crate::engine"),
        ("src/graph/mod.rs", "//! x\nuse super::engine::Plan;\n", "leaves graph by super"),
        ("src/graph/x.rs", "//! x\nuse super::super::engine::Plan;\n", "leaves graph by super"),
        ("src/graph/x.rs", "//! x\nuse crate::{\n    engine::Plan,\n};\n", "one use a room"),
        ("src/error.rs", "//! x\nfn f() { crate::graph::g() }\n", "src/error.rs:2: imports crate::graph"),
        ("src/input/x.rs", "use std::io;\n", "what it is for"),
    ] {
        let found = faults(&Source { path: path.into(), text: text.into() });
        assert!(found.iter().any(|fault| fault.contains(want)), "{path}: {found:?} lacks {want}");
    }
    let long = Source { path: "src/input/x.rs".into(), text: format!("//! x\n{}", "\n".repeat(LONGEST)) };
    assert_eq!(faults(&long).len(), 1);
    let tests = "//! x\n#[cfg(test)]\nmod tests {\n    use crate::cli::X;\n    fn f() { println!(\"x\") }\n}\n";
    assert!(faults(&Source { path: "src/input/x.rs".into(), text: tests.into() }).is_empty());
    let tests = "//! x\nuse crate::cli::X;\nfn f() { std::thread::spawn(g); }\n";
    assert_eq!(faults(&Source { path: "src/input/x_tests.rs".into(), text: tests.into() }), [""; 0]);
    let fine = "//! x\nuse super::y::Z;\nuse crate::{Error, Result};\n";
    assert_eq!(faults(&Source { path: "src/input/x.rs".into(), text: fine.into() }), [""; 0]);
}
