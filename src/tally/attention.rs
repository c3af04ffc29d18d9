//! Counts of the two products of attention, under a mask. A query sees an interval of keys, so that sums over MACs of queries times
//! keys are differences of running sums over keys, by feature; those of probabilities times values are products of sums over the
//! probabilities of a key and of sums over its features.

use std::ops::Range;

use super::head_values::{HeadValues, groups_of};
use super::lines::{Line, Value};
use super::meeting::{First, Second, add};
use super::rows::RowSums;
use super::shares;
use super::{ActivationSums, Extra, ExtraSums, LayerShape, Modes, PairSums, Products, WeightSums};
use crate::kernels::attention::AttentionShape;
use crate::kernels::count::{CodeMap, Encoder, GROUP_SIZES, NONZERO, NONZERO_G16, TERMS, ValueSums, WIDTH};

/// How often each code of queries, keys, probabilities and values was seen; nothing where that is not counted.
pub type Codes = [Vec<u64>; 4];

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

/// Adds values of a first operand, which are those of `channel`, to the sums over positions.
fn add_first(to: &mut ActivationSums, channel: usize, first: &First) {
    let tap = &mut to.taps[channel];
    tap[NONZERO] += first.nonzero;
    tap[WIDTH] += first.width;
    tap[TERMS] += first.terms;
    tap[NONZERO_G16] += first.nonzero_g16;
    to.channel_nonzeros[channel] += first.nonzero;
    // A group is that of its first channel.
    if channel.is_multiple_of(GROUP_SIZES[0]) {
        let groups = &mut to.groups[channel / GROUP_SIZES[0]];
        for size in 0..GROUP_SIZES.len() {
            groups.width[size] += first.groups[size];
            groups.zero[size] += first.zeros[size];
        }
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

    /// Makes room in `codes`, which are of operand `which`, if there is none and they are counted.
    pub(super) fn make_room(&self, which: usize, codes: &mut Vec<u64>) {
        let is_counted = self.has_terms || which % 2 == 1;
        if is_counted && codes.is_empty() {
            *codes = vec![0; self.maps[which].codes()];
        }
    }

    /// On-demand counts of the first operand of a product, of which there are none yet.
    pub(super) fn extra(&self) -> ExtraSums {
        ExtraSums::of_products(if self.has_shares { &[Extra::Attention] } else { &[] })
    }

    fn none(&self, shape: &LayerShape) -> PairSums {
        PairSums {
            activations: ActivationSums { extra: self.extra(), ..ActivationSums::new(shape, 0) },
            weights: WeightSums::none(shape, 0),
            products: Products::default(),
        }
    }

    pub(super) fn first(&self) -> Counted {
        Counted { encoder: self.encoder, terms: self.has_terms }
    }

    fn second(&self) -> Counted {
        Counted { encoder: self.encoder, terms: true }
    }

    /// Counts both products of the heads that share the keys of head `kv_head`, of queries `[heads·inner, T]`, keys `[kv_heads·inner, T]`
    /// and values `[kv_heads·outer, T]`, phase by phase of `rows`, which are the probabilities of these. Codes are added to those of
    /// their phase in `codes`. What only the probabilities tell is left to [`AttentionSpec::whole`]. None if an operand holds NaN or
    /// infinity.
    ///
    /// # Panics
    /// If operands are of other extents.
    pub fn head(
        &self,
        kv_head: usize,
        [q, k, v]: [&[f32]; 3],
        rows: &RowSums,
        codes: &mut [Codes],
    ) -> Option<Vec<[PairSums; 2]>> {
        let AttentionShape { heads, kv_heads, inner, outer, .. } = self.attention;
        let steps = k.len() / (kv_heads * inner);
        let extents = [(q, heads * inner), (k, kv_heads * inner), (v, kv_heads * outer)];
        assert!(extents.iter().all(|(x, channels)| x.len() == channels * steps), "whole operands");
        let phases = rows.phases().zip(codes).enumerate();
        phases
            .map(|(which, (phase, codes))| {
                let own = phase.steps(steps);
                let runs = runs(phase, &own, rows);
                for (which, codes) in codes.iter_mut().enumerate() {
                    self.make_room(which, codes);
                }
                let [of_q, of_k, _, of_v] = codes;
                let qk = self.qk(kv_head, (q, k), &own, &runs, [of_q, of_k])?;
                Some([qk, self.pv(kv_head, v, &own, &runs, (rows.firsts(which, kv_head), of_v))?])
            })
            .collect()
    }

    /// The counts of all `heads` of keys, phase by phase, with those of the probabilities.
    pub fn whole(&self, heads: impl IntoIterator<Item = Vec<[PairSums; 2]>>, rows: &RowSums) -> Vec<[PairSums; 2]> {
        let add = |all: &mut [PairSums; 2], head: [PairSums; 2]| {
            all.iter_mut().zip(&head).for_each(|(all, head)| all.merge(head));
        };
        let whole = heads.into_iter().reduce(|mut all, head| {
            all.iter_mut().zip(head).for_each(|(all, head)| add(all, head));
            all
        });
        let mut whole = whole.unwrap_or_default();
        for (which, [qk, pv]) in whole.iter_mut().enumerate() {
            pv.activations = rows.activations(self, which);
            if let Some(counts) = pv.activations.extra.get(Extra::Attention) {
                qk.activations.extra.set(Extra::Attention, shares::of_scores(counts));
            }
        }
        whole
    }

    /// Queries times keys of the heads that share the head `kv_head` of keys. Keys before the first of the queries `own` were counted
    /// with their own.
    fn qk(
        &self,
        kv_head: usize,
        (q, k): (&[f32], &[f32]),
        own: &Range<usize>,
        runs: &[Run],
        [of_q, of_k]: [&mut Vec<u64>; 2],
    ) -> Option<PairSums> {
        let AttentionShape { kv_heads, inner, .. } = self.attention;
        let (steps, group) = (k.len() / (kv_heads * inner), self.attention.group());
        let mut sums = self.none(&Self::qk_shape(&self.attention, own.len()));
        let PairSums { activations, weights, products } = &mut sums;
        (activations.values.codes, weights.values.codes) = (std::mem::take(of_q), std::mem::take(of_k));
        activations.windows = (group * own.len()) as u64;
        activations.inside[0] = activations.windows;
        let (mut before, mut line, mut finite) = (ValueSums::new(0), Line::default(), true);
        // `[key][feature]`, of the keys before each.
        let mut running = vec![Second::default(); (own.end + 1) * inner];
        for key in 0..own.end {
            let x = (0..inner).map(|i| k[(kv_head * inner + i) * steps + key]);
            let of = if own.contains(&key) { &mut weights.values } else { &mut before };
            finite &= line.read(x, 0, self.maps[1], self.second(), of);
            for (i, value) in line.values().iter().enumerate() {
                running[(key + 1) * inner + i] = running[key * inner + i].plus(Second::of(value));
                if own.contains(&key) {
                    add_second(weights, i, 0, value);
                }
            }
        }
        let mut firsts = vec![First::default(); inner];
        for run in runs {
            firsts.fill(First::default());
            for (head, step) in
                (0..group).flat_map(|g| run.queries.clone().map(move |step| (kv_head * group + g, step)))
            {
                let x = (0..inner).map(|i| q[(head * inner + i) * steps + step]);
                finite &= line.read(x, 0, self.maps[0], self.first(), &mut activations.values);
                firsts.iter_mut().zip(line.values()).for_each(|(first, value)| first.add(value));
            }
            let Range { start, end } = run.visible;
            for (i, first) in firsts.iter().enumerate() {
                let at = |key: usize| running[key * inner + i];
                let seen = (at(end).minus(at(start)), (end - start) as u64);
                add(products, first, seen, (at(run.keys), run.keys as u64));
                add_first(activations, i, first);
            }
        }
        (*of_q, *of_k) = (std::mem::take(&mut activations.values.codes), std::mem::take(&mut weights.values.codes));
        finite.then_some(sums)
    }

    /// Probabilities times values of the heads that share the head `kv_head` of values: of the values and, by the sums over
    /// probabilities `firsts` of each key, of MACs.
    fn pv(
        &self,
        kv_head: usize,
        v: &[f32],
        own: &Range<usize>,
        runs: &[Run],
        (firsts, of_v): (&[First], &mut Vec<u64>),
    ) -> Option<PairSums> {
        let AttentionShape { kv_heads, outer, .. } = self.attention;
        let (steps, group) = (v.len() / (kv_heads * outer), self.attention.group() as u64);
        let mut sums = self.none(&Self::pv_shape(&self.attention, own.len()));
        let PairSums { weights, products, .. } = &mut sums;
        weights.values.codes = std::mem::take(of_v);
        let mut values = HeadValues::new(own.end, self.maps[3]);
        let (mut before, mut line, mut finite) = (ValueSums::new(0), Line::default(), true);
        for (feature, x) in v.chunks_exact(steps.max(1)).skip(kv_head * outer).take(outer).enumerate() {
            // Groups of the keys of this phase alone: the others were counted before.
            finite &=
                line.read(x[own.clone()].iter().copied(), own.start, self.maps[3], self.second(), &mut weights.values);
            line.values().iter().for_each(|value| add_second(weights, 0, feature, value));
            if own.start > 0 {
                finite &= line.read(x[..own.end].iter().copied(), 0, self.maps[3], self.second(), &mut before);
            }
            values.add(&line);
        }
        let running = values.running();
        for run in runs {
            let (times, visible) = (group * run.queries.len() as u64, run.visible.clone());
            let masked =
                (values.masked(&running, visible.clone(), run.keys), ((run.keys - visible.len()) * outer) as u64);
            let nothing = First { values: times, ..First::default() };
            add(products, &nothing, (Second::default(), 0), masked);
            for keys in groups_of(visible) {
                let [width, zero] = values.group(keys.clone()).map(|sum| u128::from(times * keys.len() as u64 * sum));
                products.w_g16 += Modes::new(width, width);
                products.w_g16_zero += Modes::new(zero, zero);
            }
        }
        for (first, of_key) in firsts.iter().zip(running.windows(2)) {
            // What groups of values hold depends on which keys are seen: they were added query by query.
            let second = Second { g16: 0, g16_zero: 0, ..of_key[1].minus(of_key[0]) };
            add(products, first, (second, outer as u64), (second, outer as u64));
        }
        *of_v = std::mem::take(&mut weights.values.codes);
        finite.then_some(sums)
    }
}

/// Consecutive queries that see the same keys, and how many keys they are multiplied with, masked ones too.
struct Run {
    queries: Range<usize>,
    visible: Range<usize>,
    keys: usize,
}

/// The queries `own` of `phase`, in runs.
fn runs(phase: Phase, own: &Range<usize>, rows: &RowSums) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for step in own.clone() {
        let (visible, keys) = (rows.visible(step), phase.keys(step, own.end));
        match runs.last_mut() {
            Some(run) if run.visible == visible && run.keys == keys => run.queries.end = step + 1,
            _ => runs.push(Run { queries: step..step + 1, visible, keys }),
        }
    }
    runs
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
