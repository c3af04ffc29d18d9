//! Whole operands, put together of the parts that are shown, for counts that cannot be made of parts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::kernels::count::extra::floats::{add_floats, float_counts};
use crate::kernels::{Geometry, LANES, Region};
use crate::probe::Origin;
use crate::tally::{Extra, ExtraSums, Manner};

/// The codes of an image, and how many of them are there.
struct Partial {
    codes: Vec<i32>,
    filled: usize,
}

/// Counts the whole images of an operand for each layer that reads it.
pub(super) struct Whole {
    /// `[C, H, W]` of an image.
    extents: [usize; 3],
    /// How each reader counts; their codes are the same.
    manners: Vec<Manner>,
    /// Value of one unit of what is shown, where values are counted as floats.
    unit: Option<f32>,
    /// By image of the batch.
    partial: Mutex<BTreeMap<usize, Partial>>,
    sums: Mutex<Vec<ExtraSums>>,
}

impl Whole {
    /// Of the readers that count as `readers` say, into these empty sums, and values in units of `unit`, if it is known, as floats; none
    /// where there is no reader.
    pub(super) fn new(readers: Vec<(Manner, ExtraSums)>, unit: Option<f32>) -> Option<Self> {
        let extents = readers.first()?.0.extents();
        let (manners, sums) = readers.into_iter().unzip();
        Some(Self { extents, manners, unit, partial: Mutex::default(), sums: Mutex::new(sums) })
    }

    /// Adds `region` of image `image` of `x`, which is at `origin`, as a watcher is shown it.
    pub(super) fn add(&self, x: &[f32], geometry: &Geometry, image: usize, region: &Region, origin: Origin) {
        let ([channels, rows, columns], map) = (self.extents, self.manners[0].map());
        let channels_here = region.blocks.start * LANES..(region.blocks.end * LANES).min(channels);
        if let Some(unit) = self.unit {
            let lines = channels_here.clone().flat_map(|channel| region.rows.clone().map(move |row| (channel, row)));
            let line = |(channel, row)| x[geometry.index(image, channel, row, 0)..].iter().step_by(geometry.lanes);
            let mut counts = vec![0; float_counts()];
            add_floats(lines.flat_map(|at| line(at).take(columns)).map(|x| x * unit), &mut counts);
            self.locked().iter_mut().for_each(|sums| sums.add_counts(Extra::Float, &counts));
        }
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = || Partial { codes: vec![0; channels * rows * columns], filled: 0 };
        let whole = partial.entry(origin.image + image).or_insert_with(empty);
        for channel in channels_here {
            for row in region.rows.clone() {
                let from = x[geometry.index(image, channel, row, 0)..].iter().step_by(geometry.lanes);
                let to = &mut whole.codes[(channel * rows + origin.row + row) * columns..][..columns];
                to.iter_mut().zip(from).for_each(|(to, x)| *to = map.code(*x));
                whole.filled += columns;
            }
        }
        if whole.filled < whole.codes.len() {
            return;
        }
        let whole = partial.remove(&(origin.image + image)).expect("it was filled just now");
        drop(partial);
        let mut added = self.locked().iter().map(ExtraSums::empty).collect::<Vec<_>>();
        for (sums, manner) in added.iter_mut().zip(&self.manners) {
            sums.add_image(manner, &whole.codes);
        }
        self.locked().iter_mut().zip(&added).for_each(|(sums, added)| sums.merge(added));
    }

    /// What was counted, one a reader.
    pub(super) fn into_sums(self) -> Vec<ExtraSums> {
        self.sums.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<ExtraSums>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
