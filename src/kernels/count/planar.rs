//! Operands of few channels, which lie apart: a register holds sixteen columns of two rows of one channel, so that no lane is empty.

use super::adder::Added;
use super::code::{Detail, Encoder};
use super::coder::{
    self, CODES, EACH, FLOATS, GroupLanes, LONGEST, NON_NEGATIVE, NOTHING, PixelPair, SIGNIFICANDS, TOTALS, extremes,
    has_signs,
};
use super::lanes::LaneTotals;
use super::lines::{Coding, Lines};
use super::places::{CHUNK, Columns, LaneSums, Places};
use super::range::Range;
use super::sums::{GroupSums, LANE_SUMS};
use super::terms::{BOOTH4, NAF, NONE, POPCOUNT, RUNS};
use crate::kernels::geometry::LANES;
use crate::kernels::isa::Kernel;
use crate::kernels::simd::Simd;

/// Rows of a block of channels that lie apart.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    /// Starts at the first column of the first row of the first channel.
    pub(super) x: &'a [f32],
    /// Stride in floats between rows, and between channels.
    pub(super) row: usize,
    pub(super) plane: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// At most sixteen.
    pub(super) channels: usize,
}

/// What the rows are added to.
pub(super) struct Sums<'a> {
    pub(super) columns: &'a Columns,
    pub(super) places: Places,
    /// By place.
    pub(super) lanes: &'a mut [LaneSums],
    pub(super) groups: &'a mut [GroupSums],
    /// Wherever values stand.
    pub(super) totals: &'a mut LaneTotals,
}

impl<'a> Planes<'a> {
    fn chunks(&self) -> usize {
        self.columns.div_ceil(CHUNK)
    }

    fn used(&self, chunk: usize) -> usize {
        (self.columns - chunk * CHUNK).min(CHUNK)
    }

    /// A row of a channel.
    #[inline(always)]
    fn line(&self, row: usize, channel: usize) -> &'a [f32] {
        &self.x[channel * self.plane + row * self.row..][..self.columns]
    }

    /// Sixteen columns of it, where they are or, if some do not exist, in `room`, where these are 0.
    #[inline(always)]
    fn at<'r>(&self, row: usize, channel: usize, chunk: usize, room: &'r mut [f32; CHUNK]) -> &'r [f32; CHUNK]
    where
        'a: 'r,
    {
        let line = &self.line(row, channel)[chunk * CHUNK..];
        if let Some(columns) = line.first_chunk() {
            return columns;
        }
        *room = [0.0; CHUNK];
        room[..line.len()].copy_from_slice(line);
        room
    }

    fn extremes(&self) -> [f32; 2] {
        let mut all = Range::default();
        for (row, channel) in (0..self.rows).flat_map(|row| (0..self.channels).map(move |channel| (row, channel))) {
            all.merge(Range::of(self.line(row, channel)));
        }
        [all.min, all.max]
    }
}

/// Range and zeros of the rows; none if a value is NaN or infinite.
struct Survey<'a>(Planes<'a>);

impl Kernel for Survey<'_> {
    type Output = Option<([f32; 2], u32)>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let Self(planes) = self;
        let (mut high, mut low, mut zeros) = (s.splat_int(i32::MIN), s.splat_int(0), s.splat_int(0));
        let (one, mut room) = (s.splat_int(std::hint::black_box(1)), [0.0; CHUNK]);
        for row in 0..planes.rows {
            for channel in 0..planes.channels {
                for chunk in 0..planes.chunks() {
                    let x = planes.at(row, channel, chunk, &mut room);
                    // SAFETY: the array holds sixteen.
                    let bits = unsafe { s.load_int(x.as_ptr().cast()) };
                    high = s.max_int(high, bits);
                    low = s.max_unsigned(low, bits);
                    zeros = s.add_zeros(zeros, bits, one);
                }
            }
        }
        let filled = planes.rows * planes.channels * (planes.chunks() * CHUNK - planes.columns);
        let zeros = s.to_ints(zeros).iter().sum::<i32>() as usize - filled;
        // Columns that do not exist are neither above nor below what a zero leaves open.
        let high = s.to_ints(high).iter().fold(i32::MIN, |most, &bits| most.max(bits));
        let low = s.to_ints(low).iter().fold(0, |most, &bits| most.max(bits as u32));
        Some((extremes(high, low, zeros > 0, || planes.extremes())?, zeros as u32))
    }
}

/// Codes the rows, values of the `KIND`, to the buffers of `lines`: `[row pair][chunk][channel]`, and the widths of the groups of 16 of each
/// column of a row pair; counts what `TALLY` says.
struct Code<'a, const KIND: u8, const TALLY: u8> {
    scale: f32,
    planes: Planes<'a>,
    columns: &'a Columns,
    lines: &'a mut Lines,
    totals: &'a mut LaneTotals,
}

