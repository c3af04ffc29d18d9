//! The library as its users have it: its examples run, its surface is what is listed, and its items show how they are used.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use deadweight::prelude::*;

#[path = "../examples/classify.rs"]
mod classify;
#[path = "../examples/from_async.rs"]
mod from_async;
#[path = "../examples/measure_loop.rs"]
mod measure_loop;
#[path = "../examples/own_metric.rs"]
mod own_metric;
#[path = "../examples/own_network.rs"]
mod own_network;
#[path = "../examples/own_probe.rs"]
mod own_probe;

#[test]
fn the_examples_run() {
    from_async::main().unwrap();
    measure_loop::main().unwrap();
    own_metric::main().unwrap();
    own_network::main().unwrap();
    own_probe::main().unwrap();
    classify::classify("digits", Inputs::built_in()).unwrap();
}

#[test]
fn every_item_of_the_surface_shows_how_it_is_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/library");
    let mut items = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut shown = false;
        for line in text.lines() {
            let is_item =
                ["pub struct ", "pub trait ", "pub enum ", "pub fn "].iter().any(|item| line.starts_with(item));
            if line.starts_with("/// ```") {
                shown = true;
            } else if is_item {
                assert!(shown, "{}: {line} has no doc test", path.display());
                (items, shown) = (items + 1, false);
            } else if line.starts_with('}') {
                shown = false;
            }
        }
    }
    assert!(items > 15, "{items} items were found");
}

/// The surface as rustdoc has it; `.ci/run` shows how its JSON is made.
#[cfg(deadweight_rustdoc)]
#[test]
fn the_surface_is_what_is_listed() {
    let surface = public_api::Builder::from_rustdoc_json(env!("DEADWEIGHT_RUSTDOC_DIR"))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .unwrap();
    crate::docs::assert_current("public-api.txt", &surface.to_string());
}

fn is_send<T: Send>() {}
fn is_shared<T: Send + Sync>() {}

#[test]
fn what_is_said_of_threads_holds() {
    is_shared::<Model>();
    is_shared::<Run>();
    is_shared::<Tensor>();
    is_shared::<Net>();
    is_send::<Session>();
    is_send::<Measuring>();
}

/// Counts how often the value at row 0, column 0 of channel 0 was seen, by layer and input; and all values.
#[derive(Default)]
struct Corners {
    corners: Vec<(String, usize)>,
    values: u64,
}

impl Probe for Corners {
    type Local = Self;

    fn wants(&self, layer: &LayerInfo) -> Wants {
        if layer.is_mac() { Wants::INPUT | Wants::OUTPUT } else { Wants::NOTHING }
    }

    fn see(&self, local: &mut Self, tile: Tile<'_>) {
        for (place, _) in tile.values() {
            local.values += 1;
            if place == [0, 0, 0] {
                local.corners.push((format!("{} {:?}", tile.layer().name, tile.operand()), tile.image()));
            }
        }
    }

    fn merge(&mut self, local: Self) {
        self.corners.extend(local.corners);
        self.values += local.values;
    }
}

#[test]
fn a_probe_sees_each_value_once_in_the_place_that_it_has() {
    // Fused bands of rows, and whole layers.
    for name in ["mobilenetv2_035", "digits", "chapters"] {
        let model = if name.starts_with("mobile") { Model::load(name).random_weights(3) } else { Model::load(name) };
        let model = model.open().unwrap();
        let [c, h, w] = model.input_shape();
        let (x, count) = match model.task() {
            "language" => (Tensor::new([3, 20], (0..60).map(|i| (i * 7 % 50) as f32).collect()).unwrap(), 3),
            _ => (Tensor::zeros([2, c, h, w]), 2),
        };
        let mut session = model.session().threads(2).build().unwrap();
        let mut seen = Corners::default();
        let watched = session.run_with(&x, &mut seen).unwrap();
        assert_eq!(session.run(&x).unwrap(), watched, "{name}: a probe changed an output");
        let mut corners = seen.corners.clone();
        corners.sort();
        corners.dedup();
        assert_eq!(corners.len(), seen.corners.len(), "{name}: a value was seen twice");
        let macs = model.layers().iter().filter(|layer| layer.is_mac()).count();
        assert_eq!(corners.len(), 2 * macs * count, "{name}: a value was not seen");
    }
}

#[test]
fn what_a_session_captures_is_what_layers_compute() {
    let net = Net::build(Params::random(5), |n| {
        let x = n.conv("a", n.input(2), Conv::new(3, 3).padding(1)).relu();
        n.conv("b", x, Conv::new(20, 1))
    });
    let model = Model::from_net("captured", net.unwrap(), [2, 5, 4]).unwrap();
    let x = Tensor::new([2, 2, 5, 4], (0..80).map(|i| ((i * 13) % 11) as f32 - 5.0).collect()).unwrap();
    let mut session = model.session().threads(2).build().unwrap();
    let seen = session.capture(&x, ["a", "b"]).unwrap();
    assert_eq!(seen["a"].input, x);
    assert_eq!(seen["a"].output, seen["b"].input);
    assert_eq!(seen["b"].output, session.run(&x).unwrap());
    assert!(seen["a"].output.data().iter().all(|value| *value >= 0.0), "the fused ReLU is in it");
}

