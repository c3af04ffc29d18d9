//! The counting pass: lines of an operand, sixteen channels at a time, each line visited once while it is in cache.

use std::ops::Range;
use std::sync::Arc;

use super::adder::Segment;
use super::classes::{Classes, Run};
use super::code::{CodeMap, Coding, Detail, MAX_WIDTH};
use super::gather::{gather_features, steps_of};
use super::inputs::{ByInput, Counted, OneInput, Reader};
use super::lanes::LaneTotals;
use super::lines::{Destination, Lines};
use super::part::{Grouping, Image, Part, Tensor};
use super::places::{CHUNK, Columns, LaneSums, Places};
use super::source::{Source, Strided, Values};
use super::sums::{Sums, TERMS, Totals, WIDTH, unkey};
use crate::kernels::geometry::{Geometry, LANES, Region};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::packed_codes::PackedCodes;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{WRITTEN, prefetch};

/// Pixels that are coded at a time: these and their codes stay in the first-level cache's reach.
const TOGETHER: usize = 512;
/// Positions of a place whose 32-bit lane sums cannot overflow.
const ROOM: u64 = u32::MAX as u64 / MAX_WIDTH as u64;

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
    /// Those of the rows that are being counted.
    segments: Vec<Segment>,
    /// Image, row and block of the last part: parts of a run come in order.
    last: [usize; 3],
    /// What is kept of each input, if anything is.
    pub(super) inputs: Option<ByInput>,
}

impl Counter {
    /// A counter for operands of `channels` channels (or features) whose positions fall into `classes`.
    pub fn new(map: CodeMap, detail: Detail, grouping: Grouping, classes: Arc<[Classes; 2]>, channels: usize) -> Self {
        let mut sums = Sums::new(classes, channels, 0);
        sums.values.totals = matches!(detail, Detail::Terms(_)).then(Totals::default);
        let columns = match grouping {
            Grouping::Channels => Columns::new(&sums.classes[1]),
            // Each pixel is a block of its own.
            Grouping::Features | Grouping::FeaturesOfPixels | Grouping::Steps => Columns::each(sums.blocks()),
        };
        let pending = vec![LaneSums::default(); sums.groups.len()];
        Self {
            coding: Coding { map, detail },
            grouping,
            columns,
            sums,
            lines: Lines::default(),
            values: Vec::new(),
            pending,
            room: ROOM,
            segments: Vec::new(),
            last: [usize::MAX; 3],
            inputs: None,
        }
    }

    /// The same counter, which also keeps the sums of each input of a run for `readers`.
    pub fn by_input(mut self, readers: Arc<[Reader]>) -> Self {
        self.inputs = Some(ByInput::new(readers));
        self
    }

    /// Marks that input `input` of the run is counted from here on.
    pub fn begin_input(&mut self, isa: Isa, input: usize) {
        let Self { inputs, sums, pending, lines, .. } = self;
        if let Some(inputs) = inputs {
            inputs.begin(isa, input, &Counted { lanes: pending, sums, counts: &lines.counts });
        }
    }

    /// Adds the sums of each input of the run, which ends here, to `all`.
    pub fn take_inputs(&mut self, isa: Isa, all: &mut [OneInput]) {
        let Self { inputs, sums, pending, lines, .. } = self;
        if let Some(inputs) = inputs {
            inputs.take(isa, &Counted { lanes: pending, sums, counts: &lines.counts }, all);
        }
    }

    /// What was added up so far.
    pub fn into_sums(mut self) -> Sums {
        if self.coding.detail.keeps_codes() {
            self.drain_codes();
        }
        self.inputs = None;
        self.flush(Isa::SCALAR);
        let values = &mut self.sums.values;
        if values.elements > 0 && self.coding.map.float.is_none() {
            // Codes order as values do.
            values.code_extremes = values.extremes.map(|extreme| self.coding.map.code(unkey(extreme)));
        }
        if let Some(totals) = &mut values.totals {
            let all = |which: usize| self.sums.lanes.iter().map(|sums| sums[which]).sum();
            (totals.widths, totals.terms) = (all(WIDTH), all(TERMS));
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
        let Self { inputs, sums, pending, lines, .. } = self;
        if let Some(inputs) = inputs {
            inputs.keep_lanes(isa, &Counted { lanes: pending, sums, counts: &lines.counts });
        }
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
        if self.coding.detail.keeps_codes() && self.lines.histogram.is_full(values) {
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
        if counter.coding.detail.keeps_codes() && counter.last <= last {
            // Another run: since the last one other layers had the caches.
            counter.lines.histogram.prefetch(counter.coding.map.lo, counter.coding.map.hi);
        }
        let classes = Arc::clone(&counter.sums.classes);
        match (counter.grouping, part.tensor) {
            (Grouping::Channels, _) => {
                let (together, Range { start, end }) = (at_once(part.columns()), part.rows());
                for first in (start..end).step_by(together) {
                    let rows = first..(first + together).min(end);
                    counter.segment(&classes[0], rows.clone(), part.region.blocks.start);
                    for block in part.region.blocks.clone() {
                        counter.prefetch(block + 1);
                        let used = (counter.sums.channels - block * LANES).min(LANES);
                        let values = part.values(block, rows.clone(), &mut values);
                        let source = Source { values, pixels: part.columns(), used: (used, used) };
                        counter.add_lines(simd, (source, rows.len()), &mut lanes);
                        // Those of the next block are beside them.
                        counter.segments.iter_mut().for_each(|(_, places)| places.first += 1);
                    }
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
    /// Prefetches what the lines of a block will be added to: it was last needed an image ago.
    fn prefetch(&self, block: usize) {
        for place in (block.min(self.sums.blocks() - 1)..self.pending.len()).step_by(self.sums.blocks()) {
            self.pending[place].0.iter().for_each(|sums| prefetch::<_, WRITTEN>(sums.as_ptr()));
            prefetch::<_, WRITTEN>(&raw const self.sums.groups[place]);
        }
    }

    /// Finds the places of some rows, of a block.
    fn segment(&mut self, classes: &Classes, rows: Range<usize>, block: usize) {
        let (Self { sums, segments, .. }, first) = (self, rows.start);
        segments.clear();
        segments.extend(classes.within(rows).map(|(class, run)| {
            let run = Run { start: run.start - first, ..run };
            (run, Places { first: sums.place(class, 0, block), step: sums.blocks() })
        }));
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
            let source = Source { values: Values::Floats(values), pixels, used }.below(first);
            let count = (lines - first).min(at_once);
            self.segments.clear();
            self.segments.push((Run { start: 0, count, step: 1 }, Places { first: 0, step: 1 }));
            self.add_lines(simd, (source, count), totals);
        }
    }

    /// So many lines, in segments.
    #[inline(always)]
    fn add_lines<S: Simd>(&mut self, simd: S, (source, count): (Source<'_>, usize), totals: &mut LaneTotals) {
        let Self { coding, columns, sums, lines, pending, segments, .. } = self;
        let to = Destination { columns, segments, lanes: pending, groups: &mut sums.groups, totals };
        lines.add(simd, *coding, (source, count), to);
        let Source { pixels, used, .. } = source;
        let values = (count * ((pixels - 1) * used.0 + used.1)) as u64;
        sums.values.elements += values;
        if coding.detail.keeps_codes() {
            lines.histogram.add_values(values);
        }
    }
}

/// How many lines of so many pixels are coded at a time.
fn at_once(pixels: usize) -> usize {
    (TOGETHER / pixels.max(1).next_multiple_of(CHUNK)).max(1)
}
