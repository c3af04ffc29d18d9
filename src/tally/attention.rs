//! Counts of the two products of attention, under a mask. A query sees an interval of keys, so that sums over MACs are differences
//! of running sums over keys: those of queries times keys by feature, those of probabilities times values as the probabilities are
//! gone through.

use std::ops::Range;

use super::lines::{Value, line, width_of};
use super::meeting::{First, Second, add};
use super::shares;
use super::{ActivationSums, Extra, ExtraSums, LayerShape, Modes, PairSums, Products, WeightSums};
use crate::kernels::attention::{AttentionShape, Probabilities};
use crate::kernels::count::{CodeMap, Encoder, GROUP_SIZES, NONZERO, NONZERO_G16, TERMS, ValueSums, WIDTH};

/// How often each code was seen, of both operands of a product.
pub type Codes = [Vec<u64>; 2];

/// How attention is counted.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Heads, features, mask.
    pub attention: AttentionShape,
    /// Maps to codes of queries, keys, probabilities and values.
    pub maps: [CodeMap; 4],
    /// The encoder of terms.
    pub encoder: Encoder,
    /// Whether terms and codes of queries and probabilities are counted.
    pub has_terms: bool,
    /// Whether it is counted how the probabilities are shared out.
    pub has_shares: bool,
}

/// Which queries of a sequence are counted, where its last tokens are generated one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All but the last so many, on the keys of these.
    Prefill(usize),
    /// The last so many, each on the keys up to its own, which a cache holds.
    Decode(usize),
}

impl Phase {
    /// The whole sequence.
    pub const WHOLE: Self = Self::Prefill(0);

    /// The steps that it is of, of `steps`. The first is never generated.
    pub fn steps(self, steps: usize) -> Range<usize> {
        let first = |generated: usize| steps.saturating_sub(generated).max(1).min(steps);
        match self {
            Self::Prefill(generated) => 0..first(generated),
            Self::Decode(generated) => first(generated)..steps,
        }
    }

    /// How many keys the query of `step` is multiplied with, masked ones too, where there are `keys`.
    fn keys(self, step: usize, keys: usize) -> usize {
        match self {
            Self::Prefill(_) => keys,
            Self::Decode(_) => step + 1,
        }
    }
}

/// Which terms are counted.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    pub encoder: Encoder,
    pub terms: bool,
}

/// Adds a value of a first operand, which is that of `channel`, to the sums over positions.
fn add_first(to: &mut ActivationSums, channel: usize, value: &Value) {
    let tap = &mut to.taps[channel];
    tap[NONZERO] += value.nonzero;
    tap[WIDTH] += value.width;
    tap[TERMS] += value.terms;
    tap[NONZERO_G16] += value.nonzero * value.groups[0];
    to.channel_nonzeros[channel] += value.nonzero;
}

/// Adds the groups that begin with `value` in block `block` of channels.
fn add_groups(to: &mut ActivationSums, block: usize, value: &Value) {
    let groups = &mut to.groups[block];
    for size in 0..GROUP_SIZES.len() {
        groups.width[size] += value.groups[size];
        groups.zero[size] += value.zeros[size];
    }
}

/// Adds a value of a second operand, which is that of `channel` and `filter`.
fn add_second(to: &mut WeightSums, channel: usize, filter: usize, value: &Value) {
    let tap = &mut to.taps[channel];
    tap.nonzero += value.nonzero;
    tap.width += value.width;
    tap.terms += value.terms;
    tap.g16 += value.groups[0];
    tap.g16_zero += value.zeros[0];
    to.filter_nonzeros[filter] += value.nonzero;
}

impl AttentionSpec {
    /// Queries times keys as a layer over `steps` queries, with one filter for all keys: how many there are depends on the input.
    pub fn qk_shape(attention: &AttentionShape, steps: usize) -> LayerShape {
        LayerShape::steps(attention.inner, steps, 1)
    }

