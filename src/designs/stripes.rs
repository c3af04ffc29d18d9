//! Stripes: activations are fed bit by bit, as many bits as the layer needs.
//!
//! ```text
//!            window 0     ...  window 15
//! filter 0   Σ 16 (1 × B)      Σ 16 (1 × B)     each cycle: one bit of 256 activations,
//! ...                                           all bits of 256 weights
//! filter 15
//! ```

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::Input;
use super::{Counts, Design, Setup};

/// The design.
pub static STRIPES: Design = Design {
    name: "stripes",
    definition: "feeds the bits of activations that the layer needs",
    waits: "nothing waits: each step takes the bits of the layer",
    source: "Stripes, MICRO 2016",
    potential: Some("Ap.layer"),
    parameters: &[TILES, FILTERS, WINDOWS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[_, w]| w,
    run,
    windows: None,
    precisions: Some(|[a, _]| [u64::from(a.max(1)), u64::from(a)]),
};

/// One layer, as if it needed one bit.
pub fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (grid, layer) = (Grid::over(setup, input.layer), input.layer);
    grid.groups(layer, |group| grid.in_step(input, group, |bricks, lanes| [1, bricks.len() as u64 * lanes]))
}
