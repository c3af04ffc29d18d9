//! Printing and saving class maps.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Answers, object};
use crate::cli::out::printable;
use crate::cli::pictures::Picture;
use crate::input::Sample;
use crate::layers::Shape;
use crate::measure::pixel_classes;
use crate::model::Model;
use crate::report::units;
use crate::task::answer::crop;

pub(super) struct Segment<'a> {
    pub(super) model: &'a Model,
    /// Whether the classes are drawn over the image.
    pub(super) overlay: bool,
}

impl Segment<'_> {
    fn classes(&self, sample: &Sample, output: &[f32], shape: Shape) -> Vec<u8> {
        pixel_classes(self.model, sample, output, shape)
    }

    /// Classes that occur, with their numbers of pixels, largest first.
    fn shares(classes: &[u8]) -> Vec<(usize, u64)> {
        let mut counts = [0; 256];
        classes.iter().for_each(|&class| counts[usize::from(class)] += 1);
        let mut shares: Vec<(usize, u64)> = counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        shares.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), class));
        shares
    }
}

impl Answers for Segment<'_> {
    fn text(&self, sample: &Sample, logits: &[f32], shape: Shape, saved: Option<&Path>) -> String {
        let classes = self.classes(sample, logits, shape);
        let saved = saved.map(|path| format!("  -> {}", path.display())).unwrap_or_default();
        let mut text = format!("{}{}\n", printable(&sample.id), printable(&saved));
        for (class, count) in Self::shares(&classes) {
            let share = units::share(Some(count as f64 / classes.len() as f64));
            text += &format!("  {share:>7}  {}\n", printable(&self.model.class_name(class)));
        }
        text
    }

    fn json(&self, sample: &Sample, logits: &[f32], shape: Shape) -> Map<String, Value> {
        let classes = self.classes(sample, logits, shape);
        let entry = |(class, count): (usize, u64)| {
            let share = count as f64 / classes.len() as f64;
            json!({ "class": class, "name": self.model.class_name(class), "pixels": count, "share": share })
        };
        let shares: Vec<Value> = Self::shares(&classes).into_iter().map(entry).collect();
        object(json!({ "size": sample.size, "classes": shares }))
    }

    fn pictures(&self) -> bool {
        true
    }

    fn picture(&self, sample: &Sample, logits: &[f32], shape: Shape) -> Option<Picture> {
        let classes = self.classes(sample, logits, shape);
        Some(if self.overlay {
            let image = crop(&sample.values, sample.shape, sample.size);
            let image = self.model.preprocess.pixels(&image, sample.size).with_channels(3);
            Picture::overlay(image, &classes)
        } else {
            Picture::Classes { size: sample.size, classes }
        })
    }
}