    /// Probabilities times values as a layer over `steps` queries, with one channel for all keys.
    pub fn pv_shape(attention: &AttentionShape, steps: usize) -> LayerShape {
        LayerShape::steps(1, steps, attention.outer)
    }

    /// Nothing but the counts of codes of other inputs, `codes`, which are large; empty where there are none yet.
    fn none(&self, shape: &LayerShape, maps: [CodeMap; 2], codes: Codes) -> PairSums {
        let counted = [self.has_terms, true];
        let room = |which: usize| if counted[which] { maps[which].codes() } else { 0 };
        let [of_first, of_second] = std::array::from_fn(room);
        let mut codes = codes.into_iter().zip([of_first, of_second]);
        let mut values = || {
            let (codes, room) = codes.next().expect("there are two operands");
            let codes = if codes.is_empty() { vec![0; room] } else { codes };
            ValueSums { codes, ..ValueSums::new(0) }
        };
        let extra = ExtraSums::of_products(if self.has_shares { &[Extra::Attention] } else { &[] });
        PairSums {
            activations: ActivationSums { extra, values: values(), ..ActivationSums::new(shape, 0) },
            weights: WeightSums { values: values(), ..WeightSums::none(shape, 0) },
            products: Products::default(),
        }
    }

    fn first(&self) -> Counted {
        Counted { encoder: self.encoder, terms: self.has_terms }
    }

    fn second(&self) -> Counted {
        Counted { encoder: self.encoder, terms: true }
    }

    /// Counts the queries of `phase` times keys, of `[heads·inner, T]` and `[kv_heads·inner, T]`. Keys before the first of these
    /// queries were counted with their own. Codes are added to `codes`. None if a value holds NaN or infinity.
    ///
    /// # Panics
    /// If they are of other extents.
    pub fn qk(&self, q: &[f32], k: &[f32], phase: Phase, codes: Codes) -> Option<PairSums> {
        let AttentionShape { heads, kv_heads, inner, mask, .. } = self.attention;
        let steps = k.len() / (kv_heads * inner);
        assert!(q.len() == heads * inner * steps && k.len() == kv_heads * inner * steps, "whole operands");
        let own = phase.steps(steps);
        let maps = [self.maps[0], self.maps[1]];
        let mut sums = self.none(&Self::qk_shape(&self.attention, own.len()), maps, codes);
        sums.activations.windows = (heads * own.len()) as u64;
        sums.activations.inside[0] = (heads * own.len()) as u64;
        let mut before = ValueSums::new(0);
        for kv_head in 0..kv_heads {
            // `[key][feature]`, of the keys before each.
            let mut running = vec![Second::default(); (own.end + 1) * inner];
            for key in 0..own.end {
                let x = (0..inner).map(|i| k[(kv_head * inner + i) * steps + key]);
                let of = if own.contains(&key) { &mut sums.weights.values } else { &mut before };
                let (_, values) = line(x, 0, maps[1], self.second(), of)?;
                for (i, value) in values.iter().enumerate() {
                    running[(key + 1) * inner + i] = running[key * inner + i].plus(Second::of(value));
                    if own.contains(&key) {
                        add_second(&mut sums.weights, i, 0, value);
                    }
                }
            }
            let group = self.attention.group();
            for (head, step) in (0..group).flat_map(|g| own.clone().map(move |step| (kv_head * group + g, step))) {
                let x = (0..inner).map(|i| q[(head * inner + i) * steps + step]);
                let (_, values) = line(x, 0, maps[0], self.first(), &mut sums.activations.values)?;
                let keys = phase.keys(step, own.end);
                let Range { start, end } = mask.visible(step, 0..keys);
                let seen = (end - start) as u64;
                for (i, value) in values.iter().enumerate() {
                    let at = |key: usize| running[key * inner + i];
                    let inside = at(end).minus(at(start));
                    add(&mut sums.products, &First::of(value), (inside, seen), (at(keys), keys as u64));
                    add_first(&mut sums.activations, i, value);
                    if i.is_multiple_of(GROUP_SIZES[0]) {
                        add_groups(&mut sums.activations, i / GROUP_SIZES[0], value);
                    }
                }
            }
        }
        Some(sums)
    }

