//! Direct convolution: a tile of a few pixels by a few blocks of filters stays in registers.

use std::ops::Range;
use std::sync::Arc;

use super::cover::{Cover, FEW_REGISTERS, cover, tiles_cost};
use super::epilogue::{Area, Output};
use super::packed::{Packed, Set, Weights, blocks_of, equal_sets, part};
use super::vector::{Product, is_vector};
use super::{ConvShape, Job};
use crate::kernels::coded::CodedMatrix;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::{Isa, Kernel};
use crate::kernels::scratch::with_scratch;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{Floats, Loop, Walk};

/// Neighbouring output columns whose windows have the same column taps inside the map.
pub(super) struct Segment {
    taps: Range<usize>,
    /// How the columns are divided into tiles, by the number of filter blocks of a tile or [`FEW_REGISTERS`].
    covers: [Cover; 9],
}

pub(super) struct Direct {
    shape: ConvShape,
    pub(super) packed: Arc<Packed>,
    segments: Vec<Segment>,
    /// Row taps inside the map, for each output row.
    live: Vec<Range<usize>>,
}

/// Bytes of input that stay in the second-level cache beside the weights.
const CACHED: usize = 400_000;
/// Maps of fewer pixels than this read the filters from memory rather than from a cache.
const FEW_PIXELS: usize = 64;
/// Tasks for each thread: enough to share evenly.
const TASKS: usize = 8;

impl Direct {
    /// Packs `weight`, or shares what `before`, the same layer for maps of another size, packed, if the layout is the same.
    pub(super) fn new(shape: &ConvShape, weight: &[f32], x: &Geometry, y: &Geometry, before: Option<&Self>) -> Self {
        let packed = Packed::new(shape, weight, (x, y), before.map(|before| &before.packed));
        let live = |y: usize| live(y * shape.stride.0, shape.padding.top, shape.kernel.0, shape.dilation.0, x.h);
        let (segments, rows) = (segments(shape, x.w, y.w), (0..y.h).map(live).collect());
        Self { shape: *shape, packed, segments, live: rows }
    }

    /// A convolution of single pixels with the filters that are the rows of `matrix`.
    pub(super) fn coded(shape: &ConvShape, matrix: Arc<CodedMatrix>, x: &Geometry, y: &Geometry) -> Self {
        let (segments, live) = (segments(shape, x.w, y.w), vec![0..1; y.h]);
        Self { shape: *shape, packed: Arc::new(Packed::coded(matrix, x, y)), segments, live }
    }

    pub(super) fn run(&self, exec: &Exec<'_>, job: &Job<'_>) {
        let (h, sets, wanted) = (job.yg.h, self.packed.sets.len(), TASKS * exec.pool.threads());
        // An image that fits in the cache stays there while each set of filters goes over it, so weights are read once. Of a
        // larger one, a band of rows stays there while all sets go over it.
        let image_bytes = job.xg.image_len() * size_of::<f32>();
        let in_cache = image_bytes <= CACHED;
        // Where few registers hold few pixels, a narrow band would read all weights for too few tiles.
        let most = if exec.isa.has_many_registers() { h } else { h * job.yg.w / FEW_PIXELS };
        let least = wanted.div_ceil(job.images * sets);
        let bands = match in_cache {
            true => least,
            false => wanted.div_ceil(job.images).min(most).max(least).max(image_bytes.div_ceil(CACHED)),
        };
        // Bands of equal height, except the last.
        let height = h.div_ceil(bands.min(h));
        let bands = h.div_ceil(height);
        let places = job.images * bands;
        let chunks = match in_cache {
            true => sets,
            false if places >= 2 * exec.pool.threads() => 1,
            false => wanted.div_ceil(places).min(sets),
        };
        exec.for_each_task(places * chunks, |_, task| {
            let (place, chunk) = if in_cache { (task % places, task / places) } else { (task / chunks, task % chunks) };
            let start = place % bands * height;
            let sets = &self.packed.sets[part(sets, chunk, chunks)];
            self.band(exec.isa, job, sets, place / bands, start..h.min(start + height));
        });
    }

