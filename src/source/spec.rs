//! What a model can be called on the command line: a card, a file, a directory, a hub id.

use std::path::{Path, PathBuf};

use crate::models::{self, Card};
use crate::weights::Weights;
use crate::{Error, Result};

/// Extensions of model files, by which a path that does not exist is told from a hub id.
const EXTENSIONS: [&str; 9] = ["tflite", "onnx", "safetensors", "bin", "pth", "pt", "th", "toml", "tar"];

/// What a spec names.
pub(super) enum Spec {
    /// An embedded card, or a card file.
    Card(Box<Card>),
    /// A directory with weights.
    Directory(PathBuf),
    /// A file of weights, or one that holds its network.
    File(PathBuf),
    /// A repository on the hub, `org/name[@revision]`.
    Hub(String),
}

impl Spec {
    /// What `text` names.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing has that name; those of reading a card file.
    pub fn parse(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if path.is_file() {
            return match is_card(text) {
                true => Card::from_file(path).map(Box::new).map(Self::Card),
                false => Ok(Self::File(path.to_owned())),
            };
        }
        let is_file = EXTENSIONS.iter().any(|end| path.extension().is_some_and(|extension| extension == *end));
        match models::card(text) {
            Ok(card) => Ok(Self::Card(Box::new(card.clone()))),
            // A hub id has one slash; a path that does not exist is a missing file.
            Err(_) if text.split('/').count() == 2 && !text.starts_with(['.', '/']) && !is_file => {
                Ok(Self::Hub(text.to_owned()))
            }
            Err(_) if text.contains('/') || is_file => Err(Error::NotFound {
                what: text.to_owned(),
                hint: "give a card's name (see `deadweight models`), a directory, a weights file or a hub id".into(),
            }),
            Err(error) => Err(error),
        }
    }
}

/// What `--arch` names.
pub(super) enum Arch {
    /// An embedded card, or a card file.
    Card(Box<Card>),
    /// A family, whose sizes the weights say.
    Family(String),
}

impl Arch {
    /// What `name` names.
    ///
    /// # Errors
    /// As [`models::card`] and [`Card::from_file`].
    pub fn parse(name: &str) -> Result<Self> {
        if models::is_family(name) {
            return Ok(Self::Family(name.to_owned()));
        }
        let card = if is_card(name) { Card::from_file(Path::new(name)) } else { models::card(name).cloned() };
        card.map(Box::new).map(Self::Card)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Card(card) => &card.name,
            Self::Family(name) => name,
        }
    }

    /// Its card, for `weights`.
    ///
    /// # Errors
    /// Those of [`models::recognise`].
    pub fn card(&self, weights: &Weights) -> Result<Card> {
        match self {
            Self::Card(card) => Ok((**card).clone()),
            Self::Family(name) => {
                let what =
                    || Error::invalid(format!("--arch {name}"), format!("is not the network of {}", weights.source()));
                models::recognise(weights, Some(name))?.ok_or_else(what)
            }
        }
    }
}

fn is_card(name: &str) -> bool {
    name.ends_with(".toml")
}