    /// Counts of the probabilities of the queries of `phase` times values `[kv_heads·outer, T]`; nothing of probabilities yet. Codes
    /// are added to `codes`. None if a value is NaN or infinite.
    ///
    /// # Panics
    /// If they are of other extents.
    pub fn pv(&self, v: &[f32], phase: Phase, codes: Codes) -> Option<PvSums<'_>> {
        let AttentionShape { kv_heads, outer, .. } = self.attention;
        let steps = v.len() / (kv_heads * outer);
        assert!(v.len() == kv_heads * outer * steps, "whole values");
        let own = phase.steps(steps);
        let (keys, maps) = (own.end, [self.maps[2], self.maps[3]]);
        let mut sums = self.none(&Self::pv_shape(&self.attention, own.len()), maps, codes);
        let mut before = ValueSums::new(0);
        let mut of_key = vec![Second::default(); kv_heads * keys];
        let mut groups = vec![[0; 2]; kv_heads * keys.div_ceil(GROUP_SIZES[0])];
        let mut all = Vec::with_capacity(kv_heads * outer * keys);
        for (row, x) in v.chunks_exact(steps.max(1)).enumerate() {
            let (of_row, values) = line(x[..keys].iter().copied(), 0, maps[1], self.second(), &mut before)?;
            // Groups of the keys of this phase alone: the others were counted before.
            let of_phase = x[own.clone()].iter().copied();
            let (_, of_phase) = line(of_phase, own.start, maps[1], self.second(), &mut sums.weights.values)?;
            of_phase.iter().for_each(|value| add_second(&mut sums.weights, 0, row % outer, value));
            for (key, value) in values.iter().enumerate() {
                let of = &mut of_key[row / outer * keys + key];
                *of = of.plus(Second::of(value));
                if key.is_multiple_of(GROUP_SIZES[0]) {
                    let group = &mut groups[row / outer * keys.div_ceil(GROUP_SIZES[0]) + key / GROUP_SIZES[0]];
                    *group = [group[0] + value.groups[0], group[1] + value.zeros[0]];
                }
            }
            all.extend(of_row);
        }
        let mut running = Vec::with_capacity(kv_heads * (keys + 1));
        for head in of_key.chunks_exact(keys.max(1)) {
            running.push(Second::default());
            head.iter().for_each(|of| running.push(running[running.len() - 1].plus(*of)));
        }
        let firsts = vec![First::default(); kv_heads * keys];
        Some(PvSums { spec: self, phase, keys, codes: all, running, groups, firsts, sums })
    }
}

/// Counts of probabilities times values, to which the probabilities of each query of each head are added.
pub struct PvSums<'a> {
    spec: &'a AttentionSpec,
    phase: Phase,
    keys: usize,
    /// `[head][feature][key]`.
    codes: Vec<i32>,
    /// `[head][key]`: sums over features and over the keys before.
    running: Vec<Second>,
    /// `[head][16 keys]`: sums over features of the width of the group, and how many of these are all zero.
    groups: Vec<[u64; 2]>,
    /// `[head][key]`: sums over the probabilities of the key.
    firsts: Vec<First>,
    sums: PairSums,
}

