//! How a kernel runs: thread pool, instruction set, and work that each task does besides.

use std::ops::Range;

use super::attention::ObserveRows;
use super::geometry::{Geometry, LANES, Region};
use super::isa::Isa;
use super::threads::Pool;

/// Fewest pixels per strip of rows on average, if an image has that many.
const PIXELS: usize = 256;

/// One task of a parallel run, and its part of the work.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The thread that runs it, `0..pool.threads()`; no two running tasks have the same.
    pub worker: usize,
    /// Its index.
    pub task: usize,
    /// Number of tasks.
    pub tasks: usize,
}

impl Share {
    /// This task's part of `rows` of `images` images, as regions of whole rows or of some channel blocks. The regions of all
    /// tasks are disjoint and cover the rows.
    pub fn regions(
        self,
        geometry: &Geometry,
        images: usize,
        rows: Range<usize>,
    ) -> impl Iterator<Item = (usize, Region)> {
        let blocks = geometry.c.div_ceil(LANES);
        // Divides into strips of rows with enough contiguous pixels, then into channel blocks.
        let strips = (rows.len() * geometry.w / PIXELS).clamp(1, rows.len().max(1));
        let row = move |strip: usize| rows.start + rows.len() * strip / strips;
        let mut all = self.of(images * strips * blocks);
        std::iter::from_fn(move || {
            if all.is_empty() {
                return None;
            }
            let (first, strip, image) = (all.start % blocks, all.start / blocks % strips, all.start / blocks / strips);
            let (blocks, strips) = match all.len() / blocks {
                whole @ 1.. if first == 0 => (0..blocks, strip..(strip + whole).min(strips)),
                _ => (first..blocks.min(first + all.len()), strip..strip + 1),
            };
            all.start += blocks.len() * strips.len();
            Some((image, Region { rows: row(strips.start)..row(strips.end), blocks }))
        })
    }

    /// This task's part of `0..total`; the parts of all tasks are disjoint and cover it in order.
    pub fn of(self, total: usize) -> Range<usize> {
        total * self.task / self.tasks..total * (self.task + 1) / self.tasks
    }
}

/// Threads, instruction set, and who watches.
#[derive(Clone, Copy)]
pub struct Exec<'a> {
    /// The threads.
    pub pool: &'a Pool,
    /// The instruction-set level.
    pub isa: Isa,
    /// Called once by every task of the kernel, before its own work: a probe observes the task's share of the layer's input
    /// here.
    pub alongside: Option<&'a (dyn Fn(Share) + Sync)>,
    /// Shown the probabilities of attention, row by row.
    pub rows: Option<ObserveRows<'a>>,
}

impl<'a> Exec<'a> {
    /// Without extra work.
    pub fn new(pool: &'a Pool, isa: Isa) -> Self {
        Self { pool, isa, alongside: None, rows: None }
    }

    /// Runs `body(worker, task)` for every task, in any order and in parallel.
    pub fn for_each_task(&self, tasks: usize, body: impl Fn(usize, usize) + Sync) {
        match self.alongside {
            None => self.pool.for_each_task(tasks, body),
            Some(alongside) => self.pool.for_each_task(tasks, |worker, task| {
                alongside(Share { worker, task, tasks });
                body(worker, task);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_regions_of_all_tasks_cover_every_row_of_every_block_once(
            (images, c, h, w) in (0usize..4, 1usize..70, 1usize..40, 1usize..200),
            tasks in 1usize..20,
            (start, end) in (0usize..40, 0usize..41),
        ) {
            let rows = start.min(h)..end.min(h).max(start.min(h));
            let geometry = Geometry::blocked(images, c, h, w);
            let mut seen = vec![0; images * h * geometry.blocks()];
            for task in 0..tasks {
                for (image, region) in (Share { worker: 0, task, tasks }).regions(&geometry, images, rows.clone()) {
                    for (row, block) in region.rows.flat_map(|row| region.blocks.clone().map(move |block| (row, block))) {
                        seen[(image * h + row) * geometry.blocks() + block] += 1;
                    }
                }
            }
            for (index, seen) in seen.into_iter().enumerate() {
                prop_assert_eq!(seen, usize::from(rows.contains(&(index / geometry.blocks() % h))));
            }
        }
    }
}
