//! Scoring answers by the task of the network.

use crate::input::{IGNORE, Known, Sample, Token, Truth, UNLABELLED};
use crate::layers::Shape;
use crate::model::Model;
use crate::models::Task;
use crate::task::classify::{Accuracy, top_k};
use crate::task::embed::{Nearness, cosine, nearest};
use crate::task::labels::Labelling;
use crate::task::language::Likelihood;
use crate::task::restore::{Fidelity, part, psnr, ssim};
use crate::task::segment::{Areas, class_map, object_map};
use crate::task::{Quality, answer};

/// No answer yet, of a network for `task` to inputs of which `known` is known.
pub fn start(task: Task, known: Option<Known>) -> Quality {
    match task {
        Task::Features if known == Some(Known::Partners) => Quality::Embed(Nearness::of_partners()),
        Task::Features if known == Some(Known::Vectors) => Quality::Embed(Nearness::default()),
        Task::Classify | Task::Tag if known == Some(Known::Labels) => Quality::Label(Labelling::default()),
        Task::Classify => Quality::Classify(Accuracy::default()),
        Task::Segment => Quality::Segment(Areas::default()),
        Task::Restore => Quality::Restore(Fidelity::default()),
        Task::Language => Quality::Language(Likelihood::default()),
        Task::Tag | Task::Detect | Task::Features => Quality::None,
    }
}

/// Adds what `model` answered to `sample`: `output` of extents `shape`. Without a truth nothing is added.
pub fn add(quality: &mut Quality, model: &Model, sample: &Sample, output: &[f32], shape: Shape) {
    match (quality, &sample.truth) {
        (Quality::Classify(accuracy), _) => {
            if let Some(label) = sample.label {
                let values = model.class_values(output);
                accuracy.add(&values, label, model.label_offset(values.len()));
            }
        }
        (Quality::Label(labelling), Some(Truth::Steps(labels))) => {
            let answers = step_classes(output, shape).into_iter().zip(labels);
            let labelled = answers.filter(|(_, label)| **label != UNLABELLED);
            labelled.for_each(|(answer, &label)| labelling.add(answer as u32, label));
        }
        (Quality::Label(labelling), _) => {
            if let (Some(label), Some((class, ..))) = (sample.label, top_k(&model.class_values(output), 1).first()) {
                labelling.add(*class as u32, label);
            }
        }
        (Quality::Embed(nearness), Some(Truth::Vectors(vectors))) => {
            let own = cosine(output, vectors.row(sample.place));
            let is_nearest = || nearest(output, vectors.rows()) == Some(sample.place);
            nearness.add(own, (vectors.known() == Known::Partners).then(is_nearest));
        }
        (Quality::Segment(areas), Some(Truth::Classes(truth))) => {
            areas.add(&pixel_classes(model, sample, output, shape), truth, IGNORE);
        }
        (Quality::Language(likelihood), Some(Truth::Tokens(truth))) => {
            let mut logits = vec![0.0; shape.c];
            for (step, token) in truth.iter().enumerate().filter(|(_, token)| token.id != Token::UNSCORED) {
                logits.iter_mut().enumerate().for_each(|(class, logit)| *logit = output[class * shape.w + step]);
                likelihood.add(&logits, token.id as usize, [token.chars, token.bytes].map(u64::from));
            }
        }
        (Quality::Restore(fidelity), Some(Truth::Image(truth))) => {
            let (answer, size) = restored(sample, output, shape);
            let [h, w] = sample.size;
            let channels = sample.shape[0];
            let lost = lost(sample, shape);
            let truth = part(truth, [channels, h, w], lost, size);
            let input = part(&sample.values, sample.shape, lost, size);
            let [h, w] = size;
            fidelity.add(psnr(&answer, &truth), psnr(&input, &truth), ssim(&answer, &truth, [channels, h, w]));
        }
        _ => {}
    }
}

/// The class of each step, of `output` with extents `shape`: the highest, the first of equals.
pub fn step_classes(output: &[f32], shape: Shape) -> Vec<usize> {
    // More classes than a byte holds: argmax at each step.
    let best = |step: usize| {
        let logit = |class: usize| output[class * shape.w + step];
        (1..shape.c).fold(0, |best, class| if logit(class) > logit(best) { class } else { best })
    };
    (0..shape.w).map(best).collect()
}

/// The class of each pixel of `sample`, without its frame, of `output` with extents `shape`.
pub fn pixel_classes(model: &Model, sample: &Sample, output: &[f32], shape: Shape) -> Vec<u8> {
    let classes = if shape.c == 1 { object_map(output, model.threshold()) } else { class_map(output, shape.c) };
    answer::crop(&classes, [1, shape.h, shape.w], sample.size)
}

/// Rows and columns that a network without padding loses at the top and at the left of what it reads: half of all it loses.
fn lost(sample: &Sample, shape: Shape) -> [usize; 2] {
    let [_, h, w] = sample.shape;
    [h.saturating_sub(shape.h) / 2, w.saturating_sub(shape.w) / 2]
}

/// The restored image without the frame of its input (rows below and columns right of it), and its rows and columns.
pub fn restored(sample: &Sample, output: &[f32], shape: Shape) -> (Vec<f32>, [usize; 2]) {
    let ([h, w], [top, left]) = (sample.size, lost(sample, shape));
    let size = [shape.h.min(h.saturating_sub(top)), shape.w.min(w.saturating_sub(left))];
    (answer::crop(output, [shape.c, shape.h, shape.w], size), size)
}
