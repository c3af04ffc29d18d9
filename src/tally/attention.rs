//! Counts of the two products of attention, under a mask. A query sees an interval of keys, so that sums over MACs of queries times
//! keys are differences of running sums over keys, by feature; those of probabilities times values are products of sums over the
//! probabilities of a key and of sums over its features.

use std::ops::Range;

use super::head_values::HeadValues;
use super::meeting::{add, add_masked};
use super::rows::RowSums;
use super::shares;
use super::{ActivationSums, Extra, ExtraSums, LayerShape, Modes, PairSums, Products, TapSums, WeightSums};
use crate::kernels::attention::AttentionShape;
use crate::kernels::count::{
    CodeMap, Counted, Encoder, GROUP_SIZES, Line, LineCodes, LineCoding, NONZERO, NONZERO_G16, PositionSums,
    SequenceValues, TERMS, ValueSums, WIDTH, count_lines,
};
use crate::kernels::{Isa, LANES};

/// How often each code of queries, keys, probabilities and values was seen; none where that is not counted.
pub type Codes = [Option<LineCodes>; 4];

/// How attention is counted.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Heads, features, mask.
    pub attention: AttentionShape,
    /// Maps to codes of queries, keys, probabilities and values.
    pub maps: [CodeMap; 4],
    /// The encoder of terms.
    pub encoder: Encoder,
    /// The instruction set that counts.
    pub isa: Isa,
    /// Whether terms of queries and probabilities are counted; those of keys and values are.
    pub has_terms: bool,
    /// Whether codes are counted: of queries and probabilities, and of keys and values.
    pub keeps_codes: [bool; 2],
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

impl AttentionSpec {
    /// Queries times keys as a layer over `steps` queries, with one filter for all keys: how many there are depends on the input.
    pub fn qk_shape(attention: &AttentionShape, steps: usize) -> LayerShape {
        LayerShape::steps(attention.inner, steps, 1)
    }

    /// Probabilities times values as a layer over `steps` queries, with one channel for all keys.
    pub fn pv_shape(attention: &AttentionShape, steps: usize) -> LayerShape {
        LayerShape::steps(1, steps, attention.outer)
    }

