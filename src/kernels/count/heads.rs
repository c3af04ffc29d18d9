//! The values of one head of a sequence as lines: along the features of each step, or along the steps of each feature.

use std::borrow::Cow;
use std::ops::Range;

use super::reduction::Line;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// A sequence of a batch, `[channels, 1, T]`.
#[derive(Clone, Copy, Debug)]
pub struct SequenceValues<'a> {
    /// The batch.
    pub x: &'a [f32],
    /// Its layout.
    pub geometry: &'a Geometry,
    /// The sequence's place in it.
    pub image: usize,
}

/// Lines along the features of each step.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    x: Cow<'a, [f32]>,
    /// Floats from one step to the next, and from sixteen features to the next sixteen.
    step: usize,
    stride: usize,
    features: usize,
}

impl Steps<'_> {
    /// The line of `step`.
    pub fn line(&self, step: usize) -> Line<'_> {
        Line { x: &self.x[step * self.step..], at: 0..self.features }
    }

    /// Floats from sixteen features to the next sixteen.
    pub fn stride(&self) -> usize {
        self.stride
    }
}

impl<'a> SequenceValues<'a> {
    /// Channels.
    pub fn channels(&self) -> usize {
        self.geometry.c
    }

    /// Steps.
    pub fn steps(&self) -> usize {
        self.geometry.w
    }

    /// The steps of `channels`, in place where these begin a block.
    pub fn steps_of(&self, channels: Range<usize>) -> Steps<'a> {
        let Self { x, geometry, image } = *self;
        let features = channels.len();
        if geometry.lanes == LANES && channels.start.is_multiple_of(LANES) {
            let x = Cow::Borrowed(&x[geometry.at(image, channels.start / LANES, 0, 0)..]);
            return Steps { x, step: LANES, stride: geometry.plane_len(), features };
        }
        let step = features.next_multiple_of(LANES);
        let mut gathered = vec![0.0; geometry.w * step];
        for (t, to) in gathered.chunks_exact_mut(step.max(1)).enumerate() {
            to.iter_mut().zip(channels.clone()).for_each(|(to, c)| *to = x[geometry.index(image, c, 0, t)]);
        }
        Steps { x: Cow::Owned(gathered), step, stride: LANES, features }
    }

    /// `[channel][step]` of `channels`.
    pub fn features_of(&self, isa: Isa, channels: Range<usize>) -> Vec<f32> {
        let Self { x, geometry, image } = *self;
        let steps = geometry.w;
        let mut to = vec![0.0; channels.len() * steps];
        if geometry.lanes == LANES && channels.start.is_multiple_of(LANES) {
            for (block, to) in to.chunks_mut(LANES * steps).enumerate() {
                let from = &x[geometry.at(image, channels.start / LANES + block, 0, 0)..][..steps * LANES];
                isa.run(Turn { from, to, steps });
            }
            return to;
        }
        for (c, to) in channels.zip(to.chunks_exact_mut(steps.max(1))) {
            to.iter_mut().enumerate().for_each(|(t, to)| *to = x[geometry.index(image, c, 0, t)]);
        }
        to
    }
}

/// `[steps][16]` to `[channel][steps]` of up to sixteen channels.
struct Turn<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    steps: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, to, steps } = self;
        for first in (0..steps).step_by(LANES) {
            let count = (steps - first).min(LANES);
            let mut rows = [s.splat(0.0); LANES];
            for (row, pixel) in from[first * LANES..].as_chunks::<LANES>().0.iter().take(count).enumerate() {
                rows[row] = s.load(pixel);
            }
            let columns = s.transpose(rows);
            for (to, column) in to.chunks_exact_mut(steps).zip(columns) {
                let to = &mut to[first..first + count];
                if count == LANES {
                    s.store(to, column);
                } else {
                    let mut lanes = [0.0; LANES];
                    s.store(&mut lanes, column);
                    to.copy_from_slice(&lanes[..count]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_layout() {
        for (lanes, heads, features, steps) in
            [(LANES, 2, 32, 37), (LANES, 3, 20, 5), (1, 2, 7, 18), (LANES, 1, 40, 16)]
        {
            let geometry = Geometry { lanes, ..Geometry::blocked(2, heads * features, 1, steps) };
            let values: Vec<f32> = (0..geometry.elements()).map(|i| i as f32 + 1.0).collect();
            let mut x = vec![0.0; geometry.len()];
            geometry.pack(&values, &mut x);
            let sequence = SequenceValues { x: &x, geometry: &geometry, image: 1 };
            let value = |c: usize, t: usize| values[((heads * features) + c) * steps + t];
            for head in 0..heads {
                let channels = head * features..(head + 1) * features;
                let lines = sequence.steps_of(channels.clone());
                for t in 0..steps {
                    let line = lines.line(t);
                    let at = |f: usize| line.x[f / LANES * lines.stride() + f % LANES];
                    assert!((0..features).all(|f| at(f) == value(channels.start + f, t)), "{lanes} {features}");
                }
                for isa in Isa::available() {
                    let planar = sequence.features_of(isa, channels.clone());
                    let want: Vec<f32> = channels.clone().flat_map(|c| (0..steps).map(move |t| value(c, t))).collect();
                    assert_eq!(planar, want, "{} {features}", isa.name());
                }
            }
        }
    }
}
