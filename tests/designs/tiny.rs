//! Layers so small that their cycles are worked by hand.

use std::sync::Arc;

use deadweight::designs::terms::Terms;
use deadweight::designs::{Counts, Design, Layer, Setup};
use deadweight::kernels::count::Encoder;
use deadweight::tally::LayerShape;

/// A fully connected layer of `filters` over `steps` vectors of features, `[features][steps]`.
fn run(name: &str, parameters: &[(&str, i64)], activations: &[&[i32]], filters: &[&[i32]]) -> Counts {
    let mut setup = Setup::published(Design::named(name).unwrap());
    for (parameter, value) in parameters {
        setup.set(parameter, *value, "the test").unwrap();
    }
    let (steps, features) = (activations.len(), activations[0].len());
    let shape = LayerShape::steps(features, steps, filters.len());
    let terms = Arc::new(Terms::new(Encoder::Naf));
    let layer = Layer::new(&shape, &filters.concat(), [16, 16], &terms, false);
    let codes: Vec<i32> = (0..features).flat_map(|channel| activations.iter().map(move |step| step[channel])).collect();
    setup.design.settled((setup.design.run)(&setup, &layer.over(&codes)), [3, 2])
}

/// One filter of 20 features: two bricks.
const ONES: &[i32] = &[1; 20];

fn vector(codes: &[i32]) -> Vec<i32> {
    codes.iter().copied().chain([0; 20]).take(20).collect()
}

#[test]
fn dense_takes_a_cycle_a_brick() {
    let x = vector(&[1, 2]);
    let counts = run("dense", &[("tiles", 1), ("filters", 2)], &[&x, &x], &[ONES]);
    // 2 windows of 2 bricks; 20 of 2 · 16 lanes of 1 of 2 filters have an operand.
    assert_eq!(counts, Counts { cycles: 4, work: 40, floor: 0, shape: 2 * (2 * 32 - 20), ..Counts::default() });
}

#[test]
fn cnvlutin_takes_as_long_as_its_fullest_lane() {
    let mut x = vector(&[1, 0, 3]);
    x[16] = 5;
    // Lane 0 has brick 0 with two non-zero activations, lane 1 brick 1 with one, 14 lanes have none.
    let counts = run("cnvlutin", &[("tiles", 1), ("filters", 1)], &[&x], &[ONES]);
    assert_eq!(counts, Counts { cycles: 2, work: 3, floor: 0, shape: 28, ..Counts::default() });
    // A brick of nothing takes a cycle.
    x[16] = 0;
    assert_eq!(run("cnvlutin", &[("tiles", 1), ("filters", 1)], &[&x], &[ONES]).floor, 1);
}

#[test]
fn stripes_takes_the_bits_of_the_layer() {
    let x = vector(&[1, 2]);
    let counts = run("stripes", &[("tiles", 1), ("filters", 1), ("windows", 2)], &[&x, &x, &x], &[ONES]);
    // 3 windows are 2 pallets of 2 bricks of 3 bits each.
    assert_eq!((counts.cycles, counts.work), (12, 3 * 20 * 3));
}

#[test]
fn shapeshifter_takes_the_bits_of_the_widest() {
    let (x, y) = (vector(&[1, 2]), vector(&[-7]));
    let counts = run("shapeshifter", &[("tiles", 1), ("filters", 1), ("windows", 2)], &[&x, &y], &[ONES]);
    // The first brick needs 3 bits and a sign, the second takes a cycle for nothing; alone, x would need 2 bits and y 4.
    assert_eq!(counts, Counts { cycles: 5, work: 16 * 2 + 16 * 4, floor: 2 * 4, shape: 2 * 12, ..Counts::default() });
}

#[test]
fn loom_takes_the_bits_of_both() {
    let x = vector(&[1, 2]);
    let counts = run("loom", &[("filters", 1), ("windows", 1)], &[&x], &[ONES]);
    // 2 bits of activations and 2 of weights; the second brick takes a cycle for each bit of weights.
    assert_eq!((counts.cycles, counts.work), (2 * 2 + 2, 16 * 2 * 2));
}

#[test]
fn bit_fusion_takes_two_cycles_for_each_wide_operand() {
    let x = vector(&[1, 2]);
    let counts = run("bit-fusion", &[("rows", 16), ("columns", 1)], &[&x], &[ONES, ONES]);
    // 20 channels are 2 steps of 16 units, for each of 2 filters; 16 × 16 bits are 4 cycles and 64 lanes of 2 × 2.
    assert_eq!((counts.cycles, counts.work), (2 * 2 * 4, 2 * 20 * 64));
}

