//! Student's t distribution.

use std::f64::consts::PI;

/// The 0.975 quantile of the standard normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;
/// Degrees of freedom from which the expansion in their reciprocals is exact to 10 digits.
const MANY: u64 = 100;

/// The 0.975 quantile of Student's t distribution of `degrees` degrees of freedom: what a 95 % interval of a mean of
/// `degrees + 1` values extends to, in standard errors.
///
/// # Panics
/// Without a degree of freedom.
pub(super) fn quantile(degrees: u64) -> f64 {
    assert!(degrees > 0, "a value alone has no spread");
    let n = degrees as f64;
    if degrees >= MANY {
        // Abramowitz and Stegun, 26.7.5.
        let x = NORMAL;
        let of = |coefficients: &[f64]| coefficients.iter().fold(0.0, |sum, factor| sum * x * x + factor) * x;
        return x
            + of(&[1.0, 1.0]) / 4.0 / n
            + of(&[5.0, 16.0, 3.0]) / 96.0 / n.powi(2)
            + of(&[3.0, 19.0, 17.0, -15.0]) / 384.0 / n.powi(3)
            + of(&[79.0, 776.0, 1482.0, -1920.0, -945.0]) / 92160.0 / n.powi(4);
    }
    // The quantile of one degree is the largest.
    let (mut low, mut high) = (NORMAL, 13.0);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if within(middle, degrees) < 0.95 { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The probability of a value from −t to t (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn within(t: f64, degrees: u64) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    // 1 + 1/2·cos² + 1·3/(2·4)·cos⁴ ..., or cos + 2/3·cos³ + 2·4/(3·5)·cos⁵ ...
    let odd = degrees % 2;
    let (mut term, mut sum) = (if odd == 1 { cos } else { 1.0 }, 0.0);
    for k in (2 + odd..=degrees).step_by(2) {
        sum += term;
        term *= cos * cos * (k - 1) as f64 / k as f64;
    }
    if odd == 1 { (angle + sin * sum) * 2.0 / PI } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_published_tables() {
        let table = [
            (1, 12.706_204_736),
            (2, 4.302_652_730),
            (3, 3.182_446_305),
            (5, 2.570_581_836),
            (10, 2.228_138_852),
            (30, 2.042_272_456),
            (99, 1.984_216_952),
            (100, 1.983_971_519),
            (1000, 1.962_339_081),
        ];
        for (degrees, want) in table {
            let got = quantile(degrees);
            assert!((got - want).abs() < 2e-9, "{degrees}: {got}, not {want}");
        }
        assert!(quantile(u64::MAX) == NORMAL);
        assert!((2..2000).all(|degrees| quantile(degrees) < quantile(degrees - 1)), "narrower with each degree");
    }
}
