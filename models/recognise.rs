//! Which network a checkpoint is of, by the names and extents of its tensors.

use std::sync::Arc;

use super::fit::{listed, place};
use super::{Card, FAMILIES, Family, cards, rnn};
use crate::graph::{Difference, Graph, Listing, Params, Scope};
use crate::weights::Weights;
use crate::{Error, Result};

/// A card whose network a checkpoint fits.
struct Candidate {
    card: &'static Card,
    /// What it computes and what its layers are called.
    network: String,
    /// How much of the checkpoint it does not explain: 0 for a network of just the card's numbers with nothing left out.
    rest: Rest,
    /// Numbers in which it differs from the card.
    differences: usize,
}

/// What of a checkpoint a card leaves open, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rest {
    headless: bool,
    left_out: bool,
    other_numbers: bool,
}

/// The card of the network in `weights`, of `family` alone if one is given. Among cards of that family that differ in what
/// weights do not say, the first is taken, with a note.
///
/// # Errors
/// [`Error::Mismatch`] of the nearest card, if the checkpoint fits none; [`Error::Invalid`] if it fits several and no family
/// is given, or if its names are those of no family.
pub fn recognise(weights: &Weights, family: Option<&str>) -> Result<Card> {
    let listing = Listing::from(weights);
    let recurrent = family.map_or_else(|| rnn::has_layers(&listing.extents), |name| rnn::KINDS.contains(&name));
    if !recurrent {
        return among(&listing, family);
    }
    let source = weights.source();
    let mut card = rnn::card(&listing.extents, family).map_err(|why| Error::invalid(source, why))?;
    card.notes.iter_mut().for_each(|note| *note = format!("{source}: {note}"));
    if family.is_none() {
        card.notes.push(format!("{source}: its tensors are those of {}: {}", card.name, card.description));
    }
    Ok(card)
}

/// The family that `name` names: its own name, or a kind of recurrent network.
pub fn family_of(name: &str) -> Option<&'static str> {
    let recurrent = rnn::KINDS.contains(&name).then_some(rnn::FAMILY.name);
    recurrent.or_else(|| FAMILIES.iter().map(|family| family.name).find(|family| *family == name))
}

/// What [`family_of`] knows.
pub fn family_names() -> impl Iterator<Item = &'static str> {
    rnn::KINDS.into_iter().chain(FAMILIES.iter().map(|family| family.name))
}

/// Whether `name` is that of a family, which `--arch` takes in place of a card.
pub fn is_family(name: &str) -> bool {
    family_of(name).is_some()
}

fn among(listing: &Listing, family: Option<&str>) -> Result<Card> {
    let source = listing.source.as_str();
    let others = FAMILIES.iter().filter(|known| known.name != rnn::FAMILY.name);
    let families = others.filter(|known| family.is_none_or(|name| known.name == name));
    let (mut candidates, mut nearest) = (vec![], None::<Error>);
    for known in families {
        match try_family(known, listing) {
            Ok(found) => candidates.extend(found),
            Err(error) if nearest.as_ref().is_none_or(|other| problems(&error) < problems(other)) => {
                nearest = Some(error);
            }
            Err(_) => {}
        }
    }
    let Some(least) = candidates.iter().map(|candidate| candidate.rest).min() else {
        return Err(match (nearest, family) {
            (Some(error), Some(_)) => error,
            _ => unknown(source),
        });
    };
    candidates.retain(|candidate| candidate.rest == least);
    let mut networks: Vec<&Candidate> = vec![];
    for candidate in &candidates {
        match networks.iter_mut().find(|other| other.network == candidate.network) {
            Some(other) if candidate.differences < other.differences => *other = candidate,
            Some(_) => {}
            None => networks.push(candidate),
        }
    }
    let chosen = networks[0];
    let names: Vec<&str> = networks.iter().map(|candidate| candidate.card.name.as_str()).collect();
    let mut card = chosen.card.clone();
    if let [_, others @ ..] = &names[..]
        && !others.is_empty()
    {
        if family.is_none() {
            let detail = format!(
                "its weights fit {}, which differ in what weights do not say; name one of them with --arch",
                names.join(", ")
            );
            return Err(Error::invalid(source, detail));
        }
        let note = format!("{source}: taken as card {}; its weights also fit {}", card.name, others.join(", "));
        card.notes.push(note);
        return Ok(card);
    }
    let alike: Vec<&str> =
        candidates.iter().filter(|other| other.card.input != card.input).map(|c| c.card.name.as_str()).collect();
    let note = match alike[..] {
        [] => format!("{source}: recognised as card {}", card.name),
        _ => format!(
            "{source}: recognised as card {}, whose preprocessing is used; that of {} differs",
            card.name,
            alike.join(", ")
        ),
    };
    card.notes.push(note);
    Ok(card)
}

