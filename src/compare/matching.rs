//! Which layer of one network is which of another: by name, and by name behind a prefix that one of the two has.

use std::collections::BTreeMap;

/// Layers of another network for those of the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// Of each layer of the base, the place of the other's; none where it has none.
    pub places: Vec<Option<usize>>,
    /// What stands before the names of one of the two, if some were matched without it.
    pub prefix: Option<Prefix>,
}

/// What one of two networks has before names that the other has without it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// Whether the base has it, or the other.
    pub of_base: bool,
    /// With its dot.
    pub text: String,
}

/// Matches names that are the same; then, of those left over, names that are the same behind the one prefix that matches most.
/// Where two prefixes match equally many, nobody knows which is meant, and none is taken.
pub fn matched(base: &[&str], other: &[&str]) -> Matching {
    let mut places = vec![None; base.len()];
    match_by(base, other, &mut places, |own, other| own == other);
    let free = (0..other.len()).filter(|at| !places.contains(&Some(*at))).map(|at| other[at]);
    let left: Vec<&str> = base.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(own, _)| *own).collect();
    let mut counts: BTreeMap<Prefix, usize> = BTreeMap::new();
    for other in free {
        let prefixes = left.iter().filter_map(|own| Prefix::between(own, other));
        prefixes.for_each(|prefix| *counts.entry(prefix).or_default() += 1);
    }
    let most = counts.values().max().copied();
    let mut likely = counts.into_iter().filter(|(_, count)| Some(*count) == most).map(|(prefix, _)| prefix);
    let prefix = likely.next().filter(|_| likely.next().is_none());
    if let Some(prefix) = &prefix {
        match_by(base, other, &mut places, |own, other| Prefix::between(own, other).as_ref() == Some(prefix));
    }
    Matching { places, prefix }
}

/// Gives each of `base` that has no place yet the first of `other` that is free and the `same`.
fn match_by(base: &[&str], other: &[&str], places: &mut [Option<usize>], same: impl Fn(&str, &str) -> bool) {
    let mut free: Vec<usize> = (0..other.len()).filter(|at| !places.contains(&Some(*at))).collect();
    for (own, place) in base.iter().zip(places).filter(|(_, place)| place.is_none()) {
        *place = free.iter().position(|&at| same(own, other[at])).map(|at| free.remove(at));
    }
}

impl Prefix {
    /// What one of two names has before the other.
    fn between(own: &str, other: &str) -> Option<Self> {
        let before = |long: &str, short: &str| {
            let text = long.strip_suffix(short).filter(|text| text.ends_with('.'))?;
            Some(text.to_owned())
        };
        let of_base = before(own, other).map(|text| Self { of_base: true, text });
        of_base.or_else(|| before(other, own).map(|text| Self { of_base: false, text }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &[&str], other: &[&str], places: &[Option<usize>], prefix: Option<(bool, &str)>) {
        let prefix = prefix.map(|(of_base, text)| Prefix { of_base, text: text.into() });
        assert_eq!(matched(base, other), Matching { places: places.into(), prefix }, "{base:?} {other:?}");
    }

    #[test]
    fn names_match_in_any_order_and_each_once() {
        check(&["a", "b", "c"], &["c", "x", "a"], &[Some(2), None, Some(0)], None);
        check(&["a", "a"], &["a", "b", "a", "a"], &[Some(0), Some(2)], None);
        check(&[], &["a"], &[], None);
    }

    #[test]
    fn one_prefix_of_either_is_looked_through() {
        let other = &["model.conv", "model.layer1.conv", "head"];
        check(&["conv", "layer1.conv", "fc"], other, &[Some(0), Some(1), None], Some((false, "model.")));
        check(&["a.b.conv", "a.b.fc"], &["fc", "conv"], &[Some(1), Some(0)], Some((true, "a.b.")));
        // What has its own name keeps it.
        check(&["conv", "fc"], &["m.conv", "fc", "m.fc"], &[Some(0), Some(1)], Some((false, "m.")));
        // No prefix of a word.
        check(&["conv"], &["myconv"], &[None], None);
    }

    #[test]
    fn what_could_be_two_is_none() {
        check(&["fc"], &["encoder.fc", "decoder.fc"], &[None], None);
        check(&["encoder.fc", "decoder.fc"], &["fc"], &[None, None], None);
    }
}
