//! `docs/cards.md`: what the fields of cards mean, from the doc comments of the types that they are read into.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::docs::assert_current;

/// A field of a struct, or a variant of an enum.
#[derive(Clone, Debug, Default)]
struct Entry {
    name: String,
    /// Its type, or what serde renames it to.
    kind: String,
    doc: String,
    optional: bool,
}

/// A type that is read from a card.
#[derive(Clone, Debug, Default)]
struct Type {
    doc: String,
    is_enum: bool,
    entries: Vec<Entry>,
}

/// The value of attribute `name` in `attributes`, if it is there: `name = "value"`.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    attributes.split_once(&format!("{name} = \""))?.1.split('"').next()
}

/// `SnakeCase` as serde's rule `rule` writes it.
fn renamed(name: &str, rule: Option<&str>) -> String {
    let lower = || name.to_lowercase();
    match rule {
        Some("lowercase") => lower(),
        Some("snake_case") => {
            let mut words = String::new();
            for (i, letter) in name.chars().enumerate() {
                if i > 0 && letter.is_uppercase() {
                    words.push('_');
                }
                words.extend(letter.to_lowercase());
            }
            words
        }
        _ => name.to_owned(),
    }
}

/// The structs and enums of a source file, by name.
fn types(source: &str) -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    let (mut doc, mut attributes) = (String::new(), String::new());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.trim_start_matches("pub(super) ").trim_start_matches("pub ").split(' ').collect();
        match words[..] {
            [kind @ ("struct" | "enum"), name, "{"] if !line.starts_with(' ') => {
                let rule = attribute(&attributes, "rename_all").map(str::to_owned);
                let mut found = Type { doc: std::mem::take(&mut doc), is_enum: kind == "enum", entries: Vec::new() };
                let (mut doc, mut attributes) = (String::new(), String::new());
                for line in lines.by_ref().take_while(|line| *line != "}") {
                    let text = line.trim();
                    if let Some(words) = text.strip_prefix("///") {
                        doc += words;
                    } else if text.starts_with("#[") {
                        attributes += text;
                    } else if line.starts_with("    ") && !line.starts_with("     ") && !text.starts_with('}') {
                        let text =
                            text.trim_start_matches("pub(super) ").trim_start_matches("pub ").trim_end_matches(',');
                        let (name, kind) = match text.split_once(": ") {
                            Some((name, kind)) if !found.is_enum => (name.to_owned(), kind.to_owned()),
                            _ => {
                                let name = text.split(['(', ' ']).next().unwrap();
                                let renamed_to = attribute(&attributes, "rename").map(str::to_owned);
                                let data = text.split_once('(').map_or("", |(_, data)| data.trim_end_matches(')'));
                                (renamed_to.unwrap_or_else(|| renamed(name, rule.as_deref())), data.to_owned())
                            }
                        };
                        let optional = attributes.contains("default") || kind.starts_with("Option<");
                        if !attributes.contains("serde(skip)") {
                            let doc = doc.trim().to_owned();
                            found.entries.push(Entry { name, kind, doc, optional });
                        }
                        (doc, attributes) = (String::new(), String::new());
                    }
                }
                types.insert(name.to_owned(), found);
                attributes.clear();
            }
            _ if line.starts_with("///") => doc += line.trim_start_matches("///"),
            _ if line.starts_with("#[") => attributes += line,
            _ => (doc, attributes) = (String::new(), String::new()),
        }
    }
    types
}

/// What is said of fields that have the same name everywhere.
fn common(name: &str) -> Option<&'static str> {
    Some(match name {
        "classes" => "Number of classes.",
        "channels" => "Channels of the input.",
        _ => return None,
    })
}

/// A type in plain words.
fn in_words(kind: &str, all: &BTreeMap<String, Type>) -> String {
    let inside = |prefix: &str| kind.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(kind) = inside("Option<") {
        return in_words(kind, all);
    }
    if let Some(kind) = inside("Vec<") {
        return format!("list of {}", in_words(kind, all));
    }
    if let Some((kind, count)) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.split_once("; ")) {
        return format!("list of {count}: {}", in_words(kind, all));
    }
    match kind {
        "usize" | "u64" | "u32" | "u8" => "whole number".into(),
        "f64" | "f32" => "number".into(),
        "bool" => "true or false".into(),
        "String" => "text".into(),
        "toml::Table" => "table".into(),
        "Labels" => "names, or a list's".into(),
        other if all.get(other).is_some_and(|of| of.entries.iter().any(|word| !word.kind.is_empty())) => {
            "`{ word = value }`".into()
        }
        other if all.contains_key(other) => "a word".into(),
        other => panic!("{other} has no words yet"),
    }
}

