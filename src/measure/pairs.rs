//! Products of two activations: whole inputs of both operands are assembled from the regions that a probe is shown, and counted
//! together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::calibrate::Calibration;
use super::layers::MeasuredLayer;
use super::record::Watchers;
use crate::kernels::attention::{KvCache, Operands, Probabilities, attention};
use crate::kernels::count::Counter;
use crate::kernels::{Exec, Geometry, Isa, LANES, Pool, Region};
use crate::layers::{Layer, MatMul};
use crate::model::Model;
use crate::probe::{Origin, Watch};
use crate::tally::{
    ActivationSums, AttentionSpec, Codes, Extra, ExtraSums, InputCounts, LayerShape, LayerTally, PairSpec, PairSums,
    Phase, Products, WeightSums, shares,
};
use crate::{Error, Result};

/// The operands of an input, as far as they were shown.
#[derive(Default)]
struct Partial {
    values: [Vec<f32>; OPERANDS],
    filled: [usize; OPERANDS],
}

/// Most operands of a layer: queries, keys and values.
pub(super) const OPERANDS: usize = 3;

/// How a layer of products of activations is counted.
pub(super) enum Counted {
    /// One product.
    Product(PairSpec),
    /// Both products of attention, of the queries of each phase.
    Attention(AttentionSpec, Vec<Phase>),
}

/// Counts the products of one layer.
pub(super) struct Pairs {
    isa: Isa,
    counted: Counted,
    partial: Mutex<BTreeMap<usize, Partial>>,
    rows: [Row; ROWS],
    /// Counts of codes of each row of attention, one set for each input that was counted beside others: they are large, and inputs add to
    /// them in turn.
    codes: Mutex<Vec<Vec<Codes>>>,
    /// Lowest image of the batch that held NaN or infinity; `usize::MAX` where none did.
    bad_image: AtomicUsize,
}

/// Most rows of a layer: two products, prefill and decode.
const ROWS: usize = 4;

/// The row that `layer` is.
fn row_of(layer: &MeasuredLayer) -> usize {
    2 * usize::from(layer.is_decoded()) + usize::from(layer.inside)
}

/// What was counted of one product.
#[derive(Default)]
struct Row {
    /// Of the inputs that ran together last, by their place in the batch.
    inputs: Mutex<BTreeMap<usize, InputCounts>>,
    sums: Mutex<Option<PairSums>>,
}

impl Pairs {
    pub fn new(isa: Isa, counted: Counted) -> Arc<Self> {
        let bad_image = AtomicUsize::new(usize::MAX);
        let (partial, rows, codes) = Default::default();
        Arc::new(Self { isa, counted, partial, rows, codes, bad_image })
    }

    fn operands(&self) -> usize {
        if let Counted::Product(_) = self.counted { 2 } else { OPERANDS }
    }

    /// Takes out the counts of each of `inputs` inputs that ran together, in the row of `layer`.
    pub fn take_inputs(&self, layer: &MeasuredLayer, inputs: usize) -> Vec<InputCounts> {
        let mut counted = std::mem::take(&mut *locked(&self.rows[row_of(layer)].inputs));
        (0..inputs).map(|input| counted.remove(&input).unwrap_or_default()).collect()
    }

    /// Takes out the counts of all inputs, in the row of `layer`; none of no input.
    pub fn take_sums(&self, layer: &MeasuredLayer) -> Option<PairSums> {
        let mut sums = locked(&self.rows[row_of(layer)].sums).take()?;
        let PairSums { activations, weights, .. } = &mut sums;
        for of_rows in &*locked(&self.codes) {
            for (all, codes) in
                [&mut activations.values.codes, &mut weights.values.codes].into_iter().zip(&of_rows[row_of(layer)])
            {
                all.resize(codes.len(), 0);
                all.iter_mut().zip(codes).for_each(|(all, count)| *all += count);
            }
        }
        Some(sums)
    }

    /// Lowest image of the batch that held NaN or infinity; `usize::MAX` where none did.
    pub fn bad_image(&self) -> usize {
        self.bad_image.load(Ordering::Relaxed)
    }

