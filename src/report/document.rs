//! The measurement as one document: what `--format json` prints, and the only thing the other formats read.
//!
//! Integers are exact counts. Ratios are fractions 0..1, computed last. Field order is output order.

use serde::Serialize;

use super::quality::Quality;
pub use super::recurrent::{Gate, Recurrent, Step, Temporal};

/// Name and version of the document's layout.
pub const SCHEMA: &str = "deadweight/measure/1";

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// What was measured.
    pub model: Model,
    /// On what.
    pub data: Data,
    /// In which numbers.
    pub format: Format,
    /// By what.
    pub tool: Tool,
    /// One row a MAC layer, in the order of the network.
    pub layers: Vec<Layer>,
    /// Sums over the layers, and ratios of those sums.
    pub network: Network,
}

/// The model's provenance.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Card name.
    pub name: String,
    /// `classify`, ...
    pub task: String,
    /// `built-in demo` for the embedded model, else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whose parameter names the checkpoint has: `torchvision`, `timm`, `transformers`, ...
    pub naming: String,
    /// Learned values.
    pub parameters: u64,
    /// Whether batch norm was folded into the weights before measuring; null where the checkpoint has none.
    pub folded: Option<bool>,
    /// What the network was quantised to before measuring, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantized: Option<&'static str>,
    /// What was chosen or left out where the model's files leave a choice, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where the weights come from.
    pub source: String,
    /// Their licence.
    pub licence: String,
    /// The files they were read from.
    pub files: Vec<File>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// File name without directories.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// The inputs' provenance.
#[derive(Clone, Debug, Serialize)]
pub struct Data {
    /// How many were measured.
    pub inputs: u64,
    /// Sum modulo 2^256 of the SHA-256 of every input's bytes, hex: the same for any order and any split.
    pub inputs_sha256: String,
    /// How many were skipped because they could not be decoded (`--skip-bad`).
    pub skipped: u64,
    /// The preprocessing in words.
    pub preprocessing: String,
    /// What was chosen where the inputs left a choice: how labels were read, which images were turned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How good the network's answers were, where labels are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// The number format (METRICS section 2).
#[derive(Clone, Debug, Serialize)]
pub struct Format {
    /// `fixed16`, `fixed<B>`, `int8`.
    pub name: String,
    /// Baseline width B.
    pub bits: u32,
    /// Which terms the potentials count: `naf`, `popcount`, `booth4`, `runs`.
    pub encoder: String,
    /// Whether a MAC that is not skipped costs at least 1.
    pub min_one: bool,
    /// `values` where neither terms nor codes of activations were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<&'static str>,
    /// Inputs the ranges of activations were calibrated on.
    pub calibration_inputs: u64,
}

/// This program.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// `deadweight`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// `native` or `candle`.
    pub backend: String,
}

/// One MAC layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Where its weights live in the checkpoint.
    pub name: String,
    /// `conv`, `depthwise`, `linear`, ...
    pub kind: String,
    /// Extents.
    pub shape: Extents,
    /// Rows, columns.
    pub stride: [usize; 2],
    /// Top, bottom, left, right; null where inputs differ.
    pub padding: [Option<usize>; 4],
    /// Rows, columns.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
    /// MACs by class.
    pub macs: Macs,
    /// The operand that enters.
    pub activations: Operand,
    /// The operand that stays.
    pub weights: Operand,
    /// Potentials by name, in the order of METRICS section 5.
    pub potentials: Potentials,
    /// Of a product of an LSTM: its gates, and its operand along the steps of sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurrent: Option<Recurrent>,
}

/// Extents of a layer's tensors for one image; null where inputs differ.
#[derive(Clone, Debug, Serialize)]
pub struct Extents {
    /// `[C, H, W]`.
    pub input: [Option<usize>; 3],
    /// `[K, P, Q]`.
    pub output: [Option<usize>; 3],
    /// `[K, C/groups, R, S]`.
    pub weight: [usize; 4],
}

/// MACs by class (METRICS section 1); the last five sum to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Macs {
    /// All.
    pub dense: u64,
    /// The activation is read from outside the tensor.
    pub padding: u64,
    /// a = 0 and w = 0.
    pub zero_both: u64,
    /// a = 0, w != 0.
    pub zero_activation: u64,
    /// a != 0, w = 0.
    pub zero_weight: u64,
    /// Both non-zero.
    pub effectual: u64,
}

