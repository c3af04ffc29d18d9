//! Designs on real networks: no layer takes fewer cycles than the ideal of its idea, and more of a design is never slower.

use serde_json::Value;

use super::asset;
use crate::binary::{succeed, text};

/// Six networks of different classes: MODEL, its other flags, an input.
fn networks() -> Vec<Vec<String>> {
    let network = |line: &[&str]| {
        line.iter()
            .map(|word| word.strip_prefix('@').map_or_else(|| (*word).to_owned(), |name| text(&asset(name)).to_owned()))
            .collect()
    };
    vec![
        network(&[
            "@classify/resnet20-cifar10.safetensors",
            "@data/cifar10-test-jpeg.safetensors",
            "--arch",
            "resnet20-cifar",
            "--limit",
            "2",
        ]),
        network(&[
            "@classify/resnet50-thin-opennsfw.safetensors",
            "@data/imagenet224/0970_n09193705.png",
            "--arch",
            "resnet50-thin-opennsfw",
        ]),
        network(&["@quant/mobilenet_v2_1.0_224_quant.tflite", "@data/imagenet224/0970_n09193705.png"]),
        network(&[
            "@denoise/dncnn-s25.safetensors",
            "@data/set12/01.png",
            "--arch",
            "dncnn_gray_bn",
            "--sigma",
            "25",
            "--layers",
            "dncnn[.](0|23|47)$",
        ]),
        network(&[
            "@lstm/charrnn-shakespeare.safetensors",
            "@data/text/shakespeare-10k.txt",
            "--arch",
            "charrnn",
            "--vocab",
            "@lstm/charrnn-shakespeare.vocab.json",
            "--limit",
            "2",
        ]),
        network(&["@nlp/all-MiniLM-L6-v2", "@data/text/shakespeare-10k.txt", "--split", "line", "--limit", "2"]),
    ]
}

fn run(network: &[String], flags: &[&str]) -> Value {
    let line: Vec<&str> = ["designs", "--format", "json"]
        .into_iter()
        .chain(network.iter().map(String::as_str))
        .chain(flags.iter().copied())
        .collect();
    serde_json::from_slice(&succeed(&line)).unwrap()
}

fn cycles(report: &Value, design: &str) -> Vec<u64> {
    let run = report["designs"].as_array().unwrap().iter().find(|run| run["design"] == design).unwrap();
    run["layers"].as_array().unwrap().iter().map(|layer| layer["cycles"].as_u64().unwrap()).collect()
}

#[test]
fn no_layer_is_faster_than_the_ideal() {
    for network in networks() {
        let report = run(&network, &[]);
        let mut compared = 0;
        let line: Vec<&str> =
            ["measure", "--format", "json"].into_iter().chain(network.iter().map(String::as_str)).collect();
        let measured: Value = serde_json::from_slice(&succeed(&line)).unwrap();
        let designs = report["designs"].as_array().unwrap();
        assert_eq!(designs.len(), deadweight::designs::ALL.len());
        for design in designs {
            let lanes = design["lanes"].as_u64().unwrap();
            let layers = design["layers"].as_array().unwrap();
            assert!(!layers.is_empty());
            for layer in layers {
                let number = |name: &str| layer[name].as_u64().unwrap();
                let (cycles, work) = (number("cycles"), number("work"));
                assert!(cycles > 0 && cycles * lanes >= work, "{network:?} {}: {layer}", design["design"]);
                // The ideal is the potential of the metric, which `measure` counts by itself.
                if let Some(name) = design["potential"].as_str() {
                    let metrics =
                        &measured["layers"].as_array().unwrap().iter().find(|of| of["name"] == layer["layer"]).unwrap()
                            ["metrics"];
                    let potential = metrics[format!("potential.{name}")]["with_padding"]["value"].as_f64();
                    let reached =
                        layer["baseline"].as_u64().unwrap() as f64 / layer["capacity"].as_u64().unwrap() as f64;
                    assert!(
                        potential.is_none_or(|most| reached <= most * (1.0 + 1e-12)),
                        "{network:?} {}: {layer} {potential:?}",
                        design["design"]
                    );
                    compared += usize::from(potential.is_some());
                }
                // Every lane-cycle has one name.
                let named = work + number("floor") + number("shape") + number("imbalance");
                assert_eq!(named, cycles * lanes, "{network:?} {}: {layer}", design["design"]);
            }
        }
        assert!(compared > 20, "{network:?}: {compared} potentials compared");
    }
}

#[test]
fn more_of_a_design_is_never_slower_on_real_weights() {
    let folder = tempfile::tempdir().unwrap();
    for network in [&networks()[0], &networks()[4]] {
        let with = |design: &str, parameters: &str| {
            let file = folder.path().join("parameters.toml");
            std::fs::write(&file, format!("[{design}]\n{parameters}\n")).unwrap();
            let designs = format!("{design},laconic,stripes,dense");
            cycles(&run(network, &["--design", &designs, "--design-config", text(&file)]), design)
        };
        let never_slower = |slow: &[u64], fast: &[u64]| {
            assert!(slow.iter().zip(fast).all(|(slow, fast)| fast <= slow), "{network:?}: {slow:?} {fast:?}");
        };
        let [pallet, one, many] = [0, 1, 16].map(|registers| with("pragmatic", &format!("registers = {registers}")));
        never_slower(&pallet, &one);
        never_slower(&one, &many);
        let stages = [0, 1, 2, 3, 4].map(|stage| with("pragmatic", &format!("first_stage = {stage}")));
        stages.windows(2).for_each(|pair| never_slower(&pair[0], &pair[1]));
        for design in ["tactical-p", "tactical-e"] {
            let ahead = [0, 1, 2].map(|ahead| with(design, &format!("lookahead = {ahead}\nlookaside = 5")));
            ahead.windows(2).for_each(|pair| never_slower(&pair[0], &pair[1]));
        }
    }
}