impl<const KIND: u8, const TALLY: u8> Kernel for Code<'_, KIND, TALLY> {
    /// Whether a code is negative.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let Self { scale, planes, columns, lines, totals } = self;
        let (chunks, channels) = (planes.chunks(), planes.channels);
        let mut sums = coder::Sums::new(s);
        let (one, mut signs) = (s.splat_int(std::hint::black_box(1)), s.splat_int(0));
        let mut room = [[0.0; CHUNK]; 2];
        let buffers = &mut lines.buffers;
        let mut writer = lines.histogram.writer();
        let mut unflushed = 0;
        for pair in 0..planes.rows.div_ceil(2) {
            let here = (planes.rows - 2 * pair).min(2);
            for chunk in 0..chunks {
                // A recording is one row of any length.
                if TALLY == TOTALS && unflushed + channels > LONGEST {
                    sums.flush(s, totals);
                    unflushed = 0;
                }
                unflushed += channels;
                let at = pair * chunks + chunk;
                let to = &mut buffers.codes[at * channels..][..channels];
                let mut summary = s.splat_int(0);
                for (channel, to) in to.iter_mut().enumerate() {
                    if TALLY == EACH {
                        writer.make_room::<{ 3 * LANES }>();
                    }
                    let to = std::ptr::from_mut(to);
                    let from: [*const u8; 2] = if KIND == CODES || KIND == SIGNIFICANDS {
                        [to.cast_const().cast(); 2]
                    } else {
                        let [even, odd] = &mut room;
                        let even = planes.at(2 * pair, channel, chunk, even);
                        let odd = planes.at(2 * pair + here - 1, channel, chunk, odd);
                        [even.as_ptr().cast(), odd.as_ptr().cast()]
                    };
                    // SAFETY: both are of sixteen floats, or of one pair; there is room for the codes.
                    let of = unsafe { sums.pair::<KIND, TALLY>(s, scale, from, here, to, &mut writer) };
                    summary = s.or(summary, of);
                    if TALLY == EACH {
                        writer.count_all_blocks();
                    }
                }
                signs = s.or(signs, summary);
                let lanes = &mut buffers.lanes[columns.chunks[chunk]];
                let rows = [s.and(summary, s.splat_int(0xffff)), s.upper(summary)];
                let counts = &mut lines.counts;
                let even = lanes.add(s, rows[0], one, (counts, planes.used(chunk)));
                let odd = match here {
                    1 => s.splat_int(0),
                    _ => lanes.add(s, rows[1], one, (counts, planes.used(chunk))),
                };
                // SAFETY: a pair is of sixteen integers.
                unsafe { s.store_int(buffers.widths[at].0.as_mut_ptr().cast(), s.pair(even, odd)) };
            }
        }
        drop(writer);
        if TALLY == TOTALS {
            sums.flush(s, totals);
        }
        has_signs(s, signs)
    }
}

/// Adds the coded rows, channel by channel.
struct Add<'a, const ENCODER: u8> {
    codes: &'a [PixelPair],
    widths: &'a [PixelPair],
    planes: Planes<'a>,
    columns: &'a Columns,
    places: Places,
    sums: &'a mut [LaneSums],
}

impl<const ENCODER: u8> Kernel for Add<'_, ENCODER> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { codes, widths, planes, columns, places, sums } = self;
        let (chunks, channels, pairs) = (planes.chunks(), planes.channels, planes.rows.div_ceil(2));
        // As many as sums of 16 bits hold.
        let most = (LONGEST / pairs).max(1);
        for channel in 0..channels {
            let mut first = 0;
            while first < chunks {
                // All chunks of one pattern are added up together.
                let pattern = columns.chunks[first];
                let there = first..chunks.min(first + most);
                let end = there.clone().find(|&chunk| columns.chunks[chunk] != pattern).unwrap_or(there.end);
                let mut added = Added::new(s);
                for pair in 0..pairs {
                    for at in pair * chunks + first..pair * chunks + end {
                        let (code, width) = (&codes[at * channels + channel], &widths[at]);
                        // SAFETY: pairs are of sixteen integers.
                        unsafe {
                            let [code, width] = [code, width].map(|pair| s.load_int(pair.0.as_ptr().cast()));
                            added.add::<ENCODER, true>(s, code, width);
                        }
                    }
                }
                let mut all = LaneSums::default();
                added.add_to::<ENCODER>(s, 0, &mut all);
                added.add_to::<ENCODER>(s, 1, &mut all);
                for &(class, mask) in &columns.patterns[pattern] {
                    let to = &mut sums[places.of(class)].0;
                    for which in 0..LANE_SUMS {
                        let kept = |lane: usize| if mask >> lane & 1 == 1 { all.0[which][lane] } else { 0 };
                        to[which][channel] += (0..CHUNK).map(kept).sum::<u32>();
                    }
                }
                first = end;
            }
        }
    }
}

