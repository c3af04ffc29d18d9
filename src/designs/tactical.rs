//! Bit-Tactical: weights that are zero are skipped by a schedule made beforehand, activations are fed bit by bit or term by term.
//!
//! ```text
//!            lane:    0  1  2  3          a lane whose weight is zero takes a later one: of its own lane (lookahead),
//! step t              .  w  .  w          or of a neighbour's (lookaside), as a multiplexer of the shape can reach it
//! step t + 1          w  .  w  .    T:  (1, 0) (2, 0)   (1, ±1) (2, ±2) (1, ±3) ...
//! step t + 2          .  .  .  w    L:  (1, 0) (2, 0)   (1, -1) (1, -2) (1, -3) ...
//! ```
//!
//! All filters of a tile share the activations of the steps within reach, and move on together. The schedule is the one of the fewest steps
//! among those that look so far ahead or less, and of these the one that looks least far: a step lasts as long as its slowest activation,
//! so a weight that is taken beforehand and saves no step can only make one longer.

use std::ops::Range;

use super::grid::{FILTERS, Grid, TILES, WINDOWS};
use super::layer::{BRICK, Input, Layer};
use super::pallets::{Pallet, Step, pallets};
use super::{Counts, Design, Parameter, Setup};

const LOOKAHEAD: Parameter =
    Parameter { name: "lookahead", default: 2, range: 0..=8, meaning: "steps that a weight is taken from beforehand" };
const LOOKASIDE: Parameter = Parameter {
    name: "lookaside",
    default: 5,
    range: 0..=15,
    meaning: "places in neighbouring lanes that it is taken from",
};
const SHAPE: Parameter =
    Parameter { name: "shape", default: 0, range: 0..=1, meaning: "shape of the lookaside: 0 is T, 1 is L" };
const PARAMETERS: &[Parameter] = &[TILES, FILTERS, WINDOWS, LOOKAHEAD, LOOKASIDE, SHAPE];

/// The design that feeds bits.
pub static TACTICAL_P: Design = Design {
    name: "tactical-p",
    definition: "skips weights that are zero, and feeds the bits that the activations of a step need",
    waits: "the filters of a tile for the schedule of all, 16 windows for the widest activation within reach",
    source: "Bit-Tactical, ASPLOS 2019 (TCLp, T<2,5>)",
    potential: Some("W+Ap"),
    parameters: PARAMETERS,
    lanes: |setup| Grid::of(setup).lanes(),
    bits: |[_, w]| w,
    run: |setup, input| run(setup, input, &Serial { cycles: width, work: work_of_widths }),
    windows: Some(|setup, layer| Grid::over(setup, layer).windows),
    precisions: None,
};

/// The design that feeds terms.
pub static TACTICAL_E: Design = Design {
    name: "tactical-e",
    definition: "skips weights that are zero, and feeds the terms of activations",
    waits: "the filters of a tile for the schedule of all, 16 windows for the activation of most terms",
    source: "Bit-Tactical, ASPLOS 2019 (TCLe, T<2,5>)",
    potential: Some("W+Ae"),
    run: |setup, input| run(setup, input, &Serial { cycles: terms, work: work_of_terms }),
    ..TACTICAL_P
};

/// How activations are fed.
struct Serial {
    /// Cycles of the lanes of a step that are used.
    cycles: fn(&Step, u16) -> u32,
    /// Work of a step by the filters that meet each lane with a non-zero weight.
    work: fn(&Step, &[u16; BRICK]) -> u64,
}

fn width(step: &Step, _: u16) -> u32 {
    step.width
}

fn work_of_widths(step: &Step, filters: &[u16; BRICK]) -> u64 {
    u64::from(step.widths) * filters.iter().map(|&filters| u64::from(filters)).sum::<u64>()
}

fn terms(step: &Step, used: u16) -> u32 {
    let lanes = step.terms.most.iter().enumerate().filter(|(lane, _)| used >> lane & 1 == 1);
    lanes.map(|(_, &most)| u32::from(most)).max().unwrap_or_default()
}

fn work_of_terms(step: &Step, filters: &[u16; BRICK]) -> u64 {
    step.terms.sum.iter().zip(filters).map(|(&terms, &filters)| u64::from(terms) * u64::from(filters)).sum()
}

