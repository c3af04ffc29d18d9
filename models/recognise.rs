//! Which network a checkpoint is of, by the names and extents of its tensors.

use super::{Card, extents, rnn};
use crate::weights::Weights;
use crate::{Error, Result};

/// Whether `name` is that of a family whose sizes a checkpoint says, so that `--arch` takes it in place of a card.
pub fn is_family(name: &str) -> bool {
    rnn::KINDS.contains(&name)
}

/// The card of the network in `weights`, whose sizes they say; of `family` if one is given. Without one, `None` for weights of
/// no such family.
///
/// # Errors
/// [`Error::Invalid`] saying what is missing, or what could be meant.
pub fn recognise(weights: &Weights, family: Option<&str>) -> Result<Option<Card>> {
    let extents = extents(weights);
    if family.is_none() && !rnn::has_layers(&extents) {
        return Ok(None);
    }
    let mut card = rnn::card(&extents, family).map_err(|why| Error::invalid(weights.source(), why))?;
    let source = weights.source();
    card.notes.iter_mut().for_each(|note| *note = format!("{source}: {note}"));
    if family.is_none() {
        card.notes.push(format!("{source}: its tensors are those of {}: {}", card.name, card.description));
    }
    Ok(Some(card))
}
