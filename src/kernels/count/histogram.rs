//! How often each code occurs: 8-bit counters, which stay in the first-level cache, with 32-bit overflow counts beside them.

use std::hint::cold_path;
use std::ops::Range;

use crate::kernels::geometry::LINE;
use crate::kernels::tile::{WRITTEN, prefetch};

/// Capacity of the buffer of codes that are not counted yet.
const ROOM: usize = 512;
/// Codes that are counted together.
pub(super) const BLOCK: usize = 16;
/// At most this many buffered codes are moved to the buffer's start to make room; if there are more, they are counted.
const REST: usize = 4 * BLOCK;

/// One 8-bit counter for each 16-bit pattern, how often each overflowed, and the number of codes in all.
pub(super) struct CodeHistogram {
    counts: Box<[u8; 1 << 16]>,
    overflows: Box<[u32; 1 << 16]>,
    /// Non-zero codes, and which of them are not counted yet.
    codes: Box<[u16; ROOM + REST]>,
    pending: Range<usize>,
    /// Number of codes, zeros included.
    added: u64,
}

impl Default for CodeHistogram {
    fn default() -> Self {
        let length = "the length of the array";
        let counts = vec![0; 1 << 16].into_boxed_slice().try_into().expect(length);
        let overflows = vec![0; 1 << 16].into_boxed_slice().try_into().expect(length);
        let codes = vec![0; ROOM + REST].into_boxed_slice().try_into().expect(length);
        Self { counts, overflows, codes, pending: 0..0, added: 0 }
    }
}

impl CodeHistogram {
    /// The parts that a loop counts with.
    #[inline(always)]
    pub(super) fn writer(&mut self) -> HistogramWriter<'_> {
        let Self { counts, overflows, codes, pending, .. } = self;
        HistogramWriter { counts, overflows, codes, pending: pending.clone(), after: pending }
    }

    /// Prefetches the counters of codes from `lo` to `hi`.
    #[inline(always)]
    pub(super) fn prefetch(&self, lo: i32, hi: i32) {
        let negative = self.counts.len() - lo.unsigned_abs() as usize;
        for codes in [&self.counts[..=hi as usize], &self.counts[negative..]] {
            for line in codes.chunks(LINE) {
                prefetch::<_, WRITTEN>(line.as_ptr());
            }
        }
    }

    /// Adds `values` to the number of codes, zeros included.
    pub(super) fn add_values(&mut self, values: u64) {
        self.added += values;
    }

    /// Whether `values` more codes could overflow a counter.
    pub(super) fn is_full(&self, values: u64) -> bool {
        (self.added + values) >> 8 > u64::from(u32::MAX)
    }

    /// Moves the counts to `codes`, whose first is `lowest`.
    pub(super) fn drain_into(&mut self, codes: &mut [u64], lowest: i32) {
        self.writer().count_all();
        let mut zeros = std::mem::take(&mut self.added);
        for (index, to) in codes.iter_mut().enumerate() {
            let pattern = usize::from((lowest + index as i32) as i16 as u16);
            let overflows = u64::from(std::mem::take(&mut self.overflows[pattern]));
            let count = overflows << 8 | u64::from(std::mem::take(&mut self.counts[pattern]));
            // Of zeros some were counted, with those of padding; they are what is left.
            if pattern != 0 {
                *to += count;
                zeros -= count;
            }
        }
        codes[(-lowest) as usize] += zeros;
    }
}

/// A [`CodeHistogram`] taken apart, so that a loop keeps its state in registers. Codes are buffered first and counted later,
/// interleaved with other work.
pub(super) struct HistogramWriter<'a> {
    counts: &'a mut [u8; 1 << 16],
    overflows: &'a mut [u32; 1 << 16],
    codes: &'a mut [u16; ROOM + REST],
    pending: Range<usize>,
    /// Where the state of the buffer is written back.
    after: &'a mut Range<usize>,
}

impl HistogramWriter<'_> {
    /// Counts a code; zeros may be left out.
    #[inline(always)]
    pub(super) fn add(&mut self, code: u16) {
        let count = &mut self.counts[usize::from(code)];
        *count = count.wrapping_add(1);
        if *count == 0 {
            cold_path();
            self.overflows[usize::from(code)] += 1;
        }
    }

    /// Number of codes in the buffer.
    #[inline(always)]
    pub(super) fn buffered(&self) -> usize {
        self.pending.len()
    }

    /// Where the next code is stored; then call [`HistogramWriter::advance`] with the number stored.
    #[inline(always)]
    pub(super) fn end(&mut self) -> *mut u16 {
        self.codes.as_mut_ptr().wrapping_add(self.pending.end)
    }

    /// Makes room for `CODES` codes at the end of the buffer.
    #[inline(always)]
    pub(super) fn make_room<const CODES: usize>(&mut self) {
        const { assert!(CODES <= ROOM - REST, "there is room beside the rest") };
        if ROOM - self.pending.end < CODES {
            if self.buffered() > REST {
                cold_path();
                return self.count_all();
            }
            // A fixed number, whatever is buffered: a call to memcpy would spill vector registers.
            let rest: [u16; REST] = *self.codes[self.pending.start % ROOM..].first_chunk().expect("there are so many");
            self.codes[..REST].copy_from_slice(&rest);
            self.pending = 0..self.pending.len();
        }
    }

    /// Adds the `codes` codes that were stored at the end.
    #[inline(always)]
    pub(super) fn advance(&mut self, codes: usize) {
        self.pending.end += codes;
    }

    /// Buffers a code, unless it is zero.
    #[inline(always)]
    pub(super) fn push(&mut self, code: u16) {
        // Stored first, kept after: no branch to mispredict.
        self.codes[self.pending.end % ROOM] = code;
        self.pending.end += usize::from(code != 0);
    }

    /// Counts `blocks` blocks of buffered codes.
    #[inline(always)]
    pub(super) fn count_blocks(&mut self, blocks: u32) {
        for _ in 0..blocks {
            // The index is valid whatever its value: no bounds check.
            let block = self.codes.as_chunks::<BLOCK>().0[self.pending.start / BLOCK % (ROOM / BLOCK)];
            block.into_iter().for_each(|code| self.add(code));
            self.pending.start += BLOCK;
        }
    }

    /// Counts all buffered codes.
    #[inline(always)]
    pub(super) fn count_all(&mut self) {
        for at in std::mem::replace(&mut self.pending, 0..0) {
            self.add(self.codes[at % ROOM]);
        }
    }
}

impl Drop for HistogramWriter<'_> {
    fn drop(&mut self) {
        *self.after = self.pending.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_lost_however_many_are_buffered() {
        let mut histogram = CodeHistogram::default();
        // Few codes, so that 8-bit counters overflow; sizes around `REST`, so that the buffer is moved as well as counted.
        let code = |i: usize| (i * i % 7) as i16 - 3;
        let mut want = [0u64; 7];
        let mut next = 0;
        for count in [5, 63, 64, 65, 200, 400, 30, 448].into_iter().cycle().take(40) {
            let mut writer = histogram.writer();
            writer.make_room::<{ ROOM - REST }>();
            for i in next..next + count {
                writer.push(code(i) as u16);
                want[(code(i) + 3) as usize] += 1;
            }
            let blocks = if count.is_multiple_of(2) { writer.buffered() / BLOCK } else { 0 };
            writer.count_blocks(blocks as u32);
            next += count;
        }
        histogram.add_values(next as u64);
        let mut got = [0; 7];
        histogram.drain_into(&mut got, -3);
        assert_eq!(got, want);
    }
}
