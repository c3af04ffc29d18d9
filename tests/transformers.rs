//! Layers of transformers: the native engine against candle and plain loops, and decoding against the whole sequence.

use std::sync::Arc;

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::graph::{Graph, Params, Scope, passes};
use deadweight::kernels::attention::{AttentionShape, Mask};
use deadweight::kernels::rotary::Turns;
use deadweight::kernels::{Activation, Isa};
use deadweight::layers::{Conv, Positions, Rotary, Shape, Step};
use proptest::prelude::*;

use crate::engines::{distance, images};
use crate::naive;

/// A decoder block of any extents.
#[derive(Clone, Debug)]
struct Block {
    heads: usize,
    kv_heads: usize,
    features: usize,
    width: usize,
    mask: Mask,
    rms: bool,
    /// Which rotary embedding, if any.
    rotary: Option<(bool, bool)>,
    pad: Option<u32>,
    activation: Activation,
    seed: u64,
}

const TOKENS: usize = 11;

/// What is added to the variance of `features` features. Few can be nearly equal, and a norm that divides by what is left would show the
/// rounding of any engine, hundreds of times as large.
fn epsilon(features: usize) -> f64 {
    if features < 8 { 0.1 } else { 1e-5 }
}

fn blocks() -> impl Strategy<Value = Block> {
    let mask = (any::<bool>(), prop::option::of(1usize..9)).prop_map(|(causal, window)| Mask { causal, window });
    let activations = vec![Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu];
    let extents = (1usize..3, 1usize..3, prop::sample::select(vec![2, 6, 16, 32]), 1usize..40);
    let parts = (mask, any::<bool>(), prop::option::of(any::<(bool, bool)>()), prop::option::of(Just(3u32)));
    (extents, parts, prop::sample::select(activations), any::<u64>()).prop_map(
        |((kv_heads, group, features, width), (mask, rms, rotary, pad), activation, seed)| {
            let heads = kv_heads * group;
            Block { heads, kv_heads, features, width, mask, rms, rotary, pad, activation, seed }
        },
    )
}

