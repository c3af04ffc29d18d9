//! The recurrence of an LSTM: at each step one product of the hidden values with the weights of all four gates, the gates
//! and the cell in registers.

use std::ops::Range;

use super::activation::{Activation, tanh};
use super::buffer::Buffer;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::shared::Shared;
use super::simd::Simd;
use super::tile::{Loop, Reals, SECOND, Walk, prefetch, unrolled};

/// Input, forget, cell, output.
const GATES: usize = 4;
/// The gate that ends in a tanh; the others end in a sigmoid.
const CELL: usize = 2;
/// Parts of the hidden values whose products are summed apart and added at last: with four gates, enough sums to hide the
/// latency of one.
const CHAINS: usize = 2;
/// Multiply-adds of a step from which on it pays to share them between threads.
const SHARED_STEP: usize = 1 << 18;
/// Sequences that run together where the registers hold their sums.
const MOST_TOGETHER: usize = 6;

/// Parameters of a recurrence, gates i, f, g, o.
#[derive(Clone, Copy)]
pub struct LstmParams<'a> {
    /// `[4·H, P]`.
    pub weight: &'a [f32],
    /// `[4·H]`.
    pub bias: Option<&'a [f32]>,
    /// `[P, H]`; without it, P is H.
    pub projection: Option<&'a [f32]>,
    /// H.
    pub hidden: usize,
    /// P.
    pub outputs: usize,
    /// Bound of the cell's magnitude; infinity for none.
    pub clip: f32,
}

/// Recurrent weights, packed.
pub struct PackedLstm {
    hidden: usize,
    outputs: usize,
    /// `[hidden block][value of the step before][gate][16]`.
    weights: Buffer,
    /// `[hidden block][gate][16]`.
    bias: Buffer,
    /// `[output block][hidden value][16]`.
    projection: Option<Buffer>,
    clip: f32,
    reverse: bool,
}

impl PackedLstm {
    /// Packs the parameters.
    ///
    /// # Panics
    /// If their sizes contradict one another.
    pub fn new(params: LstmParams<'_>, reverse: bool) -> Self {
        let LstmParams { weight, bias, projection, hidden, outputs, clip } = params;
        assert_eq!(weight.len(), GATES * hidden * outputs, "weights");
        assert_eq!(projection.map_or(outputs * outputs, <[f32]>::len), outputs * hidden, "projection");
        let (blocks, inputs) = (hidden.div_ceil(LANES), outputs.next_multiple_of(CHAINS));
        let mut weights = Vec::with_capacity(blocks * inputs * GATES * LANES);
        for (block, k, gate) in places(blocks, inputs) {
            weights.extend((block * LANES..(block + 1) * LANES).map(|unit| {
                let inside = unit < hidden && k < outputs;
                if inside { weight[(gate * hidden + unit) * outputs + k] } else { 0.0 }
            }));
        }
        let mut packed = Buffer::zeroed(blocks * GATES * LANES);
        for (i, &value) in bias.into_iter().flatten().enumerate() {
            let (gate, unit) = (i / hidden, i % hidden);
            packed[(unit / LANES * GATES + gate) * LANES + unit % LANES] = value;
        }
        let projection = projection.map(|weight| {
            let rows = (0..outputs.div_ceil(LANES)).flat_map(|block| (0..hidden).map(move |unit| (block, unit)));
            let lanes = rows.flat_map(|(block, unit)| (0..LANES).map(move |lane| (block * LANES + lane, unit)));
            let values = lanes.map(|(row, unit)| if row < outputs { weight[row * hidden + unit] } else { 0.0 });
            Buffer::from(values.collect::<Vec<f32>>())
        });
        Self { hidden, outputs, weights: weights.into(), bias: packed, projection, clip, reverse }
    }

    fn blocks(&self) -> usize {
        self.hidden.div_ceil(LANES)
    }

