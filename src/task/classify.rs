//! Classification: the most likely classes, and top-1 and top-5 accuracy.

use serde::{Deserialize, Serialize};

/// The `k` highest logits with their classes and probabilities, highest first; ties by class.
pub fn top_k(logits: &[f32], k: usize) -> Vec<(usize, f32, f64)> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| (f64::from(logit) - f64::from(highest)).exp();
    let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    classes.into_iter().take(k).map(|class| (class, logits[class], weight(logits[class]) / total)).collect()
}

/// Top-1 and top-5 accuracy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Number of outputs with a label.
    pub labelled: u64,
    /// Label is the highest logit.
    pub top1: u64,
    /// Label is among the five highest.
    pub top5: u64,
}

impl Accuracy {
    /// Adds one output; class `offset` of the network is label 0 (networks with a background class have offset 1).
    pub fn add(&mut self, logits: &[f32], label: u32, offset: usize) {
        let place = top_k(logits, 5).iter().position(|(class, ..)| *class == label as usize + offset);
        self.labelled += 1;
        self.top1 += u64::from(place == Some(0));
        self.top5 += u64::from(place.is_some());
    }

    /// Adds another part of the data.
    pub fn merge(&mut self, other: &Self) {
        self.labelled += other.labelled;
        self.top1 += other.top1;
        self.top5 += other.top5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_come_first_and_ties_by_class() {
        let top = top_k(&[1.0, 3.0, 3.0, -2.0], 3);
        assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2, 0]);
        let total: f64 = top_k(&[1.0, 3.0, 3.0, -2.0], 4).iter().map(|t| t.2).sum();
        assert!((total - 1.0).abs() < 1e-12);
        assert_eq!(top_k(&[5e30, 0.0], 1)[0].2, 1.0);
    }

    #[test]
    fn labels_count_with_their_offset() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&[0.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0], 0, 1);
        accuracy.add(&[0.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2, 0);
        accuracy.add(&[0.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0], 3, 0);
        assert_eq!(accuracy, Accuracy { labelled: 3, top1: 1, top5: 2 });
    }
}
