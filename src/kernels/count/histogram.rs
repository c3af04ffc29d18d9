//! How often each code is seen: counts of a byte, which stay in the first-level cache, and what goes beyond them.

use std::hint::cold_path;
use std::ops::Range;

use crate::kernels::geometry::LINE;
use crate::kernels::tile::{WRITTEN, prefetch};

/// Codes that can wait to be counted.
const ROOM: usize = 512;
/// Codes that are counted together.
pub(super) const BLOCK: usize = 16;
/// Most codes that are moved where room is made for others; where more wait they are counted.
const REST: usize = 4 * BLOCK;

/// One 8-bit count for each 16-bit pattern, how often each went round, and how many codes were added.
pub(super) struct CodeHistogram {
    counts: Box<[u8; 1 << 16]>,
    rounds: Box<[u32; 1 << 16]>,
    /// Non-zero codes, and which of them are not counted yet.
    codes: Box<[u16; ROOM + REST]>,
    waiting: Range<usize>,
    /// Codes in all.
    added: u64,
}

impl Default for CodeHistogram {
    fn default() -> Self {
        let length = "the length of the array";
        let counts = vec![0; 1 << 16].into_boxed_slice().try_into().expect(length);
        let rounds = vec![0; 1 << 16].into_boxed_slice().try_into().expect(length);
        let codes = vec![0; ROOM + REST].into_boxed_slice().try_into().expect(length);
        Self { counts, rounds, codes, waiting: 0..0, added: 0 }
    }
}

impl CodeHistogram {
    /// What a loop counts with.
    #[inline(always)]
    pub(super) fn tally(&mut self) -> Tally<'_> {
        let Self { counts, rounds, codes, waiting, .. } = self;
        Tally { counts, rounds, codes, waiting: waiting.clone(), after: waiting }
    }

    /// Calls the counts of codes from `lo` to `hi` to the caches.
    #[inline(always)]
    pub(super) fn call(&self, lo: i32, hi: i32) {
        let negative = self.counts.len() - lo.unsigned_abs() as usize;
        for codes in [&self.counts[..=hi as usize], &self.counts[negative..]] {
            for line in codes.chunks(LINE) {
                prefetch::<_, WRITTEN>(line.as_ptr());
            }
        }
    }

    /// Notes that `values` codes more were added, zeros among them.
    pub(super) fn saw(&mut self, values: u64) {
        self.added += values;
    }

    /// Whether `values` more could be too many.
    pub(super) fn is_full(&self, values: u64) -> bool {
        (self.added + values) >> 8 > u64::from(u32::MAX)
    }

    /// Takes out a code that is not zero; none may wait.
    pub(super) fn remove(&mut self, code: u16) {
        let count = &mut self.counts[usize::from(code)];
        *count = count.wrapping_sub(1);
        self.rounds[usize::from(code)] -= u32::from(*count == u8::MAX);
    }

    /// Moves the counts to `codes`, whose first is `lowest`.
    pub(super) fn drain_into(&mut self, codes: &mut [u64], lowest: i32) {
        self.tally().count_all();
        let mut zeros = std::mem::take(&mut self.added);
        for (index, to) in codes.iter_mut().enumerate() {
            let pattern = usize::from((lowest + index as i32) as i16 as u16);
            let rounds = u64::from(std::mem::take(&mut self.rounds[pattern]));
            let count = rounds << 8 | u64::from(std::mem::take(&mut self.counts[pattern]));
            *to += count;
            zeros -= count;
        }
        codes[(-lowest) as usize] += zeros;
    }
}

/// A [`CodeHistogram`] in parts, which a loop holds in registers. Codes wait, so that they can be counted beside other work.
pub(super) struct Tally<'a> {
    counts: &'a mut [u8; 1 << 16],
    rounds: &'a mut [u32; 1 << 16],
    codes: &'a mut [u16; ROOM + REST],
    waiting: Range<usize>,
    /// Where it is noted what waits in the end.
    after: &'a mut Range<usize>,
}

impl Tally<'_> {
    /// Counts a code; zeros need not be.
    #[inline(always)]
    pub(super) fn add(&mut self, code: u16) {
        let count = &mut self.counts[usize::from(code)];
        *count = count.wrapping_add(1);
        if *count == 0 {
            cold_path();
            self.rounds[usize::from(code)] += 1;
        }
    }

    /// How many codes wait.
    #[inline(always)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Where the next code that waits belongs; [`Tally::wait`] then says how many were stored.
    #[inline(always)]
    pub(super) fn end(&mut self) -> *mut u16 {
        self.codes.as_mut_ptr().wrapping_add(self.waiting.end)
    }

    /// Makes sure that there is room for `CODES` codes at the end.
    #[inline(always)]
    pub(super) fn make_room<const CODES: usize>(&mut self) {
        const { assert!(CODES <= ROOM - REST, "there is room beside the rest") };
        if ROOM - self.waiting.end < CODES {
            if self.waiting() > REST {
                cold_path();
                return self.count_all();
            }
            // So many whatever waits: a call would be in the way of vectors in registers.
            let rest: [u16; REST] = *self.codes[self.waiting.start % ROOM..].first_chunk().expect("there are so many");
            self.codes[..REST].copy_from_slice(&rest);
            self.waiting = 0..self.waiting.len();
        }
    }

    /// So many codes were stored.
    #[inline(always)]
    pub(super) fn wait(&mut self, codes: usize) {
        self.waiting.end += codes;
    }

    /// Lets a code wait, unless it is zero.
    #[inline(always)]
    pub(super) fn keep(&mut self, code: u16) {
        // Stored first and kept after: no branch to mispredict.
        self.codes[self.waiting.end % ROOM] = code;
        self.waiting.end += usize::from(code != 0);
    }

    /// Counts blocks of codes that wait.
    #[inline(always)]
    pub(super) fn count_blocks(&mut self, blocks: u32) {
        for _ in 0..blocks {
            // Whatever the index, there is a block: no check.
            let block = self.codes.as_chunks::<BLOCK>().0[self.waiting.start / BLOCK % (ROOM / BLOCK)];
            block.into_iter().for_each(|code| self.add(code));
            self.waiting.start += BLOCK;
        }
    }

    /// Counts all that wait.
    #[inline(always)]
    pub(super) fn count_all(&mut self) {
        for at in std::mem::replace(&mut self.waiting, 0..0) {
            self.add(self.codes[at % ROOM]);
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        *self.after = self.waiting.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_lost_however_many_wait_and_those_taken_out_are_gone() {
        let mut histogram = CodeHistogram::default();
        // Few codes, so that counts of a byte go round; more and less than what is moved waits when room is made.
        let code = |i: usize| (i * i % 7) as i16 - 3;
        let mut want = [0u64; 7];
        let mut next = 0;
        for waiting in [5, 63, 64, 65, 200, 400, 30, 448].into_iter().cycle().take(40) {
            let mut tally = histogram.tally();
            tally.make_room::<{ ROOM - REST }>();
            for i in next..next + waiting {
                tally.keep(code(i) as u16);
                want[(code(i) + 3) as usize] += 1;
            }
            let blocks = if waiting.is_multiple_of(2) { tally.waiting() / BLOCK } else { 0 };
            tally.count_blocks(blocks as u32);
            next += waiting;
        }
        histogram.saw(next as u64);
        histogram.tally().count_all();
        for _ in 0..300 {
            histogram.remove(code(0) as u16);
        }
        want[0] -= 300;
        want[3] += 300;
        let mut got = [0; 7];
        histogram.drain_into(&mut got, -3);
        assert_eq!(got, want);
    }
}
