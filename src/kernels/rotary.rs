//! Rotary position embedding: pairs of channels of each head turn by an angle that grows with the position.

use std::ops::Range;

use super::buffer::Buffer;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::{Pixel, PixelOp, Source, for_each_pixel};
use super::simd::Simd;

/// Which channels turn, and how fast.
#[derive(Clone, Debug, PartialEq)]
pub struct Turns {
    /// Channels of a head.
    pub channels: usize,
    /// Angle of each pair per position, in radians; twice as many channels of a head turn, the first ones.
    pub frequencies: Vec<f32>,
    /// Whether a pair is two neighbours, or channel i and i + half of those that turn.
    pub interleaved: bool,
    /// Multiplies sine and cosine.
    pub scale: f32,
}

impl Turns {
    /// The other channel of the pair of channel `c` of a head, and the angle's index, if it turns.
    fn pair(&self, c: usize) -> Option<(usize, usize)> {
        let half = self.frequencies.len();
        match (c < 2 * half, self.interleaved) {
            (false, _) => None,
            (true, true) => Some((c ^ 1, c / 2)),
            (true, false) => Some(((c + half) % (2 * half), c % half)),
        }
    }

    /// Cosine and signed sine of each channel of a head at each of `positions`.
    fn table(&self, positions: Range<usize>) -> Table {
        let mut table = Table { start: positions.start, cosines: Vec::new(), sines: Vec::new() };
        for position in positions {
            // As an f32 product, as in PyTorch.
            let turned = |&frequency: &f32| f64::from(position as f32 * frequency).sin_cos();
            let turns: Vec<(f64, f64)> = self.frequencies.iter().map(turned).collect();
            for c in 0..self.channels {
                let (cosine, sine) = match self.pair(c) {
                    None => (1.0, 0.0),
                    Some((other, index)) => {
                        let (sine, cosine) = turns[index];
                        let sign = if other > c { -1.0 } else { 1.0 };
                        (cosine as f32 * self.scale, (sign * sine) as f32 * self.scale)
                    }
                };
                table.cosines.push(cosine);
                table.sines.push(sine);
            }
        }
        // Vectors are loaded up to the end of a block.
        table.cosines.resize(table.cosines.len() + LANES, 0.0);
        table.sines.resize(table.sines.len() + LANES, 0.0);
        table
    }
}

struct Table {
    start: usize,
    /// `[position][channel of a head]`.
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// [`Turns`], with a table for the first positions.
pub struct PackedTurns {
    turns: Turns,
    first: Table,
    steps: usize,
    /// For each channel of a head, the other one of its pair, or itself.
    others: Vec<usize>,
}

impl PackedTurns {
    /// For sequences of `steps` steps.
    pub fn new(turns: &Turns, steps: usize) -> Self {
        let others = (0..turns.channels).map(|c| turns.pair(c).map_or(c, |(other, _)| other)).collect();
        Self { first: turns.table(0..steps), turns: turns.clone(), steps, others }
    }

    /// Turns the first `images` sequences of `x`, of which the first step is at the position in `start`, and moves these on.
    pub fn run(
        &self,
        exec: &Exec<'_>,
        images: usize,
        x: (&[f32], &Geometry),
        (y, yg): (&mut [f32], &Geometry),
        start: &mut Buffer,
    ) {
        assert!(yg.c.is_multiple_of(self.turns.channels) && yg.w == x.1.w && yg.w <= self.steps, "whole heads");
        let starts: Vec<usize> = start[..images].iter().map(|&position| position as usize).collect();
        let mut others: Vec<Table> = Vec::new();
        for &start in &starts {
            if start > 0 && others.iter().all(|table| table.start != start) {
                others.push(self.turns.table(start..start + yg.w));
            }
        }
        let table = |start: &usize| others.iter().find(|table| table.start == *start).unwrap_or(&self.first);
        let tables: Vec<&Table> = starts.iter().map(table).collect();
        let (channels, half) = (self.turns.channels, self.turns.frequencies.len());
        let whole_blocks =
            !self.turns.interleaved && channels == 2 * half && half.is_multiple_of(LANES) && x.1.lanes == LANES;
        let op = Turn { packed: self, tables, x: Source::new(x.0, x.1), whole_blocks };
        for_each_pixel(exec, images, &op, y, yg);
        start[..images].iter_mut().for_each(|position| *position += yg.w as f32);
    }
}

struct Turn<'a> {
    packed: &'a PackedTurns,
    /// Of each image.
    tables: Vec<&'a Table>,
    x: Source<'a>,
    /// Whether the other channels of a block are a block.
    whole_blocks: bool,
}

