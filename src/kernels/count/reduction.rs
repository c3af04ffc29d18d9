//! Lines along a reduction (the features of a query, the probabilities of a query's keys), as codes: sixteen positions of up to
//! sixteen lines at a time, added up position by position.

use std::ops::Range;

use super::code::{CUT, CodeMap, Encoder};
use super::histogram::{BLOCK, CodeHistogram};
use super::places::{PIXELS, SIGN};
use super::positions::{PositionSums, load, store, total};
use super::sums::{ValueSums, key, unkey};
use super::terms::{BOOTH4, NAF, NONE, POPCOUNT, RUNS, terms_of, with_encoder};
use super::totals::LaneSum;
use crate::kernels::geometry::LANES;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;
use crate::kernels::tile::chosen;

/// How lines are counted.
#[derive(Clone, Copy, Debug)]
pub struct LineCoding {
    /// The map to codes.
    pub map: CodeMap,
    /// Whose terms are counted, if any are.
    pub encoder: Option<Encoder>,
}

/// Values along a reduction.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Values, from that of the first position on: sixteen in a row, the next sixteen a stride later.
    pub x: &'a [f32],
    /// The positions in the reduction that it has. Groups are aligned to the start of the reduction, and hold these alone.
    pub at: Range<usize>,
}

/// How often each code of lines was seen.
#[derive(Default)]
pub struct LineCodes(CodeHistogram);

impl LineCodes {
    /// Moves the counts out: of each code of `map`, from the smallest.
    pub fn take(&mut self, map: CodeMap) -> Vec<u64> {
        let mut codes = vec![0; map.codes()];
        self.0.drain_into(&mut codes, map.lo);
        codes
    }
}

/// What is counted of the lines of a segment.
pub struct Counted<'a> {
    /// Of the values, wherever they stand; its counts of codes stay as they are, and what codes add up to is counted where there is
    /// room for it.
    pub values: &'a mut ValueSums,
    /// How often each code was seen, if that is counted.
    pub codes: Option<&'a mut LineCodes>,
    /// `[segment][16 positions]`.
    pub positions: &'a mut [PositionSums],
    /// Non-zero codes of each line.
    pub nonzeros: &'a mut [u64],
}

/// Adds `lines`, in which sixteen positions are `stride` floats from the next sixteen, to `to`: those up to each of `ends` to its
/// segment. False if a value is NaN or infinite.
///
/// # Panics
/// If lines are longer than there are positions, or there is no room for their non-zero codes.
pub fn count_lines(
    isa: Isa,
    coding: LineCoding,
    (lines, stride): (&[Line<'_>], usize),
    ends: &[usize],
    to: &mut Counted<'_>,
) -> bool {
    let values = lines.iter().map(|line| line.at.len() as u64).sum::<u64>();
    if values == 0 {
        return true;
    }
    if let Some(LineCodes(histogram)) = &mut to.codes {
        assert!(!histogram.is_full(values), "an operand has fewer values");
        histogram.add_values(values);
    }
    isa.run(Pass { coding, lines, stride, ends, to })
}

/// Sums of lanes over everything that is counted together.
struct Found<S: Simd> {
    low: S::V,
    high: S::V,
    /// Largest magnitude, as the bits of a float.
    largest: S::I,
    /// Values that are not 0.0, and those beyond the codes.
    there: S::I,
    beyond: S::I,
    /// Smallest and largest code, of floating-point types.
    codes: [i32; 2],
}

struct Pass<'a, 'b> {
    coding: LineCoding,
    lines: &'a [Line<'a>],
    stride: usize,
    ends: &'a [usize],
    to: &'a mut Counted<'b>,
}

impl Kernel for Pass<'_, '_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> bool {
        let (none, infinity) = (s.splat_int(0), s.splat(f32::INFINITY));
        let (low, high) = (infinity, s.sub(s.splat(0.0), infinity));
        let mut found = Found { low, high, largest: none, there: none, beyond: none, codes: [i32::MAX, i32::MIN] };
        let mut summaries = Vec::new();
        let (mut first, blocks) = (0, self.to.positions.len() / self.ends.len());
        for segment in 0..self.ends.len() {
            while first < self.ends[segment] {
                let strip = first..self.ends[segment].min(first + LANES);
                self.strip(s, strip.clone(), segment * blocks..(segment + 1) * blocks, &mut found, &mut summaries);
                first = strip.end;
            }
        }
        self.note(s, found)
    }
}

