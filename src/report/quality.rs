//! How good a network's answers were: as part of the document, and as text.

use serde::{Deserialize, Serialize};

use super::units;
use crate::task;

/// How good the answers were, by task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quality {
    /// Of classes of images.
    Classify(Accuracy),
    /// Of classes of pixels.
    Segment(Overlap),
    /// Of images.
    Restore(Fidelity),
    /// Of the next tokens of texts.
    Language(Likelihood),
    /// Of classes of texts, or of their words.
    Label(Labelling),
    /// Of embeddings.
    Embed(Nearness),
}

/// How many of some, with both counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// `numerator / denominator`; none of none.
    pub value: Option<f64>,
    /// Those that are meant.
    pub numerator: u64,
    /// All.
    pub denominator: u64,
}

impl Share {
    /// `part` of `whole`.
    pub fn new(part: u64, whole: u64) -> Self {
        let value = (whole > 0).then(|| part as f64 / whole as f64);
        Self { value, numerator: part, denominator: whole }
    }
}

/// Semantic segmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlap {
    /// Inputs with a truth.
    pub images: u64,
    /// Pixels with a truth.
    pub pixels: u64,
    /// Of these, those of the right class.
    pub accuracy: Share,
    /// Mean over classes of intersection over union.
    pub mean_iou: Option<f64>,
    /// The classes that occur.
    pub classes: Vec<ClassOverlap>,
}

/// One class's pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassOverlap {
    /// Its number.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Pixels in answer and truth, of those in answer or truth.
    pub iou: Share,
}

/// Language modelling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likelihood {
    /// Tokens predicted.
    pub tokens: u64,
    /// Of these, those that were the likeliest.
    pub accuracy: Share,
    /// Characters that they stand for.
    pub characters: u64,
    /// `exp` of the mean negative log-likelihood of a token; none where that is no number.
    pub perplexity: Option<f64>,
    /// Negative log-likelihood in bits, of a character.
    pub bits_per_character: Option<f64>,
    /// The same of a byte of UTF-8, which networks with other tokens have in common.
    #[serde(default)]
    pub bits_per_byte: Option<f64>,
}

/// Classification of texts, or of their words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labelling {
    /// Texts, or words, with a label.
    pub labelled: u64,
    /// Of these, those whose label is the highest logit.
    pub accuracy: Share,
    /// Mean of F1 over the classes that occur.
    pub macro_f1: Option<f64>,
    /// The classes that are an answer or a label.
    pub classes: Vec<ClassF1>,
}

/// One class of texts or words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassF1 {
    /// Its number.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Of the answers of the class, those with its label.
    pub precision: Share,
    /// Of those with its label, the answers of the class.
    pub recall: Share,
    /// Twice the right answers, of the answers and labels of the class.
    pub f1: Share,
}

/// Embedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nearness {
    /// Inputs.
    pub inputs: u64,
    /// Of these, those whose partner is the nearest of all by cosine; absent where a reference's vectors are no partners.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub top1: Option<Share>,
    /// Mean cosine of an embedding and that of the partner, or the reference's.
    pub mean_cosine: f64,
    /// The least.
    pub least_cosine: f64,
}

/// Most classes whose F1 is in a line of text.
const LISTED: usize = 12;

/// Image restoration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fidelity {
    /// Inputs with a truth.
    pub images: u64,
    /// Mean PSNR of the answers, dB; values clipped to 0..1.
    pub psnr_db: f64,
    /// Mean PSNR of the inputs, dB.
    pub input_psnr_db: f64,
    /// Mean SSIM of the answers (Gaussian windows of 11x11); absent where no image is that large.
    pub ssim: Option<f64>,
}

/// Classification accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// Inputs with a label.
    pub labelled: u64,
    /// Of these, those whose label is the highest logit.
    pub top1: Share,
    /// Of these, those whose label is among the five highest.
    pub top5: Share,
}

