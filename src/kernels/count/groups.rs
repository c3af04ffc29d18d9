//! How many groups of each size have which width.

use super::code::MAX_WIDTH;
use super::places::{CHUNK, PIXELS};
use super::sums::{GROUP_SIZES, WidthHistogram};

/// Widths that have a counter of four bits; what has none of them is one wider.
const NARROW: usize = 16;
const _: () = assert!(NARROW < MAX_WIDTH, "a counter for each");
/// Chunks whose counts fit four bits, and how often these are moved on until they fit no byte.
const MOST: u32 = 15;
const TIMES: u32 = u8::MAX as u32 / MOST;
/// Groups of 16, 64 and 256 in a chunk.
const EACH: [usize; 3] = [CHUNK, CHUNK / PIXELS[1], 1];
/// All of them, filled up to whole registers.
const ALL: usize = 24;
/// The lower four bits of each byte.
const LOWER: u64 = 0x0f0f_0f0f_0f0f_0f0f;

/// Counts of groups by width. For each group of a chunk of sixteen pixels an integer has a counter of four bits for each width, so that a
/// chunk is counted by some shifts and additions; these are moved on to bytes, and those to integers, before they are full.
#[derive(Clone, Default)]
pub(super) struct GroupCounts {
    packed: [u64; ALL],
    /// Those of even widths, and of odd ones.
    bytes: [[u64; ALL]; 2],
    counts: [[u64; NARROW]; GROUP_SIZES.len()],
    /// Chunks in `packed`, how often it was moved to `bytes`, and chunks in all.
    chunks: u32,
    moved: u32,
    all: u64,
    /// Groups of any width.
    groups: [u64; GROUP_SIZES.len()],
}

/// One in the counter of a width.
#[inline(always)]
fn one(width: u8) -> u64 {
    if usize::from(width) < NARROW { 1 << (4 * width) } else { 0 }
}

impl GroupCounts {
    /// Counts the groups of the first `pixels` of sixteen, given for each size the widths of the groups that hold each; 0 of the others.
    #[inline(always)]
    pub(super) fn add(&mut self, widths: &[[u8; CHUNK]; 3], pixels: usize) {
        if self.chunks == MOST {
            self.spill();
        }
        self.chunks += 1;
        self.all += 1;
        for pixel in 0..CHUNK {
            self.packed[pixel] += one(widths[0][pixel]);
        }
        for four in 0..EACH[1] {
            self.packed[CHUNK + four] += one(widths[1][four * PIXELS[1]]);
        }
        self.packed[CHUNK + EACH[1]] += one(widths[2][0]);
        for (groups, pixels_of) in self.groups.iter_mut().zip(PIXELS) {
            *groups += pixels.div_ceil(pixels_of) as u64;
        }
    }

    /// Moves the packed counts to bytes, and bytes that are full on.
    #[inline(always)]
    fn spill(&mut self) {
        if self.moved == TIMES {
            self.unpack();
        }
        let [even, odd] = &mut self.bytes;
        for (packed, (even, odd)) in self.packed.iter_mut().zip(even.iter_mut().zip(odd)) {
            *even += *packed & LOWER;
            *odd += *packed >> 4 & LOWER;
            *packed = 0;
        }
        (self.chunks, self.moved) = (0, self.moved + 1);
    }

    /// Moves the bytes on.
    #[inline(never)]
    fn unpack(&mut self) {
        let mut first = 0;
        for (counts, groups) in self.counts.iter_mut().zip(EACH) {
            for (odd, bytes) in self.bytes.iter().enumerate() {
                for bytes in &bytes[first..first + groups] {
                    for (width, count) in bytes.to_le_bytes().into_iter().enumerate() {
                        counts[2 * width + odd] += u64::from(count);
                    }
                }
            }
            first += groups;
        }
        (self.bytes, self.moved) = Default::default();
    }

    /// Moves the counts to `to`.
    pub(super) fn drain_into(&mut self, to: &mut [WidthHistogram; 3]) {
        self.add_to(to);
        *self = Self::default();
    }

    /// Adds the counts to `to`.
    pub(super) fn add_to(&self, to: &mut [WidthHistogram; 3]) {
        let mut whole = self.clone();
        whole.spill();
        whole.unpack();
        for (size, (to, counts)) in to.iter_mut().zip(&mut whole.counts).enumerate() {
            // Groups that a chunk lacks were counted as zeros.
            counts[0] -= self.all * EACH[size] as u64 - self.groups[size];
            to.iter_mut().zip(&*counts).for_each(|(to, count)| *to += count);
            to[NARROW] += self.groups[size] - counts.iter().sum::<u64>();
        }
    }
}
