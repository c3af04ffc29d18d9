//! A directory with weights: which of its files they are, and the files beside them that describe the network.

use std::path::Path;

use serde_json::Value;

use crate::input::VocabularySource;
use crate::weights::{self, ModelFile, Weights, is_plain, read_json};
use crate::{Error, Result};

/// Names searched for, in order of preference.
pub(super) const KNOWN: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
const EXTENSIONS: [&str; 9] = ["gguf", "safetensors", "bin", "pt", "pth", "th", "tar", "ckpt", "pkl"];
/// Words in the names of other files that training programs write.
const OTHERS: [&str; 4] = ["optimizer", "scheduler", "training_args", "rng_state"];

/// Names of vocabularies, in order of preference.
const VOCABULARIES: [&str; 3] = ["tokenizer.json", "vocab.json", "vocab.txt"];

/// What a directory holds.
pub struct Directory {
    /// The weights.
    pub weights: Weights,
    /// `config.json`, if there is one.
    pub config: Option<Value>,
    /// `preprocessor_config.json`, if there is one.
    pub preprocessor: Option<Value>,
    /// Its vocabulary, if there is one.
    pub vocabulary: Option<VocabularySource>,
}

impl Directory {
    /// Reads the directory at `path`: `model.safetensors`, else `model.safetensors.index.json`, `pytorch_model.bin`,
    /// `pytorch_model.bin.index.json`, else the only weights file, and the files beside it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it has no weights, [`Error::Invalid`] if it has several; those of [`Weights::open`] and of
    /// reading JSON.
    pub fn open(path: &Path) -> Result<Self> {
        let source = path.display().to_string();
        let names = names(path)?;
        let chosen = choose(&source, &names)?;
        Self::open_as(path, source, chosen)
    }

    /// The same, with the weights `chosen` of it, called `source` in messages.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub(super) fn open_as(path: &Path, source: String, chosen: &str) -> Result<Self> {
        let vocabulary = VOCABULARIES.iter().map(|name| path.join(name)).find(|path| path.is_file());
        let vocabulary = vocabulary.map(VocabularySource::File);
        if is_gguf(chosen)
            && let ModelFile::Gguf(file) = weights::open(&path.join(chosen))?
        {
            // Its metadata are complete, which a configuration beside it need not be.
            let stored = Self::of_gguf(file)?;
            return Ok(Self { vocabulary: vocabulary.or(stored.vocabulary.clone()), ..stored });
        }
        Ok(Self {
            weights: Weights::open_as(&path.join(chosen), source)?,
            config: with_pooling(path, read_json(&path.join("config.json"))?)?,
            preprocessor: read_json(&path.join("preprocessor_config.json"))?,
            vocabulary,
        })
    }

    /// Weights with nothing beside them.
    pub fn only(weights: Weights) -> Self {
        Self { weights, config: None, preprocessor: None, vocabulary: None }
    }
}

fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "gguf")
}

/// `config` with what the modules of sentence-transformers beside it make of hidden values: `_pooling`, `mean` or `first`, and
/// `_normalise`.
///
/// # Errors
/// [`Error::Unsupported`] for other modules and poolings; those of reading JSON.
fn with_pooling(path: &Path, config: Option<Value>) -> Result<Option<Value>> {
    let file = path.join("modules.json");
    let Some(modules) = read_json(&file)? else { return Ok(config) };
    let Some(mut config) = config else { return Ok(None) };
    let source = file.display().to_string();
    for module in modules.as_array().into_iter().flatten() {
        let kind = module["type"].as_str().unwrap_or_default();
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" => {}
            "Normalize" => config["_normalise"] = true.into(),
            "Pooling" => {
                let folder = module["path"].as_str().unwrap_or_default();
                if !folder.is_empty() && !is_plain(folder) {
                    return Err(Error::malformed(source, format!("{folder} is no folder beside it")));
                }
                let place = path.join(folder).join("config.json");
                let stated = read_json(&place)?.unwrap_or_default();
                let on: Vec<&str> = stated
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(_, value)| **value == true)
                    .map(|(name, _)| name.as_str())
                    .filter(|name| name.starts_with("pooling_mode"))
                    .collect();
                config["_pooling"] = match on[..] {
                    ["pooling_mode_mean_tokens"] => "mean".into(),
                    ["pooling_mode_cls_token"] => "first".into(),
                    _ => {
                        let what = format!("{}: {}", place.display(), on.join(" with "));
                        return Err(Error::unsupported(
                            what,
                            "known are pooling_mode_mean_tokens and pooling_mode_cls_token",
                        ));
                    }
                };
            }
            _ => {
                return Err(Error::unsupported(
                    format!("{source}: module {kind}"),
                    "known are Transformer, Pooling, Normalize",
                ));
            }
        }
    }
    Ok(Some(config))
}

/// Names of what is in the directory at `path`, sorted.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        names.extend(entry.map_err(|e| Error::io(path, e))?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether `name` is a file that holds its network.
pub(super) fn is_network(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "onnx" || end == "tflite")
}

/// The file among `names` that holds its network: `model.onnx`, else `onnx/model.onnx`, else the only one of a kind that does.
pub(super) fn network_among(names: &[String]) -> Option<&str> {
    const KNOWN: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
    let known = KNOWN.iter().find_map(|known| names.iter().find(|name| name == known));
    let mut all = names.iter().filter(|name| is_network(name));
    let only = || all.next().filter(|_| all.next().is_none());
    known.or_else(only).map(String::as_str)
}

/// Those of `names` in which the network `network` keeps its constants: `model.onnx_data`, `model.onnx.data`.
#[cfg(feature = "hub")]
pub(super) fn with_data<'a>(network: &str, names: &'a [String]) -> impl Iterator<Item = &'a str> {
    let rest = move |name: &'a String| name.strip_prefix(network);
    let is_data = move |name: &&'a String| {
        is_network(network) && rest(name).is_some_and(|rest| rest.starts_with("_data") || rest.starts_with(".data"))
    };
    names.iter().filter(is_data).map(String::as_str)
}

/// The weights file (or index of shards) among `names`; `place` is their directory or repository in messages.
pub(super) fn choose<'a>(place: &str, names: &'a [String]) -> Result<&'a str> {
    if let Some(known) = KNOWN.iter().find_map(|known| names.iter().find(|name| name == known)) {
        return Ok(known);
    }
    let is_weights = |name: &&String| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
            && !OTHERS.iter().any(|other| name.starts_with(other))
            && !name.contains('/')
    };
    let candidates: Vec<&String> = names.iter().filter(is_weights).collect();
    let looked = format!("looked for {}, or one file *.{{{}}}", KNOWN.join(", "), EXTENSIONS.join(","));
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => {
            Err(Error::NotFound { what: format!("{place}: weights"), hint: format!("{looked}; found {}", list(names)) })
        }
        _ => {
            let several: Vec<String> = candidates.into_iter().cloned().collect();
            Err(Error::invalid(place, format!("several weights files, name one of them: {}", list(&several))))
        }
    }
}

/// The first names, and the number of further ones.
pub(super) fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0 => "nothing".into(),
        1..=SHOWN => names.join(", "),
        more => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
    }
}