/// How good the answers were; nothing where no truth is known.
///
/// `class_name` returns the name of a class.
pub fn quality(quality: &task::Quality, class_name: &dyn Fn(usize) -> String) -> Option<Quality> {
    match quality {
        task::Quality::Classify(sums) => {
            let [top1, top5] = [sums.top1, sums.top5].map(|right| Share::new(right, sums.labelled));
            let accuracy = Accuracy { labelled: sums.labelled, top1, top5 };
            (sums.labelled > 0).then_some(Quality::Classify(accuracy))
        }
        task::Quality::Segment(sums) => (sums.images > 0).then(|| {
            let [correct, pixels] = sums.pixels();
            let classes = sums.classes.iter().enumerate().filter(|(_, area)| area.union() > 0);
            let overlap = |(class, area): (usize, &task::segment::Area)| ClassOverlap {
                class,
                name: class_name(class),
                iou: Share::new(area.intersection, area.union()),
            };
            let (classes, accuracy) = (classes.map(overlap).collect(), Share::new(correct, pixels));
            Quality::Segment(Overlap { images: sums.images, pixels, accuracy, mean_iou: sums.mean_iou(), classes })
        }),
        task::Quality::None => None,
        task::Quality::Embed(sums) => sums.cosines().map(|[mean_cosine, least_cosine]| {
            let top1 = sums.nearest.map(|nearest| Share::new(nearest, sums.inputs));
            Quality::Embed(Nearness { inputs: sums.inputs, top1, mean_cosine, least_cosine })
        }),
        task::Quality::Label(sums) => {
            let [right, labelled] = sums.accuracy();
            let score = |(&class, counts): (&u32, &task::labels::ClassCounts)| {
                let [part, whole] = counts.f1();
                ClassF1 {
                    class: class as usize,
                    name: class_name(class as usize),
                    precision: Share::new(counts.right, counts.answers),
                    recall: Share::new(counts.right, counts.labels),
                    f1: Share::new(part, whole),
                }
            };
            (labelled > 0).then(|| {
                let (accuracy, classes) = (Share::new(right, labelled), sums.classes.iter().map(score).collect());
                Quality::Label(Labelling { labelled, accuracy, macro_f1: sums.macro_f1(), classes })
            })
        }
        task::Quality::Language(sums) => (sums.tokens > 0).then(|| {
            Quality::Language(Likelihood {
                tokens: sums.tokens,
                accuracy: Share::new(sums.correct, sums.tokens),
                characters: sums.chars,
                perplexity: Some(sums.perplexity()).filter(|perplexity| perplexity.is_finite()),
                bits_per_character: sums.bits_per_character(),
                bits_per_byte: sums.bits_per_byte(),
            })
        }),
        task::Quality::Restore(sums) => (sums.images > 0).then(|| {
            let [psnr_db, input_psnr_db] = sums.mean_psnr();
            Quality::Restore(Fidelity { images: sums.images, psnr_db, input_psnr_db, ssim: sums.mean_ssim() })
        }),
    }
}

/// How good the answers were, as text.
pub fn quality_text(quality: &Quality) -> String {
    let share = |share: &Share| units::share(share.value);
    match quality {
        Quality::Classify(Accuracy { labelled, top1, top5 }) => {
            let (top1, top5) = (share(top1), share(top5));
            format!("top-1 {top1}, top-5 {top5} of {labelled} with a label")
        }
        Quality::Segment(Overlap { images, accuracy, mean_iou, .. }) => {
            let (iou, right) = (units::share(*mean_iou), share(accuracy));
            format!("mean IoU {iou}, {right} of the pixels right, of {images} with a truth")
        }
        Quality::Language(Likelihood { tokens, accuracy, perplexity, bits_per_character, bits_per_byte, .. }) => {
            let perplexity = perplexity.unwrap_or(f64::INFINITY);
            // They differ where characters have several bytes.
            let of_bytes = bits_per_byte.filter(|bits| Some(*bits) != *bits_per_character);
            let bits = [(*bits_per_character, "character"), (of_bytes, "byte")]
                .map(|(bits, of)| bits.map(|bits| format!(", {bits:.3} bits a {of}")).unwrap_or_default());
            let bits = bits.concat();
            let right = share(accuracy);
            format!("perplexity {perplexity:.3}{bits}, {right} right, of {tokens} tokens")
        }
        Quality::Embed(Nearness { inputs, top1, mean_cosine, least_cosine }) => match top1 {
            Some(top1) => {
                let (right, of) = (top1.numerator, share(top1));
                format!("top-1 {right} of {inputs} ({of}), cosine of pairs {mean_cosine:.4} (least {least_cosine:.4})")
            }
            None => format!("cosine {mean_cosine:.6} (least {least_cosine:.6}) of {inputs} with a reference"),
        },
        Quality::Label(Labelling { labelled, accuracy, macro_f1, classes }) => {
            let (right, f1) = (share(accuracy), |value: Option<f64>| format!("{:.4}", value.unwrap_or_default()));
            let name = |class: &ClassF1| class.name.replace(char::is_control, "\u{fffd}");
            let each = classes.iter().map(|class| format!("{} {}", name(class), f1(class.f1.value)));
            let each = each.collect::<Vec<_>>().join(", ");
            let each = if classes.len() <= LISTED { format!(" ({each})") } else { String::new() };
            format!("{right} right, macro F1 {}{each}, of {labelled} with a label", f1(*macro_f1))
        }
        Quality::Restore(Fidelity { images, psnr_db, input_psnr_db, ssim }) => {
            let ssim = ssim.map(|ssim| format!(", SSIM {ssim:.4}")).unwrap_or_default();
            format!("PSNR {psnr_db:.2} dB (inputs {input_psnr_db:.2}){ssim} of {images} with a truth")
        }
    }
}
