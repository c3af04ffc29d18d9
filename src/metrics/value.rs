//! Values of metrics, typed by how the values of several layers pool.

use crate::tally::Padding;

/// A ratio of two sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fraction {
    /// Sum above.
    pub numerator: u128,
    /// Sum below.
    pub denominator: u128,
}

impl Fraction {
    /// `numerator / denominator`.
    pub fn new(numerator: impl Into<u128>, denominator: impl Into<u128>) -> Self {
        Self { numerator: numerator.into(), denominator: denominator.into() }
    }

    /// The quotient: infinite where only the denominator is 0, none where both are.
    pub fn value(self) -> Option<f64> {
        match self {
            Self { numerator: 0, denominator: 0 } => None,
            Self { denominator: 0, .. } => Some(f64::INFINITY),
            Self { numerator, denominator } => Some(numerator as f64 / denominator as f64),
        }
    }

    fn add(self, other: Self) -> Self {
        Self::new(self.numerator + other.numerator, self.denominator + other.denominator)
    }
}

/// A metric's value, of one layer or pooled over several.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// How many; adds.
    Count(u128),
    /// A ratio of sums, each of which adds.
    Ratio(Fraction),
    /// A ratio of sums over MACs, with padding counted and without ([`Padding::BOTH`]).
    Work([Fraction; 2]),
    /// How many by number from 0; adds number by number.
    Histogram(Vec<u64>),
    /// How many by channel; channels of several layers are not the same ones, so it does not pool.
    PerChannel(Vec<u64>),
    /// The smallest of the pooled.
    Least(f64),
    /// The largest of the pooled.
    Most(f64),
    /// A number that is made of others in the end, and never pooled itself.
    Derived(f64),
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How many.
    Count,
    /// A ratio of sums.
    Ratio,
    /// A ratio of sums over MACs, with padding counted and without.
    Work,
    /// How many by number.
    Histogram,
    /// How many by channel.
    PerChannel,
    /// One number.
    Number,
}

impl Kind {
    /// How values of the kind pool, as `explain` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "a count, which adds",
            Self::Ratio => "a ratio of sums",
            Self::Work => "a ratio of sums, with padding counted and without",
            Self::Histogram => "a histogram, which adds place by place",
            Self::PerChannel => "counts by channel, which do not pool",
            Self::Number => "a number: extremes of extremes, others do not pool",
        }
    }
}

impl Value {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Count(_) => Kind::Count,
            Self::Ratio(_) => Kind::Ratio,
            Self::Work(_) => Kind::Work,
            Self::Histogram(_) => Kind::Histogram,
            Self::PerChannel(_) => Kind::PerChannel,
            Self::Least(_) | Self::Most(_) | Self::Derived(_) => Kind::Number,
        }
    }

    /// The one number that stands for it, if one does: that of ratios over MACs is with padding counted.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(*count as f64),
            Self::Ratio(fraction) => fraction.value(),
            Self::Work([with, _]) => with.value(),
            Self::Histogram(_) | Self::PerChannel(_) => None,
            Self::Least(value) | Self::Most(value) | Self::Derived(value) => Some(*value),
        }
    }

    /// The ratios that it holds, each with the name of its mode of padding if it has one.
    pub fn fractions(&self) -> Vec<(Option<Padding>, Fraction)> {
        match self {
            Self::Ratio(fraction) => vec![(None, *fraction)],
            Self::Work(modes) => Padding::BOTH.into_iter().map(Some).zip(*modes).collect(),
            _ => Vec::new(),
        }
    }

    /// Both as one; none where values of that kind do not pool, or are of different kinds.
    fn pooled(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Count(a), Self::Count(b)) => Self::Count(a + b),
            (Self::Ratio(a), Self::Ratio(b)) => Self::Ratio(a.add(*b)),
            (Self::Work(a), Self::Work(b)) => Self::Work([a[0].add(b[0]), a[1].add(b[1])]),
            (Self::Histogram(a), Self::Histogram(b)) => {
                let at = |histogram: &[u64], i: usize| histogram.get(i).copied().unwrap_or(0);
                Self::Histogram((0..a.len().max(b.len())).map(|i| at(a, i) + at(b, i)).collect())
            }
            (Self::Least(a), Self::Least(b)) => Self::Least(a.min(*b)),
            (Self::Most(a), Self::Most(b)) => Self::Most(a.max(*b)),
            _ => return None,
        })
    }
}

/// The values of several layers as one; none where one layer has none, or the kind does not pool.
pub fn pool<'a>(values: impl IntoIterator<Item = Option<&'a Value>>) -> Option<Value> {
    let mut values = values.into_iter();
    let first = values.next()??;
    if matches!(first, Value::PerChannel(_) | Value::Derived(_)) {
        return None;
    }
    values.try_fold(first.clone(), |sum, value| sum.pooled(value?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_pool_by_their_kind() {
        let ratio = |a: u64, b: u64| Value::Ratio(Fraction::new(a, b));
        let pooled = |a: Value, b: Value| pool([Some(&a), Some(&b)]);
        assert_eq!(pooled(Value::Count(2), Value::Count(3)), Some(Value::Count(5)));
        assert_eq!(pooled(ratio(1, 2), ratio(1, 6)), Some(ratio(2, 8)), "a ratio of sums, not a mean of ratios");
        assert_eq!(pooled(Value::Least(-1.0), Value::Least(2.0)), Some(Value::Least(-1.0)));
        assert_eq!(pooled(Value::Most(-1.0), Value::Most(2.0)), Some(Value::Most(2.0)));
        let histogram = |counts: &[u64]| Value::Histogram(counts.to_vec());
        assert_eq!(pooled(histogram(&[1, 2]), histogram(&[1, 2, 3])), Some(histogram(&[2, 4, 3])));
        assert_eq!(pooled(Value::Derived(1.0), Value::Derived(1.0)), None);
        assert_eq!(pool([Some(&Value::PerChannel(vec![1]))]), None, "not even of one layer");
        assert_eq!(pool([Some(&Value::Count(1)), None]), None, "a sum of what is known of some is of nothing");
        assert_eq!(pool([]), None);
    }

    #[test]
    fn quotients_are_finite_infinite_or_none() {
        let value = |a: u64, b: u64| Fraction::new(a, b).value();
        assert_eq!(
            (value(1, 2), value(1, 0), value(0, 0), value(0, 3)),
            (Some(0.5), Some(f64::INFINITY), None, Some(0.0))
        );
    }
}
