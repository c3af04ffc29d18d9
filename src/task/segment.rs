//! Segmentation: the class of each pixel, and intersection over union with the truth.

use serde::{Deserialize, Serialize};

/// The class of each pixel of `logits` `[K, H, W]`: the highest, the first of equals.
pub fn class_map(logits: &[f32], classes: usize) -> Vec<u8> {
    let pixels = logits.len() / classes;
    let mut best: Vec<(f32, u8)> = logits[..pixels].iter().map(|&logit| (logit, 0)).collect();
    for (class, plane) in logits.chunks(pixels).enumerate().skip(1) {
        for (best, &logit) in best.iter_mut().zip(plane) {
            if logit > best.0 {
                *best = (logit, class as u8);
            }
        }
    }
    best.into_iter().map(|(_, class)| class).collect()
}

/// Class 1 where the one channel `values` is above `threshold`, else class 0.
pub fn object_map(values: &[f32], threshold: f32) -> Vec<u8> {
    values.iter().map(|&value| u8::from(value > threshold)).collect()
}

/// Pixel counts of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Where output and truth agree.
    pub intersection: u64,
    /// In the output.
    pub answer: u64,
    /// In the truth.
    pub truth: u64,
}

impl Area {
    /// Pixels of the class in the output or in the truth.
    pub fn union(self) -> u64 {
        self.answer + self.truth - self.intersection
    }
}

/// Pixel counts of all classes over some images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Areas {
    /// Images with a truth.
    pub images: u64,
    /// By class, up to the highest one that occurred.
    pub classes: Vec<Area>,
}

impl Areas {
    /// Adds one output; pixels whose truth is `ignore` are ignored.
    pub fn add(&mut self, answer: &[u8], truth: &[u8], ignore: u8) {
        self.images += 1;
        for (&answer, &truth) in answer.iter().zip(truth).filter(|(_, truth)| **truth != ignore) {
            let most = usize::from(answer.max(truth));
            if self.classes.len() <= most {
                self.classes.resize(most + 1, Area::default());
            }
            self.classes[usize::from(answer)].answer += 1;
            self.classes[usize::from(truth)].truth += 1;
            self.classes[usize::from(answer)].intersection += u64::from(answer == truth);
        }
    }

    /// Adds another part of the data.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        if self.classes.len() < other.classes.len() {
            self.classes.resize(other.classes.len(), Area::default());
        }
        for (area, other) in self.classes.iter_mut().zip(&other.classes) {
            area.intersection += other.intersection;
            area.answer += other.answer;
            area.truth += other.truth;
        }
    }

    /// Pixels that agree, and all pixels with a truth.
    pub fn pixels(&self) -> [u64; 2] {
        [self.classes.iter().map(|area| area.intersection).sum(), self.classes.iter().map(|area| area.truth).sum()]
    }

    /// Mean over the classes that occur of intersection over union; `None` if none occurs.
    pub fn mean_iou(&self) -> Option<f64> {
        let of = |area: &Area| area.intersection as f64 / area.union() as f64;
        let ratios: Vec<f64> = self.classes.iter().filter(|area| area.union() > 0).map(of).collect();
        (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_highest_is_the_class() {
        assert_eq!(class_map(&[1.0, 2.0, 0.0, 1.0, 3.0, -1.0, 0.5, 3.0, 0.5], 3), [0, 1, 2]);
        assert_eq!(object_map(&[-1.0, 0.0, 0.2, 0.7], 0.0), [0, 0, 1, 1]);
        assert_eq!(object_map(&[0.2, 0.5, 0.7], 0.5), [0, 0, 1]);
    }

    #[test]
    fn areas_are_counted_without_what_is_ignored_and_merge() {
        let mut areas = Areas::default();
        areas.add(&[0, 0, 1, 3], &[0, 1, 1, 255], 255);
        let counted = Areas {
            images: 1,
            classes: vec![Area { intersection: 1, answer: 2, truth: 1 }, Area { intersection: 1, answer: 1, truth: 2 }],
        };
        assert_eq!(areas, counted);
        assert_eq!((areas.pixels(), areas.mean_iou()), ([2, 3], Some(0.5)));
        let mut other = Areas::default();
        other.add(&[2], &[2], 255);
        areas.merge(&other);
        assert_eq!((areas.images, areas.classes.len(), areas.mean_iou()), (2, 3, Some(2.0 / 3.0)));
        assert_eq!(Areas::default().mean_iou(), None);
    }
}
