//! Buffers that start on a cache line: vectors in them do not straddle two.

use std::ops::{Deref, DerefMut};

use super::geometry::LANES;

/// One vector, and one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Line<T>([T; LANES]);

/// A slice of four-byte cells on the heap, aligned to 64 bytes.
#[derive(Clone, Debug, Default)]
pub struct Buffer<T = f32> {
    lines: Vec<Line<T>>,
    len: usize,
}

impl<T: Copy + Default> Buffer<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        const { assert!(size_of::<T>() * LANES == size_of::<Line<T>>(), "a line holds sixteen cells and nothing else") };
        let mut lines = Vec::with_capacity(len.div_ceil(LANES));
        ask_for_large_pages(lines.spare_capacity_mut());
        lines.resize(len.div_ceil(LANES), Line([T::default(); LANES]));
        Self { lines, len }
    }

    /// Makes it `len` long at least; what it holds is unspecified afterwards.
    pub fn reserve(&mut self, len: usize) {
        if self.len < len {
            *self = Self::zeroed(len);
        }
    }
}

/// Bytes of a large page on the machines that have them by request.
const LARGE_PAGE: usize = 2 << 20;

/// Asks for large pages under `memory`, which is not touched yet: weights that are read once a run, from one end to the other,
/// otherwise wait for the translation of every 4 KiB.
fn ask_for_large_pages<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    let (first, bytes) = (memory.as_mut_ptr().cast::<u8>(), size_of_val(memory));
    let skipped = first.align_offset(LARGE_PAGE);
    let whole = bytes.saturating_sub(skipped) / LARGE_PAGE * LARGE_PAGE;
    #[cfg(target_os = "linux")]
    if whole > 0 {
        // SAFETY: the pages lie in `memory`, and the advice changes nothing that a program sees. Refused, it is not needed.
        unsafe {
            libc::madvise(first.add(skipped).cast(), whole, libc::MADV_HUGEPAGE);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = whole;
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: a line is sixteen cells without padding (asserted by `zeroed`, the only one that makes lines), and the
        // lines hold at least `len` cells.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl<T: Copy + Default> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(&values);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_values_and_its_alignment() {
        // The last has large pages where they are to be had.
        for len in [0, 1, 15, 16, 17, 1000, 2_000_003] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let buffer = Buffer::from(values.clone());
            assert_eq!(buffer[..], values[..]);
            assert!(buffer.as_ptr().addr().is_multiple_of(64), "{len}");
        }
    }
}
