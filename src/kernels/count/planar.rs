//! Planar operands: sixteen columns at a time, so that few channels leave no lanes empty.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::code::{CodeMap, Encoder, bits};
use super::counter::LaneSums;
use super::groups::GroupCounts;
use super::histogram::HistogramWriter;
use super::lanes::LaneTotals;
use super::lines::{Coding, PIXELS, SIGN, width_of};
use super::sums::{GROUP_SIZES, GroupSums, LANE_SUMS, NONZERO, NONZERO_G16, TERMS, WIDTH};
use crate::kernels::geometry::LANES;
use crate::kernels::simd::Simd;

/// Sixteen columns of some rows of a block of channels.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// Starts at the first column of the first row of the first channel.
    pub(super) x: &'a [f32],
    /// Stride in floats between rows and between channels.
    pub(super) row: usize,
    pub(super) plane: usize,
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// Number of columns that exist.
    pub(super) used: usize,
}

/// Sums over each of sixteen columns.
pub(super) struct PanelSums {
    channels: usize,
    /// `[channel][sum][column]`.
    pub(super) lanes: [[[u32; LANES]; LANE_SUMS]; LANES],
    /// Widths of the groups that hold a column, and the number of these that are zero, for each group size.
    pub(super) width: [[u32; LANES]; GROUP_SIZES.len()],
    pub(super) zero: [[u32; LANES]; GROUP_SIZES.len()],
}

impl PanelSums {
    fn new(channels: usize) -> Self {
        let (lanes, groups) = ([[[0; LANES]; LANE_SUMS]; LANES], [[0; LANES]; GROUP_SIZES.len()]);
        Self { channels, lanes, width: groups, zero: groups }
    }

    /// Adds one column.
    pub(super) fn add_to(&self, column: usize, lanes: &mut LaneSums, groups: &mut GroupSums) {
        for (channel, sums) in self.lanes[..self.channels].iter().enumerate() {
            for (which, sums) in sums.iter().enumerate() {
                lanes.0[which][channel] += sums[column];
            }
        }
        for size in 0..GROUP_SIZES.len() {
            groups.width[size] += u64::from(self.width[size][column]);
            groups.zero[size] += u64::from(self.zero[size][column]);
        }
    }
}

impl<'a> Panel<'a> {
    /// Mask of the columns that exist.
    pub(super) fn mask(&self) -> u16 {
        u16::MAX >> (LANES - self.used)
    }

