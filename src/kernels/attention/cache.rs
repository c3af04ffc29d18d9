//! The keys and values of the tokens so far, in the layouts in which products read them.

use super::AttentionShape;
use crate::kernels::buffer::Buffer;
use crate::kernels::exec::Exec;
use crate::kernels::geometry::{Geometry, LANES};
use crate::kernels::isa::Kernel;
use crate::kernels::pixels::Source;
use crate::kernels::shared::Shared;
use crate::kernels::simd::Simd;

/// Keys and values of some sequences of equal length.
pub struct KvCache {
    shape: AttentionShape,
    sequences: usize,
    /// Tokens held, and tokens that there is room for.
    tokens: usize,
    room: usize,
    /// `[sequence][head][room / 16][feature][16 tokens]`.
    keys: Buffer,
    /// `[sequence][head][16 features][room][16]`.
    values: Buffer,
}

impl KvCache {
    /// Of no tokens of `sequences` sequences.
    pub fn new(shape: AttentionShape, sequences: usize) -> Self {
        Self { shape, sequences, tokens: 0, room: 0, keys: Buffer::default(), values: Buffer::default() }
    }

    /// The layer's extents.
    pub fn shape(&self) -> &AttentionShape {
        &self.shape
    }

    /// Tokens held of each sequence.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.tokens = 0;
    }

    /// Floats of the keys and values of one token of all sequences.
    pub fn token_len(&self) -> usize {
        self.sequences * self.shape.kv_heads * (self.shape.inner + self.shape.outer)
    }

    fn keys_len(&self) -> usize {
        self.room * self.shape.inner
    }

    fn blocks(&self) -> usize {
        self.shape.outer.div_ceil(LANES)
    }

    fn values_len(&self) -> usize {
        self.blocks() * self.room * LANES
    }

    /// The keys of a head: `[room / 16][feature][16 tokens]`.
    pub(super) fn keys(&self, sequence: usize, head: usize) -> &[f32] {
        let len = self.keys_len();
        &self.keys[(sequence * self.shape.kv_heads + head) * len..][..len]
    }

    /// The values of a head: `[16 features][room][16]`, and the room.
    pub(super) fn values(&self, sequence: usize, head: usize) -> (&[f32], usize) {
        let len = self.values_len();
        (&self.values[(sequence * self.shape.kv_heads + head) * len..][..len], self.room)
    }

    /// Feature `feature` of the key of `token`.
    pub fn key(&self, sequence: usize, head: usize, token: usize, feature: usize) -> f32 {
        self.keys(sequence, head)[(token / LANES * self.shape.inner + feature) * LANES + token % LANES]
    }

    /// Feature `feature` of the value of `token`.
    pub fn value(&self, sequence: usize, head: usize, token: usize, feature: usize) -> f32 {
        let (values, room) = self.values(sequence, head);
        values[(feature / LANES * room + token) * LANES + feature % LANES]
    }

    /// All of it: for each sequence and token the keys, then the values.
    pub fn to_floats(&self) -> Vec<f32> {
        let AttentionShape { kv_heads, inner, outer, .. } = self.shape;
        let mut floats = Vec::with_capacity(self.tokens * self.token_len());
        for (sequence, token) in (0..self.sequences).flat_map(|s| (0..self.tokens).map(move |t| (s, t))) {
            let of = |each: usize| (0..kv_heads).flat_map(move |head| (0..each).map(move |feature| (head, feature)));
            floats.extend(of(inner).map(|(head, feature)| self.key(sequence, head, token, feature)));
            floats.extend(of(outer).map(|(head, feature)| self.value(sequence, head, token, feature)));
        }
        floats
    }

    /// Holds what [`KvCache::to_floats`] of an equal cache gave; false if they are of another layer or number of sequences.
    pub fn set(&mut self, exec: &Exec<'_>, floats: &[f32]) -> bool {
        self.clear();
        let token = self.token_len() / self.sequences.max(1);
        if token == 0 || !floats.len().is_multiple_of(self.token_len()) {
            return floats.is_empty();
        }
        let tokens = floats.len() / self.token_len();
        let AttentionShape { kv_heads, inner, outer, .. } = self.shape;
        let part = |first: usize, channels: usize| {
            let geometry = Geometry::blocked(self.sequences, channels, 1, tokens);
            let mut buffer = vec![0.0; geometry.len()];
            for (i, values) in floats.chunks_exact(token).enumerate() {
                for (c, &value) in values[first..first + channels].iter().enumerate() {
                    buffer[geometry.index(i / tokens, c, 0, i % tokens)] = value;
                }
            }
            (buffer, geometry)
        };
        if tokens > 0 {
            let (keys, values) = (part(0, kv_heads * inner), part(kv_heads * inner, kv_heads * outer));
            self.append(exec, self.sequences, (&keys.0, &keys.1), (&values.0, &values.1));
        }
        true
    }

    /// Makes room for `tokens` tokens, keeping those that are held.
    fn reserve(&mut self, tokens: usize) {
        if tokens <= self.room {
            return;
        }
        let room = if self.tokens == 0 { tokens } else { tokens.max(2 * self.room) }.next_multiple_of(LANES);
        let mut larger = Self::new(self.shape, self.sequences);
        larger.room = room;
        let heads = self.sequences * self.shape.kv_heads;
        larger.keys = Buffer::zeroed(heads * larger.keys_len());
        larger.values = Buffer::zeroed(heads * larger.values_len());
        if self.tokens > 0 {
            let copy = |from: &[f32], to: &mut [f32], parts: usize| {
                let (old, new) = (from.len() / parts, to.len() / parts);
                from.chunks_exact(old)
                    .zip(to.chunks_exact_mut(new))
                    .for_each(|(from, to)| to[..old].copy_from_slice(from));
            };
            copy(&self.keys, &mut larger.keys, heads);
            copy(&self.values, &mut larger.values, heads * self.blocks());
        }
        larger.tokens = self.tokens;
        *self = larger;
    }

    /// Adds the tokens of the first `images` sequences; returns how many there were before.
    pub(super) fn append(
        &mut self,
        exec: &Exec<'_>,
        images: usize,
        k: (&[f32], &Geometry),
        v: (&[f32], &Geometry),
    ) -> usize {
        assert!(images <= self.sequences && k.1.w == v.1.w, "as many sequences as there is room for");
        let (past, steps) = (self.tokens, k.1.w);
        self.reserve(past + steps);
        let (shape, room, blocks) = (self.shape, self.room, self.blocks());
        let (keys_len, values_len) = (self.keys_len(), self.values_len());
        let (keys, values) = (Shared::new(&mut self.keys), Shared::new(&mut self.values));
        let (k, v) = (Source::new(k.0, k.1), Source::new(v.0, v.1));
        // What a probe observes, it observes beside the products.
        let exec = Exec { alongside: None, ..*exec };
        exec.for_each_task(images * shape.kv_heads, |_, task| {
            // SAFETY: each head of each sequence belongs to one task.
            let keys = unsafe { keys.slice(task * keys_len, keys_len) };
            // SAFETY: as above.
            let values = unsafe { values.slice(task * values_len, values_len) };
            let (image, head) = (task / shape.kv_heads, task % shape.kv_heads);
            exec.isa.run(Append { k, v, shape, image, head, past, room, blocks, keys, values });
        });
        self.tokens = past + steps;
        past
    }
}

