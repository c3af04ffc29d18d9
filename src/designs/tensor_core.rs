//! A tensor core that takes weights of which 2 of 4 neighbours are zero at twice the rate.
//!
//! ```text
//! 16 filters × 16 channels, or 32 of which half are zero   ×   8 windows        a cycle
//! w w . . | . w . w | ...     the places of those that are there, 2 bits each, choose the activations
//! ```

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::{Input, Layer};
use super::{Counts, Design, Parameter, Setup};

const WHOLE: Parameter = Parameter {
    name: "whole",
    default: 1,
    range: 0..=1,
    meaning: "1: all weights of a layer must be 2:4 to be skipped, as libraries want them; 0: those of an instruction",
};

/// The design.
pub static TENSOR_CORE: Design = Design {
    name: "tensor-core-2:4",
    definition: "skips half of the weights where at most 2 of 4 along the channels are not zero",
    waits: "a layer (or an instruction) for its blocks of 4 with more non-zero weights",
    source: "NVIDIA Ampere architecture, 2020 (mma.sp of 16 × 8 × 32), as many as make the lanes of dense",
    potential: None,
    parameters: &[Parameter { default: 2, ..TILES }, FILTERS, Parameter { default: 8, ..WINDOWS }, WHOLE],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[a, w]| a * w,
    run,
    windows: None,
    precisions: None,
};

/// Values of a block.
const BLOCK: usize = 4;

/// The non-zero weights of each block of a brick.
fn blocks(layer: &Layer, brick: usize, block: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (mask, lanes) = (layer.weights.nonzero[brick], layer.lanes(block));
    (0..lanes).step_by(BLOCK).map(move |first| ((mask >> first & 15).count_ones() as usize, (lanes - first).min(BLOCK)))
}

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (grid, layer) = (Grid::of(setup), input.layer);
    let steps: Vec<(usize, usize)> = layer.steps().collect();
    let fits = |filter: usize, &(tap, block): &(usize, usize)| {
        blocks(layer, layer.weight(filter, block, tap), block).all(|(nonzeros, _)| nonzeros <= BLOCK / 2)
    };
    let is_whole = setup.get(WHOLE.name) == 1;
    let all_fit =
        is_whole && (0..layer.groups * layer.filters).all(|filter| steps.iter().all(|step| fits(filter, step)));
    grid.sets(layer, |group, filters| {
        let filters = group * layer.filters + filters.start..group * layer.filters + filters.end;
        let mut counts = Counts::default();
        // Two bricks are one instruction where both fit.
        for pair in steps.chunks(2) {
            let skips =
                if is_whole { all_fit } else { filters.clone().all(|of| pair.iter().all(|step| fits(of, step))) };
            let cycles = if skips { 1 } else { pair.len() as u64 };
            let (mut work, mut filled) = (0, 0);
            for &(tap, block) in pair {
                for filter in filters.clone() {
                    for (nonzeros, values) in blocks(layer, layer.weight(filter, block, tap), block) {
                        let takes = if nonzeros <= BLOCK / 2 { values.min(BLOCK / 2) } else { values };
                        work += takes as u64;
                        filled += if skips { takes } else { values } as u64;
                    }
                }
            }
            for windows in grid.pallets(layer) {
                let windows = windows.len() as u64;
                let lanes = (grid.filters * grid.windows * super::layer::BRICK) as u64;
                counts.add(Counts {
                    cycles,
                    work: work * windows,
                    shape: cycles * lanes - filled * windows,
                    ..Counts::default()
                });
            }
        }
        counts
    })
}
