//! The command line: verbs and flags. Their meaning is implemented by the verbs.

// The doc comments of flags are their help texts, which are plain text.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, value_parser};

use super::bench::BenchArgs;
use super::compare::CompareArgs;
use super::completions::CompletionsArgs;
use super::config::ConfigArgs;
use super::designs::DesignsArgs;
use super::doctor::DoctorArgs;
pub use super::engine_args::{BackendArgs, BackendName, DeviceName, EngineArgs, Kernels};
use super::explain::ExplainArgs;
use super::export::ExportArgs;
use super::generate_args::GenerateArgs;
use super::input_args::StatedArgs;
use super::man::ManArgs;
use super::measure::MeasureArgs;
use super::merge::MergeArgs;
use super::onnx_args::OnnxArgs;
use super::parsers::{encoder, number_format, up_to_thousand, weight_scale};
use super::precision::PrecisionArgs;
use super::pull::PullArgs;
use super::report::ReportArgs;
use super::schema::SchemaArgs;
use super::study::StudyArgs;
use super::threshold::ThresholdArgs;
use super::trace::TraceArgs;
use crate::format::{Formats, WeightScale};
use crate::kernels::count::Encoder;

const EXAMPLES: &str = "\
Examples:
  deadweight                                        all built-in models on their built-in inputs
  deadweight measure timm/resnet18.a1_in1k photos/ --format json -o resnet18.json

MODEL is a card's name (see `deadweight models`), a directory with config.json, a weights file with --arch CARD,
a card file (.toml), a .gguf, .tflite or .onnx file, or a Hugging Face id org/name[@revision][:file]. Built in are digits, scenes, photos,
verses and chapters.";

/// Runs neural networks and measures, exactly and while they run, how much of the work is ineffectual.
#[derive(Debug, Parser)]
#[command(name = "deadweight", version, about, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; by default, to measure the built-in models.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Flags of all verbs.
    #[command(flatten)]
    pub common: Common,
    /// Where other options come from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Flags of all verbs.
