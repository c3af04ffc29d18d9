//! The counting pass: rows of a blocked operand, sixteen channels at a time, each row visited once while it is in cache.

use std::ops::Range;
use std::sync::Arc;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::classes::{Classes, Run};
use super::code::{CodeMap, Encoder, bits};
use super::gather::{gather_channels, gather_features, gather_step};
use super::histogram::CodeHistogram;
use super::lanes::LaneTotals;
use super::sums::{GroupSums, LANE_SUMS, NONZERO, NONZERO_G16, Sums, TERMS, ValueSums, WIDTH};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Pixels whose 16-bit lane sums cannot overflow: widths are at most 17.
const CHUNK: usize = 2048;
/// Pixels (of sixteen values) in a group of 16, 64 and 256.
const PIXELS: [usize; 3] = [1, 4, 16];
/// Bit of a group's summary that says that a code is negative; magnitudes have 15 bits.
pub(super) const SIGN: u16 = 0x8000;

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

/// Adds up the operand of one layer.
pub struct Counter {
    map: CodeMap,
    encoder: Encoder,
    grouping: Grouping,
    sums: Sums,
    codes: CodeHistogram,
    row: Row,
    /// One for each class of columns, with what is not yet in `sums`.
    pending: Vec<Pending>,
}

/// One row of one channel block (or all features of an image), coded.
#[derive(Default)]
struct Row {
    /// Codes, sixteen a pixel, filling lanes zero.
    codes: Vec<[i16; LANES]>,
    /// Magnitudes of each pixel's codes or'ed, and [`SIGN`] if one is negative.
    summaries: Vec<u16>,
    /// Width of the group of 16, 64, 256 that holds each pixel.
    widths: [Vec<u8>; 3],
    /// Gathered values, where the operand is not blocked.
    values: Vec<f32>,
    /// Non-zero codes of the row, side by side, and how many of it they are: what follows them is left over.
    nonzeros: Vec<u16>,
    kept: usize,
}

/// Lane sums of a class in 16 bits.
#[derive(Clone, Default)]
struct Pending {
    lanes: [[u16; LANES]; LANE_SUMS],
    groups: GroupSums,
    pixels: usize,
}

impl Counter {
    /// A counter for operands of `channels` channels (or features) whose positions fall into `classes`.
    pub fn new(
        map: CodeMap,
        encoder: Encoder,
        grouping: Grouping,
        classes: Arc<[Classes; 2]>,
        channels: usize,
    ) -> Self {
        let pending = vec![Pending::default(); classes[1].len()];
        let sums = Sums::new(classes, channels, map.codes());
        Self { map, encoder, grouping, sums, codes: CodeHistogram::default(), row: Row::default(), pending }
    }