fn table(page: &mut String, of: &Type, all: &BTreeMap<String, Type>) {
    page.push_str("| field | value | meaning |\n|---|---|---|\n");
    for Entry { name, kind, doc, optional } in &of.entries {
        let inner = kind.trim_start_matches("Option<").trim_end_matches('>');
        let words = all.get(inner).filter(|of| of.is_enum && inner != "Labels");
        let mut meaning = match (doc.as_str(), words.map(|of| of.doc.trim())) {
            ("", Some(of_type)) if !of_type.is_empty() => of_type.to_owned(),
            ("", _) => common(name).map_or_else(|| format!("{}.", name.replace('_', " ")), str::to_owned),
            (doc, _) => doc.to_owned(),
        };
        if let Some(words) = words {
            let word = |word: &Entry| match word.doc.as_str() {
                "" => format!("`{}`", word.name),
                doc => format!("`{}` ({})", word.name, doc.trim_end_matches('.')),
            };
            let list = words.entries.iter().map(word).collect::<Vec<_>>().join("; ");
            write!(meaning, " One of {list}.").unwrap();
        }
        let meaning = meaning.replace('|', "\\|").replace("[`super::FAMILIES`]", "the families");
        let optional = if *optional { ", may be left out" } else { "" };
        writeln!(page, "| `{name}` | {}{optional} | {meaning} |", in_words(kind, all)).unwrap();
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The sources under `models/`: each file, and all files of each folder as one, its `mod.rs` first.
fn sources_of_models() -> Vec<String> {
    let files = |folder: &Path| {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|path| (!path.ends_with("mod.rs"), path.clone()));
        files
    };
    let is_source = |path: &Path| path.extension().is_some_and(|end| end == "rs");
    let mut sources = Vec::new();
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models")) {
        if is_source(&path) {
            sources.push(std::fs::read_to_string(path).unwrap());
        } else if path.is_dir() {
            let inner = files(&path).into_iter().filter(|path| is_source(path));
            sources.push(inner.map(|path| std::fs::read_to_string(path).unwrap()).collect());
        }
    }
    sources
}

#[test]
fn cards_docs_are_current() {
    let models = ["naming", "labels", "card", "transformer"].map(|name| format!("models/{name}.rs"));
    let shared = models.iter().map(String::as_str).chain(["src/input/resize.rs"]);
    let mut all: BTreeMap<String, Type> = shared.flat_map(|path| types(&read(path))).collect();
    all.extend(types(&read("src/input/preprocess/mod.rs")));
    let mut page = String::from(include_str!("fixtures/cards.md"));
    page.push_str("\n## The card\n\n");
    table(&mut page, &all["Card"], &all);
    page.push_str("\n## `[input]` of networks that read images\n\n");
    page.push_str("Pixels of 0 to 255 are resized, cropped, ordered, and become `(pixel / 255 - mean) / std`.\n\n");
    table(&mut page, &all["Preprocess"], &all);
    page.push_str("\n## `[input]` of networks that read recordings\n\n");
    let audio = types(&read("src/input/audio.rs"));
    table(&mut page, &audio["Framing"], &audio);
    page.push_str("\n## `[input]` of networks that read tokens\n\n`steps`, a whole number: the length that they are listed and timed with.\n");
    let sources = sources_of_models();
    for family in deadweight::models::FAMILIES {
        let named = format!("name: \"{}\",", family.name);
        let source = sources.iter().find(|source| source.contains(&named));
        let source = source.unwrap_or_else(|| panic!("{named} is in no file"));
        let about: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        let types = types(source);
        let arch = types.get("Arch").unwrap_or_else(|| panic!("{} has no Arch", family.name)).clone();
        let all: BTreeMap<String, Type> = all.clone().into_iter().chain(types).collect();
        writeln!(page, "\n## `[arch]` of family `{}`\n\n{}\n", family.name, about.join(" ")).unwrap();
        table(&mut page, &arch, &all);
    }
    assert_current("cards.md", &page);
}

#[test]
fn types_are_read_as_they_are_written() {
    let source = "/// Ways\n/// to go.\n#[serde(rename_all = \"snake_case\")]\npub enum Way {\n    /// A.\n    UpAndDown(usize),\n    \
                  #[serde(rename = \"1.0\")]\n    Other,\n}\n\npub struct Arch {\n    /// How\n    /// far.\n    #[serde(default)]\n    \
                  pub far: usize,\n    #[serde(skip)]\n    hidden: bool,\n    way: Option<Way>,\n}\n";
    let types = types(source);
    let entries = |name: &str| {
        let of = |e: &Entry| (e.name.clone(), e.doc.clone(), e.optional);
        types[name].entries.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!((types["Way"].doc.trim(), types["Way"].is_enum), ("Ways to go.", true));
    let s = str::to_owned;
    assert_eq!(entries("Way"), [(s("up_and_down"), s("A."), false), (s("1.0"), s(""), false)]);
    assert_eq!(entries("Arch"), [(s("far"), s("How far."), true), (s("way"), s(""), true)]);
}
