//! How a kernel runs: on which threads, at which level, and what each task does besides.

use super::isa::Isa;
use super::threads::Pool;

/// One task's share of a parallel run.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The thread that runs it, `0..pool.threads()`; no two running tasks have the same.
    pub worker: usize,
    /// Its number.
    pub task: usize,
    /// How many there are.
    pub tasks: usize,
}

impl Share {
    /// This task's part of `0..total`; the parts of all tasks are disjoint and cover it in order.
    pub fn of(self, total: usize) -> std::ops::Range<usize> {
        total * self.task / self.tasks..total * (self.task + 1) / self.tasks
    }
}

/// Threads, level, and the work to do alongside.
#[derive(Clone, Copy)]
pub struct Exec<'a> {
    /// The threads.
    pub pool: &'a Pool,
    /// The instruction-set level.
    pub isa: Isa,
    /// Called once by every task of the kernel, before its own work: this is where a probe looks at the rows of the
    /// layer's input that the task is about to read.
    pub alongside: Option<&'a (dyn Fn(Share) + Sync)>,
}

impl<'a> Exec<'a> {
    /// Nothing alongside.
    pub fn new(pool: &'a Pool, isa: Isa) -> Self {
        Self { pool, isa, alongside: None }
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
