//! Sums for each input of a run (image or segment), for metrics with a confidence interval. They are differences of the running
//! sums, taken where a counter moves on to the next input; no counter is reset for it.

use std::ops::AddAssign;
use std::sync::Arc;

use super::classes::Classes;
use super::groups::GroupCounts;
use super::places::LaneSums;
use super::sums::{GroupSums, NONZERO, NONZERO_G16, Sums, TERMS, WIDTH};
use crate::kernels::geometry::LANES;
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Sums over the values of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputSums {
    /// How many there are.
    pub elements: u64,
    /// Codes other than zero.
    pub nonzeros: u64,
    /// Widths of codes.
    pub widths: u64,
    /// Terms of codes.
    pub terms: u64,
    /// Values that are exactly 0.0.
    pub natural_zeros: u64,
    /// Values beyond the range of codes.
    pub saturated: u64,
    /// Widths of groups of 16, 64 and 256.
    pub group_widths: [u64; 3],
    /// How many groups of each size there are.
    pub groups: [u64; 3],
}

impl InputSums {
    /// Integers of one.
    pub const INTEGERS: usize = 12;

    /// Its integers.
    pub fn integers(&self) -> [u64; Self::INTEGERS] {
        let Self { elements, nonzeros, widths, terms, natural_zeros, saturated, .. } = *self;
        let ([a, b, c], [d, e, f]) = (self.group_widths, self.groups);
        [elements, nonzeros, widths, terms, natural_zeros, saturated, a, b, c, d, e, f]
    }

    /// The sums of these integers.
    pub fn from_integers(integers: [u64; Self::INTEGERS]) -> Self {
        let [elements, nonzeros, widths, terms, natural_zeros, saturated, a, b, c, d, e, f] = integers;
        let (group_widths, groups) = ([a, b, c], [d, e, f]);
        Self { elements, nonzeros, widths, terms, natural_zeros, saturated, group_widths, groups }
    }
}

impl AddAssign for InputSums {
    fn add_assign(&mut self, other: Self) {
        let (own, other) = (self.integers(), other.integers());
        // Wraps: a file may hold any sums.
        *self = Self::from_integers(std::array::from_fn(|i| own[i].wrapping_add(other[i])));
    }
}

/// Sums over the values of one input and the taps of a layer that read them, each times a sum over the weights at that tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadSums {
    /// nonzero(a).
    pub nonzero: u64,
    /// width(a).
    pub width: u64,
    /// terms(a).
    pub terms: u64,
    /// Widths of the groups of 16, 64 and 256 that hold a, summed over all a.
    pub groups: [u64; 3],
    /// 1 where such a group is all zero.
    pub zero_groups: [u64; 3],
    /// nonzero(a)·nonzero(w).
    pub both: u64,
    /// terms(a)·nonzero(w).
    pub terms_w: u64,
    /// terms(a)·terms(w).
    pub terms_terms: u64,
    /// Width of a's group of 16, where neither is zero.
    pub g16_both: u64,
    /// Width of a's group of 16, where w is not zero.
    pub g16_w: u64,
    /// 1 where a's group of 16 is all zero and w is not.
    pub g16_zero_w: u64,
}

/// Integers of an [`InputSums`], and of each [`ReadSums`] behind it.
const VALUES: usize = InputSums::INTEGERS;
const READS: usize = 15;

/// All sums of one input, as integers modulo 2^64: over its values, and over the taps of each reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneInput(Vec<u64>);

impl OneInput {
    /// Zeros, for `readers` readers.
    pub fn none(readers: usize) -> Self {
        Self(vec![0; VALUES + READS * readers])
    }

    /// Adds what another worker counted of the same input.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = own.wrapping_add(*other));
    }

    fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = own.wrapping_sub(*other));
    }

    /// The sums over its values.
    pub fn values(&self) -> InputSums {
        InputSums::from_integers(*self.0.first_chunk().expect("they stand first"))
    }

    /// The sums over the taps of reader `reader`.
    pub fn reads(&self, reader: usize) -> ReadSums {
        let [
            nonzero,
            width,
            terms,
            both,
            terms_w,
            terms_terms,
            g16_both,
            g16,
            g64,
            g256,
            z16,
            z64,
            z256,
            g16_w,
            g16_zero_w,
        ] = self.0[VALUES..].as_chunks::<READS>().0[reader];
        let (groups, zero_groups) = ([g16, g64, g256], [z16, z64, z256]);
        ReadSums { nonzero, width, terms, groups, zero_groups, both, terms_w, terms_terms, g16_both, g16_w, g16_zero_w }
    }
}

/// For sixteen channels of a class, sums over the weights that multiply them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct LaneWeights {
    nonzero: [u32; LANES],
    terms: [u32; LANES],
}

/// A layer that reads an operand: the weight of each class and channel in its sums.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Taps that read each class.
    taps: Vec<u64>,
    /// `[class][block]`.
    weights: Vec<LaneWeights>,
    /// Non-zero weights, `[class][block]`.
    nonzero: Vec<u64>,
}

