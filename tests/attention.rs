//! Attention, measured: one set of counts for any batch, threads, level and engine, that of what a probe is shown, and the same from a
//! file.

use std::sync::{Arc, Mutex};

use deadweight::engine::{Backend, EngineOptions, Runner, Session};
use deadweight::graph::Node;
use deadweight::kernels::attention::{KvCache, Operands, Probabilities, attention};
use deadweight::kernels::count::{Encoder, SequenceValues};
use deadweight::kernels::{Exec, Geometry, Isa, Pool};
use deadweight::layers::{Layer, Shape};
use deadweight::measure::{Calibration, Settings};
use deadweight::model::Model;
use deadweight::probe::{Probe, Watch};
use deadweight::tally::{AttentionSpec, Codes, LayerTally, Padding, PairSums, Phase, Products, RowSums, Statistics};

use crate::hf;
use crate::products::Seen;

/// More than a group of 16.
const STEPS: usize = 19;

/// Sequences, one after the other.
fn ids(steps: usize, count: usize) -> Vec<f32> {
    (0..steps * count).map(|i| ((11 * i * i + 3 * i + 5) % 60) as f32).collect()
}

/// Names and counts of all layers over `count` sequences of `steps` tokens, `batch` at a time.
fn counts(model: &Model, backend: &Backend, (steps, count, batch): (usize, usize, usize)) -> Vec<(String, LayerTally)> {
    let (input, x) = (Shape::new(1, 1, steps), ids(steps, count));
    let native = Backend::Native(EngineOptions::new(1));
    let calibration = Calibration::of_images(model, &native, input, &x, &full()).unwrap();
    let counted = calibration.probe(model, backend, input, batch).unwrap();
    let mut runner = Runner::new(&model.graph, input, backend, batch).unwrap();
    for part in x.chunks(batch * steps) {
        runner.run(part, Some(&counted)).unwrap();
        counted.end_run(backend.pool(), part.len() / steps);
    }
    let tallies = counted.into_tallies(model, backend.pool(), count as u64);
    calibration.layers.iter().map(|layer| layer.name.clone()).zip(tallies).collect()
}

fn model(name: &str) -> Model {
    hf::stored()[name].load(1).unwrap()
}

fn native(threads: usize, isa: Isa) -> Backend {
    Backend::Native(EngineOptions { isa, ..EngineOptions::new(threads) })
}

/// Settings under which everything is counted.
fn full() -> Settings {
    Settings { statistics: Statistics::Full, ..Settings::default() }
}

#[test]
fn counts_do_not_depend_on_how_a_run_is_made() {
    for name in ["llama", "mistral", "bert", "gpt2"] {
        let model = model(name);
        let whole = counts(&model, &native(1, Isa::SCALAR), (STEPS, 4, 1));
        for isa in Isa::available() {
            for (threads, batch) in [(2, 1), (2, 4), (1, 2)] {
                let got = counts(&model, &native(threads, isa), (STEPS, 4, batch));
                assert!(got == whole, "{name}: {}, {threads} threads, batch {batch}", isa.name());
            }
        }
        let candle = Backend::Candle(candle_core::Device::Cpu, Arc::new(Pool::new(1)));
        let other = counts(&model, &candle, (STEPS, 4, 2));
        for ((name, tally), (_, other)) in whole.iter().zip(&other).filter(|((name, _), _)| name.contains("attention."))
        {
            let [own, other] = [tally, other].map(Products::of);
            assert_eq!(own.dense, other.dense, "{name}");
            // Values near a rounding edge may fall on either side of it.
            let apart = own.both.abs_diff(other.both) as f64 / own.both as f64;
            assert!(apart < 5e-3, "{name}: {apart}");
        }
    }
}

