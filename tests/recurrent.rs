//! Recurrent networks of any size under any names, against PyTorch and Keras (`reference/make_recurrent.py`), and against
//! themselves cut into segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::graph::{Graph, Params, Scope};
use deadweight::kernels::Isa;
use deadweight::layers::{Cell, Layer, Lstm, Recurrent, Shape};
use deadweight::models::{self, Card};
use deadweight::weights::Weights;
use proptest::prelude::*;
use serde::Deserialize;

use crate::naive;

/// Largest difference allowed, relative to the root mean square of the reference.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    cell: String,
    what: String,
    tensors: BTreeMap<String, Vec<usize>>,
    steps: usize,
    every: usize,
    logits: Vec<f32>,
}

/// The generator of the script.
fn fill(name: &str, shape: &[usize]) -> Vec<f32> {
    let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let scale = if shape.len() == 1 { 0.4 } else { 2.0 / (shape[shape.len() - 1] as f32).sqrt() };
    let mut value = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    (0..shape.iter().product()).map(|_| value()).collect()
}

/// A card that says nothing but what a step computes.
fn card(cell: &str) -> Card {
    let arch = format!("arch = {{ cell = \"{cell}\", vocabulary = 1, embedding = 1, hidden = [1], tied = true }}");
    let text = format!(
        "name = \"any\"\nfamily = \"rnn\"\ntask = \"language\"\ndescription = \"\"\ninput = {{ steps = 8 }}\n{arch}"
    );
    Card::parse("any", &text).unwrap()
}

fn built(cell: &str, tensors: &BTreeMap<String, Vec<usize>>) -> deadweight::Result<(Graph, String)> {
    let tensors = tensors.iter().map(|(name, shape)| (name.clone(), shape.clone(), fill(name, shape)));
    models::build(&card(cell), Params::Stored(Weights::from_tensors("any", tensors).unwrap()))
}

fn native(graph: &Graph, shape: Shape, x: &[f32]) -> Vec<f32> {
    Session::new(Arc::new(graph.clone()), shape, 1, EngineOptions::new(2)).unwrap().run(x, None).unwrap()
}

fn candle(graph: &Graph, shape: Shape, x: &[f32]) -> Vec<f32> {
    CandleEngine::new(graph, candle_core::Device::Cpu).unwrap().run(x, shape, None).unwrap()
}

fn references() -> Vec<Reference> {
    serde_json::from_str(include_str!("reference/recurrent.json")).unwrap()
}

