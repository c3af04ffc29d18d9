//! Memory on large pages: weights and maps are read from one end to the other, and otherwise wait for the translation of
//! every 4 KiB.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a cache line; parts start on one.
pub(super) const LINE: usize = 64;
/// Bytes of a large page, on the machines that give them to those who ask.
const PAGE: usize = 2 << 20;
/// Bytes of a piece that has several parts.
const PIECE: usize = 8 * PAGE;
/// Bytes of a part that is a piece of its own.
const LARGE: usize = PIECE / 4;

/// Memory that starts on a large page; it lives as long as any part of it.
pub(super) struct Piece {
    first: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory, which any thread may free; who has parts of it answers for these.
unsafe impl Send for Piece {}
// SAFETY: as above: nothing is done through a shared reference.
unsafe impl Sync for Piece {}

impl Piece {
    /// `bytes` bytes, at least one, that hold anything.
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, PAGE).expect("less than the address space");
        // SAFETY: the layout has bytes.
        let Some(first) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        // SAFETY: the pages are this piece's, and the advice changes nothing that a program sees. Refused, it is not needed.
        unsafe {
            libc::madvise(first.as_ptr().cast(), bytes / PAGE * PAGE, libc::MADV_HUGEPAGE);
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
static OPEN: Mutex<Option<(Arc<Piece>, usize)>> = Mutex::new(None);

/// `bytes` bytes, at least one, that hold anything and that nobody else has while the piece lives.
pub(super) fn part(bytes: usize) -> (Arc<Piece>, NonNull<u8>) {
    let bytes = bytes.next_multiple_of(LINE);
    if bytes >= LARGE {
        let piece = Piece::new(bytes);
        let first = piece.first;
        return (Arc::new(piece), first);
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (piece, used) = open.get_or_insert_with(|| (Arc::new(Piece::new(PIECE)), 0));
    if Arc::get_mut(piece).is_some() {
        // Nobody has a part of it any more.
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
