//! Some queries of the heads that share keys: their scores, probabilities and outputs.

use std::ops::Range;

use super::cache::KvCache;
use super::{ObserveRows, Probabilities};
use crate::kernels::activation::{exp, rounded};
use crate::kernels::count::CodeMap;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::norm::sum_of_lanes;
use crate::kernels::pixels::Source;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{Floats, Loop, Walk, unrolled};

/// Blocks of sixteen sums that run side by side where there are few rows, to hide the latency of multiply-add.
const BESIDE: usize = 4;
/// Exponent from which on f32 has no normal power of e.
const UNDERFLOW: f32 = -87.0;
/// More than the inverse of the spacing of floats near [`UNDERFLOW`].
const STEEP: f32 = (1u32 << 30) as f32;

/// What a tile reads and writes.
pub(super) struct Tile<'a> {
    pub cache: &'a KvCache,
    pub q: Source<'a>,
    pub y: &'a Shared<'a>,
    pub yg: &'a Geometry,
    pub worker: usize,
    pub image: usize,
    pub kv_head: usize,
    /// Tokens before the first query.
    pub past: usize,
    pub queries: Range<usize>,
    /// Tokens that are keys.
    pub keys: Range<usize>,
    /// Keys that any of the queries sees, from a multiple of sixteen on.
    pub columns: Range<usize>,
    /// Floats of a row of scores, a multiple of sixteen.
    pub width: usize,
    /// What probabilities are rounded to.
    pub rounding: Option<CodeMap>,
    pub observe: Option<ObserveRows<'a>>,
}

impl<'a> Tile<'a> {
    /// With room for the queries `[row][feature]` and the scores `[row][width]`.
    pub(super) fn with<'b>(self, queries: &'b mut [f32], scores: &'b mut [f32]) -> Work<'a, 'b> {
        Work { tile: self, queries, scores }
    }

    /// Rows: a query of each head that shares the keys.
    fn rows(&self) -> usize {
        self.queries.len() * self.cache.shape().group()
    }

    /// Query and head of `row`.
    fn row(&self, row: usize) -> (usize, usize) {
        let group = self.cache.shape().group();
        (self.queries.start + row / group, self.kv_head * group + row % group)
    }

    fn visible(&self, query: usize) -> Range<usize> {
        self.cache.shape().mask.visible(self.past + query, self.keys.clone())
    }
}

/// A tile and its scratch memory.
pub(super) struct Work<'a, 'b> {
    tile: Tile<'a>,
    queries: &'b mut [f32],
    scores: &'b mut [f32],
}

impl Kernel for Work<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { tile, queries, scores } = self;
        let shape = *tile.cache.shape();
        let (rows, inner, width) = (tile.rows(), shape.inner, tile.width);
        let blocks = inner / LANES;
        let aligned = tile.q.geometry.lanes == LANES && inner.is_multiple_of(LANES);
        for (row, to) in queries.chunks_exact_mut(inner).enumerate() {
            let (query, head) = tile.row(row);
            if aligned {
                for (block, to) in to.chunks_exact_mut(LANES).enumerate() {
                    let from = tile.q.geometry.at(tile.image, head * blocks + block, 0, query);
                    s.store(to, s.load(&tile.q.data[from..]));
                }
                continue;
            }
            for (feature, to) in to.iter_mut().enumerate() {
                *to = tile.q.channel(tile.image, head * inner + feature, 0, query);
            }
        }
        // Scores, sixteen keys at a time.
        let panels = tile.columns.len().div_ceil(LANES);
        let keys = &tile.cache.keys(tile.image, tile.kv_head)[tile.columns.start * inner..];
        let scores_of = Product { rows, length: inner, x: queries, stride: inner, w: keys, apart: inner * LANES };
        scores_of.run(s, panels, &mut Scores { to: scores, width });
        let first = tile.columns.start;
        let seen = |keys: &Range<usize>| keys.start.max(first) - first..keys.end.max(first) - first;
        for (row, scores) in scores.chunks_exact_mut(width).enumerate() {
            softmax(s, scores, seen(&tile.visible(tile.row(row).0)), shape.scale);
            if let Some(map) = tile.rounding {
                for scores in scores.chunks_exact_mut(LANES) {
                    s.store(scores, rounded(s, s.load(scores), map));
                }
            }
        }
        if let Some(observe) = tile.observe {
            let rows = scores.chunks_exact(width).enumerate().map(|(row, scores)| {
                let (query, head) = tile.row(row);
                let (worker, image, keys) = (tile.worker, tile.image, tile.visible(query));
                let values = &scores[seen(&keys)];
                let (steps, query) = (tile.cache.tokens(), tile.past + query);
                Probabilities { worker, image, head, steps, query, keys, values }
            });
            observe(&rows.collect::<Vec<_>>());
        }
        let (values, room) = tile.cache.values(tile.image, tile.kv_head);
        let values = &values[tile.columns.start * LANES..];
        let (length, apart) = (tile.columns.len(), room * LANES);
        let outputs = Product { rows, length, x: scores, stride: width, w: values, apart };
        outputs.run(s, shape.outer.div_ceil(LANES), &mut Outputs(&tile));
    }
}

/// Where the sums of a product go.
trait Sums {
    /// Takes the sums of a row and block. Must be `#[inline(always)]`.
    fn take<S: Simd>(&mut self, s: S, row: usize, block: usize, sums: S::V);
}

/// Rows of scores.
struct Scores<'a> {
    to: &'a mut [f32],
    width: usize,
}

impl Sums for Scores<'_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, s: S, row: usize, block: usize, sums: S::V) {
        s.store(&mut self.to[row * self.width + block * LANES..], sums);
    }
}