#[derive(Args, Clone, Copy, Debug)]
pub struct Common {
    /// Read only what is on this machine, download nothing
    #[arg(long, global = true)]
    pub offline: bool,
    /// No progress bar, no warnings
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More log messages on stderr (-vv: all; RUST_LOG for finer control)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the networks, or show the layers of one
    Models(ModelsArgs),
    /// Run the network on inputs: the most likely classes of images, class maps, restored images, or the score of texts
    #[command(after_help = "\
Examples:
  deadweight run digits
  deadweight run microsoft/resnet-50 cat.jpg dog.png --top 3
  deadweight run dncnn_25.pth --arch dncnn_gray photos/ --sigma 25 --save restored/")]
    Run(Box<RunArgs>),
    /// Measure how much of the work is ineffectual, layer by layer
    #[command(after_help = "\
Examples:
  deadweight measure digits --number-format int8 --columns kind,a.zeros,Ae,We+Ae
  deadweight measure resnet20.safetensors --arch resnet20-cifar cifar/ --limit 1000 --format csv -o resnet20.csv
  deadweight measure digits --assert 'network.potential.W+A >= 2.0' --assert 'layers.a.zeros > 0'")]
    Measure(Box<MeasureArgs>),
    /// Time plain runs against measured ones
    #[command(after_help = "\
Examples:
  deadweight bench digits
  deadweight bench mobilenet_v2 --random-weights --batch-size 1 --threads 1
  deadweight bench SmolLM2-135M.gguf --context 128 --generate 16 --batch-size 1")]
    Bench(Box<BenchArgs>),
    /// Set small activations to zero, level by level: which zeros that makes, and what it costs the answers
    #[command(after_help = "\
Examples:
  deadweight threshold verses
  deadweight threshold SmolLM2-135M-Instruct.Q4_1.gguf text.txt --threshold 25%,40%,50% --limit 8")]
    Threshold(Box<ThresholdArgs>),
    /// Run the operands on designs of the literature: what finite lanes reach, and what keeps them from the ideal
    #[command(after_help = "\
Examples:
  deadweight designs digits
  deadweight designs digits --design pragmatic,tactical-e --by-layer
  deadweight designs digits --number-format int8 -o digits.dwm
  deadweight designs digits.dwm --format csv")]
    Designs(Box<DesignsArgs>),
    /// Search how few bits the activations and weights of each layer need, within a loss of the task's figure
    #[command(after_help = "\
Examples:
  deadweight precision digits --tolerance 1% -o digits.toml
  deadweight measure digits --precision digits.toml
  deadweight precision digits --check digits.toml
  deadweight precision resnet20.safetensors cifar/ --arch resnet20-cifar --limit 200 --checkpoint search.state -o resnet20.toml
  deadweight precision verses --float --limit 8 -o verses.toml")]
    Precision(Box<PrecisionArgs>),
    /// Change a network level by level: prune its weights, or cut its small activations
    Study(StudyArgs),
    /// Print the counts that a file holds
    #[command(after_help = "\
Examples:
  deadweight measure digits -o digits.dwm
  deadweight report digits.dwm --columns kind,macs,a.width,potential.Ae
  deadweight report digits.dwm --format csv -o digits.csv
  deadweight report digits.dwm --baseline earlier.dwm --tolerance 1%
  deadweight report digits.dwm chapters.dwm -o both.html --open
  deadweight report digits.dwm chapters.dwm --svg figures")]
    Report(Box<ReportArgs>),
    /// Compare measurements figure by figure: layers matched by name, changes told from noise
    #[command(after_help = "\
Examples:
  deadweight measure digits -o digits.dwm
  deadweight measure digits --threshold 30% -o cut.dwm
  deadweight compare digits.dwm cut.dwm
  deadweight compare digits.dwm cut.dwm --columns a.zeros,W+A --only-changed --threshold 1%
  deadweight compare digits.dwm cut.dwm --assert 'network.potential.W+A >= 2.0' --format md")]
    Compare(Box<CompareArgs>),
    /// Add the counts of parts of a run
    Merge(MergeArgs),
    /// Write what accelerator simulators read: shapes, densities, precisions, codes
    Export(Box<ExportArgs>),
    /// Download models and data sets of the Hugging Face hub into the cache that its Python client shares
    #[command(after_help = "\
Examples:
  deadweight pull timm/resnet18.a1_in1k gpt2
  deadweight pull org/net-GGUF:Q4_K_M
  deadweight pull datasets/uoft-cs/cifar10/plain_text/test --format json")]
    Pull(PullArgs),
    /// Explain what the metrics mean
    Explain(ExplainArgs),
    /// Print the JSON Schema of `measure --format json`, or of the lines of `measure --per-input`
    Schema(SchemaArgs),
    /// Check what this machine and installation have, and say what to mend
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

/// Arguments of `models`.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  deadweight models
  deadweight models --format json
  deadweight models show resnet18"
)]
pub struct ModelsArgs {
    /// One network instead of the list.
    #[command(subcommand)]
    pub show: Option<Show>,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    pub format: Plain,
}

/// `models show`.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// Show the layers of one network: shapes, parameters, MACs, memory
    #[command(after_help = "\
Examples:
  deadweight models show mobilenet_v2
  deadweight models show weights.pth --arch resnet50 --format json
  deadweight models show resnet50 --card")]
    Show {
        /// Card name, card file, directory, weights file with --arch, .gguf, .tflite or .onnx file, or hub id
        #[arg(value_name = "MODEL")]
        model: String,
        /// Card, card file or family (lstm, gru, rnn, rnn_tanh, rnn_relu) of the network in a weights file
        #[arg(long, value_name = "CARD")]
        arch: Option<String>,
        /// Print its card as TOML instead, to start one's own from
        #[arg(long, conflicts_with = "format")]
        card: bool,
        /// table or json
        #[arg(long, value_enum, default_value_t)]
        format: Plain,
    },
}

/// Formats of verbs that print no measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Plain {
    /// For people
    #[default]
    Table,
    /// One document
    Json,
}

/// Which model.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// Card name, directory, weights file with --arch, card file, .gguf, .tflite or .onnx file, or hub id
    /// org/name[@revision][:file]
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// Card, card file or family (lstm, gru, rnn, rnn_tanh, rnn_relu) of the network in a weights file
    #[arg(long, value_name = "CARD")]
    pub arch: Option<String>,
    /// Quantise the network first: one scale per filter, one scale and zero point per value, by the ranges of the first inputs
    #[arg(long, value_enum, value_name = "TYPE")]
    pub quantize: Option<Quantize>,
    /// Of ONNX files.
    #[command(flatten)]
    pub onnx: OnnxArgs,
}

/// What a float network is quantised to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quantize {
    /// 8-bit integers
    Int8,
}