/// What a unit of sixteen positions and up to sixteen lines says of the groups: by line, magnitudes or'ed with signs, and how many
/// positions the line has there.
type Summary = [[i32; LANES]; 2];

impl Pass<'_, '_> {
    /// Adds up to sixteen lines to the segment that is at `positions`.
    #[inline(always)]
    fn strip<S: Simd>(
        &mut self,
        s: S,
        strip: Range<usize>,
        positions: Range<usize>,
        found: &mut Found<S>,
        summaries: &mut Vec<Summary>,
    ) {
        let lines = &self.lines[strip.clone()];
        let there = || lines.iter().filter(|line| !line.at.is_empty());
        let first = there().map(|line| line.at.start / LANES).min().unwrap_or(0);
        let end = there().map(|line| line.at.end.div_ceil(LANES)).max().unwrap_or(first);
        // The blocks in which every line has every position.
        let whole_from = lines.iter().map(|line| line.at.start).max().unwrap_or(0).div_ceil(LANES);
        let whole = whole_from..lines.iter().map(|line| line.at.end).min().unwrap_or(0) / LANES;
        summaries.clear();
        let mut added = LaneSum::new(s);
        for block in first..end {
            if (block - first) % LaneSum::<S>::BLOCKS == 0
                && let Some(totals) = &mut self.to.values.totals
            {
                std::mem::replace(&mut added, LaneSum::new(s)).add_to(s, totals);
            }
            let (is_whole, sums) = (whole.contains(&block), (&mut *found, &mut added));
            summaries.push(self.unit(s, strip.clone(), (block, is_whole), positions.start + block, sums));
        }
        if let Some(totals) = &mut self.to.values.totals {
            added.add_to(s, totals);
        }
        let to = &mut self.to.positions[positions][first..end];
        let one = s.splat_int(1);
        for (which, size) in PIXELS.into_iter().enumerate() {
            let mut block = first;
            while block < end {
                let next = ((block / size + 1) * size).min(end);
                let group = block - first..next - first;
                let (mut summary, mut all) = (s.splat_int(0), s.splat_int(0));
                for &[ored, seen] in &summaries[group.clone()] {
                    summary = s.or(summary, s.of_ints(ored));
                    all = s.add_int(all, s.of_ints(seen));
                }
                let width = width_of(s, summary);
                let zero = s.sub_int(one, s.min_int(width, one));
                // Blocks in the middle of lines are alike.
                let (mut alike, mut sums) = ([0; LANES], [0; 2]);
                for (to, &[_, seen]) in to[group.clone()].iter_mut().zip(&summaries[group]) {
                    if seen != alike {
                        let (none, times) = (s.splat_int(0), s.of_ints(seen));
                        sums = [total(s, s.dot2(width, times, none)), total(s, s.dot2(zero, times, none))];
                        alike = seen;
                    }
                    to.groups.width[which] += sums[0];
                    to.groups.zero[which] += sums[1];
                }
                let (width, all) = (s.to_ints(width), s.to_ints(all));
                for (&width, _) in width.iter().zip(&all).filter(|(_, all)| **all > 0) {
                    self.to.values.group_widths[which][width as usize] += 1;
                }
                block = next;
            }
        }
    }