impl PixelOp for Turn<'_> {
    #[inline(always)]
    fn pixel<S: Simd>(&self, s: S, at: Pixel) -> S::V {
        let (channels, table) = (self.packed.turns.channels, self.tables[at.image]);
        let first = at.block * LANES;
        let x = self.x.load(s, at);
        if self.whole_blocks {
            let c = first % channels;
            let block = (first - c + self.packed.others[c]) / LANES;
            let [cosines, sines] = [&table.cosines, &table.sines].map(|of| s.load(&of[at.x * channels + c..]));
            return s.fma(self.x.load(s, Pixel { block, ..at }), sines, s.mul(x, cosines));
        }
        let (mut others, mut cosines, mut sines) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES.min(self.x.geometry.c - first) {
            let c = (first + lane) % channels;
            others[lane] = self.x.channel(at.image, first + lane - c + self.packed.others[c], at.y, at.x);
            cosines[lane] = table.cosines[at.x * channels + c];
            sines[lane] = table.sines[at.x * channels + c];
        }
        s.fma(s.load(&others), s.load(&sines), s.mul(x, s.load(&cosines)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::{Isa, Pool};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn turns_are_those_of_plain_loops_from_any_position(
            (heads, steps, start) in (1usize..4, 1usize..9, 0usize..5),
            (half, rest) in prop::sample::select(vec![(1, 0), (3, 1), (8, 0), (16, 0), (16, 4), (32, 0)]),
            interleaved: bool,
            seed: u32,
        ) {
            let channels = 2 * half + rest;
            let frequencies: Vec<f32> = (0..half).map(|i| 10f32.powf(-(i as f32) / half as f32)).collect();
            let turns = Turns { channels, frequencies: frequencies.clone(), interleaved, scale: 1.25 };
            let geometry = Geometry::blocked(2, heads * channels, 1, steps);
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 9) as f32 / 4194304.0 - 1.0;
            let x: Vec<f32> = (0..geometry.elements()).map(value).collect();
            let mut buffer = vec![0.0; geometry.len()];
            geometry.pack(&x, &mut buffer);
            let mut results = Vec::new();
            for isa in Isa::available() {
                let pool = Pool::new(2);
                let mut y = vec![0.0; geometry.len()];
                // The second image is elsewhere in its sequence.
                let mut starts = Buffer::from(vec![start as f32, 2.0]);
                let packed = PackedTurns::new(&turns, steps);
                packed.run(&Exec::new(&pool, isa), 2, (&buffer, &geometry), (&mut y, &geometry), &mut starts);
                prop_assert_eq!(&starts[..], &[(start + steps) as f32, (2 + steps) as f32][..]);
                results.push(y);
            }
            for (place, got) in geometry.unpack(&results[0]).into_iter().enumerate() {
                let (image, c, t) = (place / steps / geometry.c, place / steps % geometry.c, place % steps);
                let (head, c) = (c / channels * channels, c % channels);
                let at = |c: usize| f64::from(x[(image * geometry.c + head + c) * steps + t]);
                let position = t + if image == 0 { start } else { 2 };
                let pair = |i: usize| f64::from(position as f32 * frequencies[i]).sin_cos();
                let want = match (c < 2 * half, interleaved) {
                    (false, _) => at(c),
                    (true, true) => {
                        let (sine, cosine) = pair(c / 2);
                        1.25 * if c % 2 == 0 { at(c) * cosine - at(c + 1) * sine } else { at(c) * cosine + at(c - 1) * sine }
                    }
                    (true, false) => {
                        let (sine, cosine) = pair(c % half);
                        1.25 * if c < half { at(c) * cosine - at(c + half) * sine } else { at(c) * cosine + at(c - half) * sine }
                    }
                };
                prop_assert!((f64::from(got) - want).abs() < 1e-5, "{got} {want}");
            }
            for other in &results {
                prop_assert!(other.iter().zip(&results[0]).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}
