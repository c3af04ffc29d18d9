//! How many groups of each size have which width.

use super::code::MAX_WIDTH;
use super::places::{CHUNK, PIXELS};
use super::sums::{GROUP_SIZES, WidthHistogram};

/// Widths that have a counter of four bits; what has none of them is one wider.
const NARROW: usize = 16;
const _: () = assert!(NARROW < MAX_WIDTH, "a counter for each");
/// Chunks whose counts fit four bits.
const MOST: u32 = 15;
/// Groups of 64 and of 256 in a chunk, filled up to a register.
const FEW: usize = 8;

/// Counts of groups by width. For each place in a chunk of sixteen pixels an integer has a counter of four bits for each width, so that
/// a chunk is counted by some shifts and additions; these are moved on before they are full.
#[derive(Clone, Default)]
pub(super) struct GroupCounts {
    /// Of groups of 16, and of groups of 64 and 256.
    packed: ([u64; CHUNK], [u64; FEW]),
    /// Chunks in these.
    chunks: u32,
    counts: [[u64; NARROW]; GROUP_SIZES.len()],
    /// Groups of any width.
    groups: [u64; GROUP_SIZES.len()],
}

/// One in the counter of a width.
#[inline(always)]
fn one(width: u8) -> u64 {
    if usize::from(width) < NARROW { 1 << (4 * width) } else { 0 }
}

impl GroupCounts {
    /// Counts the groups of the first `pixels` of sixteen, given for each size the widths of the groups that hold each.
    #[inline(always)]
    pub(super) fn add(&mut self, widths: &[[u8; CHUNK]; 3], pixels: usize) {
        if self.chunks == MOST {
            self.unpack();
        }
        self.chunks += 1;
        let fours = pixels.div_ceil(PIXELS[1]);
        for pixel in 0..CHUNK {
            self.packed.0[pixel] += if pixel < pixels { one(widths[0][pixel]) } else { 0 };
        }
        let mut few = [NARROW as u8; FEW];
        for four in 0..CHUNK / PIXELS[1] {
            few[four] = if four < fours { widths[1][four * PIXELS[1]] } else { NARROW as u8 };
        }
        few[CHUNK / PIXELS[1]] = widths[2][0];
        for group in 0..FEW {
            self.packed.1[group] += one(few[group]);
        }
        for (groups, added) in self.groups.iter_mut().zip([pixels, fours, 1]) {
            *groups += added as u64;
        }
    }

    /// Moves the packed counts on.
    #[inline(always)]
    fn unpack(&mut self) {
        Self::add_packed(&self.packed, &mut self.counts);
        (self.packed, self.chunks) = Default::default();
    }

    #[inline(always)]
    fn add_packed((of_16, few): &([u64; CHUNK], [u64; FEW]), counts: &mut [[u64; NARROW]; GROUP_SIZES.len()]) {
        let (of_64, rest) = few.split_at(CHUNK / PIXELS[1]);
        let [counts_16, counts_64, counts_256] = counts;
        for width in 0..NARROW {
            let of = |packed: &u64| packed >> (4 * width) & 0xf;
            counts_16[width] += of_16.iter().map(of).sum::<u64>();
            counts_64[width] += of_64.iter().map(of).sum::<u64>();
            counts_256[width] += of(&rest[0]);
        }
    }

    /// Moves the counts to `to`.
    pub(super) fn drain_into(&mut self, to: &mut [WidthHistogram; 3]) {
        self.add_to(to);
        *self = Self::default();
    }

    /// Adds the counts to `to`.
    pub(super) fn add_to(&self, to: &mut [WidthHistogram; 3]) {
        let mut all = self.counts;
        Self::add_packed(&self.packed, &mut all);
        for ((to, counts), groups) in to.iter_mut().zip(&all).zip(self.groups) {
            to.iter_mut().zip(counts).for_each(|(to, count)| *to += count);
            to[NARROW] += groups - counts.iter().sum::<u64>();
        }
    }
}
