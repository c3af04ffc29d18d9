//! Lines (rows of pixels) as codes, and sums over them.

use std::cell::Cell;
use std::ops::Range;

use super::adder::{Add, Segment};
use super::code::Coding;
use super::coder::{BYTES, CODES, Code, FLOATS, GroupLanes, NON_NEGATIVE, PixelPair, SIGNIFICANDS, Survey};
use super::groups::GroupCounts;
use super::histogram::CodeHistogram;
use super::lanes::LaneTotals;
use super::places::{CHUNK, Columns, LaneSums};
use super::source::{Source, Values};
use super::sums::{GROUP_SIZES, GroupSums};
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

thread_local! {
    /// Buffers that the counters of a thread share one after another, so that they stay in its caches.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// Buffers for the lines that are being counted.
#[derive(Default)]
struct Buffers {
    /// Codes; an odd pixel after the last is zero.
    codes: Vec<PixelPair>,
    /// Widths of the groups of 16 of each pixel of a pair.
    groups: Vec<[u16; 2]>,
    lanes: Vec<GroupLanes>,
    /// The first of these for each line.
    firsts: Vec<usize>,
}

/// What rows are added to.
pub(super) struct Destination<'a> {
    pub(super) columns: &'a Columns,
    /// Of the rows.
    pub(super) segments: &'a [Segment],
    /// By place.
    pub(super) lanes: &'a mut [LaneSums],
    pub(super) groups: &'a mut [GroupSums],
    /// Wherever values stand.
    pub(super) totals: &'a mut LaneTotals,
}

/// Rows of one channel block (or all features of an image, or steps) as codes.
#[derive(Default)]
pub(super) struct Lines {
    /// Stride between lines, in pairs: a multiple of the largest group.
    stride: usize,
    buffers: Buffers,
    /// Groups by width, over all lines since they were last drained.
    pub(super) counts: GroupCounts,
    /// How often each code occurs, if codes are counted.
    pub(super) histogram: CodeHistogram,
}

impl Lines {
    /// Takes the thread's buffers; [`Lines::end`] returns them.
    pub(super) fn start(&mut self) {
        self.buffers = BUFFERS.take();
    }

    /// Returns the thread's buffers.
    pub(super) fn end(&mut self) {
        BUFFERS.set(std::mem::take(&mut self.buffers));
    }

