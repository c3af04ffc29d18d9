//! Classification of texts and of words: accuracy, and precision, recall and F1 of each class.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Answer and label.
    pub right: u64,
    /// Answer.
    pub answers: u64,
    /// Label.
    pub labels: u64,
}

impl ClassCounts {
    /// Numerator and denominator of F1, the harmonic mean of precision (`right / answers`) and recall (`right / labels`):
    /// `2 right / (answers + labels)` (van Rijsbergen 1979).
    pub fn f1(self) -> [u64; 2] {
        [self.right.saturating_mul(2), self.answers.saturating_add(self.labels)]
    }
}

/// Answers to what has a label: texts, or words of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelling {
    /// The classes that are an answer or a label.
    pub classes: BTreeMap<u32, ClassCounts>,
}

impl Labelling {
    /// Adds one `answer`.
    pub fn add(&mut self, answer: u32, label: u32) {
        self.classes.entry(answer).or_default().answers += 1;
        self.classes.entry(label).or_default().labels += 1;
        if answer == label {
            self.classes.entry(label).or_default().right += 1;
        }
    }

    /// Adds another part of the data.
    pub fn merge(&mut self, other: &Self) {
        for (class, counts) in &other.classes {
            let own = self.classes.entry(*class).or_default();
            own.right += counts.right;
            own.answers += counts.answers;
            own.labels += counts.labels;
        }
    }

    /// Right answers, and all.
    pub fn accuracy(&self) -> [u64; 2] {
        let sum = |of: fn(&ClassCounts) -> u64| self.classes.values().map(of).fold(0, u64::saturating_add);
        [sum(|counts| counts.right), sum(|counts| counts.labels)]
    }

    /// Mean of F1 over the classes that occur; `None` without any.
    pub fn macro_f1(&self) -> Option<f64> {
        let share = |[part, whole]: [u64; 2]| part as f64 / whole.max(1) as f64;
        let sum: f64 = self.classes.values().map(|counts| share(counts.f1())).sum();
        (!self.classes.is_empty()).then(|| sum / self.classes.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_are_those_of_their_definitions() {
        let mut sums = Labelling::default();
        [(0, 0), (0, 1), (1, 1), (1, 1), (2, 0)].iter().for_each(|&(answer, label)| sums.add(answer, label));
        assert_eq!(sums.accuracy(), [3, 5]);
        let f1: Vec<[u64; 2]> = sums.classes.values().map(|counts| counts.f1()).collect();
        assert_eq!(f1, [[2, 4], [4, 5], [0, 1]]);
        assert!((sums.macro_f1().unwrap() - (0.5 + 0.8) / 3.0).abs() < 1e-12);
        assert_eq!(Labelling::default().macro_f1(), None);
    }

    proptest! {
        /// Of every class that occurs, precision and recall by looking at all pairs again, and F1 from these.
        #[test]
        fn counts_are_those_of_all_pairs(pairs in prop::collection::vec((0u32..6, 0u32..6), 1..60), cut in 0usize..60) {
            let of = |pairs: &[(u32, u32)]| {
                let mut sums = Labelling::default();
                pairs.iter().for_each(|&(answer, label)| sums.add(answer, label));
                sums
            };
            let sums = of(&pairs);
            let mut scores = Vec::new();
            for class in 0..6 {
                let count = |fits: &dyn Fn(u32, u32) -> bool| pairs.iter().filter(|(a, l)| fits(*a, *l)).count() as f64;
                let (answers, labels) = (count(&|a, _| a == class), count(&|_, l| l == class));
                let right = count(&|a, l| a == class && l == class);
                if answers + labels == 0.0 {
                    prop_assert!(!sums.classes.contains_key(&class));
                    continue;
                }
                let (precision, recall) = (right / answers.max(1.0), right / labels.max(1.0));
                let f1 = if right == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
                let [part, whole] = sums.classes[&class].f1();
                prop_assert!((f1 - part as f64 / whole as f64).abs() < 1e-12);
                scores.push(f1);
            }
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            prop_assert!((sums.macro_f1().unwrap() - mean).abs() < 1e-12);
            let right = pairs.iter().filter(|(answer, label)| answer == label).count() as u64;
            prop_assert_eq!(sums.accuracy(), [right, pairs.len() as u64]);
            let cut = cut.min(pairs.len());
            let mut parts = of(&pairs[cut..]);
            parts.merge(&of(&pairs[..cut]));
            prop_assert_eq!(parts, sums);
        }
    }
}