    /// Counts input `image`.
    fn count(&self, image: usize, values: &[Vec<f32>; OPERANDS]) {
        let sums = match &self.counted {
            Counted::Product(spec) => spec.count(self.isa, [&values[0], &values[1]]).map(|sums| vec![sums]),
            Counted::Attention(spec, phases) => {
                let codes = locked(&self.codes).pop().unwrap_or_else(|| vec![Codes::default(); ROWS]);
                let sums = attention_sums(self.isa, spec, phases, values, codes);
                sums.map(|(sums, codes)| {
                    locked(&self.codes).push(codes);
                    sums
                })
            }
        };
        let Some(sums) = sums else {
            self.bad_image.fetch_min(image, Ordering::Relaxed);
            return;
        };
        for (row, sums) in self.rows.iter().zip(sums) {
            locked(&row.inputs).insert(image, sums.of_input());
            match &mut *locked(&row.sums) {
                Some(all) => all.merge(&sums),
                none => *none = Some(sums),
            }
        }
    }
}

/// Counts of both products, phase by phase, of a sequence of queries, keys and values `[channels, steps]`; those of codes are added to
/// `codes`, which come back beside the others. The probabilities are computed as the engine computes them: decoding gives the bits of the whole sequence.
fn attention_sums(
    isa: Isa,
    spec: &AttentionSpec,
    phases: &[Phase],
    values: &[Vec<f32>; OPERANDS],
    mut codes: Vec<Codes>,
) -> Option<(Vec<PairSums>, Vec<Codes>)> {
    let shape = spec.attention;
    let steps = values[0].len() / (shape.heads * shape.inner);
    // Two rows a phase.
    let mut counted = |row: usize| std::mem::take(&mut codes[row]);
    let pv = phases.iter().enumerate().map(|(i, &phase)| spec.pv(&values[2], phase, counted(2 * i + 1)));
    let pv = pv.collect::<Option<Vec<_>>>()?;
    let pv = Mutex::new((pv, true));
    let packed = values.each_ref().map(|values| {
        let geometry = Geometry::blocked(1, values.len() / steps, 1, steps);
        let mut buffer = vec![0.0; geometry.len()];
        geometry.pack(values, &mut buffer);
        (buffer, geometry)
    });
    let [q, k, v] = packed.each_ref().map(|(buffer, geometry)| (&buffer[..], geometry));
    let geometry = Geometry::blocked(1, shape.heads * shape.outer, 1, steps);
    let mut output = vec![0.0; geometry.len()];
    let observe = |row: Probabilities<'_>| {
        let (sums, fine) = &mut *locked(&pv);
        let mut phases = phases.iter().zip(sums);
        let of = phases.find(|(phase, _)| phase.steps(steps).contains(&row.query));
        *fine &= of.is_some_and(|(_, sums)| sums.add(&row));
    };
    // The threads are at work on the layer itself.
    let pool = Pool::new(1);
    let operands = Operands { q, k, v, inside: None };
    let mut cache = KvCache::new(shape, 1);
    attention(&Exec::new(&pool, isa), 1, &operands, (&mut output, &geometry), &mut cache, Some(&observe));
    let (sums, fine) = pv.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut both = vec![];
    for (i, (&phase, pv)) in phases.iter().zip(sums).enumerate() {
        let (mut qk, pv) = (spec.qk(&values[0], &values[1], phase, counted(2 * i))?, pv.into_sums());
        if let Some(counts) = pv.activations.extra.get(Extra::Attention) {
            let of_qk = shares::of_scores(counts);
            qk.activations.extra.set(Extra::Attention, of_qk);
        }
        both.extend([qk, pv]);
    }
    for (codes, sums) in codes.iter_mut().zip(&mut both) {
        let values = [&mut sums.activations.values, &mut sums.weights.values];
        *codes = values.map(|values| std::mem::take(&mut values.codes));
    }
    fine.then_some((both, codes))
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches one operand of a layer.
pub(super) struct PairOperand {
    pub pairs: Arc<Pairs>,
    /// Its place among the layer's inputs.
    pub which: usize,
}

