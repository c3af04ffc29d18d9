//! The counting pass: rows of a blocked operand, sixteen channels at a time, each row visited once while it is in cache.

use std::ops::Range;
use std::sync::Arc;

use super::classes::{Classes, Run};
use super::code::{CodeMap, Encoder, MAX_WIDTH, bits, width};
use super::sums::{LANE_SUMS, NONZERO, NONZERO_G16, Sums, TERMS, WIDTH, key};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;

/// Pixels whose 16-bit lane sums cannot overflow: widths are at most 17.
const CHUNK: usize = 2048;

/// How the values of an image are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// 16 channels at one position; 4 and 16 columns of these.
    Channels,
    /// 16, 64, 256 features of an image in the order channel, row, column.
    Features,
}

/// Adds up the operand of one layer.
pub struct Counter {
    map: CodeMap,
    encoder: Encoder,
    grouping: Grouping,
    sums: Sums,
    row: Row,
}

/// One row of one channel block (or all features of an image), coded.
#[derive(Default)]
struct Row {
    /// Codes, sixteen a pixel, filling lanes zero.
    codes: Vec<[i16; LANES]>,
    /// Bits of the largest magnitude of each pixel.
    bits: Vec<u8>,
    /// Whether a code of the pixel is negative.
    negative: Vec<bool>,
    /// Width of the group of 16, 64, 256 that holds each pixel.
    widths: [Vec<u8>; 3],
    /// Gathered values, where the operand is not blocked.
    values: Vec<f32>,
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
        let sums = Sums::new(classes, channels, map.codes());
        Self { map, encoder, grouping, sums, row: Row::default() }
    }

    /// What was added up so far.
    pub fn into_sums(self) -> Sums {
        self.sums
    }

    /// Adds `rows` of image `image` of `x`, laid out as `geometry`. False if they hold NaN or infinity.
    ///
    /// Features are taken as a whole with an image's first row.
    pub fn count_rows(&mut self, isa: Isa, x: &[f32], geometry: &Geometry, image: usize, rows: Range<usize>) -> bool {
        match self.grouping {
            Grouping::Channels => rows.into_iter().fold(true, |finite, y| {
                (0..self.sums.blocks()).fold(finite, |finite, block| {
                    let used = (self.sums.channels - block * LANES).min(LANES);
                    let ok = if geometry.lanes == LANES {
                        let start = geometry.at(image, block, y, 0);
                        self.code(isa, &x[start..start + geometry.w * LANES], used, geometry.w)
                    } else {
                        let mut values = std::mem::take(&mut self.row.values);
                        values.clear();
                        values.resize(geometry.w * LANES, 0.0);
                        for lane in 0..used {
                            let start = geometry.at(image, block * LANES + lane, y, 0);
                            for (column, &value) in x[start..start + geometry.w].iter().enumerate() {
                                values[column * LANES + lane] = value;
                            }
                        }
                        let ok = self.code(isa, &values, used, geometry.w);
                        self.row.values = values;
                        ok
                    };
                    self.add_row(isa, usize::from(self.sums.classes[0].of[y]), block);
                    finite && ok
                })
            }),
            Grouping::Features if rows.contains(&0) => {
                let mut values = std::mem::take(&mut self.row.values);
                values.clear();
                for c in 0..geometry.c {
                    for y in 0..geometry.h {
                        let start = geometry.index(image, c, y, 0);
                        values.extend((0..geometry.w).map(|x_| x[start + x_ * geometry.lanes]));
                    }
                }
                let features = values.len();
                values.resize(features.next_multiple_of(LANES), 0.0);
                let used = features - (features - 1) / LANES * LANES;
                let pixels = values.len() / LANES;
                let ok = self.code(isa, &values, used, pixels);
                self.row.values = values;
                self.add_features(isa);
                ok
            }
            Grouping::Features => true,
        }
    }

    /// Codes `pixels` pixels of `values`, of which `used` lanes count (for features: in the last pixel only).
    fn code(&mut self, isa: Isa, values: &[f32], used: usize, pixels: usize) -> bool {
        let row = &mut self.row;
        row.codes.resize(pixels, [0; LANES]);
        row.bits.resize(pixels, 0);
        row.negative.resize(pixels, false);
        let filling = match self.grouping {
            Grouping::Channels => (LANES - used) * pixels,
            Grouping::Features => LANES - used,
        };
        let coded = isa.run(Code { map: self.map, values, row });
        self.sums.values.natural_zeros += u64::from(coded.zeros) - filling as u64;
        self.sums.values.saturated += u64::from(coded.saturated);
        // The filling is zero: it may not count as an extreme where no value is.
        let real = if used == LANES { coded.extremes } else { extremes(values, used, self.grouping) };
        let [low, high] = &mut self.sums.values.extremes;
        (*low, *high) = ((*low).min(key(real[0])), (*high).max(key(real[1])));
        self.sums.values.codes[(-self.map.lo) as usize] += u64::from(coded.zero_codes) - filling as u64;
        for code in row.codes.as_flattened() {
            if *code != 0 {
                self.sums.values.codes[(i32::from(*code) - self.map.lo) as usize] += 1;
            }
        }
        for (size, per_group) in [1, 4, 16].into_iter().enumerate() {
            row.widths[size].clear();
            for start in (0..pixels).step_by(per_group) {
                let group = start..(start + per_group).min(pixels);
                let most = row.bits[group.clone()].iter().copied().max().unwrap_or(0);
                let width = most + u8::from(row.negative[group.clone()].contains(&true));
                row.widths[size].extend(group.map(|_| width));
                self.sums.values.group_widths[size][usize::from(width)] += 1;
            }
        }
        coded.finite
    }

    /// Adds the coded row to the classes of its columns.
    fn add_row(&mut self, isa: Isa, row_class: usize, block: usize) {
        let classes = Arc::clone(&self.sums.classes);
        for (column_class, runs) in classes[1].runs.iter().enumerate() {
            let place = self.sums.place(row_class, column_class, block);
            for run in runs {
                self.add_run(isa, *run, place);
            }
        }
    }

    /// Adds the coded features, each pixel to its own block.
    fn add_features(&mut self, isa: Isa) {
        for block in 0..self.sums.blocks() {
            self.add_run(isa, Run { start: block, count: 1, step: 1 }, block);
        }
    }

    fn add_run(&mut self, isa: Isa, run: Run, place: usize) {
        for done in (0..run.count).step_by(CHUNK) {
            let part = Run { start: run.start + done * run.step, count: (run.count - done).min(CHUNK), ..run };
            let lanes = match self.encoder {
                Encoder::Naf => isa.run(Lanes { part, row: &self.row, terms: |m| Encoder::Naf.terms(m) }),
                Encoder::Popcount => isa.run(Lanes { part, row: &self.row, terms: |m| Encoder::Popcount.terms(m) }),
                Encoder::Booth4 => isa.run(Lanes { part, row: &self.row, terms: |m| Encoder::Booth4.terms(m) }),
                Encoder::Runs => isa.run(Lanes { part, row: &self.row, terms: |m| Encoder::Runs.terms(m) }),
            };
            for (lane, to) in self.sums.lanes[place * LANES..][..LANES].iter_mut().enumerate() {
                for (sum, to) in to.iter_mut().enumerate() {
                    *to += u64::from(lanes[sum][lane]);
                }
            }
            let groups = &mut self.sums.groups[place];
            for (size, widths) in self.row.widths.iter().enumerate() {
                let widths = widths[part.start..].iter().step_by(part.step).take(part.count);
                let (sum, zero) =
                    widths.fold((0, 0), |(sum, zero), &width| (sum + u32::from(width), zero + u32::from(width == 0)));
                groups.width[size] += u64::from(sum);
                groups.zero[size] += u64::from(zero);
            }
        }
    }
}

