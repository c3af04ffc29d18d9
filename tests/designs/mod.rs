//! Designs: cycles against slow loops, work against potentials, and what must hold between designs.

mod line;
mod page;
mod slow;
mod tiny;

use std::sync::Arc;

use deadweight::designs::terms::Terms;
use deadweight::designs::{ALL, Counts, Design, Layer, Sample, Setup};
use deadweight::kernels::count::Encoder;
use deadweight::metrics::{Options, Subject, Which};
use deadweight::tally::{DesignCounts, LayerShape};
use proptest::prelude::*;

use super::oracle::{Layout, Problem, convolutions, linears, modes, sequences, transposed};
use slow::Slow;

/// The layers of a problem, ready to run, and the slow ones.
struct Case {
    layer: Layer,
    /// The codes of each input.
    inputs: Vec<Vec<i32>>,
    weights: Vec<i32>,
    words: [u32; 2],
}

impl Case {
    fn new(problem: &Problem, is_serial: bool) -> Self {
        let (codings, weights) = (problem.codings(), problem.weights());
        let maps = problem.format.weights.weight_maps(&codings[1], &weights, problem.shape.weight[0]);
        let filter = weights.len().div_ceil(maps.len()).max(1);
        let weights: Vec<i32> =
            weights.chunks(filter).zip(&maps).flat_map(|(filter, map)| filter.iter().map(|&x| map.code(x))).collect();
        let map = problem.map();
        let codes: Vec<i32> = problem.inputs().iter().map(|&x| map.code(x)).collect();
        let inputs = codes.chunks(codes.len() / problem.images).map(<[i32]>::to_vec).collect();
        let words = codings.map(|coding| coding.word());
        let terms = Arc::new(Terms::new(problem.encoder));
        Self { layer: Layer::new(&problem.shape, &weights, words, &terms, is_serial), inputs, weights, words }
    }

    fn run(&self, setup: &Setup) -> Counts {
        let mut all = Counts::default();
        self.inputs.iter().for_each(|codes| all.add((setup.design.run)(setup, &self.layer.over(codes))));
        all
    }
}

/// A small random design of that kind: shapes that leave lanes idle come up often.
fn small(design: &'static Design, seed: u64) -> Setup {
    let mut setup = Setup::published(design);
    let mut state = seed;
    for parameter in design.parameters {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (least, most) = (*parameter.range.start(), (*parameter.range.end()).min(9));
        let value = least + (state >> 33) as usize % (most - least + 1);
        setup.set(parameter.name, value as i64, "the test").unwrap();
    }
    setup
}

fn problems() -> impl Strategy<Value = (Problem, bool)> {
    let integers = |problem: Problem| !problem.format.both().iter().any(|format| !format.is_calibrated());
    let any = prop_oneof![
        4 => (convolutions(), Just(false)),
        1 => (linears(), Just(false)),
        2 => (sequences(), any::<bool>()),
        1 => (transposed(), Just(false)),
    ];
    any.prop_filter("integers", move |(problem, _)| integers(problem.clone()))
}

