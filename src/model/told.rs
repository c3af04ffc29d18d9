//! What the configuration files beside weights tell, and how it stands to the card that was asked for.

use crate::input::Preprocess;
use crate::models::{self, Card, Task};
use crate::weights::Weights;
use crate::{Error, Result};

/// The card of the network in `weights`: what its directory's `config.json` tells. A card that was `asked` for must be of the
/// same network; it stands in where that file tells nothing that can be built.
///
/// # Errors
/// [`Error::Invalid`] if neither tells a network, or the two tell different ones; those of reading the file.
pub(super) fn card(weights: &Weights, asked: Option<&Card>) -> Result<Card> {
    let source = weights.source();
    let told = weights.config().map(|config| (config, models::from_config(config)));
    match (told, asked) {
        (None, Some(asked)) => Ok(asked.clone()),
        (None, None) => {
            let detail = "has no config.json that says which network it is; name its card with --arch";
            Err(Error::invalid(source, detail))
        }
        (Some((_, told)), None) => told.map_err(|error| within(source, error)),
        (Some((_, Ok(told))), Some(asked)) => agreed(weights, told, asked),
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

/// The card that both `told` and `asked` describe: what the files tell counts, the card fills in the rest.
fn agreed(weights: &Weights, told: Card, asked: &Card) -> Result<Card> {
    let source = weights.source();
    let naming = models::naming(&told, weights).or(told.naming);
    let differences = match naming {
        Some(naming) => models::differences(asked, &told, naming)?,
        None => vec![],
    };
    if !differences.is_empty() {
        let list = differences.join("; ");
        let detail = format!(
            "contradicts {source}/config.json, which is of {} ({list}); leave --arch away, or name the weights file itself to \
             run it as another network",
            told.name
        );
        return Err(Error::invalid(format!("--arch {}", asked.name), detail));
    }
    let mut card = Card {
        labels: told.labels.clone().or_else(|| asked.labels.clone()),
        arch: told.arch.clone(),
        input: told.input.clone(),
        naming: told.naming,
        from_config: true,
        told_classes: told.told_classes,
        notes: told.notes.clone(),
        ..asked.clone()
    };
    if card.task == Task::Language {
        return Ok(card);
    }
    let of_card = Preprocess::from_table(&asked.name, &asked.input)?;
    match preprocessing(weights, &told)? {
        // Nothing is told that the card could contradict.
        None => card.input = asked.input.clone(),
        Some(of_file) if of_file != of_card => {
            let (file, card_says) = (of_file.describe(), of_card.describe());
            let note =
                format!("inputs are made as {source} tells ({file}), not as --arch {} does ({card_says})", asked.name);
            card.notes.push(note);
        }
        Some(_) => {}
    }
    Ok(card)
}

/// How images become inputs, by the card of a `config.json` and the files beside it; none if neither tells.
pub(super) fn preprocessing(weights: &Weights, card: &Card) -> Result<Option<Preprocess>> {
    let source = weights.source();
    if let Some(config) = weights.preprocessor() {
        return Preprocess::from_transformers(&format!("{source}/preprocessor_config.json"), config).map(Some);
    }
    if !card.input.is_empty() {
        return Preprocess::from_table(&card.name, &card.input).map(Some);
    }
    let Some(config) = weights.config() else { return Ok(None) };
    let told = models::timm_preprocessing(config).map_err(|error| within(source, error))?;
    told.map(|told| Preprocess::from_timm(&format!("{source}/config.json"), &told)).transpose()
}

/// An error in the directory `source`.
fn within(source: &str, error: Error) -> Error {
    match error {
        Error::Malformed { file, detail } => Error::malformed(format!("{source}/{file}"), detail),
        Error::Unsupported { what, hint } => Error::unsupported(format!("{source}/{what}"), hint),
        other => other,
    }
}
