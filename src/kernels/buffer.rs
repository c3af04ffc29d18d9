//! Buffers aligned to cache lines, so that no vector straddles two lines.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use super::geometry::LINE;
use super::pages::{self, Mapping};

/// A slice of numbers that it owns, aligned to a cache line.
pub struct Buffer<T = f32> {
    first: NonNull<T>,
    len: usize,
    /// Keeps the memory mapped; `None` for an empty buffer.
    _mapping: Option<Arc<Mapping>>,
}

// SAFETY: it owns its elements, as a vector does.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T: Copy + Default> Buffer<T> {
    /// `len` zeros.
    ///
    /// # Panics
    /// If that exceeds the address space.
    pub fn zeroed(len: usize) -> Self {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= LINE, "elements are contiguous from the start of a line") };
        if len == 0 {
            return Self::default();
        }
        let bytes = len.checked_mul(size_of::<T>()).expect("less than the address space");
        // SAFETY: the allocation has that many bytes, aligned to a cache line.
        unsafe { Self::zeroed_in(pages::allocate(bytes), len) }
    }

    /// `len` zeros in an allocation.
    ///
    /// # Safety
    /// `first` must be aligned, and no one else may use `len` elements from there while the mapping is kept.
    unsafe fn zeroed_in((mapping, first): (Arc<Mapping>, NonNull<u8>), len: usize) -> Self {
        let first = first.cast::<T>();
        for at in 0..len {
            // SAFETY: the caller vouches for the elements.
            unsafe { first.add(at).write(T::default()) }
        }
        Self { first, len, _mapping: Some(mapping) }
    }

    /// Makes it at least `len` long; its content is unspecified afterwards.
    pub fn reserve(&mut self, len: usize) {
        if self.len < len {
            *self = Self::zeroed(len);
        }
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { first: NonNull::dangling(), len: 0, _mapping: None }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `zeroed`, the only constructor with elements, has written them, and `_mapping` keeps them; or there are
        // none.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; no other buffer has these elements, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
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
    fn keep_their_values_and_their_alignment_beside_others() {
        let lens = [0, 1, 15, 16, 17, 1000, 900_000, 1_048_576, 2_000_003];
        let work = || {
            let mut buffers: Vec<(usize, Buffer<u32>)> = Vec::new();
            for round in 0..20 {
                let len = lens[round % lens.len()];
                buffers.push((round, (0..len).map(|i| (i ^ round) as u32).collect::<Vec<_>>().into()));
                if round % 5 == 4 {
                    buffers.drain(..3);
                }
                for (round, buffer) in &buffers {
                    assert_eq!(buffer.len(), lens[round % lens.len()]);
                    assert!(buffer.iter().enumerate().all(|(i, &value)| value == (i ^ round) as u32), "{round}");
                    assert!(buffer.as_ptr().addr().is_multiple_of(LINE) || buffer.is_empty(), "{round}");
                }
            }
        };
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
    }

    #[test]
    fn start_with_zeros_whatever_was_there() {
        for len in [1, 1000, 2_000_003] {
            let dirty = pages::allocate(4 * len);
            // SAFETY: the allocation has that many bytes, and nothing else uses them.
            let buffer = unsafe {
                dirty.1.write_bytes(0xff, 4 * len);
                Buffer::<f32>::zeroed_in(dirty, len)
            };
            assert!(buffer.len() == len && buffer.iter().all(|&value| value.to_bits() == 0), "{len}");
        }
    }

    #[test]
    #[should_panic(expected = "less than the address space")]
    fn more_than_the_address_space_is_refused() {
        Buffer::<f32>::zeroed(usize::MAX / 4);
    }
}