fn check(problem: &Problem, is_serial: bool, seed: u64) -> Result<(), TestCaseError> {
    let case = Case::new(problem, is_serial);
    let tally = problem.tally(Layout::Planar);
    let codings = problem.codings();
    let subject = Subject::layer(&tally, &codings, Options { encoder: problem.encoder, min_one: false });
    let cells = problem.metrics(&tally, false);
    let precisions = Which::OF_MACS.map(|which| subject.layer_width(which).unwrap() as u32);
    let baseline = [Which::Activations, Which::Weights].map(|which| subject.bits(which) as u32);
    for design in ALL {
        for setup in [Setup::published(design), small(design, seed)] {
            let counts = case.run(&setup);
            let slow = case.inputs.iter().map(|codes| {
                let codes = [codes.clone(), case.weights.clone()];
                Slow::new(&problem.shape, codes, case.words, problem.encoder, is_serial).cycles(&setup)
            });
            prop_assert_eq!(counts.cycles, slow.sum::<u64>(), "{} {:?}", design.name, setup);
            let settled = design.settled(counts, precisions);
            // Every lane-cycle has one name.
            let Counts { cycles, work, floor, shape, .. } = settled;
            let lanes = setup.lanes();
            prop_assert!(work + floor + shape <= cycles * lanes, "{} {:?}: {:?}", design.name, setup, settled);
            // The work is that of the idea, to the bit. Only where groups of the layer begin within the 16 channels of a group of METRICS, a
            // design's bricks are other groups, and their widths are not those.
            let is_aligned = problem.shape.groups == 1 || problem.shape.weight[1].is_multiple_of(16);
            let is_of_groups = |name: &str| name.contains("Ap") && name != "Ap.layer";
            if let Some(name) = design.potential.filter(|name| is_aligned || !is_of_groups(name)) {
                let (_, cost) = modes(&cells, &format!("potential.{name}"))[0];
                prop_assert_eq!(
                    u128::from(work) * u128::from((design.bits)(baseline)),
                    cost,
                    "{} {:?}",
                    design.name,
                    setup
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cycles_are_those_of_slow_loops(((problem, is_serial), seed) in (problems(), any::<u64>())) {
        check(&problem, is_serial, seed)?;
    }

    #[test]
    fn more_of_a_design_is_never_slower(((problem, is_serial), seed) in (problems(), any::<u64>())) {
        let case = Case::new(&problem, is_serial);
        let cycles = |design: &'static Design, name: &str, value: i64| {
            let mut setup = small(design, seed);
            setup.set(name, value, "the test").unwrap();
            case.run(&setup).cycles
        };
        let pragmatic = Design::named("pragmatic").unwrap();
        for registers in [0, 1, 2, 5] {
            prop_assert!(cycles(pragmatic, "registers", registers + 1) <= cycles(pragmatic, "registers", registers));
        }
        for stage in 0..4 {
            prop_assert!(cycles(pragmatic, "first_stage", stage + 1) <= cycles(pragmatic, "first_stage", stage));
        }
        let cnvlutin = Design::named("cnvlutin").unwrap();
        prop_assert!(cycles(cnvlutin, "empty_brick", 0) <= cycles(cnvlutin, "empty_brick", 1));
        let core = Design::named("tensor-core-2:4").unwrap();
        prop_assert!(cycles(core, "whole", 0) <= cycles(core, "whole", 1));
    }
}

/// A layer of 1 × 1 taps over `extent`² pixels, whose weights are all the same.
fn uniform(extent: usize) -> Layer {
    let shape = LayerShape {
        input: [4, extent, extent],
        output: [8, extent, extent],
        weight: [8, 4, 1, 1],
        features: false,
        ..LayerShape::linear([4, 1, 1], 8)
    };
    Layer::new(&shape, &[3; 32], [16, 16], &Arc::new(Terms::new(Encoder::Naf)), false)
}

/// Halves of a sample have as many windows, none twice, and give, on windows that are all the same, what all of them do: also where
/// windows are no multiple of those that a design reads side by side.
#[test]
fn a_sample_stands_for_all_windows() {
    let sample = Sample { per_mille: 100, seed: 7 };
    let pragmatic = Setup::published(Design::named("pragmatic").unwrap());
    let layer = uniform(32);
    let places = |layer: &Layer, place: usize| -> Vec<u32> {
        let parts = sample.parts(layer, place, &pragmatic).unwrap();
        parts.halves.iter().flat_map(|half| half.places.clone()).collect()
    };
    let mut drawn = places(&layer, 3);
    assert_ne!(drawn, places(&layer, 4));
    // 64 blocks of 16 windows: 2 halves of 4.
    assert_eq!(drawn.len(), 128);
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 128);
    assert!(drawn.chunks(16).all(|block| block[0] % 16 == 0 && block[15] == block[0] + 15));
    // Of 7 · 7 windows, 3 blocks and one more: two blocks are drawn, and the one.
    let small = uniform(7);
    assert_eq!(sample.parts(&small, 3, &pragmatic).unwrap().rest.unwrap().places, [48]);
    let mut sampled = 0;
    for (extent, windows) in [(32, 16), (32, 64), (32, 5), (7, 16), (7, 4)] {
        let layer = uniform(extent);
        let input = layer.over(&vec![5; 4 * extent * extent]);
        for design in ALL {
            let mut setup = Setup::published(design);
            if setup.find("windows").is_some() {
                setup.set("windows", windows, "the test").unwrap();
            }
            let (all, parts) = (Design::count(&setup, &input, None), sample.parts(&layer, 3, &setup));
            sampled += usize::from(parts.is_some());
            assert_eq!(Design::count(&setup, &input, parts.as_ref()), all, "{} of {windows}", design.name);
        }
    }
    // All but those whose time depends on no activation, and scnn.
    assert_eq!(sampled, 5 * 7);
    assert!(Sample { per_mille: 999, seed: 7 }.parts(&layer, 3, &pragmatic).is_none());
}

/// What is drawn differs from seed to seed, by as much as its standard error says.
#[test]
fn the_error_of_a_sample_is_that_of_other_draws() {
    let layer = uniform(32);
    let codes: Vec<i32> = (0..4 * 32 * 32).map(|i| (i * i % 1009) * 31 % 4093 - 2046).collect();
    let (input, setup) = (layer.over(&codes), Setup::published(Design::named("laconic").unwrap()));
    let all = Design::count(&setup, &input, None).cycles as f64;
    let draws = (0..200).map(|seed| {
        let parts = Sample { per_mille: 200, seed }.parts(&layer, 0, &setup).unwrap();
        let counts = Design::count(&setup, &input, Some(&parts));
        [counts.cycles as f64 - all, counts.cycles as f64 - counts.first_half as f64]
    });
    let [mut squares, mut stated] = [0.0, 0.0];
    for [error, of_halves] in draws {
        squares += error.powi(2) / 200.0;
        stated += of_halves.powi(2) / 200.0;
    }
    // Drawn without return, the error is smaller by what is not left out: 14 of 64 blocks.
    let ratio = squares / stated;
    assert!(squares > 0.0 && (0.5..1.3).contains(&ratio), "{squares} and {stated}");
}

/// What is kept of a run on a design adds.
#[test]
fn counts_are_kept_as_they_are() {
    let counts = Counts { cycles: 5, work: 7, floor: 1, shape: 2, first_half: 4 };
    let kept: DesignCounts = counts.fields();
    assert_eq!(Counts::of_fields(kept), counts);
    assert_eq!(counts.imbalance(3), 5);
}
