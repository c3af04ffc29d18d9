//! The networks: one source file and one card file per family. They know layers and names; no pixels, files or probes.

mod alexnet;
mod bert;
mod card;
mod config;
mod deeplab;
mod demosaicnet;
mod denoise;
mod densenet;
mod dilated;
mod drunet;
mod efficientnet;
mod fit;
mod googlenet;
mod gpt2;
mod imported;
mod inverted;
pub mod labels;
mod llama;
mod mobilenet_v1;
mod mobilenet_v2;
mod mobilenet_v3;
mod mobilenet_v4;
mod naming;
pub mod onnx;
mod place;
mod recognise;
mod resnet;
mod rnn;
mod silero;
mod smp;
mod squeezenet;
mod ternary;
pub mod tflite;
mod timm;
mod transformer;
mod vgg;
mod vit;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use place::Place;

use crate::error::near_or;
use crate::graph::{Graph, Listing, Node, Params, Scope};
use crate::weights::Weights;
use crate::{Error, Result};

pub use card::{Card, Task};
pub use config::{from_config, names_network};
pub use fit::{Fit, fit};
pub use imported::ImportedNetwork;
pub use labels::Labels;
pub use naming::Naming;
pub use recognise::{family_names, family_of, is_family, recognise};
pub use timm::{defaults as timm_defaults, preprocessing as timm_preprocessing};

/// The architecture fields of a card, read from a `config.json`.
type FromConfig = toml::Table;

/// Networks that share a build function.
pub struct Family {
    /// What cards and transformers' `model_type` call it.
    pub name: &'static str,
    /// Name of the embedded file in messages.
    file: &'static str,
    /// The embedded file.
    cards: &'static str,
    /// The namings it supports, each with a parameter that only it has. The first is the default.
    pub namings: &'static [(Naming, &'static str)],
    /// Which of its numbers a checkpoint states; a card has those of networks without one.
    pub reads: &'static str,
    build: fn(&Scope, &Card, Naming) -> Result<Node>,
    from_config: Option<fn(&serde_json::Value) -> Result<FromConfig>>,
}

/// All families.
pub const FAMILIES: &[Family] = &[
    resnet::FAMILY,
    mobilenet_v1::FAMILY,
    mobilenet_v2::FAMILY,
    mobilenet_v3::FAMILY,
    mobilenet_v4::FAMILY,
    efficientnet::FAMILY,
    alexnet::FAMILY,
    vgg::FAMILY,
    googlenet::FAMILY,
    squeezenet::FAMILY,
    ternary::FAMILY,
    densenet::FAMILY,
    rnn::FAMILY,
    bert::FAMILY,
    gpt2::FAMILY,
    llama::FAMILY,
    vit::FAMILY,
    deeplab::FAMILY,
    dilated::FAMILY,
    denoise::FAMILY,
    drunet::FAMILY,
    demosaicnet::FAMILY,
    silero::FAMILY,
];

/// Families of networks that read tokens.
const OF_TOKENS: [&str; 4] = [rnn::FAMILY.name, bert::FAMILY.name, gpt2::FAMILY.name, llama::FAMILY.name];

/// Tokens of a sequence where nothing is said.
const STEPS: usize = 64;

impl Card {
    /// Whether its network reads tokens, not images.
    pub fn reads_tokens(&self) -> bool {
        OF_TOKENS.contains(&self.family.as_str())
    }

    /// Tokens of a sequence that its figures are of where nothing else is said: as many as there are positions for, up to 64.
    pub fn steps(&self) -> usize {
        let number = |field: &str| self.arch.get(field).and_then(toml::Value::as_integer);
        let first = number("pad").map_or(0, |pad| pad.saturating_add(1));
        number("positions")
            .map_or(STEPS, |rows| usize::try_from(rows.saturating_sub(first)).unwrap_or(1).clamp(1, STEPS))
    }
}

impl Family {
    /// Whose names a checkpoint uses; `has` says whether it holds a parameter.
    pub fn detect(&self, has: &dyn Fn(&str) -> bool) -> Option<Naming> {
        self.namings.iter().find(|(_, mark)| has(mark)).map(|(naming, _)| *naming)
    }
}

/// All embedded cards, in the order of the families.
pub fn cards() -> &'static [Card] {
    static CARDS: OnceLock<Vec<Card>> = OnceLock::new();
    CARDS.get_or_init(|| {
        let read = |family: &Family| card::parse_many(family.file, family.cards).expect("embedded cards are tested");
        FAMILIES.iter().flat_map(read).collect()
    })
}

/// The embedded card of that name.
///
/// # Errors
/// [`Error::NotFound`] with similar names.
pub fn card(name: &str) -> Result<&'static Card> {
    if let Some(card) = cards().iter().find(|card| card.name == name) {
        return Ok(card);
    }
    let names = cards().iter().map(|card| card.name.as_str());
    let hint = near_or(name, names, "`deadweight models` lists the cards");
    Err(Error::NotFound { what: format!("card {name}"), hint })
}

/// The embedded card whose preprocessing suits `card` best: the one of its name, else the first of its family with its
/// naming, else the first of its family.
pub fn nearest(card: &Card) -> &'static Card {
    let first = |fits: &dyn Fn(&&Card) -> bool| cards().iter().find(fits);
    first(&|other| other.name == card.name)
        .or_else(|| first(&|other| other.family == card.family && other.naming == card.naming))
        .or_else(|| first(&|other| other.family == card.family))
        .unwrap_or(&cards()[0])
}

