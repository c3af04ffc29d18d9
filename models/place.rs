//! Where in a checkpoint a network's parameters are: below a prefix, without that of the base model, or spelt as TensorFlow
//! spells them.

use super::{Family, Naming, rnn};
use crate::graph::Listing;
use crate::{Error, Result};

/// Words in the prefix of an averaged copy, which is preferred to the trained one.
const AVERAGED: [&str; 5] = ["ema", "swa", "averaged", "avg", "teacher"];
/// Words in the prefix of a trained copy, beside one that follows it.
const TRAINED: [&str; 3] = ["q", "query", "online"];
/// Number of prefixes that a message lists.
const LISTED: usize = 4;

/// How a checkpoint's names become those of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub naming: Naming,
    /// Stripped from every name; names without it are not the network's.
    prefix: String,
    /// Then put before every name but the classifier's.
    base: &'static str,
    /// Whether names are TensorFlow's.
    pub respelt: bool,
    /// Prefixes of other copies of the network, which are not read.
    copies: Vec<String>,
}

impl Place {
    /// Where the parameters of `family` are in a checkpoint.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if they are in several places of equal rank.
    pub fn find(family: &Family, listing: &Listing) -> Result<Option<Self>> {
        let exact = family.detect(&|mark| listing.extents.contains_key(mark));
        let recurrent = family.name == rnn::FAMILY.name;
        let plain = exact.or_else(|| recurrent.then(|| rnn::naming(&listing.extents)).flatten());
        if plain.is_some() || recurrent {
            let place = |naming| Self { naming, prefix: String::new(), base: "", respelt: false, copies: vec![] };
            return Ok(plain.map(place));
        }
        let source = &listing.source;
        let names: Vec<&str> = listing.extents.keys().map(String::as_str).collect();
        let respelt: Vec<String> = names.iter().map(|name| respelt(name)).collect();
        for (respelt, names) in [(false, names.to_vec()), (true, respelt.iter().map(String::as_str).collect())] {
            for &(naming, mark) in family.namings {
                let base = mark.split_inclusive('.').next().filter(|base| *base == format!("{}.", family.name));
                let base = base.unwrap_or_default();
                for (base, mark) in [("", mark), (base, &mark[base.len()..])] {
                    if let Some((prefix, copies)) = prefix(&names, mark, source)? {
                        return Ok(Some(Self { naming, prefix, base, respelt, copies }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether names stay as they are.
    pub fn is_plain(&self) -> bool {
        self.prefix.is_empty() && self.base.is_empty() && !self.respelt
    }

    /// The network's name of the parameter `name`; `None` if it does not belong to it.
    pub fn name(&self, name: &str) -> Option<String> {
        let name = if self.respelt { respelt(name) } else { name.to_owned() };
        let inner = name.strip_prefix(&self.prefix)?;
        let head = inner.split('.').next() == Some("classifier");
        Some(if head { inner.to_owned() } else { format!("{}{inner}", self.base) })
    }

    /// The order of our axes among those of the tensor `name` with `rank` axes, if they differ: TensorFlow's kernels are
    /// `[R, S, C, K]`, depthwise ones `[R, S, C, 1]`, and `[C, K]`.
    pub fn axes(&self, name: &str, rank: usize) -> Option<&'static [usize]> {
        let name = name.strip_suffix(":0").unwrap_or(name);
        let last = name.rsplit(['/', '.']).next().unwrap_or_default();
        match (self.respelt, last, rank) {
            (true, "depthwise_kernel", 4) => Some(&[2, 3, 0, 1]),
            (true, "kernel" | "pointwise_kernel", 4) => Some(&[3, 2, 0, 1]),
            (true, "kernel", 2) => Some(&[1, 0]),
            _ => None,
        }
    }

    /// What the user should know of it, a sentence each, when `others` were left out.
    pub fn notes(&self, others: &[String]) -> Vec<String> {
        let mut notes = vec![];
        if !self.copies.is_empty() {
            let copies = self.copies.join("*, ");
            notes.push(format!("the weights {}* are read, not {copies}*", self.prefix));
        } else if !self.prefix.is_empty() {
            notes.push(format!("the network is read from {}*", self.prefix));
        }
        let of_copy = |name: &String| self.copies.iter().any(|copy| name.starts_with(copy));
        notes.extend(left_out(others.iter().filter(|name| !of_copy(name))));
        notes
    }
}

/// The sentence that `names` were left out, if there are any.
pub(super) fn left_out<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.map(String::as_str).filter(|name| !name.ends_with("num_batches_tracked")).collect();
    let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
    (!names.is_empty())
        .then(|| format!("not of the network and left out: {}{more}", names[..names.len().min(LISTED)].join(", ")))
}

/// The shortest prefix with which a name is `mark`, and other ones of the same depth.
fn prefix(names: &[&str], mark: &str, source: &str) -> Result<Option<(String, Vec<String>)>> {
    let depth = |prefix: &str| prefix.matches('.').count();
    let mut prefixes: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(mark)).collect();
    prefixes.retain(|prefix| prefix.is_empty() || prefix.ends_with('.'));
    let Some(least) = prefixes.iter().map(|prefix| depth(prefix)).min() else { return Ok(None) };
    prefixes.retain(|prefix| depth(prefix) == least);
    let is = |prefix: &str, words: &[&str]| {
        prefix.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| words.contains(&part))
    };
    let one = |words: &[&str]| {
        let mut fit = prefixes.iter().filter(|prefix| is(prefix, words));
        fit.next().filter(|_| fit.next().is_none()).copied()
    };
    let chosen = match prefixes[..] {
        [only] => Some(only),
        _ => one(&AVERAGED).or_else(|| one(&TRAINED)),
    };
    let Some(chosen) = chosen else {
        let listed = &prefixes[..prefixes.len().min(LISTED)];
        let what = format!("{source}: a checkpoint of several networks, {}*,", listed.join("*, "));
        return Err(Error::unsupported(what, "store the tensors of one of them alone"));
    };
    let copies = prefixes.iter().filter(|prefix| **prefix != chosen).map(|prefix| (*prefix).to_owned());
    Ok(Some((chosen.to_owned(), copies.collect())))
}

/// TensorFlow's `layer/kernel:0` as `layer.weight`, and so on.
fn respelt(name: &str) -> String {
    let name = name.strip_suffix(":0").unwrap_or(name).replace('/', ".");
    let (place, parameter) = name.rsplit_once('.').unwrap_or(("", &name));
    let parameter = match parameter {
        "kernel" | "weights" | "depthwise_kernel" | "pointwise_kernel" | "gamma" => "weight",
        "biases" | "beta" => "bias",
        "moving_mean" => "running_mean",
        "moving_variance" => "running_var",
        other => other,
    };
    if place.is_empty() { parameter.to_owned() } else { format!("{place}.{parameter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &[&str]) -> Result<Option<Place>> {
        let family = super::super::FAMILIES.iter().find(|family| family.name == "resnet").unwrap();
        let extents = names.iter().map(|name| ((*name).to_owned(), vec![1])).collect();
        Place::find(family, &Listing { source: "file".into(), extents })
    }

    #[test]
    fn a_network_is_found_below_a_prefix_and_without_its_own() {
        let cases: [(&[&str], &str, &str); 6] = [
            (&["conv1.weight", "fc.bias"], "fc.bias", "fc.bias"),
            (&["encoder.conv1.weight", "encoder.layer1.0.conv1.weight", "head.w"], "encoder.bn1.bias", "bn1.bias"),
            (&["a.b.conv1.weight"], "a.b.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
            (&["embedder.embedder.convolution.weight"], "encoder.x", "resnet.encoder.x"),
            (&["embedder.embedder.convolution.weight"], "classifier.1.weight", "classifier.1.weight"),
            (&["conv1/kernel:0"], "layer1/0/bn1/moving_variance:0", "layer1.0.bn1.running_var"),
        ];
        for (names, name, want) in cases {
            assert_eq!(find(names).unwrap().unwrap().name(name).as_deref(), Some(want), "{names:?}");
        }
        let place = find(cases[1].0).unwrap().unwrap();
        assert_eq!(place.name("head.w"), None);
        assert_eq!(
            place.notes(&["head.w".into()]),
            ["the network is read from encoder.*", "not of the network and left out: head.w"]
        );
        assert_eq!(find(&["a.weight"]).unwrap(), None);
    }

    #[test]
    fn of_two_copies_one_is_chosen_by_its_name_or_none() {
        for (names, prefix) in [
            (["encoder_q.conv1.weight", "encoder_k.conv1.weight"], "encoder_q."),
            (["student.conv1.weight", "teacher.conv1.weight"], "teacher."),
        ] {
            let place = find(&names).unwrap().unwrap();
            assert_eq!(place.prefix, prefix);
            let copy = names.iter().find(|name| !name.starts_with(prefix)).unwrap();
            assert_eq!(place.notes(&[(*copy).into()]).len(), 1);
        }
        let error = find(&["left.conv1.weight", "right.conv1.weight"]).unwrap_err();
        assert!(error.to_string().contains("left.*, right.*"), "{error}");
    }
}