    /// What was added up so far.
    pub fn into_sums(mut self) -> Sums {
        self.codes.drain_into(&mut self.sums.values.codes, self.map.lo);
        self.sums
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
        self.codes.make_room(geometry.image_len() as u64, &mut self.sums.values.codes, self.map.lo);
        let part = Part { x, geometry, image, rows, first };
        match self.encoder {
            Encoder::Naf => isa.run(Pass { counter: self, part, terms: |m| Encoder::Naf.terms(m) }),
            Encoder::Popcount => isa.run(Pass { counter: self, part, terms: |m| Encoder::Popcount.terms(m) }),
            Encoder::Booth4 => isa.run(Pass { counter: self, part, terms: |m| Encoder::Booth4.terms(m) }),
            Encoder::Runs => isa.run(Pass { counter: self, part, terms: |m| Encoder::Runs.terms(m) }),
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
        match counter.grouping {
            Grouping::Channels => {
                for block in 0..counter.sums.blocks() {
                    counter.block(simd, &part, block, &mut lanes, &terms);
                }
            }
            Grouping::Features => {
                let mut values = std::mem::take(&mut counter.row.values);
                let features = gather_features(&part, &mut values);
                counter.features(simd, &values, features, &mut lanes, &terms);
                counter.row.values = values;
            }
            Grouping::Steps => {
                let mut values = std::mem::take(&mut counter.row.values);
                for (y, column) in part.rows.clone().flat_map(|y| (0..part.geometry.w).map(move |x| (y, x))) {
                    gather_step(&part, (y, column), &mut values);
                    counter.features(simd, &values, part.geometry.c, &mut lanes, &terms);
                }
                counter.row.values = values;
            }
        }
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
        lanes: &mut LaneTotals,
        terms: &impl Fn(u16) -> u16,
    ) {
        let Part { x, geometry, image, .. } = *part;
        let Self { map, encoder, sums, codes, row, pending, .. } = self;
        let used = (sums.channels - block * LANES).min(LANES);
        let mut row_class = None;
        for y in part.rows.clone() {
            row.resize(geometry.w);
            let mut values = std::mem::take(&mut row.values);
            let of_row = if geometry.lanes == LANES {
                let start = geometry.at(image, block, y, 0);
                &x[start..start + geometry.w * LANES]
            } else {
                gather_channels(part, y, block * LANES..block * LANES + used, &mut values);
                &values
            };
            row.code(simd, *map, of_row, 0, used, lanes);
            row.values = values;
            codes.add(&row.nonzeros[..row.kept], (geometry.w * used) as u64);
            row.group(&mut sums.values);
            let class = usize::from(sums.classes[0].of[y + part.first]);
            if let Some(before) = row_class.replace(class).filter(|&before| before != class) {
                flush_all(sums, pending, before, block);
            }
            let runs = sums.classes[1].runs.len();
            for column_class in 0..runs {
                for index in 0..sums.classes[1].runs[column_class].len() {
                    let run = sums.classes[1].runs[column_class][index];
                    for done in (0..run.count).step_by(CHUNK) {
                        let part = Run {
                            start: run.start + done * run.step,
                            count: (run.count - done).min(CHUNK),
                            step: run.step,
                        };
                        if pending[column_class].pixels + part.count > CHUNK {
                            let place = sums.place(class, column_class, block);
                            pending[column_class].flush(sums, place);
                        }
                        row.add_run(simd, part, &mut pending[column_class], (*encoder, terms));
                    }
                }
            }
        }
        if let Some(class) = row_class {
            flush_all(sums, pending, class, block);
        }
    }

    /// Features in `values`, filled up to pixels, each of which is its own block.
    #[inline(always)]
    fn features<S: Simd>(
        &mut self,
        simd: S,
        values: &[f32],
        features: usize,
        lanes: &mut LaneTotals,
        terms: &impl Fn(u16) -> u16,
    ) {
        let Self { map, encoder, sums, codes, row, pending, .. } = self;
        let pixels = values.len() / LANES;
        row.resize(pixels);
        // The last pixel may have filling lanes.
        let last = pixels - 1;
        row.code(simd, *map, &values[..last * LANES], 0, LANES, lanes);
        codes.add(&row.nonzeros[..row.kept], (last * LANES) as u64);
        row.code(simd, *map, &values[last * LANES..], last, features - last * LANES, lanes);
        codes.add(&row.nonzeros[..row.kept], (features - last * LANES) as u64);
        row.group(&mut sums.values);
        for block in 0..pixels {
            row.add_run(simd, Run { start: block, count: 1, step: 1 }, &mut pending[0], (*encoder, terms));
            pending[0].flush(sums, block);
        }
    }
}

fn flush_all(sums: &mut Sums, pending: &mut [Pending], row_class: usize, block: usize) {
    for (column_class, pending) in pending.iter_mut().enumerate() {
        let place = sums.place(row_class, column_class, block);
        pending.flush(sums, place);
    }
}

/// Width of the group that a summary is of.
#[inline(always)]
fn width_of(summary: u16) -> u8 {
    (bits(summary & !SIGN) + (summary >> 15)) as u8
}

impl Row {
    fn resize(&mut self, pixels: usize) {
        self.codes.resize(pixels, [0; LANES]);
        self.summaries.resize(pixels, 0);
        self.widths.iter_mut().for_each(|widths| widths.resize(pixels, 0));
    }

