//! A network with its weights and its input, ready to run.

mod answers;
mod modules;
mod onnx;
mod texts;

use std::path::Path;
use std::sync::Arc;

use crate::builtin;
use crate::engine::OnnxProgram;
use crate::engine::onnx::{Carry, InputExtents};
use crate::graph::{Graph, Params, passes};
use crate::input::{InputSpec, Layout, Overrides, Preprocess, VocabularySource};
use crate::kernels::Rounding;
use crate::layers::{Layer, Shape};
use crate::models::{Card, Fit, ImportedNetwork, Task};
use crate::source::{DownloadMonitor, Network, Source, SourceOptions};
use crate::weights::SourceFile;
use crate::{Error, Result, models};

pub use onnx::OnnxBy;

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The card that describes a weights file, or the family of its network.
    pub arch: Option<String>,
    /// Read only local files.
    pub offline: bool,
    /// Who watches downloads.
    pub downloads: Option<Arc<dyn DownloadMonitor>>,
    /// Measure and run batch norm as layers of their own.
    pub no_fold: bool,
    /// Seeded random weights in place of a checkpoint.
    pub random: Option<u64>,
    /// Standard deviation (of 255) of the noise, for networks with a noise map.
    pub sigma: Option<f64>,
    /// By which engine an ONNX file is run.
    pub onnx: OnnxBy,
    /// What fixes the extents that an ONNX file leaves open.
    pub extents: InputExtents,
    /// Which output of an ONNX file, if not the first.
    pub output: Option<String>,
    /// What is stated of images in place of the card.
    pub stated: Overrides,
    /// Inputs of an ONNX file that read what outputs of it gave for the input before.
    pub carry: Vec<Carry>,
}

/// A network with its weights and its preprocessing.
#[derive(Clone)]
pub struct Model {
    /// What it is.
    pub card: Card,
    /// The network, folded (by default) and fused.
    pub graph: Arc<Graph>,
    /// Whose parameter names the checkpoint uses.
    pub naming: String,
    /// Where the weights come from, as text.
    pub source: String,
    /// The files they were read from.
    pub files: Vec<SourceFile>,
    /// How images become inputs.
    pub preprocess: Preprocess,
    /// The vocabulary beside or among the weights, if there is one.
    pub vocabulary: Option<VocabularySource>,
    /// Number of learned values, before folding.
    pub parameters: usize,
    /// Whether batch norm was folded, if there is any.
    pub folded: Option<bool>,
    /// What the graph was quantised to, if it was.
    pub quantized: Option<&'static str>,
    /// Choices made where its files leave one, and what was left out, a sentence each.
    pub notes: Vec<String>,
    /// Its inputs by name, of an ONNX file that is run as it is; empty for others, which read one.
    pub inputs: Vec<InputSpec>,
    /// The file itself, of an ONNX file that is run as it is.
    pub program: Option<Arc<OnnxProgram>>,
}

impl Model {
    /// Loads the model that `spec` names: a card's name, a card file, a directory, a weights file (with
    /// [`LoadOptions::arch`]) or a hub id `org/name[@revision]`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing of that name exists; the errors of reading and fitting the weights.
    pub fn load(spec: &str, options: &LoadOptions) -> Result<Self> {
        let LoadOptions { arch, offline, random, downloads, .. } = options.clone();
        Self::build(Source::resolve(spec, &SourceOptions { arch, offline, random, downloads })?, options)
    }

