//! Per-input metrics: the counts of each input become ratios, of which only the moments are kept.

use super::calibrate::Calibration;
use super::feed::BLOCK;
use super::settings::Until;
use crate::input::Sample;
use crate::kernels::Pool;
use crate::metrics::{Fraction, Interval, Options, Sampled, Subject, Value};
use crate::tally::{InputCounts, LayerTally, Moments, Spread};
use crate::task::Quality;

/// The results of one input.
pub struct MeasuredInput<'a> {
    /// The input.
    pub sample: &'a Sample,
    /// The network's output.
    pub output: &'a [f32],
    /// How good it was.
    pub quality: &'a Quality,
    /// Names of the per-input ratios ([`Sampled::names`]).
    pub ratios: &'a [String],
    /// The network's, of this input.
    pub fractions: &'a [Fraction],
}

/// What per-input metrics depend on beside the counts.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub calibration: &'a Calibration,
    pub tallies: &'a [LayerTally],
    pub pool: &'a Pool,
}

/// The inputs of a run, one by one.
pub(super) struct Inputs {
    sampled: Vec<Sampled>,
    /// Streams, where inputs are segments of these and blocks of them are taken for one input.
    streams: Option<usize>,
    /// Segments so far, of all streams.
    position: usize,
    /// By stream, the counts of each layer in the block that is not complete yet; empty between blocks.
    pub open: Vec<Vec<InputCounts>>,
    pub spread: Spread,
    /// The network's ratios of each input since [`Inputs::take_each`], if they are kept.
    each: Option<Vec<Vec<Fraction>>>,
}

impl Inputs {
    /// No input yet.
    pub fn new(calibration: &Calibration, streams: Option<usize>) -> Self {
        let encoder = calibration.settings().encoder;
        let sampled = Sampled::all(encoder, calibration.has_terms());
        let names = sampled.iter().flat_map(Sampled::names).collect();
        let open = vec![Vec::new(); streams.unwrap_or(0)];
        Self { spread: Spread::new(names, calibration.layers.len()), sampled, streams, position: 0, open, each: None }
    }

    /// Keeps the network's ratios of each input.
    pub fn keep_each(&mut self) {
        self.each = Some(Vec::new());
    }