/// Smallest and largest of the lanes that count.
fn extremes(values: &[f32], used: usize, grouping: Grouping) -> [f32; 2] {
    let last = values.len() / LANES - 1;
    let lanes = |pixel: usize| if grouping == Grouping::Channels || pixel == last { used } else { LANES };
    let counted = values.chunks_exact(LANES).enumerate().flat_map(|(pixel, chunk)| &chunk[..lanes(pixel)]);
    counted.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], &v| [low.min(v), high.max(v)])
}

/// Codes a row.
struct Code<'a> {
    map: CodeMap,
    values: &'a [f32],
    row: &'a mut Row,
}

struct Coded {
    finite: bool,
    zeros: u32,
    zero_codes: u32,
    saturated: u32,
    extremes: [f32; 2],
}

impl Kernel for Code<'_> {
    type Output = Coded;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Coded {
        let (mut bad, mut zeros, mut zero_codes, mut saturated) =
            ([0u32; LANES], [0u32; LANES], [0u32; LANES], [0u32; LANES]);
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let Row { codes, bits: row_bits, negative, .. } = self.row;
        for (((values, codes), bits_), negative) in
            self.values.as_chunks::<LANES>().0.iter().zip(codes).zip(row_bits).zip(negative)
        {
            let mut ored = 0u16;
            let mut signs = 0u16;
            for lane in 0..LANES {
                let x = values[lane];
                let (rounded, code) = self.map.rounded_and_code(x);
                codes[lane] = code as i16;
                bad[lane] += u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000);
                zeros[lane] += u32::from(x == 0.0);
                zero_codes[lane] += u32::from(code == 0);
                saturated[lane] += u32::from(rounded != code);
                low[lane] = if x < low[lane] { x } else { low[lane] };
                high[lane] = if x > high[lane] { x } else { high[lane] };
            }
            for lane in 0..LANES {
                ored |= codes[lane].unsigned_abs();
                signs |= codes[lane] as u16;
            }
            *bits_ = bits(ored) as u8;
            *negative = signs & 0x8000 != 0;
        }
        Coded {
            finite: bad.iter().all(|&count| count == 0),
            zeros: zeros.iter().sum(),
            zero_codes: zero_codes.iter().sum(),
            saturated: saturated.iter().sum(),
            extremes: [
                low.iter().copied().fold(f32::INFINITY, f32::min),
                high.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            ],
        }
    }
}

