//! A systolic array whose units keep the outputs: windows come from the left, filters from above.
//!
//! ```text
//!           filter 0  filter 1 ...
//! window 0 →  acc  →    acc  →          a channel a cycle; the array fills, and drains its outputs, before and after
//!              ↓         ↓
//! window 1 →  acc  →    acc  →
//! ```

use super::layer::{BRICK, Input};
use super::{Counts, Design, Parameter, Setup};

const ROWS: Parameter =
    Parameter { name: "rows", default: 64, range: 1..=1024, meaning: "units of a column, of windows" };
const COLUMNS: Parameter =
    Parameter { name: "columns", default: 64, range: 1..=1024, meaning: "units of a row, of filters" };

/// The array.
pub static SYSTOLIC: Design = Design {
    name: "systolic",
    definition: "multiplies every operand, each handed on from unit to unit",
    waits: "units for operands to arrive and outputs to leave",
    source: "SCALE-Sim, arXiv 1811.02883 (output stationary; cycles of its analytical model), with as many units as dense has",
    potential: None,
    parameters: &[ROWS, COLUMNS],
    lanes: |setup| setup.get(ROWS.name) * setup.get(COLUMNS.name),
    bits: |[a, w]| a * w,
    run,
    windows: None,
    precisions: None,
};

/// The array whose units rest where an operand is zero, which saves energy and no time.
pub static SYSTOLIC_GATED: Design = Design {
    name: "systolic-gated",
    definition: "as systolic, but a unit rests where an operand is zero: energy, not time",
    source: "SCALE-Sim, as above; zero gating as in Eyeriss, ISSCC 2016",
    potential: Some("W+A"),
    run: |setup, input| {
        let (counts, work) = (run(setup, input), effectual(input));
        Counts { work, floor: counts.work - work, ..counts }
    },
    ..SYSTOLIC
};

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (layer, [rows, columns]) = (input.layer, [&ROWS, &COLUMNS].map(|of| setup.get(of.name)));
    let together = if layer.is_serial { 1 } else { rows };
    let folds = layer.groups * layer.windows.div_ceil(together) * layer.filters.div_ceil(columns);
    let (depth, lanes, work) = (layer.channels * layer.taps, (rows * columns) as u64, layer.macs());
    let cycles = (folds * (2 * rows + columns + depth - 2)) as u64;
    Counts { cycles, work, shape: (folds * depth) as u64 * lanes - work, ..Counts::default() }
}

/// MACs of which no operand is zero.
pub fn effectual(input: &Input<'_>) -> u64 {
    let layer = input.layer;
    let nonzeros = |masks: &mut dyn Iterator<Item = u16>| {
        masks.fold([0_u64; BRICK], |mut all, mask| {
            all.iter_mut().enumerate().for_each(|(lane, all)| *all += u64::from(mask >> lane & 1));
            all
        })
    };
    let mut all = 0;
    for group in 0..layer.groups {
        for (tap, block) in layer.steps() {
            let pixel = |window: usize| layer.places[window * layer.taps + tap] as usize;
            let activation = |window| input.activations.nonzero[layer.activation(group, block, pixel(window))];
            let filters = group * layer.filters..(group + 1) * layer.filters;
            let a = nonzeros(&mut (0..layer.windows).map(activation));
            let w = nonzeros(&mut filters.map(|filter| layer.weights.nonzero[layer.weight(filter, block, tap)]));
            all += a.iter().zip(&w).map(|(a, w)| a * w).sum::<u64>();
        }
    }
    all
}
