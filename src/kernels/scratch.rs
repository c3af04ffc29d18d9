//! Scratch memory that the tasks of a thread share one after another, whatever their layer, so that it stays in the thread's
//! caches.

use std::cell::Cell;

use super::buffer::Buffer;

thread_local! {
    static SCRATCH: Cell<Buffer> = Cell::default();
}

/// Calls `work` with `len` floats of unspecified content, aligned to a cache line. `work` may call this again.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SCRATCH.take();
    scratch.reserve(len);
    let result = work(&mut scratch[..len]);
    SCRATCH.set(scratch);
    result
}