impl Block {
    /// Embedding, positions, attention, gated product, norms, a tied head.
    fn graph(&self) -> Graph {
        let net = Scope::new(Params::Random(self.seed));
        let ids = net.input(1);
        let table = net.parameter("tokens", &[TOKENS, self.width]);
        let skip = self.pad.filter(|_| self.seed.is_multiple_of(2));
        let positions = net.positions(ids, Positions { first: 2, limit: 60, exact: false, skip });
        let positions = net.at("positions").embedding(positions, net.parameter("positions", &[64, self.width]));
        let x = net.add(net.at("tokens").embedding(ids, table.clone()), positions);
        let norm = |name: &str, x| match self.rms {
            true => net.at(name).rms_norm(x, epsilon(self.width), 1),
            false => net.at(name).layer_norm(x, epsilon(self.width)),
        };
        let y = norm("first", x);
        let [q, k, v] = [("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)]
            .map(|(name, heads)| net.at(name).project(y, heads * self.features, true));
        let q = net.at("q_norm").rms_norm(q, epsilon(self.features), self.heads);
        let turn = |x| match self.rotary {
            None => x,
            Some((interleaved, whole)) => {
                let turning = if whole { self.features / 2 } else { (self.features / 4).max(1) };
                let frequencies = (0..turning).map(|i| 0.7f32.powi(i as i32)).collect();
                let turns = Turns { channels: self.features, frequencies, interleaved, scale: 1.1 };
                net.rotary(x, Rotary { turns: Arc::new(turns), limit: 60 })
            }
        };
        let scale = 1.0 / (self.features as f32).sqrt();
        let Self { heads, kv_heads, features, mask, .. } = *self;
        let shape = AttentionShape { heads, kv_heads, inner: features, outer: features, scale, mask };
        let padding = self.pad.map(|pad| (ids, pad));
        let y = net.at("attention").attention([turn(q), turn(k), v], shape, padding);
        let x = net.add(x, net.at("o").project(y, self.width, true));
        let y = norm("second", x);
        let gate = net.activation(net.at("gate").project(y, 24, true), self.activation);
        let y = net.mul(gate, net.at("up").project(y, 24, true));
        let x = net.normalise(net.add(x, net.at("down").project(y, self.width, true)));
        let x = net.at("head").linear_steps(x, table, None, true);
        net.finish(x).unwrap().0
    }

    /// Token ids, some of which pad.
    fn ids(&self, count: usize) -> Vec<f32> {
        (0..count as u64)
            .map(|i| ((i * 2_654_435_761 + self.seed % 977) >> 7) % TOKENS as u64)
            .map(|id| id as f32)
            .collect()
    }
}

fn session(graph: &Graph, shape: Shape, batch: usize, threads: usize, isa: Isa) -> Session {
    let options = EngineOptions { isa, ..EngineOptions::new(threads) };
    Session::new(Arc::new(graph.clone()), shape, batch, options).unwrap()
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn agree(graph: &Graph, shape: Shape, x: &[f32]) -> Result<(), TestCaseError> {
    let batch = x.len() / shape.elements();
    let fused = passes::fuse_epilogue(graph);
    let got = session(&fused, shape, batch, 1, Isa::SCALAR).run(x, None).unwrap();
    let candle = CandleEngine::new(graph, candle_core::Device::Cpu).unwrap().run(x, shape, None).unwrap();
    let plain: Vec<f32> = x.chunks(shape.elements()).flat_map(|x| naive::run(graph, shape, x)).collect();
    for (name, want) in [("candle", &candle), ("plain loops", &plain)] {
        // Padding alone has no keys.
        let known = |v: &&(&f32, &f32)| v.1.is_finite();
        let (got, want): (Vec<f32>, Vec<f32>) = got.iter().zip(want).filter(|v| known(&v)).unzip();
        prop_assert!(distance(&got, &want) < 3e-4, "native is {} from {name}", distance(&got, &want));
    }
    for isa in Isa::available() {
        for (together, threads) in [(1, 2), (batch, 2)] {
            let mut session = session(&fused, shape, together, threads, isa);
            let parts = x.chunks(together * shape.elements());
            let again: Vec<f32> = parts.flat_map(|x| session.run(x, None).unwrap()).collect();
            prop_assert!(same(&again, &got), "{}, batch {together}: other bits", isa.name());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn engines_agree_on_blocks(block in blocks(), steps in 1usize..40) {
        agree(&block.graph(), Shape::new(1, 1, steps), &block.ids(3 * steps))?;
    }

    #[test]
    fn engines_agree_on_images_as_tokens(
        (c, before, h, w) in (1usize..40, 1usize..3, 1usize..5, 1usize..5),
        last: bool,
        seed: u64,
    ) {
        let net = Scope::new(Params::Random(seed));
        let x = net.input(3);
        let x = net.at("patches").conv(x, Conv { kernel: (2, 2), ..Conv::new(c, 1).stride(2) });
        let x = net.tokens(x, net.parameter("class", &[before, c]));
        let steps = before + h * w;
        let numbers = net.positions(x, Positions { first: 0, limit: steps, exact: true, skip: None });
        let x = net.add(x, net.at("table").embedding(numbers, net.parameter("table", &[steps, c])));
        let x = net.at("norm").layer_norm(x, 1e-6);
        let y = net.step(x, if last { Step::Last } else { Step::First });
        let y = net.add(y, net.global_avg_pool(x));
        let (graph, _) = net.finish(y).unwrap();
        let shape = Shape::new(3, 2 * h, 2 * w);
        agree(&graph, shape, &images(2 * shape.elements()))?;
    }

    #[test]
    fn decoding_gives_the_bits_of_the_whole(block in blocks(), steps in 1usize..40, first in 1usize..40) {
        let block = Block { mask: Mask { causal: true, ..block.mask }, pad: None, ..block };
        let (graph, first) = (passes::fuse_epilogue(&block.graph()), first.min(steps));
        let ids = block.ids(2 * steps);
        let whole = session(&graph, Shape::new(1, 1, steps), 2, 2, Isa::best()).run(&ids, None).unwrap();
        // Tokens `from..to` of both sequences.
        let part = |from: usize, to: usize| ids.chunks(steps).flat_map(|ids| ids[from..to].to_vec()).collect::<Vec<f32>>();
        let mut got = vec![0.0; whole.len()];
        let mut keep = |y: &[f32], from: usize, to: usize| {
            for (i, &value) in y.iter().enumerate() {
                got[i / (to - from) * steps + from + i % (to - from)] = value;
            }
        };
        let mut prefill = session(&graph, Shape::new(1, 1, first), 2, 1, Isa::best());
        prefill.carry_states();
        keep(&prefill.run(&part(0, first), None).unwrap(), 0, first);
        let mut decode = session(&graph, Shape::new(1, 1, 1), 2, 1, Isa::best());
        decode.carry_states();
        decode.set_states(&prefill.states()).unwrap();
        for step in first..steps {
            keep(&decode.run(&part(step, step + 1), None).unwrap(), step, step + 1);
        }
        prop_assert!(same(&got, &whole), "{first} of {steps}");
    }
}

#[test]
fn sequences_longer_than_the_positions_are_refused() {
    let block = Block {
        heads: 1,
        kv_heads: 1,
        features: 6,
        width: 8,
        mask: Mask { causal: true, window: None },
        rms: true,
        rotary: Some((false, true)),
        pad: None,
        activation: Activation::Silu,
        seed: 1,
    };
    let graph = Arc::new(block.graph());
    let error = Session::new(Arc::clone(&graph), Shape::new(1, 1, 61), 1, EngineOptions::new(1)).err().unwrap();
    assert!(error.to_string().contains("61 tokens is longer than the 60 positions"), "{error}");
    let mut session = Session::new(graph, Shape::new(1, 1, 40), 1, EngineOptions::new(1)).unwrap();
    session.carry_states();
    session.run(&block.ids(40), None).unwrap();
    let error = session.run(&block.ids(40), None).err().unwrap().to_string();
    assert!(error.contains("40 tokens after 40 exceed the 60 positions"), "{error}");
    session.set_states(&[]).unwrap();
    session.run(&block.ids(40), None).unwrap();
    let wrong = session.set_states(&vec![vec![1.0]; session.graph().nodes.len()]).err().unwrap().to_string();
    assert!(wrong.contains("the network needs"), "{wrong}");
}
