//! One step of a recurrence: the product of the hidden values with the weights of all gates; then gates and cell, in
//! registers.

use std::ops::Range;

use super::{CHAINS, Cell, PackedRecurrence};
use crate::kernels::activation::{Activation, rounded, tanh};
use crate::kernels::count::CodeMap;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{Floats, Loop, SECOND, Walk, prefetch, unrolled};

/// Most gates.
const GATES: usize = 4;
/// The gate of a GRU whose recurrent sum meets another gate before the contribution of the inputs is added.
const CANDIDATE: usize = 2;
/// Most sequences that run together, if the registers hold their sums.
const MOST_TOGETHER: usize = 6;

/// Some blocks of hidden values at one step of some sequences.
pub(super) struct Part<'a> {
    pub(super) packed: &'a PackedRecurrence,
    pub(super) data: &'a [f32],
    pub(super) xg: &'a Geometry,
    pub(super) y: &'a Shared<'a>,
    pub(super) yg: &'a Geometry,
    pub(super) states: &'a Shared<'a>,
    pub(super) unprojected: Option<(&'a Shared<'a>, &'a Geometry)>,
    pub(super) sequences: Range<usize>,
    pub(super) column: usize,
    pub(super) blocks: Range<usize>,
}

impl<'a> Part<'a> {
    /// The hidden values of a block of a sequence, and the cells of an LSTM.
    #[inline(always)]
    fn state(&self, sequence: usize, block: usize) -> &'a mut [f32] {
        let len = self.packed.block_len();
        let at = sequence * self.packed.state_len() + block * len;
        // SAFETY: at any time each block of each sequence belongs to one part, and a part borrows one block after the other.
        unsafe { self.states.slice(at, len) }
    }

    /// Copies what the first step reads, zero-padded to blocks, one sequence after the other.
    pub(super) fn read(&self, to: &mut [f32]) {
        let (start, distance) = self.packed.read_from();
        let blocks = self.packed.output_blocks();
        let places = self.sequences.clone().flat_map(|sequence| (0..blocks).map(move |block| (sequence, block)));
        for ((sequence, block), to) in places.zip(to.chunks_exact_mut(LANES)) {
            let at = sequence * self.packed.state_len() + start + block * distance;
            // SAFETY: no part of this sequence is running: the steps start after this.
            to.copy_from_slice(unsafe { self.states.slice(at, LANES) });
            if let [Some(map), _] = self.packed.rounding {
                to.iter_mut().for_each(|value| *value = map.nearest(*value));
            }
        }
    }

    /// Projects the hidden values of all sequences; only if a part has all their blocks.
    #[inline(always)]
    fn project<S: Simd>(&self, s: S, weights: &[f32], after: &Shared<'_>) {
        let packed = self.packed;
        for sequence in self.sequences.clone() {
            for block in 0..packed.output_blocks() {
                let mut sums = [s.splat(0.0); CHAINS];
                let weights = weights[block * packed.hidden * LANES..][..packed.hidden * LANES].chunks_exact(LANES);
                for (unit, weights) in weights.enumerate() {
                    let value = self.state(sequence, unit / LANES)[unit % LANES];
                    let value = packed.rounding[1].map_or(value, |map| map.nearest(value));
                    sums[unit % CHAINS] = s.fma(s.splat(value), s.load(weights), sums[unit % CHAINS]);
                }
                let value = s.add(sums[0], sums[1]);
                let at = sequence * packed.state_len() + packed.read_from().0 + block * LANES;
                // SAFETY: a part that projects has its sequences to itself.
                s.store(unsafe { self.states.slice(at, LANES) }, value);
                // SAFETY: as above.
                let to = unsafe { self.y.slice(self.yg.at(sequence, block, 0, self.column), LANES) };
                s.store(to, value);
                let at = ((sequence - self.sequences.start) * packed.output_blocks() + block) * LANES;
                // SAFETY: as above.
                s.store(unsafe { after.slice(at, LANES) }, read(s, value, packed.rounding[0]));
            }
        }
    }

    /// Prefetches the input contributions of `sequence` to `block` to the second-level cache: each step reads another column.
    #[inline(always)]
    fn prefetch_input(&self, sequence: usize, block: usize) {
        for gate in 0..self.packed.cell.gates() {
            let at = self.xg.at(sequence, gate * self.packed.hidden / LANES + block, 0, self.column);
            prefetch::<_, SECOND>(self.data.as_ptr().wrapping_add(at));
            if !self.packed.hidden.is_multiple_of(LANES) {
                prefetch::<_, SECOND>(self.data.as_ptr().wrapping_add(at + self.xg.plane_len()));
            }
        }
    }

    /// The contribution of the inputs of `sequence` to `gate`, for the hidden values of `block`.
    #[inline(always)]
    fn input_contribution<S: Simd>(&self, s: S, sequence: usize, gate: usize, block: usize) -> S::V {
        let (hidden, start) = (self.packed.hidden, gate * self.packed.hidden % LANES);
        let at = self.xg.at(sequence, gate * hidden / LANES + block, 0, self.column);
        if hidden.is_multiple_of(LANES) {
            return s.load(&self.data[at..]);
        }
        // The values are in two blocks of the inputs, if there is a second.
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
pub(super) struct Step<'a> {
    pub(super) part: Part<'a>,
    pub(super) before: &'a [f32],
    /// What the next step reads, laid out as `before`.
    pub(super) after: &'a Shared<'a>,
    /// Whether to start at the last block, so that every other step starts with the weights that are still in cache.
    pub(super) reversed: bool,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.part.packed.cell.gates() {
            1 => self.blocks::<S, 1, LANES>(s),
            3 => self.blocks::<S, 3, { 3 * LANES }>(s),
            _ => self.blocks::<S, 4, { 4 * LANES }>(s),
        }
        if let Some(weights) = &self.part.packed.projection {
            self.part.project(s, weights, self.after);
        }
    }
}