#[test]
fn networks_of_any_size_and_names_compute_what_their_libraries_do() {
    let mut wrong = vec![];
    for Reference { cell, what, tensors, steps, every, logits } in references() {
        let (graph, _) = built(&cell, &tensors).unwrap_or_else(|error| panic!("{cell}, {what}: {error}"));
        let counted: usize = tensors.values().map(|shape| shape.iter().product::<usize>()).sum();
        assert_eq!(graph.parameters(), counted, "{cell}, {what}");
        let rows = graph.nodes.iter().find_map(|def| match &def.layer {
            Layer::Embedding(embedding) => Some(embedding.rows()),
            _ => None,
        });
        let ids: Vec<f32> = (0..steps).map(|i| (i * 7919 % rows.unwrap()) as f32).collect();
        let classes = graph.def(graph.output()).channels;
        for (name, executor) in [
            ("native", native as fn(&Graph, Shape, &[f32]) -> Vec<f32>),
            ("candle", candle),
            ("plain loops", naive::run),
        ] {
            let y = executor(&graph, Shape::new(1, 1, steps), &ids);
            // Step by step, as the script has them.
            let y: Vec<f32> =
                (0..steps * classes).map(|i| y[i % classes * steps + i / classes]).step_by(every).collect();
            assert_eq!(y.len(), logits.len(), "{cell}, {what}");
            let square: f64 = logits.iter().map(|&v| f64::from(v).powi(2)).sum();
            let rms = (square / logits.len() as f64).sqrt();
            let apart = y.iter().zip(&logits).map(|(a, b)| f64::from((a - b).abs()) / rms).fold(0.0, f64::max);
            if apart > TOLERANCE {
                wrong.push(format!("{cell}, {what}: {name} is {apart:.1e} from the library"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn old_and_new_names_of_tensorflow_are_one_network() {
    let tensors = |prefix: &str, several: bool, [weights, biases]: [&str; 2]| {
        let cell = |i: usize| if several { format!("multi_rnn_cell/cell_{i}/") } else { "rnn/".into() };
        let mut named = vec![("embedding".to_owned(), vec![30, 12])];
        for i in 0..if several { 2 } else { 1 } {
            named.push((format!("{}basic_lstm_cell/{weights}", cell(i)), vec![if i == 0 { 12 + 20 } else { 40 }, 80]));
            named.push((format!("{}basic_lstm_cell/{biases}", cell(i)), vec![80]));
        }
        named.extend([("softmax_w".to_owned(), vec![20, 30]), ("softmax_b".to_owned(), vec![30])]);
        let value = |(i, (name, shape)): (usize, (String, Vec<usize>))| {
            (format!("{prefix}{name}"), shape.clone(), fill(&i.to_string(), &shape))
        };
        named.into_iter().enumerate().map(value).collect::<Vec<_>>()
    };
    let ids: Vec<f32> = (0..9).map(|i| (i * 7 % 30) as f32).collect();
    let run = |tensors: Vec<(String, Vec<usize>, Vec<f32>)>| {
        let (graph, _) =
            models::build(&card("lstm"), Params::Stored(Weights::from_tensors("any", tensors).unwrap())).unwrap();
        native(&graph, Shape::new(1, 1, 9), &ids)
    };
    for several in [false, true] {
        let spelt = [["weights", "biases"], ["kernel", "bias"]];
        let outputs: Vec<Vec<f32>> = ["", "rnnlm/", "model/rnnlm/"]
            .iter()
            .flat_map(|prefix| spelt.map(|spelt| run(tensors(prefix, several, spelt))))
            .collect();
        assert!(outputs.iter().all(|y| *y == outputs[0]), "{several}");
    }
}

#[test]
fn weights_alone_give_a_card_or_say_why_not() {
    let cards = |tensors: &BTreeMap<String, Vec<usize>>, kind: Option<&str>| {
        let values = tensors.iter().map(|(name, shape)| (name.clone(), shape.clone(), fill(name, shape)));
        models::recognise(&Weights::from_tensors("w.pt", values).unwrap(), kind)
    };
    let refused = |tensors: &BTreeMap<String, Vec<usize>>, kind: Option<&str>, want: &str| {
        let error = cards(tensors, kind).unwrap_err().to_string();
        assert!(error.contains(want), "{want}: {error}");
    };
    let of = |cell: &str, what: &str| {
        references().into_iter().find(|case| case.cell == cell && case.what == what).unwrap().tensors
    };
    for kind in [None, Some("rnn"), Some("gru")] {
        let card = cards(&of("gru", "2 layers"), kind).unwrap();
        assert_eq!((card.name.as_str(), card.arch["hidden"].to_string()), ("gru", "[19, 19]".into()));
        assert_eq!((card.arch["vocabulary"].as_integer(), card.arch["embedding"].as_integer()), (Some(40), Some(12)));
        let (graph, naming) = models::build(&card, Params::Declared).unwrap();
        let counted: usize = of("gru", "2 layers").values().map(|shape| shape.iter().product::<usize>()).sum();
        assert_eq!((graph.parameters(), naming.as_str()), (counted, "pytorch"));
    }
    assert_eq!(cards(&of("lstm", "Keras"), None).unwrap().naming, Some(models::Naming::Keras));
    refused(&of("gru", "2 layers"), Some("lstm"), "it is of gru, not of lstm");
    refused(&of("gru", "both directions without biases"), None, "both directions");
    refused(&of("rnn_tanh", "both directions"), Some("rnn"), "both directions");
    let plain = of("rnn_relu", "3 layers without biases");
    refused(&plain, None, "give --arch rnn_tanh or --arch rnn_relu");
    let card = cards(&plain, Some("rnn")).unwrap();
    assert!(card.notes[0].contains("a tanh is taken") && card.arch["cell"].as_str() == Some("rnn_tanh"));
    assert_eq!(cards(&plain, Some("rnn_relu")).unwrap().notes, [""; 0]);
}

/// Of tied tensors safetensors stores one; its metadata have the other name.
#[test]
fn a_tied_decoder_is_found_by_either_name() {
    let mut tensors = references().into_iter().find(|case| case.what == "tied").unwrap().tensors;
    let table = tensors.remove("embed.weight").unwrap();
    let ids: Vec<f32> = (0..9).map(|i| (i * 7 % 31) as f32).collect();
    let outputs = [("embed.weight", "lm_head.weight"), ("lm_head.weight", "embed.weight")].map(|(stored, alias)| {
        let named = tensors.iter().map(|(name, shape)| (name.as_str(), name.as_str(), shape));
        let named = named.chain([(stored, "table", &table)]);
        let values: Vec<_> = named
            .map(|(name, from, shape)| {
                (name, shape, fill(from, shape).iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
            })
            .collect();
        let views = values.iter().map(|(name, shape, bytes)| {
            (*name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, (*shape).clone(), bytes).unwrap())
        });
        let metadata = [(alias.to_owned(), stored.to_owned()), ("format".to_owned(), "pt".to_owned())];
        let bytes = safetensors::serialize(views, Some(metadata.into_iter().collect())).unwrap();
        let weights = Weights::from_bytes("tied", bytes).unwrap();
        assert_eq!(weights.read_f32(alias).unwrap(), weights.read_f32(stored).unwrap());
        assert!(weights.names().all(|name| name != alias && name != "format"));
        let card = models::recognise(&weights, None).unwrap();
        assert_eq!(card.arch["tied"].as_bool(), Some(true));
        let (graph, _) = models::build(&card, Params::Stored(weights)).unwrap();
        native(&graph, Shape::new(1, 1, 9), &ids)
    });
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn every_wrong_shape_is_listed() {
    let Reference { tensors, .. } =
        references().into_iter().find(|case| case.what == "2 layers" && case.cell == "gru").unwrap();
    let mut damaged = tensors.clone();
    damaged.insert("rnn.weight_ih_l1".into(), vec![57, 20]);
    damaged.insert("rnn.bias_hh_l0".into(), vec![56]);
    damaged.insert("decoder.bias".into(), vec![39]);
    damaged.insert("rnn.extra".into(), vec![3]);
    let error = built("gru", &damaged).map(|_| ()).unwrap_err().to_string();
    for part in [
        "rnn.weight_ih_l1: is [57, 20], the network needs [57, 19]",
        "rnn.bias_hh_l0: is [56]",
        "decoder.bias: is [39]",
        "rnn.extra: left over",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = built("lstm", &tensors).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("rnn.weight_hh_l0: is of gru, card any is of lstm"), "{error}");
}

/// Layers of every kind, forwards.
fn stack(cells: &[Option<Cell>], hidden: usize, projected: Option<usize>, seed: u64) -> Graph {
    let net = Scope::new(Params::Random(seed));
    let mut x = net.input(5);
    for (i, &cell) in cells.iter().enumerate() {
        let at = net.at(i);
        let gates = cell.map_or(4, Cell::gates);
        let outputs = projected.filter(|_| cell.is_none()).unwrap_or(hidden);
        let input = at.parameter("weight", &[gates * hidden, at.channels(x)]);
        let y = at.linear_steps(x, input, None, false);
        let weight = at.parameter("hidden.weight", &[gates * hidden, outputs]);
        let (bias, reverse) = (Some(at.parameter("bias", &[gates * hidden])), false);
        x = match cell {
            Some(cell) => at.recurrent(y, Recurrent { cell, weight, bias, reverse, rounding: None }),
            None => {
                let projection = projected.map(|outputs| at.parameter("projection.weight", &[outputs, hidden]));
                at.lstm(y, Lstm { weight, bias, projection, reverse, clip: None, integer: None, rounding: [None; 2] })
            }
        };
    }
    net.finish(x).unwrap().0
}

#[test]
fn states_of_another_size_are_refused() {
    let session = |hidden: usize, batch: usize| {
        let graph = Arc::new(stack(&[Some(Cell::Gru), None], hidden, None, 1));
        let mut session = Session::new(graph, Shape::new(5, 1, 2), batch, EngineOptions::new(1)).unwrap();
        session.carry_states();
        session
    };
    let states = session(20, 1).states();
    session(20, 1).set_states(&states).unwrap();
    session(20, 1).set_states(&[]).unwrap();
    for (hidden, batch) in [(40, 1), (20, 2)] {
        let error = session(hidden, batch).set_states(&states).unwrap_err().to_string();
        assert!(error.contains("are of [32, 64] values"), "{error}");
    }
    assert!(session(20, 1).set_states(&states[1..]).is_err());
}

fn cells() -> impl Strategy<Value = Vec<Option<Cell>>> {
    prop::collection::vec(prop::sample::select(vec![None, Some(Cell::Gru), Some(Cell::Tanh), Some(Cell::Relu)]), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn segments_with_carried_states_are_the_whole_bit_for_bit(
        cells in cells(), hidden in 1usize..40, projected in prop::option::of(1usize..20), seed in any::<u64>(),
        cuts in prop::collection::vec(1usize..6, 1..5), images in 1usize..4,
    ) {
        let graph = Arc::new(stack(&cells, hidden, projected, seed));
        let (channels, steps) = (graph.def(graph.output()).channels, cuts.iter().sum::<usize>());
        let x = |image: usize, c: usize, t: usize| ((image * 977 + c * 31 + t * 7) as f32 * 0.37).sin();
        let input = |from: usize, count: usize| -> Vec<f32> {
            (0..images * 5 * count).map(|i| x(i / (5 * count), i / count % 5, from + i % count)).collect()
        };
        let session = |isa: Isa, threads: usize, steps: usize| {
            Session::new(Arc::clone(&graph), Shape::new(5, 1, steps), images, EngineOptions { isa, ..EngineOptions::new(threads) }).unwrap()
        };
        let whole = session(Isa::best(), 1, steps).run(&input(0, steps), None).unwrap();
        for (isa, threads) in Isa::available().into_iter().zip([2, 1, 3].into_iter().cycle()) {
            let (mut states, mut from) = (vec![], 0);
            for &count in &cuts {
                // A new session each time: the states are all that goes on.
                let mut part = session(isa, threads, count);
                part.carry_states();
                part.set_states(&states).unwrap();
                let y = part.run(&input(from, count), None).unwrap();
                for (i, got) in y.iter().enumerate() {
                    let (row, t) = (i / count, from + i % count);
                    let want = whole[row * steps + t];
                    prop_assert!(got.to_bits() == want.to_bits(), "{}: {cells:?}, row {row} of {channels}, step {t}", isa.name());
                }
                (states, from) = (part.states(), from + count);
            }
        }
    }
}
