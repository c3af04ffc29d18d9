//! Sums over the probabilities of a sequence, by the key that each is of, as attention shows them: query by query and head by head.

use std::ops::Range;

use super::attention::{AttentionSpec, Codes, Phase};
use super::lines::Line;
use super::meeting::First;
use super::{ActivationSums, Extra, ExtraSums, shares};
use crate::kernels::attention::Probabilities;
use crate::kernels::count::{GROUP_SIZES, NONZERO, NONZERO_G16, TERMS, ValueSums, WIDTH};

/// What was seen of the probabilities of one sequence, or of some of its rows.
#[derive(Clone, Debug)]
pub struct RowSums {
    /// For each query the keys that it sees, the same for all heads.
    seen: Vec<Range<usize>>,
    phases: Vec<PhaseRows>,
    finite: bool,
    line: Line,
}

/// The probabilities of the queries of one phase.
#[derive(Clone, Debug)]
struct PhaseRows {
    phase: Phase,
    values: ValueSums,
    extra: ExtraSums,
    /// `[head of keys][key]`.
    firsts: Vec<First>,
}

impl RowSums {
    /// Nothing yet, of a sequence of `steps` tokens.
    pub fn new(spec: &AttentionSpec, steps: usize, phases: &[Phase]) -> Self {
        let phase = |&phase: &Phase| PhaseRows {
            phase,
            values: ValueSums::new(0),
            extra: spec.extra(),
            firsts: vec![First::default(); spec.attention.kv_heads * steps],
        };
        let phases = phases.iter().map(phase).collect();
        Self { seen: vec![0..0; steps], phases, finite: true, line: Line::default() }
    }

    /// Adds the probabilities of a query of a head; their codes to the third of those of its phase in `codes`.
    pub fn add(&mut self, spec: &AttentionSpec, row: &Probabilities<'_>, codes: &mut [Codes]) {
        let (steps, map) = (self.seen.len(), spec.maps[2]);
        let of = self.phases.iter().position(|of| of.phase.steps(steps).contains(&row.query));
        let of = of.expect("every query is of a phase");
        let PhaseRows { values, extra, firsts, .. } = &mut self.phases[of];
        self.seen[row.query] = row.keys.clone();
        let counted = &mut codes[of][2];
        spec.make_room(2, counted);
        std::mem::swap(&mut values.codes, counted);
        let start = row.keys.start;
        self.finite &= self.line.read(row.values.iter().copied(), start, map, spec.first(), values);
        std::mem::swap(&mut values.codes, counted);
        let kv_head = row.head / spec.attention.group();
        let firsts = &mut firsts[kv_head * steps + start..];
        firsts.iter_mut().zip(self.line.values()).for_each(|(first, value)| first.add(value));
        if spec.has_shares {
            let dead = self.line.values().iter().filter(|value| value.nonzero == 0).count();
            extra.add_counts(Extra::Attention, &shares::of_row(row.values, dead));
        }
    }

    /// Adds other rows of the same sequence.
    pub fn merge(&mut self, other: &Self) {
        self.finite &= other.finite;
        for (own, other) in self.seen.iter_mut().zip(&other.seen).filter(|(_, other)| !other.is_empty()) {
            *own = other.clone();
        }
        for (own, other) in self.phases.iter_mut().zip(&other.phases) {
            own.values.merge(&other.values);
            own.extra.merge(&other.extra);
            own.firsts.iter_mut().zip(&other.firsts).for_each(|(own, other)| own.merge(other));
        }
    }

    /// Whether no probability was NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.finite
    }

    /// The phases, in the order of codes.
    pub(super) fn phases(&self) -> impl Iterator<Item = Phase> {
        self.phases.iter().map(|of| of.phase)
    }

    /// The keys that the query of `step` sees.
    pub(super) fn visible(&self, step: usize) -> Range<usize> {
        self.seen[step].clone()
    }

    /// Sums over the probabilities of each key of the head of keys `kv_head`, in phase `which`.
    pub(super) fn firsts(&self, which: usize, kv_head: usize) -> &[First] {
        let steps = self.seen.len();
        &self.phases[which].firsts[kv_head * steps..][..steps]
    }

    /// The first operand of probabilities times values in phase `which`, whose one channel is all keys; without codes.
    pub(super) fn activations(&self, spec: &AttentionSpec, which: usize) -> ActivationSums {
        let PhaseRows { phase, values, extra, firsts } = &self.phases[which];
        let shape = AttentionSpec::pv_shape(&spec.attention, phase.steps(self.seen.len()).len());
        let mut sums =
            ActivationSums { values: values.clone(), extra: extra.clone(), ..ActivationSums::new(&shape, 0) };
        let mut all = First::default();
        firsts.iter().for_each(|first| all.merge(first));
        (sums.windows, sums.inside[0]) = (all.values, all.values);
        let tap = &mut sums.taps[0];
        (tap[NONZERO], tap[WIDTH], tap[TERMS], tap[NONZERO_G16]) = (all.nonzero, all.width, all.terms, all.nonzero_g16);
        sums.channel_nonzeros[0] = all.nonzero;
        for size in 0..GROUP_SIZES.len() {
            sums.groups[0].width[size] = all.groups[size];
            sums.groups[0].zero[size] = all.zeros[size];
        }
        sums
    }
}