impl Step<'_> {
    /// All blocks of the part, of `G` gates, whose weights of one input are `W`.
    #[inline(always)]
    fn blocks<S: Simd, const G: usize, const W: usize>(&self, s: S) {
        // Sequences that run together share each loaded weight; the groups are as equal as possible.
        let blocks = &self.part.blocks;
        let groups = self.part.sequences.len().div_ceil(MOST_TOGETHER);
        for i in 0..blocks.len() {
            let block = if self.reversed { blocks.end - 1 - i } else { blocks.start + i };
            let mut done = 0;
            for left in (1..=groups).rev() {
                done += match (self.part.sequences.len() - done).div_ceil(left) {
                    1 => self.block::<S, 1, G, W>(s, block, done),
                    2 => self.block::<S, 2, G, W>(s, block, done),
                    3 => self.block::<S, 3, G, W>(s, block, done),
                    4 => self.block::<S, 4, G, W>(s, block, done),
                    5 => self.block::<S, 5, G, W>(s, block, done),
                    _ => self.block::<S, MOST_TOGETHER, G, W>(s, block, done),
                };
            }
        }
    }

    /// One block for `N` sequences, from the part's `first` on. Returns N.
    #[inline(always)]
    fn block<S: Simd, const N: usize, const G: usize, const W: usize>(
        &self,
        s: S,
        block: usize,
        first: usize,
    ) -> usize {
        let Self { part, before, after, .. } = self;
        let packed = part.packed;
        let (inputs, values) = (packed.outputs.next_multiple_of(CHAINS), packed.output_blocks() * LANES);
        let half = inputs / CHAINS;
        let before = &before[first * values..][..N * values];
        let next = if self.reversed { block.wrapping_sub(1) } else { block + 1 };
        if part.blocks.contains(&next) {
            for n in 0..N {
                part.prefetch_input(part.sequences.start + first + n, next);
            }
        }
        // No closures: they would not be compiled for the instruction set.
        let mut sums = [[[s.splat(0.0); N]; G]; CHAINS];
        for gate in 0..G {
            for n in 0..N {
                if G != 3 || gate != CANDIDATE {
                    sums[0][gate][n] = part.input_contribution(s, part.sequences.start + first + n, gate, block);
                }
                sums[1][gate][n] = s.load(&packed.bias[(block * G + gate) * LANES..]);
            }
        }
        let weights = &packed.weights[block * inputs * W..][..inputs * W];
        let (low, high) = weights.split_at(half * W);
        if N == 1 {
            // Both partial sums at a time.
            let rows = low.as_chunks::<W>().0.iter().zip(high.as_chunks::<W>().0);
            for ((low, high), (a, b)) in rows.zip(before[..half].iter().zip(&before[half..])) {
                let (a, b) = (s.splat(*a), s.splat(*b));
                unrolled!(gate < G, {
                    sums[0][gate][0] = s.fma(a, s.load(&low[gate * LANES..]), sums[0][gate][0]);
                });
                unrolled!(gate < G, {
                    sums[1][gate][0] = s.fma(b, s.load(&high[gate * LANES..]), sums[1][gate][0]);
                });
            }
        } else {
            let once = Loop { count: 1, input: 0, weights: 0 };
            let walk = Walk { outer: [once; 3], run: half, pixel: values, width: W, ahead: 0 };
            unrolled!(chain < CHAINS, {
                let (from, weights) = (&before[chain * half..], if chain == 0 { low } else { high });
                debug_assert!(walk.fits(N, G, from.len(), weights.len()));
                // SAFETY: `before` holds the values of N sequences, and the weights of the chain cover each value.
                unsafe {
                    let (from, weights) = (from.as_ptr(), weights.as_ptr());
                    if S::REGISTERS >= 32 {
                        sums[chain] = walk.accumulate::<S, Floats, N, G>(s, from, weights, sums[chain]);
                    } else {
                        // Few registers hold the sums of one gate.
                        unrolled!(gate < G, {
                            let of_gate = [sums[chain][gate]];
                            [sums[chain][gate]] =
                                walk.accumulate::<S, Floats, N, 1>(s, from, weights.add(gate * LANES), of_gate);
                        });
                    }
                }
            });
        }
        for n in 0..N {
            let sequence = part.sequences.start + first + n;
            let mut gates = [s.splat(0.0); GATES];
            for gate in 0..G {
                gates[gate] = s.add(sums[0][gate][n], sums[1][gate][n]);
            }
            let state = part.state(sequence, block);
            let value = match packed.cell {
                Cell::Lstm { clip } => lstm(s, gates, &mut state[LANES..], clip),
                Cell::Gru => {
                    gru(s, gates, part.input_contribution(s, sequence, CANDIDATE, block), s.load(&state[..LANES]))
                }
                Cell::Rnn(activation) => activation.apply(s, gates[0]),
            };
            s.store(state, value);
            if let Some((unprojected, geometry)) = part.unprojected {
                // SAFETY: each block of each sequence belongs to one task.
                s.store(unsafe { unprojected.slice(geometry.at(sequence, block, 0, part.column), LANES) }, value);
            }
            if packed.projection.is_none() {
                // SAFETY: as above.
                s.store(unsafe { part.y.slice(part.yg.at(sequence, block, 0, part.column), LANES) }, value);
                // SAFETY: as above.
                let after = unsafe { after.slice((first + n) * values + block * LANES, LANES) };
                s.store(after, read(s, value, packed.rounding[0]));
            }
        }
        N
    }
}

