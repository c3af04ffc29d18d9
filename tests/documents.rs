//! Documents and lines of inputs against the JSON Schemas that `deadweight schema` prints, and read back by the library.

use deadweight::report::{Format, Report};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::binary::{fail, succeed, text};

/// What is measured: every class of networks, integers, sequences, each with flags that change what is in a document.
const RUNS: [&[&str]; 11] = [
    &["digits", "--limit", "3"],
    &["digits", "--limit", "3", "--quantize", "int8"],
    &["digits", "--limit", "1", "--min-one", "--encoder", "runs"],
    &["digits", "--limit", "3", "--statistics", "values", "--layers", "layer1"],
    // A part in which there is no input.
    &["digits", "--limit", "3", "--shard", "1/9"],
    &["digits", "--until-ci", "30%", "--bits", "4", "--no-fold"],
    &["scenes", "--limit", "2"],
    &["photos", "--limit", "2", "--sigma", "25", "--number-format", "int8"],
    &["verses", "--limit", "5"],
    &["verses", "--limit", "9", "--streams", "3", "--single-steps", "70"],
    &["chapters", "--limit", "2"],
];

fn schema(of: &[&str]) -> Validator {
    let schema: Value = serde_json::from_slice(&succeed(&[&["schema"], of].concat())).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn parsed(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

/// What is wrong with `document`.
fn faults(validator: &Validator, document: &Value) -> Vec<String> {
    let fault = |error: jsonschema::ValidationError<'_>| format!("{}: {error:.200}", error.instance_path());
    validator.iter_errors(document).map(fault).collect()
}

#[test]
fn every_document_is_valid_and_read_back_as_it_was() {
    let validator = schema(&[]);
    assert_eq!(succeed(&["schema"]), succeed(&["schema", "measure"]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.dwm");
    for run in RUNS {
        let document = succeed(&[&["measure"], run, &["--format", "json"]].concat());
        assert_eq!(faults(&validator, &parsed(&document)), [""; 0], "{run:?}");
        succeed(&[&["measure"], run, &["-o", text(&file)]].concat());
        for flags in [&[][..], &["--min-one"]] {
            let report = |format: &str| succeed(&[&["report", text(&file), "--format", format], flags].concat());
            let document = report("json");
            assert_eq!(faults(&validator, &parsed(&document)), [""; 0], "report of {run:?}");
            let read = Report::from_json("run.json", std::str::from_utf8(&document).unwrap()).unwrap();
            for (name, format) in [("json", Format::Json), ("csv", Format::Csv), ("parquet", Format::Parquet)] {
                assert!(format.render(&read, &[], None).unwrap() == report(name), "{run:?} as {name}");
            }
        }
    }
}

#[test]
fn every_line_of_an_input_is_valid() {
    let validator = schema(&["per-input"]);
    let folder = tempfile::tempdir().unwrap();
    let (file, lines) = (folder.path().join("run.dwm"), folder.path().join("inputs.jsonl"));
    for run in RUNS {
        let mut columns = vec![&[][..]];
        if !run.contains(&"values") {
            columns.push(&["--columns", "a.terms,Ap.g64,macs.padding,a.saturated"]);
        }
        for columns in columns {
            succeed(&[&["measure"], run, columns, &["--per-input", text(&lines), "-o", text(&file)]].concat());
            for line in std::fs::read_to_string(&lines).unwrap().lines() {
                assert_eq!(faults(&validator, &parsed(line.as_bytes())), [""; 0], "{run:?}: {line}");
            }
        }
    }
}

/// Every change of `document` that its schema must refuse, with its place: a field more in each object, each field away, and
/// a value of another type in the place of each.
fn changes(document: &Value, place: &str, found: &mut Vec<(String, Value)>, put: &dyn Fn(Value) -> Value) {
    if !place.is_empty() {
        let other = if document.is_string() { json!(-1.5) } else { json!("planted") };
        found.push((format!("{place} of another type"), put(other)));
    }
    match document {
        Value::Object(fields) => {
            // Names of options and of classes are anything.
            if !["/options", "/model/classes"].contains(&place) {
                let mut more = fields.clone();
                more.insert("planted".into(), json!(1));
                found.push((format!("{place}/planted"), put(more.into())));
            }
            for (name, value) in fields {
                changes(value, &format!("{place}/{name}"), found, &|value| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), value);
                    put(fields.into())
                });
            }
        }
        // All of a list are alike.
        Value::Array(items) => {
            if let Some(first) = items.first() {
                changes(first, &format!("{place}/0"), found, &|value| {
                    let mut items = items.clone();
                    items[0] = value;
                    put(items.into())
                });
            }
        }
        _ => {}
    }
}

#[test]
fn every_planted_fault_is_found() {
    let validator = schema(&[]);
    for run in [&["digits", "--limit", "2"][..], &["scenes", "--limit", "1"], &["verses", "--limit", "3"]] {
        let mut document = parsed(&succeed(&[&["measure"], run, &["--format", "json"]].concat()));
        // One layer stands for all.
        document["layers"].as_array_mut().unwrap().truncate(1);
        assert!(validator.is_valid(&document));
        let mut planted = Vec::new();
        changes(&document, "", &mut planted, &|value| value);
        assert!(planted.len() > 500, "{}", planted.len());
        let unseen: Vec<&str> = planted
            .iter()
            .filter(|(_, document)| validator.is_valid(document))
            .map(|(place, _)| place.as_str())
            .collect();
        assert!(unseen.is_empty(), "{run:?}: {} of {}: {unseen:#?}", unseen.len(), planted.len());
        for field in document.as_object().unwrap().keys() {
            let mut less = document.clone();
            less.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&less), "{run:?}: without {field}");
        }
    }
    let (code, message) = fail(&["schema", "everything"]);
    assert!(code == 2 && message.contains("per-input"), "{message}");
}
