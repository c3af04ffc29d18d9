//! Counting attention: queries, keys and values by heads once the layer has run, probabilities as they are shown, each by the thread that
//! computes them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::pairs::{OPERANDS, locked};
use crate::kernels::Pool;
use crate::kernels::attention::Probabilities;
use crate::tally::{AttentionSpec, Codes, PairSums, Phase, RowSums};

/// Counts both products of a layer of attention.
pub(super) struct AttentionCounter {
    spec: AttentionSpec,
    phases: Vec<Phase>,
    /// Of each thread.
    workers: Vec<Mutex<Worker>>,
}

/// What one thread has seen.
struct Worker {
    /// Of sequences that run together, by their place in the batch.
    rows: BTreeMap<usize, RowSums>,
    /// Of each phase, over all sequences so far: large tables, which are not made again for each.
    codes: Vec<Codes>,
}

/// The operands of a sequence, `[channels, steps]`, by its place in the batch.
pub(super) type Sequences = Vec<(usize, [Vec<f32>; OPERANDS])>;

impl AttentionCounter {
    pub(super) fn new(spec: AttentionSpec, phases: Vec<Phase>, threads: usize) -> Self {
        let worker = || Mutex::new(Worker { rows: BTreeMap::new(), codes: vec![Codes::default(); phases.len()] });
        Self { workers: (0..threads).map(|_| worker()).collect(), spec, phases }
    }

    /// Adds the probabilities of a query of a head, of a sequence of `steps` tokens.
    pub(super) fn add(&self, row: &Probabilities<'_>, steps: impl FnOnce() -> usize) {
        let Worker { rows, codes } = &mut *locked(&self.workers[row.worker]);
        let rows = rows.entry(row.image).or_insert_with(|| RowSums::new(&self.spec, steps(), &self.phases));
        rows.add(&self.spec, row, codes);
    }

    /// Counts `sequences`, whose probabilities were added; of each its place and, phase by phase, its counts of both products: none
    /// where it holds NaN or infinity.
    pub(super) fn count(&self, pool: &Pool, sequences: &Sequences) -> Vec<(usize, Option<Vec<[PairSums; 2]>>)> {
        let rows: Vec<RowSums> = sequences.iter().map(|(place, values)| self.take_rows(*place, values)).collect();
        let heads = self.spec.attention.kv_heads;
        let counted: Vec<Mutex<Option<_>>> = (0..sequences.len() * heads).map(|_| Mutex::default()).collect();
        pool.for_each_task(counted.len(), |worker, task| {
            let values = sequences[task / heads].1.each_ref().map(Vec::as_slice);
            let Worker { codes, .. } = &mut *locked(&self.workers[worker]);
            *locked(&counted[task]) = self.spec.head(task % heads, values, &rows[task / heads], codes);
        });
        let mut counted = counted.into_iter().map(|head| std::mem::take(&mut *locked(&head)));
        let whole = |((place, _), rows): (&(usize, _), &RowSums)| {
            let heads: Option<Vec<_>> = counted.by_ref().take(heads).collect();
            (*place, heads.filter(|_| rows.is_finite()).map(|heads| self.spec.whole(heads, rows)))
        };
        sequences.iter().zip(&rows).map(whole).collect()
    }

    /// The probabilities of the sequence at `place`, of all threads.
    fn take_rows(&self, place: usize, values: &[Vec<f32>; OPERANDS]) -> RowSums {
        let of_workers = self.workers.iter().filter_map(|worker| locked(worker).rows.remove(&place));
        let rows = of_workers.reduce(|mut all, part| {
            all.merge(&part);
            all
        });
        rows.unwrap_or_else(|| RowSums::new(&self.spec, self.steps(&values[1]), &self.phases))
    }

    /// Tokens of a sequence by its keys.
    pub(super) fn steps(&self, keys: &[f32]) -> usize {
        keys.len() / (self.spec.attention.kv_heads * self.spec.attention.inner)
    }

    /// How often each code of the first and the second operand was seen, in phase `phase` of a product.
    pub(super) fn codes(&self, phase: usize, is_of_probabilities: bool) -> [Vec<u64>; 2] {
        let first = 2 * usize::from(is_of_probabilities);
        [first, first + 1].map(|operand| {
            let mut all = Vec::new();
            for worker in &self.workers {
                let codes = &locked(worker).codes[phase][operand];
                all.resize(codes.len().max(all.len()), 0);
                all.iter_mut().zip(codes).for_each(|(all, count)| *all += count);
            }
            all
        })
    }
}
