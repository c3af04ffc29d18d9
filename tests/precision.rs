//! Precision: operands rounded by a graph pass against rounding by hand, the search from the command line, its state, and the
//! format profile that reads what it found.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadweight::Error;
use deadweight::engine::{Backend, CandleEngine, EngineOptions, Session};
use deadweight::format::Precision;
use deadweight::graph::rounded::{Place, place, rounded};
use deadweight::graph::{Graph, Node, Params, Scope};
use deadweight::kernels::Isa;
use deadweight::layers::{Conv, Layer, Shape};
use deadweight::measure::{Quiet, Settings};
use deadweight::model::{LoadOptions, Model};
use deadweight::study::{Hooks, Numbers, PrecisionSearch, State};
use serde_json::Value;

use crate::binary::{fail, succeed, text};
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
    for (name, model) in [("llama", hf::stored()["llama"].load(1).unwrap()), ("verses", load("verses"))] {
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

fn load(name: &str) -> Model {
    Model::load(name, &LoadOptions::default()).unwrap()
}

/// The outcome of a search over `inputs` inputs of `name`, which stops after so many new networks, and the state at its end.
fn searched(name: &str, from: Option<State>, stop: Option<usize>) -> (Result<String, Error>, State) {
    let (model, backend) = (load(name), Backend::Native(EngineOptions::new(1)));
    let data = model.builtin_data().unwrap().unwrap();
    let settings = Settings { limit: Some(6), calibrate: usize::MAX, batch: 3, ..Settings::default() };
    let mut search = PrecisionSearch::new(&model, &backend, &data, &settings, Numbers::Fixed, &Quiet).unwrap();
    from.map_or(Ok(()), |state| search.resume(state)).unwrap();
    let new = Cell::new(0);
    let keep = |_: &State| {
        new.set(new.get() + 1);
        if stop == Some(new.get()) { Err(Error::Interrupted) } else { Ok(()) }
    };
    let outcome = search.run(0.02, &Hooks { monitor: &Quiet, say: &|_| {}, keep: &keep });
    (outcome.map(|outcome| outcome.to_toml()), search.state().clone())
}

#[test]
fn a_resumed_search_ends_as_one_that_was_not_stopped() {
    let (whole, all) = searched("photos", None, None);
    let (stopped, state) = searched("photos", None, Some(17));
    assert!(
        matches!(stopped, Err(Error::Interrupted)) && state.len() == 17 && all.len() > 40,
        "{} of {}",
        state.len(),
        all.len()
    );
    let state = State::from_bytes("state", &state.to_bytes()).unwrap();
    let (resumed, end) = searched("photos", Some(state), None);
    assert_eq!(whole.unwrap(), resumed.unwrap());
    assert_eq!(end, all);
    let (_, other) = searched("digits", None, Some(1));
    let error = other.check(&all).unwrap_err().to_string();
    assert!(error.contains("its network is digits, not photos"), "{error}");
}

/// A search of `args` into `name` in `folder`.
fn found(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.join(name);
    succeed(&[&["precision"], args, &["-o", text(&path)]].concat());
    path
}

#[test]
fn what_is_found_is_within_and_every_next_bit_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let digits: &[&str] = &["digits", "--limit", "10", "--tolerance", "11%"];
    let file = found(folder.path(), "digits.toml", digits);
    let stated: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let search = stated["search"].as_table().unwrap();
    assert!(search["loss"].as_float().unwrap() <= 0.11 && search["figure"].as_str() == Some("accuracy"));
    assert_eq!(stated["layers"].as_table().unwrap().len(), 10);
    // The same bytes for other threads, batches and levels.
    for (i, more) in [["--threads", "1"], ["--batch-size", "3"], ["--isa", "scalar"]].iter().enumerate() {
        let other = found(folder.path(), &format!("{i}.toml"), &[digits, more].concat());
        assert!(std::fs::read(&file).unwrap() == std::fs::read(&other).unwrap(), "{more:?}");
    }
    let check = String::from_utf8(succeed(&["precision", "digits", "--limit", "10", "--check", text(&file)])).unwrap();
    assert!(check.contains("conv1, weights"), "{check}");
    let (code, said) = fail(&["precision", "digits", "--limit", "9", "--check", text(&file)]);
    assert!(code == 2 && said.contains("10 other inputs"), "{code}: {said}");
    // A bit that could be taken.
    let wider =
        std::fs::read_to_string(&file).unwrap().replacen("next = { activations = ", "next = { activations = 1", 1);
    let path = folder.path().join("wider.toml");
    std::fs::write(&path, wider).unwrap();
    let (code, said) = fail(&["precision", "digits", "--limit", "10", "--check", text(&path)]);
    assert!(code == 5 && said.contains("with one bit less"), "{code}: {said}");
}

