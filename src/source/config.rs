//! The configuration files next to the weights, and how they combine with the card that was requested.

use super::Directory;
use super::spec::Arch;
use crate::input::Preprocess;
use crate::models::{self, Card};
use crate::{Error, Result};

/// The card of the network in `directory`, from its `config.json`, else from the names and extents of its weights. A card or
/// family that was `asked` for must describe the same network; it is used alone if that file describes nothing that can be
/// built.
///
/// # Errors
/// [`Error::Invalid`] if neither describes a network, or the two describe different ones; those of reading the file.
pub(super) fn card(directory: &Directory, asked: Option<&Arch>) -> Result<Card> {
    let source = directory.weights.source();
    let recognised = |family| models::recognise(&directory.weights, family);
    let (asked, family) = match asked {
        Some(Arch::Card(card)) => (Some(&**card), None),
        Some(Arch::Family(name)) => (None, Some(name.as_str())),
        None => (None, None),
    };
    let stated = directory.config.as_ref().map(|config| (config, models::from_config(config)));
    match (stated, asked) {
        (None, Some(asked)) => Ok(asked.clone()),
        (None, None) => recognised(family),
        (Some((_, Ok(stated))), None) => {
            match family.filter(|family| models::family_of(family) != Some(&stated.family)) {
                None => Ok(stated),
                Some(family) => {
                    let detail = format!("contradicts {source}/config.json, which is of family {}", stated.family);
                    Err(Error::invalid(format!("--arch {family}"), detail))
                }
            }
        }
        (Some((config, Err(error))), None) => match (family, models::names_network(config)) {
            (None, true) => Err(within(source, error)),
            (None, false) => recognised(None),
            (Some(name), _) => {
                let mut card = recognised(family)?;
                card.notes.push(format!("{}; the network is that of --arch {name}", within(source, error)));
                Ok(card)
            }
        },
        (Some((_, Ok(stated))), Some(asked)) => agreed(directory, stated, asked),
        (Some((config, Err(error))), Some(asked)) => {
            let mut card = asked.clone();
            if models::names_network(config) {
                let error = within(source, error);
                card.notes.push(format!("{error}; the network and its input are those of --arch {}", asked.name));
            }
            Ok(card)
        }
    }
}

/// The card that both `stated` and `asked` describe: what the files state takes precedence, the card fills in the rest.
fn agreed(directory: &Directory, stated: Card, asked: &Card) -> Result<Card> {
    let source = directory.weights.source();
    let naming = models::naming(&stated, &directory.weights).or(stated.naming);
    let differences = match naming {
        Some(naming) => models::differences(asked, &stated, naming)?,
        None => vec![],
    };
    if !differences.is_empty() {
        let list = differences.join("; ");
        let detail = format!(
            "contradicts {source}/config.json, which is of {} ({list}); leave --arch away, or name the weights file itself to \
             run it as another network",
            stated.name
        );
        return Err(Error::invalid(format!("--arch {}", asked.name), detail));
    }
    let mut card = Card {
        labels: stated.labels.clone().or_else(|| asked.labels.clone()),
        arch: stated.arch.clone(),
        input: stated.input.clone(),
        naming: stated.naming,
        from_config: true,
        config_classes: stated.config_classes,
        notes: stated.notes.clone(),
        ..asked.clone()
    };
    if card.reads_tokens() {
        return Ok(card);
    }
    let of_card = Preprocess::from_table(&asked.name, &asked.input)?;
    match preprocessing(directory, &stated)? {
        // The files state nothing that the card could contradict.
        None => card.input = asked.input.clone(),
        Some(of_file) if of_file != of_card => {
            let (file, card_says) = (of_file.describe(), of_card.describe());
            let note = format!(
                "inputs are preprocessed as {source} says ({file}), not as --arch {} does ({card_says})",
                asked.name
            );
            card.notes.push(note);
        }
        Some(_) => {}
    }
    Ok(card)
}

/// The preprocessing that a directory states, with what it lacks from the nearest card, and a sentence on that.
pub(super) fn preprocessing_or_nearest(directory: &Directory, card: &Card) -> Result<(Preprocess, Option<String>)> {
    let source = directory.weights.source();
    if let Some(stated) = preprocessing(directory, card)? {
        let config = directory.config.as_ref().filter(|_| directory.preprocessor.is_none() && card.input.is_empty());
        let lacks = config.map(models::timm_defaults).unwrap_or_default().join(", ");
        let note = || format!("{source}/config.json: states no {lacks}; used is what card {} says", card.name);
        return Ok((stated, (!lacks.is_empty()).then(note)));
    }
    let nearest = models::nearest(card);
    let note = format!("{source}: states no preprocessing; that of card {} is used", nearest.name);
    Preprocess::from_table(&nearest.name, &nearest.input).map(|preprocess| (preprocess, Some(note)))
}

/// The preprocessing from the card of a `config.json` and the files next to it; `None` if neither has any.
pub(super) fn preprocessing(directory: &Directory, card: &Card) -> Result<Option<Preprocess>> {
    let source = directory.weights.source();
    if let Some(config) = &directory.preprocessor {
        return Preprocess::from_transformers(&format!("{source}/preprocessor_config.json"), config).map(Some);
    }
    if !card.input.is_empty() {
        return Preprocess::from_table(&card.name, &card.input).map(Some);
    }
    let Some(config) = &directory.config else { return Ok(None) };
    let stated = models::timm_preprocessing(config).map_err(|error| within(source, error))?;
    stated.map(|stated| Preprocess::from_timm(&format!("{source}/config.json"), &stated)).transpose()
}

/// Prefixes an error with the directory `source`.
fn within(source: &str, error: Error) -> Error {
    match error {
        Error::Malformed { file, detail } => Error::malformed(format!("{source}/{file}"), detail),
        Error::Unsupported { what, hint } => Error::unsupported(format!("{source}/{what}"), hint),
        other => other,
    }
}
