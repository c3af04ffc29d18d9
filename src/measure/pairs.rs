//! Products of two activations: whole inputs of both operands are assembled from the regions that a probe is shown, and counted
//! together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::calibrate::Calibration;
use super::layers::{MeasuredLayer, heads};
use super::record::Watchers;
use crate::kernels::count::Counter;
use crate::kernels::{Geometry, Isa, LANES, Region};
use crate::model::Model;
use crate::probe::{Origin, Watch};
use crate::tally::{
    ActivationSums, ExtraSums, InputCounts, LayerShape, LayerTally, PairSpec, PairSums, Products, WeightSums,
};
use crate::{Error, Result};

/// Both operands of an input, as far as they were shown.
#[derive(Default)]
struct Partial {
    values: [Vec<f32>; 2],
    filled: [usize; 2],
}

/// Counts one product.
pub(super) struct Pairs {
    isa: Isa,
    spec: PairSpec,
    partial: Mutex<BTreeMap<usize, Partial>>,
    /// Counts of the inputs that ran together last, by their place in the batch.
    inputs: Mutex<BTreeMap<usize, InputCounts>>,
    sums: Mutex<Option<PairSums>>,
    /// Lowest image of the batch that held NaN or infinity; `usize::MAX` where none did.
    bad_image: AtomicUsize,
}

impl Pairs {
    pub fn new(isa: Isa, spec: PairSpec) -> Arc<Self> {
        let bad_image = AtomicUsize::new(usize::MAX);
        let (partial, inputs, sums) = Default::default();
        Arc::new(Self { isa, spec, partial, inputs, sums, bad_image })
    }

    /// How it is counted.
    pub fn spec(&self) -> &PairSpec {
        &self.spec
    }

    /// Takes out the counts of each of `inputs` inputs that ran together.
    pub fn take_inputs(&self, inputs: usize) -> Vec<InputCounts> {
        let mut counted = std::mem::take(&mut *locked(&self.inputs));
        (0..inputs).map(|input| counted.remove(&input).unwrap_or_default()).collect()
    }

    /// Takes out the counts of all inputs; none of no input.
    pub fn take_sums(&self) -> Option<PairSums> {
        locked(&self.sums).take()
    }

    /// Lowest image of the batch that held NaN or infinity; `usize::MAX` where none did.
    pub fn bad_image(&self) -> usize {
        self.bad_image.load(Ordering::Relaxed)
    }

    /// Counts input `image`.
    fn count(&self, image: usize, values: &[Vec<f32>; 2]) {
        let Some(sums) = self.spec.count(self.isa, values.each_ref().map(Vec::as_slice)) else {
            self.bad_image.fetch_min(image, Ordering::Relaxed);
            return;
        };
        locked(&self.inputs).insert(image, sums.of_input());
        match &mut *locked(&self.sums) {
            Some(all) => all.merge(&sums),
            none => *none = Some(sums),
        }
    }
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches one operand of a product.
pub(super) struct PairOperand {
    pub pairs: Arc<Pairs>,
    /// 0 or 1.
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
        if whole(0) && whole(1) {
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
            activations: ActivationSums::new(&shape, 0),
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
        for ((layer, shape), tally) in self.layers.iter().zip(shapes).zip(tallies) {
            let Some(heads) = heads(&model.graph, layer) else { continue };
            if shape.weight != tally.shape.weight {
                let detail = "multiplies activations whose extents differ from input to input: give inputs of one size";
                return Err(Error::shape(&layer.name, detail));
            }
            let maps = layer.codings.map(|coding| coding.map);
            let (encoder, has_terms) = (self.settings().encoder, self.has_terms());
            let pairs = Pairs::new(isa, PairSpec { shape: shape.clone(), heads, maps, encoder, has_terms });
            let operands = [0, 1].map(|which| PairOperand { pairs: Arc::clone(&pairs), which });
            watchers.pairs[layer.node.index()] = Some(operands);
        }
        Ok(())
    }
}
