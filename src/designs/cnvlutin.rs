//! Cnvlutin: 16 lanes walk the non-zero activations of bricks of their own.
//!
//! ```text
//! lane 0: brick 0, brick 16, ...   non-zero activations alone, one a cycle, each with its place
//! lane 1: brick 1, brick 17, ...   and 16 filters multiply it by the weight at that place
//! ...
//! lane 15                          lanes wait for one another where the window ends
//! ```

use super::grid::{FILTERS, Grid, TILES};
use super::layer::{BRICK, Input};
use super::{Counts, Design, Parameter, Setup};

const EMPTY: Parameter = Parameter {
    name: "empty_brick",
    default: 1,
    range: 0..=1,
    meaning: "cycles of a brick without a non-zero activation",
};

/// The design.
pub static CNVLUTIN: Design = Design {
    name: "cnvlutin",
    definition: "skips activations that are zero",
    waits: "the 16 lanes of a tile for the slowest where a window ends",
    source: "Cnvlutin, ISCA 2016, whose first layer runs as dense, where here zeros of every layer are skipped",
    potential: Some("A"),
    parameters: &[TILES, FILTERS, EMPTY],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[a, w]| a * w,
    run,
    windows: Some(|_, _| 1),
    precisions: None,
};

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (layer, empty) = (input.layer, setup.get(EMPTY.name) as u64);
    Grid::of(setup).groups(layer, |group| {
        let mut counts = Counts::default();
        for window in 0..layer.windows {
            let (mut busy, mut bricks) = ([0; BRICK], [0_u64; BRICK]);
            for (i, (tap, block)) in layer.steps().enumerate() {
                let pixel = layer.places[window * layer.taps + tap] as usize;
                let nonzeros = input.activations.nonzero[layer.activation(group, block, pixel)].count_ones();
                let cycles = u64::from(nonzeros).max(empty);
                busy[i % BRICK] += cycles;
                bricks[i % BRICK] += 1;
                counts.work += u64::from(nonzeros);
                counts.floor += cycles - u64::from(nonzeros);
            }
            // A window of no activation at all still ends.
            let slowest = busy.iter().copied().max().unwrap_or_default().max(1);
            counts.cycles += slowest;
            counts.shape += slowest * bricks.iter().filter(|&&bricks| bricks == 0).count() as u64;
        }
        counts
    })
}
