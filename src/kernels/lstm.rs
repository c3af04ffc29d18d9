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
use super::tile::unrolled;

/// Input, forget, cell, output.
const GATES: usize = 4;
/// Hidden values whose products are summed apart and added at last: with four gates, enough sums to hide the latency of one.
const CHAINS: usize = 2;
/// Multiply-adds of a step from which on it pays to share them between threads.
const SHARED_STEP: usize = 1 << 18;
/// Sequences that run together where the registers hold their sums.
const MOST_TOGETHER: usize = 3;

/// Recurrent weights, packed.
pub struct PackedLstm {
    hidden: usize,
    /// `[hidden block][hidden value][gate][16]`.
    weights: Buffer,
    /// `[hidden block][gate][16]`.
    bias: Buffer,
    reverse: bool,
}

impl PackedLstm {
    /// Packs `weight` `[4·H, H]` and `bias` `[4·H]`, gates i, f, g, o.
    ///
    /// # Panics
    /// If it is not of that size.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, hidden: usize, reverse: bool) -> Self {
        assert_eq!(weight.len(), GATES * hidden * hidden, "weights");
        let (blocks, inputs) = (hidden.div_ceil(LANES), hidden.next_multiple_of(CHAINS));
        let mut weights = Vec::with_capacity(blocks * inputs * GATES * LANES);
        for (block, k, gate) in places(blocks, inputs) {
            weights.extend((block * LANES..(block + 1) * LANES).map(|unit| {
                let inside = unit < hidden && k < hidden;
                if inside { weight[(gate * hidden + unit) * hidden + k] } else { 0.0 }
            }));
        }
        let mut packed = Buffer::zeroed(blocks * GATES * LANES);
        for (i, &value) in bias.into_iter().flatten().enumerate() {
            let (gate, unit) = (i / hidden, i % hidden);
            packed[(unit / LANES * GATES + gate) * LANES + unit % LANES] = value;
        }
        Self { hidden, weights: weights.into(), bias: packed, reverse }
    }

    fn blocks(&self) -> usize {
        self.hidden.div_ceil(LANES)
    }

    /// Floats of the state of one sequence: for each block, sixteen hidden values and their cells.
    pub fn state_len(&self) -> usize {
        self.blocks() * 2 * LANES
    }

    /// The hidden values of a state.
    pub fn hidden_of<'a>(&self, state: &'a [f32]) -> impl Iterator<Item = f32> + use<'a> {
        state.chunks(2 * LANES).flat_map(|block| &block[..LANES]).copied().take(self.hidden)
    }

    /// Column that step `step` of `steps` reads and writes.
    pub fn column(&self, step: usize, steps: usize) -> usize {
        if self.reverse { steps - 1 - step } else { step }
    }

    /// Runs the first `images` sequences of `x` from `states` (one after the other), which become those after the last
    /// step. No bit depends on how the work is shared.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: (&[f32], &Geometry),
        y: &mut [f32],
        yg: &Geometry,
        states: &mut [f32],
    ) {
        let (data, xg) = x;
        assert!(data.len() >= xg.len() && y.len() >= yg.len(), "buffers hold the sequences");
        assert!(xg.c == GATES * self.hidden && yg.c == self.hidden && xg.w == yg.w, "four gates enter");
        assert!(xg.lanes == LANES && yg.lanes == LANES && states.len() >= images * self.state_len(), "blocked");
        let (y, states) = (Shared::new(y), Shared::new(states));
        let (blocks, threads) = (self.blocks(), exec.pool.threads());
        let parts = match images < threads && GATES * self.hidden * self.hidden >= SHARED_STEP {
            true => threads.min(blocks),
            false => 1,
        };
        // A thread's sequences go through each step together: a block's weights stay in cache from one to the next.
        let together = if parts == 1 { images.div_ceil(threads) } else { images };
        let groups = images.div_ceil(together);
        let group = |group: usize| group * together..((group + 1) * together).min(images);
        let part = |sequences: Range<usize>, blocks: Range<usize>, step: usize| {
            let column = self.column(step, xg.w);
            Part { lstm: self, data, xg, y: &y, yg, states: &states, sequences, column, blocks }
        };
        if parts == 1 {
            exec.for_each_task(groups, |_, task| {
                let mut before = vec![0.0; together * blocks * LANES];
                for step in 0..xg.w {
                    let part = part(group(task), 0..blocks, step);
                    part.hidden(&mut before);
                    exec.isa.run(Step { part, before: &before });
                }
            });
            return;
        }
        // All parts read the hidden values of the step before, while each writes its own of the next.
        let mut before = vec![0.0; together * blocks * LANES];
        for (sequences, step) in (0..groups).flat_map(|task| (0..xg.w).map(move |step| (task, step))) {
            part(group(sequences), 0..blocks, step).hidden(&mut before);
            exec.for_each_task(parts, |_, task| {
                let mine = blocks * task / parts..blocks * (task + 1) / parts;
                exec.isa.run(Step { part: part(group(sequences), mine, step), before: &before });
            });
        }
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

    /// Copies all hidden values, filled up to blocks, one sequence after the other.
    fn hidden(&self, to: &mut [f32]) {
        let places =
            self.sequences.clone().flat_map(|sequence| self.blocks.clone().map(move |block| (sequence, block)));
        for ((sequence, block), to) in places.zip(to.chunks_exact_mut(LANES)) {
            to.copy_from_slice(&self.state(sequence, block)[..LANES]);
        }
    }

    /// What the inputs of `sequence` give to `gate` of the hidden values of `block`.
    #[inline(always)]
    fn given<S: Simd>(&self, s: S, sequence: usize, gate: usize, block: usize) -> S::V {
        let (hidden, first) = (self.lstm.hidden, gate * self.lstm.hidden + block * LANES);
        if hidden.is_multiple_of(LANES) {
            return s.load(&self.data[self.xg.at(sequence, first / LANES, 0, self.column)..]);
        }
        let lanes: [f32; LANES] = std::array::from_fn(|lane| {
            let inside = block * LANES + lane < hidden;
            if inside { self.data[self.xg.index(sequence, first + lane, 0, self.column)] } else { 0.0 }
        });
        s.load(&lanes)
    }
}