/// Sums of a run of pixels, lane by lane.
struct Lanes<'a, F> {
    part: Run,
    row: &'a Row,
    terms: F,
}

impl<F: Fn(u16) -> u16> Kernel for Lanes<'_, F> {
    type Output = [[u16; LANES]; LANE_SUMS];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        let mut sums = [[0u16; LANES]; LANE_SUMS];
        let Run { start, count, step } = self.part;
        let pixels = self.row.codes[start..].iter().step_by(step).take(count);
        let widths = self.row.widths[0][start..].iter().step_by(step);
        for (codes, &group) in pixels.zip(widths) {
            for lane in 0..LANES {
                let code = codes[lane];
                let m = code.unsigned_abs();
                let nonzero = u16::from(m != 0);
                sums[NONZERO][lane] += nonzero;
                sums[WIDTH][lane] += bits(m) + u16::from(code < 0);
                sums[TERMS][lane] += (self.terms)(m);
                sums[NONZERO_G16][lane] += if m != 0 { u16::from(group) } else { 0 };
            }
        }
        sums
    }
}

/// The same sums as [`Counter`], value by value: the oracle of the tests.
pub fn count_reference(
    map: CodeMap,
    encoder: Encoder,
    grouping: Grouping,
    classes: &Arc<[Classes; 2]>,
    [images, c, h, w]: [usize; 4],
    nchw: &[f32],
) -> Sums {
    let features = grouping == Grouping::Features;
    // Features lie along one row of 16-feature pixels; each is its own channel.
    let channels = if features { c * h * w } else { c };
    let mut sums = Sums::new(Arc::clone(classes), channels, map.codes());
    let value = |n: usize, c_: usize, y: usize, x: usize| nchw[((n * c + c_) * h + y) * w + x];
    let group_width = |codes: &[i32]| {
        let most = codes.iter().map(|v| bits(v.unsigned_abs() as u16)).max().unwrap_or(0);
        most + u16::from(codes.iter().any(|&v| v < 0))
    };
    for n in 0..images {
        // A "row" is what groups run along: the columns of a channel block, or the features of an image.
        let rows: Vec<(usize, usize)> = if features {
            vec![(0, 0)]
        } else {
            (0..h).flat_map(|y| (0..c.div_ceil(LANES)).map(move |b| (y, b))).collect()
        };
        for (y, block) in rows {
            let pixels: Vec<Vec<f32>> = if features {
                nchw[n * channels..(n + 1) * channels].chunks(LANES).map(<[f32]>::to_vec).collect()
            } else {
                (0..w)
                    .map(|x| (block * LANES..((block + 1) * LANES).min(c)).map(|c| value(n, c, y, x)).collect())
                    .collect()
            };
            let codes: Vec<Vec<i32>> =
                pixels.iter().map(|pixel| pixel.iter().map(|&v| map.code(v)).collect()).collect();
            for (size, per_group) in [1, 4, 16].into_iter().enumerate() {
                for group in codes.chunks(per_group) {
                    let width = group_width(&group.concat());
                    sums.values.group_widths[size][usize::from(width)] += 1;
                    let start = group.as_ptr() as usize - codes.as_ptr() as usize;
                    let first = start / size_of::<Vec<i32>>();
                    for x in first..first + group.len() {
                        let place = if features {
                            x
                        } else {
                            sums.place(usize::from(classes[0].of[y]), usize::from(classes[1].of[x]), block)
                        };
                        sums.groups[place].width[size] += u64::from(width);
                        sums.groups[place].zero[size] += u64::from(width == 0);
                        if size == 0 {
                            for (lane, &code) in codes[x].iter().enumerate() {
                                let to = &mut sums.lanes[place * LANES + lane];
                                to[NONZERO] += u64::from(code != 0);
                                to[WIDTH] += u64::from(self::width(code));
                                to[TERMS] += u64::from(encoder.terms(code.unsigned_abs() as u16));
                                to[NONZERO_G16] += if code != 0 { u64::from(width) } else { 0 };
                            }
                        }
                    }
                }
            }
            for (&x, &code) in pixels.iter().flatten().zip(codes.iter().flatten()) {
                sums.values.codes[(code - map.lo) as usize] += 1;
                sums.values.natural_zeros += u64::from(x == 0.0);
                sums.values.saturated += u64::from(map.rounded_and_code(x).0 != code);
                sums.values.extremes = [sums.values.extremes[0].min(key(x)), sums.values.extremes[1].max(key(x))];
            }
        }
    }
    debug_assert!(sums.values.group_widths[0].len() == MAX_WIDTH + 1);
    sums
}
