//! Loom: both operands are fed bit by bit, weights as many bits as the layer needs, activations as many as those of a step need.
//!
//! ```text
//!             window 0   ...  window 15
//! filter 0    16 (1 × 1)      16 (1 × 1)     bits of activations times bits of weights cycles a step
//! ...
//! filter 127
//! ```

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::{Design, Parameter, shapeshifter};

/// The design.
pub static LOOM: Design = Design {
    name: "loom",
    definition: "feeds the bits of weights that the layer needs, by those of activations that a step needs",
    waits: "16 windows of 16 lanes for the widest activation, after each brick",
    source: "Loom, DAC 2018 (LM1b)",
    potential: Some("Wp+Ap"),
    parameters: &[Parameter { default: 1, ..TILES }, Parameter { default: 128, ..FILTERS }, WINDOWS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |_| 1,
    run: shapeshifter::run,
    windows: Some(|setup, layer| Grid::over(setup, layer).windows),
    precisions: Some(|[_, w]| [u64::from(w.max(1)), u64::from(w)]),
};