/// What the next step reads of `value`.
#[inline(always)]
fn read<S: Simd>(s: S, value: S::V, rounding: Option<CodeMap>) -> S::V {
    match rounding {
        Some(map) => rounded(s, value, map),
        None => value,
    }
}

/// The hidden values of an LSTM from the sums of the gates i, f, g, o and the cells of the step before, which are replaced.
#[inline(always)]
fn lstm<S: Simd>(s: S, [i, f, g, o]: [S::V; GATES], cells: &mut [f32], clip: f32) -> S::V {
    let sigmoid = Activation::Sigmoid;
    let kept = s.mul(sigmoid.apply(s, i), tanh(s, g));
    let cell = s.fma(sigmoid.apply(s, f), s.load(cells), kept);
    let cell = s.min(s.splat(clip), s.max(s.splat(-clip), cell));
    s.store(cells, cell);
    s.mul(sigmoid.apply(s, o), tanh(s, cell))
}

/// The hidden values of a GRU from the sums of the gates r, z, n (of n that of the recurrence alone), the contribution of the
/// inputs to n, and the hidden values of the step before.
#[inline(always)]
fn gru<S: Simd>(s: S, [r, z, n, _]: [S::V; GATES], input: S::V, before: S::V) -> S::V {
    let sigmoid = Activation::Sigmoid;
    let candidate = tanh(s, s.fma(sigmoid.apply(s, r), n, input));
    s.fma(sigmoid.apply(s, z), s.sub(before, candidate), candidate)
}