/// Which inputs.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// Images, directories of images, arrays (.safetensors, .npz or .npy), tables of images (.parquet), data sets of the hub
    /// (datasets/org/name[@revision][/path]), or texts; none: those of a built-in model
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// What is stated of them.
    #[command(flatten)]
    pub stated: StatedArgs,
    /// Only the first N inputs
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Add noise of standard deviation S (of 255) to the images first; S is also the noise level of networks with a noise map
    #[arg(long, value_name = "S", value_parser = up_to_thousand)]
    pub sigma: Option<f64>,
    /// Seed of the noise, and of sampling after a prompt
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Downscale the images by N and upscale them again first
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(2..=8), conflicts_with = "sigma")]
    pub scale: Option<u8>,
    /// Directory of the expected outputs, files named as the inputs: clean images, or class maps. Of embeddings a file: texts, each the
    /// partner of an input, in their order, or a reference's vectors [N, D] (.npy, .npz or .safetensors)
    #[arg(long, value_name = "PATH", conflicts_with_all = ["sigma", "scale"])]
    pub truth: Option<PathBuf>,
    /// Vocabulary of a network that reads texts: tokenizer.json, JSON from tokens to ids, or one token per line
    /// [default: tokenizer.json, vocab.json or vocab.txt next to the weights]
    #[arg(long, value_name = "FILE")]
    pub vocab: Option<PathBuf>,
    /// Split texts into N streams that run side by side; each starts from a state of zeros
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=4096))]
    pub streams: u16,
    /// Read texts in segments of N tokens; the state of a recurrent network carries over from one to the next
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=4096))]
    pub steps: u16,
    /// Skip inputs that cannot be decoded, with a warning for each, instead of failing
    #[arg(long)]
    pub skip_bad: bool,
}

/// Number format.
#[derive(Args, Debug)]
pub struct NumberArgs {
    /// fixed16, fixed<B> with 2 to 16 bits, int8, bf16, fp16, e4m3, e5m2, or stored: the integers of a quantised network;
    /// a:FORMAT,w:FORMAT gives activations and weights each their own (`explain formats`) [default: stored for quantised
    /// networks, else fixed16]
    #[arg(long, value_name = "FORMAT", value_parser = number_format)]
    pub number_format: Option<Formats>,
    /// Scales of the weights of a layer: one a tensor, or one a filter [default: filter for int8, tensor for fixed<B>]
    #[arg(long, value_name = "SCALE", value_parser = weight_scale())]
    pub weight_scale: Option<WeightScale>,
    /// Count each layer in the integer and fraction bits that a precision file states, as `deadweight precision` writes them: the
    /// format profile
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["number_format", "bits", "weight_scale", "quantize"])]
    pub precision: Option<PathBuf>,
    /// Short for --number-format fixed<B>
    #[arg(long, value_name = "B", conflicts_with = "number_format", value_parser = value_parser!(u32).range(2..=16))]
    pub bits: Option<u32>,
    /// Terms that the potentials count
    #[arg(long, default_value = "naf", value_parser = encoder())]
    pub encoder: Encoder,
    /// Charge at least 1 for each MAC that is not skipped
    #[arg(long)]
    pub min_one: bool,
    /// Learn the ranges of activations from the first N inputs
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..))]
    pub calibrate: u32,
}

/// Where the output goes.
#[derive(Args, Debug)]
pub struct OutArgs {
    /// Write to FILE, which appears only when it is complete (-: stdout)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Number of classes to print [default: 5]
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// Directory for restored images and class maps [default: the current directory]. Files of an earlier run are
    /// replaced, with a warning
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Save the image with its class map drawn over it, instead of the class map
    #[arg(long)]
    pub overlay: bool,
    /// File of all outputs as floats, .safetensors or .npz: `output` [N, ...], of texts a step a row
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub save_outputs: Option<PathBuf>,
    /// Directory for the first inputs with the answers to them, as pictures and texts, which `report --examples DIR` puts on its
    /// page; class maps and restored images are then not saved elsewhere, unless --save says where
    #[arg(long, value_name = "DIR", conflicts_with = "prompt")]
    pub examples: Option<PathBuf>,
    /// What is generated.
    #[command(flatten)]
    pub generate: GenerateArgs,
    /// A trace of the first inputs.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    pub format: Plain,
    /// Output.
    #[command(flatten)]
    pub out: OutArgs,
    /// Engine and device.
    #[command(flatten)]
    pub backend: BackendArgs,
    /// Run batch norm as separate layers, not folded into convolutions
    #[arg(long)]
    pub no_fold: bool,
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
