//! The same bits on every machine: the smallest network of each family, on every level, thread count and batch size.

use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::graph::{Graph, Params, passes};
use deadweight::kernels::Isa;
use deadweight::layers::{Layer, Shape};
use deadweight::models::{self, Card, FAMILIES};

/// MACs up to which eight images are run, and one of larger networks.
const LARGEST: u64 = 1 << 29;

/// The network of `card` with random weights, as the program runs it.
fn network(card: &Card) -> Arc<Graph> {
    let (graph, _) = models::build(card, Params::Random(5)).unwrap();
    Arc::new(passes::fuse_epilogue(&passes::fold_norm(&graph)))
}

fn extent(card: &Card, name: &str) -> Option<usize> {
    card.input.get(name)?.as_integer().map(|value| value as usize)
}

/// The smallest of some inputs that `graph` accepts, and its values: floats, or token ids below a bound.
fn input(card: &Card, graph: &Graph) -> (Shape, Option<usize>) {
    let rows = graph.nodes.iter().find_map(|def| match &def.layer {
        Layer::Embedding(embedding) if def.inputs[0].index() == 0 => Some(embedding.rows()),
        _ => None,
    });
    if rows.is_some() {
        return (Shape::new(1, 1, card.arch.get("window").map_or(7, |w| w.as_integer().unwrap() as usize)), rows);
    }
    if let Some(chunk) = extent(card, "chunk") {
        let rows = chunk + extent(card, "context").unwrap() + extent(card, "reflect").unwrap();
        return (Shape::new(1, rows, 5), None);
    }
    let size = card.input["size"].as_array().unwrap();
    let [h, w] = [0, 1].map(|i| size[i].as_integer().unwrap() as usize);
    let channels = extent(card, "channels").unwrap();
    let sides = [16, 24, 32, 48, 64, 96].map(|side| (side, side + 8));
    let fits = |&(h, w): &(usize, usize)| graph.shapes(Shape::new(channels, h, w)).is_ok();
    let (h, w) = sides.into_iter().find(fits).unwrap_or((h, w));
    (Shape::new(channels, h, w), None)
}

fn run(graph: &Arc<Graph>, shape: Shape, x: &[f32], (isa, threads, batch): (Isa, usize, usize)) -> Vec<u32> {
    let options = EngineOptions { isa, ..EngineOptions::new(threads) };
    let mut session = Session::new(Arc::clone(graph), shape, batch, options).unwrap();
    let outputs = x.chunks(batch * shape.elements()).flat_map(|part| session.run(part, None).unwrap());
    outputs.map(f32::to_bits).collect()
}

/// Values of an input, or ids of one of `rows` tokens.
fn values(count: usize, rows: Option<usize>) -> Vec<f32> {
    let value = |i: usize| match rows {
        Some(rows) => (i * 7919 % rows) as f32,
        None => ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0,
    };
    (0..count).map(value).collect()
}

/// The smallest network of each family.
fn smallest() -> impl Iterator<Item = &'static Card> {
    FAMILIES.iter().map(|family| {
        let of_family = models::cards().iter().filter(|card| card.family == family.name);
        of_family.min_by_key(|card| card.macs.unwrap_or(u64::MAX)).unwrap()
    })
}

#[test]
fn every_family_gives_the_same_bits_everywhere() {
    for card in smallest() {
        let graph = network(card);
        let (shape, rows) = input(card, &graph);
        let images = if graph.macs(shape).unwrap() > LARGEST { 1 } else { 8 };
        let x = values(images * shape.elements(), rows);
        let want = run(&graph, shape, &x, (Isa::best(), 1, 1));
        assert!(want.iter().any(|&bits| bits != want[0]), "{}: gives one value alone", card.name);
        for isa in Isa::available() {
            for (threads, batch) in [(1, 3), (2, 1), (2, 8)] {
                let got = run(&graph, shape, &x, (isa, threads, batch));
                let apart = got.iter().zip(&want).filter(|(a, b)| a != b).count();
                let how = format!("{}, {threads} threads, batch {batch}", isa.name());
                assert!(apart == 0 && got.len() == want.len(), "{} of {shape}: {how}: {apart} differ", card.name);
            }
        }
    }
}

#[test]
fn a_session_for_another_size_gives_the_bits_of_a_new_one() {
    let mut resized = 0;
    for card in smallest() {
        let graph = network(card);
        let (shape, rows) = input(card, &graph);
        let bits = |session: &mut Session, shape: Shape| {
            let y = session.run(&values(2 * shape.elements(), rows), None).unwrap();
            y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let new = |shape: Shape, batch: usize| Session::new(Arc::clone(&graph), shape, batch, EngineOptions::new(2));
        let mut session = new(shape, 2).unwrap();
        let sizes = [(1, 2), (0, 1), (8, 8), (64, 40)].map(|(down, across)| {
            // A sequence has one row.
            let h = if shape.h == 1 { 1 } else { shape.h + down };
            Shape { h, w: shape.w + across, ..shape }
        });
        for (i, other) in sizes.into_iter().chain([shape, shape]).enumerate() {
            if graph.macs(other).map_or(true, |macs| macs > LARGEST) {
                continue;
            }
            let batch = 2 + i % 2;
            let (mut fresh, before) = (new(other, batch).unwrap(), session);
            session = before.resized(other, batch).unwrap();
            assert!(bits(&mut session, other) == bits(&mut fresh, other), "{} of {other} differs", card.name);
            resized += usize::from(other != shape);
        }
    }
    assert!(resized > FAMILIES.len(), "only {resized} other sizes were run");
}
