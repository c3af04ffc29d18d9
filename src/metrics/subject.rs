//! What a metric is computed of: the counts of a layer, of one gate of it, of some steps, or of one input.

use std::cell::OnceCell;

use crate::format::Coding;
use crate::kernels::count::sequence::StepSums;
use crate::kernels::count::{Encoder, InputSums, Totals, ValueSums, popcount};
use crate::tally::{
    ActivationSums, ChangeProducts, Extra, ExtraSums, FilterCodes, InputCounts, LayerTally, Products, RecurrentSums,
    WeightSums,
};

/// Which operand of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Which {
    /// Inputs of the layer.
    Activations,
    /// Weights of the layer.
    Weights,
    /// Outputs of the layer, as they are stored for the layers behind it.
    Outputs,
}

impl Which {
    /// All of them, in the order in which they are printed.
    pub const ALL: [Self; 3] = [Self::Activations, Self::Weights, Self::Outputs];

    /// Those that are multiplied.
    pub const OF_MACS: [Self; 2] = [Self::Activations, Self::Weights];

    /// Its name in machine formats.
    pub fn name(self) -> &'static str {
        match self {
            Self::Activations => "activations",
            Self::Weights => "weights",
            Self::Outputs => "outputs",
        }
    }

    /// The letter before a metric's name where one name says both: `a.zeros`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Activations => "a",
            Self::Weights => "w",
            Self::Outputs => "o",
        }
    }
}

/// Options of the report: a metric may depend on them, a count does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose terms the potentials count.
    pub encoder: Encoder,
    /// Whether a MAC that is not skipped costs at least one step.
    pub min_one: bool,
}

/// One operand's counts.
#[derive(Clone)]
pub struct Operand<'a> {
    /// Which of them.
    pub which: Which,
    /// In which numbers.
    pub coding: &'a Coding,
    /// The encoder chosen.
    pub encoder: Encoder,
    /// Sums over its values; none of some steps and of one input.
    pub values: Option<&'a ValueSums>,
    /// Non-zero codes by channel (of weights: by filter); none of some steps and of one input.
    pub channel_nonzeros: Option<&'a [u64]>,
    /// Codes of each filter, where filters have scales of their own; else nothing.
    pub filter_codes: &'a [FilterCodes],
    /// On-demand counts; none of some steps.
    pub extra: Option<&'a ExtraSums>,
    /// The operand over some steps of sequences, if it is that.
    pub steps: Option<&'a StepSums>,
    /// The operand of one input, if it is that.
    pub input: Option<&'a InputSums>,
    /// Whether terms were counted.
    pub has_terms: bool,
    /// [`Operand::seen`], computed at its first use.
    seen: OnceCell<Vec<(i32, u64)>>,
}

