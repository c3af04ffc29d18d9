//! Comparison of two implementations in interleaved rounds, so that a disturbance affects both.

use std::time::{Duration, Instant};

use crate::Result;

/// Times of both, round by round.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Time of the first in each round.
    pub base: Vec<Duration>,
    /// Time of the second in the same round.
    pub other: Vec<Duration>,
}

impl Comparison {
    /// Runs both once untimed, then `rounds` rounds of both; the order alternates.
    ///
    /// # Errors
    /// The first error of either.
    pub fn run(
        rounds: usize,
        mut base: impl FnMut() -> Result<()>,
        mut other: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let mut comparison = Self::default();
        base()?;
        other()?;
        for round in 0..rounds {
            if round % 2 == 0 {
                comparison.base.push(time(&mut base)?);
                comparison.other.push(time(&mut other)?);
            } else {
                comparison.other.push(time(&mut other)?);
                comparison.base.push(time(&mut base)?);
            }
        }
        Ok(comparison)
    }

    /// `other / base` of each round.
    pub fn ratios(&self) -> Vec<f64> {
        self.other.iter().zip(&self.base).map(|(other, base)| other.as_secs_f64() / base.as_secs_f64()).collect()
    }

    /// Median of the rounds' ratios, with its quartiles: `[lower, median, upper]`.
    pub fn ratio(&self) -> [f64; 3] {
        quartiles(self.ratios())
    }
}

fn time(f: &mut impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    f()?;
    Ok(start.elapsed())
}

/// Lower quartile, median, upper quartile, each interpolated between neighbours; NaN if there are no values.
pub fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|q| {
        let at = q * (values.len().max(1) - 1) as f64;
        let (low, high) = (values.get(at.floor() as usize), values.get(at.ceil() as usize));
        low.zip(high).map_or(f64::NAN, |(low, high)| low + (high - low) * at.fract())
    })
}

/// Median of durations; zero where there are none.
pub fn median(times: &[Duration]) -> Duration {
    let [_, median, _] = quartiles(times.iter().map(Duration::as_secs_f64).collect());
    if median.is_nan() { Duration::ZERO } else { Duration::from_secs_f64(median) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_interpolate() {
        assert_eq!(quartiles(vec![4.0, 1.0, 3.0, 2.0]), [1.75, 2.5, 3.25]);
        assert_eq!(quartiles(vec![7.0]), [7.0; 3]);
        assert!(quartiles(vec![])[1].is_nan());
    }

    #[test]
    fn rounds_pair_up_and_an_error_stops_them() {
        let count = std::cell::Cell::new(0);
        let tick = || {
            count.set(count.get() + 1);
            Ok(())
        };
        let comparison = Comparison::run(5, tick, tick).unwrap();
        assert_eq!((comparison.base.len(), comparison.other.len(), count.get()), (5, 5, 12));
        assert!(Comparison::run(5, || Err(crate::Error::Interrupted), tick).is_err());
    }
}
