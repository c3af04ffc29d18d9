//! Number formats from the command line to the file and back: one for each operand, floating-point types, scales of weights.

use std::path::Path;

use deadweight::format;
use deadweight::layers::Layer;
use deadweight::model::{LoadOptions, Model};
use serde_json::Value;

use crate::binary::{fail, succeed, text};

fn json(args: &[&str]) -> Value {
    serde_json::from_slice(&succeed(&[args, &["--format", "json"]].concat())).unwrap()
}

fn measured(args: &[&str]) -> Value {
    json(&[&["measure"], args].concat())
}

/// Runs, with the name of their format, the scales of their weights, inputs that ranges are learned from, and B of both operands.
type Run = (&'static [&'static str], &'static str, Option<&'static str>, u64, [u64; 2]);

const RUNS: [Run; 6] = [
    (&["digits", "--number-format", "w:fixed4,a:int8"], "a:int8,w:fixed4", Some("tensor"), 12, [8, 4]),
    (&["digits", "--number-format", "bf16"], "bf16", None, 0, [8, 8]),
    (&["digits", "--number-format", "a:e5m2,w:int8"], "a:e5m2,w:int8", Some("filter"), 0, [3, 8]),
    (&["verses", "--number-format", "int8"], "int8", Some("filter"), 12, [8, 8]),
    (&["verses", "--number-format", "a:fp16,w:e4m3"], "a:fp16,w:e4m3", None, 0, [11, 4]),
    (
        &["digits", "--quantize", "int8", "--number-format", "a:stored,w:int8"],
        "a:stored,w:int8",
        Some("filter"),
        0,
        [8, 8],
    ),
];

#[test]
fn formats_are_recorded_and_the_same_in_parts_and_on_every_level() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (whole, merged, scalar) = (path("whole.dwm"), path("merged.dwm"), path("scalar.dwm"));
    let parts = [path("1.dwm"), path("2.dwm")];
    for (run, name, weight_scale, calibrated, bits) in RUNS {
        let run = [run, &["--limit", "12"]].concat();
        let document = measured(&run);
        assert_eq!(document["format"]["name"], name);
        assert_eq!(document["format"]["weight_scale"].as_str(), weight_scale, "{name}");
        assert_eq!(document["format"]["calibration_inputs"], calibrated, "{name}");
        for (operand, bits) in ["activations", "weights"].into_iter().zip(bits) {
            // What a quantised network stores beside its zero point has a bit more.
            let known = document["layers"][0][operand]["bits"]["value"].as_f64().unwrap();
            assert!(known == bits as f64 || name.contains("stored") && known == 9.0, "{name} {operand}: {known}");
        }
        let measure = |more: &[&str], to: &Path| succeed(&[&["measure"], &run[..], more, &["-o", text(to)]].concat());
        measure(&[], &whole);
        assert_eq!(json(&["report", text(&whole)]), document, "{name}");
        measure(&["--isa", "scalar"], &scalar);
        let bytes = |path: &Path| std::fs::read(path).unwrap();
        assert!(bytes(&scalar) == bytes(&whole), "{name}: another level");
        for (part, shard) in parts.iter().zip(["1/2", "2/2"]) {
            measure(&["--shard", shard, "--calibration", text(&whole)], part);
        }
        succeed(&["merge", text(&parts[1]), text(&parts[0]), "-o", text(&merged)]);
        assert!(bytes(&merged) == bytes(&whole), "{name}: in parts");
        let table = String::from_utf8(succeed(&["report", text(&whole)])).unwrap();
        let told = format!(
            "format      {name}{}",
            if weight_scale == Some("filter") { ", a scale for each filter" } else { "" }
        );
        assert!(table.contains(&told), "{table}");
    }
}

#[test]
fn other_formats_and_scales_are_no_part_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, other, out) = (path("first.dwm"), path("other.dwm"), path("out.dwm"));
    let run = ["measure", "digits", "--number-format", "a:fixed16,w:int8"];
    succeed(&[&run[..], &["--shard", "1/2", "-o", text(&first)]].concat());
    for (flags, want) in [
        (&["--number-format", "int8"][..], "its format is int8, not a:fixed16,w:int8"),
        (
            &["--number-format", "a:fixed16,w:int8", "--weight-scale", "tensor"],
            "its weight scale is tensor, not filter",
        ),
    ] {
        succeed(&[&["measure", "digits", "--shard", "2/2", "-o", text(&other)], flags].concat());
        let (code, message) = fail(&["merge", text(&first), text(&other), "-o", text(&out)]);
        assert!(code == 2 && message.contains(want), "{message}");
        let (code, message) = fail(&[&run[..], &["--calibration", text(&other)]].concat());
        assert!(code == 2 && message.contains("cannot calibrate this run") && message.contains(want), "{message}");
    }
    for (flags, want) in [
        (&["--number-format", "bf16", "--weight-scale", "filter"][..], "bf16 has no scale to choose"),
        (&["--number-format", "a:stored,w:int8"], "digits stores floats"),
        (&["--bits", "8", "--number-format", "a:int8,w:int8"], "cannot be used with"),
    ] {
        let (code, message) = fail(&[&["measure", "digits"], flags].concat());
        assert!(code == 2 && message.contains(want), "{message}");
    }
}

