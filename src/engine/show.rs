//! Showing values to watchers while the native engine runs.

use std::ops::Range;

use crate::kernels::{Exec, Geometry, Share};
use crate::probe::{Origin, Watch};

/// Calls the watcher with the hidden values that each step of a recurrence has read: `first` from the initial state of an
/// image, at `column` (the first column or, in reverse, the last), then the outputs of all steps but the last.
pub(super) fn show_read(
    exec: &Exec<'_>,
    watch: &dyn Watch,
    first: &(dyn Fn(usize) -> Vec<f32> + Sync),
    column: usize,
    (y, geometry, images): (&[f32], &Geometry, usize),
) {
    let one = Geometry { n: 1, ..*geometry };
    // Each step reads the output of the step before: the columns but the last, shifted one to the right; in reverse, the
    // columns but the first, shifted to the left. A single step has none.
    let (written, next) = if column == 0 { (0, 1) } else { (1, 0) };
    exec.pool.for_each_task(images, |worker, image| {
        let mut read = vec![0.0; one.len()];
        for (c, value) in first(image).into_iter().enumerate() {
            read[one.index(0, c, 0, column)] = value;
        }
        for block in 0..one.blocks() {
            let (from, to) = (geometry.at(image, block, 0, written), one.at(0, block, 0, next));
            let columns = (one.w - 1) * one.lanes;
            read[to..to + columns].copy_from_slice(&y[from..from + columns]);
        }
        watch.look(worker, &read, &one, 0, one.rows(0..1), Origin { image, row: 0 });
    });
}

/// Shows a whole value to `watch`: of a part of an image the rows that it owns, from row `first` of the image on.
pub(super) fn show_own(
    exec: &Exec<'_>,
    watch: &dyn Watch,
    (x, geometry): (&[f32], &Geometry),
    images: usize,
    part: Option<(usize, Range<usize>)>,
) {
    let (row, rows) = part.unwrap_or((0, 0..geometry.h));
    exec.pool.for_each_task(images, |worker, image| {
        watch.look(worker, x, geometry, image, geometry.rows(rows.clone()), Origin { image: 0, row });
    });
}

/// Calls the watcher with this task's share of all images; for a part `(first, owned)` with the rows it owns.
pub(super) fn show(
    share: Share,
    watch: &dyn Watch,
    x: &[f32],
    geometry: &Geometry,
    (images, part): (usize, Option<&(usize, Range<usize>)>),
) {
    let (rows, origin) = match part {
        Some((first, owned)) => (owned.clone(), Origin { image: 0, row: *first }),
        None => (0..geometry.h, Origin::default()),
    };
    for (image, region) in share.regions(geometry, images, rows) {
        watch.look(share.worker, x, geometry, image, region, origin);
    }
}
