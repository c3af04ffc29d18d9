//! The thread pool: the caller works too and never waits for a worker to wake up; idle workers park.

use std::any::Any;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

/// Spins before a worker parks: about 30 us, longer than the gap between two layers.
const SPINS: u32 = 10_000;

type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A fixed set of threads that run numbered tasks.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    threads: Vec<Thread>,
    /// Locked during a run; the runs of one pool never overlap.
    running: Mutex<()>,
}

struct Shared {
    /// Generation in the high half, tasks not yet claimed in the low half: claiming is one compare-and-swap.
    state: AtomicU64,
    done: AtomicUsize,
    /// What the first task that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    asleep: AtomicUsize,
    stop: AtomicBool,
    body: UnsafeCell<Option<&'static Body<'static>>>,
}

// SAFETY: `body` is written only between runs, when no task is left to claim, and read only after a claim succeeded;
// the release of `state` and its acquire order the two.
unsafe impl Sync for Shared {}
// SAFETY: as above; the reference it holds is to a `Sync` closure.
unsafe impl Send for Shared {}

const UNCLAIMED: u64 = u32::MAX as u64;

impl Shared {
    /// Claims and runs one task. False if there is none.
    fn work(&self, worker: usize) -> bool {
        let state = self.state.load(Acquire);
        if state & UNCLAIMED == 0 {
            return false;
        }
        if self.state.compare_exchange_weak(state, state - 1, AcqRel, Relaxed).is_err() {
            return true;
        }
        // SAFETY: a claimed task keeps the run open, so `body` is the closure of this run until `done` is raised.
        let body = unsafe { (*self.body.get()).expect("a run has its body before its tasks can be claimed") };
        let task = (state & UNCLAIMED) as usize - 1;
        if let Err(said) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(worker, task))) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(said);
        }
        fence();
        self.done.fetch_add(1, AcqRel);
        true
    }

    fn serve(&self, worker: usize) {
        let mut spins = 0;
        while !self.stop.load(Acquire) {
            if self.work(worker) {
                spins = 0;
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.asleep.fetch_add(1, SeqCst);
                if self.state.load(SeqCst) & UNCLAIMED == 0 && !self.stop.load(SeqCst) {
                    std::thread::park();
                }
                self.asleep.fetch_sub(1, SeqCst);
                spins = 0;
            }
        }
    }
}

/// Makes a task's non-temporal stores ([`Simd::stream_ptr`](super::simd::Simd::stream_ptr)) visible before its later stores.
fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is part of every x86-64, and touches no memory.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

impl Pool {
    /// `threads` in all, the caller's among them; at least 1.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            panic: Mutex::new(None),
            asleep: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            body: UnsafeCell::new(None),
        });
        let workers: Vec<_> = (1..threads.max(1))
            .map(|worker| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("deadweight-{worker}"))
                    .spawn(move || shared.serve(worker))
                    .expect("the operating system grants a thread")
            })
            .collect();
        let threads = workers.iter().map(|worker| worker.thread().clone()).collect();
        Self { shared, workers, threads, running: Mutex::new(()) }
    }

    /// How many threads work on a run, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The results of `body(task)` for each task of `0..tasks`.
    ///
    /// # Panics
    /// As [`Pool::for_each_task`].
    pub fn map<T: Send>(&self, tasks: usize, body: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let slots: Vec<Mutex<Option<T>>> = (0..tasks).map(|_| Mutex::new(None)).collect();
        self.for_each_task(tasks, |_, task| {
            let given = body(task);
            *slots[task].lock().expect("no task panics while it holds its slot") = Some(given);
        });
        let full = |slot: Mutex<Option<T>>| slot.into_inner().expect("no task panics while it holds its slot");
        slots.into_iter().map(|slot| full(slot).expect("every task fills its slot")).collect()
    }

    /// Runs `body(worker, task)` for each task of `0..tasks`, lower numbers tending to go first, and returns when all
    /// are done. `worker` is below [`Pool::threads`] and unique among the tasks running at one time.
    ///
    /// # Panics
    /// As the first task that panics does, after all tasks have ended.
    pub fn for_each_task(&self, tasks: usize, body: impl Fn(usize, usize) + Sync) {
        if self.workers.is_empty() || tasks <= 1 {
            (0..tasks).for_each(|task| body(0, task));
            return fence();
        }
        assert!((tasks as u64) < UNCLAIMED, "fewer than 2^32 tasks");
        let guard = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Claims count down, so tasks are numbered from the end: task 0 is claimed first.
        let ordered = |worker: usize, task: usize| body(worker, tasks - 1 - task);
        let body: &Body<'_> = &ordered;
        // SAFETY: the reference is used by claimed tasks only, and this function returns only after all are done.
        let body: &'static Body<'static> = unsafe { std::mem::transmute::<&Body<'_>, &'static Body<'static>>(body) };
        let shared = &self.shared;
        // SAFETY: no task is unclaimed or running (the guard, and the wait at the end of each run), so nobody reads it.
        unsafe { *shared.body.get() = Some(body) };
        shared.done.store(0, Relaxed);
        let generation = (shared.state.load(Relaxed) >> 32) + 1;
        shared.state.store(generation << 32 | tasks as u64, SeqCst);
        if shared.asleep.load(SeqCst) > 0 {
            self.threads.iter().for_each(Thread::unpark);
        }
        while shared.work(0) {}
        while shared.done.load(Acquire) < tasks {
            std::hint::spin_loop();
        }
        let said = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(guard);
        if let Some(said) = said {
            std::panic::resume_unwind(said);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.threads.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so it has none of its own to report.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_workers_are_exclusive() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 3, 17, 1000] {
                let hits: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                let busy: Vec<AtomicBool> = (0..threads).map(|_| AtomicBool::new(false)).collect();
                pool.for_each_task(tasks, |worker, task| {
                    assert!(!busy[worker].swap(true, SeqCst), "two tasks on one worker");
                    hits[task].fetch_add(1, SeqCst);
                    busy[worker].store(false, SeqCst);
                });
                assert!(hits.iter().all(|hit| hit.load(SeqCst) == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn a_parked_pool_still_finishes() {
        let pool = Pool::new(2);
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let sum = AtomicUsize::new(0);
            pool.for_each_task(100, |_, task| {
                sum.fetch_add(task, Relaxed);
            });
            assert_eq!(sum.load(Relaxed), 4950);
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_survives() {
        let pool = Pool::new(2);
        let run = std::panic::AssertUnwindSafe(|| pool.for_each_task(10, |_, task| assert_ne!(task, 3)));
        let said = std::panic::catch_unwind(run).unwrap_err();
        assert!(said.downcast_ref::<String>().is_some_and(|said| said.contains("left != right")), "its own message");
        let count = AtomicUsize::new(0);
        pool.for_each_task(10, |_, _| {
            count.fetch_add(1, Relaxed);
        });
        assert_eq!(count.load(Relaxed), 10);
    }
}
