//! Attention: both products and the softmax between them, in tiles of queries whose scores stay in cache.
//!
//! A score is summed over features, and an output over keys, one product after the other from the first on; the sum of a
//! softmax has a lane for each key modulo sixteen. So no bit depends on how many queries run together, and decoding with a
//! cache gives what the whole sequence gives.

mod cache;
mod tile;

use std::ops::Range;

use super::count::CodeMap;
use super::exec::Exec;
use super::geometry::{Geometry, LANES};
use super::pixels::Source;
use super::scratch::with_scratch;
use super::shared::Shared;

pub use cache::KvCache;
use tile::Tile;

/// Rows of a tile: a query of each head that shares its keys is one.
const ROWS: usize = 16;

/// Which keys a query sees: an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// None after its own position.
    pub causal: bool,
    /// Of a causal mask: only the last so many, its own included.
    pub window: Option<usize>,
}

impl Mask {
    /// The keys that the query at position `query` sees of those in `keys`.
    pub fn visible(self, query: usize, keys: Range<usize>) -> Range<usize> {
        let end = if self.causal { keys.end.min(query + 1) } else { keys.end };
        let start = match self.window {
            Some(window) if self.causal => keys.start.max((query + 1).saturating_sub(window)),
            _ => keys.start,
        };
        start.min(end)..end
    }
}

/// The extents of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each shared by equally many heads of queries.
    pub kv_heads: usize,
    /// Features of a query and of a key.
    pub inner: usize,
    /// Features of a value.
    pub outer: usize,
    /// Multiplies scores.
    pub scale: f32,
    /// Which keys a query sees.
    pub mask: Mask,
}

impl AttentionShape {
    /// Heads of queries that share a head of keys.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// The probabilities of one query.
#[derive(Clone, Debug)]
pub struct Probabilities<'a> {
    /// The thread that computed them.
    pub worker: usize,
    /// The sequence.
    pub image: usize,
    /// The head of queries.
    pub head: usize,
    /// Tokens of the sequence, with those in the cache.
    pub steps: usize,
    /// The query's position.
    pub query: usize,
    /// The keys that it sees.
    pub keys: Range<usize>,
    /// One for each of these.
    pub values: &'a [f32],
}

/// Observes the probabilities of every query of every head once, those of some queries of heads that share their keys at a time.
pub type ObserveRows<'a> = &'a (dyn Fn(&[Probabilities<'_>]) + Sync);

/// Queries, keys, values `[heads·features, 1, T]`, in which only the tokens of `inside` are keys, where they are not all.
pub struct Operands<'a> {
    /// Queries.
    pub q: (&'a [f32], &'a Geometry),
    /// Keys.
    pub k: (&'a [f32], &'a Geometry),
    /// Values.
    pub v: (&'a [f32], &'a Geometry),
    /// For each sequence, the tokens that are keys.
    pub inside: Option<Vec<Range<usize>>>,
    /// What probabilities are rounded to before they multiply values, if they are.
    pub rounding: Option<CodeMap>,
}

/// `y[:, t] = Σ_j softmax_j(scale · q[:, t]·k[:, j]) · v[:, j]` for each head, over the keys that each query sees: of the first
/// `images` sequences after those in `cache`, to which keys and values are added.
pub fn attention(
    exec: &Exec<'_>,
    images: usize,
    operands: &Operands<'_>,
    (y, yg): (&mut [f32], &Geometry),
    cache: &mut KvCache,
    observe: Option<ObserveRows<'_>>,
) {
    let shape = *cache.shape();
    let Operands { q, k, v, inside, rounding } = operands;
    let steps = q.1.w;
    let extents =
        [(q, shape.heads * shape.inner), (k, shape.kv_heads * shape.inner), (v, shape.kv_heads * shape.outer)];
    assert!(extents.iter().all(|((_, g), c)| (g.c, g.h, g.w) == (*c, 1, steps)), "operands of the layer's extents");
    assert!(y.len() >= yg.len() && (yg.c, yg.h, yg.w) == (shape.heads * shape.outer, 1, steps), "and the output");
    assert!(images <= yg.n && yg.lanes == LANES, "a blocked output holds the images");
    let past = cache.append(exec, images, *k, *v);
    let together = (ROWS / shape.group()).max(1);
    let blocks = steps.div_ceil(together);
    let (q, y, cache) = (Source::new(q.0, q.1), Shared::new(y), &*cache);
    exec.for_each_task(images * shape.kv_heads * blocks, |worker, task| {
        let (image, kv_head, block) = (task / blocks / shape.kv_heads, task / blocks % shape.kv_heads, task % blocks);
        let queries = block * together..((block + 1) * together).min(steps);
        let keys = match inside {
            Some(inside) => past + inside[image].start..past + inside[image].end,
            None => 0..past + steps,
        };
        let visible = |query: usize| shape.mask.visible(past + query, keys.clone());
        let start = queries.clone().map(|query| visible(query).start).min().unwrap_or(0) / LANES * LANES;
        let end = queries.clone().map(|query| visible(query).end).max().unwrap_or(0).max(start);
        let width = (end - start).next_multiple_of(LANES).max(LANES);
        let rows = queries.len() * shape.group();
        with_scratch(rows * (shape.inner + width), |scratch| {
            let (queries_of, scores) = scratch.split_at_mut(rows * shape.inner);
            let tile = Tile {
                cache,
                q,
                y: &y,
                yg,
                worker,
                image,
                kv_head,
                past,
                queries,
                keys,
                columns: start..end,
                width,
                rounding: *rounding,
                observe,
            };
            exec.isa.run(tile.with(queries_of, scores));
        });
    });
}

#[cfg(test)]
mod tests;
