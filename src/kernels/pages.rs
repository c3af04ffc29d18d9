//! Allocation on large pages: weights and maps are read sequentially, and TLB misses on 4 KiB pages would stall that. Small
//! allocations share a mapping, which lives until the last of them is dropped.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapMut, MmapRaw};

use super::geometry::LINE;

/// Bytes of a large page on systems that support them.
const PAGE: usize = 2 << 20;
/// Bytes of a mapping that several allocations share.
const MAPPING: usize = 8 * PAGE;
/// Allocations of at least this many bytes have a mapping of their own.
const LARGE: usize = MAPPING / 4;

/// Memory mapped with large pages, straight from the system: memory that an allocator reuses stays on the small pages on
/// which it was first touched.
pub(super) struct Mapping(MmapRaw);

impl Mapping {
    /// At least `bytes` zero bytes from its first large page on.
    ///
    /// # Panics
    /// If that exceeds the address space.
    fn new(bytes: usize) -> Self {
        // One large page more, since a mapping may start at any small page.
        let bytes = bytes.checked_next_multiple_of(PAGE).and_then(|bytes| bytes.checked_add(PAGE));
        let layout =
            bytes.and_then(|bytes| Layout::from_size_align(bytes, 1).ok()).expect("less than the address space");
        let Ok(memory) = MmapMut::map_anon(layout.size()) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        // Only a hint: it may be refused.
        let _ = memory.advise(memmap2::Advice::HugePage);
        Self(memory.into())
    }

    /// Its first byte that starts a large page.
    fn first(&self) -> NonNull<u8> {
        let start = self.0.as_mut_ptr();
        let before = start.addr().next_multiple_of(PAGE) - start.addr();
        NonNull::new(start.wrapping_add(before)).expect("memory is not at zero")
    }
}

/// The mapping of the next small allocations, and the number of its bytes in use.
#[derive(Default)]
struct Current(Option<(Arc<Mapping>, usize)>);

impl Current {
    /// As [`allocate`].
    fn allocate(&mut self, bytes: usize) -> (Arc<Mapping>, NonNull<u8>) {
        if bytes >= LARGE {
            let mapping = Mapping::new(bytes);
            let first = mapping.first();
            return (Arc::new(mapping), first);
        }
        let bytes = bytes.next_multiple_of(LINE);
        let (mapping, used) = self.0.get_or_insert_with(|| (Arc::new(Mapping::new(MAPPING)), 0));
        // `get_mut` and not the count: the drop of the last user must happen before the memory is reused.
        if Arc::get_mut(mapping).is_some() {
            *used = 0;
        }
        if bytes > MAPPING - *used {
            (*mapping, *used) = (Arc::new(Mapping::new(MAPPING)), 0);
        }
        // SAFETY: that many bytes are left.
        let first = unsafe { mapping.first().add(*used) };
        *used += bytes;
        (Arc::clone(mapping), first)
    }
}

/// `bytes` bytes (at least one), uninitialised and aligned to a cache line, for the caller alone while it keeps the mapping.
///
/// # Panics
/// If that exceeds the address space.
pub(super) fn allocate(bytes: usize) -> (Arc<Mapping>, NonNull<u8>) {
    static CURRENT: Mutex<Current> = Mutex::new(Current(None));
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner).allocate(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_reused_only_when_no_allocation_of_it_is_left() {
        let mut current = Current::default();
        let allocations =
            [1, LINE, LARGE - LINE, LARGE - LINE, LARGE - LINE, LARGE - LINE - 1].map(|bytes| current.allocate(bytes));
        let first = allocations[0].1;
        let offsets = allocations.each_ref().map(|(_, start)| start.addr().get() - first.addr().get());
        assert_eq!(offsets, [0, LINE, 2 * LINE, LARGE + LINE, 2 * LARGE, 3 * LARGE - LINE]);
        // To the last byte.
        let last = current.allocate(2 * LINE);
        assert_eq!(last.1.addr().get() - first.addr().get(), MAPPING - 2 * LINE);
        let other = current.allocate(1);
        assert!(!Arc::ptr_eq(&other.0, &last.0), "the mapping was full");
        let second = current.allocate(1);
        drop(other);
        assert_eq!(current.allocate(1).1.addr().get() - second.1.addr().get(), LINE, "an allocation of it is left");
        let freed = second.1;
        drop(second);
        assert_eq!(current.allocate(1).1.addr().get(), freed.addr().get() - LINE, "none is left");
    }

    #[test]
    fn large_allocations_have_mappings_of_their_own() {
        let mut current = Current::default();
        let (small, large, next) = (current.allocate(1), current.allocate(LARGE), current.allocate(1));
        assert!(!Arc::ptr_eq(&small.0, &large.0) && Arc::ptr_eq(&small.0, &next.0));
        assert!(large.1.addr().get().is_multiple_of(PAGE));
    }
}