    /// Adds sixteen positions of up to sixteen lines to the sums at `to`.
    #[inline(always)]
    fn unit<S: Simd>(
        &mut self,
        s: S,
        strip: Range<usize>,
        (block, is_whole): (usize, bool),
        to: usize,
        (found, added): (&mut Found<S>, &mut LaneSum<S>),
    ) -> Summary {
        let (none, one, sign) = (s.splat_int(0), s.splat_int(1), s.splat_int(i32::from(SIGN)));
        let lines = &self.lines[strip.clone()];
        let map = self.coding.map;
        let (mut codes, mut summaries, mut seen) = ([none; LANES], [s.splat(0.0); LANES], [0; LANES]);
        let to = &mut self.to.positions[to];
        let (mut nonzero, mut width) = (load(s, &to.nonzero), none);
        let has_totals = self.to.values.totals.is_some();
        for (row, line) in lines.iter().enumerate() {
            let lanes = if is_whole { 0..LANES } else { lanes_of(line, block) };
            seen[row] = lanes.len() as i32;
            if lanes.is_empty() {
                continue;
            }
            let x = values_of(s, line, self.stride, block, &lanes, found);
            let code = code(s, map, x, lanes, found);
            let magnitude = s.max_int(code, s.sub_int(none, code));
            nonzero = s.add_int(nonzero, s.where_not_zero(code, one));
            width = s.add_int(width, s.bits(magnitude));
            if map.float.is_none() {
                width = s.add_int(width, s.shift_right::<31>(code));
                summaries[row] = s.as_floats(s.or(magnitude, s.and(code, sign)));
            } else {
                // The sign of a float is apart.
                summaries[row] = s.as_floats(magnitude);
            }
            if has_totals {
                added.add(s, code, magnitude);
            }
            self.to.nonzeros[strip.start + row] += u64::from(s.count_not_zero(code));
            codes[row] = code;
        }
        (to.nonzero, to.width) = (store(s, nonzero), store(s, s.add_int(load(s, &to.width), width)));
        if let Some(totals) = &mut self.to.values.totals {
            totals.widths += total(s, width);
        }
        let codes = &codes[..lines.len()];
        if self.coding.encoder.is_some() {
            let mut terms = none;
            with_encoder!(self.coding.encoder, ENCODER => for &code in codes {
                let magnitude = s.max_int(code, s.sub_int(none, code));
                terms = s.add_int(terms, terms_of::<S, ENCODER>(s, magnitude));
            });
            to.terms = store(s, s.add_int(load(s, &to.terms), terms));
            if let Some(totals) = &mut self.to.values.totals {
                totals.terms += total(s, terms);
            }
        }
        // Lane by lane the magnitudes of all lines, so that one or makes the groups of sixteen lines.
        let ored = s.transpose(summaries).into_iter().fold(none, |ored, lane| s.or(ored, s.as_ints(lane)));
        let widths = s.to_ints(width_of(s, ored));
        let mut nonzero_g16 = load(s, &to.nonzero_g16);
        for (&code, &width) in codes.iter().zip(&widths) {
            nonzero_g16 = s.add_int(nonzero_g16, s.where_not_zero(code, s.splat_int(width)));
        }
        to.nonzero_g16 = store(s, nonzero_g16);
        let sums = [&mut to.seen, &mut to.g16, &mut to.g16_zero];
        if is_whole {
            // There are no lines behind the last, whose widths are 0.
            let zero = widths.iter().map(|width| i32::from(*width == 0)).sum::<i32>() - (LANES - lines.len()) as i32;
            for (to, sum) in sums.into_iter().zip([lines.len() as i32, widths.iter().sum(), zero]) {
                *to = store(s, s.add_int(load(s, to), s.splat_int(sum)));
            }
        } else {
            let [to_seen, g16, g16_zero] = sums;
            for (line, &width) in lines.iter().zip(&widths) {
                for lane in lanes_of(line, block) {
                    to_seen[lane] += 1;
                    g16[lane] += width as u32;
                    g16_zero[lane] += u32::from(width == 0);
                }
            }
        }
        if let Some(LineCodes(histogram)) = &mut self.to.codes {
            let mut writer = histogram.writer();
            for &code in codes {
                writer.count_blocks((writer.buffered() / BLOCK) as u32);
                writer.make_room::<LANES>();
                let lanes = s.to_ints(code);
                for lane in lanes {
                    writer.push(lane as u16);
                }
            }
        }
        [s.to_ints(ored), seen]
    }

