//! Designs cycle by cycle, with plain loops over operands: so plain that they need no test of their own.

mod powers;
mod scnn;
mod tactical;

use std::collections::{BTreeSet, VecDeque};

use deadweight::designs::Setup;
use deadweight::kernels::count::Encoder;
use deadweight::tally::LayerShape;
use powers::powers;

/// Lanes of a brick.
const LANES: usize = 16;

/// A lane's operand; none where the channels end.
type Lane = Option<i32>;
type Brick = [Lane; LANES];

/// A layer and an input, read place by place.
pub struct Slow {
    /// `[group][window][step]`, a step being a tap and 16 channels.
    pub activations: Vec<Vec<Vec<Brick>>>,
    /// `[group][filter][step]`.
    pub weights: Vec<Vec<Vec<Brick>>>,
    pub shape: LayerShape,
    pub words: [u32; 2],
    pub encoder: Encoder,
    pub is_serial: bool,
    /// `[C, H, W]` and `[K, C/groups, R, S]`.
    pub codes: [Vec<i32>; 2],
}

impl Slow {
    pub fn new(shape: &LayerShape, codes: [Vec<i32>; 2], words: [u32; 2], encoder: Encoder, is_serial: bool) -> Self {
        let ([c, h, w], [k, inner, r, s]) = (shape.input, shape.weight);
        let groups = if shape.features { 1 } else { shape.groups };
        let bricks = |steps: usize, at: &dyn Fn(usize, usize) -> i32| -> Vec<Brick> {
            (0..steps)
                .flat_map(|step| {
                    (0..inner.div_ceil(LANES)).map(move |block| {
                        std::array::from_fn(|lane| {
                            let channel = block * LANES + lane;
                            (channel < inner).then(|| at(step, channel))
                        })
                    })
                })
                .collect()
        };
        let [a, weight] = &codes;
        let mut slow = Self {
            activations: vec![],
            weights: vec![],
            shape: shape.clone(),
            words,
            encoder,
            is_serial,
            codes: codes.clone(),
        };
        for group in 0..groups {
            let channel_of = |channel: usize| group * inner + channel;
            let windows: Vec<Vec<Brick>> = if shape.is_stepwise() {
                (0..w).map(|step| bricks(1, &|_, channel| a[channel * w + step])).collect()
            } else if shape.features {
                let place = |i: usize| if shape.channels_last { i % c * h * w + i / c } else { i };
                vec![bricks(1, &|_, feature| a[place(feature)])]
            } else if shape.transposed {
                (0..h * w).map(|pixel| bricks(1, &|_, channel| a[channel_of(channel) * h * w + pixel])).collect()
            } else {
                let [_, p, q] = shape.output;
                let window = |row: usize, column: usize| {
                    bricks(r * s, &|tap, channel| {
                        let at = |out: usize, tap: usize, axis: usize| {
                            (out * shape.stride[axis] + tap * shape.dilation[axis]) as i64
                                - shape.padding[2 * axis] as i64
                        };
                        let (y, x) = (at(row, tap / s, 0), at(column, tap % s, 1));
                        let inside = (0..h as i64).contains(&y) && (0..w as i64).contains(&x);
                        if inside { a[(channel_of(channel) * h + y as usize) * w + x as usize] } else { 0 }
                    })
                };
                (0..p * q).map(|of| window(of / q, of % q)).collect()
            };
            let own = group * (k / groups)..(group + 1) * (k / groups);
            let at = |filter: usize, channel: usize, tap: usize| weight[(filter * inner + channel) * r * s + tap];
            let filters: Vec<Vec<Brick>> = match shape.transposed {
                true => own
                    .flat_map(|filter| (0..r * s).map(move |tap| (filter, tap)))
                    .map(|(filter, tap)| bricks(1, &|_, channel| at(filter, channel, tap)))
                    .collect(),
                false => own.map(|filter| bricks(r * s, &|tap, channel| at(filter, channel, tap))).collect(),
            };
            slow.activations.push(windows);
            slow.weights.push(filters);
        }
        slow
    }

    fn steps(&self) -> usize {
        self.weights[0][0].len()
    }

    /// The windows that a tile reads side by side.
    fn pallets(&self, group: usize, windows: usize) -> Vec<&[Vec<Brick>]> {
        self.activations[group].chunks(if self.is_serial { 1 } else { windows }).collect()
    }