    /// Some rows of the first image.
    pub(super) fn rows(&self, isa: Isa, job: &Job<'_>, rows: Range<usize>) {
        self.band(isa, job, &self.packed.sets, 0, rows);
    }

    /// Some rows of one image for some sets of filters.
    fn band(&self, isa: Isa, job: &Job<'_>, sets: &[Set], image: usize, rows: Range<usize>) {
        for sets in equal_sets(sets) {
            match &self.packed.weights {
                Weights::Floats(weights) => self.segments(isa, job, (sets, weights), image, &rows),
                Weights::Coded(matrix) if is_vector(job.xg) => {
                    let blocks = blocks_of(sets);
                    isa.run(Product { matrix, job, image, blocks });
                }
                Weights::Coded(matrix) => sets.chunks(1).for_each(|set| {
                    with_scratch(matrix.columns() * set[0].blocks.len() * LANES, |panel| {
                        matrix.panel(isa, set[0].blocks.clone(), panel);
                        self.segments(isa, job, (set, panel), image, &rows);
                    });
                }),
            }
            let area = Area { image, blocks: blocks_of(sets), rows: rows.clone(), columns: 0..job.yg.w };
            // SAFETY: the rows of these blocks are this task's, and they are in the output.
            unsafe { job.finish(isa, area) };
        }
    }

    /// Some rows of all segments for `sets` of equal size with their weights.
    fn segments(&self, isa: Isa, job: &Job<'_>, sets: (&[Set], &[f32]), image: usize, rows: &Range<usize>) {
        let (shape, w) = (&self.shape, job.yg.w);
        // Single pixels without a halo beside the map: its rows are one long row, which small tiles cover best.
        let is_long = (shape.kernel, shape.stride) == ((1, 1), (1, 1)) && job.xg.row_len() == w * job.xg.lanes;
        if is_long && !isa.has_many_registers() {
            let cover = cover(&(rows.start * w..rows.end * w), FEW_REGISTERS);
            return self.tiles(isa, job, sets, (&cover, &(0..1)), image, &(0..1));
        }
        for segment in &self.segments {
            self.tiles(isa, job, sets, segment.tiles(isa, sets.0), image, rows);
        }
    }

    /// Some rows of what a cover divides, for sets of equal size with their weights; all blocks of a set at once if the
    /// registers hold them.
    fn tiles(
        &self,
        isa: Isa,
        job: &Job<'_>,
        (sets, weights): (&[Set], &[f32]),
        (cover, taps): (&Cover, &Range<usize>),
        image: usize,
        rows: &Range<usize>,
    ) {
        let size_of_set = sets[0].blocks.len();
        let blocks = if isa.has_many_registers() { size_of_set } else { 1 };
        for (size, columns) in cover.iter().filter(|(_, columns)| !columns.is_empty()) {
            for block in (0..size_of_set).step_by(blocks) {
                let strip = Strip { direct: self, job, sets, weights, block, taps, image, rows, columns };
                strip.run(isa, blocks, *size);
            }
        }
    }

    /// A map of one row for a part of the sets: the matrix product inside other methods.
    pub(super) fn product(&self, isa: Isa, job: &Job<'_>, row: &Segment, (index, parts): (usize, usize)) {
        let Packed { sets, weights: Weights::Floats(weights), .. } = &*self.packed else {
            unreachable!("other methods pack floats")
        };
        for sets in equal_sets(&sets[part(sets.len(), index, parts)]) {
            self.tiles(isa, job, (sets, weights), row.tiles(isa, sets), 0, &(0..1));
        }
    }

    /// The filter blocks of a part of the sets.
    pub(super) fn blocks(&self, (index, parts): (usize, usize)) -> Range<usize> {
        let sets = &self.packed.sets;
        blocks_of(&sets[part(sets.len(), index, parts)])
    }
}