    /// Adds `count` lines of `from` to `to`, which has a segment for each.
    #[inline(always)]
    pub(super) fn add<S: Simd>(
        &mut self,
        s: S,
        coding: Coding,
        (from, count): (Source<'_>, usize),
        to: Destination<'_>,
    ) {
        let Destination { columns, segments, lanes, groups, totals } = to;
        self.stride = from.pixels.next_multiple_of(CHUNK) / 2;
        let patterns = columns.patterns.len();
        self.buffers.firsts.resize(count, 0);
        for (segment, (lines, _)) in segments.iter().enumerate() {
            lines.indices().for_each(|line| self.buffers.firsts[line] = segment * patterns);
        }
        let all = count * self.stride;
        self.buffers.codes.resize(all.max(self.buffers.codes.len()), PixelPair::default());
        self.buffers.groups.resize(all.max(self.buffers.groups.len()), [0; 2]);
        let all = segments.len() * patterns;
        self.buffers.lanes.resize(all.max(self.buffers.lanes.len()), GroupLanes::default());
        let chunks = &columns.chunks[..];
        let mut signed = false;
        if let Values::Bytes(_) = from.values {
            self.code(s, coding, (from, BYTES), 0..count, chunks, totals);
        } else if let Some(negative) = self.code_quickly(s, coding, from, 0..count, chunks, totals) {
            signed = negative;
        } else {
            // Values out of the range of the codes are in few lines.
            for line in 0..count {
                let from = from.below(line);
                let coded = self.code_quickly(s, coding, from, line..line + 1, chunks, totals);
                signed |= coded.unwrap_or_else(|| self.code_slowly(s, coding, from, line, chunks, totals));
            }
        }
        let Self { stride, buffers: Buffers { codes, groups: widths, .. }, .. } = self;
        let (encoder, pairs) = (coding.detail.encoder(), &columns.pairs[..]);
        s.apart(Add { encoder, signed, codes, groups: widths, segments, stride: *stride, pairs, sums: lanes });
        self.add_groups(columns, segments, groups);
    }

    /// Moves the sums over groups to where they belong.
    #[inline(always)]
    fn add_groups(&mut self, columns: &Columns, segments: &[Segment], groups: &mut [GroupSums]) {
        let patterns = columns.patterns.len();
        for ((_, places), lanes) in segments.iter().zip(self.buffers.lanes.chunks_exact_mut(patterns)) {
            for (pattern, lanes) in columns.patterns.iter().zip(lanes) {
                for &(class, mask) in pattern {
                    lanes.add_to(mask, &mut groups[places.of(class)]);
                }
                *lanes = GroupLanes::default();
            }
        }
    }

    /// Quantises floats that are all within the codes to `lines`, and returns whether a code is negative; none, and changes no sum,
    /// of others.
    #[inline(always)]
    fn code_quickly<S: Simd>(
        &mut self,
        s: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        chunks: &[usize],
        totals: &mut LaneTotals,
    ) -> Option<bool> {
        let map = coding.map;
        if map.float.is_some() {
            return None;
        }
        let (extremes, zeros) = s.apart(Survey { from, lines: lines.len() })?;
        if !extremes.into_iter().all(|extreme| map.fits(extreme)) {
            return None;
        }
        totals.add_finite(extremes, zeros);
        let kind = if extremes[0] < 0.0 { FLOATS } else { NON_NEGATIVE };
        Some(self.code(s, coding, (from, kind), lines, chunks, totals))
    }

    /// Quantises one line, value by value. Returns whether a code is negative; of floating-point types the sums are of magnitudes, as
    /// their sign adds no bit to a width.
    #[inline(always)]
    fn code_slowly<S: Simd>(
        &mut self,
        s: S,
        coding: Coding,
        from: Source<'_>,
        line: usize,
        chunks: &[usize],
        totals: &mut LaneTotals,
    ) -> bool {
        let to = &mut self.buffers.codes[line * self.stride..];
        for index in 0..from.pixels {
            let (values, used) = from.pixel(0, index);
            let mut codes = [0; LANES];
            match coding.map.float {
                Some(_) => totals.code::<true>(coding.map, &values, used, &mut codes),
                None => totals.code::<false>(coding.map, &values, used, &mut codes),
            }
            let pair = &mut to[index / 2].0;
            for lane in 0..LANES {
                pair[lane][index % 2] = codes[lane];
                if index % 2 == 0 {
                    pair[lane][1] = 0;
                }
            }
        }
        let kind = if coding.map.float.is_some() { SIGNIFICANDS } else { CODES };
        self.code(s, coding, (from, kind), line..line + 1, chunks, totals)
    }

    /// Codes values of a `kind` to `lines`. Returns whether a code is negative.
    #[inline(always)]
    fn code<S: Simd>(
        &mut self,
        s: S,
        coding: Coding,
        (from, kind): (Source<'_>, u8),
        lines: Range<usize>,
        chunks: &[usize],
        totals: &mut LaneTotals,
    ) -> bool {
        let Self { stride, buffers: Buffers { codes, groups, lanes, firsts, .. }, counts, histogram } = self;
        let all = lines.start * *stride..lines.end * *stride;
        let (codes, groups) = (&mut codes[all.clone()], &mut groups[all]);
        let (firsts, lines) = (&firsts[lines.clone()], lines.len());
        s.apart(Code { coding, kind, from, lines, codes, groups, chunks, firsts, lanes, counts, histogram, totals })
    }
}

impl GroupLanes {
    /// Adds the pixels of `mask` to `to`.
    #[inline(always)]
    fn add_to(&self, mask: u16, to: &mut GroupSums) {
        for size in 0..GROUP_SIZES.len() {
            for (lanes, to) in [(&self.0[size], &mut to.width[size]), (&self.0[3 + size], &mut to.zero[size])] {
                *to += u64::from(match mask.is_power_of_two() {
                    true => lanes[mask.trailing_zeros() as usize],
                    false => (0..CHUNK).map(|lane| if mask >> lane & 1 == 1 { lanes[lane] } else { 0 }).sum(),
                });
            }
        }
    }
}
