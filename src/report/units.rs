//! Numbers as the table shows them: four digits and an SI prefix, percentages, `inf`. Machine formats do not use this.

/// Prefixes of powers of 1000.
const PREFIXES: [&str; 7] = ["", " k", " M", " G", " T", " P", " E"];

/// A count in four digits: `837`, `1.234 k`, `117.5 M`.
pub fn count(count: u64) -> String {
    scaled(count as f64, count.to_string())
}

/// A rate in four digits, as [`count`].
pub fn rate(per_second: f64) -> String {
    scaled(per_second, significant(per_second, 4))
}

fn scaled(value: f64, plain: String) -> String {
    if value < 1000.0 {
        return plain;
    }
    // The prefix is chosen by the rounded value: 999 999 is 1.000 M, not 1000 k.
    let (mut power, mut value) = (0, value);
    while value >= 999.95 && power + 1 < PREFIXES.len() {
        (power, value) = (power + 1, value / 1000.0);
    }
    format!("{}{}", significant(value, 4), PREFIXES[power])
}

/// A fraction as a percentage; `-` where there is none.
pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), |share| format!("{:.1}%", share * 100.0))
}

/// `value` in `digits` significant digits, without an exponent where that stays short.
pub fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-6..15).contains(&magnitude) {
        return format!("{value:.*e}", digits.max(1) as usize - 1);
    }
    let decimals = |magnitude: i32| (digits - 1 - magnitude).max(0) as usize;
    let text = format!("{value:.*}", decimals(magnitude));
    // Rounding up may have made one digit more: 9.9996 is 10.00, not 10.000.
    let rounded: f64 = text.parse().unwrap_or(value);
    if rounded.abs() >= 10f64.powi(magnitude + 1) { format!("{value:.*}", decimals(magnitude + 1)) } else { text }
}

/// A time in seconds with the unit that suits it.
pub fn seconds(seconds: f64) -> String {
    let (scale, unit) = match seconds {
        s if s >= 1.0 => (1.0, "s"),
        s if s >= 1e-3 => (1e3, "ms"),
        _ => (1e6, "us"),
    };
    format!("{} {unit}", significant(seconds * scale, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_four_digits() {
        let cases = [
            (0, "0"),
            (7, "7"),
            (999, "999"),
            (1000, "1.000 k"),
            (1234, "1.234 k"),
            (99_999, "100.0 k"),
            (117_500_000, "117.5 M"),
            (999_949, "999.9 k"),
            (999_999, "1.000 M"),
            (4_089_184_256, "4.089 G"),
            (u64::MAX, "18.45 E"),
        ];
        for (value, want) in cases {
            assert_eq!(count(value), want, "{value}");
        }
    }

    #[test]
    fn digits_that_count_are_kept() {
        let cases = [
            (0.0, "0"),
            (1.866, "1.87"),
            (12.34, "12.3"),
            (9.996, "10.0"),
            (130.4, "130"),
            (-0.01234, "-0.0123"),
            (2e-9, "2.00e-9"),
            (3e20, "3.00e20"),
            (f64::INFINITY, "inf"),
        ];
        for (value, want) in cases {
            assert_eq!(significant(value, 3), want, "{value}");
        }
    }

    #[test]
    fn shares_times_and_rates_have_units() {
        assert_eq!((share(Some(0.4567)), share(None)), ("45.7%".into(), "-".into()));
        assert_eq!([2.5, 0.0123, 0.00000071].map(seconds), ["2.500 s", "12.30 ms", "0.7100 us"]);
        assert_eq!([12.5, 3.2e10].map(rate), ["12.50", "32.00 G"]);
    }
}
