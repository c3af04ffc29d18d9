//! The arrays of a measurement's file, as they are read: every array is checked.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, TensorView};

use super::LayerCounts;
use super::arrays::SHIFTED;
use super::header::LayerFacts;
use crate::format::Coding;
use crate::kernels::count::sequence::{Buckets, StepSums};
use crate::kernels::count::{GroupSums, LANE_SUMS, Totals, ValueSums};
use crate::tally::{
    ActivationSums, DesignCounts, Extra, ExtraSums, FilterCodes, LayerShape, LayerTally, RecurrentSums, Statistics,
    TapSums, WeightSums,
};
use crate::{Error, Result};

/// The smallest code of an operand's, and how many there are.
fn codes_of(coding: &Coding) -> (i32, usize) {
    (coding.map.lo, coding.map.codes())
}

/// What the layers of a file count beside what all do.
pub(super) struct Asked {
    /// How much of activations.
    pub level: Statistics,
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

    fn values(&mut self, prefix: &str, (lowest, codes): (i32, usize), level: Statistics) -> Result<ValueSums> {
        let mut sums = ValueSums::new(if level == Statistics::Full { codes } else { 0 });
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
        if level == Statistics::Terms {
            sums.totals = Some(self.totals(&format!("{prefix}.totals"), sums.elements, highest.max(-lowest))?);
        }
        if level == Statistics::Full {
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

    /// What so many codes of magnitudes up to `largest` add up to.
    fn totals(&mut self, name: &str, elements: u64, largest: i32) -> Result<Totals> {
        let [ones, sum, high, low, widths, terms] = self.u64(name, Some(&[6]))?[..] else {
            unreachable!("six of them")
        };
        let totals = Totals {
            ones,
            sum: sum as i64 - SHIFTED,
            squares: u128::from(high) << 32 | u128::from(low),
            widths,
            terms,
        };
        let most = |each: i32| u128::from(elements) * u128::from(each.unsigned_abs());
        let bits = (u32::BITS - largest.leading_zeros()) as i32;
        let fits = ones.max(terms) as u128 <= most(bits)
            && u128::from(widths) <= most(bits + 1)
            && low >> 32 == 0
            && u128::from(totals.sum.unsigned_abs()) <= most(largest)
            && totals.squares <= most(largest) * u128::from(largest.unsigned_abs())
            && u128::from(elements)
                .checked_mul(totals.squares)
                .is_some_and(|most| u128::from(totals.sum.unsigned_abs()).pow(2) <= most);
        if fits { Ok(totals) } else { Err(self.wrong(name, format!("are no sums of {elements} codes"))) }
    }

    /// `all` says that they are the second operand of all inputs.
    fn weights(
        &mut self,
        prefix: &str,
        shape: &LayerShape,
        coding: &Coding,
        (all, level): (bool, Statistics),
    ) -> Result<WeightSums> {
        let (channels, taps) = (shape.channels(), shape.taps());
        let name = format!("{prefix}.taps");
        let sums = self.u64(&name, Some(&[channels, taps, 5]))?;
        let (sums, filters) = (sums.as_chunks::<5>().0, shape.filters() as u64);
        if !all && sums.iter().any(|tap| tap[0] > filters || tap[4] > filters) {
            return Err(self.wrong(&name, format!("counts more than the {filters} filters that there are")));
        }
        let tap = |&[nonzero, width, terms, g16, g16_zero]: &[u64; 5]| TapSums { nonzero, width, terms, g16, g16_zero };
        let filter_nonzeros = self.u64(&format!("{prefix}.channel_nonzeros"), Some(&[shape.weight[0]]))?;
        let values = self.values(prefix, codes_of(coding), level)?;
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
        level: Statistics,
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
        let values = self.values(prefix, codes, level)?;
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
        &Asked { level, ref extras, designs }: &Asked,
    ) -> Result<LayerCounts> {
        let (shape, (codings, output)) = (facts.shape(self.file)?, facts.codings(self.file)?);
        let codes = codings.each_ref().map(codes_of);
        // A second operand that is an activation too has what these have, and terms at the least.
        let of_weights = if facts.pairs { level.max(Statistics::Terms) } else { Statistics::Full };
        let mut activations = self.activations(&format!("{name}.a"), &shape, codes[0], level)?;
        let mut weights = self.weights(&format!("{name}.w"), &shape, &codings[1], (facts.pairs, of_weights))?;
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
            let sums = self.activations(&prefix, &reader, codes, level)?;
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
                let gates = names.iter().map(|gate_name| {
                    self.weights(&format!("{name}.gate.{gate_name}"), &gate, &codings[1], (false, Statistics::Full))
                });
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
