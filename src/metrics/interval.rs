//! Confidence intervals of ratios of sums, the inputs being a sample of inputs of their kind.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::student;
use crate::tally::Moments;

/// Standard deviation of a ratio over inputs, and the confidence interval of the ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Standard deviation over inputs of N/D, each weighed by its denominator.
    pub std: f64,
    /// Lower bound of the 95 % interval.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    /// Of the ratio R = ΣN/ΣD over so many inputs: R ± t(n−1)·√v with v = Σ(N − R·D)² / (ΣD)² · n/(n−1), and a standard
    /// deviation of √(n·v). None of fewer than two inputs, or if ΣD is 0.
    pub fn of(moments: &Moments, inputs: u64) -> Option<Self> {
        Self::with(moments, inputs, Self::half_width(inputs)?)
    }

    /// t(n−1) of so many inputs: half the width of an interval in standard errors. None of fewer than two inputs.
    pub fn half_width(inputs: u64) -> Option<f64> {
        (inputs >= 2).then(|| student::quantile(inputs - 1))
    }

    /// [`Interval::of`] where t(n−1) of `inputs` inputs is known, which takes as long as all else.
    pub fn with(moments: &Moments, inputs: u64, t: f64) -> Option<Self> {
        if moments.d == 0 {
            return None;
        }
        let [n, d, nn, nd, dd] = moments.integers().map(BigInt::from);
        // Σ(N − R·D)² = (ΣN²·(ΣD)² − 2·ΣN·ΣD·ΣN·D + (ΣN)²·ΣD²) / (ΣD)²: exact, for the terms nearly cancel.
        let residuals = nn * &d * &d - BigInt::from(2) * &n * &d * nd + &n * &n * dd;
        let (ratio, below) = (moments.n as f64 / moments.d as f64, moments.d as f64);
        // Moments that a file made up may give a negative sum.
        let root = residuals.to_f64()?.max(0.0).sqrt() / below / below;
        let count = inputs as f64;
        let error = root * (count / (count - 1.0)).sqrt();
        let half = t * error;
        Some(Self { std: error * count.sqrt(), low: ratio - half, high: ratio + half })
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn of(inputs: &[(u64, u64)]) -> Option<Interval> {
        let mut moments = Moments::default();
        inputs.iter().for_each(|&(n, d)| moments.add(n.into(), d.into()));
        Interval::of(&moments, inputs.len() as u64)
    }

    #[test]
    fn equal_denominators_give_the_interval_of_a_mean() {
        // 1, 2 and 4 of 8: mean 7/24, standard deviation of 1/8, 2/8, 4/8.
        let interval = of(&[(1, 8), (2, 8), (4, 8)]).unwrap();
        let (mean, values) = (7.0 / 24.0, [0.125, 0.25, 0.5]);
        let std = (values.iter().map(|value: &f64| (value - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        let half = 4.302_652_730 * std / 3.0_f64.sqrt();
        for (got, want) in [(interval.std, std), (interval.low, mean - half), (interval.high, mean + half)] {
            assert!((got - want).abs() < 1e-9, "{got}, not {want}");
        }
    }

    #[test]
    fn what_all_inputs_share_is_sure_and_one_input_says_nothing() {
        let third = (1 << 50, 3 << 50);
        assert_eq!(of(&[third; 5]), Some(Interval { std: 0.0, low: 1.0 / 3.0, high: 1.0 / 3.0 }));
        assert_eq!((of(&[third]), of(&[]), of(&[(3, 0), (1, 0)])), (None, None, None));
    }

    /// 1,000 draws of 50 inputs whose sizes differ and whose shares depend on their sizes: 93 to 97 % of the intervals hold
    /// the truth.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let mut input = || {
            let below = random.random_range(500..2000_u64);
            // The share rises with the size, from about 0.2 to 0.6, and varies by 0.15 up and down.
            let share = 0.2 + 0.4 * (below - 500) as f64 / 1500.0 + random.random_range(-0.15..0.15);
            ((below as f64 * share) as u64, below)
        };
        let (n, d) = (0..4_000_000).map(|_| input()).fold((0, 0), |sum, (n, d)| (sum.0 + n, sum.1 + d));
        let truth = n as f64 / d as f64;
        let hold = |_: &i32| {
            let interval = of(&(0..50).map(|_| input()).collect::<Vec<_>>()).unwrap();
            interval.low <= truth && truth <= interval.high
        };
        let held = (0..1000).filter(hold).count();
        assert!((930..=970).contains(&held), "{held} of 1000");
    }
}