impl Operand<'_> {
    /// Values.
    pub fn elements(&self) -> u64 {
        match (self.values, self.steps, self.input) {
            (Some(values), ..) => values.elements,
            (_, Some(steps), _) => steps.values,
            (.., input) => input.map_or(0, |input| input.elements),
        }
    }

    /// Codes that are not zero.
    pub fn nonzeros(&self) -> u64 {
        match (self.channel_nonzeros, self.steps, self.input) {
            (Some(nonzeros), ..) => nonzeros.iter().sum(),
            (_, Some(steps), _) => steps.nonzero,
            (.., input) => input.map_or(0, |input| input.nonzeros),
        }
    }

    /// Values that are exactly 0; none of some steps.
    pub fn natural_zeros(&self) -> Option<u64> {
        self.values.map(|values| values.natural_zeros).or(self.input.map(|input| input.natural_zeros))
    }

    /// Values beyond the codes; none of some steps.
    pub fn saturated(&self) -> Option<u64> {
        self.values.map(|values| values.saturated).or(self.input.map(|input| input.saturated))
    }

    /// What its codes add up to, where it was not counted how often each was seen.
    fn totals(&self) -> Option<&Totals> {
        self.values?.totals.as_ref()
    }

    /// Sum of the widths of its codes, where codes or terms were counted.
    pub fn widths(&self) -> Option<u128> {
        match (self.input, self.totals()) {
            (Some(input), _) => self.has_terms.then_some(input.widths.into()),
            (_, Some(totals)) => Some(totals.widths.into()),
            _ => self.sum(|code| self.coding.map.width(code).into()),
        }
    }

    /// Sum of the terms of its codes by `encoder`; where it was not counted how often each code was seen, of the encoder chosen
    /// alone, and of ones.
    pub fn terms(&self, encoder: Encoder) -> Option<u128> {
        let chosen = encoder == self.encoder;
        match (self.steps, self.input, self.totals()) {
            (Some(steps), ..) if chosen => Some(steps.terms.into()),
            (_, Some(input), _) => (chosen && self.has_terms).then_some(input.terms.into()),
            (.., Some(totals)) if chosen => Some(totals.terms.into()),
            (.., Some(_)) if encoder == Encoder::Popcount => self.ones(),
            _ => self.sum(|code| encoder.terms(code.unsigned_abs() as u16).into()),
        }
    }

    /// Ones of the magnitudes of its codes, where codes or terms were counted; none of one input.
    pub fn ones(&self) -> Option<u128> {
        match self.totals() {
            Some(totals) => Some(totals.ones.into()),
            None => self.sum(|code| popcount(code.unsigned_abs() as u16).into()),
        }
    }

    /// Sums of its codes and of their squares, where codes or terms were counted; none of one input.
    pub fn moments(&self) -> Option<(i128, u128)> {
        if let Some(totals) = self.totals() {
            return Some((totals.sum.into(), totals.squares));
        }
        Some(self.codes()?.fold((0, 0), |(sum, squares), (code, count)| {
            let square = u128::from(code.unsigned_abs()).pow(2);
            (sum + i128::from(code) * i128::from(count), squares + square * u128::from(count))
        }))
    }

    /// Sum of the widths of its groups of 16, 64 or 256, and how many there are.
    pub fn group_widths(&self, size: usize) -> Option<[u128; 2]> {
        if let Some(input) = self.input {
            return Some([input.group_widths[size].into(), input.groups[size].into()]);
        }
        let groups = self.values?.group_widths[size].map(u128::from);
        Some([groups.iter().zip(0..).map(|(count, width)| width * count).sum(), groups.iter().sum()])
    }

    /// The width of the layer: what a precision file states, else that of all values taken as one group; without a file none of some
    /// steps and of one input.
    pub fn width_of_all(&self) -> Option<u16> {
        if let Some(width) = self.coding.width {
            return Some(width as u16);
        }
        let values = self.values?;
        if values.elements == 0 {
            return Some(0);
        }
        let [least, most] = values.code_extremes;
        let largest = most.max(-least);
        // The largest magnitude, with a sign if there is any.
        Some(self.coding.map.width(if least < 0 { -largest } else { largest }))
    }

    /// The codes that were seen and how often, in rising order; nothing where that was not counted.
    pub fn seen(&self) -> Option<&[(i32, u64)]> {
        let values = self.values.filter(|values| !values.codes.is_empty())?;
        let seen = || {
            let counts = values.codes.iter().zip(self.coding.map.lo..).filter(|(count, _)| **count > 0);
            counts.map(|(&count, code)| (code, count)).collect()
        };
        Some(self.seen.get_or_init(seen))
    }

    /// [`Operand::seen`], one by one.
    pub fn codes(&self) -> Option<impl Iterator<Item = (i32, u64)> + Clone + '_> {
        Some(self.seen()?.iter().copied())
    }

    /// The counts of `extra`, if they were made and are defined for these codes.
    pub fn extra(&self, extra: Extra) -> Option<&[u64]> {
        extra.is_of_codes(self.coding.map).then(|| self.extra?.get(extra)).flatten()
    }

    /// Sum over all values of `of` their code; none where codes were not counted.
    pub fn sum(&self, of: impl Fn(i32) -> u64) -> Option<u128> {
        Some(self.codes()?.map(|(code, count)| u128::from(of(code)) * u128::from(count)).sum())
    }
}

/// The counts that metrics are functions of.
pub struct Subject<'a> {
    /// The layer's counts; none of some steps and of one input.
    pub tally: Option<&'a LayerTally>,
    /// Sums over its MACs; none of some steps.
    pub products: Option<Products>,
    /// Sums over its MACs of differences of activations; none where they were not counted.
    pub changes: Option<ChangeProducts>,
    /// In which numbers its operands are: activations, weights.
    pub codings: &'a [Coding; 2],
    /// What was chosen.
    pub options: Options,
    weights: Option<&'a WeightSums>,
    outputs: Option<(&'a Coding, &'a ActivationSums)>,
    steps: Option<&'a StepSums>,
    input: Option<&'a InputSums>,
    has_terms: bool,
}

impl<'a> Subject<'a> {
    /// A whole layer.
    pub fn layer(tally: &'a LayerTally, codings: &'a [Coding; 2], options: Options) -> Self {
        Self {
            tally: Some(tally),
            products: Some(Products::of(tally)),
            changes: ChangeProducts::new(&tally.shape, &tally.activations, &tally.weights),
            codings,
            options,
            weights: Some(&tally.weights),
            outputs: None,
            steps: None,
            input: None,
            has_terms: has_terms(tally),
        }
    }