#[test]
fn what_a_mask_takes_away_is_dense_and_not_inside() {
    let steps = STEPS;
    let pairs = |visible: &dyn Fn(usize) -> usize| (0..steps).map(visible).sum::<usize>();
    for (name, visible) in [
        ("bert", pairs(&|_| steps)),
        ("gpt2", pairs(&|query| query + 1)),
        ("llama", pairs(&|query| query + 1)),
        ("mistral", pairs(&|query| (query + 1).min(4))),
    ] {
        let model = model(name);
        let rows = counts(&model, &native(2, Isa::best()), (steps, 1, 1));
        let rows: Vec<_> = rows.iter().filter(|(name, _)| name.ends_with(".qk") || name.ends_with(".pv")).collect();
        assert_eq!(rows.len(), 4, "{name}: two layers of two products");
        for (row, tally) in rows {
            let products = Products::of(tally);
            // Four heads of eight features.
            let dense = [Padding::With, Padding::Without].map(|padding| products.dense.of(padding));
            assert_eq!(dense, [32 * steps * steps, 32 * visible].map(|macs| macs as u128), "{name}: {row}");
            let values = &tally.activations.values;
            let elements = if row.ends_with(".pv") { 4 * visible } else { 32 * steps };
            assert_eq!(values.elements, elements as u64, "{name}: {row}");
        }
    }
}

#[test]
fn tokens_that_pad_are_keys_of_none() {
    let mut model = model("bert");
    let (before, kept, steps, pad) = (2, 13, STEPS, 0);
    let graph = Arc::make_mut(&mut model.graph);
    let ids = graph.handles().find(|node| matches!(graph.def(*node).layer, Layer::Input)).unwrap();
    for def in &mut graph.nodes {
        if let Layer::Attention(layer) = &mut def.layer {
            layer.pad = Some(pad);
            def.inputs.push(ids);
        }
    }
    let pad = pad as f32;
    let token = |i: usize| if (before..before + kept).contains(&i) { ((7 * i + 5) % 50 + 3) as f32 } else { pad };
    let x: Vec<f32> = (0..steps).map(token).collect();
    let input = Shape::new(1, 1, steps);
    let native = native(2, Isa::best());
    let calibration = Calibration::of_images(&model, &native, input, &x, &Settings::default()).unwrap();
    let of = |backend: &Backend| {
        let counted = calibration.probe(&model, backend, input, 1).unwrap();
        Runner::new(&model.graph, input, backend, 1).unwrap().run(&x, Some(&counted)).unwrap();
        counted.end_run(backend.pool(), 1);
        counted.into_tallies(&model, backend.pool(), 1)
    };
    let candle = Backend::Candle(candle_core::Device::Cpu, Arc::new(Pool::new(1)));
    for (layer, (own, other)) in calibration.layers.iter().zip(of(&native).iter().zip(&of(&candle))) {
        let [own, other] = [own, other].map(Products::of);
        assert_eq!(own.dense, other.dense, "{}", layer.name);
        if layer.kind == "attention" {
            let macs = [Padding::With, Padding::Without].map(|padding| own.dense.of(padding));
            assert_eq!(macs, [32 * steps * steps, 32 * steps * kept].map(|macs| macs as u128), "{}", layer.name);
            let apart = own.both.abs_diff(other.both) as f64 / own.both as f64;
            assert!(apart < 5e-3, "{}: {apart}", layer.name);
        }
    }
}

/// Keeps the operands of one node whole, `[image][channels, steps]`.
struct Watched {
    node: Node,
    seen: [Seen; 3],
}

impl Probe for Watched {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        (node == self.node).then_some(&self.seen[0] as &dyn Watch)
    }

    fn watch_second(&self, node: Node) -> Option<&dyn Watch> {
        (node == self.node).then_some(&self.seen[1] as &dyn Watch)
    }

    fn watch_third(&self, node: Node) -> Option<&dyn Watch> {
        (node == self.node).then_some(&self.seen[2] as &dyn Watch)
    }
}