    /// Builds the model of `source`. No file is opened.
    ///
    /// # Errors
    /// Those of fitting the weights to the network.
    pub fn build(source: Source, options: &LoadOptions) -> Result<Self> {
        source.notes.iter().for_each(|note| tracing::warn!("{note}"));
        let said = source.notes.len();
        let Source { card, network, preprocess, name, files, vocabulary, notes } = source;
        if let (Some(flag), false) = (options.flag_of_onnx(), matches!(network, Network::Onnx(_))) {
            return Err(Error::invalid(flag, format!("is of ONNX files, and {name} is none")));
        }
        let parts = Parts { preprocess, source: name, files, vocabulary, notes };
        let model = match (network, card) {
            (Network::Onnx(onnx), card) => {
                let rounding = rounding(card.as_ref(), Rounding::Float32)?;
                match onnx::as_layers(&onnx, parts.preprocess.as_ref(), rounding, options)? {
                    Some(network) => Self::of_file(parts, "onnx", network, card, options),
                    None => Self::of_program(parts, onnx, card, options),
                }
            }
            (Network::Tflite(tflite), card) => {
                let network = models::tflite::build(&tflite, rounding(card.as_ref(), Rounding::Fixed31)?)?;
                Self::of_file(parts, "tflite", network, card, options)
            }
            (Network::Random(seed), Some(card)) => Self::of_card(parts, card, Params::Random(seed), options),
            (Network::Weights(weights), Some(card)) => Self::of_card(parts, card, Params::Stored(weights), options),
            (Network::Random(_) | Network::Weights(_), None) => {
                Err(Error::invalid(&parts.source, "has no card that says which network it is; name one with --arch"))
            }
        };
        let model = model?.with_class_note();
        model.notes[said..].iter().for_each(|note| tracing::warn!("{note}"));
        Ok(model)
    }

    /// The network `graph`, which reads `input`, whose numbers go in as they are.
    ///
    /// # Errors
    /// [`Error::Shape`] naming a layer that cannot take its input.
    pub fn of_graph(name: &str, graph: Graph, input: Shape) -> Result<Self> {
        let output = *graph.shapes(input)?.get(graph.output().index()).unwrap_or(&input);
        let task = if output.h * output.w == 1 { Task::Classify } else { Task::Features };
        let network = ImportedNetwork { graph, input, input_codes: None, task };
        let card = network.card(name, "net");
        let preprocess = match input.c {
            1 | 3 => Preprocess::from_table(name, &card.input)?,
            c => Preprocess::arrays([c, input.h, input.w]),
        };
        let parameters = network.graph.parameters();
        let (graph, folded) = finished(&network.graph, &LoadOptions::default());
        let (files, vocabulary, notes) = (Vec::new(), None, Vec::new());
        let parts = Parts { preprocess: None, source: name.to_owned(), files, vocabulary, notes };
        Ok(Self::of_parts(parts, card, preprocess, (graph, parameters, folded), "net".into()))
    }

    /// Extents of its input: `[C, H, W]`, or `[H, W, C]` for a file that is run as it is and reads that.
    pub fn input_shape(&self) -> Shape {
        let (c, (h, w)) = (self.preprocess.channels(), self.preprocess.size());
        match self.preprocess.layout() {
            Layout::Nchw => Shape::new(c, h, w),
            Layout::Nhwc => Shape::new(h, w, c),
        }
    }

    /// MACs of one image.
    ///
    /// # Errors
    /// [`Error::Shape`] naming a layer that cannot take its input.
    pub fn macs(&self) -> Result<u64> {
        self.graph.macs(self.input_shape())
    }

