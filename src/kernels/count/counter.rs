//! The counting pass: lines of a blocked operand, sixteen channels at a time, each line visited once while it is in cache.

use std::ops::Range;
use std::sync::Arc;

use super::classes::Classes;
use super::code::{CodeMap, Encoder, MAX_WIDTH};
use super::gather::{gather_channels, gather_features, gather_step};
use super::lanes::LaneTotals;
use super::lines::{Coding, Halves, Lines, Source};
use super::sums::{LANE_SUMS, Sums, unkey};
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::simd::Simd;
use crate::kernels::tile::{WRITTEN, prefetch};

/// Pixels that are coded at a time: their codes stay in the first-level cache's reach.
const CHUNK: usize = 1024;
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
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct LaneSums(pub(super) [[u32; LANES]; LANE_SUMS]);

/// Classes of columns as a pass adds them up: all even columns to one class and all odd ones to one, and then columns of other
/// classes are taken out again.
struct Columns {
    /// The class of most even columns, and of most odd ones.
    most: [usize; 2],
    /// The columns that are of another class than most of their kind.
    others: Vec<Others>,
}

/// Columns of one class, all even or all odd.
struct Others {
    class: usize,
    columns: Vec<usize>,
}

impl Columns {
    fn new(classes: &Classes) -> Self {
        let all = classes.of.len();
        let of_class = |class: usize, odd: usize| {
            (odd..all).step_by(2).filter(move |&column| usize::from(classes.of[column]) == class)
        };
        let most = [0, 1].map(|odd| (0..classes.len()).max_by_key(|&class| of_class(class, odd).count()).unwrap_or(0));
        let kinds = (0..classes.len()).flat_map(|class| [(class, 0), (class, 1)]);
        let others = kinds.filter(|&(class, odd)| class != most[odd]);
        let others = others.map(|(class, odd)| Others { class, columns: of_class(class, odd).collect() });
        Self { most, others: others.filter(|others| !others.columns.is_empty()).collect() }
    }
}