/// Both counts of a sequence of queries, keys and values, the probabilities computed by the kernel; codes are added to `codes`.
fn counted(spec: &AttentionSpec, operands: [&Vec<f32>; 3], steps: usize, codes: &mut [Codes]) -> [PairSums; 2] {
    let packed = operands.map(|x| {
        let geometry = Geometry::blocked(1, x.len() / steps, 1, steps);
        let mut buffer = vec![0.0; geometry.len()];
        geometry.pack(x, &mut buffer);
        (buffer, geometry)
    });
    let [q, k, v] = packed.each_ref().map(|(buffer, geometry)| (&buffer[..], geometry));
    let yg = Geometry::blocked(1, spec.attention.heads * spec.attention.outer, 1, steps);
    let (mut y, pool) = (vec![0.0; yg.len()], Pool::new(2));
    let mut cache = KvCache::new(spec.attention, 1);
    let rows = Mutex::new((RowSums::new(spec, steps, &[Phase::WHOLE]), codes));
    let observe = |tile: &[Probabilities<'_>]| {
        let (rows, codes) = &mut *rows.lock().unwrap();
        rows.add(spec, tile, codes);
    };
    let exec = Exec::new(&pool, Isa::SCALAR);
    attention(&exec, 1, &Operands { q, k, v, inside: None, rounding: None }, (&mut y, &yg), &mut cache, Some(&observe));
    let (rows, codes) = rows.into_inner().unwrap();
    let operands = [q, k, v].map(|(x, geometry)| SequenceValues { x, geometry, image: 0 });
    let heads: Vec<_> =
        (0..spec.attention.kv_heads).map(|head| spec.head(head, operands, &rows, codes).unwrap()).collect();
    spec.whole(heads, &rows).swap_remove(0)
}

#[test]
fn what_is_counted_is_what_a_probe_is_shown() {
    let (model, steps, count) = (model("mistral"), STEPS, 3);
    let graph = &model.graph;
    let node = graph.handles().find(|node| graph.def(*node).layer.kind() == "attention").unwrap();
    let Layer::Attention(layer) = graph.def(node).layer else { panic!("attention") };
    let probe = Watched { node, seen: Default::default() };
    let x = ids(steps, count);
    let input = Shape::new(1, 1, steps);
    let mut session = Session::new(Arc::clone(graph), input, count, EngineOptions::new(2)).unwrap();
    let plain = session.run(&x, None).unwrap();
    let watched = session.run(&x, Some(&probe)).unwrap();
    assert!(plain.iter().zip(&watched).all(|(a, b)| a.to_bits() == b.to_bits()));

    let backend = native(2, Isa::best());
    let calibration = Calibration::of_images(&model, &backend, input, &x, &full()).unwrap();
    let maps = ["qk", "pv"].map(|row| {
        let name = format!("{}.{row}", graph.def(node).name);
        calibration.layers.iter().find(|layer| layer.name == name).unwrap().codings.map(|coding| coding.map)
    });
    let [[q, k], [p, v]] = maps;
    // Fifteen bits of fraction.
    assert_eq!((p.scale, p.hi), (32768.0, 32767));
    let spec = AttentionSpec {
        attention: layer.shape,
        maps: [q, k, p, v],
        encoder: Encoder::default(),
        isa: Isa::SCALAR,
        has_terms: true,
        keeps_codes: [true; 2],
        has_shares: false,
    };
    let seen = probe.seen.map(|seen| seen.0.into_inner().unwrap());
    let mut codes = [Codes::default()];
    let sums = (0..count).map(|i| counted(&spec, [&seen[0][i], &seen[1][i], &seen[2][i]], steps, &mut codes));
    let sums = sums.reduce(|mut all, one| {
        all.iter_mut().zip(&one).for_each(|(all, one)| all.merge(one));
        all
    });
    let mut sums = sums.unwrap();
    let mut maps = [q, k, p, v].into_iter();
    let [codes] = codes;
    let [of_q, of_k, of_p, of_v] = codes.map(|codes| codes.unwrap().take(maps.next().unwrap()));
    for (sums, [first, second]) in sums.iter_mut().zip([[of_q, of_k], [of_p, of_v]]) {
        (sums.activations.values.codes, sums.weights.values.codes) = (first, second);
    }
    let all = counts(&model, &backend, (steps, count, count));
    for (row, sums) in ["qk", "pv"].iter().zip(sums) {
        let name = format!("{}.{row}", graph.def(node).name);
        let (_, tally) = all.iter().find(|(other, _)| *other == name).unwrap();
        assert_eq!(tally.pairs, Some(sums.products), "{name}");
        assert!(tally.activations == sums.activations && tally.weights == sums.weights, "{name}");
    }
}
