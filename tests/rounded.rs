//! Operands rounded by a graph pass, against rounding by hand and on every engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::format::Precision;
use deadweight::graph::rounded::{Place, place, rounded};
use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::kernels::Isa;
use deadweight::layers::{Conv, Layer, Shape};
use deadweight::model::{LoadOptions, Model};

use crate::{hf, naive};

/// `value` in fixed point of `integer` and `fraction` bits, by the definition.
fn by_hand(value: f64, integer: i32, fraction: i32) -> f64 {
    let most = 2f64.powi(integer + fraction - 1) - 1.0;
    (value * 2f64.powi(fraction)).round_ties_even().clamp(-most, most) / 2f64.powi(fraction)
}

/// Every weight of `graph` as a multiple of 1/16, so that sums of products are exact in any order.
fn exact(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for def in &mut graph.nodes {
        if let Layer::Conv(conv) = &mut def.layer {
            conv.weight.data = conv.weight.data.iter().map(|w| (w * 16.0).round() / 16.0).collect();
        }
    }
    graph
}

fn native(graph: &Graph, shape: Shape, x: &[f32], isa: Isa, threads: usize) -> Vec<f32> {
    let options = EngineOptions { isa, winograd: false, ..EngineOptions::new(threads) };
    Session::new(Arc::new(graph.clone()), shape, 1, options).unwrap().run(x, None).unwrap()
}

#[test]
fn the_pass_is_rounding_by_hand() {
    let net = Scope::new(Params::Random(5));
    let x = net.input(3);
    let a = net.at("a").conv(x, Conv::new(17, 3).padding(1));
    let y = net.relu(a);
    let b = net.at("b").conv(y, Conv::new(5, 1));
    let c = net.at("c").conv(y, Conv::new(5, 1));
    let sum = net.add(b, c);
    let graph = exact(&net.finish(sum).unwrap().0);
    let shape = Shape::new(3, 6, 7);
    let input: Vec<f32> = (0..shape.elements()).map(|i| ((i * 37) % 65) as f32 / 16.0 - 2.0).collect();
    let fixed = |integer: i32, fraction: i32| Precision::Fixed { integer, fraction };
    let bits = [
        ((a, Place::Input(0)), (2, 2)),
        ((a, Place::Weights), (0, 3)),
        ((b, Place::Input(0)), (3, 1)),
        ((b, Place::Weights), (1, 2)),
        ((c, Place::Input(0)), (2, 3)),
    ];
    let maps = bits.iter().map(|(at, (integer, fraction))| (*at, fixed(*integer, *fraction).map())).collect();
    let got = rounded(&graph, &maps);
    // By hand: the layers one by one, on values that are rounded before.
    let bits: BTreeMap<(Node, Place), (i32, i32)> = bits.into_iter().collect();
    let layer = |node: Node, input: &[f64], (h, w): (usize, usize)| -> Vec<f64> {
        let Layer::Conv(conv) = &graph.def(node).layer else { panic!("a convolution") };
        let round = |value: f64, place: Place| match bits.get(&(node, place)) {
            Some(&(integer, fraction)) => by_hand(value, integer, fraction),
            None => value,
        };
        let (k, half) = (conv.kernel.0, conv.kernel.0 as isize / 2);
        let mut output = Vec::new();
        for (filter, row, column) in
            (0..conv.out_channels).flat_map(|f| (0..h).flat_map(move |y| (0..w).map(move |x| (f, y, x))))
        {
            let mut sum = 0.0;
            for (channel, r, s) in
                (0..conv.in_channels).flat_map(|c| (0..k).flat_map(move |r| (0..k).map(move |s| (c, r, s))))
            {
                let (y, x) = (row as isize + r as isize - half, column as isize + s as isize - half);
                if (0..h as isize).contains(&y) && (0..w as isize).contains(&x) {
                    let value = input[(channel * h + y as usize) * w + x as usize];
                    let weight = f64::from(conv.weight.data[((filter * conv.in_channels + channel) * k + r) * k + s]);
                    sum += round(value, Place::Input(0)) * round(weight, Place::Weights);
                }
            }
            output.push(sum);
        }
        output
    };
    let size = (6, 7);
    let input64: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    let middle: Vec<f64> = layer(a, &input64, size).into_iter().map(|x| x.max(0.0)).collect();
    let both = [b, c].map(|node| layer(node, &middle, size));
    let want: Vec<f64> = both[0].iter().zip(&both[1]).map(|(b, c)| b + c).collect();
    for isa in Isa::available() {
        for threads in [1, 2] {
            let got = native(&got, shape, &input, isa, threads);
            assert!(got.iter().zip(&want).all(|(got, want)| f64::from(*got) == *want), "{}", isa.name());
        }
    }
    let plain = naive::run(&got, shape, &input);
    assert!(plain.iter().zip(&want).all(|(got, want)| f64::from(*got) == *want), "plain loops");
    let candle = CandleEngine::new(&got, candle_core::Device::Cpu).unwrap().run(&input, shape, None).unwrap();
    assert!(candle.iter().zip(&want).all(|(got, want)| f64::from(*got) == *want), "candle");
    assert!(
        native(&graph, shape, &input, Isa::best(), 1).iter().zip(&want).any(|(got, want)| f64::from(*got) != *want)
    );
}

#[test]
fn attention_and_recurrences_round_alike_on_all_engines() {
    for (name, model) in [
        ("llama", hf::stored()["llama"].load(1).unwrap()),
        ("verses", Model::load("verses", &LoadOptions::default()).unwrap()),
    ] {
        // So fine that sums in other orders seldom fall on other sides of a half, so coarse that it shows.
        let precision = Precision::Float { significand: 6 };
        let layers = model.graph.handles().filter(|node| match &model.graph.def(*node).layer {
            Layer::Attention(_) | Layer::Linear(_) => true,
            layer => layer.recurrence().is_some(),
        });
        let places = layers.flat_map(|node| {
            let is_attention = matches!(model.graph.def(node).layer, Layer::Attention(_));
            let products = if is_attention { vec![false, true] } else { vec![false] };
            let graph = &model.graph;
            products
                .into_iter()
                .flat_map(move |inside| [0, 1].map(|operand| (node, place(graph, node, inside, operand))))
        });
        let graph = rounded(&model.graph, &places.map(|place| (place, precision.map())).collect());
        let shape = Shape::new(1, 1, 11);
        let x: Vec<f32> = (0..11).map(|i| ((7 * i * i + 2) % 23) as f32).collect();
        let want = native(&graph, shape, &x, Isa::SCALAR, 1);
        for isa in Isa::available() {
            let got = native(&graph, shape, &x, isa, 2);
            assert!(got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{name} {}", isa.name());
        }
        let largest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let apart = |other: &[f32]| want.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        let candle = CandleEngine::new(&graph, candle_core::Device::Cpu).unwrap().run(&x, shape, None).unwrap();
        let plain = native(&model.graph, shape, &x, Isa::best(), 1);
        // Some values fall on the other side of a half.
        assert!(
            apart(&candle) < 0.3 * apart(&plain),
            "{name}: {} from candle, {} from plain",
            apart(&candle),
            apart(&plain)
        );
        assert!(apart(&naive::run(&graph, shape, &x)) < 0.3 * apart(&plain), "{name}: plain loops");
    }
}