impl Reader {
    /// For a layer whose taps read `classes` of an operand of `channels` channels; `weight` returns the number of non-zero
    /// weights and of terms that multiply a channel at a tap (row-major).
    ///
    /// # Panics
    /// If a channel is multiplied by 2^28 weights or more, which no layer has.
    pub fn new(classes: &[Classes; 2], channels: usize, weight: impl Fn(usize, usize) -> [u64; 2]) -> Self {
        let [rows, columns] = classes;
        let mut reader = Self { taps: Vec::new(), weights: Vec::new(), nonzero: Vec::new() };
        for (row, column) in rows.taps.iter().flat_map(|row| columns.taps.iter().map(move |column| (row, column))) {
            let read = |taps: &[bool]| (0..taps.len()).filter(|&tap| taps[tap]).collect::<Vec<_>>();
            let (rows, columns) = (read(row), read(column));
            let taps = rows.iter().flat_map(|r| columns.iter().map(move |s| r * column.len() + s));
            let taps: Vec<usize> = taps.collect();
            reader.taps.push(taps.len() as u64);
            for first in (0..channels).step_by(LANES) {
                let mut weights = LaneWeights::default();
                for lane in 0..LANES.min(channels - first) {
                    let sum = |which: usize| taps.iter().map(|&tap| weight(first + lane, tap)[which]).sum::<u64>();
                    let short = |sum: u64| u32::try_from(sum).expect("fewer weights than that meet a channel");
                    (weights.nonzero[lane], weights.terms[lane]) = (short(sum(0)), short(sum(1)));
                }
                reader.nonzero.push(weights.nonzero.iter().copied().map(u64::from).sum());
                reader.weights.push(weights);
            }
        }
        reader
    }
}

/// What was counted so far.
pub(super) struct Counted<'a> {
    /// By place; those that were flushed are not in these.
    pub(super) lanes: &'a [LaneSums],
    pub(super) sums: &'a Sums,
    /// Groups by width that are not in the sums.
    pub(super) counts: &'a GroupCounts,
}

/// What a counter keeps of the inputs of a run, one by one.
pub(super) struct ByInput {
    readers: Arc<[Reader]>,
    /// The input that is counted now.
    current: Option<usize>,
    /// Sums of the lanes that have been flushed.
    moved: OneInput,
    /// All sums at the moment when the input last changed.
    before: OneInput,
    /// Sums of each input of the run.
    kept: Vec<OneInput>,
}

impl ByInput {
    /// Nothing yet, for `readers`.
    pub(super) fn new(readers: Arc<[Reader]>) -> Self {
        let none = OneInput::none(readers.len());
        Self { readers, current: None, moved: none.clone(), before: none, kept: Vec::new() }
    }

    /// Marks that input `input` of the run is counted from here on.
    pub(super) fn begin(&mut self, isa: Isa, input: usize, counted: &Counted<'_>) {
        if self.current != Some(input) {
            self.end(isa, counted);
            self.current = Some(input);
        }
    }

    /// Stores the sums of the input that was counted last.
    fn end(&mut self, isa: Isa, counted: &Counted<'_>) {
        let Some(current) = self.current.take() else { return };
        let total = self.total(isa, counted);
        let mut added = total.clone();
        added.subtract(&std::mem::replace(&mut self.before, total));
        if self.kept.len() <= current {
            self.kept.resize(current + 1, OneInput::none(self.readers.len()));
        }
        self.kept[current].add(&added);
    }

    /// Adds the sums of each input of the run, which ends here, to `all`.
    pub(super) fn take(&mut self, isa: Isa, counted: &Counted<'_>, all: &mut [OneInput]) {
        self.end(isa, counted);
        all.iter_mut().zip(self.kept.drain(..)).for_each(|(all, kept)| all.add(&kept));
    }

    /// Keeps the sums of the lanes before they are flushed.
    pub(super) fn keep_lanes(&mut self, isa: Isa, counted: &Counted<'_>) {
        add_lanes(isa, counted, &self.readers, &mut self.moved);
    }

    /// Sums over everything counted so far.
    fn total(&self, isa: Isa, counted: &Counted<'_>) -> OneInput {
        let mut total = self.moved.clone();
        add_lanes(isa, counted, &self.readers, &mut total);
        let (values, reads) = total.0.split_at_mut(VALUES);
        let &Counted { sums, counts, .. } = counted;
        (values[0], values[4], values[5]) = (sums.values.elements, sums.values.natural_zeros, sums.values.saturated);
        let mut widths = sums.values.group_widths;
        counts.add_to(&mut widths);
        for (size, widths) in widths.iter().enumerate() {
            values[6 + size] = widths.iter().enumerate().map(|(width, count)| width as u64 * count).sum();
            values[9 + size] = widths.iter().sum();
        }
        for (reads, reader) in reads.as_chunks_mut::<READS>().0.iter_mut().zip(self.readers.iter()) {
            let groups = isa.run(Groups { sums: &sums.groups, reader, channels: sums.channels });
            reads[7..].copy_from_slice(&groups);
        }
        total
    }
}