/// Divides the output columns where a column tap enters or leaves the map, if taps are dilated; otherwise it does not pay.
fn segments(shape: &ConvShape, w: usize, columns: usize) -> Vec<Segment> {
    let whole = Segment::new(0..columns, 0..shape.kernel.1);
    if shape.dilation.1 == 1 {
        return vec![whole];
    }
    let mut cuts: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for column in 0..columns {
        let taps = live(column * shape.stride.1, shape.padding.left, shape.kernel.1, shape.dilation.1, w);
        match cuts.last_mut() {
            Some((columns, last)) if *last == taps => columns.end = column + 1,
            _ => cuts.push((column..column + 1, taps)),
        }
    }
    let cut: Vec<_> = cuts.into_iter().map(|(columns, taps)| Segment::new(columns, taps)).collect();
    if cut.iter().map(Segment::cost).sum::<usize>() < whole.cost() { cut } else { vec![whole] }
}

impl Segment {
    pub(super) fn new(columns: Range<usize>, taps: Range<usize>) -> Self {
        Self { taps, covers: std::array::from_fn(|blocks| cover(&columns, blocks)) }
    }

    /// Its tiles for one of `sets`, and its taps.
    fn tiles(&self, isa: Isa, sets: &[Set]) -> (&Cover, &Range<usize>) {
        let blocks = if isa.has_many_registers() { sets[0].blocks.len() } else { FEW_REGISTERS };
        (&self.covers[blocks], &self.taps)
    }

    /// Multiply-adds of a row for two filter blocks.
    fn cost(&self) -> usize {
        self.covers[2].iter().map(|(size, run)| tiles_cost(run.len(), *size, 2)).sum::<usize>() * self.taps.len()
    }
}

/// The taps inside the map when the first tap is at `start` of the padded axis. If none is inside, the first one, which reads
/// zeros.
fn live(start: usize, padding: usize, taps: usize, dilation: usize, size: usize) -> Range<usize> {
    let first = padding.saturating_sub(start).div_ceil(dilation).min(taps);
    let end = (padding + size).saturating_sub(start).div_ceil(dilation).min(taps);
    if first < end { first..end } else { 0..1 }
}

/// Three taps, `dilation` apart, over an axis of `size` outputs: the number of taps inside the map, summed over all outputs.
pub(super) fn live_taps(size: usize, dilation: usize, (before, after): (usize, usize)) -> usize {
    let inputs = (size + 2 * dilation).saturating_sub(before + after);
    (0..size).map(|start| live(start, before, 3, dilation, inputs).len()).sum()
}

/// Columns of some rows of one image, for some sets of equal size, from the `block`-th block of each set on.
struct Strip<'a> {
    direct: &'a Direct,
    job: &'a Job<'a>,
    sets: &'a [Set],
    weights: &'a [f32],
    block: usize,
    taps: &'a Range<usize>,
    image: usize,
    rows: &'a Range<usize>,
    columns: &'a Range<usize>,
}

macro_rules! tile_of {
    ($isa:ident, $strip:ident, $blocks:ident, $size:ident: $($b:literal x [$($p:literal)+]),+) => {
        match ($blocks, $size) {
            $($(($b, $p) => $isa.run(Tiled::<$p, $b>($strip)),)+)+
            _ => unreachable!("no tile of {} pixels and {} blocks is compiled", $size, $blocks),
        }
    };
}

impl Strip<'_> {
    /// Runs tiles of `size` pixels and `blocks` filter blocks.
    fn run(self, isa: Isa, blocks: usize, size: usize) {
        tile_of!(isa, self, blocks, size:
            1 x [14 10 8 6 5 4 3 2 1], 2 x [14 12 10 8 7 6 5 4 3 2 1], 3 x [7 4 2 1], 4 x [6 5 4 3 2 1], 8 x [2 1]);
    }
}

struct Tiled<'a, const P: usize, const B: usize>(Strip<'a>);

