//! Images in bands of rows: the bits of the whole image, every row observed once, less memory.

use std::sync::Arc;

use deadweight::engine::{Backend, Banded, EngineOptions, Plan, Session};
use deadweight::graph::{Graph, Params, passes};
use deadweight::layers::Shape;
use deadweight::models;
use proptest::prelude::*;

use crate::engines::{Row, WatchAll, images};

/// A network that restores images, smaller than its card has it.
fn network(card: &str, changes: &str) -> Arc<Graph> {
    let mut card = models::card(card).unwrap().clone();
    card.arch.extend(changes.parse::<toml::Table>().unwrap());
    let (graph, _) = models::build(&card, Params::Random(3)).unwrap();
    Arc::new(passes::fuse_epilogue(&passes::fold_norm(&graph)))
}

fn networks() -> impl Strategy<Value = (Arc<Graph>, usize)> {
    // With the number that rows must be a multiple of.
    prop::sample::select(vec![
        ("dncnn_gray", "depth = 5\nwidth = 16", 1),
        ("dncnn_gray_bn", "depth = 4\nwidth = 20", 1),
        ("dncnn_sigma2_color", "depth = 3\nwidth = 33", 1),
        ("ircnn_color", "width = 16", 1),
        ("ircnn_color", "width = 64", 1),
        ("ffdnet_gray", "depth = 4\nwidth = 32", 2),
        ("drunet_color", "widths = [16, 32, 16]\nblocks = 1", 4),
        ("demosaicnet_bayer", "depth = 3\nwidth = 16", 2),
    ])
    .prop_map(|(card, changes, multiple)| (network(card, changes), multiple))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bands_have_the_bits_of_the_whole_and_show_each_row_once(
        (graph, multiple) in networks(), rows in 180usize..400, columns in 20usize..29, part in 2usize..9, winograd in any::<bool>(),
        threads in 1usize..3,
    ) {
        let [h, w] = [rows, columns].map(|side: usize| side.next_multiple_of(multiple));
        let shape = Shape::new(graph.nodes[0].channels, h, w);
        let x = images(shape.elements());
        let options = EngineOptions { winograd, ..EngineOptions::new(threads) };
        let mut whole = Session::new(Arc::clone(&graph), shape, 1, options.clone()).unwrap();
        let bytes = Plan::new(&graph, shape, 1, true).unwrap().bytes();
        let options = EngineOptions { memory: bytes / part, ..options };
        let banded = Banded::new(&graph, shape, &options).unwrap();
        let Some(mut banded) = banded else {
            return Err(TestCaseError::reject("the rows around a band are most of the image"));
        };
        prop_assert!(banded.bytes() < 2 * bytes);
        let watches = [(); 2].map(|()| WatchAll::new(&graph));
        let want = whole.run(&x, Some(&watches[0])).unwrap();
        let got = banded.run(&x, Some(&watches[1])).unwrap();
        prop_assert_eq!(want.len(), got.len());
        let other = want.iter().zip(&got).position(|(a, b)| a.to_bits() != b.to_bits());
        prop_assert!(other.is_none(), "other bits at {other:?} of {h}x{w}");
        let plain = banded.run(&x, None).unwrap();
        prop_assert!(plain.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits()));
        let [all, parts] = watches.map(WatchAll::seen);
        prop_assert!(all[1][1..].iter().all(|seen| !seen.is_empty()), "outputs are shown");
        for (i, (all, parts)) in all.iter().flatten().zip(parts.iter().flatten()).enumerate() {
            let node = i % graph.nodes.len();
            let places = |seen: &[Row]| seen.iter().map(|(_, y, block, _)| (*y, *block)).collect::<Vec<_>>();
            prop_assert_eq!(places(all), places(parts), "rows of {}", graph.nodes[node].name);
            prop_assert!(all.iter().zip(parts).all(|(a, b)| a.3 == b.3), "values of {}", graph.nodes[node].name);
        }
    }
}

#[test]
fn bands_begin_at_whole_tiles_of_dilated_layers() {
    let graph = network("ircnn_color", "width = 64");
    let shape = Shape::new(graph.nodes[0].channels, 300, 24);
    let x = images(shape.elements());
    let options = EngineOptions::new(2);
    let mut whole = Session::new(Arc::clone(&graph), shape, 1, options.clone()).unwrap();
    assert!(graph.handles().any(|node| whole.kernel(node) == "winograd3"));
    let memory = Plan::new(&graph, shape, 1, true).unwrap().bytes() / 2;
    let mut banded = Banded::new(&graph, shape, &EngineOptions { memory, ..options }).unwrap().expect("several bands");
    let (want, got) = (whole.run(&x, None).unwrap(), banded.run(&x, None).unwrap());
    assert!(want.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn networks_that_need_all_rows_are_run_whole() {
    let graph = Arc::new(models::build(models::card("resnet20-cifar").unwrap(), Params::Random(0)).unwrap().0);
    let options = EngineOptions { memory: 1, ..EngineOptions::new(1) };
    assert!(Banded::new(&graph, Shape::new(3, 32, 32), &options).unwrap().is_none());
}

/// End to end: ranges, counts and quality of a measurement do not depend on the memory limit.
#[test]
fn a_measurement_is_the_same_in_bands() {
    use deadweight::input::{Dataset, Degradation};
    use deadweight::measure::{Quiet, Settings, calibrate, measure};
    use deadweight::model::{LoadOptions, Model};
    use deadweight::report::{self, Report};

    let folder = tempfile::tempdir().unwrap();
    for (name, w, h) in [("a", 40, 300), ("b", 33, 120), ("c", 40, 300)] {
        let pixel = |x: u32, y: u32| image::Luma([(x * 7 + y * 3 + name.as_bytes()[0] as u32 + (x * y) % 91) as u8]);
        image::GrayImage::from_fn(w, h, pixel).save(folder.path().join(format!("{name}.png"))).unwrap();
    }
    let options = LoadOptions { random: Some(5), ..LoadOptions::default() };
    let mut model = Model::load("ffdnet_gray", &options).unwrap();
    model.graph = network("ffdnet_gray", "depth = 4\nwidth = 16");
    let settings = Settings { batch: 2, ..Settings::default() };
    let documents = [1 << 30, 200_000, 1].map(|memory| {
        let data = Dataset::open(&[folder.path().to_owned()], &model.preprocess).unwrap();
        let data = data.degraded(Degradation::Noise { sigma: 25.0, seed: 1 });
        let backend = Backend::Native(EngineOptions { memory, ..EngineOptions::new(2) });
        let calibration = calibrate(&model, &backend, &data, &settings, &Quiet).unwrap();
        let measurement = measure(&model, &backend, &data, &calibration, &Quiet).unwrap();
        report::to_json(&report::document(&Report::new(&measurement)))
    });
    assert!(documents[0].contains("\"psnr_db\"") && documents[0].contains("null"), "{}", documents[0]);
    assert!(documents[0] == documents[1] && documents[0] == documents[2]);
}
