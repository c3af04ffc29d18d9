//! Precision files and the layers that they are of.

use super::layers::MeasuredLayer;
use super::settings::Settings;
use crate::error::near_or;
use crate::format::{Coding, Precision, Profile};
use crate::model::Model;
use crate::{Error, Result};

/// Most layers that a message lists.
const LISTED: usize = 5;

/// The name by which a precision file knows `layer`: those of all phases are in the same numbers.
fn name_of(layer: &MeasuredLayer) -> &str {
    let name = layer.name.as_str();
    if layer.is_decoded() { name.strip_suffix(".decode").unwrap_or(name) } else { name }
}

/// Checks that `profile` is of `model`, a network of floats whose layers are `known`, and of all of them that `settings` chooses.
///
/// # Errors
/// [`Error::Invalid`] naming the file and the first difference.
pub(super) fn check(profile: &Profile, model: &Model, known: &[MeasuredLayer], settings: &Settings) -> Result<()> {
    let wrong = |detail: String| Err(Error::invalid(format!("--precision {}", profile.file), detail));
    let own = &model.card.name;
    let weights: Vec<&str> = model.files.iter().map(|file| file.sha256.as_str()).collect();
    if let Some(detail) = profile.differs(own, &weights) {
        return wrong(detail);
    }
    if model.stores_integers() {
        return wrong(format!(
            "is of floats, and {own} stores integers: leave it out, to count the codes that it stores"
        ));
    }
    let names = || known.iter().map(name_of);
    if let Some(other) = profile.layers.keys().find(|name| !names().any(|known| known == name.as_str())) {
        let near = near_or(other, names(), "`measure` without it lists them");
        return wrong(format!("states {other}, which is no layer of {own} that multiplies; {near}"));
    }
    let chosen = |name: &&str| settings.layers.as_ref().is_none_or(|pattern| pattern.is_match(name));
    let missing: Vec<&str> = names().filter(chosen).filter(|name| !profile.layers.contains_key(*name)).collect();
    if !missing.is_empty() {
        let few = missing[..missing.len().min(LISTED)].join(", ");
        let more = if missing.len() > LISTED { format!(" and {} more", missing.len() - LISTED) } else { String::new() };
        return wrong(format!("states no precision of {few}{more}: add them, or leave them out by --layers"));
    }
    Ok(())
}

/// The numbers of the operands of `layer` by the profile of `settings`, if they have one.
pub(super) fn codings(layer: &MeasuredLayer, settings: &Settings) -> Option<[Coding; 2]> {
    Some(settings.profile.as_ref()?.layers.get(name_of(layer))?.map(Precision::coding))
}
