//! Sums over the probabilities of a sequence, by the key that each is of, as attention shows them: some queries of a head of keys at a
//! time.

use std::ops::Range;

use super::attention::{AttentionSpec, Codes, Phase};
use super::meeting::First;
use super::{ActivationSums, Extra, ExtraSums, shares};
use crate::kernels::LANES;
use crate::kernels::attention::Probabilities;
use crate::kernels::count::{
    Counted, GROUP_SIZES, Line, NONZERO, NONZERO_G16, PositionSums, TERMS, ValueSums, WIDTH, count_lines,
};

/// What was seen of the probabilities of one sequence, or of some of its rows.
#[derive(Clone, Debug)]
pub struct RowSums {
    /// For each query the keys that it sees, the same for all heads.
    seen: Vec<Range<usize>>,
    phases: Vec<PhaseRows>,
    finite: bool,
}

/// The probabilities of the queries of one phase.
#[derive(Clone, Debug)]
struct PhaseRows {
    phase: Phase,
    values: ValueSums,
    extra: ExtraSums,
    /// `[head of keys][16 keys]`.
    keys: Vec<PositionSums>,
}

impl RowSums {
    /// Nothing yet, of a sequence of `steps` tokens.
    pub fn new(spec: &AttentionSpec, steps: usize, phases: &[Phase]) -> Self {
        let phase = |&phase: &Phase| PhaseRows {
            phase,
            values: spec.values(2),
            extra: spec.extra(),
            keys: vec![PositionSums::default(); spec.attention.kv_heads * steps.div_ceil(LANES)],
        };
        let phases = phases.iter().map(phase).collect();
        Self { seen: vec![0..0; steps], phases, finite: true }
    }

    /// Adds the probabilities of some queries of some heads; their codes to the third of those of its phase in `codes`.
    pub fn add(&mut self, spec: &AttentionSpec, rows: &[Probabilities<'_>], codes: &mut [Codes]) {
        let steps = self.seen.len();
        let phases: Vec<Phase> = self.phases().collect();
        let phase = |row: &Probabilities<'_>| {
            let of = phases.iter().position(|of| of.steps(steps).contains(&row.query));
            of.expect("every query is of a phase")
        };
        let kv_head = |row: &Probabilities<'_>| row.head / spec.attention.group();
        let mut nonzeros = Vec::new();
        for together in rows.chunk_by(|a, b| phase(a) == phase(b) && kv_head(a) == kv_head(b)) {
            let (of, count) = (phase(&together[0]), together.len());
            let PhaseRows { values, extra, keys, .. } = &mut self.phases[of];
            let blocks = steps.div_ceil(LANES);
            let positions = &mut keys[kv_head(&together[0]) * blocks..][..blocks];
            let lines = together.iter().map(|row| Line { x: row.values, at: row.keys.clone() });
            let lines: Vec<Line<'_>> = lines.collect();
            nonzeros.clear();
            nonzeros.resize(count, 0);
            let codes = spec.kept(2, &mut codes[of]);
            let mut to = Counted { values, codes, positions, nonzeros: &mut nonzeros };
            self.finite &= count_lines(spec.isa, spec.coding(2), (&lines, LANES), &[count], &mut to);
            for (row, nonzero) in together.iter().zip(&nonzeros) {
                self.seen[row.query] = row.keys.clone();
                if spec.has_shares {
                    let dead = row.values.len() - *nonzero as usize;
                    extra.add_counts(Extra::Attention, &shares::of_row(row.values, dead));
                }
            }
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
            own.keys.iter_mut().zip(&other.keys).for_each(|(own, other)| own.add(other));
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

    /// Sums over the probabilities of each key of the head of keys `kv_head`, in phase `which`, sixteen keys each.
    pub(super) fn keys(&self, which: usize, kv_head: usize) -> &[PositionSums] {
        let blocks = self.seen.len().div_ceil(LANES);
        &self.phases[which].keys[kv_head * blocks..][..blocks]
    }

    /// The first operand of probabilities times values in phase `which`, whose one channel is all keys; without codes.
    pub(super) fn activations(&self, spec: &AttentionSpec, which: usize) -> ActivationSums {
        let PhaseRows { phase, values, extra, keys } = &self.phases[which];
        let shape = AttentionSpec::pv_shape(&spec.attention, phase.steps(self.seen.len()).len());
        let mut sums =
            ActivationSums { values: values.clone(), extra: extra.clone(), ..ActivationSums::new(&shape, 0) };
        let all = First::of(keys);
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