impl PvSums<'_> {
    /// Adds the probabilities of a query of its phase; false if one is NaN or infinite.
    pub fn add(&mut self, row: &Probabilities<'_>) -> bool {
        let keys = self.phase.keys(row.query, self.keys);
        let kv_head = row.head / self.spec.attention.group();
        let masked = self.masked(kv_head, row.keys.clone(), keys);
        let Self { spec, sums, firsts, .. } = self;
        let (start, outer) = (row.keys.start, spec.attention.outer as u64);
        let values = row.values.iter().copied();
        let Some((_, values)) = line(values, start, spec.maps[2], spec.first(), &mut sums.activations.values) else {
            return false;
        };
        let all = (keys - values.len()) as u64 * outer;
        add(&mut sums.products, &First::default(), (Second::default(), 0), (masked, all));
        let firsts = &mut firsts[kv_head * self.keys + start..];
        for (first, value) in firsts.iter_mut().zip(&values) {
            first.add(value);
            add_first(&mut sums.activations, 0, value);
            add_groups(&mut sums.activations, 0, value);
        }
        if spec.has_shares {
            let dead = values.iter().filter(|value| value.nonzero == 0).count();
            sums.activations.extra.add_counts(Extra::Attention, &shares::of_row(row.values, dead));
        }
        sums.activations.windows += values.len() as u64;
        sums.activations.inside[0] += values.len() as u64;
        let mut at = start;
        while at < row.keys.end {
            let end = (at / GROUP_SIZES[0] * GROUP_SIZES[0] + GROUP_SIZES[0]).min(row.keys.end);
            let [width, zero] = self.group(kv_head, at..end).map(|sum| (end - at) as u64 * sum);
            self.sums.products.w_g16 += Modes::new(width.into(), width.into());
            self.sums.products.w_g16_zero += Modes::new(zero.into(), zero.into());
            at = end;
        }
        true
    }

    /// Sums over the features of a head and over the keys before `keys` that are not `visible`.
    fn masked(&self, kv_head: usize, visible: Range<usize>, keys: usize) -> Second {
        let running = &self.running[kv_head * (self.keys + 1)..][..self.keys + 1];
        let masked = running[keys].minus(running[visible.end].minus(running[visible.start]));
        let cut = keys / GROUP_SIZES[0] * GROUP_SIZES[0];
        if keys == self.keys || visible.start <= cut {
            return masked;
        }
        // The group that the keys end in holds fewer than that of all keys.
        let of_all = running[visible.start].minus(running[cut]);
        let [g16, g16_zero] = self.group(kv_head, cut..keys).map(|sum| (visible.start - cut) as u64 * sum);
        Second { g16, g16_zero, ..Second::default() }.plus(masked).minus(Second {
            g16: of_all.g16,
            g16_zero: of_all.g16_zero,
            ..Second::default()
        })
    }

    /// Sums over the features of a head of the widths of the group that its values of `keys` are, and how many are all zero.
    fn group(&self, kv_head: usize, keys: Range<usize>) -> [u64; 2] {
        let (outer, map) = (self.spec.attention.outer, self.spec.maps[3]);
        let (size, group) = (GROUP_SIZES[0], keys.start / GROUP_SIZES[0]);
        if keys == (group * size..((group + 1) * size).min(self.keys)) {
            return self.groups[kv_head * self.keys.div_ceil(size) + group];
        }
        let of = |feature: usize| &self.codes[(kv_head * outer + feature) * self.keys..][..self.keys];
        let widths = (0..outer).map(|feature| width_of(of(feature)[keys.clone()].iter().copied(), map));
        widths.fold([0, 0], |[sum, zeros], width| [sum + width, zeros + u64::from(width == 0)])
    }

    /// All counts.
    pub fn into_sums(self) -> PairSums {
        let Self { spec, keys, running, firsts, mut sums, .. } = self;
        let outer = spec.attention.outer as u64;
        let heads = firsts.chunks_exact(keys.max(1)).zip(running.chunks_exact(keys + 1));
        let keys = heads.flat_map(|(firsts, running)| firsts.iter().zip(running.windows(2)));
        for (first, running) in keys.filter(|(first, _)| first.values > 0) {
            // What groups of values hold depends on which keys are seen: they were added query by query.
            let second = Second { g16: 0, g16_zero: 0, ..running[1].minus(running[0]) };
            add(&mut sums.products, first, (second, outer), (second, outer));
        }
        sums
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
