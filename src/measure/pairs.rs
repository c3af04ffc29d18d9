//! Products of two activations: whole inputs of both operands are assembled from the regions that a probe is shown, and counted
//! together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::attention::AttentionCounter;
use super::calibrate::Calibration;
use super::layers::MeasuredLayer;
use super::ranges::isa_of;
use super::record::Watchers;
use crate::engine::Backend;
use crate::kernels::attention::Probabilities;
use crate::kernels::count::{Counter, ValueSums};
use crate::kernels::{Geometry, Isa, LANES, Pool, Region};
use crate::layers::{Layer, MatMul};
use crate::model::Model;
use crate::probe::{Origin, Watch, WatchRows};
use crate::tally::{
    ActivationSums, AttentionSpec, Extra, ExtraSums, InputCounts, LayerShape, LayerTally, PairSpec, PairSums, Phase,
    Products, WeightSums,
};
use crate::{Error, Result};

/// The operands of an input, as far as they were shown.
#[derive(Default)]
struct Partial {
    values: [Vec<f32>; OPERANDS],
    filled: [usize; OPERANDS],
}

/// Operands of a product.
pub(super) const OPERANDS: usize = 2;

/// How a layer of products of activations is counted.
pub(super) enum Counted {
    /// One product, as soon as both operands were shown.
    Product(Isa, PairSpec),
    /// Both products of attention, when the layer has run.
    Attention(AttentionCounter),
}

/// Counts the products of one layer.
pub(super) struct Pairs {
    counted: Counted,
    partial: Mutex<BTreeMap<usize, Partial>>,
    rows: [Row; ROWS],
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
    fn new(counted: Counted) -> Arc<Self> {
        let bad_image = AtomicUsize::new(usize::MAX);
        let (partial, rows) = Default::default();
        Arc::new(Self { counted, partial, rows, bad_image })
    }

    /// Takes out the counts of each of `inputs` inputs that ran together, in the row of `layer`.
    pub fn take_inputs(&self, layer: &MeasuredLayer, inputs: usize) -> Vec<InputCounts> {
        let mut counted = std::mem::take(&mut *locked(&self.rows[row_of(layer)].inputs));
        (0..inputs).map(|input| counted.remove(&input).unwrap_or_default()).collect()
    }

    /// Takes out the counts of all inputs, in the row of `layer`; none of no input.
    pub fn take_sums(&self, layer: &MeasuredLayer) -> Option<PairSums> {
        let mut sums = locked(&self.rows[row_of(layer)].sums).take()?;
        if let Counted::Attention(counter) = &self.counted {
            let codes = counter.codes(usize::from(layer.is_decoded()), layer.inside);
            [sums.activations.values.codes, sums.weights.values.codes] = codes;
        }
        Some(sums)
    }

    /// Whether the operands are shown one by one: those of attention are, once it has run, together.
    pub fn is_shown_operands(&self) -> bool {
        matches!(self.counted, Counted::Product(..))
    }

    /// Lowest image of the batch that held NaN or infinity; `usize::MAX` where none did.
    pub fn bad_image(&self) -> usize {
        self.bad_image.load(Ordering::Relaxed)
    }

    /// Keeps the counts of input `image`, row by row; none where it held NaN or infinity.
    fn keep(&self, image: usize, sums: Option<Vec<PairSums>>) {
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

impl WatchRows for Pairs {
    fn look_at_rows(&self, rows: &[Probabilities<'_>]) {
        if let Counted::Attention(counter) = &self.counted {
            counter.add(rows);
        }
    }

    fn end(&self, pool: &Pool, images: usize, operands: [(&[f32], &Geometry); 3]) {
        let Counted::Attention(counter) = &self.counted else { return };
        for (image, sums) in counter.count(pool, images, operands).into_iter().enumerate() {
            self.keep(image, sums.map(|phases| phases.into_iter().flatten().collect()));
        }
    }
}

pub(super) fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let Counted::Product(isa, spec) = &self.pairs.counted else { return };
        let whole =
            |which: usize| !partial.values[which].is_empty() && partial.filled[which] == partial.values[which].len();
        if whole(0) && whole(1) {
            let Partial { values: [a, b], .. } = held.remove(&place).expect("it was filled just now");
            drop(held);
            self.pairs.keep(place, spec.count(*isa, [&a, &b]).map(|sums| vec![sums]));
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
            weights: WeightSums {
                values: match self.detail().keeps_codes() {
                    true => ValueSums::new(layer.codings[1].map.codes()),
                    false => ValueSums::new(0).with_totals(true),
                },
                ..WeightSums::none(&shape, 0)
            },
            outputs,
            recurrent: None,
            pairs: Some(Products::default()),
            designs: Vec::new(),
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
        backend: &Backend,
        shapes: &[LayerShape],
        tallies: &[LayerTally],
        watchers: &mut Watchers<Counter>,
    ) -> Result<()> {
        let (encoder, has_terms, isa) = (self.settings().encoder, self.has_terms(), isa_of(backend));
        // Codes of second operands tell what weights do.
        let keeps_codes = [self.detail().keeps_codes(); 2];
        for ((layer, shape), tally) in self.layers.iter().zip(shapes).zip(tallies) {
            let place = &mut watchers.pairs[layer.node.index()];
            let counted = match model.graph.def(layer.node).layer {
                Layer::MatMul(MatMul { heads, .. }) => {
                    let maps = layer.codings.map(|coding| coding.map);
                    let shape = shape.clone();
                    Counted::Product(isa, PairSpec { shape, heads, maps, encoder, has_terms, keeps_codes })
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
                    let attention = of.shape;
                    let spec = AttentionSpec { attention, maps, encoder, isa, has_terms, keeps_codes, has_shares };
                    Counted::Attention(AttentionCounter::new(spec, phases, backend.watchers()))
                }
                _ => continue,
            };
            if shape.weight != tally.shape.weight {
                let detail = "multiplies activations whose extents differ from input to input: give inputs of one size";
                return Err(Error::shape(&layer.name, detail));
            }
            let pairs = Pairs::new(counted);
            *place = Some(std::array::from_fn(|which| PairOperand { pairs: Arc::clone(&pairs), which }));
        }
        Ok(())
    }
}