impl Watch for PairOperand {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, origin: Origin) {
        let (place, columns) = (origin.image + image, geometry.w);
        let channels = region.blocks.start * LANES..(region.blocks.end * LANES).min(geometry.c);
        let mut held = locked(&self.pairs.partial);
        let partial = held.entry(place).or_default();
        let (values, filled) = (&mut partial.values[self.which], &mut partial.filled[self.which]);
        // A sequence is one row.
        values.resize(geometry.c * columns, 0.0);
        for channel in channels.filter(|_| region.rows.contains(&0)) {
            let from = x[geometry.index(image, channel, 0, 0)..].iter().step_by(geometry.lanes);
            values[channel * columns..][..columns].iter_mut().zip(from).for_each(|(to, x)| *to = *x);
            *filled += columns;
        }
        let whole =
            |which: usize| !partial.values[which].is_empty() && partial.filled[which] == partial.values[which].len();
        if (0..self.pairs.operands()).all(whole) {
            let Partial { values, .. } = held.remove(&place).expect("it was filled just now");
            drop(held);
            self.pairs.count(place, &values);
        }
    }
}

impl Calibration {
    /// The tally of a product of two activations, of which `shape` is one head, and `reader` reads the outputs where these are counted:
    /// nothing is counted yet. On-demand counts are of its outputs alone.
    pub(super) fn tally_of_pairs(
        &self,
        layer: &MeasuredLayer,
        shape: LayerShape,
        reader: Option<&LayerShape>,
    ) -> LayerTally {
        let outputs = reader.map(|reader| {
            let extra = ExtraSums::new(&self.settings().extra, reader, 2);
            ActivationSums { extra, ..ActivationSums::new(reader, 0) }
        });
        LayerTally {
            images: 0,
            lowest: layer.codings.map(|coding| coding.map.lo),
            activations: ActivationSums {
                extra: ExtraSums::of_products(&self.settings().extra),
                ..ActivationSums::new(&shape, 0)
            },
            weights: WeightSums::none(&shape, layer.codings[1].map.codes()),
            outputs,
            recurrent: None,
            pairs: Some(Products::default()),
            shape,
        }
    }

    /// Adds to `watchers` what counts the products of two activations, of layers of extents `shapes`.
    ///
    /// # Errors
    /// [`Error::Shape`] where inputs give a product other extents than those in `tallies`.
    pub(super) fn watch_pairs(
        &self,
        model: &Model,
        isa: Isa,
        shapes: &[LayerShape],
        tallies: &[LayerTally],
        watchers: &mut Watchers<Counter>,
    ) -> Result<()> {
        let (encoder, has_terms) = (self.settings().encoder, self.has_terms());
        for ((layer, shape), tally) in self.layers.iter().zip(shapes).zip(tallies) {
            let place = &mut watchers.pairs[layer.node.index()];
            let counted = match model.graph.def(layer.node).layer {
                Layer::MatMul(MatMul { heads, .. }) => {
                    let maps = layer.codings.map(|coding| coding.map);
                    Counted::Product(PairSpec { shape: shape.clone(), heads, maps, encoder, has_terms })
                }
                // All rows are counted together; one that was not chosen has no coding, and counts for nothing.
                Layer::Attention(of) if place.is_none() => {
                    let has_codes = self.layers.iter().any(|other| other.node == layer.node && other.inside);
                    let generated = self.settings().decode;
                    let phases = [Phase::Prefill(generated), Phase::Decode(generated)];
                    let phases = phases[..1 + usize::from(generated > 0)].to_vec();
                    let has_shares = has_codes && self.settings().extra.contains(&Extra::Attention);
                    let coding = |inside: bool| {
                        let same = |other: &&MeasuredLayer| other.node == layer.node && other.inside == inside;
                        self.layers.iter().find(same).unwrap_or(layer).codings.map(|coding| coding.map)
                    };
                    let ([q, k], [p, v]) = (coding(false), coding(true));
                    let maps = [q, k, p, v];
                    Counted::Attention(
                        AttentionSpec { attention: of.shape, maps, encoder, has_terms, has_shares },
                        phases,
                    )
                }
                _ => continue,
            };
            if shape.weight != tally.shape.weight {
                let detail = "multiplies activations whose extents differ from input to input: give inputs of one size";
                return Err(Error::shape(&layer.name, detail));
            }
            let pairs = Pairs::new(isa, counted);
            *place = Some(std::array::from_fn(|which| PairOperand { pairs: Arc::clone(&pairs), which }));
        }
        Ok(())
    }
}
