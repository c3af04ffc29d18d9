//! What differences along rows cost where taps read them (METRICS section 7, Diffy).

use super::Volume;
use crate::kernels::count::{Classes, Encoder};

/// Adds to `counts`, `[channel][R][S]`, the terms of the differences that each tap reads over all windows, and how many of them
/// are not zero. A difference is that to the code `distance` columns to the left; the first `distance` of a row are read raw.
pub fn add_changes(
    volume: Volume<'_>,
    distance: usize,
    encoder: Encoder,
    classes: &[Classes; 2],
    counts: &mut [[u64; 2]],
) {
    let [_, rows, columns] = volume.extents;
    let [of_rows, of_columns] = classes;
    let differences = volume.differences(distance);
    let taps = [of_rows, of_columns].map(|axis| axis.visits.len());
    let planes = differences.chunks_exact((rows * columns).max(1));
    for (plane, counts) in planes.zip(counts.chunks_exact_mut(taps[0] * taps[1])) {
        // By class first: positions of a class are read by the same taps.
        let mut sums = vec![[0, 0]; of_rows.len() * of_columns.len()];
        for (i, difference) in plane.iter().enumerate() {
            let class = [of_rows.of[i / columns], of_columns.of[i % columns]].map(usize::from);
            let sum = &mut sums[class[0] * of_columns.len() + class[1]];
            sum[0] += u64::from(encoder.terms_of_change(difference.unsigned_abs()));
            sum[1] += u64::from(*difference != 0);
        }
        for (class, sum) in sums.iter().enumerate() {
            let reads = [&of_rows.taps[class / of_columns.len()], &of_columns.taps[class % of_columns.len()]];
            for (tap, count) in counts.iter_mut().enumerate() {
                if reads[0][tap / taps[1]] && reads[1][tap % taps[1]] {
                    count.iter_mut().zip(sum).for_each(|(count, sum)| *count += sum);
                }
            }
        }
    }
}
