//! How the probabilities of a query are shared out over its keys (METRICS section 7).

/// Integers of [`of_row`].
pub(super) const COUNTS: usize = 6;

/// Of the counts of probabilities, those that are of their queries and keys too: how many pairs there are, and how many are dead.
pub(super) fn of_scores(counts: &[u64]) -> Vec<u64> {
    let last = counts.len().saturating_sub(1);
    counts.iter().enumerate().map(|(i, count)| if i == 0 || i == last { *count } else { 0 }).collect()
}

/// Of the probabilities of one query: how many there are, how many are below 1/256 and below 1/1024 of the largest, how many of the
/// largest ones make up 90 % and 99 % of their sum, and, as given, how many are `dead`: their codes are 0.
pub(super) fn of_row(probabilities: &[f32], dead: usize) -> [u64; COUNTS] {
    let mut falling = probabilities.to_vec();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    let largest = falling.first().copied().unwrap_or_default();
    let below = |share: f32| falling.iter().filter(|p| **p < largest * share).count();
    // Equal values are interchangeable, so the order of the sum is one.
    let total: f64 = falling.iter().map(|p| f64::from(*p)).sum();
    let keys = |share: f64| {
        let mut sum = 0.0;
        let enough = falling.iter().position(|p| {
            sum += f64::from(*p);
            sum >= total * share
        });
        enough.map_or(0, |last| last + 1)
    };
    [falling.len(), below(1.0 / 256.0), below(1.0 / 1024.0), keys(0.9), keys(0.99), dead].map(|count| count as u64)
}

#[cfg(test)]
mod tests {
    use super::of_row;

    #[test]
    fn a_row_worked_by_hand() {
        // The largest is 0.5: 0.001 is below a 256th of it (0.00195), 0.0004 below a 1024th (0.00049).
        let row = [0.0004, 0.5, 0.0986, 0.001, 0.4];
        assert_eq!(of_row(&row, 2), [5, 2, 1, 2, 3, 2]);
        assert_eq!(of_row(&[1.0], 0), [1, 0, 0, 1, 1, 0]);
        assert_eq!(of_row(&[0.25; 4], 0), [4, 0, 0, 4, 4, 0]);
        assert_eq!(of_row(&[], 0), [0; 6]);
    }
}
