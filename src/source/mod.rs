//! What the user names, resolved once into one value: from here on, no file of the model is opened.

mod config;
mod directory;
mod gguf;
#[cfg(feature = "hub")]
mod hub;
mod snapshot;
mod spec;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::spec::{Arch, Spec};
use crate::builtin;
use crate::input::{Preprocess, VocabularySource};
use crate::models::Card;
use crate::weights::onnx::OnnxFile;
use crate::weights::tflite::Tflite;
use crate::weights::{ModelFile, SourceFile, Weights};
use crate::{Error, Result};

pub use self::directory::Directory;
#[cfg(feature = "hub")]
pub use self::hub::{HubPlace, hub_answers, hub_place};
pub use self::snapshot::{DownloadMonitor, FetchOptions, Snapshot, SnapshotFile};

/// What decides, beside its name, what a model is made of.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// The card that describes weights or preprocessing.
    pub arch: Option<String>,
    /// Read only local files.
    pub offline: bool,
    /// Seed of random weights in place of a checkpoint.
    pub random: Option<u64>,
    /// Who watches downloads.
    pub downloads: Option<Arc<dyn DownloadMonitor>>,
}

/// All that a model is made of.
pub struct Source {
    /// Structure, task and labels. None only for a file that holds its network, where none was named.
    pub card: Option<Card>,
    /// The network's parameters, or the network itself.
    pub network: Network,
    /// How images become inputs. None only where there is no card: then the network itself says.
    pub preprocess: Option<Preprocess>,
    /// Where it comes from, as in messages.
    pub name: String,
    /// The files that were read.
    pub files: Vec<SourceFile>,
    /// The vocabulary beside or among the weights, if there is one.
    pub vocabulary: Option<VocabularySource>,
    /// Choices made where files leave one, and what was left out, a sentence each.
    pub notes: Vec<String>,
}

/// Where a network comes from.
pub enum Network {
    /// Its card, with random parameters of that seed.
    Random(u64),
    /// Its card, with the parameters of a checkpoint.
    Weights(Weights),
    /// An ONNX file that holds it.
    Onnx(OnnxFile),
    /// A TFLite file that holds it.
    Tflite(Tflite),
}

impl Source {
    /// Resolves `spec`: a card's name, a card file, a directory, a weights file (with [`SourceOptions::arch`]), a file that
    /// holds its network, or a hub id `org/name[@revision][:file]`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing has that name; [`Error::Invalid`] if its files do not say which network it is, or
    /// contradict the card; those of reading files.
    pub fn resolve(spec: &str, options: &SourceOptions) -> Result<Self> {
        let arch = options.arch.as_deref().map(Arch::parse).transpose()?;
        match (Spec::parse(spec)?, arch) {
            (Spec::Card(card), arch) => match arch.map(|arch| arch.card(spec)).transpose()? {
                // A card may name its own repository.
                Some(arch) if arch.name != card.name => {
                    Err(Error::invalid("--arch", format!("names {}, but {spec} is a card itself", arch.name)))
                }
                _ => Self::of_card(*card, options),
            },
            (Spec::Directory(path), arch) => {
                let (name, names) = (path.display().to_string(), directory::names(&path)?);
                match directory::choose(&name, &names) {
                    Err(Error::NotFound { .. }) if let Some(network) = directory::network_among(&names) => {
                        Self::of_file(&path.join(network), arch)
                    }
                    chosen => Self::of_directory(Directory::open_as(&path, name, chosen?)?, arch.as_ref()),
                }
            }
            (Spec::Hub(id), arch) => {
                let snapshot = pull(&id, &options.fetch())?;
                match snapshot.part.as_deref().filter(|part| directory::is_network(part)) {
                    Some(network) => {
                        Ok(Self { name: snapshot.name(), ..Self::of_file(&snapshot.path.join(network), arch)? })
                    }
                    None => Self::of_directory(of_snapshot(&snapshot)?, arch.as_ref()),
                }
            }
            (Spec::File(path), arch) => Self::of_file(&path, arch),
        }
    }

    /// The network of the card `name`, whatever files and directories have that name.
    ///
    /// # Errors
    /// As [`Source::resolve`].
    pub fn of_card_named(name: &str) -> Result<Self> {
        Self::of_card(crate::models::card(name)?.clone(), &SourceOptions { offline: true, ..SourceOptions::default() })
    }

    fn of_card(card: Card, options: &SourceOptions) -> Result<Self> {
        if let Some(seed) = options.random {
            let preprocess = Preprocess::from_table(&card.name, &card.input)?;
            return Ok(Self {
                card: Some(card),
                network: Network::Random(seed),
                preprocess: Some(preprocess),
                name: "random weights".into(),
                files: vec![],
                vocabulary: None,
                notes: vec![],
            });
        }
        if let Some(builtin) = builtin::find(&card.name) {
            let name = card.source.clone();
            let weights = Weights::from_bytes("embedded", builtin.weights)?;
            return Ok(Self { name, ..Self::of_weights(Directory::only(weights), card)? });
        }
        let Some(repo) = card.hub_id() else {
            let hint = format!("give the weights file and --arch {}", card.name);
            return Err(Error::NotFound { what: format!("weights of {}", card.name), hint });
        };
        // The card was made from this repository's own configuration.
        Self::of_weights(of_snapshot(&pull(&repo, &options.fetch())?)?, card)
    }