/// One step of a part, from all hidden values `before`.
struct Step<'a> {
    part: Part<'a>,
    before: &'a [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Sequences that run together share each weight that is loaded.
        let most = if S::REGISTERS >= 32 { MOST_TOGETHER } else { 1 };
        for block in self.part.blocks.clone() {
            let mut done = 0;
            while done < self.part.sequences.len() {
                done += match (self.part.sequences.len() - done).min(most) {
                    1 => self.block::<S, 1>(s, block, done),
                    2 => self.block::<S, 2>(s, block, done),
                    _ => self.block::<S, MOST_TOGETHER>(s, block, done),
                };
            }
        }
    }
}

impl Step<'_> {
    /// One block of `N` sequences from the `first` of the part's on. Returns N.
    #[inline(always)]
    fn block<S: Simd, const N: usize>(&self, s: S, block: usize, first: usize) -> usize {
        let Self { part, before } = self;
        let lstm = part.lstm;
        let inputs = lstm.hidden.next_multiple_of(CHAINS);
        let before: [&[[f32; CHAINS]]; N] = std::array::from_fn(|n| {
            let values = &before[(first + n) * lstm.blocks() * LANES..][..inputs];
            values.as_chunks::<CHAINS>().0
        });
        let bias: [S::V; GATES] = std::array::from_fn(|gate| s.load(&lstm.bias[(block * GATES + gate) * LANES..]));
        let mut sums: [[[S::V; GATES]; CHAINS]; N] = std::array::from_fn(|n| {
            [std::array::from_fn(|gate| part.given(s, part.sequences.start + first + n, gate, block)), bias]
        });
        let weights = &lstm.weights[block * inputs * GATES * LANES..][..inputs * GATES * LANES];
        for (k, weights) in weights.as_chunks::<{ CHAINS * GATES * LANES }>().0.iter().enumerate() {
            unrolled!(chain < CHAINS, {
                unrolled!(gate < GATES, {
                    let weight = s.load(&weights[(chain * GATES + gate) * LANES..][..LANES]);
                    unrolled!(n < N, {
                        sums[n][chain][gate] = s.fma(s.splat(before[n][k][chain]), weight, sums[n][chain][gate]);
                    });
                });
            });
        }
        for n in 0..N {
            let sequence = part.sequences.start + first + n;
            let [i, f, g, o]: [S::V; GATES] = std::array::from_fn(|gate| s.add(sums[n][0][gate], sums[n][1][gate]));
            let [i, f, o] = [i, f, o].map(|gate| Activation::Sigmoid.apply(s, gate));
            let state = part.state(sequence, block);
            let cell = s.fma(f, s.load(&state[LANES..]), s.mul(i, tanh(s, g)));
            let value = s.mul(o, tanh(s, cell));
            s.store(&mut state[LANES..], cell);
            s.store(state, value);
            // SAFETY: each block of each sequence belongs to one task.
            let to = unsafe { part.y.slice(part.yg.at(sequence, block, 0, part.column), LANES) };
            s.store(to, value);
        }
        N
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::{Isa, Pool};

    /// The definition, in f64.
    fn plain(
        (weight, bias): (&[f32], &[f32]),
        hidden: usize,
        x: &[f32],
        steps: usize,
        reverse: bool,
        state: &mut [Vec<f64>; 2],
    ) -> Vec<f64> {
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        let mut y = vec![0.0; hidden * steps];
        for step in 0..steps {
            let t = if reverse { steps - 1 - step } else { step };
            let before = state[0].clone();
            for unit in 0..hidden {
                let gate = |gate: usize| {
                    let row = gate * hidden + unit;
                    let product: f64 = (0..hidden).map(|k| f64::from(weight[row * hidden + k]) * before[k]).sum();
                    f64::from(x[row * steps + t]) + product + f64::from(bias[row])
                };
                state[1][unit] = sigmoid(gate(1)) * state[1][unit] + sigmoid(gate(0)) * gate(2).tanh();
                state[0][unit] = sigmoid(gate(3)) * state[1][unit].tanh();
                y[unit * steps + t] = state[0][unit];
            }
        }
        y
    }

    fn values(count: usize, seed: u32, size: f32) -> Vec<f32> {
        let value = |i: u32| ((i ^ seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
        (0..count as u32).map(|i| size * value(i)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_the_definition_with_the_same_bits_however_it_is_shared(
            hidden in prop_oneof![1usize..40, Just(272usize)], steps in 1usize..7, images in 1usize..8, reverse in any::<bool>(), seed in any::<u32>(),
        ) {
            let weight = values(4 * hidden * hidden, seed, 1.5 / (hidden as f32).sqrt());
            let x = values(images * 4 * hidden * steps, seed ^ 77, 2.0);
            let bias = values(4 * hidden, seed ^ 5, 0.5);
            let packed = PackedLstm::new(&weight, Some(&bias), hidden, reverse);
            let (xg, yg) = (Geometry::blocked(images, 4 * hidden, 1, steps), Geometry::blocked(images, hidden, 1, steps));
            let mut from = vec![0.0; xg.len()];
            xg.pack(&x, &mut from);
            let mut first: Option<(Vec<f32>, Vec<f32>)> = None;
            for isa in Isa::available() {
                for threads in [1, 2, 3] {
                    let pool = Pool::new(threads);
                    let mut y = vec![0.0; yg.len()];
                    let mut states = vec![0.0; images * packed.state_len()];
                    // Twice: the second run starts from the state of the first.
                    packed.run(&Exec::new(&pool, isa), images, (&from, &xg), &mut y, &yg, &mut states);
                    let once = yg.unpack(&y);
                    packed.run(&Exec::new(&pool, isa), images, (&from, &xg), &mut y, &yg, &mut states);
                    let twice = yg.unpack(&y);
                    for image in 0..images {
                        let mut state = [vec![0.0; hidden], vec![0.0; hidden]];
                        let part = &x[image * 4 * hidden * steps..][..4 * hidden * steps];
                        for got in [&once, &twice] {
                            let want = plain((&weight, &bias), hidden, part, steps, reverse, &mut state);
                            let got = &got[image * hidden * steps..][..hidden * steps];
                            let apart = got.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                            prop_assert!(apart < 2e-6, "{apart} apart");
                        }
                        for (unit, want) in state[0].iter().enumerate() {
                            let state = &states[image * packed.state_len()..][..packed.state_len()];
                            let got = packed.hidden_of(state).nth(unit).unwrap();
                            prop_assert!((f64::from(got) - want).abs() < 2e-6);
                        }
                    }
                    let bits = first.get_or_insert_with(|| (once.clone(), twice.clone()));
                    prop_assert!(bits.0 == once && bits.1 == twice, "{} {threads} threads: other bits", isa.name());
                }
            }
        }
    }
}
