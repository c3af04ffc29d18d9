//! Numbers that say how good a network's answers were, by name: `quality.top1`.

use serde_json::Value as Json;

use crate::report::Report;

/// The names, by task.
const NAMES: [(&str, &[&str]); 6] = [
    ("classify", &["labelled", "top1", "top5"]),
    ("segment", &["images", "pixels", "accuracy", "mean_iou"]),
    ("restore", &["images", "psnr_db", "input_psnr_db", "ssim"]),
    ("language", &["tokens", "accuracy", "characters", "perplexity", "bits_per_character", "bits_per_byte"]),
    ("label", &["labelled", "accuracy", "macro_f1"]),
    ("embed", &["inputs", "top1", "mean_cosine", "least_cosine"]),
];

/// The names that answers of `task` have, or those of all tasks.
pub(super) fn names(task: Option<&str>) -> Vec<&'static str> {
    let of = NAMES.iter().filter(|(known, _)| task.is_none_or(|task| task == *known));
    let mut names: Vec<&str> = of.flat_map(|(_, names)| names.iter().copied()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The number `name` of the answers of `report`; none where no truth is known, or the number is none.
pub(super) fn number(report: &Report, name: &str) -> Option<f64> {
    let quality = serde_json::to_value(report.quality.as_ref()?).expect("a quality has names for keys");
    match quality.get(name)? {
        Json::Object(share) => share.get("value")?.as_f64(),
        number => number.as_f64(),
    }
}
