//! Baselines: figures that may not differ from those of an earlier run by more than a tolerance.

use crate::Result;
use crate::compare::{Change, Comparison, Side, Verdict, amount, precise_in};
use crate::report::Figure;
use crate::report::columns::Column;
use crate::report::units;

/// Most figures that are named.
const LISTED: usize = 40;

/// How far a figure may be from the baseline's: a share of the latter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance(f64);

impl Tolerance {
    /// Parses a percentage; `0` is exact.
    ///
    /// # Errors
    /// What one looks like.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let number = match text.strip_suffix('%') {
            Some(number) => number.trim_end().parse::<f64>().ok(),
            None => text.parse::<f64>().ok().filter(|number| *number == 0.0),
        };
        let share = number.filter(|number| (0.0..=100.0).contains(number)).map(|number| number / 100.0);
        share.map(Self).ok_or("give a percentage of the baseline's figure from 0% to 100%, e.g. 0.5%")
    }

    /// Whether a figure that was `old` stays within it by `change`: |new − old| ≤ tolerance · |old|. Of an old figure of 0 or infinity
    /// only the same does.
    pub fn allows(self, old: Option<&Figure>, change: &Change) -> bool {
        let most = old.map_or(0.0, |old| self.0 * old.number.abs());
        match change.verdict {
            Verdict::Same => true,
            Verdict::Missing => false,
            Verdict::Changed | Verdict::Noise => change.difference.is_some_and(|difference| difference.abs() <= most),
        }
    }
}

/// Compares `columns` of `run` with those of `baseline`. Returns the figures that differ by more than `tolerance`, each in a line, and
/// the comparison.
///
/// # Errors
/// As [`Comparison::new`].
pub fn deviations(
    baseline: Side,
    run: Side,
    columns: &[Column],
    tolerance: Tolerance,
) -> Result<(Vec<String>, Comparison)> {
    let comparison = Comparison::new(vec![baseline, run], columns)?;
    let sides = &comparison.sides;
    let mut failed = Vec::new();
    for (side, other, names) in
        [(&sides[0], &sides[1], &comparison.only[0]), (&sides[1], &sides[0], &comparison.only[1])]
    {
        failed.extend(names.iter().map(|name| format!("{name} is a layer of {}, not of {}", side.file, other.file)));
    }
    for row in &comparison.rows {
        let change = &row.changes[0];
        if tolerance.allows(row.figures[0].as_ref(), change) {
            continue;
        }
        let column = &comparison.columns[row.column];
        let shown = |at: usize| row.figures[at].map_or("nothing".into(), |of| precise_in(column, of.number));
        let by = change.difference.map_or_else(String::new, |difference| {
            let share = match change.size() {
                size if size.is_finite() => format!(" ({}%)", units::significant(size * 100.0, 3)),
                _ => String::new(),
            };
            format!(", off by {}{share}", amount(column, difference))
        });
        failed.push(format!("{}.{} is {}, the baseline {}{by}", row.layer, column.name, shown(1), shown(0)));
    }
    if failed.len() > LISTED {
        let more = failed.len() - LISTED;
        failed.truncate(LISTED);
        failed.push(format!("and {more} more: `deadweight compare` lists all"));
    }
    Ok((failed, comparison))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_shares_of_the_old_figure() {
        let figure = |number| Figure { number, fraction: None, interval: None };
        let allows = |tolerance: &str, old: f64, new: f64| {
            let old = figure(old);
            let change = Change::between(Some(&old), Some(&figure(new)));
            Tolerance::parse(tolerance).unwrap().allows(Some(&old), &change)
        };
        assert!(allows("1%", 200.0, 202.0) && allows("1%", 200.0, 198.0) && !allows("1%", 200.0, 202.1));
        assert!(allows("1%", -200.0, -202.0) && !allows("1%", -200.0, -203.0));
        assert!(allows("0", 0.1, 0.1) && !allows("0", 0.1, 0.1 + f64::EPSILON) && allows("0%", 0.0, 0.0));
        assert!(!allows("100%", 0.0, 1e-9) && allows("50%", f64::INFINITY, f64::INFINITY));
        assert!(!allows("100%", f64::INFINITY, 3.0) && !allows("100%", 3.0, f64::INFINITY));
        let missing = Change::between(None, Some(&figure(1.0)));
        assert!(!Tolerance::parse("100%").unwrap().allows(None, &missing));
    }

    #[test]
    fn what_is_no_tolerance_is_refused() {
        for text in ["1", "0.01", "-1%", "101%", "%", "", "nan%", "x%"] {
            assert!(Tolerance::parse(text).is_err(), "{text}");
        }
        assert_eq!(Tolerance::parse("0.5 %"), Ok(Tolerance(0.005)));
    }
}
