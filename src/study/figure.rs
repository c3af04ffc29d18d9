//! The figure of a network's task by which changed networks are judged: against truths where they are known, else against the
//! answers of the network as it is.

use crate::engine::Backend;
use crate::input::{Dataset, IGNORE, InputDigest, Sample, Vectors};
use crate::layers::Shape;
use crate::measure::{Decoded, Monitor, Settings, add_score, pixel_classes, start_score, step_classes};
use crate::model::Model;
use crate::models::Task;
use crate::task::Quality;
use crate::task::classify::{Accuracy, top_k};
use crate::task::embed::{Nearness, cosine, nearest};
use crate::task::labels::Labelling;
use crate::task::segment::Areas;
use crate::{Error, Result};

/// What the figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Share of inputs (of tagged words too) whose label is the most likely class.
    Accuracy,
    /// Mean intersection over union with the true classes of pixels.
    MeanIou,
    /// Mean PSNR of restored images, dB.
    Psnr,
    /// Perplexity of texts: the only one that is better where it is lower.
    Perplexity,
    /// Share of inputs whose partner is the nearest by cosine; both are embedded by the same network.
    Retrieval,
    /// Mean cosine with a reference's embeddings.
    Cosine,
    /// Share of inputs (or words) that get the class that the network as it is gives.
    Agreement,
    /// Mean intersection over union with the class maps of the network as it is.
    IouOfAnswers,
    /// Mean cosine with the embeddings of the network as it is.
    CosineOfAnswers,
}

impl Figure {
    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::MeanIou => "mean IoU",
            Self::Psnr => "PSNR",
            Self::Perplexity => "perplexity",
            Self::Retrieval => "retrieval",
            Self::Cosine => "cosine with the reference",
            Self::Agreement => "agreement with the float network",
            Self::IouOfAnswers => "mean IoU with the float network",
            Self::CosineOfAnswers => "cosine with the float network",
        }
    }

    /// By how much `got` is worse than `full`, as a share of it; negative where it is better. To twelve decimals, so that what floats
    /// leave of 1 − 0.95 is not more than 0.05.
    pub fn loss(self, full: f64, got: f64) -> f64 {
        const DECIMALS: f64 = 1e12;
        let loss = if self == Self::Perplexity { got / full - 1.0 } else { 1.0 - got / full };
        // Of larger ones f64 holds fewer decimals.
        if loss.abs() < 1.0 { (loss * DECIMALS).round() / DECIMALS } else { loss }
    }

    /// Whether it compares with the answers of the network as it is.
    fn is_of_answers(self) -> bool {
        matches!(self, Self::Agreement | Self::IouOfAnswers | Self::CosineOfAnswers)
    }
}

/// An answer of the network as it is, where others are compared with it.
enum Answer {
    Class(u32),
    Steps(Vec<u32>),
    Map(Vec<u8>),
    Vector(Vec<f32>),
}

/// Judges networks by one figure over the same inputs.
pub struct Judge<'a> {
    inputs: Decoded<'a>,
    partners: Option<Decoded<'a>>,
    figure: Figure,
    /// Of the network as it is; empty where truths are known.
    answers: Vec<Answer>,
    full: f64,
    count: u64,
    digest: InputDigest,
}

impl<'a> Judge<'a> {
    /// Runs `model` as it is over the inputs of `data` that `settings` chooses, and settles what networks made of it are judged by.
    ///
    /// # Errors
    /// [`Error::Invalid`] where nothing is known of the inputs that its task needs; [`Error::Unsupported`] for a task without a
    /// figure; those of [`Judge::if_any`].
    pub fn new(
        model: &Model,
        backend: &'a Backend,
        data: &'a Dataset,
        settings: &Settings,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        Self::if_any(model, backend, data, settings, monitor)?.ok_or_else(|| unknown(model))
    }

