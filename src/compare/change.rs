//! What became of a figure: difference, ratio, and whether the difference is more than noise.

use crate::report::Figure;

/// What a difference is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The figures are equal.
    Same,
    /// They differ, and no interval says that it is by chance.
    Changed,
    /// They differ by no more than the 95 % interval of the difference reaches.
    Noise,
    /// One of the two is not known.
    Missing,
}

impl Verdict {
    /// Its name in machine formats.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Noise => "noise",
            Self::Missing => "missing",
        }
    }
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// New less old; none where one is not known or infinite.
    pub difference: Option<f64>,
    /// New over old: 1 where they are the same, infinite where only the old is 0 or only the new is infinite.
    pub ratio: Option<f64>,
    /// How far the 95 % interval of the difference reaches to either side, where both intervals are known.
    pub margin: Option<f64>,
    /// What the difference is taken for.
    pub verdict: Verdict,
}

impl Change {
    /// From `old` to `new`. With half widths `h` and `k` of their 95 % intervals that of the difference of two independent runs
    /// is √(h² + k²): standard errors add in squares. Two intervals that just touch are further apart than that, so whether they
    /// overlap is not the question.
    pub fn between(old: Option<&Figure>, new: Option<&Figure>) -> Self {
        let (Some(old), Some(new)) = (old, new) else {
            let verdict = if old.is_none() && new.is_none() { Verdict::Same } else { Verdict::Missing };
            return Self { difference: None, ratio: None, margin: None, verdict };
        };
        let half = |figure: &Figure| figure.interval.map(|interval| (interval.high - interval.low) / 2.0);
        let margin = half(old).zip(half(new)).map(|(own, other)| own.hypot(other));
        let difference = Some(new.number - old.number).filter(|difference| difference.is_finite());
        if old.is(new) {
            return Self { difference, ratio: Some(1.0), margin, verdict: Verdict::Same };
        }
        let is_noise = difference.zip(margin).is_some_and(|(difference, margin)| difference.abs() <= margin);
        let verdict = if is_noise { Verdict::Noise } else { Verdict::Changed };
        Self { difference, ratio: Some(new.number / old.number), margin, verdict }
    }

    /// Its relative size, |new − old| / |old|: what tolerances and thresholds are compared with.
    pub fn size(&self) -> f64 {
        self.ratio.map_or(0.0, |ratio| (ratio - 1.0).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Fraction, Interval};

    fn figure(number: f64, half: Option<f64>) -> Figure {
        let interval = half.map(|half| Interval { std: half, low: number - half, high: number + half });
        Figure { number, fraction: None, interval }
    }

    fn verdict(old: (f64, Option<f64>), new: (f64, Option<f64>)) -> Verdict {
        Change::between(Some(&figure(old.0, old.1)), Some(&figure(new.0, new.1))).verdict
    }

    #[test]
    fn a_difference_is_noise_within_the_root_of_the_sum_of_squares() {
        // Halves 3 and 4 make 5: 10 to 15 is noise, 10 to 15.25 is none though the intervals 7..13 and 11.25..19.25 overlap.
        assert_eq!(verdict((10.0, Some(3.0)), (15.0, Some(4.0))), Verdict::Noise);
        assert_eq!(verdict((10.0, Some(3.0)), (15.25, Some(4.0))), Verdict::Changed);
        assert_eq!(verdict((15.25, Some(4.0)), (10.0, Some(3.0))), Verdict::Changed);
        let change = Change::between(Some(&figure(10.0, Some(3.0))), Some(&figure(15.0, Some(4.0))));
        assert_eq!((change.difference, change.ratio, change.margin), (Some(5.0), Some(1.5), Some(5.0)));
        // Intervals of one point: any difference is one.
        assert_eq!(verdict((10.0, Some(0.0)), (10.0001, Some(0.0))), Verdict::Changed);
    }

    #[test]
    fn without_both_intervals_nothing_is_noise() {
        assert_eq!(verdict((10.0, None), (10.001, Some(4.0))), Verdict::Changed);
        assert_eq!(verdict((10.0, None), (10.001, None)), Verdict::Changed);
        assert_eq!(verdict((10.0, None), (10.0, Some(4.0))), Verdict::Same);
    }

    #[test]
    fn zeros_and_infinities_have_ratios() {
        let of = |old: f64, new: f64| {
            let change = Change::between(Some(&figure(old, None)), Some(&figure(new, None)));
            (change.difference, change.ratio, change.size())
        };
        let infinite = f64::INFINITY;
        assert_eq!(of(0.0, 2.0), (Some(2.0), Some(infinite), infinite));
        assert_eq!(of(0.0, 0.0), (Some(0.0), Some(1.0), 0.0));
        assert_eq!(of(infinite, infinite), (None, Some(1.0), 0.0));
        assert_eq!(of(infinite, 2.0), (None, Some(0.0), 1.0));
        assert_eq!(of(2.0, infinite), (None, Some(infinite), infinite));
        let missing = Change::between(None, Some(&figure(1.0, None)));
        assert_eq!((missing.verdict, missing.size()), (Verdict::Missing, 0.0));
        assert_eq!(Change::between(None, None).verdict, Verdict::Same);
        let exact = |numerator: u128| {
            let fraction = Fraction::new(numerator, 1_u8);
            Figure { number: fraction.value().unwrap(), fraction: Some(fraction), interval: None }
        };
        let (old, new) = (exact(1 << 60), exact((1 << 60) + 1));
        assert_eq!(Change::between(Some(&old), Some(&new)).verdict, Verdict::Changed, "by less than a double holds");
    }
}