#[test]
fn wrong_networks_are_told_of_and_do_not_panic() {
    let kept = Mutex::new(Vec::new());
    let told = |define: &dyn Fn(&NetBuilder) -> Var<'_>| {
        let error = Net::build(Params::random(1), |n| define(n)).err().expect("it is wrong").to_string();
        kept.lock().unwrap().push(error.clone());
        error
    };
    let zero = |conv: Conv| told(&move |n| n.conv("wrong", n.input(4), conv));
    for (conv, said) in [
        (Conv::new(4, 3).stride(0), "stride of 0"),
        (Conv::new(4, 3).groups(0), "groups of 0"),
        (Conv::new(4, 0), "rows of 0"),
        (Conv::new(0, 3), "filters of 0"),
        (Conv::new(4, 3).dilation(0), "dilation of 0"),
        (Conv::new(4, 3).groups(3), "3 groups do not divide 4"),
    ] {
        let error = zero(conv);
        assert!(error.contains("wrong") && error.contains(said), "{error}");
    }
    assert!(told(&|n| n.input(0)).contains("0 channels"));
    assert!(told(&|n| n.input(3).max_pool(2, 0)).contains("stride 0"));
    assert!(told(&|n| n.linear("none", n.input(3), 0)).contains("no outputs"));
    assert!(told(&|n| n.input(3) + n.conv("c", n.input(3), Conv::new(4, 1))).contains("adds 3"));
    let large = Net::build(Params::random(1), |n| n.conv("c", n.input(1), Conv::new(1, 5))).unwrap();
    assert!(Model::from_net("small", large, [1, 3, 3]).is_err());
}

struct Panics;

impl Probe for Panics {
    type Local = ();

    fn wants(&self, _: &LayerInfo) -> Wants {
        Wants::INPUT
    }

    fn see(&self, (): &mut (), _: Tile<'_>) {
        panic!("the probe's own words");
    }

    fn merge(&mut self, (): ()) {}
}

#[test]
fn a_panic_in_a_probe_keeps_its_words() {
    let model = Model::load("digits").open().unwrap();
    for threads in [1, 3] {
        let mut session = model.session().threads(threads).build().unwrap();
        let x = Tensor::zeros([2, 1, 32, 32]);
        let run = std::panic::AssertUnwindSafe(|| session.run_with(&x, &mut Panics));
        let said = std::panic::catch_unwind(run).unwrap_err();
        assert_eq!(said.downcast_ref::<&str>(), Some(&"the probe's own words"));
        assert!(session.run(&x).is_ok(), "the session is whole");
    }
}

#[test]
fn clones_of_a_session_run_side_by_side() {
    let model = Model::load("digits").open().unwrap();
    let session = model.session().threads(1).build().unwrap();
    let images: Vec<Tensor> = model.inputs(Inputs::built_in()).unwrap().map(|input| input.unwrap().values).collect();
    let alone: Vec<Tensor> = images.iter().map(|image| session.clone().run(image).unwrap()).collect();
    let next = AtomicUsize::new(0);
    let together = Mutex::new(vec![None; images.len()]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut session = session.clone();
            let (images, next, together) = (&images, &next, &together);
            scope.spawn(move || {
                while let Some(image) = images.get(next.fetch_add(1, Relaxed)) {
                    let place = images.iter().position(|other| std::ptr::eq(other, image)).unwrap();
                    let output = session.run(image).unwrap();
                    together.lock().unwrap()[place] = Some(output);
                }
            });
        }
    });
    let together: Vec<Tensor> = together.into_inner().unwrap().into_iter().map(Option::unwrap).collect();
    assert_eq!(together, alone);
}

#[test]
fn a_run_from_memory_is_that_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits.dwm");
    crate::binary::succeed(&["measure", "digits", "-q", "-o", path.to_str().unwrap()]);
    let stored = Run::load(&path).unwrap();
    let model = Model::load("digits").open().unwrap();
    let run = model.measure(Inputs::built_in()).threads(2).batch(3).run().unwrap();
    assert_eq!(run.rows(), stored.rows());
    // The same inputs as tensors have other digests and the same counts.
    let labelled = model.inputs(Inputs::built_in()).unwrap().map(|input| {
        let input = input.unwrap();
        (input.values, input.label.unwrap())
    });
    let given = model.measure(Inputs::labelled(labelled)).run().unwrap();
    let numbers = |run: &Run| {
        let rows = run.rows().into_iter();
        rows.filter(|row| row.scope != "run")
            .map(|row| (row.layer, row.metric, row.numerator, row.denominator))
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&given), numbers(&run));
    let halves = [0..16, 16..32].map(|range| {
        let tensors = model.inputs(Inputs::built_in()).unwrap().map(|input| input.unwrap().values);
        let part: Vec<Tensor> = tensors.skip(range.start).take(range.len()).collect();
        model.measure(Inputs::tensors(part)).run().unwrap()
    });
    let error = halves[0].merged(&halves[1]).unwrap_err().to_string();
    assert!(error.contains("no part of the same run"), "{error}");
}