    fn output_blocks(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Where the values that the next step reads start in a state, and the distance from block to block.
    fn read_from(&self) -> (usize, usize) {
        if self.projection.is_some() { (self.blocks() * 2 * LANES, LANES) } else { (0, 2 * LANES) }
    }

    /// Floats of the state of one sequence: for each block, sixteen hidden values and their cells; after them, projected
    /// values.
    pub fn state_len(&self) -> usize {
        let projected = if self.projection.is_some() { self.output_blocks() * LANES } else { 0 };
        self.blocks() * 2 * LANES + projected
    }

    /// The values of a state that the next step reads.
    pub fn read_of<'a>(&self, state: &'a [f32]) -> impl Iterator<Item = f32> + use<'a> {
        let (start, distance) = self.read_from();
        state[start..].chunks(distance).flat_map(|block| &block[..LANES]).copied().take(self.outputs)
    }

    /// The layout of the hidden values of sequences whose outputs are laid out as `y`.
    pub fn middle_geometry(&self, y: &Geometry) -> Geometry {
        Geometry::blocked(y.n, self.hidden, 1, y.w)
    }

    /// Column that step `step` of `steps` reads and writes.
    pub fn column(&self, step: usize, steps: usize) -> usize {
        if self.reverse { steps - 1 - step } else { step }
    }

    /// Runs the first `images` sequences of `x` from `states` (one after the other), which become those after the last
    /// step. No bit depends on how the work is shared. `middle` `[N, H, 1, T]` gets what a projection is of.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: (&[f32], &Geometry),
        (y, yg): (&mut [f32], &Geometry),
        states: &mut [f32],
        middle: Option<(&mut [f32], &Geometry)>,
    ) {
        let (data, xg) = x;
        assert!(data.len() >= xg.len() && y.len() >= yg.len(), "buffers hold the sequences");
        assert!(xg.c == GATES * self.hidden && yg.c == self.outputs && xg.w == yg.w, "four gates enter");
        assert!(xg.lanes == LANES && yg.lanes == LANES && states.len() >= images * self.state_len(), "blocked");
        let (y, states) = (Shared::new(y), Shared::new(states));
        let middle = middle.map(|(buffer, geometry)| {
            assert!(buffer.len() >= geometry.len() && geometry.c == self.hidden, "a buffer holds the hidden values");
            (Shared::new(buffer), geometry)
        });
        let middle = middle.as_ref().map(|(buffer, geometry)| (buffer, *geometry));
        let (blocks, threads) = (self.blocks(), exec.pool.threads());
        let large = GATES * self.hidden * self.outputs >= SHARED_STEP;
        let values = self.output_blocks() * LANES;
        let part = |sequences: Range<usize>, blocks: Range<usize>, step: usize| {
            let column = self.column(step, xg.w);
            Part { lstm: self, data, xg, y: &y, yg, states: &states, middle, sequences, column, blocks }
        };
        if large && self.projection.is_none() && threads > 1 {
            // The threads share the weights, each so few that some stay in its own cache from step to step.
            let parts = threads.min(blocks);
            let mut read = [vec![0.0; images * values], vec![0.0; images * values]];
            part(0..images, 0..blocks, 0).read(&mut read[0]);
            for step in 0..xg.w {
                let [before, after] = &mut read;
                let after = Shared::new(after);
                exec.for_each_task(parts, |_, task| {
                    let mine = blocks * task / parts..blocks * (task + 1) / parts;
                    let back = step % 2 == 1;
                    exec.isa.run(Step { part: part(0..images, mine, step), before, after: &after, back });
                });
                read.swap(0, 1);
            }
            return;
        }
        // A thread's sequences go through each step together: a block's weights stay in cache from one to the next.
        let together = images.div_ceil(threads);
        exec.for_each_task(images.div_ceil(together), |_, task| {
            let sequences = task * together..((task + 1) * together).min(images);
            let mut read = [vec![0.0; together * values], vec![0.0; together * values]];
            part(sequences.clone(), 0..blocks, 0).read(&mut read[0]);
            for step in 0..xg.w {
                let [before, after] = &mut read;
                let after = Shared::new(after);
                let part = part(sequences.clone(), 0..blocks, step);
                exec.isa.run(Step { part, before, after: &after, back: step % 2 == 1 });
                read.swap(0, 1);
            }
        });
    }
}

fn places(blocks: usize, inputs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..blocks * inputs * GATES).map(move |i| (i / (inputs * GATES), i / GATES % inputs, i % GATES))
}

/// Some blocks of hidden values at one step of some sequences.
struct Part<'a> {
    lstm: &'a PackedLstm,
    data: &'a [f32],
    xg: &'a Geometry,
    y: &'a Shared<'a>,
    yg: &'a Geometry,
    states: &'a Shared<'a>,
    middle: Option<(&'a Shared<'a>, &'a Geometry)>,
    sequences: Range<usize>,
    column: usize,
    blocks: Range<usize>,
}

