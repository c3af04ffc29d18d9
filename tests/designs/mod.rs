//! Designs: cycles against slow loops, work against potentials, and what must hold between designs.

mod line;
mod page;
mod slow;
mod tiny;

use std::sync::Arc;

use deadweight::designs::terms::Terms;
use deadweight::designs::{ALL, Counts, Design, Input, Layer, Sample, Setup};
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

/// Halves of a sample have as many windows, none twice, and give, on windows that are all the same, what all of them do.
#[test]
fn a_sample_stands_for_all_windows() {
    let shape = LayerShape {
        input: [4, 32, 32],
        output: [8, 32, 32],
        weight: [8, 4, 1, 1],
        features: false,
        ..LayerShape::linear([4, 1, 1], 8)
    };
    let layer = Layer::new(&shape, &[3; 32], [16, 16], &Arc::new(Terms::new(Encoder::Naf)), false);
    let sample = Sample { per_mille: 100, seed: 7 };
    let halves = sample.halves(&layer, 3).unwrap();
    let mut places: Vec<u32> = halves.iter().flat_map(|half| half.places.clone()).collect();
    assert_eq!(halves.each_ref().map(|half| half.windows), [64; 2]);
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 128);
    assert_ne!(
        places,
        sample.halves(&layer, 4).unwrap().iter().flat_map(|half| half.places.clone()).collect::<Vec<_>>()
    );
    let input = layer.over(&[5; 4 * 32 * 32]);
    for design in ALL.into_iter().filter(|design| !design.name.starts_with("systolic")) {
        let setup = Setup::published(design);
        let all = Design::count(&setup, &input, None);
        assert_eq!(Design::count(&setup, &input, Some(&halves)), all, "{}", design.name);
    }
    assert!(Sample { per_mille: 999, seed: 7 }.halves(&layer, 3).is_none());
}

/// What is kept of a run on a design adds.
#[test]
fn counts_are_kept_as_they_are() {
    let counts = Counts { cycles: 5, work: 7, floor: 1, shape: 2, first_half: 4 };
    let kept: DesignCounts = counts.fields();
    assert_eq!(Counts::of_fields(kept), counts);
    assert_eq!(counts.imbalance(3), 5);
    let _: fn(&Setup, &Input<'_>) -> Counts = ALL[0].run;
}