/// Adds up the operand of one layer.
pub struct Counter {
    coding: Coding,
    grouping: Grouping,
    columns: Columns,
    sums: Sums,
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
        let sums = Sums::new(classes, channels, 0);
        let pending = vec![LaneSums::default(); sums.groups.len()];
        let (coding, columns) = (Coding { map, encoder }, Columns::new(&sums.classes[1]));
        Self { coding, grouping, columns, sums, lines: Lines::default(), values: Vec::new(), pending, room: ROOM }
    }

    /// What was added up so far.
    pub fn into_sums(mut self) -> Sums {
        if self.coding.encoder.is_some() {
            self.drain_codes();
        }
        self.flush();
        if self.sums.values.elements > 0 {
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
    fn flush(&mut self) {
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
        if self.coding.encoder.is_some() && self.lines.histogram.is_full(geometry.image_len() as u64) {
            self.drain_codes();
        }
        let part = Part { x, geometry, image, rows, first };
        isa.run(Pass { counter: self, part })
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
        match counter.grouping {
            Grouping::Channels => {
                for block in 0..counter.sums.blocks() {
                    counter.block(simd, &part, block, (&mut lanes, &mut values));
                }
            }
            Grouping::Features => {
                let features = gather_features(&part, &mut values);
                counter.features(simd, &values, features, &mut lanes);
            }
            Grouping::Steps => {
                for (y, column) in part.rows.clone().flat_map(|y| (0..part.geometry.w).map(move |x| (y, x))) {
                    gather_step(&part, (y, column), &mut values);
                    counter.features(simd, &values, part.geometry.c, &mut lanes);
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
    ) {
        let Part { x, geometry, image, .. } = *part;
        let used = (self.sums.channels - block * LANES).min(LANES);
        let (pixels, used) = (geometry.w, (used, used));
        let at_once = (CHUNK / pixels.max(1)).max(1);
        for start in part.rows.clone().step_by(at_once) {
            let rows = start..part.rows.end.min(start + at_once);
            self.lines.begin(rows.len(), pixels);
            let classes = Arc::clone(&self.sums.classes);
            let class_of = |y: usize| usize::from(classes[0].of[y + part.first]);
            let mut from = rows.start;
            while from < rows.end {
                let class = class_of(from);
                let to = (from + 1..rows.end).find(|&y| class_of(y) != class).unwrap_or(rows.end);
                let lines = from - rows.start..to - rows.start;
                // The lines are coded first, and what they will be added to was last needed an image ago.
                for class_of_columns in 0..classes[1].len() {
                    let place = self.sums.place(class, class_of_columns, block);
                    self.pending[place].0.iter().for_each(|sums| prefetch::<_, WRITTEN>(sums.as_ptr()));
                    prefetch::<_, WRITTEN>(&raw const self.sums.groups[place]);
                }
                let most = self.columns.most.map(|of_most| self.sums.place(class, of_most, block));
                let mut halves = halves(&mut self.pending, most);
                if geometry.lanes == LANES {
                    let source =
                        Source { x: &x[geometry.at(image, block, from, 0)..], row: geometry.row_len(), pixels, used };
                    self.lines.code(simd, self.coding, source, lines.clone(), Some(&mut halves), totals);
                } else {
                    for (line, y) in lines.clone().zip(from..to) {
                        gather_channels(part, y, block * LANES..block * LANES + used.0, values);
                        let source = Source { x: values, row: 0, pixels, used };
                        self.lines.code(simd, self.coding, source, line..line + 1, Some(&mut halves), totals);
                    }
                }
                self.place(simd, lines, (class, block));
                from = to;
            }
            self.seen((rows.len() * pixels * used.0) as u64);
        }
    }

    /// Adds the groups of some lines, of rows of one class, and moves what was added of columns that are of another class than
    /// most to where it belongs.
    #[inline(always)]
    fn place<S: Simd>(&mut self, simd: S, lines: Range<usize>, (class, block): (usize, usize)) {
        let columns = &self.columns;
        let groups = self.lines.groups(simd, lines.clone());
        for (of_most, groups) in columns.most.into_iter().zip(&groups) {
            let most = self.sums.place(class, of_most, block);
            self.sums.groups[most].add(groups);
        }
        for Others { class: of_columns, columns: others } in &columns.others {
            let own = self.sums.place(class, *of_columns, block);
            let most = self.sums.place(class, columns.most[others[0] % 2], block);
            let places = self.pending.get_disjoint_mut([own, most]).expect("two places");
            self.lines.move_columns(simd, self.coding.encoder, lines.clone(), others, places);
            let groups = self.lines.groups_of_columns(lines.clone(), others);
            self.sums.groups[own].add(&groups);
            self.sums.groups[most].subtract(&groups);
        }
    }

    /// Notes the codes of the lines, which are of so many values.
    #[inline(always)]
    fn seen(&mut self, values: u64) {
        self.sums.values.elements += values;
        if self.coding.encoder.is_some() {
            self.lines.histogram.saw(values);
        }
    }

    /// Features in `values`, filled up to pixels, each of which is its own block.
    #[inline(always)]
    fn features<S: Simd>(&mut self, simd: S, values: &[f32], features: usize, totals: &mut LaneTotals) {
        let pixels = values.len() / LANES;
        self.lines.begin(1, pixels);
        // The last pixel may have filling lanes.
        let used = (LANES, features - (pixels - 1) * LANES);
        self.lines.code(simd, self.coding, Source { x: values, row: 0, pixels, used }, 0..1, None, totals);
        self.seen(features as u64);
        for (block, groups) in self.sums.groups[..pixels].iter_mut().enumerate() {
            groups.add(&self.lines.groups_of_columns(0..1, &[block]));
        }
        self.lines.add_each(simd, self.coding.encoder, &mut self.pending[..pixels]);
    }
}

/// Where even and odd pixels are added.
#[inline(always)]
fn halves(pending: &mut [LaneSums], [even, odd]: [usize; 2]) -> Halves<'_> {
    if even == odd {
        return Halves { even: &mut pending[even], odd: None };
    }
    let [even, odd] = pending.get_disjoint_mut([even, odd]).expect("two places");
    Halves { even, odd: Some(odd) }
}
