//! Memory on large pages: weights and maps are read from one end to the other, and otherwise wait for the translation of
//! every 4 KiB. Small parts share pieces; a piece lives until the last of its parts is gone.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapMut, MmapRaw};

use super::geometry::LINE;

/// Bytes of a large page, on the machines that give them to those who ask.
const PAGE: usize = 2 << 20;
/// Bytes of a piece that has several parts.
const PIECE: usize = 8 * PAGE;
/// Bytes from which on a part is a piece of its own.
const LARGE: usize = PIECE / 4;

/// Memory with large pages. It comes from the system: memory that an allocator gives a second time stays on the small pages
/// it was first touched on.
pub(super) struct Piece(MmapRaw);

impl Piece {
    /// At least `bytes` bytes from its first on, which are zero.
    ///
    /// # Panics
    /// If so many are more than the address space.
    fn new(bytes: usize) -> Self {
        // A large page more: the system gives memory from any small one on.
        let bytes = bytes.checked_next_multiple_of(PAGE).and_then(|bytes| bytes.checked_add(PAGE));
        let layout =
            bytes.and_then(|bytes| Layout::from_size_align(bytes, 1).ok()).expect("less than the address space");
        let Ok(memory) = MmapMut::map_anon(layout.size()) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        // Refused, they are not needed.
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

/// The piece that the next small parts belong to, and how many of its bytes are parts already.
#[derive(Default)]
struct Open(Option<(Arc<Piece>, usize)>);

impl Open {
    /// As [`part`].
    fn part(&mut self, bytes: usize) -> (Arc<Piece>, NonNull<u8>) {
        if bytes >= LARGE {
            let piece = Piece::new(bytes);
            let first = piece.first();
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
        let first = unsafe { piece.first().add(*used) };
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