/// The cards of `family` that fit; the error of the nearest one if there are none.
fn try_family(family: &'static Family, listing: &Listing) -> Result<Vec<Candidate>> {
    let place = place(family, listing)?;
    let (inner, outside) = listed(listing, &place);
    let inner = Arc::new(inner);
    let (mut found, mut nearest) = (vec![], None::<Error>);
    for card in cards().iter().filter(|card| card.family == family.name) {
        let root = Scope::new(Params::Listed(Arc::clone(&inner)));
        let built = (family.build)(&root, card, place.naming).and_then(|output| root.fitted(output));
        match built {
            Ok(fitted) => found.push(Candidate {
                card,
                network: network(&fitted.graph),
                rest: Rest {
                    headless: fitted.headless,
                    left_out: outside > 0 || !fitted.left_out.is_empty(),
                    other_numbers: fitted.differences.iter().any(Difference::is_of_network),
                },
                differences: fitted.differences.len(),
            }),
            Err(error) if nearest.as_ref().is_none_or(|other| problems(&error) < problems(other)) => {
                nearest = Some(error);
            }
            Err(_) => {}
        }
    }
    match nearest {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn network(graph: &Graph) -> String {
    format!("{:?}", graph.nodes)
}

/// Number of problems that an error lists.
fn problems(error: &Error) -> usize {
    match error {
        Error::Mismatch { problems, .. } => problems.len(),
        _ => usize::MAX,
    }
}

fn unknown(source: &str) -> Error {
    let detail = "weights alone do not say which network they are of; name its card with --arch";
    Error::invalid(source, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::NodeDef;
    use crate::layers::{Layer, Param};

    /// What a checkpoint of `graph` holds.
    fn listing(graph: &Graph) -> Listing {
        let tensors = |def: &NodeDef| -> Vec<(String, Vec<usize>)> {
            let parts: Vec<(&str, &Param)> = match &def.layer {
                Layer::Conv(conv) => {
                    [("weight", &conv.weight)].into_iter().chain(conv.bias_values.iter().map(|b| ("bias", b))).collect()
                }
                Layer::ConvTranspose(conv) => {
                    [("weight", &conv.weight)].into_iter().chain(conv.bias_values.iter().map(|b| ("bias", b))).collect()
                }
                Layer::Linear(linear) => {
                    [("weight", &linear.weight)].into_iter().chain(linear.bias.iter().map(|b| ("bias", b))).collect()
                }
                Layer::BatchNorm(norm) => vec![
                    ("weight", &norm.weight),
                    ("bias", &norm.bias),
                    ("running_mean", &norm.mean),
                    ("running_var", &norm.variance),
                ],
                _ => vec![],
            };
            parts.into_iter().map(|(name, param)| (format!("{}.{name}", def.name), param.shape.clone())).collect()
        };
        Listing { source: "file".into(), extents: graph.nodes.iter().flat_map(tensors).collect() }
    }

    #[test]
    fn every_card_is_recognised_or_named_among_those_that_fit() {
        let mut wrong = vec![];
        // Heads of transformers are in no weight: their cards come from config.json.
        let others = ["rnn", "silero", "bert", "gpt2", "llama", "vit"];
        for card in cards().iter().filter(|card| !others.contains(&card.family.as_str())) {
            let (graph, _) = super::super::build(card, Params::Declared).unwrap();
            let listing = listing(&graph);
            let of_family = among(&listing, Some(&card.family));
            let same = |found: &Card| {
                let of = |card: &Card| {
                    super::super::build(
                        &Card { naming: None, ..card.clone() },
                        Params::Listed(Arc::new(listing.clone())),
                    )
                };
                matches!((of(found), of(card)), (Ok((a, _)), Ok((b, _))) if a.nodes.len() == b.nodes.len())
            };
            match among(&listing, None) {
                Ok(found) if same(&found) => {}
                Err(Error::Invalid { detail, .. }) if detail.contains("differ in what weights do not say") => {}
                Ok(found) => wrong.push(format!("{}: taken for {}", card.name, found.name)),
                Err(error) => wrong.push(format!("{}: {error}", card.name)),
            }
            if let Err(error) = of_family {
                wrong.push(format!("{} of {}: {error}", card.name, card.family));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