impl<const P: usize, const B: usize> Kernel for Tiled<'_, P, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::REGISTERS < 32 && P * B > 6 {
            // Never dispatched; the check keeps the code of such tiles out of levels that cannot hold them in registers.
            unreachable!("a tile of {P} pixels and {B} blocks does not fit the registers");
        }
        let output = self.0.job.output(s, self.0.image);
        let origin = self.0.image * self.0.job.xg.image_len();
        for set in self.0.sets {
            self.set(s, set, origin, &output);
        }
    }
}

impl<const P: usize, const B: usize> Tiled<'_, P, B> {
    /// One set, on the image that begins at `origin`.
    #[inline(always)]
    fn set<S: Simd>(&self, s: S, set: &Set, origin: usize, output: &Output<S>) {
        let &Strip { direct: Direct { shape, live, .. }, job, weights, block, taps, rows, columns, .. } = &self.0;
        let (xg, width, first) = (job.xg, set.blocks.len() * LANES, set.blocks.start + block);
        let step = xg.lanes * width;
        let (r, t) = shape.kernel;
        let mut bias = [s.splat(0.0); B];
        for b in 0..B {
            bias[b] = s.load(&job.bias[(first + b) * LANES..]);
        }
        let plane = Loop { count: set.inputs.len(), input: xg.plane_len(), weights: r * t * step };
        let row = Loop { count: 1, input: shape.dilation.0 * xg.row_len(), weights: t * step };
        // The lanes of neighbouring taps are contiguous.
        let (column, run) = match shape.dilation.1 {
            1 => (Loop { count: 1, input: 0, weights: 0 }, taps.len() * xg.lanes),
            dilation => (Loop { count: taps.len(), input: dilation * xg.lanes, weights: step }, xg.lanes),
        };
        let pixel = shape.stride.1 * xg.lanes;
        // With a small map and many filters, weights leave the cache between uses: the last image prefetches the next ones.
        let few = rows.len() * columns.len() <= FEW_PIXELS && self.0.image + 1 == job.images;
        let ahead = if few { set.inputs.len() * plane.weights } else { 0 };
        // A tile that few registers hold comes soon to its next block.
        let far = S::REGISTERS < 32 || P * B >= 8 && xg.image_len() * size_of::<f32>() > CACHED;
        // The first tap inside the map, as an offset in the padded buffer and in the weights.
        let left = taps.start * shape.dilation.1 + xg.halo.left - shape.padding.left;
        let from = origin + set.inputs.start * plane.input + left * xg.lanes;
        let weight = set.offset + block * LANES + taps.start * step;
        for y in rows.clone() {
            let live = &live[y];
            let top = y * shape.stride.0 + live.start * shape.dilation.0 + xg.halo.top - shape.padding.top;
            let (from, weight) = (from + top * xg.row_len(), weight + live.start * row.weights);
            let walk = Walk { outer: [plane, Loop { count: live.len(), ..row }, column], run, pixel, width, ahead };
            let mut x = columns.start;
            while x < columns.end {
                let at = x.min(columns.end - P);
                let from = from + at * pixel;
                debug_assert!(walk.fits(P, B, job.x.len() - from, weights.len() - weight));
                if P * B >= 8 {
                    output.prefetch::<P, B>(first, y, at);
                }
                // SAFETY: the halo of `x` holds every tap of every window and its buffer every image (asserted), the
                // weights were packed for this walk; the pixels are in the output and this task's.
                unsafe {
                    let (input, weight) = (job.x.as_ptr().add(from), weights.as_ptr().add(weight));
                    let sums = bias.map(|bias| [bias; P]);
                    let sums = if far {
                        walk.accumulate_prefetching::<S, Floats, P, B>(s, input, weight, sums)
                    } else {
                        walk.accumulate::<S, Floats, P, B>(s, input, weight, sums)
                    };
                    output.store(s, sums, first, y, at);
                }
                x = at + P;
            }
        }
    }
}
