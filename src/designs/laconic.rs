//! Laconic: both operands are fed as terms, a lane multiplies one term of each a cycle.
//!
//! ```text
//!            window 0      ...             lane: terms of a × terms of w cycles
//! filter 0   16 (2^n × 2^m)                a tile waits for its slowest lane after each brick
//! ...
//! ```

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::Input;
use super::pallets::{Lanes, pallets};
use super::{Counts, Design, Setup};

/// The design.
pub static LACONIC: Design = Design {
    name: "laconic",
    definition: "feeds the terms of activations by the terms of weights",
    waits: "all lanes of a tile for the slowest after each brick",
    source: "Laconic, ISCA 2019; grid of the authors' public simulator",
    potential: Some("We+Ae"),
    parameters: &[TILES, FILTERS, WINDOWS],
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |_| 1,
    run,
    windows: Some(|setup, layer| Grid::over(setup, layer).windows),
    precisions: None,
};

fn run(setup: &Setup, input: &Input<'_>) -> Counts {
    let (grid, layer) = (Grid::over(setup, input.layer), input.layer);
    let pallets = pallets(&grid, input);
    let steps: Vec<(usize, usize)> = layer.steps().collect();
    grid.sets(layer, |group, filters| {
        let weight = |&(tap, block): &(usize, usize)| {
            let bricks = filters.clone().map(|filter| layer.weight(group * layer.filters + filter, block, tap));
            Lanes::of(&layer.weights, bricks)
        };
        let weights: Vec<Lanes> = steps.iter().map(weight).collect();
        let mut counts = Counts::default();
        for pallet in &pallets[group] {
            for ((step, w), (_, block)) in pallet.steps.iter().zip(&weights).zip(&steps) {
                let a = &step.terms;
                let slowest = a.most.iter().zip(&w.most).map(|(a, w)| a * w).max().unwrap_or_default();
                let work = a.sum.iter().zip(&w.sum).map(|(&a, &w)| u64::from(a) * u64::from(w)).sum();
                let present = (pallet.windows * filters.len() * layer.lanes(*block)) as u64;
                counts.add(grid.step([u64::from(slowest.max(1)), work], present));
            }
        }
        counts
    })
}
