//! From what the command line calls a model to a network with its weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builtin::{self, Builtin};
use crate::graph::{Graph, Params, passes};
use crate::input::{Cut, Dataset, Preprocess, Vocabulary};
use crate::kernels::{Integer, Rounding};
use crate::layers::{Layer, Shape};
use crate::models::Task;
use crate::weights::{NetworkFile, SourceFile, Weights};
use crate::{Error, Result, models};

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The card that describes a weights file.
    pub arch: Option<String>,
    /// Read only what is on this machine.
    pub offline: bool,
    /// Measure and run batch norm as layers of their own.
    pub no_fold: bool,
    /// Seeded random weights in place of a checkpoint.
    pub random: Option<u64>,
    /// Standard deviation (of 255) of the noise that a network with a noise map is told of.
    pub sigma: Option<f64>,
}

/// A network with its weights, and how to feed it.
#[derive(Clone)]
pub struct Model {
    /// What it is.
    pub card: models::Card,
    /// The network, folded (unless asked not to) and fused.
    pub graph: Arc<Graph>,
    /// Whose parameter names the checkpoint has.
    pub naming: String,
    /// Where the weights come from, in words.
    pub source: String,
    /// The files they were read from.
    pub files: Vec<SourceFile>,
    /// How images become inputs.
    pub preprocess: Preprocess,
    /// Learned values, before folding.
    pub parameters: usize,
    /// Whether batch norm was folded, if there is any.
    pub folded: Option<bool>,
    /// What its graph was quantised to, if it was.
    pub quantized: Option<&'static str>,
}