    /// What reports say about it besides its name.
    pub fn note(&self) -> Option<&'static str> {
        let embedded = self.files.iter().any(|file| file.name == "embedded");
        (embedded && builtin::find(&self.card.name).is_some()).then_some("built-in demo")
    }

    /// The network in a file. A card determines preprocessing, class names and task; without one, pixels are passed as the
    /// 8-bit integers that they are, or as 0 to 1.
    fn of_file(
        parts: Parts,
        family: &str,
        network: ImportedNetwork,
        card: Option<Card>,
        options: &LoadOptions,
    ) -> Result<Self> {
        let Parts { preprocess, source, files, vocabulary, mut notes } = parts;
        if let Some(card) = card.as_ref().filter(|card| !card.of_any_task) {
            let pixels = network.task == Task::Segment;
            if matches!((card.task, pixels), (Task::Classify, true) | (Task::Segment | Task::Restore, false)) {
                let output = if pixels { "an image" } else { "one value per class" };
                let detail = format!("is of a network to {}, {source} gives {output}", card.task.name());
                return Err(Error::invalid(format!("--arch {}", card.name), detail));
            }
        }
        let name = files.first().map_or_else(|| family.to_owned(), |file| stem(&file.name));
        let (card, preprocess) = match (card, preprocess) {
            (Some(card), Some(preprocess)) => {
                let task = if card.of_any_task { network.task } else { card.task };
                (Card { name, task, ..card }, preprocess)
            }
            _ => {
                if network.input_codes.is_none() && !options.stated.is_of_pixels() {
                    let detail = "does not say how images become its input: pixels go in as 0 to 1 unless --range, --mean and \
                                  --std, or a card with --arch, say otherwise";
                    notes.push(format!("{source} {detail}"));
                }
                let card = network.card(&name, family);
                let preprocess = Preprocess::from_table(&card.name, &card.input)?;
                (card, preprocess)
            }
        };
        let preprocess = preprocess.overridden(&options.stated)?;
        let got = (preprocess.channels(), preprocess.size());
        let Shape { c, h, w } = network.input;
        if got != (c, (h, w)) {
            let detail =
                format!("makes inputs [{}, {}, {}], the network reads [{c}, {h}, {w}]", got.0, got.1.0, got.1.1);
            return Err(Error::shape(format!("card {}", card.name), detail));
        }
        let parameters = network.graph.parameters();
        let (graph, folded) = finished(&network.graph, options);
        let parts = Parts { preprocess: None, source, files, vocabulary, notes };
        Ok(Self::of_parts(parts, card, preprocess, (graph, parameters, folded), family.into()))
    }

    /// The network that `card` describes, with `params`.
    fn of_card(parts: Parts, mut card: Card, params: Params, options: &LoadOptions) -> Result<Self> {
        let Parts { preprocess, source, files, vocabulary, mut notes } = parts;
        if let (Some(sigma), Some(stated)) = (options.sigma, card.arch.get_mut("sigma")) {
            *stated = sigma.into();
        }
        let preprocess = preprocess.map_or_else(|| Preprocess::from_table(&card.name, &card.input), Ok)?;
        let pickled = match &params {
            Params::Stored(weights) => weights.modules().to_vec(),
            _ => vec![],
        };
        let Fit { graph, naming, notes: found, headless } = models::fit(&card, params)?;
        notes.extend(found);
        if headless {
            (card.task, card.labels) = (Task::Features, None);
        }
        let (preprocess, note) = of_channels(preprocess, graph.nodes[0].channels, &card)?;
        notes.extend(note.map(|note| format!("{source}: {note}")));
        let preprocess = preprocess.overridden(&options.stated)?;
        let problems = modules::contradictions(&graph, &pickled);
        if !problems.is_empty() {
            return Err(Error::Mismatch { file: source, problems });
        }
        let other = modules::other_activations(&graph, &pickled);
        if !other.is_empty() {
            let list = other.join(", ");
            notes.push(format!(
                "{source}: holds modules of {list}, of which the network of card {} has none",
                card.name
            ));
        }
        let classes = graph.def(graph.output()).channels;
        if let Some(stated) = card.config_classes.filter(|stated| *stated != classes && !headless) {
            let detail = format!("is of {stated} classes, the weights are of {classes}");
            return Err(Error::malformed(format!("{source}/config.json"), detail));
        }
        let parameters = graph.parameters();
        let (graph, folded) = finished(&graph, options);
        let parts = Parts { preprocess: None, source, files, vocabulary, notes };
        Ok(Self::of_parts(parts, card, preprocess, (graph, parameters, folded), naming))
    }

    fn of_parts(
        parts: Parts,
        card: Card,
        preprocess: Preprocess,
        (graph, parameters, folded): (Arc<Graph>, usize, Option<bool>),
        naming: String,
    ) -> Self {
        let Parts { source, files, vocabulary, notes, .. } = parts;
        let (quantized, inputs, program) = (None, vec![], None);
        Self {
            card,
            graph,
            naming,
            source,
            files,
            preprocess,
            vocabulary,
            parameters,
            folded,
            quantized,
            notes,
            inputs,
            program,
        }
    }

    /// The same model with another graph.
    pub fn with_graph(&self, graph: Graph) -> Self {
        Self { graph: Arc::new(graph), ..self.clone() }
    }

    /// Whether the network stores integers: values and weights, or only low-bit weights.
    pub fn stores_integers(&self) -> bool {
        let stored = |layer: &Layer| match layer {
            Layer::Conv(conv) => conv.low_bits.is_some() || conv.integer.is_some(),
            Layer::Linear(linear) => linear.low_bits.is_some() || linear.integer.is_some(),
            _ => false,
        };
        self.graph.nodes.iter().any(|def| def.codes.is_some() || stored(&def.layer))
    }

    /// Whether its steps attend to one another, so that each sequence is read by itself.
    pub fn attends(&self) -> bool {
        self.graph.nodes.iter().any(|def| matches!(def.layer, Layer::Attention(_)))
    }

    /// Whether it has layers that read sequences step by step.
    pub fn has_sequences(&self) -> bool {
        self.graph.nodes.iter().any(|def| def.layer.recurrence().is_some())
    }

    /// Adds a note if its card names another number of classes.
    fn with_class_note(mut self) -> Self {
        let classes = self.graph.def(self.graph.output()).channels;
        let count = self.card.labels.as_ref().map(models::Labels::count);
        if let Some(count) = count.filter(|count| *count != classes && *count + self.label_offset(classes) != classes) {
            let Self { source, card, .. } = &self;
            let note = format!(
                "{source}: has {classes} classes, card {} names {count}: classes are shown by number",
                card.name
            );
            self.notes.push(note);
        }
        self
    }
}