fn add_lanes(isa: Isa, counted: &Counted<'_>, readers: &[Reader], to: &mut OneInput) {
    let (values, sums) = to.0.split_at_mut(VALUES);
    for (index, (sums, reader)) in sums.as_chunks_mut::<READS>().0.iter_mut().zip(readers).enumerate() {
        let (plain, read) = isa.run(Lanes { lanes: counted.lanes, reader, blocks: counted.sums.blocks() });
        sums.iter_mut().zip(read).for_each(|(to, sum)| *to = to.wrapping_add(sum));
        if index == 0 {
            values[1..4].iter_mut().zip(plain).for_each(|(to, sum)| *to = to.wrapping_add(sum));
        }
    }
}

/// Sums over lanes: plain, and weighted for a reader.
struct Lanes<'a> {
    lanes: &'a [LaneSums],
    reader: &'a Reader,
    blocks: usize,
}

/// Plain loops over sixteen lanes, which the compiler vectorises at every level.
impl Kernel for Lanes<'_> {
    type Output = ([u64; 3], [u64; 7]);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        let Self { lanes, reader, blocks } = self;
        let (mut plain, mut read) = ([0_u64; 3], [0_u64; 7]);
        let mut products = [[0_u64; LANES]; 4];
        let blocks = blocks.max(1);
        for ((lanes, weights), taps) in
            lanes.chunks_exact(blocks).zip(reader.weights.chunks_exact(blocks)).zip(&reader.taps)
        {
            let mut sums = [[0_u64; LANES]; 3];
            for (LaneSums(counts), weights) in lanes.iter().zip(weights) {
                for lane in 0..LANES {
                    let [nonzero, width] = [NONZERO, WIDTH].map(|which| u64::from(counts[which][lane]));
                    let [terms, g16] = [TERMS, NONZERO_G16].map(|which| u64::from(counts[which][lane]));
                    let (weight, weight_terms) = (u64::from(weights.nonzero[lane]), u64::from(weights.terms[lane]));
                    sums[0][lane] = sums[0][lane].wrapping_add(nonzero);
                    sums[1][lane] = sums[1][lane].wrapping_add(width);
                    sums[2][lane] = sums[2][lane].wrapping_add(terms);
                    products[0][lane] = products[0][lane].wrapping_add(nonzero.wrapping_mul(weight));
                    products[1][lane] = products[1][lane].wrapping_add(terms.wrapping_mul(weight));
                    products[2][lane] = products[2][lane].wrapping_add(terms.wrapping_mul(weight_terms));
                    products[3][lane] = products[3][lane].wrapping_add(g16.wrapping_mul(weight));
                }
            }
            for (which, lanes) in sums.iter().enumerate() {
                let sum = lanes.iter().fold(0_u64, |sum, lane| sum.wrapping_add(*lane));
                plain[which] = plain[which].wrapping_add(sum);
                read[which] = read[which].wrapping_add(sum.wrapping_mul(*taps));
            }
        }
        for (read, lanes) in read[3..].iter_mut().zip(&products) {
            *read = lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane));
        }
        (plain, read)
    }
}

/// Sums of groups, weighted for a reader.
struct Groups<'a> {
    sums: &'a [GroupSums],
    reader: &'a Reader,
    channels: usize,
}

impl Kernel for Groups<'_> {
    type Output = [u64; 8];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [u64; 8] {
        let Self { sums, reader, channels } = self;
        let mut read = [0_u64; 8];
        let blocks = channels.div_ceil(LANES).max(1);
        // The padding lanes of the last block would be counted too.
        let filling = (blocks * LANES - channels) as u64;
        for ((groups, nonzero), taps) in
            sums.chunks_exact(blocks).zip(reader.nonzero.chunks_exact(blocks)).zip(&reader.taps)
        {
            let mut of_class = [0_u64; 6];
            for (GroupSums { width, zero }, weight) in groups.iter().zip(nonzero) {
                for size in 0..3 {
                    of_class[size] = of_class[size].wrapping_add(width[size]);
                    of_class[3 + size] = of_class[3 + size].wrapping_add(zero[size]);
                }
                read[6] = read[6].wrapping_add(width[0].wrapping_mul(*weight));
                read[7] = read[7].wrapping_add(zero[0].wrapping_mul(*weight));
            }
            let last = groups.last().copied().unwrap_or_default();
            for ((read, sum), last) in read.iter_mut().zip(of_class).zip(last.width.into_iter().chain(last.zero)) {
                let values = sum.wrapping_mul(LANES as u64).wrapping_sub(last.wrapping_mul(filling));
                *read = read.wrapping_add(values.wrapping_mul(*taps));
            }
        }
        read
    }
}
