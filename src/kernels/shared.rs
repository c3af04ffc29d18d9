//! A buffer that several threads write, each its own part.

use std::marker::PhantomData;

/// The address of a buffer that is borrowed mutably for `'a`; copies of it may write disjoint parts at one time.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is an address and a length; writing through it is sound by the contract of `slice` and `at`.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Lends `buffer` out.
    pub fn new(buffer: &'a mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// The part `start..start + len`.
    ///
    /// # Safety
    /// No other slice that is alive may overlap it, and no `at` pointer may write into it meanwhile.
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "a part lies within the buffer");
        // SAFETY: within the buffer (asserted), and disjoint from all others by the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The same from element `start` on.
    pub fn tail(&self, start: usize) -> Self {
        assert!(start <= self.len, "a part lies within the buffer");
        Self { start: self.start.wrapping_add(start), len: self.len - start, buffer: PhantomData }
    }

    /// Address of element `index`.
    pub fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len, "an address lies within the buffer");
        self.start.wrapping_add(index)
    }
}