/// Raw statistics of one operand (METRICS section 4). In the network's sums, what does not sum is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Operand {
    /// Bits of the format, sign included.
    pub bits: u32,
    /// Whether codes can be negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// Codes are `round(x * scale)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Values.
    pub elements: u64,
    /// Zero codes: natural and rounded together.
    pub zeros: u64,
    /// The real value is exactly 0.0.
    pub zeros_natural: u64,
    /// Non-zero value, zero code.
    pub zeros_rounded: u64,
    /// `zeros / elements`.
    pub zero_share: Option<f64>,
    /// Negative codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<u64>,
    /// Values beyond the calibrated range.
    pub saturated: u64,
    /// Smallest real value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest real value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Mean of the codes, divided by the scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation of the codes, divided by the scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// The layer's width p: that of all its values as one group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_width: Option<u32>,
    /// Values by width 0..=17.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width_histogram: Option<Vec<u64>>,
    /// Mean width of a value.
    pub mean_width: Option<f64>,
    /// Groups of 16, 64, 256.
    pub groups: Groups,
    /// Zero bits of all bits, sign-magnitude.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_bits_sign_magnitude: Option<Share>,
    /// Zero bits of all bits, two's complement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_bits_twos_complement: Option<Share>,
    /// The codes as the network stores them, where it stores integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
    /// Terms by encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Shannon entropy of the codes, bits a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Channels that were never non-zero.
    pub dead_channels: u64,
    /// Non-zero codes of each channel; absent in the network's sums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_nonzeros: Option<Vec<u64>>,
}

/// Codes before the zero point is taken off: what a memory holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Raw {
    /// The code of zero.
    pub zero_point: i32,
    /// Codes that are 0.
    pub zeros: Share,
    /// Zero bits of all bits, two's complement where codes are signed.
    pub zero_bits: Share,
}

/// `count` of `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// Part.
    pub count: u64,
    /// Whole.
    pub total: u64,
    /// `count / total`; null for an empty whole.
    pub share: Option<f64>,
}

/// Group statistics by group size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Groups {
    /// Groups of 16.
    pub g16: Group,
    /// Groups of 64.
    pub g64: Group,
    /// Groups of 256.
    pub g256: Group,
}

/// Widths of groups of one size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// How many groups.
    pub groups: u64,
    /// Groups by width 0..=17.
    pub histogram: Vec<u64>,
    /// Mean width of a group.
    pub mean_width: Option<f64>,
}

/// Terms by encoder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Terms {
    /// Canonical signed digits.
    pub naf: Term,
    /// Ones.
    pub popcount: Term,
    /// Radix-4 modified Booth digits.
    pub booth4: Term,
    /// Run code of the authors' simulator.
    pub runs: Term,
}

impl Terms {
    /// Each with the name of its encoder.
    pub fn by_encoder(&self) -> [(&'static str, Term); 4] {
        [("naf", self.naf), ("popcount", self.popcount), ("booth4", self.booth4), ("runs", self.runs)]
    }
}

/// Terms of one encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Term {
    /// Sum over all values.
    pub terms: u64,
    /// Mean over all values.
    pub per_value: Option<f64>,
    /// Mean over non-zero values.
    pub per_nonzero: Option<f64>,
}

/// Potentials in a fixed order, printed as a map from name to potential.
#[derive(Clone, Debug, Default)]
pub struct Potentials(pub Vec<(&'static str, Potential)>);

impl Serialize for Potentials {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, potential)| (name, potential)))
    }
}

impl Potentials {
    /// The potential of that name.
    pub fn get(&self, name: &str) -> Option<&Potential> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, potential)| potential)
    }
}

/// One potential in both padding modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Potential {
    /// Padding MACs counted, as the papers do.
    pub with_padding: Work,
    /// Padding MACs left out of both sums.
    pub without_padding: Work,
}

/// Work in bit products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Work {
    /// What a dense design does.
    pub baseline: u128,
    /// What is left.
    pub work: u128,
    /// `baseline / work`; null where no work is left (infinite).
    pub potential: Option<f64>,
}

/// Sums over all layers.
#[derive(Clone, Debug, Serialize)]
pub struct Network {
    /// MACs by class.
    pub macs: Macs,
    /// Operands that enter.
    pub activations: Operand,
    /// Operands that stay.
    pub weights: Operand,
    /// Potentials by name.
    pub potentials: Potentials,
}
