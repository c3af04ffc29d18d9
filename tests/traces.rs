//! `--trace`: a slice a layer, counters, bounded, and no byte of the results different.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::binary::{fail, succeed, text};

fn events(path: &Path) -> (Vec<Value>, Value) {
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    (trace["traceEvents"].as_array().unwrap().clone(), trace["otherData"].clone())
}

/// Slices of a category, with their start and end.
fn slices(events: &[Value], category: &str) -> Vec<(String, f64, f64)> {
    let of = events.iter().filter(|event| event["ph"] == "X" && event["cat"] == category);
    of.map(|event| {
        let (start, duration) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        (event["name"].as_str().unwrap().to_owned(), start, start + duration)
    })
    .collect()
}

#[test]
fn a_trace_shows_layers_and_counters_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let line = ["measure", "digits", "--format", "json", "--batch-size", "4", "--threads", "2"];
    let plain = succeed(&line);
    assert_eq!(succeed(&[&line[..], &["--trace", text(&path), "--trace-inputs", "8"]].concat()), plain);
    let document: Value = serde_json::from_slice(&plain).unwrap();
    let (events, about) = events(&path);
    let inputs = document["data"]["inputs"].as_u64().unwrap();
    assert_eq!((&about["inputs_of_each_stage"], &about["inputs"]), (&8.into(), &16.into()));
    let calibrated = inputs.min(32);
    assert_eq!(about["inputs_left_out"].as_u64(), Some(inputs + calibrated - 16));
    let names: Vec<&Value> =
        events.iter().filter(|event| event["ph"] == "M").map(|event| &event["args"]["name"]).collect();
    assert_eq!(names[0], "deadweight measure");
    let (runs, layers) = (slices(&events, "run"), slices(&events, "layer"));
    assert_eq!(
        runs.iter().map(|run| run.0.as_str()).collect::<Vec<_>>(),
        ["calibrate", "calibrate", "measure", "measure"]
    );
    // Each layer lies within one run, and those of a run follow one another.
    for (name, start, end) in &layers {
        let within = runs.iter().filter(|(_, from, to)| from <= start && end <= to);
        assert_eq!(within.count(), 1, "{name}");
    }
    assert!(layers.windows(2).all(|pair| pair[0].2 <= pair[1].1 + 1e-3));
    // Slices of one run: all nodes but the input, each once.
    let shown: Value = serde_json::from_slice(&succeed(&["models", "show", "digits", "--format", "json"])).unwrap();
    let macs: u64 = events
        .iter()
        .filter(|event| event["ph"] == "X" && event["cat"] == "layer")
        .map(|event| event["args"]["macs"].as_u64().unwrap())
        .sum();
    assert_eq!(macs, 16 * shown["macs"].as_u64().unwrap(), "every MAC of 16 inputs");
    // Counters of all inputs of the trace pool to shares and widths of the document.
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "C") {
        let (_, value) = event["args"].as_object().unwrap().iter().next().unwrap();
        values.entry(event["name"].as_str().unwrap()).or_default().push(value.as_f64().unwrap());
    }
    let measured = document["layers"].as_array().unwrap().len();
    let (zeros, widths) = (&values["zero activations"], &values["activation width"]);
    assert_eq!((zeros.len(), widths.len()), (2 * measured, 2 * measured));
    assert!(zeros.iter().all(|zeros| (0.0..=100.0).contains(zeros)) && zeros.iter().any(|zeros| *zeros > 10.0));
    assert!(widths.iter().all(|width| (0.0..=16.0).contains(width)));
}

#[test]
fn counters_are_those_of_the_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let line = ["measure", "digits", "--format", "json", "--limit", "4", "--batch-size", "4", "--trace", text(&path)];
    let document: Value = serde_json::from_slice(&succeed(&line)).unwrap();
    let (events, _) = events(&path);
    let counters = events.iter().filter(|event| event["name"] == "zero activations");
    let zeros: Vec<f64> = counters.map(|event| event["args"]["%"].as_f64().unwrap() / 100.0).collect();
    let layers = document["layers"].as_array().unwrap();
    let want: Vec<f64> = layers.iter().map(|layer| layer["activations"]["zeros"]["value"].as_f64().unwrap()).collect();
    assert_eq!(zeros.len(), want.len());
    assert!(zeros.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-12), "{zeros:?} {want:?}");
}

#[test]
fn bands_groups_and_other_verbs_are_traced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let trace = ["--trace", text(&path)];
    // One image of 1 MiB of buffers: several bands, each with the rows that it has.
    succeed(&[&["run", "photos", "--limit", "1", "--memory", "1", "--save", text(folder.path())][..], &trace].concat());
    let (banded, about) = events(&path);
    assert_eq!(about["inputs"], 1);
    let last = slices(&banded, "layer").last().unwrap().0.clone();
    let rows = banded.iter().filter(|event| event["name"] == last.as_str()).map(|event| &event["args"]["rows"]);
    let rows: Vec<[u64; 2]> = rows
        .map(|rows| {
            let (first, end) = rows.as_str().unwrap().split_once("..").unwrap();
            [first.parse().unwrap(), end.parse().unwrap()]
        })
        .collect();
    assert!(rows.len() > 1 && rows[0][0] == 0 && rows.windows(2).all(|pair| pair[0][1] == pair[1][0]), "{rows:?}");
    // Layers that run as one have one slice with all of them.
    let line = ["bench", "mobilenet_v2", "--random-weights", "--rounds", "1", "--batch-size", "1"];
    succeed(&[&line[..], &trace].concat());
    let (events, _) = events(&path);
    assert_eq!(slices(&events, "run").iter().map(|run| run.0.as_str()).collect::<Vec<_>>(), ["plain", "measured"]);
    let grouped: Vec<&Value> = events.iter().filter(|event| event["args"].get("layers").is_some()).collect();
    assert!(!grouped.is_empty());
    for event in grouped {
        let layers = event["args"]["layers"].as_array().unwrap();
        let names: Vec<&str> = layers.iter().map(|layer| layer["layer"].as_str().unwrap()).collect();
        assert_eq!(event["name"].as_str().unwrap(), names.join(" + "));
        let macs: u64 = layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum();
        assert_eq!(event["args"]["macs"].as_u64(), Some(macs));
    }
    // Text token by token, and what has no layers to show.
    let line = ["run", "verses", "--prompt", "the", "--max-tokens", "3"];
    succeed(&[&line[..], &trace].concat());
    let (code, message) = fail(&[&["run", "digits", "--backend", "candle"][..], &trace].concat());
    assert!(code == 2 && message.contains("--trace: shows the layers of the native engine"), "{message}");
}