    /// Codes `values` to the pixels from `at` on, of which `used` lanes count, and sets the non-zeros aside.
    #[inline(always)]
    fn code<S: Simd>(&mut self, _: S, map: CodeMap, values: &[f32], at: usize, used: usize, totals: &mut LaneTotals) {
        let pixels = values.as_chunks::<LANES>().0;
        let (low, high) = (totals.low, totals.high);
        if self.nonzeros.len() < (pixels.len() + 2) * LANES {
            self.nonzeros.resize((pixels.len() + 2) * LANES, 0);
        }
        let codes = &mut self.codes[at..at + pixels.len()];
        let summaries = &mut self.summaries[at..at + pixels.len()];
        let mut done = 0;
        let mut kept = 0;
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            let (codes, summaries) = (codes.as_chunks_mut().0, summaries.as_chunks_mut().0);
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            kept = unsafe { avx512::code(map, pixels.as_chunks().0, codes, summaries, &mut self.nonzeros, totals) };
            done = pixels.len() / 2 * 2;
        }
        let portable = codes.iter_mut().zip(summaries).zip(pixels).skip(done);
        for ((codes, summary), values) in portable {
            totals.code(map, values, codes);
            *summary = codes.iter().fold(0, |ored, &code| ored | code.unsigned_abs() | code as u16 & SIGN);
            for &code in &*codes {
                // Stored first and kept after: no branch to mispredict.
                self.nonzeros[kept] = code as u16;
                kept += usize::from(code != 0);
            }
        }
        self.kept = kept;
        // The filling is zero: it may not count as an extreme where no value is.
        for lane in used..LANES {
            (totals.low[lane], totals.high[lane]) = (low[lane], high[lane]);
        }
        totals.filling += ((LANES - used) * pixels.len()) as u64;
    }

    /// Widths of all groups of the row, and how many have which.
    #[inline(always)]
    fn group(&mut self, values: &mut ValueSums) {
        let Self { summaries, widths, .. } = self;
        for ((widths, histogram), size) in widths.iter_mut().zip(&mut values.group_widths).zip(PIXELS) {
            for (group, widths) in summaries.chunks(size).zip(widths.chunks_mut(size)) {
                let width = width_of(group.iter().fold(0, |ored, &summary| ored | summary));
                widths.fill(width);
                histogram[usize::from(width)] += 1;
            }
        }
    }

    /// Adds a run of at most [`CHUNK`] pixels to the sums of its class.
    #[inline(always)]
    fn add_run<S: Simd>(&self, _: S, run: Run, to: &mut Pending, (encoder, terms): (Encoder, &impl Fn(u16) -> u16)) {
        let Run { start, count, step } = run;
        to.pixels += count;
        let mut done = 0;
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 {
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            let added = unsafe { avx512::add_pairs(&self.codes, &self.widths[0], run, encoder, &mut to.lanes) };
            done = if added { count / 2 * 2 } else { 0 };
        }
        let sums = &mut to.lanes;
        for at in (done..count).map(|pixel| start + pixel * step) {
            let (codes, group) = (&self.codes[at], self.widths[0][at]);
            for lane in 0..LANES {
                let code = codes[lane];
                let m = code.unsigned_abs();
                sums[NONZERO][lane] += u16::from(m != 0);
                sums[WIDTH][lane] += bits(m) + u16::from(code < 0);
                sums[TERMS][lane] += terms(m);
                sums[NONZERO_G16][lane] += if m != 0 { u16::from(group) } else { 0 };
            }
        }
        for (size, widths) in self.widths.iter().enumerate() {
            let add = |(sum, zero): (u32, u32), &width: &u8| (sum + u32::from(width), zero + u32::from(width == 0));
            let (sum, zero) = match step {
                // A plain slice, which vectorises.
                1 => widths[start..start + count].iter().fold((0, 0), add),
                _ => widths[start..].iter().step_by(step).take(count).fold((0, 0), add),
            };
            to.groups.width[size] += u64::from(sum);
            to.groups.zero[size] += u64::from(zero);
        }
    }
}

impl Pending {
    /// Moves what was added up to the sums of `place`.
    fn flush(&mut self, sums: &mut Sums, place: usize) {
        if self.pixels == 0 {
            return;
        }
        for (lane, to) in sums.lanes[place * LANES..][..LANES].iter_mut().enumerate() {
            for (sum, to) in to.iter_mut().enumerate() {
                *to += u64::from(self.lanes[sum][lane]);
            }
        }
        for size in 0..PIXELS.len() {
            sums.groups[place].width[size] += self.groups.width[size];
            sums.groups[place].zero[size] += self.groups.zero[size];
        }
        *self = Self::default();
    }
}
