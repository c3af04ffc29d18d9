//! A card's network with the numbers and parameters of a checkpoint.

use std::sync::Arc;

use super::place::{Place, left_out};
use super::{Card, FAMILIES, Family};
use crate::error::near_or;
use crate::graph::{Fitted, Graph, Listing, Params, Scope, as_stored, differences_note};
use crate::weights::Weights;
use crate::{Error, Result};

/// A network built by [`fit`].
pub struct Fit {
    /// The network.
    pub graph: Graph,
    /// Whose parameter names the checkpoint uses.
    pub naming: String,
    /// How the checkpoint differs from the card and what of it was left out, a sentence each.
    pub notes: Vec<String>,
    /// Whether it ends in the features before a classifier that the checkpoint lacks.
    pub headless: bool,
}

/// Builds the network of `card` with `params`. The numbers of a checkpoint (filters, blocks, classes, input channels) take
/// precedence over the card's, and its network may be below a prefix or lack its classifier.
///
/// # Errors
/// [`Error::Mismatch`] listing every parameter that is missing, left over or of the wrong shape;
/// [`Error::Unsupported`] if the checkpoint's names match no naming of the family; [`Error::Malformed`] if the card's numbers
/// are impossible.
pub fn fit(card: &Card, params: Params) -> Result<Fit> {
    let family = family(card)?;
    let (params, naming, mut notes) = match params {
        Params::Stored(weights) => {
            let (weights, place, notes) = placed(family, weights)?;
            (Params::Stored(weights), place.naming, notes)
        }
        Params::Listed(listing) => {
            let place = place(family, &listing)?;
            let (listing, _) = listed(&listing, &place);
            (Params::Listed(Arc::new(listing)), place.naming, vec![])
        }
        params => (params, card.naming.unwrap_or(family.namings[0].0), vec![]),
    };
    let source = match &params {
        Params::Stored(weights) => weights.source().to_owned(),
        _ => String::new(),
    };
    let root = Scope::new(params);
    let output = (family.build)(&root, card, naming)?;
    let Fitted { graph, params, differences, headless, left_out: others } = root.fitted(output)?;
    let integers = match &params {
        Params::Stored(weights) => as_stored(&graph, weights)?,
        _ => None,
    };
    notes.extend(differences_note(&card.name, &differences));
    notes.extend(left_out(others.iter()));
    if headless {
        let output = graph.output.map_or(0, |output| graph.def(output).channels);
        notes.push(format!("has no classifier: the network ends in the {output} features before it"));
    }
    let notes = notes.into_iter().map(|note| format!("{source}: {note}")).collect();
    Ok(Fit { graph: integers.unwrap_or(graph), naming: naming.name().to_owned(), notes, headless })
}

/// The family of `card`.
///
/// # Errors
/// [`Error::Unsupported`] if there is none.
pub(super) fn family(card: &Card) -> Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name == card.family).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        let near = near_or(&card.family, &known, "none is like it");
        let what = format!("card {}: family {}", card.name, card.family);
        Error::unsupported(what, format!("{near}; known are {}", known.join(", ")))
    })
}

/// The weights of `family` among those of a checkpoint, by its names.
fn placed(family: &Family, weights: Weights) -> Result<(Weights, Place, Vec<String>)> {
    let place = place(family, &Listing::from(&weights))?;
    if place.is_plain() {
        return Ok((weights, place, vec![]));
    }
    let (weights, others) = weights.renamed(|name| place.name(name), |name, rank| place.axes(name, rank))?;
    let notes = place.notes(&others);
    Ok((weights, place, notes))
}

/// The extents of the tensors at `place`, and the number of all others.
pub(super) fn listed(listing: &Listing, place: &Place) -> (Listing, usize) {
    let renamed = |(name, shape): (&String, &Vec<usize>)| {
        let shape = match place.axes(name, shape.len()) {
            Some(axes) => axes.iter().map(|&axis| shape[axis]).collect(),
            None => shape.clone(),
        };
        Some((place.name(name)?, shape))
    };
    let extents: std::collections::BTreeMap<_, _> = listing.extents.iter().filter_map(renamed).collect();
    let others = listing.extents.len() - extents.len();
    (Listing { source: listing.source.clone(), extents }, others)
}

/// Where the parameters of `family` are in a checkpoint.
///
/// # Errors
/// [`Error::Unsupported`] if its names match no naming of the family, or if they are in several places of equal rank.
pub(super) fn place(family: &Family, listing: &Listing) -> Result<Place> {
    Place::find(family, listing)?.ok_or_else(|| {
        let marks = family.namings.iter().map(|(naming, mark)| format!("{mark} ({})", naming.name()));
        let hint = format!("{} is recognised by one of {}", family.name, marks.collect::<Vec<_>>().join(", "));
        Error::unsupported(format!("{}: the naming of its parameters", listing.source), hint)
    })
}