    /// The cycles of all passes, where `tile` is what one set of filters takes.
    fn passes(&self, setup: &Setup, tile: impl Fn(usize, &[Vec<Brick>]) -> u64) -> u64 {
        let filters = setup.get("filters");
        // Columns of windows of which only one has a window are tiles of their own; not so in a tensor core.
        let one_by_one = self.is_serial || self.activations[0].len() == 1;
        let columns = setup.find("windows").filter(|_| one_by_one && setup.design.name != "tensor-core-2:4");
        let tiles = setup.get("tiles") * columns.unwrap_or(1);
        let mut sets = vec![];
        for (group, of) in self.weights.iter().enumerate() {
            for filters in of.chunks(filters) {
                sets.push(tile(group, filters));
            }
        }
        sets.chunks(tiles).map(|pass| pass.iter().max().unwrap()).sum()
    }

    /// Cycles of the layer on the design of `setup`, as if layers needed one bit where it asks for their precisions.
    pub fn cycles(&self, setup: &Setup) -> u64 {
        match setup.design.name {
            "dense" => self.passes(setup, |group, _| (self.activations[group].len() * self.steps()) as u64),
            "cnvlutin" => self.passes(setup, |group, _| {
                self.activations[group].iter().map(|window| self.cnvlutin(window, setup.get("empty_brick"))).sum()
            }),
            "scnn" => self.scnn(setup),
            "stripes" => {
                self.passes(setup, |group, _| (self.pallets(group, setup.get("windows")).len() * self.steps()) as u64)
            }
            "shapeshifter" | "loom" => self.passes(setup, |group, _| self.shapeshifter(group, setup.get("windows"))),
            "bit-fusion" => self.bit_fusion(setup),
            "pragmatic" => self.passes(setup, |group, _| self.pragmatic(group, setup)),
            "laconic" => self.passes(setup, |group, filters| self.laconic(group, filters, setup.get("windows"))),
            "tactical-p" | "tactical-e" => self.passes(setup, |group, filters| self.tactical(group, filters, setup)),
            "bit-wave" => self.passes(setup, |group, filters| self.bit_wave(group, filters, setup.get("windows"))),
            "tensor-core-2:4" => self.passes(setup, |group, filters| self.tensor_core(group, filters, setup)),
            "systolic" | "systolic-gated" => self.systolic(setup),
            other => panic!("{other} has no slow loop"),
        }
    }

    fn cnvlutin(&self, window: &[Brick], empty: usize) -> u64 {
        let mut queues = vec![VecDeque::new(); LANES];
        for (i, brick) in window.iter().enumerate() {
            let nonzeros: Vec<i32> = brick.iter().flatten().copied().filter(|code| *code != 0).collect();
            // A brick of nothing holds its lane as well.
            queues[i % LANES].extend(if nonzeros.is_empty() { vec![0; empty] } else { nonzeros });
        }
        let mut cycles = 0;
        loop {
            for queue in &mut queues {
                queue.pop_front();
            }
            cycles += 1;
            if queues.iter().all(VecDeque::is_empty) {
                return cycles;
            }
        }
    }

    fn shapeshifter(&self, group: usize, windows: usize) -> u64 {
        let mut cycles = 0;
        for pallet in self.pallets(group, windows) {
            for step in 0..self.steps() {
                let codes: Vec<i32> = pallet.iter().flat_map(|window| window[step]).flatten().collect();
                let bits = (0..=16).find(|bits| codes.iter().all(|code| code.abs() < 1 << bits)).unwrap();
                let sign = u64::from(codes.iter().any(|code| *code < 0));
                cycles += (bits + sign).max(1);
            }
        }
        cycles
    }

    /// Tick by tick: a brick of weights is read a cycle if a register is free for it, and each window takes the next that was read.
    fn pragmatic(&self, group: usize, setup: &Setup) -> u64 {
        let (windows, registers, reach) = (setup.get("windows"), setup.get("registers"), 1 << setup.get("first_stage"));
        let pallets = self.pallets(group, windows);
        // What each window has to do: cycles by brick; windows that are not there take as long as the slowest.
        let mut todo = vec![vec![]; windows];
        for pallet in &pallets {
            for step in 0..self.steps() {
                let takes: Vec<u64> = pallet.iter().map(|window| self.serial(&window[step], reach).max(1)).collect();
                let slowest = *takes.iter().max().unwrap();
                (0..windows).for_each(|window| todo[window].push(*takes.get(window).unwrap_or(&slowest)));
            }
        }
        let all = todo[0].len();
        let (mut done, mut left, mut read, mut time) = (vec![0; windows], vec![0; windows], 0, 0);
        while done.iter().any(|&bricks| bricks < all) {
            if read < all && done.iter().all(|&bricks| bricks + 1 + registers > read) {
                read += 1;
            }
            for window in 0..windows {
                if left[window] == 0 && done[window] < read {
                    left[window] = todo[window][done[window]];
                }
                if left[window] > 0 {
                    left[window] -= 1;
                    done[window] += usize::from(left[window] == 0);
                }
            }
            time += 1;
        }
        time
    }