    /// As [`Judge::new`], and none where there is no figure for the task, or none without truths that the inputs lack.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no input, or a figure of which nothing can be lost; those of running and reading inputs.
    pub fn if_any(
        model: &Model,
        backend: &'a Backend,
        data: &'a Dataset,
        settings: &Settings,
        monitor: &dyn Monitor,
    ) -> Result<Option<Self>> {
        let task = model.card.task;
        let all = Settings { limit: None, skip_bad: false, ..settings.clone() };
        let mut judge = Self {
            inputs: Decoded::new(data, backend, settings),
            partners: data.partners().map(|partners| Decoded::new(partners, backend, &all)),
            figure: Figure::Accuracy,
            answers: Vec::new(),
            full: 0.0,
            count: 0,
            digest: InputDigest::default(),
        };
        let partners = judge.embedded_partners(model, monitor)?;
        let mut quality = judge.start(task, partners.is_some());
        // Answers are kept until a truth gives a figure.
        let (mut answers, mut scored, mut count, mut digest) = (Vec::new(), false, 0, InputDigest::default());
        judge.inputs.answer(model, monitor, |sample, output, shape| {
            count += 1;
            digest.add(&sample.digest);
            match &partners {
                Some(partners) => add_retrieval(&mut quality, sample, output, partners),
                None => add_score(&mut quality, model, sample, output, shape),
            }
            if !scored && figure_of(&quality).is_some() {
                (scored, answers) = (true, Vec::new());
            }
            if !scored {
                answers.extend(answer(model, sample, output, shape));
            }
            Ok(())
        })?;
        if count == 0 {
            return Err(Error::invalid("INPUT", "holds no input that could be decoded"));
        }
        let mut known = figure_of(&quality);
        if known.is_none() {
            // The network as it is agrees with itself: the figure is that of full agreement.
            known = of_answers(task).map(|figure| (figure, 1.0));
            judge.answers = answers;
        }
        let Some((figure, full)) = known else { return Ok(None) };
        if !(full.is_finite() && full > 0.0) {
            let detail = format!("give {} {full} by the network as it is, of which nothing can be lost", figure.name());
            return Err(Error::invalid("INPUT", format!("the inputs {detail}: check them and their labels or truths")));
        }
        Ok(Some(Self { figure, full, count, digest, ..judge }))
    }

    /// What the figure is.
    pub fn figure(&self) -> Figure {
        self.figure
    }

    /// The figure of the network as it is.
    pub fn full(&self) -> f64 {
        self.full
    }

    /// How many inputs there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest of the inputs.
    pub fn digest(&self) -> InputDigest {
        self.digest
    }

    /// The inputs as they are listed.
    pub fn data(&self) -> &Dataset {
        self.inputs.data()
    }

    /// The figure of `model`; the largest float where it is no number, or an output of the network is none.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; those of reading inputs.
    pub fn judge(&self, model: &Model, monitor: &dyn Monitor) -> Result<f64> {
        let figure = match self.quality(model, monitor) {
            Err(Error::NotFinite { .. }) => f64::NAN,
            quality => figure_of(&quality?).map_or(f64::NAN, |(_, figure)| figure),
        };
        let worst = if self.figure == Figure::Perplexity { f64::MAX } else { -f64::MAX };
        Ok(if figure.is_finite() { figure } else { worst })
    }

    fn quality(&self, model: &Model, monitor: &dyn Monitor) -> Result<Quality> {
        let partners = self.embedded_partners(model, monitor)?;
        let mut quality = self.start(model.card.task, partners.is_some());
        let mut answers = self.answers.iter();
        self.inputs.answer(model, monitor, |sample, output, shape| {
            match (&partners, answers.next()) {
                (Some(partners), _) => add_retrieval(&mut quality, sample, output, partners),
                (None, Some(known)) => add_agreement(&mut quality, known, answer(model, sample, output, shape)),
                (None, None) => add_score(&mut quality, model, sample, output, shape),
            }
            Ok(())
        })?;
        Ok(quality)
    }

    /// No answer yet.
    fn start(&self, task: Task, has_partners: bool) -> Quality {
        match (task, self.figure.is_of_answers()) {
            _ if has_partners => Quality::Embed(Nearness::of_partners()),
            (Task::Tag, true) => Quality::Label(Labelling::default()),
            (Task::Classify, true) => Quality::Classify(Accuracy::default()),
            (Task::Segment, true) => Quality::Segment(Areas::default()),
            (_, true) => Quality::Embed(Nearness::default()),
            _ => start_score(task, self.inputs.data().known()),
        }
    }

    /// The embeddings that `model` gives to the partners of inputs, where there are such.
    fn embedded_partners(&self, model: &Model, monitor: &dyn Monitor) -> Result<Option<Vectors>> {
        let Some(partners) = &self.partners else { return Ok(None) };
        let (mut values, mut length) = (Vec::new(), 0);
        partners.answer(model, monitor, |_, output, _| {
            length = output.len();
            values.extend_from_slice(output);
            Ok(())
        })?;
        Ok(Some(Vectors::of_partners(values, length)))
    }
}

