//! The recurrence against its definition in f64, and against itself with the work shared differently.

use proptest::prelude::*;

use super::*;
use crate::kernels::{Isa, Pool};

/// Difference to sums in f64 of up to 513 products, relative to the largest value.
const TOLERANCE: f64 = 4e-6;

/// The definition, in f64.
fn plain(params: RecurrenceParams<'_>, x: &[f32], steps: usize, reverse: bool, state: &mut [Vec<f64>; 2]) -> Vec<f64> {
    let RecurrenceParams { cell, weight, bias, projection, hidden, outputs, rounding } = params;
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    let mut y = vec![0.0; outputs * steps];
    for step in 0..steps {
        let t = if reverse { steps - 1 - step } else { step };
        let before = state[0].clone();
        let read: Vec<f64> = before.iter().map(|&value| nearest(value, rounding[0])).collect();
        let mut middle = vec![0.0; hidden];
        for unit in 0..hidden {
            let input = |gate: usize| f64::from(x[(gate * hidden + unit) * steps + t]);
            let product = |gate: usize| {
                let row = gate * hidden + unit;
                let product: f64 = (0..outputs).map(|k| f64::from(weight[row * outputs + k]) * read[k]).sum();
                product + bias.map_or(0.0, |bias| f64::from(bias[row]))
            };
            let gate = |gate: usize| input(gate) + product(gate);
            middle[unit] = match cell {
                Cell::Lstm { clip } => {
                    let cell = sigmoid(gate(1)) * state[1][unit] + sigmoid(gate(0)) * gate(2).tanh();
                    state[1][unit] = cell.clamp(-f64::from(clip), f64::from(clip));
                    sigmoid(gate(3)) * state[1][unit].tanh()
                }
                Cell::Gru => {
                    let candidate = (input(2) + sigmoid(gate(0)) * product(2)).tanh();
                    (1.0 - sigmoid(gate(1))) * candidate + sigmoid(gate(1)) * before[unit]
                }
                Cell::Rnn(Activation::Relu) => gate(0).max(0.0),
                Cell::Rnn(_) => gate(0).tanh(),
            };
        }
        state[0] = match projection {
            None => middle,
            Some(rows) => rows
                .chunks(hidden)
                .map(|row| row.iter().zip(&middle).map(|(&w, &m)| f64::from(w) * nearest(m, rounding[1])).sum())
                .collect(),
        };
        (0..outputs).for_each(|k| y[k * steps + t] = state[0][k]);
    }
    y
}

fn nearest(value: f64, map: Option<CodeMap>) -> f64 {
    map.map_or(value, |map| f64::from(map.nearest(value as f32)))
}

fn cells() -> impl Strategy<Value = Cell> {
    let [tanh, relu] = [Activation::Tanh, Activation::Relu].map(Cell::Rnn);
    let unbounded = Cell::Lstm { clip: f32::INFINITY };
    prop::sample::select(vec![unbounded, Cell::Lstm { clip: 0.3 }, Cell::Gru, tanh, relu])
}