#[test]
fn pragmatic_feeds_terms_within_reach() {
    // 9 = 8 + 1, 2 = 2: with all shifts at once two cycles, one power at a time three.
    let x = vector(&[9, 2]);
    let cycles = |stage: i64| {
        run("pragmatic", &[("tiles", 1), ("filters", 1), ("windows", 1), ("first_stage", stage)], &[&x], &[ONES]).cycles
    };
    assert_eq!([cycles(4), cycles(0)], [2 + 1, 3 + 1]);
}

#[test]
fn pragmatic_windows_run_ahead_with_registers() {
    // Bricks of 3 and 1 terms, and of 1 and 3: in step 3 + 3, each by itself 4.
    let (mut x, mut y) = (vector(&[0b1_0101]), vector(&[1]));
    (x[16], y[16]) = (1, 0b1_0101);
    let cycles = |registers: i64| {
        let grid = [("tiles", 1), ("filters", 1), ("windows", 2), ("registers", registers)];
        run("pragmatic", &grid, &[&x, &y], &[ONES]).cycles
    };
    assert_eq!([cycles(0), cycles(1)], [6, 4]);
}

#[test]
fn laconic_takes_the_product_of_terms() {
    let (x, mut w) = (vector(&[5, 1]), vector(&[5, 21]));
    // 2 · 2 and 1 · 3 terms: 4 cycles; nothing in the second brick: 1.
    assert_eq!(run("laconic", &[("tiles", 1), ("filters", 1), ("windows", 1)], &[&x], &[&w]).cycles, 4 + 1);
    w[1] = 0b1_0101_0101;
    assert_eq!(run("laconic", &[("tiles", 1), ("filters", 1), ("windows", 1)], &[&x], &[&w]).cycles, 5 + 1);
}

#[test]
fn tactical_passes_weights_that_are_zero() {
    let x = vector(&[5; 20]);
    // The first brick has a place free in lane 0, which takes the weight of brick 1 in its own lane.
    let mut w = vector(&[1; 16]);
    (w[0], w[16]) = (0, 1);
    let cycles = |ahead: i64, aside: i64, w: &[i32]| {
        let grid = [("tiles", 1), ("filters", 1), ("windows", 1), ("lookahead", ahead), ("lookaside", aside)];
        run("tactical-e", &grid, &[&x], &[w]).cycles
    };
    // Two terms a cycle.
    assert_eq!([cycles(0, 0, &w), cycles(1, 0, &w)], [4, 2]);
    // The free place is in lane 1, beside the weight.
    w.swap(0, 1);
    assert_eq!([cycles(1, 0, &w), cycles(1, 2, &w)], [4, 2]);
}

#[test]
fn a_layer_of_one_window_gives_each_column_filters_of_its_own() {
    let x = vector(&[1, 2]);
    let grid = [("tiles", 1), ("filters", 1), ("windows", 2)];
    // 3 filters are 2 passes of 2 columns, each of 2 bricks of 3 bits; the second pass has an idle column.
    let counts = run("stripes", &grid, &[&x], &[ONES, ONES, ONES]);
    let shape = (4 * 32 - 3 * 20) * 3;
    assert_eq!(counts, Counts { cycles: 2 * 2 * 3, work: 3 * 20 * 3, floor: 0, shape, ..Counts::default() });
    // As many windows as columns share the weights of a filter.
    assert_eq!(run("stripes", &grid, &[&x, &x], &[ONES, ONES, ONES]).cycles, 3 * 2 * 3);
}

#[test]
fn lanes_of_serial_designs_are_named() {
    // Two windows of one brick of 16 and one of 4 channels; one filter of two.
    let (mut x, y) = (vector(&[5, 1]), vector(&[1]));
    x[16] = 3;
    let grid = [("tiles", 1), ("filters", 2), ("windows", 2)];
    // First brick: 2 cycles for the terms of 5, 4 terms in all; second: 3 = 4 - 1 takes 2, of 2 terms, y has none there.
    let counts = run("pragmatic", &[&grid[..], &[("registers", 0)]].concat(), &[&x, &y], &[ONES]);
    // Of 64 lanes, one filter is absent (4 cycles of 32), and 12 lanes of each window of the second brick: x takes 2 cycles, y one.
    let shape = 4 * 32 + 12 * 2 + 12;
    assert_eq!(counts, Counts { cycles: 4, work: 6, floor: 4, shape, ..Counts::default() });
    // Laconic: weights of one term; a step of 2 cycles, then one of 2; none is of nothing.
    let counts = run("laconic", &grid, &[&x, &y], &[ONES]);
    let shape = 2 * (64 - 32) + 2 * (64 - 8);
    assert_eq!(counts, Counts { cycles: 4, work: 6, floor: 0, shape, ..Counts::default() });
    // Weights of the first brick alone: Tactical passes the second at once.
    let counts = run("tactical-e", &grid, &[&x, &y], &[&vector(&[1; 16])]);
    assert_eq!(counts, Counts { cycles: 2, work: 4, floor: 0, shape: 2 * (64 - 32), ..Counts::default() });
}

