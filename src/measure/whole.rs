//! Whole images of an operand, assembled from the regions that a probe is shown: for counts that need more than one region.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::kernels::count::CodeMap;
use crate::kernels::count::extra::floats::{add_floats, float_counts};
use crate::kernels::{Geometry, LANES, Region};
use crate::probe::Origin;
use crate::tally::{Extra, ExtraSums, OperandSpec};

/// The codes of an image that is being assembled, and how many of them are set.
struct Partial {
    codes: Vec<i32>,
    filled: usize,
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
    /// The float value of 1 in what the probe is shown, where values are counted as floats.
    unit: Option<f32>,
    sums: Mutex<Vec<ExtraSums>>,
}

impl WholeImages {
    /// Of an operand that `readers` read: what each counts, and its empty sums. With `unit`, values are counted as floats too.
    /// None where no layer reads it.
    pub(super) fn new(readers: Vec<(OperandSpec, ExtraSums)>, unit: Option<f32>) -> Option<Self> {
        let first = &readers.first()?.0;
        let assembly = Assembly::new(first.extents(), first.map());
        let (specs, sums) = readers.into_iter().unzip();
        Some(Self { assembly, specs, unit, sums: Mutex::new(sums) })
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
        let mut added = self.locked().iter().map(ExtraSums::empty).collect::<Vec<_>>();
        for (sums, spec) in added.iter_mut().zip(&self.specs) {
            sums.add_image(spec, &codes);
        }
        self.locked().iter_mut().zip(&added).for_each(|(sums, added)| sums.merge(added));
    }

    /// The counts, one a layer that reads the operand.
    pub(super) fn into_sums(self) -> Vec<ExtraSums> {
        self.sums.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<ExtraSums>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
