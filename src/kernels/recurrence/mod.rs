//! The recurrences of LSTM, GRU and plain RNN: weights are packed once; threads share the work of a step.

mod step;

use std::ops::Range;

use self::step::{Part, Step};
use super::activation::Activation;
use super::buffer::Buffer;
use super::count::CodeMap;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::shared::Shared;

/// Independent partial sums of each product: with three or four gates, enough to hide the latency of multiply-add.
const CHAINS: usize = 2;
/// Multiply-adds in a step above which threads share it.
const SHARED_STEP: usize = 1 << 18;

/// What a step makes of the sums of its gates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// Gates i, f, g, o; `clip` bounds the cell's magnitude, infinity for none.
    Lstm {
        /// The bound.
        clip: f32,
    },
    /// Gates r, z, n; r multiplies the recurrent sum of n, its bias included.
    Gru,
    /// One gate, the hidden values themselves.
    Rnn(Activation),
}

impl Cell {
    /// Stacked gates.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm { .. } => 4,
            Self::Gru => 3,
            Self::Rnn(_) => 1,
        }
    }

    /// Values of state for each hidden value: itself, and the cell of an LSTM.
    fn kept(self) -> usize {
        if let Self::Lstm { .. } = self { 2 } else { 1 }
    }
}

/// Parameters of a recurrence of G gates.
#[derive(Clone, Copy)]
pub struct RecurrenceParams<'a> {
    /// Its kind.
    pub cell: Cell,
    /// `[G·H, P]`.
    pub weight: &'a [f32],
    /// `[G·H]`.
    pub bias: Option<&'a [f32]>,
    /// `[P, H]`; without it, P is H.
    pub projection: Option<&'a [f32]>,
    /// H.
    pub hidden: usize,
    /// P.
    pub outputs: usize,
    /// What the values that a step reads are rounded to before they are multiplied, and what those before the projection are.
    pub rounding: [Option<CodeMap>; 2],
}

/// Recurrent weights, packed.
pub struct PackedRecurrence {
    cell: Cell,
    hidden: usize,
    outputs: usize,
    /// `[hidden block][input of the recurrence][gate][16]`.
    weights: Buffer,
    /// `[hidden block][gate][16]`.
    bias: Buffer,
    /// `[output block][hidden value][16]`.
    projection: Option<Buffer>,
    rounding: [Option<CodeMap>; 2],
    reverse: bool,
}

impl PackedRecurrence {
    /// Packs the parameters.
    ///
    /// # Panics
    /// If their sizes contradict one another.
    pub fn new(params: RecurrenceParams<'_>, reverse: bool) -> Self {
        let RecurrenceParams { cell, weight, bias, projection, hidden, outputs, rounding } = params;
        let gates = cell.gates();
        assert_eq!(weight.len(), gates * hidden * outputs, "weights");
        assert_eq!(projection.map_or(outputs * outputs, <[f32]>::len), outputs * hidden, "projection");
        let (blocks, inputs) = (hidden.div_ceil(LANES), outputs.next_multiple_of(CHAINS));
        let mut weights = Vec::with_capacity(blocks * inputs * gates * LANES);
        for (block, k, gate) in weight_indices(blocks, inputs, gates) {
            weights.extend((block * LANES..(block + 1) * LANES).map(|unit| {
                let inside = unit < hidden && k < outputs;
                if inside { weight[(gate * hidden + unit) * outputs + k] } else { 0.0 }
            }));
        }
        let mut packed = Buffer::zeroed(blocks * gates * LANES);
        for (i, &value) in bias.into_iter().flatten().enumerate() {
            let (gate, unit) = (i / hidden, i % hidden);
            packed[(unit / LANES * gates + gate) * LANES + unit % LANES] = value;
        }
        let projection = projection.map(|weight| {
            let rows = (0..outputs.div_ceil(LANES)).flat_map(|block| (0..hidden).map(move |unit| (block, unit)));
            let lanes = rows.flat_map(|(block, unit)| (0..LANES).map(move |lane| (block * LANES + lane, unit)));
            let values = lanes.map(|(row, unit)| if row < outputs { weight[row * hidden + unit] } else { 0.0 });
            Buffer::from(values.collect::<Vec<f32>>())
        });
        Self { cell, hidden, outputs, weights: weights.into(), bias: packed, projection, rounding, reverse }
    }