#[test]
fn bit_wave_takes_the_columns_that_have_a_one() {
    let (x, w) = (vector(&[1]), vector(&[4, -2]));
    // Columns 2, 1 and the sign; nothing in the second brick.
    let counts = run("bit-wave", &[("tiles", 1), ("filters", 1), ("windows", 1)], &[&x], &[&w]);
    assert_eq!(counts, Counts { cycles: 4, work: 3 * 16, floor: 4, shape: 12, ..Counts::default() });
}

#[test]
fn tensor_cores_skip_half() {
    let x = vector(&[1; 20]);
    let sparse: Vec<i32> = [1, 0, 1, 0].repeat(5);
    let grid = [("tiles", 1), ("filters", 1), ("windows", 1)];
    let counts = run("tensor-core-2:4", &grid, &[&x], &[&sparse]);
    // 32 places of two bricks in one cycle, of which 5 blocks have 2 weights.
    assert_eq!(counts, Counts { cycles: 1, work: 10, floor: 0, shape: 6, ..Counts::default() });
    assert_eq!(run("tensor-core-2:4", &grid, &[&x], &[ONES]).cycles, 2);
}

#[test]
fn a_systolic_array_fills_and_drains() {
    let x = vector(&[1, 0, 2]);
    let counts = run("systolic", &[("rows", 2), ("columns", 2)], &[&x, &x, &x], &[ONES]);
    // 3 windows are 2 folds of 20 channels, and 2·2 + 2 - 2 cycles to fill and drain.
    assert_eq!(
        counts,
        Counts { cycles: 2 * (20 + 4), work: 60, floor: 0, shape: 2 * 20 * 4 - 60, ..Counts::default() }
    );
    let gated = run("systolic-gated", &[("rows", 2), ("columns", 2)], &[&x, &x, &x], &[ONES]);
    assert_eq!((gated.cycles, gated.work, gated.floor), (counts.cycles, 6, 54));
}

#[test]
fn scnn_multiplies_all_by_all() {
    // A channel of one pixel and 6 filters with a weight: 2 vectors of weights a channel; a channel of nothing takes none.
    let x = vector(&[1, 0, 2]);
    let filters = [ONES; 6];
    let counts = run("scnn", &[("rows", 1), ("columns", 1), ("banks", 32)], &[&x], &filters);
    assert_eq!((counts.cycles, counts.work), (2 * 2, 12));
    // Filters 0 and 4 share a bank of 4, and so do 1 and 5 of the next vector.
    let counts = run("scnn", &[("rows", 1), ("columns", 1), ("weights", 6), ("banks", 4)], &[&x], &filters);
    assert_eq!(counts.cycles, 2 * 2);
}

/// On operands without a zero, SCNN takes more cycles than as many dense multipliers, as its paper says.
#[test]
fn scnn_is_slower_than_dense_multipliers_on_dense_operands() {
    let shape = LayerShape {
        input: [32, 16, 16],
        output: [64, 16, 16],
        weight: [64, 32, 3, 3],
        padding: [1; 4],
        features: false,
        ..LayerShape::linear([1, 1, 1], 1)
    };
    let layer = Layer::new(&shape, &[1; 64 * 32 * 9], [16, 16], &Arc::new(Terms::new(Encoder::Naf)), false);
    let input = layer.over(&[1; 32 * 16 * 16]);
    let [scnn, mut dense] = ["scnn", "dense"].map(|name| Setup::published(Design::named(name).unwrap()));
    dense.set("tiles", 4, "the test").unwrap();
    assert_eq!(scnn.lanes(), dense.lanes());
    let [scnn, dense] = [scnn, dense].map(|setup| (setup.design.run)(&setup, &input).cycles);
    assert!(scnn > dense && scnn < 3 * dense, "{scnn} {dense}");
}
