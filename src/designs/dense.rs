//! The dense baseline: every multiply-accumulate takes a lane for a cycle, whatever its operands are.
//!
//! ```text
//! 16 tiles × 16 filters × 16 lanes of words         one window at a time
//! a0 ─×w0─┐
//! a1 ─×w1─┤ adder tree ─ accumulator                one brick of 16 channels a cycle
//! ...     ┘
//! ```

use super::grid::{FILTERS, Grid, TILES};
use super::layer::{BRICK, Input};
use super::{Counts, Design, Setup};

/// The design.
pub static DENSE: Design = Design {
    name: "dense",
    definition: "multiplies every operand, words of all bits in parallel",
    waits: "nothing waits: each step takes a cycle",
    source: "DaDianNao, MICRO 2014; 4,096 multipliers as in Bit-Pragmatic, MICRO 2017",
    potential: None,
    parameters: &[TILES, FILTERS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[a, w]| a * w,
    run,
    windows: None,
    precisions: None,
};

/// One layer.
pub fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let layer = input.layer;
    let cycles = (layer.windows * layer.taps * layer.blocks) as u64;
    let work = (layer.windows * layer.taps * layer.channels) as u64;
    let one = Counts { cycles, work, shape: cycles * BRICK as u64 - work, ..Counts::default() };
    Grid::of(setup).groups(layer, |_| one)
}
