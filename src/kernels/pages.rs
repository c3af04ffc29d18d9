//! Memory on large pages: weights and maps are read from one end to the other, and otherwise wait for the translation of
//! every 4 KiB. Small parts share pieces; a piece lives until the last of its parts is gone.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use super::geometry::LINE;

/// Bytes of a large page, on the machines that give them to those who ask.
const PAGE: usize = 2 << 20;
/// Bytes of a piece that has several parts.
const PIECE: usize = 8 * PAGE;
/// Bytes from which on a part is a piece of its own.
const LARGE: usize = PIECE / 4;

/// Memory that starts on a large page.
pub(super) struct Piece {
    first: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory, which any thread may free; who has parts of it answers for these.
unsafe impl Send for Piece {}
// SAFETY: as above: nothing is done through a shared reference.
unsafe impl Sync for Piece {}

impl Piece {
    /// At least `bytes` bytes, which are not none; uninitialised.
    ///
    /// # Panics
    /// If so many are more than the address space.
    fn new(bytes: usize) -> Self {
        let layout = bytes.checked_next_multiple_of(PAGE).and_then(|bytes| Layout::from_size_align(bytes, PAGE).ok());
        let layout = layout.expect("less than the address space");
        // SAFETY: the layout has bytes.
        let Some(first) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        // SAFETY: the pages are this piece's, and the advice changes nothing that a program sees. Refused, it is not needed.
        unsafe {
            libc::madvise(first.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
        }
        Self { first, layout }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: it was allocated so, and no part is left.
        unsafe { dealloc(self.first.as_ptr(), self.layout) }
    }
}

/// The piece that the next small parts belong to, and how many of its bytes are parts already.
#[derive(Default)]
struct Open(Option<(Arc<Piece>, usize)>);

impl Open {
    /// As [`part`].
    fn part(&mut self, bytes: usize) -> (Arc<Piece>, NonNull<u8>) {
        if bytes >= LARGE {
            let piece = Piece::new(bytes);
            let first = piece.first;
            return (Arc::new(piece), first);
        }
        let bytes = bytes.next_multiple_of(LINE);
        let (piece, used) = self.0.get_or_insert_with(|| (Arc::new(Piece::new(PIECE)), 0));
        // Not by its count: whoever had the last part must be seen to have done with it.
        if Arc::get_mut(piece).is_some() {
            *used = 0;
        }
        if bytes > PIECE - *used {
            (*piece, *used) = (Arc::new(Piece::new(PIECE)), 0);
        }
        // SAFETY: so many bytes are left.
        let first = unsafe { piece.first.add(*used) };
        *used += bytes;
        (Arc::clone(piece), first)
    }
}

/// `bytes` bytes, at least one, uninitialised, from a line's start, that nobody else has while the caller keeps the piece.
///
/// # Panics
/// If so many are more than the address space.
pub(super) fn part(bytes: usize) -> (Arc<Piece>, NonNull<u8>) {
    static OPEN: Mutex<Open> = Mutex::new(Open(None));
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).part(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_filled_and_used_again_only_when_no_part_is_left() {
        let mut open = Open::default();
        let parts = [1, LINE, LARGE - LINE, LARGE - LINE, LARGE - LINE, LARGE - LINE - 1].map(|bytes| open.part(bytes));
        let first = parts[0].1;
        let places = parts.each_ref().map(|(_, part)| part.addr().get() - first.addr().get());
        assert_eq!(places, [0, LINE, 2 * LINE, LARGE + LINE, 2 * LARGE, 3 * LARGE - LINE]);
        // To the last byte.
        let last = open.part(2 * LINE);
        assert_eq!(last.1.addr().get() - first.addr().get(), PIECE - 2 * LINE);
        let other = open.part(1);
        assert!(!Arc::ptr_eq(&other.0, &last.0), "the piece was full");
        let second = open.part(1);
        drop(other);
        assert_eq!(open.part(1).1.addr().get() - second.1.addr().get(), LINE, "a part of it is left");
        let freed = second.1;
        drop(second);
        assert_eq!(open.part(1).1.addr().get(), freed.addr().get() - LINE, "none is left");
    }

    #[test]
    fn large_parts_are_pieces_of_their_own() {
        let mut open = Open::default();
        let (small, large, next) = (open.part(1), open.part(LARGE), open.part(1));
        assert!(!Arc::ptr_eq(&small.0, &large.0) && Arc::ptr_eq(&small.0, &next.0));
        assert!(large.1.addr().get().is_multiple_of(PAGE));
    }
}