#[test]
fn weights_in_int8_have_the_scales_of_their_filters() {
    let model = Model::load("digits", &LoadOptions::default()).unwrap();
    let [of_filters, of_tensor] = [&[][..], &["--weight-scale", "tensor"]]
        .map(|flags| measured(&[&["digits", "--limit", "1", "--number-format", "int8"], flags].concat()));
    let convolutions = model.graph.nodes.iter().filter_map(|node| match &node.layer {
        Layer::Conv(conv) => Some((&node.name, conv)),
        _ => None,
    });
    let mut checked = 0;
    for (name, conv) in convolutions {
        let layer = |document: &Value| {
            let layers = document["layers"].as_array().unwrap();
            layers.iter().find(|layer| layer["name"] == **name).unwrap()["weights"].clone()
        };
        let (filters, tensor) = (layer(&of_filters), layer(&of_tensor));
        let filter = conv.weight.data.len() / conv.out_channels;
        // Codes and real values by the definition.
        let codes = conv.weight.data.chunks(filter).flat_map(|filter| {
            let most = filter.iter().fold(0f32, |most, x| most.max(x.abs()));
            let scale = (127.0 / f64::from(most)) as f32;
            filter.iter().map(move |x| ((x * scale).round_ties_even(), f64::from(scale)))
        });
        let codes: Vec<(f32, f64)> = codes.collect();
        let n = codes.len() as f64;
        let zeros = codes.iter().filter(|(code, _)| *code == 0.0).count();
        let mean = codes.iter().map(|(code, scale)| f64::from(*code) / scale).sum::<f64>() / n;
        let square = codes.iter().map(|(code, scale)| (f64::from(*code) / scale - mean).powi(2)).sum::<f64>() / n;
        assert_eq!(filters["zeros"]["numerator"], zeros, "{name}");
        let number = |operand: &Value, metric: &str| operand[metric]["value"].as_f64();
        let close =
            |metric: &str, want: f64| (number(&filters, metric).unwrap() - want).abs() < 1e-9 * want.abs().max(1e-3);
        assert!(close("mean", mean) && close("std", square.sqrt()), "{name}: {filters}");
        assert!(number(&filters, "scale").is_none() && number(&tensor, "scale").is_some(), "{name}");
        for extreme in ["min", "max"] {
            assert_eq!(number(&filters, extreme), number(&tensor, extreme), "{name}");
        }
        assert!(number(&filters, "zeros") <= number(&tensor, "zeros"), "{name}");
        checked += 1;
    }
    assert!(checked > 5, "{checked}");
    // Activations are the same.
    for (filters, tensor) in
        of_filters["layers"].as_array().unwrap().iter().zip(of_tensor["layers"].as_array().unwrap())
    {
        assert_eq!(filters["activations"], tensor["activations"]);
    }
}

#[test]
fn floats_have_no_scale_and_no_differences_of_codes() {
    let document = measured(&["verses", "--limit", "3", "--number-format", "fp16", "--statistics", "full"]);
    let layer = document["layers"].as_array().unwrap().iter().find(|layer| layer["kind"] == "lstm").unwrap();
    assert!(layer["metrics"]["temporal"]["value"].is_f64() && layer["metrics"]["temporal.terms"].is_null(), "{layer}");
    for operand in ["activations", "weights"] {
        let numbers = &layer[operand];
        for absent in ["scale", "mean", "std"] {
            assert!(numbers[absent].is_null(), "{operand} {absent}");
        }
        for present in ["min", "max", "negative", "terms", "width", "entropy"] {
            assert!(!numbers[present]["value"].is_null(), "{operand} {present}");
        }
        assert!(numbers["negative"]["value"].as_f64().unwrap() > 0.1, "{operand}: signs are kept");
        assert!(numbers["width.layer"]["value"].as_f64().unwrap() <= 11.0, "{operand}");
    }
}

/// `docs/formats.md` is what the list says; `UPDATE_DOCS=1 cargo test docs_are_current` writes it.
#[test]
fn formats_docs_are_current() {
    crate::docs::assert_current("formats.md", &format::reference());
    let printed = String::from_utf8(succeed(&["explain", "formats"])).unwrap();
    assert!(
        ["e4m3", "a:FORMAT,w:FORMAT", "--weight-scale filter"].iter().all(|word| printed.contains(word)),
        "{printed}"
    );
}
