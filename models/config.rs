//! Cards from the `config.json` of hub repositories.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::naming::{Naming, Pad};
use super::transformer::Head;
use super::{Card, FAMILIES, FromConfig, Labels, Task, smp, timm};
use crate::{Error, Result};

/// Name of the file in messages.
pub(super) const FILE: &str = "config.json";

/// The card of the network that a `config.json` describes: of transformers (`model_type`), timm (`architecture`) or
/// segmentation-models-pytorch (`_model_class`). Its `input` is empty if the preprocessing has to be read from other files
/// next to it.
///
/// # Errors
/// [`Error::Unsupported`] for networks and options that this crate does not have, [`Error::Malformed`] for fields of
/// the wrong type.
pub fn from_config(config: &Value) -> Result<Card> {
    let text = |field: &str| config.get(field).and_then(Value::as_str);
    match (text("model_type"), text("architecture"), text("_model_class")) {
        (Some(kind), ..) => from_transformers(config, kind),
        (None, Some(architecture), _) => timm::card(config, architecture),
        (None, None, Some(class)) => smp::card(config, class),
        (None, None, None) => Err(Error::malformed(
            FILE,
            "has neither model_type (transformers), architecture (timm) nor _model_class (segmentation-models-pytorch)",
        )),
    }
}

/// Whether a `config.json` names a network.
pub fn names_network(config: &Value) -> bool {
    ["model_type", "architecture", "_model_class"].iter().any(|field| config.get(field).is_some())
}

/// The backbone for which transformers has a segmentation head, and the family of that network.
const PIXELS: (&str, &str) = ("mobilenet_v2", "deeplab");

/// Relatives by `model_type`, and the family that builds them.
const RELATIVES: [(&str, &str); 6] = [
    ("roberta", "bert"),
    ("distilbert", "bert"),
    ("mistral", "llama"),
    ("qwen2", "llama"),
    ("qwen3", "llama"),
    ("deit", "vit"),
];

fn from_transformers(config: &Value, kind: &str) -> Result<Card> {
    // The same model_type is used for the classifier and for the segmentation network.
    let pixels = config["architectures"][0].as_str().is_some_and(|name| name.ends_with("ForSemanticSegmentation"));
    let readers = FAMILIES.iter().filter_map(|family| Some((family, family.from_config?)));
    let known = readers.clone().map(|(family, _)| family.name).filter(|name| *name != PIXELS.1);
    let known: Vec<&str> = known.chain(RELATIVES.iter().map(|(name, _)| *name)).collect();
    let wanted = match (pixels, kind) {
        (true, kind) if kind == PIXELS.0 => PIXELS.1,
        (true, kind) => {
            let hint = format!("known is {}", PIXELS.0);
            return Err(Error::unsupported(format!("{FILE}: semantic segmentation by model_type {kind}"), hint));
        }
        (false, kind) => RELATIVES.iter().find(|(name, _)| *name == kind).map_or(kind, |(_, family)| family),
    };
    let Some((family, read)) = readers.into_iter().find(|(family, _)| family.name == wanted) else {
        let hint = format!("known are {}; any network runs from an ONNX file of it", known.join(", "));
        return Err(Error::unsupported(format!("{FILE}: model_type {kind}"), hint));
    };
    let namings = family.namings.iter().map(|(naming, _)| *naming);
    let task = match (pixels, family.name) {
        (true, _) => Task::Segment,
        (_, "rnn") => Task::Language,
        (_, "bert" | "gpt2" | "llama" | "vit") => Head::of(config)?.task(),
        _ => Task::Classify,
    };
    Ok(Card {
        description: format!("{} as its config.json describes it", family.name),
        labels: labels(config),
        naming: namings.clone().find(|naming| *naming == Naming::Transformers).or(namings.clone().next()),
        arch: read(config)?,
        config_classes: stated_classes(config),
        from_config: true,
        ..Card::new(&text_or(config, "_name_or_path", kind), family.name, task)
    })
}

fn text_or(config: &Value, field: &str, default: &str) -> String {
    config.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
}

/// Class names from `id2label`, else `label2id`, if it numbers them from 0 without a gap and they are not just `LABEL_i`.
fn labels(config: &Value) -> Option<Labels> {
    let object = |field: &str| config.get(field).and_then(Value::as_object);
    let names: Vec<String> = match (object("id2label"), object("label2id")) {
        (Some(names), _) => {
            let name = |class: usize| names.get(&class.to_string()).and_then(Value::as_str).map(str::to_owned);
            (0..names.len()).map(name).collect::<Option<_>>()?
        }
        (None, Some(numbers)) => {
            let name = |class: u64| numbers.iter().find(|(_, number)| number.as_u64() == Some(class));
            (0..numbers.len() as u64).map(|class| name(class).map(|(name, _)| name.clone())).collect::<Option<_>>()?
        }
        (None, None) => return None,
    };
    (!names.iter().enumerate().all(|(i, name)| *name == format!("LABEL_{i}"))).then_some(Labels::Names(names))
}

/// Number of classes in transformers' config.
pub(super) fn classes(config: &Value, default: usize) -> usize {
    stated_classes(config).unwrap_or(default)
}

fn stated_classes(config: &Value) -> Option<usize> {
    let object = |field: &str| config.get(field).and_then(Value::as_object).map(serde_json::Map::len);
    let listed = object("id2label").or_else(|| object("label2id"));
    let num_labels = || config.get("num_labels").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    listed.or_else(num_labels)
}

/// The value of `field` as a count.
pub(super) fn count(field: &str, value: &Value) -> Result<usize> {
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok()).map(|count| count as usize);
    count.ok_or_else(|| Error::malformed(FILE, format!("{field} is no count")))
}