    fn of_directory(directory: Directory, arch: Option<&Arch>) -> Result<Self> {
        let card = config::card(&directory, arch)?;
        Self::of_weights(directory, card)
    }

    fn of_file(path: &Path, arch: Option<Arch>) -> Result<Self> {
        let (network, name, files) = match crate::weights::open(path)? {
            ModelFile::Weights(weights) => {
                return Self::of_directory(Directory::only(weights), arch.as_ref());
            }
            ModelFile::Gguf(gguf) => return Self::of_directory(Directory::of_gguf(gguf)?, arch.as_ref()),
            ModelFile::Onnx(onnx) => {
                let (name, files) = (onnx.source.clone(), onnx.files.clone());
                (Network::Onnx(onnx), name, files)
            }
            ModelFile::Tflite(tflite) => {
                let (name, file) = (tflite.source.clone(), tflite.file.clone());
                (Network::Tflite(tflite), name, vec![file])
            }
        };
        let arch = arch.map(|arch| arch.card(&name)).transpose()?;
        let preprocess = arch.as_ref().map(|card| Preprocess::from_table(&card.name, &card.input)).transpose()?;
        Ok(Self { card: arch, network, preprocess, name, files, vocabulary: None, notes: vec![] })
    }

    /// The weights of `directory` as the network of `card`.
    fn of_weights(directory: Directory, mut card: Card) -> Result<Self> {
        let name = directory.weights.source().to_owned();
        let mut notes = std::mem::take(&mut card.notes);
        let preprocess = match (card.from_config, card.reads_tokens()) {
            // The preprocessing of the checkpoint's authors is stored next to it.
            (true, false) => {
                let (preprocess, note) = config::preprocessing_or_nearest(&directory, &card)?;
                notes.extend(note);
                preprocess
            }
            (true, _) if card.input.is_empty() => Preprocess::numbers(card.steps()),
            _ => Preprocess::from_table(&card.name, &card.input)?,
        };
        let Directory { weights, vocabulary, .. } = directory;
        notes.extend_from_slice(weights.notes());
        let files = weights.files().to_vec();
        let network = Network::Weights(weights);
        Ok(Self { card: Some(card), network, preprocess: Some(preprocess), name, files, vocabulary, notes })
    }
}

impl SourceOptions {
    fn fetch(&self) -> FetchOptions {
        FetchOptions { offline: self.offline, verify: false, monitor: self.downloads.clone() }
    }
}

/// The model that `snapshot` is, called by its name and commit.
fn of_snapshot(snapshot: &Snapshot) -> Result<Directory> {
    Directory::open_as(&snapshot.path, snapshot.name(), snapshot.part.as_deref().unwrap_or_default())
}

/// The repository that `spec` names, a hub id or a card that has one, with what is used of it: fetched, if the cache lacks it.
///
/// # Errors
/// [`Error::Invalid`] for what names no repository, [`Error::NotFound`] for what neither the hub nor, offline, the cache has,
/// [`Error::Unavailable`] if the hub cannot be reached or refuses, [`Error::Io`] if the cache cannot be written.
pub fn pull(spec: &str, options: &FetchOptions) -> Result<Snapshot> {
    if !spec.contains('/') {
        let card = crate::models::card(spec)?;
        let none = || Error::invalid(spec, "is a card without a repository on the hub");
        return fetch(&card.hub_id().ok_or_else(none)?, options);
    }
    fetch(spec, options)
}

/// Whether `path` names a data set of the hub: `datasets/...`, where no such file is.
pub fn is_hub_data(path: &Path) -> bool {
    path.starts_with("datasets") && path.iter().count() > 2 && !path.exists()
}

#[cfg(feature = "hub")]
use hub::fetch;

/// The files of the data set `id`, `datasets/org/name[@revision][/path]`, as one input.
///
/// # Errors
/// As [`pull`]; [`Error::Invalid`] if it has several parts and none is named.
#[cfg(feature = "hub")]
pub fn pull_input(id: &str, options: &FetchOptions) -> Result<(Snapshot, Vec<PathBuf>)> {
    hub::fetch_input(id, options)
}

#[cfg(not(feature = "hub"))]
fn fetch(id: &str, _: &FetchOptions) -> Result<Snapshot> {
    Err(without_hub(id))
}

/// The files of the data set `id`.
///
/// # Errors
/// [`Error::Unsupported`]: this build has no hub client.
#[cfg(not(feature = "hub"))]
pub fn pull_input(id: &str, _: &FetchOptions) -> Result<(Snapshot, Vec<PathBuf>)> {
    Err(without_hub(id))
}

#[cfg(not(feature = "hub"))]
fn without_hub(id: &str) -> Error {
    Error::unsupported(format!("{id}: downloading"), "this build has no hub client; give local files")
}
