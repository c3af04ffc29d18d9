//! Which rows (or columns) of an input are read by which filter taps. Within one such class, sums are all that is needed.

use std::ops::Range;

/// An arithmetic progression of indices: `start, start + step, ...`, `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First index.
    pub start: usize,
    /// How many.
    pub count: usize,
    /// Difference.
    pub step: usize,
}

impl Run {
    /// The indices that are in `range`.
    pub fn within(self, range: Range<usize>) -> Self {
        let before = range.start.saturating_sub(self.start).div_ceil(self.step).min(self.count);
        let start = self.start + before * self.step;
        let count = range.end.saturating_sub(start).div_ceil(self.step).min(self.count - before);
        Self { start, count, step: self.step }
    }

    /// The indices.
    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |index| self.start + index * self.step)
    }

    /// One more than the last of at least one index.
    pub fn end(self) -> usize {
        self.start + (self.count - 1) * self.step + 1
    }

    /// The same indices in runs of at most `most`.
    pub fn split(self, most: usize) -> impl Iterator<Item = Self> {
        let Self { start, count, step } = self;
        let part = move |done: usize| Self { start: start + done * step, count: (count - done).min(most), step };
        (0..count).step_by(most.max(1)).map(part)
    }
}

/// The classes of one axis of a layer's input.
///
/// Tap `t` of output `p` reads index `p * stride + t * dilation - before`. Two indices are of one class if they are read
/// by the same taps; the sum of a function over what a tap reads is then the sum over the classes it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// Class of each index.
    pub of: Vec<u16>,
    /// Indices of each class, as few runs.
    pub runs: Vec<Vec<Run>>,
    /// For each class, which taps read it.
    pub taps: Vec<Vec<bool>>,
    /// For each tap, how many outputs read it inside the input (the others read padding).
    pub visits: Vec<u64>,
    /// Outputs.
    pub outputs: usize,
}

impl Classes {
    /// Classes of an axis of `size` with `outputs` outputs.
    pub fn new(size: usize, outputs: usize, stride: usize, dilation: usize, before: usize, taps: usize) -> Self {
        let mut read_by = vec![vec![false; taps]; size];
        let mut visits = vec![0; taps];
        for output in 0..outputs {
            for tap in 0..taps {
                let index = (output * stride + tap * dilation).wrapping_sub(before);
                if let Some(read_by) = read_by.get_mut(index) {
                    read_by[tap] = true;
                    visits[tap] += 1;
                }
            }
        }
        let mut kinds: Vec<Vec<bool>> = Vec::new();
        let of: Vec<u16> = read_by
            .into_iter()
            .map(|taps| {
                let known = kinds.iter().position(|kind| *kind == taps);
                known.unwrap_or_else(|| {
                    kinds.push(taps);
                    kinds.len() - 1
                }) as u16
            })
            .collect();
        let runs = (0..kinds.len() as u16).map(|kind| runs_of(&of, kind)).collect();
        Self { of, runs, taps: kinds, visits, outputs }
    }

    /// Refines the classes: two indices share a class if they share one here and one in `by`.
    pub fn divided(&self, by: &Self) -> Self {
        let mut kinds = Vec::new();
        let pairs = self.of.iter().zip(&by.of).map(|(&own, &other)| (own, other));
        let of: Vec<u16> = pairs
            .map(|pair| {
                let known = kinds.iter().position(|&kind| kind == pair);
                known.unwrap_or_else(|| {
                    kinds.push(pair);
                    kinds.len() - 1
                }) as u16
            })
            .collect();
        let runs = (0..kinds.len() as u16).map(|kind| runs_of(&of, kind)).collect();
        let taps = kinds.iter().map(|&(own, _)| self.taps[usize::from(own)].clone()).collect();
        Self { of, runs, taps, visits: self.visits.clone(), outputs: self.outputs }
    }

    /// One class for an axis of which every tap reads every index once, as in a transposed convolution.
    pub fn every(size: usize, taps: usize) -> Self {
        let runs = vec![vec![Run { start: 0, count: size, step: 1 }]];
        Self { of: vec![0; size], runs, taps: vec![vec![true; taps]], visits: vec![size as u64; taps], outputs: size }
    }

    /// An axis of one index that every output reads once, for the features of a fully connected layer.
    pub fn single() -> Self {
        Self::new(1, 1, 1, 1, 0, 1)
    }

    /// Those of `indices` that are in each class, as runs.
    pub fn within(&self, indices: Range<usize>) -> impl Iterator<Item = (usize, Run)> {
        let runs = self.runs.iter().enumerate().flat_map(|(class, runs)| runs.iter().map(move |run| (class, run)));
        runs.map(move |(class, run)| (class, run.within(indices.clone()))).filter(|(_, run)| run.count > 0)
    }

    /// How many classes.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// True for an axis without indices.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// The indices of class `kind` as arithmetic progressions.
fn runs_of(of: &[u16], kind: u16) -> Vec<Run> {
    let indices = (0..of.len()).filter(|&index| of[index] == kind);
    let mut runs: Vec<Run> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some(run) if run.count == 1 => {
                run.step = index - run.start;
                run.count = 2;
            }
            Some(run) if run.start + run.count * run.step == index => run.count += 1,
            _ => runs.push(Run { start: index, count: 1, step: 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_padded_three_tap_axis_has_three_classes() {
        let classes = Classes::new(56, 56, 1, 1, 1, 3);
        assert_eq!(classes.len(), 3);
        assert_eq!(classes.visits, [55, 56, 55]);
    }

    proptest! {
        #[test]
        fn classes_partition_the_axis_and_say_what_taps_read(
            size in 1usize..40, outputs in 1usize..40, stride in 1usize..4, dilation in 1usize..4, before in 0usize..5, taps in 1usize..6,
        ) {
            let classes = Classes::new(size, outputs, stride, dilation, before, taps);
            let mut seen = vec![0; size];
            for (class, runs) in classes.runs.iter().enumerate() {
                for run in runs {
                    for i in 0..run.count {
                        let index = run.start + i * run.step;
                        seen[index] += 1;
                        prop_assert_eq!(usize::from(classes.of[index]), class);
                        for tap in 0..taps {
                            let read = (0..outputs).any(|p| p * stride + tap * dilation == index + before);
                            prop_assert_eq!(classes.taps[class][tap], read);
                        }
                    }
                }
            }
            prop_assert!(seen.iter().all(|&count| count == 1));
        }
    }
}