/// The layer's output.
struct Outputs<'a, 'b>(&'b Tile<'a>);

impl Sums for Outputs<'_, '_> {
    #[inline(always)]
    fn take<S: Simd>(&mut self, s: S, row: usize, block: usize, sums: S::V) {
        let (tile, outer) = (self.0, self.0.cache.shape().outer);
        let (query, head) = tile.row(row);
        let channel = head * outer + block * LANES;
        if outer.is_multiple_of(LANES) {
            // SAFETY: each query of each head belongs to one task.
            let to = unsafe { tile.y.slice(tile.yg.at(tile.image, channel / LANES, 0, query), LANES) };
            return s.store(to, sums);
        }
        let mut lanes = [0.0; LANES];
        s.store(&mut lanes, sums);
        for (lane, &value) in lanes[..(outer - block * LANES).min(LANES)].iter().enumerate() {
            // SAFETY: as above.
            unsafe { tile.y.slice(tile.yg.index(tile.image, channel + lane, 0, query), 1)[0] = value };
        }
    }
}

/// Turns scores into probabilities: those of the keys in `seen`, which add up to 1, and zeros.
#[inline(always)]
fn softmax<S: Simd>(s: S, scores: &mut [f32], seen: Range<usize>, scale: f32) {
    scores[..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..].fill(f32::NEG_INFINITY);
    if seen.is_empty() {
        return scores.fill(0.0);
    }
    let mut highest = s.splat(f32::NEG_INFINITY);
    for scores in scores.chunks_exact(LANES) {
        highest = s.max(s.load(scores), highest);
    }
    let mut lanes = [0.0; LANES];
    s.store(&mut lanes, highest);
    let highest = s.splat(lanes.into_iter().fold(f32::NEG_INFINITY, f32::max));
    let mut sums = s.splat(0.0);
    for scores in scores.chunks_exact_mut(LANES) {
        let x = s.mul(s.sub(s.load(scores), highest), s.splat(scale));
        // 0 below the underflow, else 1.
        let above = s.mul(s.sub(x, s.splat(UNDERFLOW)), s.splat(STEEP));
        let above = s.min(s.splat(1.0), s.max(s.splat(0.0), above));
        let power = s.mul(exp(s, x), above);
        s.store(scores, power);
        sums = s.add(sums, power);
    }
    let inverse = s.splat(1.0 / sum_of_lanes(s, sums));
    for scores in scores.chunks_exact_mut(LANES) {
        s.store(scores, s.mul(s.load(scores), inverse));
    }
}

/// `Σ_k x[row][k] · w[block][k][16]` for some rows and blocks, in the order of k.
struct Product<'a> {
    rows: usize,
    /// Number of k.
    length: usize,
    x: &'a [f32],
    /// Floats from one row to the next.
    stride: usize,
    w: &'a [f32],
    /// Floats from one block to the next.
    apart: usize,
}

impl Product<'_> {
    /// Gives `to` the sums of each row and block.
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, blocks: usize, to: &mut impl Sums) {
        if self.length == 0 {
            for i in 0..blocks * self.rows {
                to.take(s, i % self.rows, i / self.rows, s.splat(0.0));
            }
            return;
        }
        let many = if S::REGISTERS >= 32 { 8 } else { 4 };
        let mut block = 0;
        while block < blocks {
            let (mut row, mut done) = (0, 1);
            while row < self.rows {
                let left = self.rows - row;
                row += match left {
                    8.. if many == 8 => self.tile::<S, 8>(s, row, block, to),
                    4.. => self.tile::<S, 4>(s, row, block, to),
                    _ if self.rows < 4 && blocks - block >= BESIDE => {
                        done = BESIDE;
                        self.beside(s, row, block, to)
                    }
                    _ => self.tile::<S, 1>(s, row, block, to),
                };
            }
            block += done;
        }
    }

    /// `P` rows of one block. Returns `P`.
    #[inline(always)]
    fn tile<S: Simd, const P: usize>(&self, s: S, row: usize, block: usize, to: &mut impl Sums) -> usize {
        let once = Loop { count: 1, input: 0, weights: 0 };
        let walk = Walk { outer: [once; 3], run: self.length, pixel: self.stride, width: LANES, ahead: 0 };
        let (x, w) = (&self.x[row * self.stride..], &self.w[block * self.apart..]);
        assert!(walk.fits(P, 1, x.len(), w.len()), "operands hold the tile");
        // SAFETY: asserted.
        let sums = unsafe { walk.accumulate::<S, Floats, P, 1>(s, x.as_ptr(), w.as_ptr(), [[s.splat(0.0); P]; 1]) };
        unrolled!(p < P, {
            to.take(s, row + p, block, sums[0][p]);
        });
        P
    }

    /// One row of [`BESIDE`] blocks. Returns 1.
    #[inline(always)]
    fn beside<S: Simd>(&self, s: S, row: usize, block: usize, to: &mut impl Sums) -> usize {
        let x = &self.x[row * self.stride..][..self.length];
        let w: [&[f32]; BESIDE] = std::array::from_fn(|i| &self.w[(block + i) * self.apart..][..self.length * LANES]);
        let mut sums = [s.splat(0.0); BESIDE];
        for (k, &x) in x.iter().enumerate() {
            let x = s.splat(x);
            unrolled!(i < BESIDE, {
                sums[i] = s.fma(x, s.load(&w[i][k * LANES..]), sums[i]);
            });
        }
        unrolled!(i < BESIDE, {
            to.take(s, row, block + i, sums[i]);
        });
        1
    }
}
