//! The counting pass: lines of a blocked operand, sixteen channels at a time, each line visited once while it is in cache.

use std::ops::Range;
use std::sync::Arc;

use super::classes::{Classes, Run};
use super::code::{CodeMap, Encoder, MAX_WIDTH};
use super::gather::{gather_channels, gather_features, gather_step};
use super::histogram::CodeHistogram;
use super::lanes::LaneTotals;
use super::lines::Lines;
use super::sums::{LANE_SUMS, Sums, unkey};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Pixels that are coded at a time: their codes stay in the first-level cache's reach.
const CHUNK: usize = 1024;
/// Pixels of a run whose 16-bit lane sums cannot overflow: widths are at most 17.
const LONGEST: usize = u16::MAX as usize / MAX_WIDTH;
/// Positions of a place whose 32-bit lane sums cannot overflow.
const ROOM: u64 = u32::MAX as u64 / MAX_WIDTH as u64;

/// How the values of an image are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// 16 channels at one position; 4 and 16 columns of these.
    Channels,
    /// 16, 64, 256 features of an image in the order channel, row, column.
    Features,
    /// 16, 64, 256 channels of each step of a sequence, which is a row of columns.
    Steps,
}

/// The sums of one place's sixteen lanes, as they are added up.
pub(super) type LaneSums = [[u32; LANES]; LANE_SUMS];

/// Adds up the operand of one layer.
pub struct Counter {
    map: CodeMap,
    /// Whose terms are counted; none where neither terms nor codes are.
    encoder: Option<Encoder>,
    grouping: Grouping,
    sums: Sums,
    codes: CodeHistogram,
    lines: Lines,
    /// Gathered values, where the operand is not blocked.
    values: Vec<f32>,
    /// What is not yet in the sums' lanes, and how many positions more it can take.
    pending: Vec<LaneSums>,
    room: u64,
}

impl Counter {
    /// A counter for operands of `channels` channels (or features) whose positions fall into `classes`. Without an encoder
    /// neither terms are counted nor how often each code is seen.
    pub fn new(
        map: CodeMap,
        encoder: impl Into<Option<Encoder>>,
        grouping: Grouping,
        classes: Arc<[Classes; 2]>,
        channels: usize,
    ) -> Self {
        let encoder = encoder.into();
        let sums = Sums::new(classes, channels, if encoder.is_some() { map.codes() } else { 0 });
        let pending = vec![[[0; LANES]; LANE_SUMS]; sums.groups.len()];
        let (codes, lines) = (CodeHistogram::default(), Lines::default());
        Self { map, encoder, grouping, sums, codes, lines, values: Vec::new(), pending, room: ROOM }
    }

    /// What was added up so far.
    pub fn into_sums(mut self) -> Sums {
        if self.encoder.is_some() {
            self.codes.drain_into(&mut self.sums.values.codes, self.map.lo);
        }
        self.flush();
        if self.sums.values.elements > 0 {
            // Codes order as values do.
            self.sums.values.code_extremes = self.sums.values.extremes.map(|extreme| self.map.code(unkey(extreme)));
        }
        self.sums
    }

    /// Moves the lanes' sums on before they can overflow.
    fn flush(&mut self) {
        for (pending, sums) in self.pending.iter_mut().zip(self.sums.lanes.chunks_exact_mut(LANES)) {
            for (which, lanes) in pending.iter_mut().enumerate() {
                for (lane, sum) in lanes.iter_mut().enumerate() {
                    sums[lane][which] += u64::from(std::mem::take(sum));
                }
            }
        }
        self.room = ROOM;
    }

    /// Adds `rows` of image `image` of `x`, laid out as `geometry`. False if they hold NaN or infinity.
    ///
    /// Row 0 of `x` is row `first` of the whole image. Features are taken as a whole with an image's first row.
    pub fn count_rows(
        &mut self,
        isa: Isa,
        x: &[f32],
        geometry: &Geometry,
        image: usize,
        rows: Range<usize>,
        first: usize,
    ) -> bool {
        if self.grouping == Grouping::Features && !rows.contains(&0) {
            return true;
        }
        let positions = (rows.len() * geometry.w) as u64;
        if positions > self.room {
            self.flush();
        }
        self.room -= positions;
        if self.encoder.is_some() {
            self.codes.make_room(geometry.image_len() as u64, &mut self.sums.values.codes, self.map.lo);
        }
        let part = Part { x, geometry, image, rows, first };
        match self.encoder {
            None => isa.run(Pass { counter: self, part, terms: |_| 0 }),
            Some(Encoder::Naf) => isa.run(Pass { counter: self, part, terms: |m| Encoder::Naf.terms(m) }),
            Some(Encoder::Popcount) => isa.run(Pass { counter: self, part, terms: |m| Encoder::Popcount.terms(m) }),
            Some(Encoder::Booth4) => isa.run(Pass { counter: self, part, terms: |m| Encoder::Booth4.terms(m) }),
            Some(Encoder::Runs) => isa.run(Pass { counter: self, part, terms: |m| Encoder::Runs.terms(m) }),
        }
    }
}

