//! The arrays of a measurement's file, written and read; every array is checked when it is read.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

use super::LayerCounts;
use super::header::{Header, LayerFacts};
use crate::format::Coding;
use crate::hex::hex;
use crate::kernels::count::sequence::{Buckets, StepSums};
use crate::kernels::count::{GroupSums, LANE_SUMS, ValueSums};
use crate::tally::{
    ActivationSums, DesignCounts, Extra, ExtraSums, FilterCodes, LayerShape, LayerTally, RecurrentSums, TapSums,
    WeightSums, gate_names,
};
use crate::{Error, Result};

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

/// The smallest code of an operand's, and how many there are.
fn codes_of(coding: &Coding) -> (i32, usize) {
    (coding.map.lo, coding.map.codes())
}

/// What the layers of a file count beside what all do.
pub(super) struct Asked {
    pub counts_codes: bool,
    pub extras: Vec<Extra>,
    /// How many designs were run.
    pub designs: usize,
}

/// Arrays by name, as they were read; each is taken once.
pub(super) struct Stored<'a> {
    pub file: &'a str,
    pub arrays: BTreeMap<String, TensorView<'a>>,
}

impl Stored<'_> {
    pub fn wrong(&self, name: &str, detail: impl Into<String>) -> Error {
        Error::malformed(format!("{}: {name}", self.file), detail)
    }

    /// The bytes of array `name`, of that type, and of `shape` if it is known.
    pub fn take(&mut self, name: &str, dtype: Dtype, shape: Option<&[usize]>) -> Result<(Vec<u8>, Vec<usize>)> {
        let Some(view) = self.arrays.remove(name) else { return Err(self.wrong(name, "is missing")) };
        let fits = view.dtype() == dtype && shape.is_none_or(|shape| view.shape() == shape);
        if !fits {
            let want = shape.map(|shape| format!(" {shape:?}")).unwrap_or_default();
            return Err(self.wrong(name, format!("is {:?} {:?}, must be {dtype:?}{want}", view.dtype(), view.shape())));
        }
        Ok((view.data().to_vec(), view.shape().to_vec()))
    }

    fn u64(&mut self, name: &str, shape: Option<&[usize]>) -> Result<Vec<u64>> {
        let (bytes, _) = self.take(name, Dtype::U64, shape)?;
        let values: Vec<u64> = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        // Products of what layers have this many of stay within 128 bits.
        match values.iter().find(|value| **value > 1 << 60) {
            Some(value) => Err(self.wrong(name, format!("holds {value}, which is more than can be counted"))),
            None => Ok(values),
        }
    }

    pub fn i32(&mut self, name: &str, shape: Option<&[usize]>) -> Result<Vec<i32>> {
        let (bytes, _) = self.take(name, Dtype::I32, shape)?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
    }

    fn values(&mut self, prefix: &str, (lowest, codes): (i32, usize), counted: bool) -> Result<ValueSums> {
        let mut sums = ValueSums::new(if counted { codes } else { 0 });
        let totals = self.u64(&format!("{prefix}.values"), Some(&[3]))?;
        (sums.elements, sums.natural_zeros, sums.saturated) = (totals[0], totals[1], totals[2]);
        let extremes = self.i32(&format!("{prefix}.extremes"), Some(&[4]))?;
        (sums.extremes, sums.code_extremes) = ([extremes[0], extremes[1]], [extremes[2], extremes[3]]);
        let highest = lowest + codes as i32 - 1;
        if sums.elements > 0 && !(lowest <= extremes[2] && extremes[2] <= extremes[3] && extremes[3] <= highest) {
            return Err(self.wrong(&format!("{prefix}.extremes"), "are no codes of the layer's format"));
        }
        let widths = sums.group_widths[0].len();
        let groups = self.u64(&format!("{prefix}.group_widths"), Some(&[3, widths]))?;
        sums.group_widths.as_flattened_mut().copy_from_slice(&groups);
        if counted {
            let name = format!("{prefix}.codes");
            let seen = self.i32(&name, None)?;
            let counts = self.u64(&format!("{prefix}.code_counts"), Some(&[seen.len()]))?;
            for (&code, count) in seen.iter().zip(counts) {
                let place = usize::try_from(i64::from(code) - i64::from(lowest)).ok();
                match place.and_then(|place| sums.codes.get_mut(place)) {
                    Some(to) if *to == 0 => *to = count,
                    _ => {
                        return Err(
                            self.wrong(&name, format!("{code} is no code of the layer's format, or is there twice"))
                        );
                    }
                }
            }
            if sums.codes.iter().sum::<u64>() != sums.elements {
                return Err(self.wrong(&name, format!("do not add up to the {} values", sums.elements)));
            }
        }
        Ok(sums)
    }

    /// `all` says that they are the second operand of all inputs.
    fn weights(&mut self, prefix: &str, shape: &LayerShape, coding: &Coding, all: bool) -> Result<WeightSums> {
        let (channels, taps) = (shape.channels(), shape.taps());
        let name = format!("{prefix}.taps");
        let sums = self.u64(&name, Some(&[channels, taps, 5]))?;
        let (sums, filters) = (sums.as_chunks::<5>().0, shape.filters() as u64);
        if !all && sums.iter().any(|tap| tap[0] > filters || tap[4] > filters) {
            return Err(self.wrong(&name, format!("counts more than the {filters} filters that there are")));
        }
        let tap = |&[nonzero, width, terms, g16, g16_zero]: &[u64; 5]| TapSums { nonzero, width, terms, g16, g16_zero };
        let filter_nonzeros = self.u64(&format!("{prefix}.channel_nonzeros"), Some(&[shape.weight[0]]))?;
        let values = self.values(prefix, codes_of(coding), true)?;
        self.check_nonzeros(prefix, &values, &filter_nonzeros)?;
        let taps = sums.iter().map(tap).collect();
        let filter_codes = match coding.per_filter && shape.weight[0] > 1 {
            true => self.filter_codes(prefix, shape.weight[0], coding.map.lo, &values)?,
            false => Vec::new(),
        };
        Ok(WeightSums { taps, filter_nonzeros, filter_codes, values, extra: ExtraSums::default() })
    }

    /// Codes of each filter, which add up to those of `values`, of which the smallest is `lowest`.
    fn filter_codes(
        &mut self,
        prefix: &str,
        filters: usize,
        lowest: i32,
        values: &ValueSums,
    ) -> Result<Vec<FilterCodes>> {
        let name = format!("{prefix}.filter_scales");
        let (scales, _) = self.take(&name, Dtype::F32, Some(&[filters]))?;
        let scales: Vec<u32> = scales.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        if !scales.iter().all(|&scale| f32::from_bits(scale).is_finite() && f32::from_bits(scale) > 0.0) {
            return Err(self.wrong(&name, "are no scales"));
        }
        let name = format!("{prefix}.filter_codes");
        let (sums, _) = self.take(&name, Dtype::I64, Some(&[filters, 2]))?;
        let sums: Vec<i64> = sums.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        let codes = values.codes.iter().zip(lowest..).map(|(&count, code)| (i128::from(count), i128::from(code)));
        let all =
            codes.fold([0, 0], |[sum, squares], (count, code)| [sum + count * code, squares + count * code * code]);
        let total = |which: usize| sums.iter().skip(which).step_by(2).map(|&sum| i128::from(sum)).sum::<i128>();
        if [total(0), total(1)] != all || sums.iter().skip(1).step_by(2).any(|&squares| squares < 0) {
            return Err(self.wrong(&name, "do not add up to the codes"));
        }
        let filters = scales.into_iter().zip(sums.as_chunks::<2>().0);
        Ok(filters.map(|(scale, &[sum, squares])| FilterCodes { scale, sum, squares: squares as u64 }).collect())
    }

    fn check_nonzeros(&self, prefix: &str, values: &ValueSums, nonzeros: &[u64]) -> Result<()> {
        let known = nonzeros.iter().map(|&count| u128::from(count)).sum::<u128>() + u128::from(values.natural_zeros);
        if known <= values.elements.into() {
            return Ok(());
        }
        Err(self.wrong(&format!("{prefix}.channel_nonzeros"), "and the natural zeros are more than the values"))
    }

    fn activations(
        &mut self,
        prefix: &str,
        shape: &LayerShape,
        codes: (i32, usize),
        counted: bool,
    ) -> Result<ActivationSums> {
        let (channels, taps) = (shape.channels(), shape.taps());
        let windows = self.u64(&format!("{prefix}.windows"), Some(&[1]))?[0];
        let inside = self.u64(&format!("{prefix}.inside"), Some(&[taps]))?;
        let name = format!("{prefix}.taps");
        let sums = self.u64(&name, Some(&[channels, taps, LANE_SUMS]))?.as_chunks::<LANE_SUMS>().0.to_vec();
        let consistent = inside.iter().all(|&count| count <= windows)
            && sums.iter().zip(inside.iter().cycle()).all(|(sums, &inside)| sums[0] <= inside);
        if !consistent {
            return Err(self.wrong(&name, format!("counts more than the {windows} windows that there are")));
        }
        let name = format!("{prefix}.groups");
        let groups = self.u64(&name, Some(&[channels.div_ceil(16), taps, 6]))?;
        let group = |&[a, b, c, d, e, f]: &[u64; 6]| GroupSums { width: [a, b, c], zero: [d, e, f] };
        let groups: Vec<GroupSums> = groups.as_chunks::<6>().0.iter().map(group).collect();
        if groups.iter().zip(inside.iter().cycle()).any(|(group, inside)| group.zero.iter().any(|zero| zero > inside)) {
            return Err(self.wrong(&name, format!("counts more than the {windows} windows that there are")));
        }
        let channel_nonzeros = self.u64(&format!("{prefix}.channel_nonzeros"), Some(&[channels]))?;
        let values = self.values(prefix, codes, counted)?;
        self.check_nonzeros(prefix, &values, &channel_nonzeros)?;
        Ok(ActivationSums {
            channels,
            windows,
            inside,
            taps: sums,
            groups,
            channel_nonzeros,
            values,
            extra: ExtraSums::default(),
        })
    }

    /// The layer whose arrays' names begin with `name`.
    pub fn layer(
        &mut self,
        name: &str,
        facts: &LayerFacts,
        &Asked { counts_codes, ref extras, designs }: &Asked,
    ) -> Result<LayerCounts> {
        let (shape, (codings, output)) = (facts.shape(self.file)?, facts.codings(self.file)?);
        let codes = codings.each_ref().map(codes_of);
        let mut activations = self.activations(&format!("{name}.a"), &shape, codes[0], counts_codes)?;
        let mut weights = self.weights(&format!("{name}.w"), &shape, &codings[1], facts.pairs)?;
        let pairs = facts.pairs.then(|| self.read_pairs(&format!("{name}.pairs"))).transpose()?;
        let [of_activations, of_weights] = match pairs {
            Some(_) => [ExtraSums::of_products(extras), ExtraSums::default()],
            None => [0, 1].map(|operand| ExtraSums::new(extras, &shape, operand)),
        };
        activations.extra = self.extra(&format!("{name}.a"), of_activations)?;
        weights.extra = self.extra(&format!("{name}.w"), of_weights)?;
        let outputs = output.map(|coding| {
            let (prefix, codes) = (format!("{name}.o"), codes_of(&coding));
            // As many channels as it says.
            let channels =
                self.arrays.get(&format!("{prefix}.channel_nonzeros")).map_or(0, |view| view.shape().iter().product());
            let reader = LayerShape::reader([channels, 1, 1], false);
            let sums = self.activations(&prefix, &reader, codes, counts_codes)?;
            Ok(ActivationSums { extra: self.extra(&prefix, ExtraSums::new(extras, &reader, 2))?, ..sums })
        });
        let outputs = outputs.transpose()?;
        let designs = match designs > 0 && pairs.is_none() {
            true => self.u64(&format!("{name}.designs"), Some(&[designs, DesignCounts::default().len()]))?,
            false => Vec::new(),
        };
        let designs = designs.as_chunks().0.to_vec();
        let recurrent = match facts.gates(self.file)? {
            None => None,
            Some((names, buckets)) => {
                let gate = RecurrentSums::gate(&shape, names.len());
                let gates = names
                    .iter()
                    .map(|gate_name| self.weights(&format!("{name}.gate.{gate_name}"), &gate, &codings[1], false));
                let gates = gates.collect::<Result<Vec<_>>>()?;
                let steps = self.steps(&format!("{name}.steps"), buckets)?;
                Some(RecurrentSums { gates, buckets, steps })
            }
        };
        let lowest = codes.map(|(lowest, _)| lowest);
        let images = facts.images;
        let tally = LayerTally { shape, images, lowest, activations, weights, outputs, recurrent, pairs, designs };
        Ok(LayerCounts { name: facts.name.clone(), kind: facts.kind.clone(), codings, output, tally })
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<()> {
        match self.arrays.keys().next() {
            Some(name) => Err(self.wrong(name, "is of no layer")),
            None => Ok(()),
        }
    }

    /// The on-demand counts of activations (0), weights (1) or outputs (2).
    fn extra(&mut self, prefix: &str, mut sums: ExtraSums) -> Result<ExtraSums> {
        for extra in Extra::ALL {
            let Some(counts) = sums.get(extra).map(<[u64]>::len) else { continue };
            sums.set(extra, self.u64(&format!("{prefix}.extra.{}", extra.name()), Some(&[counts]))?);
        }
        Ok(sums)
    }

    fn steps(&mut self, name: &str, buckets: Buckets) -> Result<Vec<StepSums>> {
        let (_, shape) = match self.arrays.get(name) {
            Some(view) if view.shape().len() == 2 && view.shape()[0] < buckets.count() => ((), view.shape().to_vec()),
            _ => return Err(self.wrong(name, "is missing or of another shape")),
        };
        let steps = self.u64(name, Some(&[shape[0], 7]))?;
        let step = |&[steps, values, nonzero, terms, compared, equal, change_terms]: &[u64; 7]| StepSums {
            steps,
            values,
            nonzero,
            terms,
            compared,
            equal,
            change_terms,
        };
        let steps: Vec<StepSums> = steps.as_chunks::<7>().0.iter().map(step).collect();
        match steps.iter().all(|step| step.nonzero <= step.values) {
            true => Ok(steps),
            false => Err(self.wrong(name, "counts more values other than zero than values")),
        }
    }
}
