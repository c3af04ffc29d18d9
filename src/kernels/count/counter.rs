//! The counting pass: lines of a blocked operand, sixteen channels at a time (of a planar one sixteen columns), each line visited
//! once while it is in cache.

use std::ops::Range;
use std::sync::Arc;

use super::classes::Classes;
use super::code::{CodeMap, Encoder, MAX_WIDTH};
use super::columns::{ClassColumns, Columns};
use super::gather::{gather_features, steps_of};
use super::inputs::ByInput;
use super::lanes::LaneTotals;
use super::lines::{Coding, LONGEST, Lines, PIXELS, ParitySums};
use super::part::{Image, Part, Tensor};
use super::planar::Panel;
use super::source::{Source, Strided, Values};
use super::sums::{LANE_SUMS, Sums, unkey};
use crate::kernels::geometry::{Geometry, LANES, Region};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::packed_codes::PackedCodes;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{WRITTEN, prefetch};

/// Pixels that lines are filled up to: those of the largest group.
const FILLED: usize = PIXELS[2];
/// Pixels that are coded at a time: their codes stay in the first-level cache's reach.
const CHUNK: usize = 1024;
const _: () = assert!(CHUNK / FILLED <= LONGEST, "sums of 16 bits hold the lines");
/// Positions of a place whose 32-bit lane sums cannot overflow.
const ROOM: u64 = u32::MAX as u64 / MAX_WIDTH as u64;

/// How the values of an image are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// 16 channels at one position; 4 and 16 columns of these.
    Channels,
    /// 16, 64, 256 features of an image in the order channel, row, column.
    Features,
    /// The same in the order row, column, channel.
    FeaturesOfPixels,
    /// 16, 64, 256 channels of each step of a sequence, which is a row of columns.
    Steps,
}

/// The sums of one place's sixteen lanes, as they are added up.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct LaneSums(pub(super) [[u32; LANES]; LANE_SUMS]);

/// Adds up the operand of one layer.
pub struct Counter {
    coding: Coding,
    grouping: Grouping,
    columns: Columns,
    pub(super) sums: Sums,
    pub(super) lines: Lines,
    /// Gathered values, where those that are counted together lie apart.
    values: Vec<f32>,
    /// What is not yet in the sums' lanes, and how many positions more it can take.
    pub(super) pending: Vec<LaneSums>,
    pub(super) room: u64,
    /// Image, row and block of the last part: parts of a run come in order.
    last: [usize; 3],
    /// What is kept of each input, if anything is.
    pub(super) inputs: Option<ByInput>,
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
        let sums = Sums::new(classes, channels, 0);
        let pending = vec![LaneSums::default(); sums.groups.len()];
        Self {
            coding: Coding { map, encoder },
            grouping,
            columns: Columns::new(&sums.classes[1]),
            sums,
            lines: Lines::default(),
            values: Vec::new(),
            pending,
            room: ROOM,
            last: [usize::MAX; 3],
            inputs: None,
        }
    }

    /// What was added up so far.
    pub fn into_sums(mut self) -> Sums {
        if self.coding.encoder.is_some() {
            self.drain_codes();
        }
        self.inputs = None;
        self.flush(Isa::SCALAR);
        if self.sums.values.elements > 0 && self.coding.map.float.is_none() {
            // Codes order as values do.
            self.sums.values.code_extremes =
                self.sums.values.extremes.map(|extreme| self.coding.map.code(unkey(extreme)));
        }
        self.sums
    }

    /// Moves the counts of codes to the sums, which take room for them only now.
    fn drain_codes(&mut self) {
        let codes = &mut self.sums.values.codes;
        codes.resize(self.coding.map.codes(), 0);
        self.lines.histogram.drain_into(codes, self.coding.map.lo);
    }

    /// Moves the lanes' sums on before they can overflow.
    fn flush(&mut self, isa: Isa) {
        self.keep_lanes(isa);
        self.lines.counts.drain_into(&mut self.sums.values.group_widths);
        for (pending, sums) in self.pending.iter_mut().zip(self.sums.lanes.chunks_exact_mut(LANES)) {
            for (which, lanes) in pending.0.iter_mut().enumerate() {
                for (lane, sum) in lanes.iter_mut().enumerate() {
                    sums[lane][which] += u64::from(std::mem::take(sum));
                }
            }
        }
        self.room = ROOM;
    }

    /// Adds `region` of image `image` of `x`, laid out as `geometry`. False if it holds NaN or infinity.
    ///
    /// Row 0 of `x` is row `first` of the whole image. Features are taken as a whole with an image's first row and block, steps
    /// with their first block.
    pub fn count(
        &mut self,
        isa: Isa,
        x: &[f32],
        geometry: &Geometry,
        image: usize,
        region: Region,
        first: usize,
    ) -> bool {
        let is_first = match self.grouping {
            Grouping::Channels => true,
            Grouping::Features | Grouping::FeaturesOfPixels => region.blocks.start == 0 && region.rows.start == 0,
            Grouping::Steps => region.blocks.start == 0,
        };
        if !is_first || region.rows.is_empty() || region.blocks.is_empty() {
            return true;
        }
        let rows = match self.grouping {
            Grouping::Features | Grouping::FeaturesOfPixels => geometry.h,
            Grouping::Channels | Grouping::Steps => region.rows.len(),
        };
        let values = (rows * geometry.w * geometry.c) as u64;
        self.add(isa, Part { tensor: Tensor::Floats(Image { x, geometry, image }), region, first }, values)
    }

    /// Whether [`Counter::count_packed`] can be used: codes of 0 to 255 are what values are counted as.
    pub fn takes_bytes(&self) -> bool {
        let CodeMap { scale, lo, hi, float } = self.coding.map;
        float.is_none() && scale == 1.0 && lo <= 0 && hi >= 255 && self.grouping == Grouping::Channels
    }

    /// As [`Counter::count`], of all rows of `x`, of which row 0 is row `first` of the whole image.
    ///
    /// # Panics
    /// If it does not take bytes.
    pub fn count_packed(&mut self, isa: Isa, x: PackedCodes<'_>, first: usize) {
        assert!(self.takes_bytes(), "codes are what is counted");
        let region = Region { rows: 0..x.h, blocks: 0..x.c.div_ceil(LANES) };
        self.add(isa, Part { tensor: Tensor::Bytes(x), region, first }, (x.h * x.w * x.c) as u64);
    }

    /// Adds a part, of at most so many values.
    fn add(&mut self, isa: Isa, part: Part<'_>, values: u64) -> bool {
        let positions = (part.region.rows.len() * part.columns()) as u64;
        if positions > self.room {
            self.flush(isa);
        }
        self.room -= positions;
        if self.coding.encoder.is_some() && self.lines.histogram.is_full(values) {
            self.drain_codes();
        }
        isa.run(Pass { counter: self, part })
    }
}