impl Model {
    /// Loads the model that `spec` names: a card's name, a card file, a directory, a weights file (with
    /// [`LoadOptions::arch`]) or a hub id `org/name[@revision]`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing of that name can be had; the errors of reading and fitting the weights.
    pub fn load(spec: &str, options: &LoadOptions) -> Result<Self> {
        let path = Path::new(spec);
        let arch = options.arch.as_deref().map(card_or_file).transpose()?;
        let arch = arch.as_ref();
        if path.is_dir() {
            return Self::from_weights(Weights::open(path)?, arch, options);
        }
        if path.is_file() && spec.ends_with(".toml") {
            return Self::from_card(models::Card::from_file(path)?, options);
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
            Ok(card) => Self::from_card(card.clone(), options),
            // A hub id has one slash; what looks like a path but is not there is a missing file.
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

    /// The inputs that the program carries for it, if any: images, or a text in segments of 64 tokens.
    ///
    /// # Errors
    /// None that a released binary can meet.
    pub fn builtin_data(&self) -> Option<Result<Dataset>> {
        let builtin = builtin::find(&self.card.name)?;
        let text = || builtin.text(&Cut::Streams { streams: 1, steps: 64 }, &self.preprocess);
        Some(builtin.images(&self.preprocess).unwrap_or_else(text))
    }

    /// The text that the program carries for it, if any, cut as `cut` says.
    ///
    /// # Errors
    /// As [`Dataset::text`].
    pub fn builtin_text(&self, cut: &Cut) -> Option<Result<Dataset>> {
        builtin::find(&self.card.name).map(|builtin| builtin.text(cut, &self.preprocess))
    }

    /// The vocabulary that the program carries for it, if any.
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

    /// Tokens from which the next is predicted, if it reads windows of a text.
    pub fn window(&self) -> Option<usize> {
        let window = self.card.arch.get("window").and_then(|window| window.as_integer());
        window.and_then(|window| usize::try_from(window).ok()).filter(|window| (1..=4096).contains(window))
    }

    /// Tokens that its embedding has rows for, if it reads texts.
    pub fn embedding_rows(&self) -> Option<usize> {
        self.graph.nodes.iter().find_map(|def| match &def.layer {
            Layer::Embedding(embedding) => Some(embedding.rows()),
            _ => None,
        })
    }

    /// A file of that name beside the weights.
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

    /// Name of class `class`.
    pub fn class_name(&self, class: usize) -> String {
        let Some(labels) = &self.card.labels else { return format!("class {class}") };
        // Names of a network's classes serve one that has a background class before them as well.
        let offset = usize::from(self.graph.def(self.graph.output()).channels == labels.count() + 1);
        let named = class.checked_sub(offset).map_or(Some("background"), |class| labels.get(class));
        named.map_or_else(|| format!("class {class}"), str::to_owned)
    }

    /// Which of the network's `classes` classes label 0 of a data set is: 1 where the network has a background class.
    pub fn label_offset(&self, classes: usize) -> usize {
        usize::from(classes == 1001)
    }

    /// What reports say of it besides its name.
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
        let weights = fetch(&repo, options.offline)?;
        Self::from_weights(weights, Some(&card), options)
    }

    /// A file that carries its network. A card tells how images become its input, what its classes are called and what
    /// its task is; without one, pixels go in as the 8-bit integers they are, or as 0 to 1.
    fn from_network(file: &NetworkFile, card: Option<&models::Card>, options: &LoadOptions) -> Result<Self> {
        let rounding = card.map_or(Ok(None), models::Card::rounding)?;
        let told = card.map(|card| Preprocess::from_table(&card.name, &card.input)).transpose()?;
        let (source, file, family, network) = match file {
            NetworkFile::Tflite(tflite) => {
                let network = models::tflite::build(tflite, rounding.unwrap_or(Rounding::Fixed31))?;
                (&tflite.source, &tflite.file, "tflite", network)
            }
            NetworkFile::Onnx(onnx) => {
                let size = told.as_ref().map(Preprocess::size);
                let network = models::onnx::build(onnx, size, rounding.unwrap_or(Rounding::Float32))?;
                (&onnx.source, &onnx.file, "onnx", network)
            }
        };
        let name = stem(&file.name);
        let (card, preprocess) = match (card, told) {
            (Some(card), Some(told)) => (models::Card { name, ..card.clone() }, told),
            _ => {
                if network.input_codes.is_none() {
                    tracing::warn!(
                        "{source} does not tell how images become its input: pixels go in as 0 to 1, name a card with --arch"
                    );
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
        Ok(Self {
            card,
            graph,
            naming: family.into(),
            source: source.clone(),
            files: vec![file.clone()],
            preprocess,
            parameters,
            folded,
            quantized: None,
        })
    }

    /// The same model, computed by `graph`.
    pub fn with_graph(&self, graph: Graph) -> Self {
        Self { graph: Arc::new(graph), ..self.clone() }
    }

    /// Whether its output is a softmax already.
    pub fn gives_probabilities(&self) -> bool {
        let def = self.graph.def(self.graph.output());
        match &def.layer {
            Layer::Integer(Integer::Dequantize(_)) => {
                matches!(self.graph.def(def.inputs[0]).layer, Layer::Integer(Integer::Softmax { .. }))
            }
            layer => matches!(layer, Layer::Softmax(_)),
        }
    }

    /// Whether the network stores integers: values and weights, or weights of a few bits alone.
    pub fn stores_integers(&self) -> bool {
        let stored = |layer: &Layer| match layer {
            Layer::Conv(conv) => conv.low_bits.is_some(),
            Layer::Linear(linear) => linear.low_bits.is_some(),
            _ => false,
        };
        self.graph.nodes.iter().any(|def| def.codes.is_some() || stored(&def.layer))
    }

    fn from_weights(weights: Weights, arch: Option<&models::Card>, options: &LoadOptions) -> Result<Self> {
        let source = weights.source().to_owned();
        let card = match (arch, weights.config()) {
            (Some(card), _) => card.clone(),
            (None, Some(config)) => models::from_config(config)
                .map_err(|error| Error::malformed(format!("{source}/config.json"), error.to_string()))?,
            (None, None) => {
                let detail = "has no config.json that says which network it is; name its card with --arch";
                return Err(Error::invalid(source, detail));
            }
        };
        let files = weights.files().to_vec();
        Self::build(card, Params::Stored(weights), files, source, options)
    }

    fn build(
        mut card: models::Card,
        params: Params,
        files: Vec<SourceFile>,
        source: String,
        options: &LoadOptions,
    ) -> Result<Self> {
        if let (Some(sigma), Some(told)) = (options.sigma, card.arch.get_mut("sigma")) {
            *told = sigma.into();
        }
        let preprocess = match &params {
            // What the checkpoint's makers say of their preprocessing stands beside it.
            Params::Stored(weights) if card.from_config && card.task != Task::Language => preprocess_of(weights)?,
            _ if card.from_config => Preprocess::numbers(64),
            _ => Preprocess::from_table(&card.name, &card.input)?,
        };
        let (graph, naming) = models::build(&card, params)?;
        let parameters = graph.parameters();
        let (graph, folded) = finished(&graph, options);
        Ok(Self { card, graph, naming, source, files, preprocess, parameters, folded, quantized: None })
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

/// The preprocessing that the configuration files of a checkpoint's directory tell.
fn preprocess_of(weights: &Weights) -> Result<Preprocess> {
    let source = weights.source();
    if let Some(config) = weights.preprocessor() {
        return Preprocess::from_transformers(&format!("{source}/preprocessor_config.json"), config);
    }
    match weights.config().and_then(|config| config.get("pretrained_cfg")) {
        Some(config) => Preprocess::from_timm(&format!("{source}/config.json"), config),
        None => Err(Error::malformed(
            source,
            "tells no preprocessing: it has neither preprocessor_config.json nor pretrained_cfg",
        )),
    }
}

/// The card of that name, or in that file.
fn card_or_file(name: &str) -> Result<models::Card> {
    if name.ends_with(".toml") { models::Card::from_file(Path::new(name)) } else { models::card(name).cloned() }
}

#[cfg(feature = "hub")]
fn fetch(id: &str, offline: bool) -> Result<Weights> {
    Weights::open(&crate::weights::fetch(id, offline)?)
}

#[cfg(not(feature = "hub"))]
fn fetch(id: &str, _: bool) -> Result<Weights> {
    Err(Error::unsupported(format!("{id}: downloading"), "this build has no hub client; give a local directory"))
}

/// A file's name without its ending.
fn stem(name: &str) -> String {
    Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn looks_like_file(spec: &str) -> bool {
    [".tflite", ".onnx", ".safetensors", ".bin", ".pth", ".pt", ".th", ".toml", ".tar"]
        .iter()
        .any(|end| spec.ends_with(end))
}
