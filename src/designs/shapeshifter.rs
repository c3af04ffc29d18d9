//! Dynamic Stripes, ShapeShifter: activations are fed bit by bit, as many bits as those that are fed together need.

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::Input;
use super::{Counts, Design, Setup};

/// The design: [`super::stripes`], but the width is found anew in each step.
///
/// ```text
/// 16 windows × 16 lanes ─ or of all magnitudes ─ width of the step ─ that many cycles
/// ```
pub static SHAPESHIFTER: Design = Design {
    name: "shapeshifter",
    definition: "feeds the bits that the 256 activations of a step need",
    waits: "16 windows of 16 lanes for the widest activation, after each brick",
    source: "Dynamic Stripes, arXiv 1706.00504; ShapeShifter, MICRO 2019",
    potential: Some("Ap.g16"),
    parameters: &[TILES, FILTERS, WINDOWS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[_, w]| w,
    run,
    windows: Some(|setup, layer| Grid::over(setup, layer).windows),
    precisions: None,
};

/// One layer, weights of one bit.
pub fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (grid, activations) = (Grid::over(setup, input.layer), &input.activations);
    grid.groups(input.layer, |group| {
        grid.in_step(input, group, |bricks, lanes| {
            let of_bricks = bricks.iter().map(|&brick| u64::from(activations.width([brick])) * lanes);
            [u64::from(activations.width(bricks.iter().copied()).max(1)), of_bricks.sum()]
        })
    })
}