/// What a source has beside its card and its network.
struct Parts {
    preprocess: Option<Preprocess>,
    source: String,
    files: Vec<SourceFile>,
    vocabulary: Option<VocabularySource>,
    notes: Vec<String>,
}

/// `preprocess` for a network that reads `channels` channels, and a sentence on it if the card has another number.
fn of_channels(preprocess: Preprocess, channels: usize, card: &Card) -> Result<(Preprocess, Option<String>)> {
    let of_card = preprocess.channels();
    if channels == of_card {
        return Ok((preprocess, None));
    }
    let Some(fitted) = preprocess.with_channels(channels) else {
        let detail = format!("makes inputs of {of_card} channels, the network reads {channels}");
        return Err(Error::shape(format!("card {}", card.name), detail));
    };
    let note = format!("reads {channels} channels, card {} says {of_card}: {}", card.name, fitted.describe());
    Ok((fitted, Some(note)))
}

/// How the card says that integers are rounded, else `default`.
fn rounding(card: Option<&Card>, default: Rounding) -> Result<Rounding> {
    Ok(card.map_or(Ok(None), Card::rounding)?.unwrap_or(default))
}

/// A file's name without its extension.
fn stem(name: &str) -> String {
    Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// `graph` as it is run, and whether batch norm was folded, if there is any.
fn finished(graph: &Graph, options: &LoadOptions) -> (Arc<Graph>, Option<bool>) {
    let normed = graph.nodes.iter().any(|def| matches!(def.layer, Layer::BatchNorm(_)));
    let fused = match options.no_fold {
        true => passes::fuse_epilogue(graph),
        false => passes::fuse_epilogue(&passes::fold_norm(graph)),
    };
    (Arc::new(fused), normed.then_some(!options.no_fold))
}