    /// The columns of a row of a channel.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, channel: usize) -> &'a [f32] {
        &self.x[channel * self.plane + row * self.row..][..self.used]
    }

    /// Adds the columns up; their groups go to `counts`, their codes, if there is an encoder, to `histogram`.
    #[inline(always)]
    pub(super) fn add_up<S: Simd>(
        self,
        _: S,
        coding: Coding,
        counts: &mut GroupCounts,
        histogram: &mut HistogramWriter<'_>,
        totals: &mut LaneTotals,
    ) -> PanelSums {
        #[cfg(target_arch = "x86_64")]
        if S::AVX512 && coding.encoder != Some(Encoder::Runs) && coding.map.float.is_none() {
            // SAFETY: the vector type of this level is only made where the CPU has its features.
            if let Some(sums) = unsafe { self.add_up_quickly(coding, counts, histogram, totals) } {
                return sums;
            }
        }
        match coding.map.float {
            Some(_) => self.add_up_by::<true>(coding, counts, histogram, totals),
            None => self.add_up_by::<false>(coding, counts, histogram, totals),
        }
    }

    /// [`Panel::add_up`] value by value; `FLOAT` says whether the map has a floating-point type.
    #[inline(always)]
    fn add_up_by<const FLOAT: bool>(
        self,
        Coding { map, encoder }: Coding,
        counts: &mut GroupCounts,
        histogram: &mut HistogramWriter<'_>,
        totals: &mut LaneTotals,
    ) -> PanelSums {
        // Matched once, outside the loop: each loop is vectorised.
        match encoder {
            None => self.add_up_with::<FLOAT>(map, |_| 0, |_| (), counts, totals),
            Some(encoder) => {
                let note = |code: i16| histogram.add(code as u16);
                match encoder {
                    Encoder::Naf => self.add_up_with::<FLOAT>(map, |m| Encoder::Naf.terms(m), note, counts, totals),
                    Encoder::Popcount => {
                        self.add_up_with::<FLOAT>(map, |m| Encoder::Popcount.terms(m), note, counts, totals)
                    }
                    Encoder::Booth4 => {
                        self.add_up_with::<FLOAT>(map, |m| Encoder::Booth4.terms(m), note, counts, totals)
                    }
                    Encoder::Runs => self.add_up_with::<FLOAT>(map, |m| Encoder::Runs.terms(m), note, counts, totals),
                }
            }
        }
    }

    /// [`Panel::add_up`] by vectors. `None`, with no sum changed, if a value is out of the range of the codes, NaN or infinite.
    ///
    /// # Safety
    /// The CPU must have the features of the AVX-512 level.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn add_up_quickly(
        self,
        coding: Coding,
        counts: &mut GroupCounts,
        histogram: &mut HistogramWriter<'_>,
        totals: &mut LaneTotals,
    ) -> Option<PanelSums> {
        // SAFETY: the caller vouches for the features.
        let (extremes, zeros) = unsafe { avx512::survey(self) }?;
        if !extremes.into_iter().all(|extreme| coding.map.fits(extreme)) {
            return None;
        }
        totals.add_finite(extremes, zeros);
        let mut sums = PanelSums::new(self.channels);
        // SAFETY: as above.
        unsafe { avx512::add_up(self, coding, counts, histogram, &mut sums) };
        Some(sums)
    }

    #[inline(always)]
    fn add_up_with<const FLOAT: bool>(
        self,
        map: CodeMap,
        terms: impl Fn(u16) -> u16,
        mut note: impl FnMut(i16),
        counts: &mut GroupCounts,
        totals: &mut LaneTotals,
    ) -> PanelSums {
        let mut sums = PanelSums::new(self.channels);
        let mut codes = [[0; LANES]; LANES];
        for row in 0..self.rows {
            let mut summaries = [0; LANES];
            for (channel, codes) in codes[..self.channels].iter_mut().enumerate() {
                let values = self.at(row, channel);
                match values.first_chunk() {
                    Some(values) => totals.code::<FLOAT>(map, values, LANES, codes),
                    None => {
                        let mut filled = [0.0; LANES];
                        filled[..self.used].copy_from_slice(values);
                        totals.code::<FLOAT>(map, &filled, self.used, codes);
                    }
                }
                codes[..self.used].iter().for_each(|&code| note(code));
                if FLOAT {
                    // A sign that is apart adds no bit to a width.
                    codes.iter_mut().for_each(|code| *code = code.abs());
                }
                for column in 0..LANES {
                    summaries[column] |= codes[column].unsigned_abs() | codes[column] as u16 & SIGN;
                }
            }
            let widths = widths_of(summaries);
            for (size, widths) in widths.iter().enumerate() {
                for column in 0..LANES {
                    sums.width[size][column] += u32::from(widths[column]);
                    sums.zero[size][column] += u32::from(widths[column] == 0);
                }
            }
            counts.of_line(widths.each_ref().map(|widths| &widths[..self.used]), |count| *count += 1);
            for (codes, sums) in codes[..self.channels].iter().zip(&mut sums.lanes) {
                for column in 0..LANES {
                    let m = codes[column].unsigned_abs();
                    sums[NONZERO][column] += u32::from(m != 0);
                    sums[WIDTH][column] += u32::from(bits(m) + u16::from(codes[column] < 0));
                    sums[TERMS][column] += u32::from(terms(m));
                    sums[NONZERO_G16][column] += if m != 0 { u32::from(widths[0][column]) } else { 0 };
                }
            }
        }
        sums
    }
}

/// Widths of the groups of 16, 64 and 256 that hold each of sixteen columns.
#[inline(always)]
fn widths_of(summaries: [u16; LANES]) -> [[u8; LANES]; PIXELS.len()] {
    let mut widths = [[0; LANES]; PIXELS.len()];
    for (widths, size) in widths.iter_mut().zip(PIXELS) {
        for (widths, group) in widths.chunks_mut(size).zip(summaries.chunks(size)) {
            widths.fill(width_of(group.iter().fold(0, |ored, &summary| ored | summary)));
        }
    }
    widths
}
