//! From the name of a model on the command line to a network with its weights.

mod answers;
mod config_files;
mod modules;
mod names;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builtin::{self, Builtin};
use crate::graph::{Graph, Params, passes};
use crate::input::{Cut, Dataset, Preprocess, Vocabulary};
use crate::kernels::Rounding;
use crate::layers::{Layer, Shape};
use crate::models::Task;
use crate::weights::{NetworkFile, SourceFile, Weights};
use crate::{Error, Result, models};
use names::{card_or_file, fetch, looks_like_file, stem};

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The card that describes a weights file.
    pub arch: Option<String>,
    /// Read only local files.
    pub offline: bool,
    /// Measure and run batch norm as layers of their own.
    pub no_fold: bool,
    /// Seeded random weights in place of a checkpoint.
    pub random: Option<u64>,
    /// Standard deviation (of 255) of the noise, for networks with a noise map.
    pub sigma: Option<f64>,
}

/// A network with its weights and its preprocessing.
#[derive(Clone)]
pub struct Model {
    /// What it is.
    pub card: models::Card,
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
    /// Number of learned values, before folding.
    pub parameters: usize,
    /// Whether batch norm was folded, if there is any.
    pub folded: Option<bool>,
    /// What the graph was quantised to, if it was.
    pub quantized: Option<&'static str>,
    /// Choices made where its files leave one, and what was left out, a sentence each.
    pub notes: Vec<String>,
}

impl Model {
    /// Loads the model that `spec` names: a card's name, a card file, a directory, a weights file (with
    /// [`LoadOptions::arch`]) or a hub id `org/name[@revision]`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing of that name exists; the errors of reading and fitting the weights.
    pub fn load(spec: &str, options: &LoadOptions) -> Result<Self> {
        let path = Path::new(spec);
        let arch = options.arch.as_deref().map(card_or_file).transpose()?;
        let arch = arch.as_ref();
        // A card may name its own repository.
        let alone = |card: &models::Card| match arch {
            Some(arch) if arch.name != card.name => {
                Err(Error::invalid("--arch", format!("names {}, but {spec} is a card itself", arch.name)))
            }
            _ => Ok(()),
        };
        if path.is_dir() {
            return Self::from_weights(Weights::open(path)?, arch, options);
        }
        if path.is_file() && spec.ends_with(".toml") {
            let card = models::Card::from_file(path)?;
            alone(&card)?;
            return Self::from_card(card, options);
        }
        if path.is_file() {
            if let Some(network) = crate::weights::open_network(path)? {
                return Self::from_network(&network, arch, options);
            }
            let Some(arch) = arch else {
                let detail = "weights alone do not say which network they are of; name its card with --arch";
                return Err(Error::invalid(spec, detail));
            };
            return Self::from_weights(Weights::open(path)?, Some(arch), options);
        }
        match models::card(spec) {
            Ok(card) => alone(card).and_then(|()| Self::from_card(card.clone(), options)),
            // A hub id has one slash; a path that does not exist is a missing file.
            Err(_) if spec.split('/').count() == 2 && !spec.starts_with(['.', '/']) && !looks_like_file(spec) => {
                Self::from_weights(fetch(spec, options.offline)?, arch, options)
            }
            Err(_) if spec.contains('/') || looks_like_file(spec) => Err(Error::NotFound {
                what: spec.to_owned(),
                hint: "give a card's name (see `deadweight models`), a directory, a weights file or a hub id".into(),
            }),
            Err(error) => Err(error),
        }
    }

    /// The built-in inputs for it, if any: images, or a text in segments of 64 tokens.
    ///
    /// # Errors
    /// None that a released binary can meet.
    pub fn builtin_data(&self) -> Option<Result<Dataset>> {
        let builtin = builtin::find(&self.card.name)?;
        let text = || builtin.text(&Cut::Streams { streams: 1, steps: 64 }, &self.preprocess);
        Some(builtin.images(&self.preprocess).unwrap_or_else(text))
    }