    /// The same, with the layer's outputs, in the numbers `coding`, where both are known.
    pub fn with_outputs(self, coding: Option<&'a Coding>) -> Self {
        let sums = self.tally.and_then(|tally| tally.outputs.as_ref());
        Self { outputs: coding.zip(sums), ..self }
    }

    /// One gate of a product of a recurrent layer: its own weights, and the activations that all gates read.
    pub fn gate(tally: &'a LayerTally, weights: &'a WeightSums, codings: &'a [Coding; 2], options: Options) -> Self {
        let gates = tally.recurrent.as_ref().map_or(1, |recurrent| recurrent.gates.len());
        let shape = RecurrentSums::gate(&tally.shape, gates);
        let products = Products::new(&shape, &tally.activations, weights);
        let products = Some(products);
        let changes = ChangeProducts::new(&shape, &tally.activations, weights);
        Self { products, changes, weights: Some(weights), ..Self::layer(tally, codings, options) }
    }

    /// The operand of a product of a recurrent layer over some steps.
    pub fn steps(steps: &'a StepSums, codings: &'a [Coding; 2], options: Options) -> Self {
        Self { steps: Some(steps), has_terms: true, ..Self::empty(codings, options) }
    }

    /// What a layer has of one input, or of some that are taken for one.
    pub fn input(
        counts: &'a InputCounts,
        weights: Option<&'a WeightSums>,
        codings: &'a [Coding; 2],
        options: Options,
        has_terms: bool,
    ) -> Self {
        let (products, input) = (Some(counts.products), Some(&counts.values));
        Self { products, weights, input, has_terms, ..Self::empty(codings, options) }
    }

    fn empty(codings: &'a [Coding; 2], options: Options) -> Self {
        Self {
            tally: None,
            products: None,
            changes: None,
            codings,
            options,
            weights: None,
            outputs: None,
            steps: None,
            input: None,
            has_terms: false,
        }
    }

    /// Its operand `which`; none of weights over some steps, and of outputs where they were not counted.
    pub fn operand(&self, which: Which) -> Option<Operand<'_>> {
        let of = |coding| Operand {
            which,
            coding,
            encoder: self.options.encoder,
            values: None,
            channel_nonzeros: None,
            filter_codes: &[],
            extra: None,
            steps: None,
            input: None,
            has_terms: self.has_terms,
            seen: OnceCell::new(),
        };
        let summed = |coding, sums: &'a ActivationSums| Operand {
            values: Some(&sums.values),
            channel_nonzeros: Some(&sums.channel_nonzeros),
            extra: Some(&sums.extra),
            ..of(coding)
        };
        let [activations, weights] = self.codings;
        match (which, self.tally, self.steps, self.input) {
            (Which::Activations, Some(tally), ..) => Some(summed(activations, &tally.activations)),
            (Which::Activations, None, None, None) => None,
            (Which::Activations, None, steps, input) => Some(Operand { steps, input, ..of(activations) }),
            (Which::Weights, ..) => {
                let sums = self.weights?;
                Some(Operand {
                    values: Some(&sums.values),
                    channel_nonzeros: Some(&sums.filter_nonzeros),
                    filter_codes: &sums.filter_codes,
                    extra: Some(&sums.extra),
                    ..of(weights)
                })
            }
            (Which::Outputs, ..) => self.outputs.map(|(coding, sums)| summed(coding, sums)),
        }
    }

    /// What was counted along the steps of sequences, all or those that it is of.
    pub fn along_steps(&self) -> Option<StepSums> {
        if let Some(steps) = self.steps {
            return Some(*steps);
        }
        let mut all = StepSums::default();
        self.tally?.recurrent.as_ref()?.steps.iter().for_each(|step| all.merge(step));
        Some(all)
    }

    /// The layer's width p of an operand: what a precision file states, or that of all its values as one group, bits of the largest magnitude and one for the
    /// sign if any is negative. (The largest width of a *value* can be a bit less, and then no group would be sure to fit in it.)
    /// None where no file states it and the values of one input only are known: it is of all.
    pub fn layer_width(&self, which: Which) -> Option<u128> {
        self.operand(which).and_then(|operand| operand.width_of_all()).map(u128::from)
    }

    /// Baseline width B of an operand; 0 of outputs where they were not counted.
    pub fn bits(&self, which: Which) -> u128 {
        match which {
            Which::Activations | Which::Weights => self.codings[which as usize].bits.into(),
            Which::Outputs => self.outputs.map_or(0, |(coding, _)| coding.bits.into()),
        }
    }

    /// Whether terms of activations were counted.
    pub fn has_terms(&self) -> bool {
        self.has_terms
    }
}

fn has_terms(tally: &LayerTally) -> bool {
    let values = &tally.activations.values;
    !values.codes.is_empty() || values.totals.is_some()
}