impl<'a> Part<'a> {
    /// The hidden values and cells of a block of a sequence.
    #[inline(always)]
    fn state(&self, sequence: usize, block: usize) -> &'a mut [f32] {
        let at = sequence * self.lstm.state_len() + block * 2 * LANES;
        // SAFETY: at one time, each block of each sequence belongs to one part, and a part asks for one after the other.
        unsafe { self.states.slice(at, 2 * LANES) }
    }

    /// Copies what the first step reads, filled up to blocks, one sequence after the other.
    fn read(&self, to: &mut [f32]) {
        let (start, distance) = self.lstm.read_from();
        let blocks = self.lstm.output_blocks();
        let places = self.sequences.clone().flat_map(|sequence| (0..blocks).map(move |block| (sequence, block)));
        for ((sequence, block), to) in places.zip(to.chunks_exact_mut(LANES)) {
            let at = sequence * self.lstm.state_len() + start + block * distance;
            // SAFETY: no part of this sequence is running: they start when this is done.
            to.copy_from_slice(unsafe { self.states.slice(at, LANES) });
        }
    }

    /// Projects the hidden values of all sequences; only where a part has all blocks of them.
    #[inline(always)]
    fn project<S: Simd>(&self, s: S, weights: &[f32], after: &Shared<'_>) {
        let lstm = self.lstm;
        for sequence in self.sequences.clone() {
            for block in 0..lstm.output_blocks() {
                let mut sums = [s.splat(0.0); CHAINS];
                let weights = weights[block * lstm.hidden * LANES..][..lstm.hidden * LANES].chunks_exact(LANES);
                for (unit, weights) in weights.enumerate() {
                    let value = self.state(sequence, unit / LANES)[unit % LANES];
                    sums[unit % CHAINS] = s.fma(s.splat(value), s.load(weights), sums[unit % CHAINS]);
                }
                let value = s.add(sums[0], sums[1]);
                let at = sequence * lstm.state_len() + lstm.blocks() * 2 * LANES + block * LANES;
                // SAFETY: a part that projects has its sequences to itself.
                s.store(unsafe { self.states.slice(at, LANES) }, value);
                // SAFETY: as above.
                let to = unsafe { self.y.slice(self.yg.at(sequence, block, 0, self.column), LANES) };
                s.store(to, value);
                let at = ((sequence - self.sequences.start) * lstm.output_blocks() + block) * LANES;
                // SAFETY: as above.
                s.store(unsafe { after.slice(at, LANES) }, value);
            }
        }
    }

    /// Calls what the inputs of `sequence` give to `block` to the second-level cache: each step reads a column of its own.
    #[inline(always)]
    fn call(&self, sequence: usize, block: usize) {
        for gate in 0..GATES {
            let at = self.xg.at(sequence, gate * self.lstm.hidden / LANES + block, 0, self.column);
            prefetch::<_, SECOND>(self.data.as_ptr().wrapping_add(at));
            prefetch::<_, SECOND>(self.data.as_ptr().wrapping_add(at + self.xg.plane_len()));
        }
    }

    /// What the inputs of `sequence` give to `gate` of the hidden values of `block`.
    #[inline(always)]
    fn given<S: Simd>(&self, s: S, sequence: usize, gate: usize, block: usize) -> S::V {
        let (hidden, start) = (self.lstm.hidden, gate * self.lstm.hidden % LANES);
        let at = self.xg.at(sequence, gate * hidden / LANES + block, 0, self.column);
        if hidden.is_multiple_of(LANES) {
            return s.load(&self.data[at..]);
        }
        // The values lie in two blocks of the inputs, where there is a second.
        let mut lanes = [0.0; 2 * LANES];
        lanes[..LANES].copy_from_slice(&self.data[at..at + LANES]);
        let next = at + self.xg.plane_len();
        if let Some(next) = self.data.get(next..next + LANES) {
            lanes[LANES..].copy_from_slice(next);
        }
        lanes[start + (hidden - block * LANES).min(LANES)..].fill(0.0);
        s.load(&lanes[start..])
    }
}

/// One step of a part, from all hidden values `before`.
struct Step<'a> {
    part: Part<'a>,
    before: &'a [f32],
    /// What the next step reads, laid out as `before`.
    after: &'a Shared<'a>,
    /// Last block first: every other step starts with the weights that the one before left in cache.
    back: bool,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Sequences that run together share each weight that is loaded; their groups are as equal as can be.
        let lstm = self.part.lstm;
        let (blocks, most) = (&self.part.blocks, if S::REGISTERS >= 32 { MOST_TOGETHER } else { 1 });
        let groups = self.part.sequences.len().div_ceil(most);
        for i in 0..blocks.len() {
            let block = if self.back { blocks.end - 1 - i } else { blocks.start + i };
            let mut done = 0;
            for left in (1..=groups).rev() {
                done += match (self.part.sequences.len() - done).div_ceil(left) {
                    1 => self.block::<S, 1>(s, block, done),
                    2 => self.block::<S, 2>(s, block, done),
                    3 => self.block::<S, 3>(s, block, done),
                    4 => self.block::<S, 4>(s, block, done),
                    5 => self.block::<S, 5>(s, block, done),
                    _ => self.block::<S, MOST_TOGETHER>(s, block, done),
                };
            }
        }
        if let Some(weights) = &lstm.projection {
            self.part.project(s, weights, self.after);
        }
    }
}

