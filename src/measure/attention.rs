//! Counting attention: probabilities as they are shown, each by the thread that computes them; queries, keys and values by heads once the
//! layer has run.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::pairs::locked;
use crate::kernels::attention::Probabilities;
use crate::kernels::count::SequenceValues;
use crate::kernels::{Geometry, Pool};
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

/// Of a sequence, phase by phase, the counts of both products; none where it holds NaN or infinity.
type Counted = Option<Vec<[PairSums; 2]>>;

impl AttentionCounter {
    pub(super) fn new(spec: AttentionSpec, phases: Vec<Phase>, threads: usize) -> Self {
        let codes = || phases.iter().map(|_| Codes::default()).collect();
        let worker = || Mutex::new(Worker { rows: BTreeMap::new(), codes: codes() });
        Self { workers: (0..threads).map(|_| worker()).collect(), spec, phases }
    }

    /// Adds the probabilities of some queries of a sequence.
    pub(super) fn add(&self, rows: &[Probabilities<'_>]) {
        let Some(first) = rows.first() else { return };
        let Worker { rows: sums, codes } = &mut *locked(&self.workers[first.worker]);
        let sums = sums.entry(first.image).or_insert_with(|| RowSums::new(&self.spec, first.steps, &self.phases));
        sums.add(&self.spec, rows, codes);
    }

    /// Counts the first `images` sequences of `operands`, queries, keys and values, whose probabilities were added.
    pub(super) fn count(&self, pool: &Pool, images: usize, operands: [(&[f32], &Geometry); 3]) -> Vec<Counted> {
        let steps = operands[1].1.w;
        let rows: Vec<RowSums> = (0..images).map(|image| self.take_rows(image, steps)).collect();
        let heads = self.spec.attention.kv_heads;
        let counted: Vec<Mutex<Counted>> = (0..images * heads).map(|_| Mutex::default()).collect();
        pool.for_each_task(counted.len(), |worker, task| {
            let image = task / heads;
            let values = operands.map(|(x, geometry)| SequenceValues { x, geometry, image });
            let Worker { codes, .. } = &mut *locked(&self.workers[worker]);
            *locked(&counted[task]) = self.spec.head(task % heads, values, &rows[image], codes);
        });
        let mut counted = counted.into_iter().map(|head| std::mem::take(&mut *locked(&head)));
        let whole = |rows: &RowSums| {
            let heads: Option<Vec<_>> = counted.by_ref().take(heads).collect();
            heads.filter(|_| rows.is_finite()).map(|heads| self.spec.whole(heads, rows))
        };
        rows.iter().map(whole).collect()
    }

    /// The probabilities of the sequence at `image`, of all threads.
    fn take_rows(&self, image: usize, steps: usize) -> RowSums {
        let of_workers = self.workers.iter().filter_map(|worker| locked(worker).rows.remove(&image));
        let rows = of_workers.reduce(|mut all, part| {
            all.merge(&part);
            all
        });
        rows.unwrap_or_else(|| RowSums::new(&self.spec, steps, &self.phases))
    }

    /// Takes out how often each code of the first and the second operand was seen, in phase `phase` of a product.
    pub(super) fn codes(&self, phase: usize, is_of_probabilities: bool) -> [Vec<u64>; 2] {
        let first = 2 * usize::from(is_of_probabilities);
        [first, first + 1].map(|operand| {
            let mut all = Vec::new();
            for worker in &self.workers {
                let Some(mut codes) = locked(worker).codes[phase][operand].take() else { continue };
                let codes = codes.take(self.spec.maps[operand]);
                all.resize(codes.len(), 0);
                all.iter_mut().zip(codes).for_each(|(all, count)| *all += count);
            }
            all
        })
    }
}
