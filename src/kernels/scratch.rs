//! Memory that the tasks of a thread use one after another, whatever their layer: it stays in the thread's caches.

use std::cell::Cell;

use super::buffer::Buffer;

thread_local! {
    static SCRATCH: Cell<Buffer> = Cell::default();
}

/// Calls `work` with `len` floats, which hold anything, on a cache line. Within `work` there is other memory to be had.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SCRATCH.take();
    scratch.reserve(len);
    let result = work(&mut scratch[..len]);
    SCRATCH.set(scratch);
    result
}
