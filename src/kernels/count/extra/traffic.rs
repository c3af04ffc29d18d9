//! What schemes of compression need to know of an operand (METRICS section 6).

use super::{GROUP, Volume, group_width, nonzeros};

/// How many counts there are: values times the width of their group of 16; groups; non-zeros times the width of their group;
/// full runs of 16 zeros in the order channel, row, column; and non-zeros times widths again, of the differences to the left
/// neighbour.
pub const TRAFFIC: usize = 5;

/// Adds the counts of `volume`.
pub fn add_traffic(volume: Volume<'_>, counts: &mut [u64; TRAFFIC]) {
    let [values, groups, of_nonzeros, runs, of_changes] = counts;
    volume.for_each_group(|group| {
        let width = group_width(group);
        *values += group.len() as u64 * width;
        *groups += 1;
        *of_nonzeros += nonzeros(group) * width;
    });
    let zeros = volume.codes.split(|&code| code != 0);
    *runs += zeros.map(|zeros| (zeros.len() / GROUP) as u64).sum::<u64>();
    let differences = volume.differences(1);
    Volume::new(&differences, volume.extents).for_each_group(|group| {
        *of_changes += nonzeros(group) * group_width(group);
    });
}
