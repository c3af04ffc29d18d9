//! The arrays of a measurement's file, as they are written.

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};

use super::LayerCounts;
use super::header::Header;
use crate::hex::hex;
use crate::kernels::count::sequence::StepSums;
use crate::kernels::count::{GroupSums, LANE_SUMS, Totals, ValueSums};
use crate::tally::{ActivationSums, ExtraSums, TapSums, WeightSums, gate_names};

/// What is added to sums that may be negative, so that they are written as numbers that are not.
pub(super) const SHIFTED: i64 = 1 << 59;

/// Arrays by name, as they are written.
#[derive(Default)]
pub(super) struct Arrays(pub BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Arrays {
    pub fn u64(&mut self, name: String, shape: &[usize], values: impl IntoIterator<Item = u64>) {
        let bytes = values.into_iter().flat_map(u64::to_le_bytes).collect();
        self.0.insert(name, (Dtype::U64, shape.to_vec(), bytes));
    }

    pub fn i32(&mut self, name: String, values: impl IntoIterator<Item = i32>) {
        let bytes: Vec<u8> = values.into_iter().flat_map(i32::to_le_bytes).collect();
        self.0.insert(name, (Dtype::I32, vec![bytes.len() / 4], bytes));
    }

    fn values(&mut self, prefix: &str, lowest: i32, values: &ValueSums) {
        self.u64(format!("{prefix}.values"), &[3], [values.elements, values.natural_zeros, values.saturated]);
        self.i32(format!("{prefix}.extremes"), values.extremes.into_iter().chain(values.code_extremes));
        let widths = &values.group_widths;
        self.u64(format!("{prefix}.group_widths"), &[3, widths[0].len()], widths.iter().flatten().copied());
        if !values.codes.is_empty() {
            let seen = || values.codes.iter().enumerate().filter(|(_, count)| **count > 0);
            self.i32(format!("{prefix}.codes"), seen().map(|(i, _)| lowest + i as i32));
            self.u64(format!("{prefix}.code_counts"), &[seen().count()], seen().map(|(_, count)| *count));
        }
        if let Some(Totals { ones, sum, squares, widths, terms }) = values.totals {
            let (high, low) = ((squares >> 32) as u64, squares as u32);
            self.u64(format!("{prefix}.totals"), &[6], [ones, (sum + SHIFTED) as u64, high, low.into(), widths, terms]);
        }
    }

    fn weights(&mut self, prefix: &str, taps: usize, lowest: i32, weights: &WeightSums) {
        let sums = |tap: &TapSums| [tap.nonzero, tap.width, tap.terms, tap.g16, tap.g16_zero];
        let shape = [weights.taps.len() / taps.max(1), taps, 5];
        self.u64(format!("{prefix}.taps"), &shape, weights.taps.iter().flat_map(sums));
        let nonzeros = &weights.filter_nonzeros;
        self.u64(format!("{prefix}.channel_nonzeros"), &[nonzeros.len()], nonzeros.iter().copied());
        self.values(prefix, lowest, &weights.values);
        let filters = &weights.filter_codes;
        if !filters.is_empty() {
            let scales = filters.iter().flat_map(|codes| codes.scale.to_le_bytes()).collect();
            self.0.insert(format!("{prefix}.filter_scales"), (Dtype::F32, vec![filters.len()], scales));
            let sums = filters.iter().flat_map(|codes| [codes.sum.to_le_bytes(), codes.squares.to_le_bytes()]);
            let sums = sums.flatten().collect();
            self.0.insert(format!("{prefix}.filter_codes"), (Dtype::I64, vec![filters.len(), 2], sums));
        }
    }

    fn extra(&mut self, prefix: &str, extra: &ExtraSums) {
        for (extra, counts) in extra.iter() {
            self.u64(format!("{prefix}.extra.{}", extra.name()), &[counts.len()], counts.iter().copied());
        }
    }

    fn activations(&mut self, prefix: &str, lowest: i32, sums: &ActivationSums) {
        let taps = sums.inside.len();
        self.u64(format!("{prefix}.windows"), &[1], [sums.windows]);
        self.u64(format!("{prefix}.inside"), &[taps], sums.inside.iter().copied());
        let shape = [sums.channels, taps, LANE_SUMS];
        self.u64(format!("{prefix}.taps"), &shape, sums.taps.iter().flatten().copied());
        let groups = |group: &GroupSums| group.width.into_iter().chain(group.zero).collect::<Vec<_>>();
        let shape = [sums.channels.div_ceil(16), taps, 6];
        self.u64(format!("{prefix}.groups"), &shape, sums.groups.iter().flat_map(groups));
        let nonzeros = &sums.channel_nonzeros;
        self.u64(format!("{prefix}.channel_nonzeros"), &[nonzeros.len()], nonzeros.iter().copied());
        self.values(prefix, lowest, &sums.values);
        self.extra(prefix, &sums.extra);
    }

    pub fn layer(&mut self, name: &str, layer: &LayerCounts) {
        let (tally, taps) = (&layer.tally, layer.tally.shape.taps());
        self.activations(&format!("{name}.a"), tally.lowest[0], &tally.activations);
        self.weights(&format!("{name}.w"), taps, tally.lowest[1], &tally.weights);
        self.extra(&format!("{name}.w"), &tally.weights.extra);
        if let (Some(outputs), Some(coding)) = (&tally.outputs, &layer.output) {
            self.activations(&format!("{name}.o"), coding.map.lo, outputs);
        }
        if let Some(pairs) = &tally.pairs {
            self.pairs(format!("{name}.pairs"), pairs);
        }
        if !tally.designs.is_empty() {
            let counts = &tally.designs;
            let shape = [counts.len(), counts[0].len()];
            self.u64(format!("{name}.designs"), &shape, counts.iter().flatten().copied());
        }
        let Some(recurrent) = &tally.recurrent else { return };
        let names = gate_names(recurrent.gates.len()).unwrap_or_default();
        for (gate, weights) in names.iter().zip(&recurrent.gates) {
            self.weights(&format!("{name}.gate.{gate}"), taps, tally.lowest[1], weights);
        }
        let steps = |step: &StepSums| {
            let StepSums { steps, values, nonzero, terms, compared, equal, change_terms } = *step;
            [steps, values, nonzero, terms, compared, equal, change_terms]
        };
        let shape = [recurrent.steps.len(), 7];
        self.u64(format!("{name}.steps"), &shape, recurrent.steps.iter().flat_map(steps));
    }

    /// SHA-256 of everything that counts.
    pub fn digest(&self, header: &Header) -> String {
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(header).expect("a header has names for keys"));
        for (name, (_, shape, bytes)) in &self.0 {
            hash.update(name.as_bytes());
            shape.iter().for_each(|extent| hash.update(extent.to_le_bytes()));
            hash.update(bytes);
        }
        hex(hash.finalize())
    }
}