impl Step<'_> {
    /// One block of `N` sequences from the `first` of the part's on. Returns N.
    #[inline(always)]
    fn block<S: Simd, const N: usize>(&self, s: S, block: usize, first: usize) -> usize {
        let Self { part, before, after, .. } = self;
        let lstm = part.lstm;
        let (inputs, values) = (lstm.outputs.next_multiple_of(CHAINS), lstm.output_blocks() * LANES);
        let half = inputs / CHAINS;
        let before = &before[first * values..][..N * values];
        let next = if self.back { block.wrapping_sub(1) } else { block + 1 };
        if part.blocks.contains(&next) {
            for n in 0..N {
                part.call(part.sequences.start + first + n, next);
            }
        }
        // No closures: code in them would not be compiled for the level.
        let mut sums = [[[s.splat(0.0); N]; GATES]; CHAINS];
        for gate in 0..GATES {
            for n in 0..N {
                sums[0][gate][n] = part.given(s, part.sequences.start + first + n, gate, block);
                sums[1][gate][n] = s.load(&lstm.bias[(block * GATES + gate) * LANES..]);
            }
        }
        let weights = &lstm.weights[block * inputs * GATES * LANES..][..inputs * GATES * LANES];
        let (low, high) = weights.split_at(half * GATES * LANES);
        if N == 1 {
            // Both chains at a time.
            let rows = low.as_chunks::<{ GATES * LANES }>().0.iter().zip(high.as_chunks::<{ GATES * LANES }>().0);
            for ((low, high), (a, b)) in rows.zip(before[..half].iter().zip(&before[half..])) {
                let (a, b) = (s.splat(*a), s.splat(*b));
                unrolled!(gate < GATES, {
                    sums[0][gate][0] = s.fma(a, s.load(&low[gate * LANES..]), sums[0][gate][0]);
                });
                unrolled!(gate < GATES, {
                    sums[1][gate][0] = s.fma(b, s.load(&high[gate * LANES..]), sums[1][gate][0]);
                });
            }
        } else {
            let once = Loop { count: 1, input: 0, weights: 0 };
            let walk = Walk { outer: [once; 3], run: half, pixel: values, width: GATES * LANES, ahead: 0 };
            unrolled!(chain < CHAINS, {
                let (from, weights) = (&before[chain * half..], if chain == 0 { low } else { high });
                debug_assert!(walk.fits(N, GATES, from.len(), weights.len()));
                // SAFETY: `before` holds the values of N sequences, and the chain its weights for each value.
                sums[chain] =
                    unsafe { walk.accumulate::<S, Reals, N, GATES>(s, from.as_ptr(), weights.as_ptr(), sums[chain]) };
            });
        }
        for n in 0..N {
            let sequence = part.sequences.start + first + n;
            let mut gates = [s.splat(0.0); GATES];
            for gate in 0..GATES {
                let sum = s.add(sums[0][gate][n], sums[1][gate][n]);
                gates[gate] = if gate == CELL { tanh(s, sum) } else { Activation::Sigmoid.apply(s, sum) };
            }
            let [i, f, g, o] = gates;
            let state = part.state(sequence, block);
            let cell = s.fma(f, s.load(&state[LANES..]), s.mul(i, g));
            let cell = s.min(s.splat(lstm.clip), s.max(s.splat(-lstm.clip), cell));
            let value = s.mul(o, tanh(s, cell));
            s.store(&mut state[LANES..], cell);
            s.store(state, value);
            if let Some((middle, geometry)) = part.middle {
                // SAFETY: each block of each sequence belongs to one task.
                s.store(unsafe { middle.slice(geometry.at(sequence, block, 0, part.column), LANES) }, value);
            }
            if lstm.projection.is_none() {
                // SAFETY: as above.
                s.store(unsafe { part.y.slice(part.yg.at(sequence, block, 0, part.column), LANES) }, value);
                // SAFETY: as above.
                s.store(unsafe { after.slice((first + n) * values + block * LANES, LANES) }, value);
            }
        }
        N
    }
}

#[cfg(test)]
#[path = "lstm_tests.rs"]
mod tests;
