//! Where a measurement comes from: the model, the inputs, the numbers, the program. What cannot change a count (threads, batch,
//! level, paths, time) is not in it, so that equal measurements are equal to the byte.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::kernels::count::Encoder;

/// Provenance of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// What was measured.
    pub model: Model,
    /// How inputs were made of files.
    pub preprocessing: String,
    /// In which numbers.
    pub format: Format,
    /// Flags that can change a number, by name, with their values; those at their defaults are there too.
    pub options: BTreeMap<String, String>,
    /// What was chosen or left out that a reader of the numbers should know.
    pub notes: Vec<String>,
    /// By what.
    pub tool: Tool,
}

/// How a note ends that is about a layer whose 32-bit sums wrapped.
pub const WRAPPED: &str = ": sums left 32 bits and wrapped, as in the runtimes of such files";

impl Provenance {
    /// Adds those of `notes` that are about layers whose sums wrapped: each once, behind the others, in order.
    pub fn add_wrapped(&mut self, notes: impl IntoIterator<Item = String>) {
        let is_one = |note: &String| note.ends_with(WRAPPED);
        let all: BTreeSet<String> = self.notes.iter().cloned().chain(notes).filter(is_one).collect();
        self.notes.retain(|note| !is_one(note));
        self.notes.extend(all);
    }

    /// In what `other` is not that of a part of the same run, if it is not.
    pub fn difference(&self, other: &Self) -> Option<String> {
        self.differences(other).next().map(|[name, own, other]| format!("its {name} is {other}, not {own}"))
    }

    /// In what `other` differs: the fact's name, what it is here, and what it is there.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = [String; 3]> {
        let short = |file: &File| format!("{} ({})", file.name, file.sha256.chars().take(12).collect::<String>());
        let files = |provenance: &Self| provenance.model.files.iter().map(short).collect::<Vec<_>>().join(", ");
        let options = |provenance: &Self| {
            let option = |(name, value): (&String, &String)| format!("{name} {value}");
            provenance.options.iter().map(option).collect::<Vec<_>>().join(", ")
        };
        let facts = |provenance: &Self| {
            let Self { model, preprocessing, format, tool, .. } = provenance;
            let quantized = model.quantized.clone().unwrap_or_else(|| "nothing".into());
            let folded = model.folded.map_or_else(|| "none".to_owned(), |folded| folded.to_string());
            let on_demand = if format.extra.is_empty() { "none".to_owned() } else { format.extra.join(", ") };
            let designs = match &format.designs[..] {
                [] => "none".to_owned(),
                some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            };
            let ranges = format!("of {} inputs ({:.12})", format.calibration_inputs, format.calibration_sha256);
            [
                ("model", model.name.clone()),
                ("weights", files(provenance)),
                ("network quantised to", quantized),
                ("folding of batch norm", folded),
                ("preprocessing", preprocessing.clone()),
                ("format", format.name.clone()),
                ("precision file", format.precision.as_ref().map_or_else(|| "none".into(), short)),
                ("weight scale", format.weight_scale.clone().unwrap_or_else(|| "none".into())),
                ("encoder", format.encoder.name().to_owned()),
                ("min-one", format.min_one.to_string()),
                ("level of statistics", format.statistics.clone()),
                ("list of on-demand counts (--metrics)", on_demand),
                ("list of designs", designs),
                ("calibration", ranges),
                ("list of options", options(provenance)),
                ("engine", tool.backend.clone()),
                ("version", tool.version.clone()),
            ]
        };
        let pairs = facts(self).into_iter().zip(facts(other));
        let differs = pairs.filter(|((_, own), (_, other))| own != other);
        differs.map(|((name, own), (_, other))| [name.to_owned(), own, other])
    }
}

/// The model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Card name.
    pub name: String,
    /// `classify`, ...
    pub task: String,
    /// `built-in demo` for the embedded models, else absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Whose parameter names the checkpoint has: `torchvision`, `timm`, `transformers`, ...
    pub naming: String,
    /// Learned values.
    pub parameters: u64,
    /// Whether batch norm was folded into the weights before measuring; null where the checkpoint has none.
    pub folded: Option<bool>,
    /// What the network was quantised to before measuring, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quantized: Option<String>,
    /// Where the weights come from.
    pub source: String,
    /// Their licence.
    pub licence: String,
    /// The files they were read from.
    pub files: Vec<File>,
    /// Names of the classes of pixels, texts or words that were met, by number; of other tasks none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub classes: BTreeMap<usize, String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// File name without directories.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// The numbers (METRICS section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// `fixed16`, `fixed<B>`, `int8`, `bf16`, `fp16`, `e4m3`, `e5m2`, `stored`, `profile`, or one for each operand:
    /// `a:FORMAT,w:FORMAT`.
    pub name: String,
    /// The precision file of a profile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub precision: Option<File>,
    /// Scales of a layer's weights, where their format has any to choose: one a `tensor`, or one a `filter`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weight_scale: Option<String>,
    /// Which terms the potentials count: `naf`, `popcount`, `booth4`, `runs`.
    #[serde(with = "by_name")]
    pub encoder: Encoder,
    /// Whether a MAC that is not skipped costs at least 1.
    pub min_one: bool,
    /// What was counted: `values`, or `full`, which is terms and codes too.
    pub statistics: String,
    /// On-demand counts (`--metrics`), by name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub extra: Vec<String>,
    /// Designs that ran the operands, with what they were built with.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub designs: Vec<Design>,
    /// Inputs that the ranges of activations were calibrated on.
    pub calibration_inputs: u64,
    /// Sum modulo 2^256 of the SHA-256 of each of them, hex.
    pub calibration_sha256: String,
}

/// A design and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// Its name.
    pub name: String,
    /// By name.
    pub parameters: BTreeMap<String, usize>,
}

impl std::fmt::Display for Design {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters: Vec<String> = self.parameters.iter().map(|(name, value)| format!("{name} {value}")).collect();
        write!(f, "{} ({})", self.name, parameters.join(", "))
    }
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `deadweight`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `native` or `candle`.
    pub backend: String,
}

impl Tool {
    /// This program with the engine `backend`.
    pub fn this(backend: &str) -> Self {
        Self { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into(), backend: backend.into() }
    }
}

/// Encoders by their names.
mod by_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::kernels::count::Encoder;

    pub(super) fn serialize<S: Serializer>(encoder: &Encoder, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(encoder.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Encoder, D::Error> {
        let name = String::deserialize(deserializer)?;
        Encoder::from_name(&name).ok_or_else(|| D::Error::custom(format!("{name} is no encoder")))
    }
}
