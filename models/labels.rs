//! Class names: the lists that many checkpoints share, or a card's own.

use serde::{Deserialize, Serialize};

static IMAGENET1K: &str = include_str!("labels/imagenet1k.txt");
static IMAGENET1K_IDS: &str = include_str!("labels/imagenet1k_ids.txt");
static CIFAR10: &str = include_str!("labels/cifar10.txt");

/// An embedded list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelList {
    /// The 1,000 classes of ILSVRC 2012, in the order of their WordNet ids.
    Imagenet1k,
    /// The same after a background class 0.
    Imagenet1001,
    /// The ten classes of CIFAR-10.
    Cifar10,
}

/// Class names of a network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "names of classes must be imagenet1k, imagenet1001, cifar10 or an array of names")]
pub enum Labels {
    /// An embedded list.
    List(LabelList),
    /// A list of names, class 0 first.
    Names(Vec<String>),
}

impl Labels {
    /// Name of `class`.
    pub fn get(&self, class: usize) -> Option<&str> {
        match self {
            Self::List(LabelList::Imagenet1k) => IMAGENET1K.lines().nth(class),
            Self::List(LabelList::Imagenet1001) => match class.checked_sub(1) {
                None => Some("background"),
                Some(class) => IMAGENET1K.lines().nth(class),
            },
            Self::List(LabelList::Cifar10) => CIFAR10.lines().nth(class),
            Self::Names(names) => names.get(class).map(String::as_str),
        }
    }

    /// The WordNet id of `class`, the folder name in ImageNet; `None` for other lists.
    pub fn wordnet_id(&self, class: usize) -> Option<&str> {
        match self {
            Self::List(LabelList::Imagenet1k) => IMAGENET1K_IDS.lines().nth(class),
            Self::List(LabelList::Imagenet1001) => IMAGENET1K_IDS.lines().nth(class.checked_sub(1)?),
            _ => None,
        }
    }

    /// Number of classes with a name.
    pub fn count(&self) -> usize {
        match self {
            Self::List(LabelList::Imagenet1k) => 1000,
            Self::List(LabelList::Imagenet1001) => 1001,
            Self::List(LabelList::Cifar10) => 10,
            Self::Names(names) => names.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole() {
        for list in [LabelList::Imagenet1k, LabelList::Imagenet1001, LabelList::Cifar10] {
            let labels = Labels::List(list);
            let names: Vec<&str> = (0..labels.count()).map(|class| labels.get(class).unwrap()).collect();
            assert!(names.iter().all(|name| !name.is_empty() && name.trim() == *name), "{list:?}");
            let mut distinct = names.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), names.len(), "{list:?}");
            assert_eq!(labels.get(labels.count()), None, "{list:?}");
        }
    }

    #[test]
    fn the_background_shifts_the_classes_by_one() {
        let [plain, shifted] = [LabelList::Imagenet1k, LabelList::Imagenet1001].map(Labels::List);
        assert_eq!(plain.get(0), Some("tench"));
        assert_eq!(shifted.get(1), Some("tench"));
        assert_eq!(shifted.get(1000), Some("toilet tissue"));
        assert_eq!((plain.wordnet_id(0), plain.wordnet_id(999)), (Some("n01440764"), Some("n15075141")));
        assert_eq!((shifted.wordnet_id(0), shifted.wordnet_id(1)), (None, Some("n01440764")));
        assert!(IMAGENET1K_IDS.lines().is_sorted() && IMAGENET1K_IDS.lines().count() == 1000);
    }
}