/// Counts a part.
struct Pass<'a> {
    counter: &'a mut Counter,
    part: Part<'a>,
}

impl Kernel for Pass<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let Self { counter, part } = self;
        let mut lanes = LaneTotals::default();
        let mut values = std::mem::take(&mut counter.values);
        counter.lines.start();
        let last = std::mem::replace(&mut counter.last, part.place());
        if counter.coding.encoder.is_some() && counter.last <= last {
            // Another run: since the last one other layers had the caches.
            counter.lines.histogram.prefetch(counter.coding.map.lo, counter.coding.map.hi);
        }
        let classes = Arc::clone(&counter.sums.classes);
        match (counter.grouping, part.tensor) {
            (Grouping::Channels, Tensor::Floats(image)) if image.geometry.lanes != LANES => {
                for block in part.region.blocks.clone() {
                    counter.planes(simd, (&part, image), block, &classes, &mut lanes);
                }
            }
            (Grouping::Channels, _) => {
                // A closure would not be compiled for this level.
                for block in part.region.blocks.clone() {
                    counter.block(simd, &part, block, &classes, &mut lanes);
                }
            }
            (grouping @ (Grouping::Features | Grouping::FeaturesOfPixels), Tensor::Floats(image)) => {
                let features = gather_features(&image, grouping, &mut values);
                let floats = Strided { x: &values, line: 0, pixel: LANES };
                counter.features(simd, (floats, 1), features, &mut lanes);
            }
            (Grouping::Steps, Tensor::Floats(image)) => {
                for y in part.region.rows.clone() {
                    let steps = (steps_of(&image, y, &mut values), part.columns());
                    counter.features(simd, steps, image.geometry.c, &mut lanes);
                }
            }
            (_, Tensor::Bytes(_)) => unreachable!("bytes are of blocks of channels"),
        }
        counter.values = values;
        counter.lines.end();
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
        classes: &[Classes; 2],
        totals: &mut LaneTotals,
    ) {
        let used = (self.sums.channels - block * LANES).min(LANES);
        let (pixels, used) = (part.columns(), (used, used));
        let at_once = at_once(pixels);
        for (class, rows) in part.rows_of(&classes[0]) {
            for rows in rows.split(at_once) {
                self.lines.begin(rows.count, pixels);
                // What the next block's lines will be added to was last needed an image ago.
                for class_of_columns in 0..classes[1].len() {
                    let place = self.sums.place(class, class_of_columns, (block + 1).min(self.sums.blocks() - 1));
                    self.pending[place].0.iter().for_each(|sums| prefetch::<_, WRITTEN>(sums.as_ptr()));
                    prefetch::<_, WRITTEN>(&raw const self.sums.groups[place]);
                }
                let most = self.columns.common.map(|of_most| self.sums.place(class, of_most, block));
                let mut parity_sums = parity_sums(&mut self.pending, most);
                let source = Source { values: part.values(block, rows), pixels, used };
                self.lines.code(simd, self.coding, source, 0..rows.count, Some(&mut parity_sums), totals);
                self.place(simd, 0..rows.count, (class, block));
                self.seen((rows.count * pixels * used.0) as u64);
            }
        }
    }

    /// As [`Self::block`], of channels that lie apart.
    #[inline(always)]
    fn planes<S: Simd>(
        &mut self,
        simd: S,
        (part, Image { x, geometry, image }): (&Part<'_>, Image<'_>),
        block: usize,
        classes: &[Classes; 2],
        totals: &mut LaneTotals,
    ) {
        let channels = (self.sums.channels - block * LANES).min(LANES);
        for (class, rows) in part.rows_of(&classes[0]) {
            for first in (0..geometry.w).step_by(LANES) {
                let panel = Panel {
                    x: &x[geometry.at(image, block * LANES, rows.start - part.first, first)..],
                    row: rows.step * geometry.row_len(),
                    plane: geometry.plane_len(),
                    rows: rows.count,
                    channels,
                    used: (geometry.w - first).min(LANES),
                };
                let Lines { counts, histogram, .. } = &mut self.lines;
                let added = panel.add_up(simd, self.coding, counts, &mut histogram.writer(), totals);
                for (column, &of) in classes[1].of[first..][..panel.used].iter().enumerate() {
                    let place = self.sums.place(class, usize::from(of), block);
                    added.add_to(column, &mut self.pending[place], &mut self.sums.groups[place]);
                }
            }
            self.seen((rows.count * geometry.w * channels) as u64);
        }
    }

    /// Adds the groups of some lines, of rows of one class, and moves what was added of columns that are of another class than
    /// most to where it belongs.
    #[inline(always)]
    fn place<S: Simd>(&mut self, simd: S, lines: Range<usize>, (class, block): (usize, usize)) {
        let columns = &self.columns;
        let groups = self.lines.groups(simd, lines.clone());
        for (of_most, groups) in columns.common.into_iter().zip(&groups) {
            let most = self.sums.place(class, of_most, block);
            self.sums.groups[most].add(groups);
        }
        for ClassColumns { class: of_columns, columns: exceptions } in &columns.exceptions {
            let own = self.sums.place(class, *of_columns, block);
            let most = self.sums.place(class, columns.common[exceptions[0] % 2], block);
            let places = self.pending.get_disjoint_mut([own, most]).expect("two places");
            self.lines.move_columns(simd, self.coding.encoder, lines.clone(), exceptions, places);
            let groups = self.lines.groups_of_columns(lines.clone(), exceptions);
            self.sums.groups[own].add(&groups);
            self.sums.groups[most].subtract(&groups);
        }
    }

    /// Notes the codes of the lines, which are of so many values.
    #[inline(always)]
    fn seen(&mut self, values: u64) {
        self.sums.values.elements += values;
        if self.coding.encoder.is_some() {
            self.lines.histogram.add_values(values);
        }
    }

    /// Lines of `features` features, filled up to pixels, each of which is its own block.
    #[inline(always)]
    fn features<S: Simd>(
        &mut self,
        simd: S,
        (values, lines): (Strided<'_>, usize),
        features: usize,
        totals: &mut LaneTotals,
    ) {
        let pixels = features.div_ceil(LANES);
        // The last pixel may have padding lanes.
        let used = (LANES, features - (pixels - 1) * LANES);
        let at_once = at_once(pixels);
        for first in (0..lines).step_by(at_once) {
            let count = (lines - first).min(at_once);
            self.lines.begin(count, pixels);
            let source = Source { values: Values::Floats(values), pixels, used }.below(first);
            self.lines.code(simd, self.coding, source, 0..count, None, totals);
            self.lines.groups_of_each(count, &mut self.sums.groups[..pixels]);
            self.lines.add_each(simd, self.coding.encoder, count, &mut self.pending[..pixels]);
            self.seen((count * features) as u64);
        }
    }
}

/// How many lines of so many pixels are coded at a time.
fn at_once(pixels: usize) -> usize {
    (CHUNK / pixels.max(1).next_multiple_of(FILLED)).max(1)
}

/// Where even and odd pixels are added.
#[inline(always)]
fn parity_sums(pending: &mut [LaneSums], [even, odd]: [usize; 2]) -> ParitySums<'_> {
    if even == odd {
        return ParitySums { even: &mut pending[even], odd: None };
    }
    let [even, odd] = pending.get_disjoint_mut([even, odd]).expect("two places");
    ParitySums { even, odd: Some(odd) }
}