/// Builds the network of `card` with `params`; also returns the naming of its parameters.
///
/// # Errors
/// As [`fit()`].
pub fn build(card: &Card, params: Params) -> Result<(Graph, String)> {
    if card.family.is_empty() {
        let detail = "names no family: such cards are of ONNX and TFLite files, which hold their network";
        return Err(Error::invalid(format!("card {}", card.name), detail));
    }
    fit(card, params).map(|fit| (fit.graph, fit.naming))
}

/// Whose parameter names `weights` uses, if the family of `card` knows them.
pub fn naming(card: &Card, weights: &Weights) -> Option<Naming> {
    let place = Place::find(fit::family(card).ok()?, &Listing::from(weights)).ok()??;
    Some(place.naming)
}

/// How two cards describe different networks, one `field: a's value, b's value` per difference, with the parameter names of
/// `naming`. The number of classes is not compared.
///
/// # Errors
/// Those of [`build`] for either.
pub fn differences(a: &Card, b: &Card, naming: Naming) -> Result<Vec<String>> {
    if a.family != b.family {
        return Ok(vec![format!("family: {}, {}", a.family, b.family)]);
    }
    let nodes = |card: &Card| -> Result<String> {
        let mut card = Card { naming: Some(naming), ..card.clone() };
        if let Some(classes) = card.arch.get_mut("classes") {
            *classes = 2.into();
        }
        Ok(format!("{:?}", build(&card, Params::Declared)?.0.nodes))
    };
    if nodes(a)? == nodes(b)? {
        return Ok(vec![]);
    }
    // A field may be stated by one card and be the other's default.
    let fields: BTreeSet<&String> = a.arch.keys().chain(b.arch.keys()).filter(|field| *field != "classes").collect();
    let of = |card: &Card, field: &str| card.arch.get(field).map_or("not stated".to_owned(), toml::Value::to_string);
    let apart = fields.into_iter().map(|field| (field, of(a, field), of(b, field))).filter(|(_, a, b)| a != b);
    Ok(apart.map(|(field, a, b)| format!("{field}: {a}, {b}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::NodeDef;
    use crate::layers::Shape;

    fn input(card: &Card) -> Shape {
        if let Some(steps) = card.input.get("steps") {
            return Shape::new(1, 1, steps.as_integer().expect("a number") as usize);
        }
        if let Some(rows) = card.input.get("chunk") {
            let framing = [rows, &card.input["context"], &card.input["reflect"]];
            let rows: i64 = framing.iter().map(|v| v.as_integer().expect("a number")).sum();
            return Shape::new(1, rows as usize, 64);
        }
        let size = card.input["size"].as_array().expect("size is [H, W]");
        let [h, w] = [0, 1].map(|i| size[i].as_integer().expect("a number") as usize);
        Shape::new(card.input["channels"].as_integer().expect("a number") as usize, h, w)
    }

    #[test]
    fn every_card_is_whole_and_its_numbers_are_true() {
        let mut wrong = vec![];
        for card in cards() {
            let (graph, _) = build(card, Params::Declared).unwrap_or_else(|error| panic!("{}: {error}", card.name));
            let got = (Some(graph.parameters() as u64), graph.macs(input(card)).ok());
            if got != (card.parameters, card.macs) {
                wrong.push(format!("{}: {got:?}, the card says {:?}", card.name, (card.parameters, card.macs)));
            }
            let classes = card.arch.get("classes").map_or(0, |count| count.as_integer().expect("a count") as usize);
            if card.labels.as_ref().is_some_and(|labels| labels.count() != classes) {
                wrong.push(format!("{}: labels are not {classes}", card.name));
            }
            if card.source.is_empty() || card.licence.is_empty() || card.description.is_empty() {
                wrong.push(format!("{}: source, licence or description is missing", card.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn names_of_cards_are_distinct() {
        let mut names: Vec<&str> = cards().iter().map(|card| card.name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn an_unknown_card_suggests_similar_ones() {
        let error = card("resnet5O").unwrap_err();
        assert!(error.hint().unwrap().contains("resnet50"), "{error:?}");
        assert!(card("zzzzzzzzzzzz").unwrap_err().hint().unwrap().contains("deadweight models"));
    }

    #[test]
    fn every_naming_is_recognised_by_the_names_it_asks_for() {
        let mut wrong = vec![];
        for family in FAMILIES {
            // In ResNets torchvision and timm differ by structure only: one name finds either.
            let alike = |naming| naming == Naming::Timm && family.name == "resnet";
            let merged = |naming| if alike(naming) { Naming::Torchvision } else { naming };
            for card in cards().iter().filter(|card| card.family == family.name) {
                for &(naming, _) in family.namings {
                    let named = Card { naming: Some(naming), ..card.clone() };
                    // Not every network exists in every naming.
                    let Ok((graph, _)) = build(&named, Params::Declared) else { continue };
                    // TensorFlow's are the only names that are not ours.
                    let ours = |name: &str| name.replace("/weights", ".weight");
                    let has = |name: &str| {
                        let named = |def: &NodeDef| def.name == name || format!("{}.weight", def.name) == ours(name);
                        graph.nodes.iter().any(named)
                    };
                    let got = family.detect(&has);
                    if got.map(merged) != Some(merged(naming)) {
                        wrong.push(format!("{} {naming:?}: {got:?}", card.name));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