    /// Adds what was found of the values themselves. False if one of them is NaN or infinite.
    #[inline(always)]
    fn note<S: Simd>(&mut self, s: S, found: Found<S>) -> bool {
        let mut lanes = [[0.0; LANES]; 2];
        s.store(&mut lanes[0], found.low);
        s.store(&mut lanes[1], found.high);
        let low = lanes[0].into_iter().fold(f32::INFINITY, f32::min);
        let high = lanes[1].into_iter().fold(f32::NEG_INFINITY, f32::max);
        let (all, map) = (self.lines.iter().map(|line| line.at.len() as u64).sum::<u64>(), self.coding.map);
        let values = &mut *self.to.values;
        values.elements += all;
        values.natural_zeros += all - total(s, found.there);
        values.saturated += total(s, found.beyond);
        let extremes = [key(low), key(high)];
        // Integers order as values do.
        let codes = if map.float.is_some() { found.codes } else { extremes.map(|extreme| map.code(unkey(extreme))) };
        for (to, [low, high]) in [(&mut values.extremes, extremes), (&mut values.code_extremes, codes)] {
            *to = [to[0].min(low), to[1].max(high)];
        }
        s.to_ints(found.largest).into_iter().all(|largest| largest < f32::INFINITY.to_bits() as i32)
    }
}

/// The lanes of block `block` in which `line` has positions.
#[inline(always)]
fn lanes_of(line: &Line<'_>, block: usize) -> Range<usize> {
    let lane = |position: usize| position.saturating_sub(block * LANES).min(LANES);
    lane(line.at.start)..lane(line.at.end)
}

/// The values of block `block` of `line`, and zeros in the lanes that are not its own.
#[inline(always)]
fn values_of<S: Simd>(
    s: S,
    line: &Line<'_>,
    stride: usize,
    block: usize,
    lanes: &Range<usize>,
    found: &mut Found<S>,
) -> S::V {
    let blocks = block - line.at.start / LANES;
    let first = line.at.start % LANES;
    let (x, filled) = if lanes.len() == LANES {
        let x = s.load(&line.x[blocks * stride - first..]);
        (x, x)
    } else {
        let values = &line.x[blocks * stride + lanes.start - first..][..lanes.len()];
        // For the extremes one of its values stands in the other lanes.
        let (mut x, mut filled) = ([0.0; LANES], [values[0]; LANES]);
        x[lanes.clone()].copy_from_slice(values);
        filled[lanes.clone()].copy_from_slice(values);
        (s.load(&x), s.load(&filled))
    };
    (found.low, found.high) = (s.min(filled, found.low), s.max(filled, found.high));
    x
}

/// The codes of `x`; zeros are not seen.
#[inline(always)]
fn code<S: Simd>(s: S, map: CodeMap, x: S::V, lanes: Range<usize>, found: &mut Found<S>) -> S::I {
    let one = s.splat_int(1);
    let magnitude = s.and(s.as_ints(x), s.splat_int(i32::MAX));
    found.largest = s.max_int(found.largest, magnitude);
    found.there = s.add_int(found.there, s.where_not_zero(magnitude, one));
    let Some(of) = map.float else {
        let scaled = s.mul(x, s.splat(map.scale));
        let rounded = s.to_nearest(s.min(s.splat(CUT), s.max(s.splat(-CUT), scaled)));
        let code = s.max_int(s.splat_int(map.lo), s.min_int(s.splat_int(map.hi), rounded));
        found.beyond = s.add_int(found.beyond, s.where_not_zero(s.xor(rounded, code), one));
        return code;
    };
    let (mut values, mut codes, mut beyond) = ([0.0; LANES], [0; LANES], [0; LANES]);
    s.store(&mut values, x);
    for lane in lanes {
        let (code, saturated) = of.code(values[lane] * map.scale);
        (codes[lane], beyond[lane]) = (code, i32::from(saturated));
        found.codes = [found.codes[0].min(code), found.codes[1].max(code)];
    }
    found.beyond = s.add_int(found.beyond, s.of_ints(beyond));
    s.of_ints(codes)
}

/// Widths of groups by their summaries.
#[inline(always)]
fn width_of<S: Simd>(s: S, summary: S::I) -> S::I {
    s.add_int(s.bits(s.and(summary, s.splat_int(i32::from(!SIGN)))), s.shift_right::<15>(summary))
}

#[cfg(test)]
#[path = "reduction_tests.rs"]
mod tests;
