//! The recurrence of an LSTM: at each step one product of the hidden values with the weights of all four gates, the gates
//! and the cell in registers.

use super::activation::{Activation, tanh};
use super::buffer::Buffer;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::isa::Kernel;
use super::shared::Shared;
use super::simd::Simd;

/// Input, forget, cell, output.
const GATES: usize = 4;
/// Hidden values whose products are summed apart and added at last: with four gates, enough sums to hide the latency of one.
const CHAINS: usize = 2;
/// Multiply-adds of a step from which on it pays to share them between threads.
const SHARED_STEP: usize = 1 << 18;

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

    /// Floats of the state of one sequence: hidden values and cells, both filled up to blocks.
    pub fn state_len(&self) -> usize {
        2 * self.blocks() * LANES
    }

    /// The hidden values of a state.
    pub fn hidden_of<'a>(&self, state: &'a [f32]) -> &'a [f32] {
        &state[..self.hidden]
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
        let blocks = self.blocks();
        let threads = exec.pool.threads();
        let share = images < threads && GATES * self.hidden * self.hidden >= SHARED_STEP;
        let parts = if share { threads.min(blocks) } else { 1 };
        let runs = if share { images } else { 1 };
        // Hidden values of the step before, which all parts read while each writes its own of the next.
        for run in 0..runs {
            let sequences = if share { run..run + 1 } else { 0..images };
            if parts == 1 {
                exec.for_each_task(sequences.len(), |_, sequence| {
                    let sequence = sequences.start + sequence;
                    // SAFETY: each sequence belongs to one task.
                    let state = unsafe { states.slice(sequence * self.state_len(), self.state_len()) };
                    let mut before = vec![0.0; blocks * LANES];
                    for step in 0..xg.w {
                        let (hidden, cells) = state.split_at_mut(blocks * LANES);
                        before.copy_from_slice(hidden);
                        let column = self.column(step, xg.w);
                        let part = Part { lstm: self, data, xg, y: &y, yg, sequence, column, blocks: 0..blocks };
                        exec.isa.run(Step { part, before: &before, hidden, cells });
                    }
                });
                continue;
            }
            let sequence = sequences.start;
            let mut before = vec![0.0; blocks * LANES];
            for step in 0..xg.w {
                // SAFETY: between two runs of tasks nobody else has the state.
                before.copy_from_slice(unsafe { states.slice(sequence * self.state_len(), blocks * LANES) });
                let column = self.column(step, xg.w);
                exec.for_each_task(parts, |_, task| {
                    let mine = blocks * task / parts..blocks * (task + 1) / parts;
                    let (at, len) = (sequence * self.state_len(), mine.len() * LANES);
                    // SAFETY: each block of hidden values belongs to one task.
                    let hidden = unsafe { states.slice(at + mine.start * LANES, len) };
                    // SAFETY: each block of cells belongs to one task.
                    let cells = unsafe { states.slice(at + (blocks + mine.start) * LANES, len) };
                    let part = Part { lstm: self, data, xg, y: &y, yg, sequence, column, blocks: mine };
                    exec.isa.run(Step { part, before: &before, hidden, cells });
                });
            }
        }
    }
}

fn places(blocks: usize, inputs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..blocks * inputs * GATES).map(move |i| (i / (inputs * GATES), i / GATES % inputs, i % GATES))
}

/// Some blocks of hidden values at one step of one sequence.
struct Part<'a> {
    lstm: &'a PackedLstm,
    data: &'a [f32],
    xg: &'a Geometry,
    y: &'a Shared<'a>,
    yg: &'a Geometry,
    sequence: usize,
    column: usize,
    blocks: std::ops::Range<usize>,
}

impl Part<'_> {
    /// What the inputs give to `gate` of the hidden values of `block`.
    #[inline(always)]
    fn given<S: Simd>(&self, s: S, gate: usize, block: usize) -> S::V {
        let (hidden, first) = (self.lstm.hidden, gate * self.lstm.hidden + block * LANES);
        if hidden.is_multiple_of(LANES) {
            return s.load(&self.data[self.xg.at(self.sequence, first / LANES, 0, self.column)..]);
        }
        let lanes: [f32; LANES] = std::array::from_fn(|lane| {
            let inside = block * LANES + lane < hidden;
            if inside { self.data[self.xg.index(self.sequence, first + lane, 0, self.column)] } else { 0.0 }
        });
        s.load(&lanes)
    }
}

/// One step of a part, from all hidden values `before` to its own `hidden` and `cells`.
struct Step<'a> {
    part: Part<'a>,
    before: &'a [f32],
    hidden: &'a mut [f32],
    cells: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { part, before, hidden, cells } = self;
        let lstm = part.lstm;
        let inputs = lstm.hidden.next_multiple_of(CHAINS);
        let own = hidden.chunks_exact_mut(LANES).zip(cells.chunks_exact_mut(LANES));
        for (block, (hidden, cells)) in part.blocks.clone().zip(own) {
            let mut sums: [[S::V; GATES]; CHAINS] = [
                std::array::from_fn(|gate| part.given(s, gate, block)),
                std::array::from_fn(|gate| s.load(&lstm.bias[(block * GATES + gate) * LANES..])),
            ];
            let weights = &lstm.weights[block * inputs * GATES * LANES..][..inputs * GATES * LANES];
            let weights = weights.as_chunks::<{ CHAINS * GATES * LANES }>().0;
            for (weights, values) in weights.iter().zip(before.as_chunks::<CHAINS>().0) {
                for chain in 0..CHAINS {
                    let value = s.splat(values[chain]);
                    for gate in 0..GATES {
                        let weight = s.load(&weights[(chain * GATES + gate) * LANES..][..LANES]);
                        sums[chain][gate] = s.fma(value, weight, sums[chain][gate]);
                    }
                }
            }
            let [i, f, g, o]: [S::V; GATES] = std::array::from_fn(|gate| s.add(sums[0][gate], sums[1][gate]));
            let [i, f, o] = [i, f, o].map(|gate| Activation::Sigmoid.apply(s, gate));
            let cell = s.fma(f, s.load(cells), s.mul(i, tanh(s, g)));
            let value = s.mul(o, tanh(s, cell));
            s.store(cells, cell);
            s.store(hidden, value);
            // SAFETY: each block of each sequence belongs to one task.
            let to = unsafe { part.y.slice(part.yg.at(part.sequence, block, 0, part.column), LANES) };
            s.store(to, value);
        }
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
            hidden in prop_oneof![1usize..40, Just(272usize)], steps in 1usize..7, images in 1usize..4, reverse in any::<bool>(), seed in any::<u32>(),
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
                            let got = packed.hidden_of(&states[image * packed.state_len()..])[unit];
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