impl Lines {
    /// Adds the rows of `planes`, which are of one class, to `to`.
    #[inline(always)]
    pub(super) fn add_planes<S: Simd>(&mut self, s: S, coding: Coding, planes: Planes<'_>, to: Sums<'_>) {
        let Sums { columns, places, lanes, groups, totals } = to;
        let (pairs, patterns) = (planes.rows.div_ceil(2) * planes.chunks(), columns.patterns.len());
        let buffers = &mut self.buffers;
        buffers.codes.resize((pairs * planes.channels).max(buffers.codes.len()), PixelPair::default());
        buffers.widths.resize(pairs.max(buffers.widths.len()), PixelPair::default());
        buffers.lanes.resize(patterns.max(buffers.lanes.len()), GroupLanes::default());
        let map = coding.map;
        let quickly = match map.float {
            Some(_) => None,
            None => s.apart(Survey(planes)).filter(|(extremes, _)| extremes.iter().all(|&extreme| map.fits(extreme))),
        };
        match (quickly, map.float) {
            (Some((extremes, zeros)), _) => {
                totals.add_finite(extremes, zeros);
                match extremes[0] < 0.0 {
                    true => self.code_planes::<S, FLOATS>(s, coding, planes, columns, totals),
                    false => self.code_planes::<S, NON_NEGATIVE>(s, coding, planes, columns, totals),
                }
            }
            (None, float) => {
                self.quantise(coding, planes, totals);
                match float {
                    Some(_) => self.code_planes::<S, SIGNIFICANDS>(s, coding, planes, columns, totals),
                    None => self.code_planes::<S, CODES>(s, coding, planes, columns, totals),
                }
            }
        };
        match coding.detail.encoder() {
            None => self.add_coded::<S, NONE>(s, planes, columns, places, lanes),
            Some(Encoder::Naf) => self.add_coded::<S, NAF>(s, planes, columns, places, lanes),
            Some(Encoder::Popcount) => self.add_coded::<S, POPCOUNT>(s, planes, columns, places, lanes),
            Some(Encoder::Booth4) => self.add_coded::<S, BOOTH4>(s, planes, columns, places, lanes),
            Some(Encoder::Runs) => self.add_coded::<S, RUNS>(s, planes, columns, places, lanes),
        }
        self.add_groups(columns, &[(planes.rows, places)], groups);
    }

    /// Quantises value by value.
    #[inline(always)]
    fn quantise(&mut self, coding: Coding, planes: Planes<'_>, totals: &mut LaneTotals) {
        let (chunks, channels) = (planes.chunks(), planes.channels);
        for pair in 0..planes.rows.div_ceil(2) {
            for (chunk, channel) in (0..chunks).flat_map(|chunk| (0..channels).map(move |channel| (chunk, channel))) {
                let to = &mut self.buffers.codes[(pair * chunks + chunk) * channels + channel];
                *to = PixelPair::default();
                for row in 0..(planes.rows - 2 * pair).min(2) {
                    let (mut room, mut codes) = ([0.0; CHUNK], [0; LANES]);
                    let values = planes.at(2 * pair + row, channel, chunk, &mut room);
                    match coding.map.float {
                        Some(_) => totals.code::<true>(coding.map, values, planes.used(chunk), &mut codes),
                        None => totals.code::<false>(coding.map, values, planes.used(chunk), &mut codes),
                    }
                    to.0.iter_mut().zip(codes).for_each(|(to, code)| to[row] = code);
                }
            }
        }
    }

    #[inline(always)]
    fn code_planes<S: Simd, const KIND: u8>(
        &mut self,
        s: S,
        Coding { map, detail }: Coding,
        planes: Planes<'_>,
        columns: &Columns,
        totals: &mut LaneTotals,
    ) -> bool {
        let (scale, lines) = (map.scale, self);
        match detail {
            Detail::Values => s.apart(Code::<KIND, NOTHING> { scale, planes, columns, lines, totals }),
            Detail::Terms(_) => s.apart(Code::<KIND, TOTALS> { scale, planes, columns, lines, totals }),
            Detail::Codes(_) => s.apart(Code::<KIND, EACH> { scale, planes, columns, lines, totals }),
        }
    }

    #[inline(always)]
    fn add_coded<S: Simd, const ENCODER: u8>(
        &mut self,
        s: S,
        planes: Planes<'_>,
        columns: &Columns,
        places: Places,
        sums: &mut [LaneSums],
    ) {
        let (codes, widths) = (&self.buffers.codes[..], &self.buffers.widths[..]);
        s.apart(Add::<ENCODER> { codes, widths, planes, columns, places, sums });
    }
}