    /// The codes of operand `which` in `codes`, which are made if there are none, where they are counted.
    pub(super) fn kept<'a>(&self, which: usize, codes: &'a mut Codes) -> Option<&'a mut LineCodes> {
        self.keeps_codes[which % 2].then(|| codes[which].get_or_insert_default())
    }

    /// On-demand counts of the first operand of a product, of which there are none yet.
    pub(super) fn extra(&self) -> ExtraSums {
        ExtraSums::of_products(if self.has_shares { &[Extra::Attention] } else { &[] })
    }

    fn none(&self, shape: &LayerShape) -> PairSums {
        let activations =
            ActivationSums { values: self.values(0), extra: self.extra(), ..ActivationSums::new(shape, 0) };
        let weights = WeightSums { values: self.values(1), ..WeightSums::none(shape, 0) };
        PairSums { activations, weights, products: Products::default() }
    }

    /// How operand `which` is counted.
    pub(super) fn coding(&self, which: usize) -> LineCoding {
        let has_terms = self.has_terms || which % 2 == 1;
        LineCoding { map: self.maps[which], encoder: has_terms.then_some(self.encoder) }
    }

    /// Sums over the values of operand `which`, of which there are none yet, without codes.
    pub(super) fn values(&self, which: usize) -> ValueSums {
        let has_terms = self.has_terms || which % 2 == 1;
        ValueSums::new(0).with_totals(has_terms && !self.keeps_codes[which % 2])
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
        [q, k, v]: [SequenceValues<'_>; 3],
        rows: &RowSums,
        codes: &mut [Codes],
    ) -> Option<Vec<[PairSums; 2]>> {
        let AttentionShape { heads, kv_heads, inner, outer, .. } = self.attention;
        let steps = k.steps();
        let extents = [(q, heads * inner), (k, kv_heads * inner), (v, kv_heads * outer)];
        let is_whole = |(x, channels): &(SequenceValues<'_>, usize)| (x.channels(), x.steps()) == (*channels, steps);
        assert!(extents.iter().all(is_whole), "whole operands");
        let v = v.features_of(self.isa, kv_head * outer..(kv_head + 1) * outer);
        let phases = rows.phases().zip(codes).enumerate();
        phases
            .map(|(which, (phase, codes))| {
                let own = phase.steps(steps);
                let runs = runs(phase, &own, rows);
                // A phase without queries has seen none of its codes.
                (0..codes.len()).for_each(|which| _ = self.kept(which, codes));
                let qk = self.qk(kv_head, (q, k), &own, &runs, codes)?;
                Some([qk, self.pv((&v, steps), &own, &runs, rows.keys(which, kv_head), codes)?])
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
        (q, k): (SequenceValues<'_>, SequenceValues<'_>),
        own: &Range<usize>,
        runs: &[Run],
        codes: &mut Codes,
    ) -> Option<PairSums> {
        let (inner, group) = (self.attention.inner, self.attention.group());
        let blocks = inner.div_ceil(LANES);
        let mut sums = self.none(&Self::qk_shape(&self.attention, own.len()));
        let PairSums { activations, weights, products } = &mut sums;
        activations.windows = (group * own.len()) as u64;
        activations.inside[0] = activations.windows;
        let keys = k.steps_of(kv_head * inner..(kv_head + 1) * inner);
        let segments = Segments::of(runs, own, blocks, |of, ends, positions| {
            let lines: Vec<Line<'_>> = of.clone().map(|key| keys.line(key)).collect();
            let mut before = ValueSums::new(0);
            let is_own = of.start == own.start;
            let values = if is_own { &mut weights.values } else { &mut before };
            let codes = if is_own { self.kept(1, codes) } else { None };
            let nonzeros = &mut vec![0; lines.len()];
            let mut to = Counted { values, codes, positions: &mut *positions, nonzeros };
            let finite = count_lines(self.isa, self.coding(1), (&lines, keys.stride()), ends, &mut to);
            if is_own {
                positions.chunks_exact(blocks).for_each(|segment| add_second(weights, segment));
            }
            finite
        });
        let mut finite = segments.finite;
        let heads: Vec<_> =
            (0..group).map(|g| (kv_head * group + g) * inner).map(|at| q.steps_of(at..at + inner)).collect();
        let lines_of = |run: &Run| run.queries.clone().flat_map(|step| heads.iter().map(move |head| head.line(step)));
        let lines: Vec<Line<'_>> = runs.iter().flat_map(lines_of).collect();
        let ends: Vec<usize> = runs.iter().map(|run| (run.queries.end - own.start) * group).collect();
        let mut firsts = vec![PositionSums::default(); runs.len() * blocks];
        let (values, codes) = (&mut activations.values, self.kept(0, codes));
        let mut to = Counted { values, codes, positions: &mut firsts, nonzeros: &mut vec![0; lines.len()] };
        let stride = heads.first().map_or(LANES, |head| head.stride());
        finite &= count_lines(self.isa, self.coding(0), (&lines, stride), &ends, &mut to);
        let [mut before, mut within, mut every] = [(); 3].map(|()| Running::new(&segments));
        for (run, first) in runs.iter().zip(firsts.chunks_exact(blocks)) {
            let Range { start, end } = run.visible;
            let (seen, keys) = (within.until(end), (end - start) as u64);
            if start == 0 && end == run.keys {
                add(products, self.isa, first, (seen, keys), (seen, keys));
            } else {
                let mut seen = seen.to_vec();
                seen.iter_mut().zip(before.until(start)).for_each(|(seen, before)| seen.subtract(before));
                add(products, self.isa, first, (&seen, keys), (every.until(run.keys), run.keys as u64));
            }
            add_first(activations, first);
        }
        finite.then_some(sums)
    }

    /// Probabilities times values, `[feature][step]` of a head of so many steps: of the values and, by the sums over probabilities
    /// `firsts` of each key, of MACs.
    fn pv(
        &self,
        (v, steps): (&[f32], usize),
        own: &Range<usize>,
        runs: &[Run],
        firsts: &[PositionSums],
        codes: &mut Codes,
    ) -> Option<PairSums> {
        let (outer, group) = (self.attention.outer, self.attention.group() as u64);
        let mut sums = self.none(&Self::pv_shape(&self.attention, own.len()));
        let PairSums { weights, products, .. } = &mut sums;
        let coding = self.coding(3);
        let count = |keys: Range<usize>, values: &mut ValueSums, codes: Option<&mut LineCodes>| {
            let features = v.chunks_exact(steps.max(1)).map(|values| &values[keys.clone()]);
            let lines: Vec<Line<'_>> = features.map(|x| Line { x, at: keys.clone() }).collect();
            let mut of_keys = vec![PositionSums::default(); steps.div_ceil(LANES)];
            let mut nonzeros = vec![0; lines.len()];
            let mut to = Counted { values, codes, positions: &mut of_keys, nonzeros: &mut nonzeros };
            let finite = count_lines(self.isa, coding, (&lines, LANES), &[lines.len()], &mut to);
            (of_keys, nonzeros, finite)
        };
        // Groups of the keys of this phase alone: the others were counted before.
        let (mut of_keys, nonzeros, mut finite) = count(own.clone(), &mut weights.values, self.kept(3, codes));
        weights.filter_nonzeros.copy_from_slice(&nonzeros);
        let tap = &mut weights.taps[0];
        for (keys, lane) in of_keys.iter().flat_map(|keys| (0..LANES).map(move |lane| (keys, lane))) {
            add_to_tap(tap, keys, lane);
        }
        if own.start > 0 {
            let all;
            (of_keys, _, all) = count(0..own.end, &mut ValueSums::new(0), None);
            finite &= all;
        }
        let values = HeadValues::new(self.isa, coding, (v, steps), (&of_keys, own.end));
        for run in runs {
            let (times, visible) = (group * run.queries.len() as u64, run.visible.clone());
            let masked = values.masked(visible.clone(), run.keys);
            add_masked(products, times, masked, ((run.keys - visible.len()) * outer) as u64);
            let [width, zero] = values.groups(visible).map(|sum| u128::from(times) * u128::from(sum));
            products.w_g16 += Modes::new(width, width);
            products.w_g16_zero += Modes::new(zero, zero);
        }
        // What groups of values hold depends on which keys are seen: they were added query by query.
        of_keys.iter_mut().for_each(|keys| (keys.g16, keys.g16_zero) = ([0; LANES], [0; LANES]));
        add(products, self.isa, firsts, (&of_keys, outer as u64), (&of_keys, outer as u64));
        finite.then_some(sums)
    }
}

/// Adds lines of a first operand, position by position of its channels, to the sums over positions.
fn add_first(to: &mut ActivationSums, positions: &[PositionSums]) {
    let channels = to.taps.iter_mut().zip(&mut to.channel_nonzeros).enumerate();
    for (channel, (tap, nonzeros)) in channels {
        let (sums, lane) = (&positions[channel / LANES], channel % LANES);
        tap[NONZERO] += u64::from(sums.nonzero[lane]);
        tap[WIDTH] += u64::from(sums.width[lane]);
        tap[TERMS] += u64::from(sums.terms[lane]);
        tap[NONZERO_G16] += u64::from(sums.nonzero_g16[lane]);
        *nonzeros += u64::from(sums.nonzero[lane]);
    }
    for (block, (groups, sums)) in to.groups.iter_mut().zip(positions).enumerate() {
        // All channels of a block are in the same groups.
        let channels = (to.channels - block * LANES).min(LANES) as u64;
        for size in 0..GROUP_SIZES.len() {
            groups.width[size] += sums.groups.width[size] / channels;
            groups.zero[size] += sums.groups.zero[size] / channels;
        }
    }
}

/// Adds a key to a tap of a second operand.
fn add_to_tap(tap: &mut TapSums, sums: &PositionSums, lane: usize) {
    tap.nonzero += u64::from(sums.nonzero[lane]);
    tap.width += u64::from(sums.width[lane]);
    tap.terms += u64::from(sums.terms[lane]);
    tap.g16 += u64::from(sums.g16[lane]);
    tap.g16_zero += u64::from(sums.g16_zero[lane]);
}

/// Adds lines of a second operand of one filter, position by position of its channels.
fn add_second(to: &mut WeightSums, positions: &[PositionSums]) {
    for (channel, tap) in to.taps.iter_mut().enumerate() {
        add_to_tap(tap, &positions[channel / LANES], channel % LANES);
        to.filter_nonzeros[0] += u64::from(positions[channel / LANES].nonzero[channel % LANES]);
    }
}

/// Sums over the keys between the places where runs begin and end to see.
struct Segments {
    ends: Vec<usize>,
    blocks: usize,
    /// `[segment][16 features]`.
    positions: Vec<PositionSums>,
    finite: bool,
}

impl Segments {
    /// Counts the keys before `own` and those of it by `count`, in segments of so many blocks: it is given the keys, after how many of
    /// these segments end, and where their sums go.
    fn of(
        runs: &[Run],
        own: &Range<usize>,
        blocks: usize,
        mut count: impl FnMut(Range<usize>, &[usize], &mut [PositionSums]) -> bool,
    ) -> Self {
        let of_runs = runs.iter().flat_map(|run| [run.visible.start, run.visible.end, run.keys]);
        let mut ends: Vec<usize> = of_runs.chain([own.start, own.end]).filter(|end| *end > 0).collect();
        ends.sort_unstable();
        ends.dedup();
        let mut positions = vec![PositionSums::default(); ends.len() * blocks];
        let (before, within) = ends.split_at(ends.partition_point(|end| *end <= own.start));
        let (of_before, of_within) = positions.split_at_mut(before.len() * blocks);
        let after: Vec<usize> = within.iter().map(|end| end - own.start).collect();
        let finite = (before.is_empty() || count(0..own.start, before, of_before))
            & (after.is_empty() || count(own.clone(), &after, of_within));
        Self { ends, blocks, positions, finite }
    }
}

/// Sums over the first keys, which go on to more.
struct Running<'a> {
    segments: &'a Segments,
    /// Segments that were added.
    added: usize,
    sums: Vec<PositionSums>,
}

impl<'a> Running<'a> {
    fn new(segments: &'a Segments) -> Self {
        Self { segments, added: 0, sums: vec![PositionSums::default(); segments.blocks] }
    }

    /// The sums over the keys before `key`, where a segment ends.
    fn until(&mut self, key: usize) -> &[PositionSums] {
        let Segments { ends, blocks, positions, .. } = self.segments;
        let segments = ends.partition_point(|end| *end <= key);
        if segments < self.added {
            *self = Self::new(self.segments);
        }
        for segment in positions[self.added * blocks..segments * blocks].chunks_exact(*blocks) {
            self.sums.iter_mut().zip(segment).for_each(|(sums, segment)| sums.add(segment));
        }
        self.added = segments;
        &self.sums
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