    /// The built-in text for it, if any, split as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn builtin_text(&self, cut: &Cut) -> Option<Result<Dataset>> {
        builtin::find(&self.card.name).map(|builtin| builtin.text(cut, &self.preprocess))
    }

    /// The built-in vocabulary for it, if any.
    ///
    /// # Errors
    /// None that a released binary can meet.
    pub fn builtin_vocabulary(&self) -> Option<Result<Vocabulary>> {
        builtin::find(&self.card.name).map(Builtin::vocabulary)
    }

    /// `[C, H, W]` of its input.
    pub fn input_shape(&self) -> Shape {
        let (h, w) = self.preprocess.size();
        Shape::new(self.preprocess.channels(), h, w)
    }

    /// Number of tokens from which the next one is predicted, if it reads windows of a text.
    pub fn window(&self) -> Option<usize> {
        let window = self.card.arch.get("window").and_then(|window| window.as_integer());
        window.and_then(|window| usize::try_from(window).ok()).filter(|window| (1..=4096).contains(window))
    }

    /// Number of rows of its embedding, if it reads tokens.
    pub fn embedding_rows(&self) -> Option<usize> {
        self.graph.nodes.iter().find_map(|def| match &def.layer {
            Layer::Embedding(embedding) => Some(embedding.rows()),
            _ => None,
        })
    }

    /// A file with that name next to the weights.
    pub fn beside(&self, name: &str) -> Option<PathBuf> {
        let path = Path::new(&self.source).join(name);
        path.is_file().then_some(path)
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

    fn from_card(card: models::Card, options: &LoadOptions) -> Result<Self> {
        if let Some(seed) = options.random {
            return Self::build(card, Params::Random(seed), vec![], "random weights".into(), options);
        }
        if let Some(builtin) = builtin::find(&card.name) {
            let weights = Weights::from_bytes("embedded", builtin.weights)?;
            let files = weights.files().to_vec();
            let source = card.source.clone();
            return Self::build(card, Params::Stored(weights), files, source, options);
        }
        let Some(repo) = card.hub_id() else {
            let hint = format!("give the weights file and --arch {}", card.name);
            return Err(Error::NotFound { what: format!("weights of {}", card.name), hint });
        };
        // The card was made from this repository's own configuration.
        Self::stored(fetch(&repo, options.offline)?, card, options)
    }

    /// A file that holds a network. A card determines preprocessing, class names and task; without one, pixels are passed as
    /// the 8-bit integers that they are, or as 0 to 1.
    fn from_network(file: &NetworkFile, card: Option<&models::Card>, options: &LoadOptions) -> Result<Self> {
        let rounding = card.map_or(Ok(None), models::Card::rounding)?;
        let stated = card.map(|card| Preprocess::from_table(&card.name, &card.input)).transpose()?;
        let (source, file, family, network) = match file {
            NetworkFile::Tflite(tflite) => {
                let network = models::tflite::build(tflite, rounding.unwrap_or(Rounding::Fixed31))?;
                (&tflite.source, &tflite.file, "tflite", network)
            }
            NetworkFile::Onnx(onnx) => {
                let size = stated.as_ref().map(Preprocess::size);
                let network = models::onnx::build(onnx, size, rounding.unwrap_or(Rounding::Float32))?;
                (&onnx.source, &onnx.file, "onnx", network)
            }
        };
        if let Some(card) = card {
            let pixels = network.task == Task::Segment;
            if matches!((card.task, pixels), (Task::Classify, true) | (Task::Segment | Task::Restore, false)) {
                let output = if pixels { "an image" } else { "one value per class" };
                let detail = format!("is of a network to {}, {source} gives {output}", card.task.name());
                return Err(Error::invalid(format!("--arch {}", card.name), detail));
            }
        }
        let (name, mut notes) = (stem(&file.name), vec![]);
        let (card, preprocess) = match (card, stated) {
            (Some(card), Some(stated)) => (models::Card { name, ..card.clone() }, stated),
            _ => {
                if network.input_codes.is_none() {
                    let detail =
                        "does not say how images become its input: pixels go in as 0 to 1, name a card with --arch";
                    notes.push(format!("{source} {detail}"));
                }
                let card = network.card(&name, family);
                let preprocess = Preprocess::from_table(&card.name, &card.input)?;
                (card, preprocess)
            }
        };
        let got = (preprocess.channels(), preprocess.size());
        let Shape { c, h, w } = network.input;
        if got != (c, (h, w)) {
            let detail =
                format!("makes inputs [{}, {}, {}], the network reads [{c}, {h}, {w}]", got.0, got.1.0, got.1.1);
            return Err(Error::shape(format!("card {}", card.name), detail));
        }
        let parameters = network.graph.parameters();
        let (graph, folded) = finished(&network.graph, options);
        let model = Self {
            card,
            graph,
            naming: family.into(),
            source: source.clone(),
            files: vec![file.clone()],
            preprocess,
            parameters,
            folded,
            quantized: None,
            notes,
        };
        let model = model.with_class_note();
        model.notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(model)
    }

    /// The same model with another graph.
    pub fn with_graph(&self, graph: Graph) -> Self {
        Self { graph: Arc::new(graph), ..self.clone() }
    }

    /// Whether the network stores integers: values and weights, or only low-bit weights.
    pub fn stores_integers(&self) -> bool {
        let stored = |layer: &Layer| match layer {
            Layer::Conv(conv) => conv.low_bits.is_some(),
            Layer::Linear(linear) => linear.low_bits.is_some(),
            _ => false,
        };
        self.graph.nodes.iter().any(|def| def.codes.is_some() || stored(&def.layer))
    }

    /// Whether it has layers that read sequences step by step.
    pub fn has_sequences(&self) -> bool {
        self.graph.nodes.iter().any(|def| matches!(def.layer, Layer::Lstm(_)))
    }

    fn from_weights(weights: Weights, arch: Option<&models::Card>, options: &LoadOptions) -> Result<Self> {
        let card = config_files::card(&weights, arch)?;
        Self::stored(weights, card, options)
    }

    fn stored(weights: Weights, card: models::Card, options: &LoadOptions) -> Result<Self> {
        let (source, files) = (weights.source().to_owned(), weights.files().to_vec());
        Self::build(card, Params::Stored(weights), files, source, options)
    }

    fn build(
        mut card: models::Card,
        params: Params,
        files: Vec<SourceFile>,
        source: String,
        options: &LoadOptions,
    ) -> Result<Self> {
        if let (Some(sigma), Some(stated)) = (options.sigma, card.arch.get_mut("sigma")) {
            *stated = sigma.into();
        }
        let mut notes = std::mem::take(&mut card.notes);
        let (mut preprocess, mut pickled) = (None, vec![]);
        if let Params::Stored(weights) = &params {
            notes.extend_from_slice(weights.notes());
            pickled = weights.modules().to_vec();
            // The preprocessing of the checkpoint's authors is stored next to it.
            if card.from_config && card.task != Task::Language {
                let detail = "has no preprocessing: it has neither preprocessor_config.json nor pretrained_cfg";
                preprocess = config_files::preprocessing(weights, &card)?;
                preprocess.as_ref().ok_or_else(|| Error::malformed(&source, detail))?;
            }
        }
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        let said = notes.len();
        let preprocess = match preprocess {
            Some(preprocess) => preprocess,
            None if card.from_config && card.input.is_empty() => Preprocess::numbers(64),
            None => Preprocess::from_table(&card.name, &card.input)?,
        };
        let (graph, naming) = models::build(&card, params)?;
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
        if let Some(stated) = card.config_classes.filter(|stated| *stated != classes) {
            let detail = format!("is of {stated} classes, the weights are of {classes}");
            return Err(Error::malformed(format!("{source}/config.json"), detail));
        }
        let parameters = graph.parameters();
        let (graph, folded) = finished(&graph, options);
        let model = Self { card, graph, naming, source, files, preprocess, parameters, folded, quantized: None, notes };
        let model = model.with_class_note();
        model.notes[said..].iter().for_each(|note| tracing::warn!("{note}"));
        Ok(model)
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

/// `graph` as it is run, and whether batch norm was folded, if there is any.
fn finished(graph: &Graph, options: &LoadOptions) -> (Arc<Graph>, Option<bool>) {
    let normed = graph.nodes.iter().any(|def| matches!(def.layer, Layer::BatchNorm(_)));
    let fused = match options.no_fold {
        true => passes::fuse_epilogue(graph),
        false => passes::fuse_epilogue(&passes::fold_norm(graph)),
    };
    (Arc::new(fused), normed.then_some(!options.no_fold))
}
