//! BitWave: bit columns of weights that are all zero are skipped.
//!
//! ```text
//! 16 weights along the channels    sign 0 0 1 0 0 1 1      columns of sign and magnitude
//!                                   1   0 0 0 0 0 1 0
//!                                   0   0 0 1 0 0 0 1      4 of 8 have a one: 4 cycles
//! ```

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::Input;
use super::{Counts, Design, Setup};

/// The design.
pub static BIT_WAVE: Design = Design {
    name: "bit-wave",
    definition: "feeds the bit columns of 16 weights that have a one, sign and magnitude",
    waits: "the filters of a tile for the one of most columns, after each brick",
    source: "BitWave, HPCA 2024 (groups of 16), on the grid of the others",
    potential: None,
    parameters: &[TILES, FILTERS, WINDOWS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[a, _]| a,
    run,
    windows: None,
    precisions: None,
};

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (grid, layer) = (Grid::over(setup, input.layer), input.layer);
    let pallets: Vec<u64> = grid.pallets(layer).map(|windows| windows.len() as u64).collect();
    grid.sets(layer, |group, filters| {
        let mut counts = Counts::default();
        for (tap, block) in layer.steps() {
            let of = filters.clone().map(|filter| layer.weight(group * layer.filters + filter, block, tap));
            let columns: Vec<u64> = of.map(|brick| u64::from(layer.weights.columns(brick))).collect();
            let (most, all) = (columns.iter().copied().max().unwrap_or_default(), columns.iter().sum::<u64>());
            let lanes = layer.lanes(block) as u64;
            for windows in &pallets {
                let present = windows * filters.len() as u64 * lanes;
                counts.add(grid.step([most.max(1), all * lanes * windows], present));
            }
        }
        counts
    })
}