/// What a network for `task` is judged by where no truth is known.
fn of_answers(task: Task) -> Option<Figure> {
    match task {
        Task::Classify | Task::Tag => Some(Figure::Agreement),
        Task::Segment => Some(Figure::IouOfAnswers),
        Task::Features => Some(Figure::CosineOfAnswers),
        Task::Restore | Task::Language | Task::Detect => None,
    }
}

/// The error for a network that there is no figure for.
fn unknown(model: &Model) -> Error {
    match model.card.task {
        Task::Restore => Error::invalid("INPUT", "has no clean images: give --sigma S, --scale N or --truth DIR"),
        Task::Language => Error::invalid("INPUT", "has no token to predict: give longer texts"),
        _ => {
            let what = format!("a figure for networks that {}, as {} does,", model.card.task.name(), model.card.name);
            Error::unsupported(what, "others classify, segment, restore, embed or predict tokens")
        }
    }
}

/// The figure that `quality` gives, if anything was scored.
fn figure_of(quality: &Quality) -> Option<(Figure, f64)> {
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    match quality {
        Quality::Classify(sums) => Some((Figure::Accuracy, share(sums.top1, sums.labelled)?)),
        Quality::Label(sums) => {
            let [right, all] = sums.accuracy();
            Some((Figure::Accuracy, share(right, all)?))
        }
        Quality::Segment(sums) => Some((Figure::MeanIou, sums.mean_iou().filter(|_| sums.images > 0)?)),
        Quality::Restore(sums) => (sums.images > 0).then(|| (Figure::Psnr, sums.mean_psnr()[0])),
        Quality::Language(sums) => (sums.tokens > 0).then(|| (Figure::Perplexity, sums.perplexity())),
        Quality::Embed(sums) => match sums.nearest {
            Some(nearest) => Some((Figure::Retrieval, share(nearest, sums.inputs)?)),
            None => sums.cosines().map(|[mean, _]| (Figure::Cosine, mean)),
        },
        Quality::None => None,
    }
}

/// What `model` answers to `sample`, where answers of networks for its task are compared.
fn answer(model: &Model, sample: &Sample, output: &[f32], shape: Shape) -> Option<Answer> {
    match model.card.task {
        Task::Classify => {
            let class = top_k(&model.class_values(output), 1).first().map_or(0, |(class, ..)| *class);
            Some(Answer::Class(class as u32))
        }
        Task::Tag => Some(Answer::Steps(step_classes(output, shape).into_iter().map(|class| class as u32).collect())),
        Task::Segment => Some(Answer::Map(pixel_classes(model, sample, output, shape))),
        Task::Features => Some(Answer::Vector(output.to_vec())),
        Task::Restore | Task::Language | Task::Detect => None,
    }
}

/// Adds how the `answer` of one network agrees with the `known` one.
fn add_agreement(quality: &mut Quality, known: &Answer, answer: Option<Answer>) {
    match (quality, known, answer) {
        (Quality::Classify(sums), Answer::Class(known), Some(Answer::Class(answer))) => {
            sums.labelled += 1;
            sums.top1 += u64::from(answer == *known);
        }
        (Quality::Label(sums), Answer::Steps(known), Some(Answer::Steps(answer))) => {
            answer.into_iter().zip(known).for_each(|(answer, &known)| sums.add(answer, known));
        }
        (Quality::Segment(sums), Answer::Map(known), Some(Answer::Map(answer))) => sums.add(&answer, known, IGNORE),
        (Quality::Embed(sums), Answer::Vector(known), Some(Answer::Vector(answer))) => {
            sums.add(cosine(&answer, known), None);
        }
        _ => {}
    }
}

/// Adds whether the partner of `sample` is the nearest of `partners` to its embedding.
fn add_retrieval(quality: &mut Quality, sample: &Sample, output: &[f32], partners: &Vectors) {
    if let Quality::Embed(nearness) = quality {
        let own = cosine(output, partners.row(sample.place));
        nearness.add(own, Some(nearest(output, partners.rows()) == Some(sample.place)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_as_much_as_the_tolerance_is_within_it() {
        // In floats 1 - 0.95 is 0.050000000000000044, and 1 - 0.9 is 0.09999999999999998.
        for (full, got, want) in [(1.0, 0.95, 0.05), (1.0, 0.9, 0.1), (0.8, 0.76, 0.05), (0.8, 0.84, -0.05)] {
            assert_eq!(Figure::Accuracy.loss(full, got), want, "{full} {got}");
        }
        assert_eq!(Figure::Perplexity.loss(4.0, 4.04), 0.01);
        assert_eq!(Figure::Accuracy.loss(0.5, -f64::MAX), f64::INFINITY);
    }
}
