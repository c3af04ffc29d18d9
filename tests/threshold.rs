//! Thresholds: exact quantiles of what layers read, and networks that are cut by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadweight::engine::{Backend, CandleEngine, EngineOptions, Runner, Session};
use deadweight::graph::Node;
use deadweight::input::Dataset;
use deadweight::kernels::Isa;
use deadweight::layers::{Layer, Shape};
use deadweight::measure::{Quiet, Settings, Thresholds};
use deadweight::model::Model;
use deadweight::probe::{Probe, Watch};
use serde_json::Value;

use crate::binary::{fail, succeed, text};
use crate::hf;
use crate::naive;
use crate::products::Seen;

/// Keeps what each of some nodes reads.
struct Inputs(BTreeMap<Node, Seen>);

impl Probe for Inputs {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.0.get(&node).map(|seen| seen as &dyn Watch)
    }
}

fn learned(model: &Model, backend: &Backend, data: &Dataset, batch: usize, levels: &[u32]) -> Thresholds {
    let settings = Settings { batch, calibrate: 3, ..Settings::default() };
    Thresholds::learn(model, backend, data, &settings, levels, &Quiet).unwrap()
}

#[test]
fn thresholds_are_the_quantiles_of_sorted_magnitudes() {
    let model = hf::stored()["llama"].load(1).unwrap();
    let native = |threads: usize, isa: Isa| Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) });
    let data = Dataset::random_tokens(60, 5, 4, &model.preprocess);
    let levels = [10, 50, 90, 99];
    let thresholds = learned(&model, &native(1, Isa::SCALAR), &data, 1, &levels);
    let readers: Vec<Node> = thresholds.inputs().values().map(|readers| readers[0]).collect();
    let probe = Inputs(readers.iter().map(|reader| (*reader, Seen::default())).collect());
    let mut magnitudes = vec![vec![]; thresholds.inputs().len()];
    for i in 0..3 {
        let sample = data.load(i).unwrap();
        let shape = Shape::new(1, 1, sample.values.len());
        let mut runner = Runner::new(&model.graph, shape, &native(2, Isa::best()), 1).unwrap();
        runner.run(&sample.values, Some(&probe)).unwrap();
        for (magnitudes, seen) in magnitudes.iter_mut().zip(readers.iter().map(|reader| &probe.0[reader])) {
            magnitudes.extend(seen.0.lock().unwrap()[0].iter().map(|x| x.abs()));
        }
    }
    for (value, magnitudes) in magnitudes.iter_mut().enumerate() {
        magnitudes.sort_by(f32::total_cmp);
        for (level, percent) in levels.iter().enumerate() {
            let rank = (magnitudes.len() * *percent as usize).div_ceil(100);
            assert_eq!(thresholds.of_level(level)[value], magnitudes[rank - 1], "value {value}, {percent} %");
        }
    }
    // Queries, keys and values read one, gates and ups another; the head reads what it did.
    let readers: Vec<usize> = thresholds.inputs().values().map(Vec::len).collect();
    assert_eq!(readers, [3, 1, 2, 1, 3, 1, 2, 1]);
    for isa in Isa::available() {
        for (threads, batch) in [(2, 3), (1, 2)] {
            let other = learned(&model, &native(threads, isa), &data, batch, &levels);
            assert!(
                (0..levels.len()).all(|level| other.of_level(level) == thresholds.of_level(level)),
                "{}",
                isa.name()
            );
        }
    }
}

