//! Lines (rows of pixels) as codes, and sums over them.

use std::cell::Cell;
use std::ops::Range;

use super::adder::{Add, Segment};
use super::code::{CodeMap, Detail, Encoder};
use super::coder::{
    BYTES, CODES, Code, EACH, FLOATS, GroupLanes, NON_NEGATIVE, NOTHING, PixelPair, SIGNIFICANDS, Survey, TOTALS,
};
use super::groups::GroupCounts;
use super::histogram::CodeHistogram;
use super::lanes::LaneTotals;
use super::places::{CHUNK, Columns, LaneSums};
use super::source::{Source, Values};
use super::sums::{GROUP_SIZES, GroupSums};
use super::terms::{BOOTH4, NAF, NONE, POPCOUNT, RUNS};
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

/// How values are quantised, and what is counted of the codes.
#[derive(Clone, Copy)]
pub(super) struct Coding {
    pub(super) map: CodeMap,
    pub(super) detail: Detail,
}

thread_local! {
    /// Buffers that the counters of a thread share one after another, so that they stay in its caches.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// Buffers for the lines that are being counted.
#[derive(Default)]
pub(super) struct Buffers {
    /// Codes; an odd pixel after the last is zero.
    pub(super) codes: Vec<PixelPair>,
    /// Widths of the groups of 16 of each pixel of a pair.
    pub(super) groups: Vec<[u16; 2]>,
    /// The same of sixteen columns of two rows, as a pair.
    pub(super) widths: Vec<PixelPair>,
    pub(super) lanes: Vec<GroupLanes>,
    /// The first of these for each line.
    pub(super) firsts: Vec<usize>,
}

/// What lines are added to.
pub(super) struct Sums<'a> {
    pub(super) columns: &'a Columns,
    /// Of the lines, in order.
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
    pub(super) buffers: Buffers,
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

    /// Adds the lines of `from` to `to`.
    #[inline(always)]
    pub(super) fn add<S: Simd>(&mut self, s: S, coding: Coding, from: Source<'_>, to: Sums<'_>) {
        let Sums { columns, segments, lanes, groups, totals } = to;
        self.stride = from.pixels.next_multiple_of(CHUNK) / 2;
        let (mut count, patterns) = (0, columns.patterns.len());
        for (segment, (lines, _)) in segments.iter().enumerate() {
            count += lines;
            self.buffers.firsts.truncate(count - lines);
            self.buffers.firsts.resize(count, segment * patterns);
        }
        let all = count * self.stride;
        self.buffers.codes.resize(all.max(self.buffers.codes.len()), PixelPair::default());
        self.buffers.groups.resize(all.max(self.buffers.groups.len()), [0; 2]);
        let all = segments.len() * patterns;
        self.buffers.lanes.resize(all.max(self.buffers.lanes.len()), GroupLanes::default());
        let chunks = &columns.chunks[..];
        let mut signed = false;
        if let Values::Bytes(_) = from.values {
            self.code_as::<S, BYTES>(s, coding, from, 0..count, chunks, totals);
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
        match (coding.detail.encoder(), signed) {
            (None, false) => self.add_as::<S, NONE, false>(s, segments, columns, lanes),
            (None, true) => self.add_as::<S, NONE, true>(s, segments, columns, lanes),
            (Some(Encoder::Naf), false) => self.add_as::<S, NAF, false>(s, segments, columns, lanes),
            (Some(Encoder::Naf), true) => self.add_as::<S, NAF, true>(s, segments, columns, lanes),
            (Some(Encoder::Popcount), _) => self.add_as::<S, POPCOUNT, true>(s, segments, columns, lanes),
            (Some(Encoder::Booth4), _) => self.add_as::<S, BOOTH4, true>(s, segments, columns, lanes),
            (Some(Encoder::Runs), _) => self.add_as::<S, RUNS, true>(s, segments, columns, lanes),
        }
        self.add_groups(columns, segments, groups);
    }

    /// Moves the sums over groups to where they belong.
    #[inline(always)]
    pub(super) fn add_groups(&mut self, columns: &Columns, segments: &[Segment], groups: &mut [GroupSums]) {
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
        Some(if extremes[0] < 0.0 {
            self.code_as::<S, FLOATS>(s, coding, from, lines, chunks, totals)
        } else {
            self.code_as::<S, NON_NEGATIVE>(s, coding, from, lines, chunks, totals)
        })
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
        match coding.map.float {
            Some(_) => self.code_as::<S, SIGNIFICANDS>(s, coding, from, line..line + 1, chunks, totals),
            None => self.code_as::<S, CODES>(s, coding, from, line..line + 1, chunks, totals),
        }
    }

    #[inline(always)]
    fn code_as<S: Simd, const KIND: u8>(
        &mut self,
        s: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        chunks: &[usize],
        totals: &mut LaneTotals,
    ) -> bool {
        match coding.detail {
            Detail::Values => self.code_for::<S, KIND, NOTHING>(s, coding, from, lines, chunks, totals),
            Detail::Terms(_) => self.code_for::<S, KIND, TOTALS>(s, coding, from, lines, chunks, totals),
            Detail::Codes(_) => self.code_for::<S, KIND, EACH>(s, coding, from, lines, chunks, totals),
        }
    }

    #[inline(always)]
    fn code_for<S: Simd, const KIND: u8, const TALLY: u8>(
        &mut self,
        s: S,
        coding: Coding,
        from: Source<'_>,
        lines: Range<usize>,
        chunks: &[usize],
        totals: &mut LaneTotals,
    ) -> bool {
        let Self { stride, buffers: Buffers { codes, groups, lanes, firsts, .. }, counts, histogram } = self;
        let all = lines.start * *stride..lines.end * *stride;
        let (codes, groups) = (&mut codes[all.clone()], &mut groups[all]);
        let (scale, firsts, lines) = (coding.map.scale, &firsts[lines.clone()], lines.len());
        s.apart(Code::<KIND, TALLY> {
            scale,
            from,
            lines,
            codes,
            groups,
            chunks,
            firsts,
            lanes,
            counts,
            histogram,
            totals,
        })
    }

    /// Adds the lines to the sums of their columns.
    #[inline(always)]
    fn add_as<S: Simd, const ENCODER: u8, const SIGNED: bool>(
        &mut self,
        s: S,
        segments: &[Segment],
        columns: &Columns,
        sums: &mut [LaneSums],
    ) {
        let Self { stride, buffers: Buffers { codes, groups, .. }, .. } = self;
        s.apart(Add::<ENCODER, SIGNED> { codes, groups, segments, stride: *stride, pairs: &columns.pairs, sums });
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