fn values(count: usize, seed: u32, size: f32) -> Vec<f32> {
    let value = |i: u32| ((i ^ seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
    (0..count as u32).map(|i| size * value(i)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn equals_the_definition_with_the_same_bits_however_it_is_shared(
        hidden in prop_oneof![4 => 1usize..40, 1 => Just(0usize)], steps in 1usize..7, images in 1usize..8, reverse in any::<bool>(), seed in any::<u32>(),
        projected in prop::option::of(1usize..40), cell in cells(),
    ) {
        // An LSTM alone has a projection.
        let (gates, projected) = (cell.gates(), projected.filter(|_| matches!(cell, Cell::Lstm { .. })));
        // None stands for as many as threads share.
        let hidden = if hidden > 0 { hidden } else { (1..).find(|hidden| gates * hidden * hidden > SHARED_STEP).unwrap() };
        let outputs = projected.unwrap_or(hidden);
        let weight = values(gates * hidden * outputs, seed, 1.5 / (outputs as f32).sqrt());
        let projection = projected.map(|outputs| values(outputs * hidden, seed ^ 9, 1.5 / (hidden as f32).sqrt()));
        let x = values(images * gates * hidden * steps, seed ^ 77, 2.0);
        let bias = values(gates * hidden, seed ^ 5, 0.5);
        let params = RecurrenceParams { cell, weight: &weight, bias: Some(&bias), projection: projection.as_deref(), hidden, outputs, rounding: [None; 2] };
        let packed = PackedRecurrence::new(params, reverse);
        let (xg, yg) = (Geometry::blocked(images, gates * hidden, 1, steps), Geometry::blocked(images, outputs, 1, steps));
        let mut from = vec![0.0; xg.len()];
        xg.pack(&x, &mut from);
        let mut first: Option<(Vec<f32>, Vec<f32>)> = None;
        for isa in Isa::available() {
            for threads in [1, 2, 3] {
                let pool = Pool::new(threads);
                let mut y = vec![0.0; yg.len()];
                let mut states = vec![0.0; images * packed.state_len()];
                // Twice: the second run starts from the state of the first.
                packed.run(&Exec::new(&pool, isa), images, (&from, &xg), (&mut y, &yg), &mut states, None);
                let once = yg.unpack(&y);
                packed.run(&Exec::new(&pool, isa), images, (&from, &xg), (&mut y, &yg), &mut states, None);
                let twice = yg.unpack(&y);
                for image in 0..images {
                    let mut state = [vec![0.0; outputs], vec![0.0; hidden]];
                    let part = &x[image * gates * hidden * steps..][..gates * hidden * steps];
                    // Hidden values are up to 1, but those of a ReLU, which grow with their errors.
                    let mut largest = 1.0f64;
                    for got in [&once, &twice] {
                        let want = plain(params, part, steps, reverse, &mut state);
                        let got = &got[image * outputs * steps..][..outputs * steps];
                        let apart = got.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                        largest = want.iter().fold(largest, |largest, want| largest.max(want.abs()));
                        prop_assert!(apart < TOLERANCE * largest, "{apart} apart, of up to {largest}");
                    }
                    for (unit, want) in state[0].iter().enumerate() {
                        let state = &states[image * packed.state_len()..][..packed.state_len()];
                        let got = packed.read_of(state).nth(unit).unwrap();
                        prop_assert!((f64::from(got) - want).abs() < TOLERANCE * largest);
                    }
                }
                let bits = first.get_or_insert_with(|| (once.clone(), twice.clone()));
                prop_assert!(bits.0 == once && bits.1 == twice, "{} {threads} threads: other bits", isa.name());
            }
        }
    }
}

#[test]
fn what_a_step_reads_is_rounded_and_what_it_gives_is_not() {
    let [coarse, fine] = [CodeMap::linear(8.0, -15, 15), CodeMap::linear(64.0, -127, 127)];
    let (hidden, steps) = (19, 5);
    let unbounded = Cell::Lstm { clip: f32::INFINITY };
    for (cell, projected) in
        [(unbounded, None), (unbounded, Some(7)), (Cell::Gru, None), (Cell::Rnn(Activation::Tanh), None)]
    {
        let (gates, outputs) = (cell.gates(), projected.unwrap_or(hidden));
        let weight = values(gates * hidden * outputs, 3, 0.4);
        let projection = projected.map(|outputs| values(outputs * hidden, 9, 0.4));
        let x = values(gates * hidden * steps, 77, 2.0);
        let rounding = [Some(coarse), projected.map(|_| fine)];
        let params = RecurrenceParams {
            cell,
            weight: &weight,
            bias: None,
            projection: projection.as_deref(),
            hidden,
            outputs,
            rounding,
        };
        let packed = PackedRecurrence::new(params, false);
        let pool = Pool::new(2);
        let run = |isa: Isa, x: &[f32], steps: usize, states: &mut [f32]| {
            let (xg, yg) = (Geometry::blocked(1, gates * hidden, 1, steps), Geometry::blocked(1, outputs, 1, steps));
            let (mut from, mut y) = (vec![0.0; xg.len()], vec![0.0; yg.len()]);
            xg.pack(x, &mut from);
            packed.run(&Exec::new(&pool, isa), 1, (&from, &xg), (&mut y, &yg), states, None);
            yg.unpack(&y)
        };
        for isa in Isa::available() {
            let mut whole = vec![0.0; packed.state_len()];
            let all = run(isa, &x, steps, &mut whole);
            // Step by step, each from the values that the engine has: so none falls on another side of a half.
            let mut states = vec![0.0; packed.state_len()];
            for step in 0..steps {
                let of_step: Vec<f32> = x.iter().skip(step).step_by(steps).copied().collect();
                let cells = states.chunks(packed.block_len()).take(packed.blocks());
                let cells = cells.flat_map(|block| block.get(LANES..).unwrap_or(&[0.0; LANES])).take(hidden);
                let read = packed.read_of(&states).map(f64::from).collect();
                let mut state = [read, cells.map(|&c| f64::from(c)).collect()];
                let want = plain(params, &of_step, 1, false, &mut state);
                let got = run(isa, &of_step, 1, &mut states);
                for (unit, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert!((f64::from(*got) - want).abs() < 1e-5, "{cell:?} {projected:?}: {got} {want}");
                    assert_eq!(got.to_bits(), all[unit * steps + step].to_bits(), "step by step");
                }
            }
            assert!(states == whole);
            assert!(all.iter().any(|value| coarse.nearest(*value) != *value), "outputs are as they are");
        }
    }
}
