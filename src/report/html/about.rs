//! What a page says of a run besides its numbers: its name among others, its class, the command that repeats it.

use serde_json::{Value as Json, json};

use crate::kernels::count::Encoder;
use crate::measurement::Provenance;
use crate::report::{Report, facts};
use crate::tally::Statistics;

/// Classes of networks, which figures of several networks tell apart, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Convolutions that name what an image shows.
    Images,
    /// Networks that name what each pixel shows, or find objects.
    Segmentation,
    /// Networks whose answer is an image.
    Restoration,
    /// Networks with recurrent layers.
    Recurrent,
    /// Networks with attention.
    Transformer,
    /// Networks that compute in the integers that they store.
    Quantised,
    /// All others.
    Other,
}

impl Class {
    /// As figures call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "image classifiers",
            Self::Segmentation => "segmentation",
            Self::Restoration => "restoration",
            Self::Recurrent => "recurrent",
            Self::Transformer => "transformers",
            Self::Quantised => "quantised",
            Self::Other => "other",
        }
    }
}

/// The class of the network that `run` measured.
pub fn class(run: &Report) -> Class {
    let has = |kinds: &[&str]| run.layers().any(|layer| kinds.contains(&layer.kind.as_str()));
    let format = &run.provenance.format.name;
    let attends = has(&["attention"]);
    match run.provenance.model.task.as_str() {
        _ if !attends && format == "stored" => Class::Quantised,
        _ if attends => Class::Transformer,
        _ if has(&["lstm", "gru", "rnn"]) => Class::Recurrent,
        "classify" => Class::Images,
        "segment" | "detect" => Class::Segmentation,
        "restore" => Class::Restoration,
        _ => Class::Other,
    }
}

/// A name for each run that no other has: that of its network, with its numbers or its place where networks are the same.
pub fn labels(runs: &[Report]) -> Vec<String> {
    let names = |run: &Report| {
        let model = &run.provenance.model;
        let to = model.quantized.as_ref().map(|to| format!(" {to}")).unwrap_or_default();
        // Of a hub id the last word, and no directories.
        let name = model.name.rsplit('/').next().unwrap_or_default();
        let short = format!("{name}{to}");
        let long = format!("{short} in {}", run.provenance.format.name);
        [short, long]
    };
    let all: Vec<[String; 2]> = runs.iter().map(names).collect();
    let is_alone = |kind: usize, name: &String| all.iter().filter(|names| names[kind] == *name).count() == 1;
    let label = |(place, [short, long]): (usize, &[String; 2])| match () {
        () if is_alone(0, short) => short.clone(),
        () if is_alone(1, long) => long.clone(),
        () => format!("{long}, run {}", place + 1),
    };
    all.iter().enumerate().map(label).collect()
}

/// What `run` is, and where it comes from.
pub(super) fn about(run: &Report, label: &str) -> Json {
    let Provenance { model, preprocessing, format, options, notes, tool } = &run.provenance;
    json!({
        "label": label,
        "class": class(run).name(),
        "facts": facts(run),
        "command": command(&run.provenance),
        "inputs": run.inputs,
        "inputs_sha256": run.inputs_sha256,
        "skipped": run.skipped,
        "preprocessing": preprocessing,
        "phases": run.phases,
        "model": model,
        "format": format,
        "options": options,
        "notes": notes,
        "tool": tool,
    })
}

/// The command that measures the same again, but for the inputs, which are the user's to fill in.
fn command(provenance: &Provenance) -> String {
    let Provenance { model, format, options, .. } = provenance;
    let mut words = vec!["deadweight measure".to_owned()];
    if model.note.is_some() {
        words.push(model.name.clone());
    } else {
        words.push(quoted(&model.source));
        let carries_no_network = [".safetensors", ".pt", ".pth", ".bin", ".npz", ".th", ".ckpt", ".pkl", ".tar"];
        if carries_no_network.iter().any(|end| model.source.ends_with(end)) {
            words.push(format!("--arch {}", quoted(&model.name)));
        }
        words.push(options.get("inputs").map_or("INPUTS".into(), |inputs| quoted(inputs)));
    }
    words.extend((model.folded == Some(false)).then(|| "--no-fold".into()));
    words.extend(model.quantized.as_ref().map(|to| format!("--quantize {to}")));
    if format.name != "fixed16" && format.name != "stored" {
        words.push(format!("--number-format {}", format.name));
    }
    let by_default = if format.name == "int8" { "filter" } else { "tensor" };
    if let Some(scale) = format.weight_scale.as_deref().filter(|scale| *scale != by_default) {
        words.push(format!("--weight-scale {scale}"));
    }
    if format.encoder != Encoder::default() {
        words.push(format!("--encoder {}", format.encoder.name()));
    }
    if format.statistics != Statistics::default().name() {
        words.push(format!("--statistics {}", format.statistics));
    }
    // Outputs are counted where other counts ask for them.
    let asked: Vec<&str> = format.extra.iter().map(String::as_str).filter(|extra| *extra != "outputs").collect();
    if !asked.is_empty() {
        words.push(format!("--metrics {}", asked.join(",")));
    }
    words.extend(format.min_one.then(|| "--min-one".into()));
    for (name, value) in options {
        let flag = name.replace('_', "-");
        match (name.as_str(), value.as_str()) {
            // What a network or an engine says of itself is no flag, and some are as they are by default.
            ("network_sigma" | "carry" | "device" | "inputs", _)
            | ("kernels", "auto" | "rten")
            | ("calibrate", "32") => {}
            (_, "false") => {}
            (_, "true") => words.push(format!("--{flag}")),
            (_, value) => words.push(format!("--{flag} {}", quoted(value))),
        }
    }
    words.join(" ")
}

/// `text` as a word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || ".,-%:/_=@+".contains(c);
    if text.chars().all(is_plain) { text.into() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