/// Deserialises the fields of `config` that a family knows.
pub(super) fn read<T: DeserializeOwned>(config: &Value) -> Result<T> {
    T::deserialize(config).map_err(|error| Error::malformed(FILE, error.to_string()))
}

/// An error unless `fits`: `field` has only one supported value, `want`.
pub(super) fn needs(fits: bool, field: &str, want: &str) -> Result<()> {
    let refuse = || {
        Error::unsupported(
            format!("{FILE}: {field} other than {want}"),
            format!("networks are built with {field} {want}"),
        )
    };
    if fits { Ok(()) } else { Err(refuse()) }
}

/// An architecture as a card's table.
pub(super) fn arch<T: Serialize>(arch: &T) -> Result<FromConfig> {
    toml::Table::try_from(arch).map_err(|error| Error::malformed(FILE, error.to_string()))
}

/// transformers' `config.json` of a MobileNet; missing fields have the library's defaults.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Mobile {
    pub num_channels: usize,
    pub depth_multiplier: f64,
    pub depth_divisible_by: usize,
    pub min_depth: usize,
    pub expand_ratio: f64,
    pub output_stride: usize,
    pub first_layer_is_expansion: bool,
    pub finegrained_output: bool,
    pub hidden_act: String,
    pub tf_padding: bool,
    pub layer_norm_eps: f64,
}

impl Default for Mobile {
    fn default() -> Self {
        Self {
            num_channels: 3,
            depth_multiplier: 1.0,
            depth_divisible_by: 8,
            min_depth: 8,
            expand_ratio: 6.0,
            output_stride: 32,
            first_layer_is_expansion: true,
            finegrained_output: true,
            hidden_act: "relu6".into(),
            tf_padding: true,
            layer_norm_eps: 1e-3,
        }
    }
}

impl Mobile {
    /// Its padding; an error if its activation is not ReLU6.
    pub fn pad(&self) -> Result<Pad> {
        needs(self.hidden_act == "relu6", "hidden_act", "relu6")?;
        Ok(if self.tf_padding { Pad::Same } else { Pad::Symmetric })
    }
}

/// Channels of a colour image.
pub(super) fn rgb() -> usize {
    3
}

/// One group.
pub(super) fn single() -> usize {
    1
}

/// Width multiplier of the published network.
pub(super) fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graph::Params;
    use crate::models;

    fn parameters(config: &Value) -> usize {
        let card = from_config(config).unwrap();
        models::build(&card, Params::Declared).unwrap().0.parameters()
    }

    #[test]
    fn transformers_configs_give_the_networks_they_describe() {
        // Counts from torch's listing of the same configurations.
        let cases = [
            (json!({"model_type": "resnet"}), 25_557_032),
            (
                json!({"model_type": "resnet", "layer_type": "basic", "depths": [2, 2, 2, 2],
                    "hidden_sizes": [64, 128, 256, 512]}),
                11_689_512,
            ),
            (json!({"model_type": "mobilenet_v1", "tf_padding": true}), 4_233_001),
            (json!({"model_type": "mobilenet_v2", "depth_multiplier": 1.0}), 3_506_153),
            (
                json!({"model_type": "rnn", "rnn_type": "LSTM", "vocab_size": 50002, "embedding_dim": 1024,
                    "hidden_dim": 1024, "num_layers": 2, "bidirectional": false, "tie_weights": true}),
                68_045_650,
            ),
            // Without the 1280 filters (412,160 values) that the head does not read.
            (
                json!({"model_type": "mobilenet_v2", "output_stride": 8, "num_labels": 21,
                    "architectures": ["MobileNetV2ForSemanticSegmentation"]}),
                2_525_717 - 1280 * 322,
            ),
        ];
        for (config, want) in cases {
            assert_eq!(parameters(&config), want, "{config}");
        }
    }

    #[test]
    fn classes_and_their_names_come_from_the_config() {
        let config = json!({"model_type": "mobilenet_v2", "id2label": {"0": "cat", "1": "dog"}});
        let card = from_config(&config).unwrap();
        assert_eq!(card.labels, Some(Labels::Names(vec!["cat".into(), "dog".into()])));
        assert_eq!(card.arch["classes"].as_integer(), Some(2));

        let config = json!({"model_type": "mobilenet_v2", "label2id": {"dog": 1, "cat": 0}});
        let other = from_config(&config).unwrap();
        assert_eq!((other.labels, other.config_classes), (card.labels, Some(2)));

        let card = from_config(&json!({"architecture": "resnet50", "num_classes": 12})).unwrap();
        assert_eq!((card.labels, card.arch["classes"].as_integer()), (None, Some(12)));
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let cases = [
            (json!({}), "neither"),
            (json!({"model_type": "swin"}), "model_type swin is not supported"),
            (json!({"architecture": "convnext_tiny"}), "architecture convnext_tiny is not supported"),
            (json!({"architecture": "resnet50", "num_classes": -1}), "num_classes is no count"),
            (json!({"model_type": "resnet", "hidden_act": "gelu"}), "hidden_act other than relu"),
            (json!({"model_type": "resnet", "depths": "deep"}), "invalid type"),
            (json!({"model_type": "mobilenet_v2", "output_stride": 8}), "output_stride other than 32"),
            (
                json!({"model_type": "rnn", "rnn_type": "QRNN", "vocab_size": 2, "embedding_dim": 2, "hidden_dim": 2, "num_layers": 1}),
                "rnn_type other than LSTM, GRU",
            ),
            (json!({"architecture": "resnet50", "model_args": {"stem_width": 32}}), "model_args.stem_width 32"),
            (json!({"_model_class": "Unet"}), "_model_class Unet is not supported"),
        ];
        for (config, want) in cases {
            let got = from_config(&config).unwrap_err().to_string();
            assert!(got.contains(want), "{config}: {got}");
        }
    }
}