#[test]
fn a_cut_network_is_the_same_for_all_engines() {
    let model = hf::stored()["llama"].load(1).unwrap();
    let backend = Backend::Native(EngineOptions::new(2));
    let data = Dataset::random_tokens(60, 3, 4, &model.preprocess);
    let cut = learned(&model, &backend, &data, 1, &[60]).apply(&model, 0);
    let layers = cut.graph.nodes.iter().filter(|def| matches!(def.layer, Layer::Activation(_)));
    assert!(layers.filter(|def| def.name.ends_with(".threshold")).count() == 8);
    let x: Vec<f32> = (0..11).map(|i| ((7 * i * i + 2) % 60) as f32).collect();
    let shape = Shape::new(1, 1, 11);
    let native = |isa: Isa, threads: usize| {
        let options = EngineOptions { isa, ..EngineOptions::new(threads) };
        Session::new(Arc::clone(&cut.graph), shape, 1, options).unwrap().run(&x, None).unwrap()
    };
    let want = native(Isa::SCALAR, 1);
    for isa in Isa::available() {
        assert!(native(isa, 2).iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", isa.name());
    }
    let plain = Session::new(Arc::clone(&model.graph), shape, 1, EngineOptions::new(1)).unwrap().run(&x, None).unwrap();
    let apart = |other: &[f32]| want.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(apart(&plain) > 1e-2 * largest, "the cut changes answers");
    let candle = CandleEngine::new(&cut.graph, candle_core::Device::Cpu).unwrap();
    // A magnitude near its threshold may fall on either side of it in another order of sums.
    assert!(apart(&candle.run(&x, shape, None).unwrap()) < 1e-2 * largest);
    assert!(apart(&naive::run(&cut.graph, shape, &x)) < 1e-2 * largest);
}

#[test]
fn the_study_goes_level_by_level() {
    let study = |more: &[&str]| -> Value {
        serde_json::from_slice(&succeed(&[&["threshold", "verses", "--format", "json"], more].concat())).unwrap()
    };
    let levels = study(&["--threshold", "10%..30%,90%"]);
    let levels = levels["levels"].as_array().unwrap();
    let percents: Vec<u64> = levels.iter().map(|level| level["percent"].as_u64().unwrap()).collect();
    assert_eq!(percents, [0, 10, 20, 30, 90]);
    let of = |name: &str| levels.iter().map(|level| level[name].as_f64().unwrap()).collect::<Vec<_>>();
    assert!(of("zeros").is_sorted() && of("A").is_sorted() && of("W+A").is_sorted());
    let plain: Value = serde_json::from_slice(&succeed(&["measure", "verses", "--format", "json"])).unwrap();
    assert_eq!(levels[0]["quality"], plain["data"]["quality"]);
    let perplexity = |level: &Value| level["quality"]["perplexity"].as_f64().unwrap();
    assert!(perplexity(&levels[4]) > perplexity(&levels[0]));
    // One level is a measurement of its own, which says so.
    let cut: Value =
        serde_json::from_slice(&succeed(&["measure", "verses", "--threshold", "90%", "--format", "json"])).unwrap();
    assert_eq!(cut["data"]["quality"], levels[4]["quality"]);
    assert_eq!(cut["options"]["threshold"], "90%");
    assert!(
        cut["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("not the network as it is"))
    );
}

#[test]
fn parts_of_a_cut_network_merge() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        succeed(&[&["measure", "digits", "--threshold", "40%", "-o", text(&path)], more].concat());
        path
    };
    let whole = file("whole.dwm", &[]);
    let parts = ["1/2", "2/2"].map(|part| file(&format!("{}.dwm", &part[..1]), &["--shard", part]));
    let merged = folder.path().join("merged.dwm");
    succeed(&["merge", text(&parts[0]), text(&parts[1]), "-o", text(&merged)]);
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&merged).unwrap());
    let plain = folder.path().join("plain.dwm");
    succeed(&["measure", "digits", "-o", text(&plain), "--shard", "2/2"]);
    let (code, said) = fail(&["merge", text(&parts[0]), text(&plain), "-o", text(&merged)]);
    assert!(code == 2 && said.contains("threshold 40%"), "{code}: {said}");
}

#[test]
fn levels_that_are_none_are_refused() {
    for levels in ["0%", "100%", "50", "90%..10%", "ten"] {
        let (code, said) = fail(&["threshold", "digits", "--threshold", levels]);
        assert!(code == 2 && said.contains("--threshold"), "{levels}: {code}: {said}");
    }
    let (code, said) = fail(&["threshold", "digits", "--quantize", "int8"]);
    assert!(code == 4 && said.contains("floats"), "{code}: {said}");
    let (code, said) = fail(&["measure", "digits", "--threshold", "50%", "--layers", "^fc$"]);
    assert!(code == 2 && said.contains("--threshold"), "{code}: {said}");
}