#[test]
fn the_format_profile_counts_in_the_bits_that_were_found() {
    let folder = tempfile::tempdir().unwrap();
    for (network, more, baseline) in
        [("verses", &[][..], 16), ("verses", &["--float"][..], 11), ("scenes", &[][..], 16)]
    {
        let file = found(folder.path(), "net.toml", &[&[network, "--limit", "2", "--tolerance", "3%"], more].concat());
        let stated: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        let measure = |more: &[&str], to: &str| {
            let path = folder.path().join(to);
            let line =
                [&["measure", network, "--limit", "2", "--precision", text(&file), "-o", text(&path)], more].concat();
            succeed(&line);
            path
        };
        let whole = measure(&[], "whole.dwm");
        let document: Value = serde_json::from_slice(&succeed(&["report", text(&whole), "--format", "json"])).unwrap();
        assert_eq!(document["format"]["name"], "profile");
        assert_eq!(document["format"]["precision"]["name"], "net.toml");
        assert_eq!(document["format"]["calibration_inputs"], 0);
        for layer in document["layers"].as_array().unwrap() {
            let of = stated["layers"][layer["name"].as_str().unwrap()].as_table().unwrap();
            for operand in ["activations", "weights"] {
                let bits: i64 = of[operand].as_table().unwrap().values().map(|bits| bits.as_integer().unwrap()).sum();
                let metrics = &layer[operand];
                assert_eq!(metrics["width.layer"]["value"].as_f64(), Some(bits as f64), "{network} {operand}");
                assert_eq!(metrics["bits"]["value"].as_f64(), Some(f64::from(baseline)));
            }
            let potential =
                |name: &str| layer["metrics"][format!("potential.{name}")]["with_padding"]["value"].as_f64();
            let p: i64 = of["activations"].as_table().unwrap().values().map(|bits| bits.as_integer().unwrap()).sum();
            assert_eq!(potential("Ap.layer"), Some(f64::from(baseline) / p as f64));
            assert!(potential("Ap.g256") >= potential("Ap.layer"));
        }
        // Parts merge, and not with those of another file.
        let parts = ["1/2", "2/2"].map(|part| measure(&["--shard", part], &format!("{}.dwm", &part[..1])));
        let merged = folder.path().join("merged.dwm");
        succeed(&["merge", text(&parts[0]), text(&parts[1]), "-o", text(&merged)]);
        assert!(std::fs::read(&whole).unwrap() == std::fs::read(&merged).unwrap());
        std::fs::write(&file, format!("# Another.\n{}", std::fs::read_to_string(&file).unwrap())).unwrap();
        let other = measure(&["--shard", "2/2"], "other.dwm");
        let (code, said) = fail(&["merge", text(&parts[0]), text(&other), "-o", text(&merged)]);
        assert!(code == 2 && said.contains("precision file"), "{code}: {said}");
    }
}

#[test]
fn wrong_files_and_flags_are_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = found(folder.path(), "digits.toml", &["digits", "--limit", "4", "--tolerance", "30%"]);
    let whole = std::fs::read_to_string(&file).unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let layer = whole.find("[layers.\"fc\"]").unwrap();
    let cases = [
        (
            write("model.toml", &whole.replace("model = \"digits\"", "model = \"scenes\"")),
            2,
            "is of scenes, the network is digits",
        ),
        (write("unknown.toml", &whole.replace("[layers.\"fc\"]", "[layers.\"fcc\"]")), 2, "near are fc"),
        (write("missing.toml", &whole[..layer]), 2, "states no precision of fc"),
        (write("bits.toml", &whole.replacen("integer = ", "integer = 4", 1)), 1, "may have 2 to 16"),
        (write("none.toml", "model = 1"), 1, "is no precision file: line 1"),
        (folder.path().join("absent.toml"), 3, "absent.toml"),
    ];
    for (path, code, want) in &cases {
        let (got, said) = fail(&["measure", "digits", "--limit", "1", "--precision", text(path)]);
        assert!(got == *code && said.contains(want), "{}: {got}: {said}", path.display());
    }
    // The layers that are chosen are enough.
    succeed(&["measure", "digits", "--limit", "1", "--precision", text(&cases[2].0), "--layers", "^conv|^layer"]);
    let state = write("state", "{}");
    for (line, code, want) in [
        (vec!["measure", "digits", "--number-format", "profile"], 2, "--precision FILE"),
        (vec!["measure", "digits", "--precision", text(&file), "--bits", "8"], 2, "cannot be used with"),
        (vec!["precision", "digits", "--quantize", "int8"], 2, "float networks"),
        (vec!["precision", "digits", "--tolerance", "1"], 2, "--tolerance"),
        (vec!["precision", "digits", "--checkpoint", text(&state)], 2, "--resume"),
        (vec!["precision", "digits", "--checkpoint", text(&state), "--resume"], 1, "is no state of a search"),
        (vec!["precision", "photos", "--check", text(&file)], 2, "is of digits, the network is photos"),
    ] {
        let (got, said) = fail(&line);
        assert!(got == code && said.contains(want), "{line:?}: {got}: {said}");
    }
    let path = folder.path().join("never.toml");
    let (code, said) =
        fail(&["precision", "photos", "--float", "--limit", "2", "--tolerance", "0%", "-o", text(&path)]);
    assert!(
        code == 2 && said.contains("--tolerance 0%: 11 bits of every operand lose") && said.contains("give at least"),
        "{said}"
    );
    assert!(!path.exists());
}
