//! What a model can be called on the command line: a card, a file, a directory, a hub id.

use std::path::{Path, PathBuf};

use crate::error::{near_files, near_or};
use crate::models::{self, Card};
use crate::{Error, Result};

/// Extensions of model files, by which a path that does not exist is told from a hub id.
const EXTENSIONS: [&str; 10] = ["gguf", "tflite", "onnx", "safetensors", "bin", "pth", "pt", "th", "toml", "tar"];

/// What a spec names.
pub(super) enum Spec {
    /// An embedded card, or a card file.
    Card(Box<Card>),
    /// A directory with weights.
    Directory(PathBuf),
    /// A file of weights, or one that holds its network.
    File(PathBuf),
    /// A repository on the hub, `org/name[@revision][:file]`.
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
        if text.starts_with("datasets/") {
            return Err(Error::invalid(text, "is a data set of the hub: an input, no model"));
        }
        // Behind the name of a repository may be its revision, and one of its files.
        let name = text.split(['@', ':']).next().unwrap_or_default();
        let is_file = |text: &str| {
            let extension = Path::new(text).extension();
            EXTENSIONS.iter().any(|end| extension.is_some_and(|extension| extension == *end))
        };
        match models::card(text) {
            Ok(card) => Ok(Self::Card(Box::new(card.clone()))),
            // A hub id has one slash; a path that does not exist is a missing file.
            Err(_) if name.split('/').count() == 2 && !text.starts_with(['.', '/']) && !is_file(name) => {
                Ok(Self::Hub(text.to_owned()))
            }
            Err(_) if text.contains('/') || is_file(text) => Err(Error::NotFound {
                what: text.to_owned(),
                hint: near_files(
                    path,
                    "give a card's name (see `deadweight models`), a directory, a weights file or a hub id",
                ),
            }),
            Err(error) => Err(error),
        }
    }
}

/// What weights are of: a card's network, or one of a family, whose numbers they say themselves.
pub(super) enum Arch {
    Card(Box<Card>),
    /// A family, whose sizes the weights say.
    Family(String),
}

impl Arch {
    /// The card of that name, or in that file, or the family of that name.
    ///
    /// # Errors
    /// As [`models::card`] and [`Card::from_file`].
    pub fn parse(name: &str) -> Result<Self> {
        if is_card(name) {
            return Card::from_file(Path::new(name)).map(Box::new).map(Self::Card);
        }
        match models::card(name) {
            Ok(card) => Ok(Self::Card(Box::new(card.clone()))),
            Err(_) if models::is_family(name) => Ok(Self::Family(name.to_owned())),
            Err(_) => {
                let known = models::cards().iter().map(|card| card.name.as_str()).chain(models::family_names());
                let hint = near_or(name, known, "`deadweight models` lists the cards and families");
                Err(Error::NotFound { what: format!("card or family {name}"), hint })
            }
        }
    }

    /// The card, for `spec`, which has no weights that could say the rest.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is a family.
    pub fn card(self, spec: &str) -> Result<Card> {
        match self {
            Self::Card(card) => Ok(*card),
            Self::Family(name) => {
                let detail =
                    format!("is a family, and {spec} holds its network; a card says how images become its input");
                Err(Error::invalid(format!("--arch {name}"), detail))
            }
        }
    }
}

fn is_card(name: &str) -> bool {
    name.ends_with(".toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files_that_are_missing() {
        let kind = |text: &str| match Spec::parse(text) {
            Ok(Spec::Hub(_)) => "hub",
            Ok(Spec::Card(_)) => "card",
            Ok(_) => "file",
            Err(Error::NotFound { .. }) => "missing",
            Err(_) => "wrong",
        };
        for (text, want) in [
            ("org/net", "hub"),
            ("org/net@refs/pr/5", "hub"),
            ("org/net:onnx/model.onnx", "hub"),
            ("org/net@v1:Q4_K_M", "hub"),
            ("resnet50", "card"),
            ("org/net.gguf", "missing"),
            ("a/b/net.onnx", "missing"),
            ("./org/net", "missing"),
            ("net.onnx", "missing"),
            ("datasets/org/d", "wrong"),
        ] {
            assert_eq!(kind(text), want, "{text}");
        }
    }
}
