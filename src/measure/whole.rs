//! Whole images of an operand, assembled from the regions that a probe is shown: for counts that need more than one region.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::calibrate::Calibration;
use super::codes::codes_of_filters;
use super::designs::DesignRuns;
use super::layers::{filters, weights};
use super::operands::Operands;
use crate::designs::Layer;
use crate::designs::terms::Terms;
use crate::kernels::count::CodeMap;
use crate::kernels::count::extra::floats::{add_floats, float_counts};
use crate::kernels::{Geometry, LANES, Region};
use crate::model::Model;
use crate::probe::Origin;
use crate::tally::{DesignCounts, Extra, ExtraSums, OperandSpec};

/// The codes of an image that is being assembled, and how many of them are set.
struct Partial {
    codes: Vec<i32>,
    filled: usize,
}

/// A layer that reads the operand: how the operand is counted, its empty sums, and the designs that run it.
pub(super) struct Reader {
    pub spec: OperandSpec,
    pub sums: ExtraSums,
    pub designs: Option<DesignRuns>,
}

/// What was counted for a layer that reads an operand: on-demand counts, and what designs counted.
#[derive(Default)]
pub(super) struct Counted {
    pub extra: ExtraSums,
    pub designs: Vec<DesignCounts>,
}

/// Images of an operand that are assembled.
pub(super) struct Assembly {
    /// `[C, H, W]` of an image.
    extents: [usize; 3],
    map: CodeMap,
    /// Images that are not complete yet, by their place in the batch.
    partial: Mutex<BTreeMap<usize, Partial>>,
}

impl Assembly {
    /// Of images of `extents`, `[C, H, W]`, in codes of `map`.
    pub(super) fn new(extents: [usize; 3], map: CodeMap) -> Self {
        Self { extents, map, partial: Mutex::default() }
    }

    /// Adds `region` of image `image` of `x`, which is at `origin` of the batch; the codes of the image, if that completes it.
    pub(super) fn add(
        &self,
        x: &[f32],
        geometry: &Geometry,
        image: usize,
        region: &Region,
        origin: Origin,
    ) -> Option<Vec<i32>> {
        let [channels, rows, columns] = self.extents;
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = || Partial { codes: vec![0; channels * rows * columns], filled: 0 };
        let whole = partial.entry(origin.image + image).or_insert_with(empty);
        for channel in region.blocks.start * LANES..(region.blocks.end * LANES).min(channels) {
            for row in region.rows.clone() {
                let from = x[geometry.index(image, channel, row, 0)..].iter().step_by(geometry.lanes);
                let to = &mut whole.codes[(channel * rows + origin.row + row) * columns..][..columns];
                to.iter_mut().zip(from).for_each(|(to, x)| *to = self.map.code(*x));
                whole.filled += columns;
            }
        }
        if whole.filled < whole.codes.len() {
            return None;
        }
        partial.remove(&(origin.image + image)).map(|whole| whole.codes)
    }
}

/// Assembles the images of an operand, and counts each for every layer that reads the operand.
pub(super) struct WholeImages {
    assembly: Assembly,
    /// One a layer that reads the operand; all have the same codes.
    specs: Vec<OperandSpec>,
    /// Of each of them, the designs that run it.
    designs: Vec<Option<DesignRuns>>,
    /// The float value of 1 in what the probe is shown, where values are counted as floats.
    unit: Option<f32>,
    sums: Mutex<Vec<ExtraSums>>,
}

impl WholeImages {
    /// Of an operand that `readers` read. With `unit`, values are counted as floats too.
    /// None where no layer reads it.
    pub(super) fn new(readers: Vec<Reader>, unit: Option<f32>) -> Option<Self> {
        let first = &readers.first()?.spec;
        let assembly = Assembly::new(first.extents(), first.map());
        let (mut specs, mut sums, mut designs) = (Vec::new(), Vec::new(), Vec::new());
        for reader in readers {
            specs.push(reader.spec);
            sums.push(reader.sums);
            designs.push(reader.designs);
        }
        Some(Self { assembly, specs, designs, unit, sums: Mutex::new(sums) })
    }

    /// Adds `region` of image `image` of `x`, which is at `origin` of the batch; counts the image if that completes it.
    pub(super) fn add(&self, x: &[f32], geometry: &Geometry, image: usize, region: &Region, origin: Origin) {
        let [channels, _, columns] = self.assembly.extents;
        if let Some(unit) = self.unit {
            let here = region.blocks.start * LANES..(region.blocks.end * LANES).min(channels);
            let lines = here.flat_map(|channel| region.rows.clone().map(move |row| (channel, row)));
            let line = |(channel, row)| x[geometry.index(image, channel, row, 0)..].iter().step_by(geometry.lanes);
            let mut counts = vec![0; float_counts()];
            add_floats(lines.flat_map(|at| line(at).take(columns)).map(|x| x * unit), &mut counts);
            self.locked().iter_mut().for_each(|sums| sums.add_counts(Extra::Float, &counts));
        }
        let Some(codes) = self.assembly.add(x, geometry, image, region, origin) else { return };
        self.designs.iter().flatten().for_each(|designs| designs.add(&codes));
        let mut added = self.locked().iter().map(ExtraSums::empty).collect::<Vec<_>>();
        for (sums, spec) in added.iter_mut().zip(&self.specs) {
            sums.add_image(spec, &codes);
        }
        self.locked().iter_mut().zip(&added).for_each(|(sums, added)| sums.merge(added));
    }

    /// The counts, one a layer that reads the operand.
    pub(super) fn into_counts(self) -> Vec<Counted> {
        let sums = self.sums.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter();
        let designs = self.designs.into_iter().map(|designs| designs.map(DesignRuns::into_counts).unwrap_or_default());
        sums.zip(designs).map(|(extra, designs)| Counted { extra, designs }).collect()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<ExtraSums>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calibration {
    /// Assembles whole images of the operand that layer `first` is the first to read, if on-demand counts or designs need them.
    pub(super) fn whole(
        &self,
        model: &Model,
        operands: &Operands,
        first: usize,
        terms: Option<&Arc<Terms>>,
    ) -> Option<WholeImages> {
        let extras = &self.settings().extra;
        let reader = |reader: usize| {
            let shape = operands.shapes[reader].clone();
            let designs = terms.map(|terms| {
                let codes = self.weight_codes(model, reader);
                let layer = &self.layers[reader];
                // Words of a precision file are those that hold its bits.
                let words = layer.codings.map(|of| of.width.map_or_else(|| of.word(), u32::next_power_of_two));
                let is_serial = model.graph.def(layer.node).layer.recurrence().is_some();
                let layer = Layer::new(&shape, &codes, words, terms, is_serial);
                DesignRuns::new(layer, self.settings().sample.map(|sample| (sample, reader)), &self.settings().designs)
            });
            let sums = ExtraSums::new(extras, &shape, 0);
            Reader { spec: self.spec(reader, 0, shape), sums, designs }
        };
        let unit = self.unit(first, 0);
        (!extras.is_empty() || terms.is_some())
            .then(|| operands.readers(first).map(reader).collect())
            .and_then(|readers| WholeImages::new(readers, unit))
    }

    /// The codes of the weights of layer `i`, filters outermost.
    pub(super) fn weight_codes(&self, model: &Model, i: usize) -> Vec<i32> {
        let (layer, format) = (&self.layers[i], self.settings().format.weights);
        let values = weights(&model.graph, layer, format);
        let maps = format.weight_maps(&layer.codings[1], &values, filters(&model.graph, layer));
        codes_of_filters(&values, &maps)
    }
}