    /// The kind's name.
    pub fn name(&self) -> &'static str {
        match self.cell {
            Cell::Lstm { .. } => "lstm",
            Cell::Gru => "gru",
            Cell::Rnn(_) => "rnn",
        }
    }

    fn blocks(&self) -> usize {
        self.hidden.div_ceil(LANES)
    }

    fn output_blocks(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Floats in the state of a block.
    fn block_len(&self) -> usize {
        self.cell.kept() * LANES
    }

    /// Index in a state of the values that the next step reads, and the stride between blocks.
    fn read_from(&self) -> (usize, usize) {
        match self.projection {
            Some(_) => (self.blocks() * self.block_len(), LANES),
            None => (0, self.block_len()),
        }
    }

    /// Floats in the state of one sequence: for each block, sixteen hidden values and, of an LSTM, sixteen cell values; then
    /// the projected values.
    pub fn state_len(&self) -> usize {
        let projected = if self.projection.is_some() { self.output_blocks() * LANES } else { 0 };
        self.blocks() * self.block_len() + projected
    }

    /// The values of a state that the next step reads.
    pub fn read_of<'a>(&self, state: &'a [f32]) -> impl Iterator<Item = f32> + use<'a> {
        let (start, distance) = self.read_from();
        state[start..].chunks(distance).flat_map(|block| &block[..LANES]).copied().take(self.outputs)
    }

    /// The layout of the hidden values before the projection, for outputs laid out as `y`.
    pub fn unprojected_geometry(&self, y: &Geometry) -> Geometry {
        Geometry::blocked(y.n, self.hidden, 1, y.w)
    }

    /// The column that step `step` of `steps` reads and writes.
    pub fn column(&self, step: usize, steps: usize) -> usize {
        if self.reverse { steps - 1 - step } else { step }
    }

    /// Runs the first `images` sequences of `x` from `states` (one after the other), which are replaced by the states after
    /// the last step. No bit depends on how the work is shared. `unprojected` `[N, H, 1, T]` receives the hidden values
    /// before the projection.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: (&[f32], &Geometry),
        (y, yg): (&mut [f32], &Geometry),
        states: &mut [f32],
        unprojected: Option<(&mut [f32], &Geometry)>,
    ) {
        let (data, xg) = x;
        assert!(data.len() >= xg.len() && y.len() >= yg.len(), "buffers hold the sequences");
        let gates = self.cell.gates();
        assert!(xg.c == gates * self.hidden && yg.c == self.outputs && xg.w == yg.w, "all gates enter");
        assert!(xg.lanes == LANES && yg.lanes == LANES && states.len() >= images * self.state_len(), "blocked");
        let (y, states) = (Shared::new(y), Shared::new(states));
        let unprojected = unprojected.map(|(buffer, geometry)| {
            assert!(buffer.len() >= geometry.len() && geometry.c == self.hidden, "a buffer holds the hidden values");
            (Shared::new(buffer), geometry)
        });
        let unprojected = unprojected.as_ref().map(|(buffer, geometry)| (buffer, *geometry));
        let (blocks, threads) = (self.blocks(), exec.pool.threads());
        let large = gates * self.hidden * self.outputs >= SHARED_STEP;
        let values = self.output_blocks() * LANES;
        let part = |sequences: Range<usize>, blocks: Range<usize>, step: usize| {
            let column = self.column(step, xg.w);
            Part { packed: self, data, xg, y: &y, yg, states: &states, unprojected, sequences, column, blocks }
        };
        if large && self.projection.is_none() && threads > 1 {
            // The threads divide the weights, so that each thread's part can stay in its own cache from step to step.
            let parts = threads.min(blocks);
            let mut read = [vec![0.0; images * values], vec![0.0; images * values]];
            part(0..images, 0..blocks, 0).read(&mut read[0]);
            for step in 0..xg.w {
                let [before, after] = &mut read;
                let after = Shared::new(after);
                exec.for_each_task(parts, |_, task| {
                    let mine = blocks * task / parts..blocks * (task + 1) / parts;
                    let reversed = step % 2 == 1;
                    exec.isa.run(Step { part: part(0..images, mine, step), before, after: &after, reversed });
                });
                read.swap(0, 1);
            }
            return;
        }
        // The sequences of a thread go through each step together: the weights of a block stay in cache from one to the next.
        let together = images.div_ceil(threads);
        exec.for_each_task(images.div_ceil(together), |_, task| {
            let sequences = task * together..((task + 1) * together).min(images);
            let mut read = [vec![0.0; together * values], vec![0.0; together * values]];
            part(sequences.clone(), 0..blocks, 0).read(&mut read[0]);
            for step in 0..xg.w {
                let [before, after] = &mut read;
                let after = Shared::new(after);
                let part = part(sequences.clone(), 0..blocks, step);
                exec.isa.run(Step { part, before, after: &after, reversed: step % 2 == 1 });
                read.swap(0, 1);
            }
        });
    }
}

fn weight_indices(blocks: usize, inputs: usize, gates: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..blocks * inputs * gates).map(move |i| (i / (inputs * gates), i / gates % inputs, i % gates))
}

#[cfg(test)]
mod tests;