/// Adds the tokens of one head of one sequence.
struct Append<'a> {
    k: Source<'a>,
    v: Source<'a>,
    shape: AttentionShape,
    image: usize,
    head: usize,
    past: usize,
    room: usize,
    blocks: usize,
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl Kernel for Append<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { k, v, shape, image, head, past, room, blocks, keys, values } = self;
        let steps = k.geometry.w;
        let first = head * shape.inner;
        let aligned = |of: &Source<'_>, each: usize| each.is_multiple_of(LANES) && of.geometry.lanes == LANES;
        let mut step = 0;
        while step < steps {
            let token = past + step;
            let panel = &mut keys[token / LANES * shape.inner * LANES..][..shape.inner * LANES];
            let lane = token % LANES;
            if lane == 0 && steps - step >= LANES && aligned(&k, shape.inner) {
                for (block, to) in panel.chunks_exact_mut(LANES * LANES).enumerate() {
                    let from = &k.data[k.geometry.at(image, first / LANES + block, 0, step)..];
                    let turned = s.transpose(std::array::from_fn(|row| s.load(&from[row * LANES..])));
                    to.chunks_exact_mut(LANES).zip(turned).for_each(|(to, v)| s.store(to, v));
                }
                step += LANES;
                continue;
            }
            for feature in 0..shape.inner {
                panel[feature * LANES + lane] = k.channel(image, first + feature, 0, step);
            }
            step += 1;
        }
        let first = head * shape.outer;
        for block in 0..blocks {
            let to = &mut values[(block * room + past) * LANES..][..steps * LANES];
            let c = first + block * LANES;
            if aligned(&v, shape.outer) {
                to.copy_from_slice(&v.data[v.geometry.at(image, c / LANES, 0, 0)..][..steps * LANES]);
                continue;
            }
            let used = (shape.outer - block * LANES).min(LANES);
            for (step, to) in to.chunks_exact_mut(LANES).enumerate() {
                for (lane, to) in to[..used].iter_mut().enumerate() {
                    *to = v.channel(image, c + lane, 0, step);
                }
            }
        }
    }
}