#[test]
fn sequences_and_texts_are_measured() {
    let model = Model::load("chapters").open().unwrap();
    let tokens = vec![vec![1, 2, 3, 4, 5], vec![7; 12]];
    let run = model.measure(Inputs::tokens(tokens)).run().unwrap();
    assert_eq!(run.inputs(), 2);
    assert!(run.layers().any(|layer| layer.kind() == "attention"));
    let run = model.measure(Inputs::texts(["Once upon a time", "there was a king"])).run().unwrap();
    assert!(run.network().macs().unwrap().dense > 0);
    for (inputs, said) in [
        (Inputs::tokens([vec![100_000]]), "is no token"),
        (Inputs::tokens([vec![]]), "holds no token"),
        (Inputs::tensors([Tensor::zeros([1, 2, 3])]), "reads tokens or texts"),
        (Inputs::tokens([]), "there are none"),
    ] {
        let error = model.measure(inputs).run().expect_err("it is wrong").to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn what_is_asked_for_wrongly_is_told() {
    let model = Model::load("digits").open().unwrap();
    let measure = || model.measure(Inputs::built_in()).limit(2);
    assert!(measure().number_format("fixed99").run().is_err());
    assert!(measure().encoder("morse").run().unwrap_err().to_string().contains("naf"));
    assert!(measure().metrics(["nothing"]).run().unwrap_err().to_string().contains("no metric"));
    assert!(measure().layers("(").run().is_err());
    assert!(model.measure(Inputs::tokens([vec![1]])).run().unwrap_err().to_string().contains("reads tensors"));
    let run = measure().run().unwrap();
    assert!(run.network().number("zeros").unwrap_err().to_string().contains("a.zeros"));
    assert!(run.network().potential("macs").is_err() && run.network().value("nothing").is_err());
    let mut session = model.session().build().unwrap();
    assert!(session.run(&Tensor::zeros([3, 32, 32])).is_err());
    assert!(session.run(&Tensor::zeros([1, 4])).is_err());
}

#[test]
fn a_layer_of_another_framework_is_counted_by_its_operands() {
    let mut state = 1_u64;
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 60) as f32 - 8.0).max(0.0)
    };
    let mut tensor =
        |shape: &[usize]| Tensor::new(shape, (0..shape.iter().product()).map(|_| value()).collect()).unwrap();
    let (a, w) = (tensor(&[2, 4, 5, 6]), tensor(&[6, 2, 3, 2]));
    let window = Window { stride: [2, 1], padding: [1, 0], dilation: [1, 2], groups: 2 };
    let run = count(&a, &w, window).unwrap().run().unwrap();
    let (mut dense, mut both) = (0, 0);
    for (n, k, p, q) in
        (0..2).flat_map(|n| (0..6).flat_map(move |k| (0..3).flat_map(move |p| (0..4).map(move |q| (n, k, p, q)))))
    {
        for (c, r, s) in (0..2).flat_map(|c| (0..3).flat_map(move |r| (0..2).map(move |s| (c, r, s)))) {
            let (y, x) = ((p * 2 + r) as isize - 1, q + 2 * s);
            let inside = (0..5).contains(&y);
            let at = |y: usize| a.data()[((n * 4 + k / 3 * 2 + c) * 5 + y) * 6 + x];
            let activation = if inside { at(y as usize) } else { 0.0 };
            let weight = w.data()[((k * 2 + c) * 3 + r) * 2 + s];
            dense += 1;
            both += u128::from(activation != 0.0 && weight != 0.0);
        }
    }
    let macs = run.network().macs().unwrap();
    assert_eq!((macs.dense, macs.effectual), (dense, both));
    // A product, of single vectors and of sequences of them.
    let (x, w) = (tensor(&[6, 8]), tensor(&[3, 8]));
    let effectual = |x: &Tensor| count(x, &w, Window::default()).unwrap().run().unwrap().network().macs().unwrap();
    let steps = Tensor::new([2, 3, 8], x.data().to_vec()).unwrap();
    assert_eq!(effectual(&x), effectual(&steps));
    assert!(count(&x, &tensor(&[3, 7]), Window::default()).is_err());
    assert!(count(&a, &tensor(&[6, 3, 3, 2]), window).is_err());
}