    /// Cycles until the last term of a brick is fed.
    fn serial(&self, brick: &Brick, reach: u32) -> u64 {
        let mut lanes: Vec<BTreeSet<u32>> = brick.iter().flatten().map(|&code| powers(self.encoder, code)).collect();
        let mut cycles = 0;
        while let Some(lowest) = lanes.iter().filter_map(|lane| lane.first()).min().copied() {
            for lane in &mut lanes {
                if lane.first().is_some_and(|&power| power < lowest + reach) {
                    lane.pop_first();
                }
            }
            cycles += 1;
        }
        cycles
    }

    fn terms(&self, code: i32) -> u64 {
        powers(self.encoder, code).len() as u64
    }

    fn laconic(&self, group: usize, filters: &[Vec<Brick>], windows: usize) -> u64 {
        let mut cycles = 0;
        for pallet in self.pallets(group, windows) {
            for step in 0..self.steps() {
                let mut slowest = 1;
                for window in pallet {
                    for filter in filters {
                        for (a, w) in window[step].iter().flatten().zip(filter[step].iter().flatten()) {
                            slowest = slowest.max(self.terms(*a) * self.terms(*w));
                        }
                    }
                }
                cycles += slowest;
            }
        }
        cycles
    }

    fn bit_wave(&self, group: usize, filters: &[Vec<Brick>], windows: usize) -> u64 {
        let columns = |brick: &Brick| {
            let bits = (0..16).filter(|bit| brick.iter().flatten().any(|code| code.unsigned_abs() >> bit & 1 == 1));
            bits.count() as u64 + u64::from(brick.iter().flatten().any(|code| *code < 0))
        };
        let of = |step: usize| filters.iter().map(|filter| columns(&filter[step])).max().unwrap().max(1);
        (0..self.steps()).map(of).sum::<u64>() * self.pallets(group, windows).len() as u64
    }

    fn tensor_core(&self, group: usize, filters: &[Vec<Brick>], setup: &Setup) -> u64 {
        let fits =
            |brick: &Brick| brick.chunks(4).all(|block| block.iter().flatten().filter(|code| **code != 0).count() <= 2);
        let all = self.weights.iter().flatten().flatten().all(fits);
        let mut cycles = 0;
        let steps: Vec<usize> = (0..self.steps()).collect();
        for pair in steps.chunks(2) {
            let these = filters.iter().all(|filter| pair.iter().all(|step| fits(&filter[*step])));
            let skips = if setup.get("whole") == 1 { all } else { these };
            cycles += if skips { 1 } else { pair.len() as u64 };
        }
        cycles * self.pallets(group, setup.get("windows")).len() as u64
    }

    /// Channels and taps of a filter.
    fn depth(&self) -> usize {
        self.weights[0][0].iter().flatten().flatten().count()
    }

    fn bit_fusion(&self, setup: &Setup) -> u64 {
        let width = |bits: u32| match bits {
            0..=2 => 2,
            3..=4 => 4,
            5..=9 => 8,
            _ => 16,
        };
        let [a, w] = self.words.map(width);
        let side_by_side = [a, w].iter().map(|&width| if width < 8 { 8 / width } else { 1 }).product::<usize>();
        let one_by_one = [a, w].iter().map(|&width| if width > 8 { 2 } else { 1 }).product::<u64>();
        let mut cycles = 0;
        for (activations, filters) in self.activations.iter().zip(&self.weights) {
            for _ in activations {
                let mut filter = 0;
                while filter < filters.len() {
                    let mut channel = 0;
                    while channel < self.depth() {
                        cycles += one_by_one;
                        channel += setup.get("rows") * side_by_side;
                    }
                    filter += setup.get("columns");
                }
            }
        }
        cycles
    }

    /// Operands enter at the left and at the top, a unit later each row and column; the last outputs leave row by row.
    fn systolic(&self, setup: &Setup) -> u64 {
        let (rows, columns) = (setup.get("rows"), setup.get("columns"));
        let mut cycles = 0;
        for (group, filters) in self.weights.iter().enumerate() {
            for _ in self.pallets(group, rows) {
                for _ in filters.chunks(columns) {
                    // The last unit meets its first operands after rows - 1 + columns - 1 cycles, its last after depth more.
                    cycles += ((rows - 1) + (columns - 1) + self.depth() + rows) as u64;
                }
            }
        }
        cycles
    }
}

/// Width of codes taken as one group.
fn width(codes: &[i32]) -> u64 {
    let bits = (0..=16).find(|bits| codes.iter().all(|code| code.abs() < 1 << bits)).unwrap();
    bits + u64::from(codes.iter().any(|code| *code < 0))
}
