//! Bit-Pragmatic: activations are fed as terms ±2^n, those that are there alone.
//!
//! ```text
//! lane 0: 2^5, 2^2        a cycle: each lane's next term, if it lies within 2^L powers of the lowest next term
//! lane 1: 2^4             (first-stage shifters of L bits, one common shifter behind them)
//! lane 2: 2^5, 2^3, 2^0   a brick takes until its slowest lane is done
//! ```
//!
//! Windows wait for one another after each brick (no registers), or run ahead of the slowest by as many bricks as there are column
//! registers, which hold the weights that are still needed.

use std::collections::VecDeque;

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::{BRICK, Input};
use super::terms::Terms;
use super::{Counts, Design, Parameter, Setup};

const STAGE: Parameter =
    Parameter { name: "first_stage", default: 2, range: 0..=4, meaning: "bits of the first-stage shifters, L" };
const REGISTERS: Parameter = Parameter {
    name: "registers",
    default: 1,
    range: 0..=64,
    meaning: "column registers: bricks that windows run ahead of the slowest; 0: they wait after each",
};

/// The design.
pub static PRAGMATIC: Design = Design {
    name: "pragmatic",
    definition: "feeds the terms of activations",
    waits: "16 lanes of a window after each brick, windows by the column registers, tiles never",
    source: "Bit-Pragmatic, MICRO 2017 (2-stage shifting, 1 column register)",
    potential: Some("Ae"),
    parameters: &[TILES, FILTERS, WINDOWS, STAGE, REGISTERS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[_, w]| w,
    run,
    windows: Some(|setup, layer| Grid::over(setup, layer).windows),
    precisions: None,
};

/// Cycles of a brick: those until the last term of the last lane is fed.
fn cycles(terms: &Terms, brick: &[i32; BRICK], reach: u32) -> u32 {
    let mut left = brick.map(|code| terms.positions(code));
    let mut cycles = 0;
    loop {
        let all = left.iter().fold(0, |all, lane| all | lane);
        if all == 0 {
            return cycles;
        }
        let within = (1_u64 << (all.trailing_zeros() + reach)) - 1;
        for lane in &mut left {
            let lowest = *lane & lane.wrapping_neg();
            if u64::from(lowest) <= within {
                *lane ^= lowest;
            }
        }
        cycles += 1;
    }
}

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (grid, layer, activations) = (Grid::over(setup, input.layer), input.layer, &input.activations);
    let (reach, registers) = (1 << setup.get(STAGE.name), setup.get(REGISTERS.name));
    let of_brick = |brick: &[i32; BRICK]| cycles(&layer.terms, brick, reach);
    let cycles: Vec<u32> = activations.codes.iter().map(of_brick).collect();
    let terms: Vec<u32> = activations.terms.iter().map(|brick| brick.iter().map(|&n| u32::from(n)).sum()).collect();
    grid.groups(layer, |group| {
        let mut counts = Counts::default();
        // When each window is done with what was read so far, and when all were, of the last bricks.
        let mut done = vec![0; grid.windows];
        let mut ended = VecDeque::from(vec![0; registers + 1]);
        let mut read = 0;
        for windows in grid.pallets(layer) {
            for (tap, block) in layer.steps() {
                // A brick of weights a cycle, where a register is free.
                read = ended.pop_front().unwrap_or_default().max(read);
                let (mut longest, lanes) = (1, layer.lanes(block) as u64);
                for (window, done) in windows.clone().zip(&mut done) {
                    let pixel = layer.places[window * layer.taps + tap] as usize;
                    let brick = layer.activation(group, block, pixel);
                    let takes = u64::from(cycles[brick].max(1));
                    *done = read.max(*done) + takes;
                    longest = longest.max(takes);
                    counts.work += u64::from(terms[brick]);
                    counts.floor += if terms[brick] == 0 { lanes } else { 0 };
                    counts.shape += takes * (BRICK as u64 - lanes);
                }
                // Windows that are not there.
                counts.shape += longest * ((grid.windows - windows.len()) * BRICK) as u64;
                done[windows.len()..].iter_mut().for_each(|done| *done = read.max(*done) + longest);
                ended.push_back(done.iter().copied().max().unwrap_or_default());
                read += 1;
            }
        }
        counts.cycles = ended.back().copied().unwrap_or_default();
        counts
    })
}
