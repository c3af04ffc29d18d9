//! What models are called on the command line: cards, files, hub ids.

use std::path::Path;

#[cfg(not(feature = "hub"))]
use crate::Error;
use crate::weights::Weights;
use crate::{Result, models};

/// The card of that name, or in that file.
pub(super) fn card_or_file(name: &str) -> Result<models::Card> {
    if name.ends_with(".toml") { models::Card::from_file(Path::new(name)) } else { models::card(name).cloned() }
}

/// The weights with that id.
#[cfg(feature = "hub")]
pub(super) fn fetch(id: &str, offline: bool) -> Result<Weights> {
    Weights::open(&crate::weights::fetch(id, offline)?)
}

/// The weights with that id.
#[cfg(not(feature = "hub"))]
pub(super) fn fetch(id: &str, _: bool) -> Result<Weights> {
    Err(Error::unsupported(format!("{id}: downloading"), "this build has no hub client; give a local directory"))
}

/// A file's name without its extension.
pub(super) fn stem(name: &str) -> String {
    Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a name has the extension of a model file.
pub(super) fn looks_like_file(spec: &str) -> bool {
    [".tflite", ".onnx", ".safetensors", ".bin", ".pth", ".pt", ".th", ".toml", ".tar"]
        .iter()
        .any(|end| spec.ends_with(end))
}