/// The places that a lane can take a weight from, nearest step first: steps ahead, lanes aside.
fn reach(setup: &Setup) -> Vec<(usize, i32)> {
    let [ahead, aside, shape] = [&LOOKAHEAD, &LOOKASIDE, &SHAPE].map(|of| setup.get(of.name));
    let mut places: Vec<(usize, i32)> = (1..=ahead).map(|step| (step, 0)).collect();
    if ahead > 0 {
        let aside = (0..aside as i32).map(|i| match shape {
            0 => (1 + (i as usize / 2) % ahead, if i % 2 == 0 { i / 2 + 1 } else { -(i / 2 + 1) }),
            _ => (1, -(i + 1)),
        });
        places.extend(aside);
    }
    places.sort_by_key(|&(step, lane)| (step, lane != 0));
    places
}

/// What one cycle of a schedule multiplies.
struct Cycle {
    /// The first of the steps within reach.
    first: usize,
    /// Of each step the lanes that any filter uses.
    used: Vec<u16>,
    /// Lanes of all filters that have no channel in the first step, and took no weight from elsewhere.
    empty: u64,
}

/// The schedule of `filters`, and how many of them have a non-zero weight at each step and lane.
fn schedule(
    layer: &Layer,
    filters: Range<usize>,
    reach: &[(usize, i32)],
    ahead: usize,
) -> (Vec<Cycle>, Vec<[u16; BRICK]>) {
    let step = |(tap, block): (usize, usize)| {
        filters.clone().map(|filter| layer.weights.nonzero[layer.weight(filter, block, tap)]).collect::<Vec<u16>>()
    };
    let mut left: Vec<Vec<u16>> = layer.steps().map(step).collect();
    let met = |step: &Vec<u16>| {
        let filters = |lane: usize| step.iter().filter(|&&mask| mask >> lane & 1 == 1).count() as u16;
        std::array::from_fn(filters)
    };
    let filters: Vec<[u16; BRICK]> = left.iter().map(met).collect();
    let lanes: Vec<usize> = layer.steps().map(|(_, block)| layer.lanes(block)).collect();
    let (mut cycles, mut first) = (Vec::new(), 0);
    while first < left.len() {
        let end = (first + ahead + 1).min(left.len());
        let (mut used, mut empty) = (vec![0; end - first], 0);
        for filter in 0..left[first].len() {
            let mut free = !left[first][filter];
            used[0] |= left[first][filter];
            left[first][filter] = 0;
            for &(step, aside) in reach.iter().filter(|(step, _)| first + step < end) {
                let there = &mut left[first + step][filter];
                // Bit i: lane i can take what is `aside` lanes from it.
                let taken = there.rotate_right(aside.rem_euclid(BRICK as i32) as u32) & free;
                free &= !taken;
                let taken = taken.rotate_left(aside.rem_euclid(BRICK as i32) as u32);
                *there &= !taken;
                used[step] |= taken;
            }
            empty += (BRICK - lanes[first]).min(free.count_ones() as usize) as u64;
        }
        cycles.push(Cycle { first, used, empty });
        // Steps of which nothing is left are passed, as many at once as are within reach.
        let empty = left[first + 1..].iter().take(ahead).take_while(|step| step.iter().all(|&mask| mask == 0)).count();
        first += 1 + empty;
    }
    (cycles, filters)
}

fn run(setup: &Setup, input: &Input<'_>, serial: &Serial) -> Counts {
    let (grid, layer) = (Grid::over(setup, input.layer), input.layer);
    let (pallets, ahead) = (pallets(&grid, input), setup.get(LOOKAHEAD.name));
    let reach = reach(setup);
    grid.sets(layer, |group, filters| {
        let of_all = group * layer.filters + filters.start..group * layer.filters + filters.end;
        // Weights are taken beforehand only where that saves steps: each brings the activation that it meets.
        let schedules = (0..=ahead).map(|ahead| schedule(layer, of_all.clone(), &reach, ahead));
        let fewest = schedules.min_by_key(|(cycles, _)| cycles.len());
        let (cycles, met) = fewest.unwrap_or_default();
        let mut counts = Counts::default();
        for Pallet { windows, steps } in &pallets[group] {
            counts.work += steps.iter().zip(&met).map(|(step, filters)| (serial.work)(step, filters)).sum::<u64>();
            for Cycle { first, used, empty } in &cycles {
                let steps = steps[*first..].iter().zip(used).filter(|(_, used)| **used != 0);
                let longest = steps.map(|(step, &used)| (serial.cycles)(step, used)).max().unwrap_or_default();
                let present = *windows as u64 * ((filters.len() * BRICK) as u64 - empty);
                let step = grid.step([u64::from(longest.max(1)), u64::from(longest)], present);
                counts.add(Counts { work: 0, ..step });
            }
        }
        counts
    })
}
