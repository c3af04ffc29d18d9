//! Tiles of filters, windows and lanes, which most designs are made of.
//!
//! ```text
//!            window 0   window 1  ...      every tile: another set of filters
//! filter 0   16 lanes   16 lanes
//! filter 1   16 lanes   16 lanes           a step: the same brick of 16 channels of every window,
//! ...                                      multiplied by that brick of every filter
//! ```

use std::ops::Range;

use super::layer::{BRICK, Input, Layer};
use super::{Counts, Parameter, Setup};

/// Parameter: tiles.
pub const TILES: Parameter =
    Parameter { name: "tiles", default: 16, range: 1..=1024, meaning: "tiles, each of other filters" };
/// Parameter: filters.
pub const FILTERS: Parameter =
    Parameter { name: "filters", default: 16, range: 1..=1024, meaning: "filters of a tile" };
/// Parameter: windows.
pub const WINDOWS: Parameter =
    Parameter { name: "windows", default: 16, range: 1..=1024, meaning: "windows of a tile" };

/// How many of each there are.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Tiles.
    pub tiles: usize,
    /// Filters of a tile.
    pub filters: usize,
    /// Windows of a tile.
    pub windows: usize,
}

impl Grid {
    /// The grid of `setup`, of whose parameters each that is not there is one.
    pub fn of(setup: &Setup) -> Self {
        let [tiles, filters, windows] = [&TILES, &FILTERS, &WINDOWS].map(|of| setup.find(of.name).unwrap_or(1));
        Self { tiles, filters, windows }
    }

    /// The grid of `setup` as it runs `layer`: one that has a window at a time, and no other to share weights with, is given another set
    /// of filters in each column of windows, as if the columns were tiles; they take turns to load weights, which hides the loads.
    pub fn over(setup: &Setup, layer: &Layer) -> Self {
        let grid = Self::of(setup);
        match layer.is_one_by_one {
            true => Self { tiles: grid.tiles * grid.windows, windows: 1, ..grid },
            false => grid,
        }
    }

    /// Lanes of all tiles.
    pub fn lanes(&self) -> usize {
        self.tiles * self.filters * self.windows * BRICK
    }

    /// Runs each set of filters on a tile, as many sets side by side as there are tiles. The next sets begin when all tiles are done.
    /// `set` runs the filters, by their numbers within the group, and counts the lanes of its tile alone.
    pub fn sets(&self, layer: &Layer, mut set: impl FnMut(usize, Range<usize>) -> Counts) -> Counts {
        let firsts = |group: usize| (0..layer.filters).step_by(self.filters).map(move |first| (group, first));
        let sets: Vec<(usize, usize)> = (0..layer.groups).flat_map(firsts).collect();
        let mut all = Counts::default();
        for side_by_side in sets.chunks(self.tiles) {
            let (mut pass, mut slowest) = (Counts::default(), 0);
            for &(group, first) in side_by_side {
                let done = set(group, first..(first + self.filters).min(layer.filters));
                slowest = slowest.max(done.cycles);
                pass.add(done);
            }
            let of_tile = (self.filters * self.windows * BRICK) as u64;
            let idle = (self.tiles - side_by_side.len()) as u64;
            all.add(Counts { cycles: slowest, shape: pass.shape + idle * slowest * of_tile, ..pass });
        }
        all
    }

    /// Runs filters that take as long whatever their weights are: `group` counts the lanes of one filter, over all windows.
    pub fn groups(&self, layer: &Layer, mut group: impl FnMut(usize) -> Counts) -> Counts {
        let mut last = None;
        self.sets(layer, |of, filters| {
            let one = match last {
                Some((same, one)) if same == of => one,
                _ => group(of),
            };
            last = Some((of, one));
            let Counts { cycles, work, floor, shape, .. } = one;
            let (all, here) = (self.filters as u64, filters.len() as u64);
            let absent = (all - here) * cycles * (self.windows * BRICK) as u64;
            Counts { cycles, work: here * work, floor: here * floor, shape: here * shape + absent, ..one }
        })
    }

    /// The windows that are read side by side.
    pub fn pallets<'a>(&self, layer: &'a Layer) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let together = if layer.is_serial { 1 } else { self.windows };
        (0..layer.windows).step_by(together).map(move |first| first..(first + together).min(layer.windows))
    }

    /// One filter over all windows of group `group`, where all windows of a tile wait for the slowest after each step. `step` is given
    /// the bricks of a step, one a window, and the lanes that they fill, and returns its cycles, and the cycles of all its lanes together if none waited.
    pub fn in_step(&self, input: &Input<'_>, group: usize, mut step: impl FnMut(&[usize], u64) -> [u64; 2]) -> Counts {
        let layer = input.layer;
        let mut counts = Counts::default();
        let mut bricks = Vec::with_capacity(self.windows);
        for windows in self.pallets(layer) {
            for (tap, block) in layer.steps() {
                bricks.clear();
                let pixel = |window: usize| layer.places[window * layer.taps + tap] as usize;
                bricks.extend(windows.clone().map(|window| layer.activation(group, block, pixel(window))));
                let lanes = layer.lanes(block) as u64;
                let found = step(&bricks, lanes);
                counts.add(self.step_of_filter(found, bricks.len() as u64 * lanes));
            }
        }
        counts
    }

    /// The counts of one filter in a step of `cycles` and `work`, in which `present` of its lanes have operands.
    fn step_of_filter(&self, found: [u64; 2], present: u64) -> Counts {
        Self { filters: 1, ..*self }.step(found, present)
    }

    /// The counts of a tile in a step of `cycles` and `work`, in which `present` of its lanes have operands.
    pub fn step(&self, [cycles, work]: [u64; 2], present: u64) -> Counts {
        let lanes = (self.filters * self.windows * BRICK) as u64;
        let floor = if work == 0 { present * cycles } else { 0 };
        Counts { cycles, work, floor, shape: (lanes - present) * cycles, ..Counts::default() }
    }
}