/// Rows of one image.
pub(super) struct Part<'a> {
    pub(super) x: &'a [f32],
    pub(super) geometry: &'a Geometry,
    pub(super) image: usize,
    rows: Range<usize>,
    /// Row of the whole image that row 0 is.
    first: usize,
}

/// Counts a part.
struct Pass<'a, F> {
    counter: &'a mut Counter,
    part: Part<'a>,
    terms: F,
}

impl<F: Fn(u16) -> u16> Kernel for Pass<'_, F> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let Self { counter, part, terms } = self;
        let mut lanes = LaneTotals::default();
        let mut values = std::mem::take(&mut counter.values);
        match counter.grouping {
            Grouping::Channels => {
                for block in 0..counter.sums.blocks() {
                    counter.block(simd, &part, block, (&mut lanes, &mut values), &terms);
                }
            }
            Grouping::Features => {
                let features = gather_features(&part, &mut values);
                counter.features(simd, &values, features, &mut lanes, &terms);
            }
            Grouping::Steps => {
                for (y, column) in part.rows.clone().flat_map(|y| (0..part.geometry.w).map(move |x| (y, x))) {
                    gather_step(&part, (y, column), &mut values);
                    counter.features(simd, &values, part.geometry.c, &mut lanes, &terms);
                }
            }
        }
        counter.values = values;
        lanes.add_to(&mut counter.sums.values);
        lanes.not_finite.iter().all(|&bad| bad == 0)
    }
}

impl Counter {
    /// The rows of one block of channels.
    #[inline(always)]
    fn block<S: Simd>(
        &mut self,
        simd: S,
        part: &Part<'_>,
        block: usize,
        (totals, values): (&mut LaneTotals, &mut Vec<f32>),
        terms: &impl Fn(u16) -> u16,
    ) {
        let Part { x, geometry, image, .. } = *part;
        let used = (self.sums.channels - block * LANES).min(LANES);
        let at_once = (CHUNK / geometry.w.max(1)).max(1);
        for start in part.rows.clone().step_by(at_once) {
            let rows = start..part.rows.end.min(start + at_once);
            self.lines.begin(rows.len(), geometry.w);
            for (line, y) in rows.clone().enumerate() {
                let of_row = if geometry.lanes == LANES {
                    let start = geometry.at(image, block, y, 0);
                    &x[start..start + geometry.w * LANES]
                } else {
                    gather_channels(part, y, block * LANES..block * LANES + used, values);
                    &*values
                };
                self.lines.code(simd, (self.map, self.encoder.is_some()), of_row, line, (used, used), totals);
            }
            self.lines.count_groups(simd, &mut self.sums.values.group_widths);
            self.seen((rows.len() * geometry.w * used) as u64);
            let class_of = |y: usize| usize::from(self.sums.classes[0].of[y + part.first]);
            let mut from = rows.start;
            while from < rows.end {
                let class = class_of(from);
                let to = (from + 1..rows.end).find(|&y| class_of(y) != class).unwrap_or(rows.end);
                for column_class in 0..self.sums.classes[1].len() {
                    let place = self.sums.place(class, column_class, block);
                    for run in &self.sums.classes[1].runs[column_class] {
                        let lines = from - rows.start..to - rows.start;
                        self.lines.add_groups(simd, lines.clone(), *run, &mut self.sums.groups[place]);
                        for run in run.split(LONGEST / at_once) {
                            let to = &mut self.pending[place];
                            self.lines.add(simd, lines.clone(), run, (self.encoder, terms), to);
                        }
                    }
                }
                from = to;
            }
        }
    }

    /// Notes the codes of the lines, which are of so many values.
    #[inline(always)]
    fn seen(&mut self, values: u64) {
        self.sums.values.elements += values;
        if self.encoder.is_some() {
            self.codes.add(self.lines.nonzeros(), values);
        }
    }

    /// Features in `values`, filled up to pixels, each of which is its own block.
    #[inline(always)]
    fn features<S: Simd>(
        &mut self,
        simd: S,
        values: &[f32],
        features: usize,
        totals: &mut LaneTotals,
        terms: &impl Fn(u16) -> u16,
    ) {
        let pixels = values.len() / LANES;
        self.lines.begin(1, pixels);
        // The last pixel may have filling lanes.
        self.lines.code(
            simd,
            (self.map, self.encoder.is_some()),
            values,
            0,
            (LANES, features - (pixels - 1) * LANES),
            totals,
        );
        self.lines.count_groups(simd, &mut self.sums.values.group_widths);
        self.seen(features as u64);
        for block in 0..pixels {
            let run = Run { start: block, count: 1, step: 1 };
            self.lines.add_groups(simd, 0..1, run, &mut self.sums.groups[block]);
        }
        self.lines.add_each(simd, (self.encoder, terms), &mut self.pending[..pixels]);
    }
}