    /// Takes out the network's ratios of each input; of none, where they are not kept.
    pub fn take_each(&mut self) -> Vec<Vec<Fraction>> {
        self.each.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Resumes after `position` segments, with `open` blocks.
    pub fn restore(&mut self, position: usize, open: Vec<Vec<InputCounts>>, spread: Spread) {
        (self.position, self.open, self.spread) = (position, open, spread);
    }

    /// Adds inputs, of which `inputs` has the counts: `[input][layer]`.
    pub fn add(&mut self, inputs: Vec<Vec<InputCounts>>, context: Context<'_>) {
        let Some(streams) = self.streams else {
            let ratios = self.count(&inputs, context);
            self.each.iter_mut().for_each(|each| each.extend_from_slice(&ratios));
            return;
        };
        if self.each.is_some() {
            let ratios = self.of_network(&self.of_layers(&inputs, context), inputs.len());
            self.each.iter_mut().for_each(|each| each.extend_from_slice(&ratios));
        }
        let mut whole = Vec::new();
        for layers in inputs {
            let (stream, row) = (self.position % streams, self.position / streams);
            self.position += 1;
            let open = &mut self.open[stream];
            match open.is_empty() {
                true => *open = layers,
                false => open.iter_mut().zip(&layers).for_each(|(open, segment)| *open += segment),
            }
            if row % BLOCK == BLOCK - 1 {
                whole.push(std::mem::take(open));
            }
        }
        self.count(&whole, context);
    }

    /// Adds the blocks that are not complete at the end of the inputs.
    pub fn end(&mut self, context: Context<'_>) {
        let open: Vec<_> = self.open.iter_mut().map(std::mem::take).filter(|block| !block.is_empty()).collect();
        self.count(&open, context);
    }

    /// Adds the moments of `inputs`. Returns the network's ratios of each of them.
    fn count(&mut self, inputs: &[Vec<InputCounts>], context: Context<'_>) -> Vec<Vec<Fraction>> {
        let layers = self.of_layers(inputs, context);
        let ratios = self.of_network(&layers, inputs.len());
        for (scope, (moments, _)) in self.spread.scopes.iter_mut().zip(&layers) {
            scope.iter_mut().zip(moments).for_each(|(to, moments)| *to += *moments);
        }
        let network = self.spread.scopes.last_mut().expect("the network is the last");
        for fractions in &ratios {
            network.iter_mut().zip(fractions).for_each(|(to, of)| to.add(of.numerator, of.denominator));
        }
        self.spread.inputs += inputs.len() as u64;
        ratios
    }

    /// Of each layer the moments of `inputs`, and the ratios of one after the other.
    fn of_layers(
        &self,
        inputs: &[Vec<InputCounts>],
        Context { calibration, tallies, pool }: Context<'_>,
    ) -> Vec<(Vec<Moments>, Vec<Fraction>)> {
        let (ratios, encoder) = (self.spread.ratios.len(), calibration.settings().encoder);
        let layers = if inputs.is_empty() { 0 } else { calibration.layers.len() };
        pool.map(layers, |layer| {
            // The second operand of a product of two activations is not the same for all inputs.
            let weights = tallies[layer].pairs.is_none().then_some(&tallies[layer].weights);
            let codings = &calibration.layers[layer].codings;
            let mut moments = vec![Moments::default(); ratios];
            let mut fractions: Vec<Fraction> = Vec::with_capacity(ratios * inputs.len());
            for input in inputs {
                let subjects = [false, true].map(|min_one| {
                    let options = Options { encoder, min_one };
                    Subject::input(&input[layer], weights, codings, options, calibration.has_terms())
                });
                let first = fractions.len();
                for sampled in &self.sampled {
                    match sampled.value(&subjects) {
                        Some(Value::Work(modes)) => fractions.extend(modes),
                        Some(Value::Ratio(fraction)) => fractions.push(fraction),
                        // What needs all weights at once is not known of such a product, nor then of the network.
                        None if weights.is_none() => fractions.extend(sampled.none()),
                        other => unreachable!("{}: a ratio whatever the input has, not {other:?}", sampled.metric.name),
                    }
                }
                moments.iter_mut().zip(&fractions[first..]).for_each(|(to, of)| to.add(of.numerator, of.denominator));
            }
            (moments, fractions)
        })
    }

    /// The network's ratios of each of `inputs` inputs, of which `layers` have theirs.
    fn of_network(&self, layers: &[(Vec<Moments>, Vec<Fraction>)], inputs: usize) -> Vec<Vec<Fraction>> {
        let ratios = self.spread.ratios.len();
        let sum = |place: usize| {
            let of_layers = layers.iter().map(|(_, fractions)| fractions[place]);
            of_layers.fold(Fraction::default(), |sum, of| {
                Fraction::new(sum.numerator + of.numerator, sum.denominator + of.denominator)
            })
        };
        (0..inputs).map(|input| (input * ratios..(input + 1) * ratios).map(sum).collect()).collect()
    }

    /// Whether the network's interval is as narrow as `until` asks.
    pub fn is_enough(&self, until: &Until, min_one: bool) -> bool {
        let name = until.ratio(min_one);
        let moments = self.spread.get(self.spread.scopes.len() - 1, &name);
        let interval = moments
            .filter(|_| self.spread.inputs >= Until::LEAST)
            .and_then(|moments| Interval::of(moments, self.spread.inputs));
        interval.is_some_and(|Interval { low, high, .. }| (high - low) / 2.0 <= until.share * (high + low) / 2.0)
    }
}
