//! segmentation-models-pytorch's `config.json`: the arguments of its model class.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::config::{self, FILE};
use super::{Card, Naming, Task};
use crate::{Error, Result};

/// Encoders that can be built, under the names of their cards.
const ENCODERS: [&str; 5] = ["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2"];

/// The arguments; missing ones have the library's defaults, which may differ by class.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    encoder_name: String,
    encoder_depth: usize,
    encoder_output_stride: Option<usize>,
    decoder_channels: usize,
    decoder_atrous_rates: Vec<usize>,
    decoder_aspp_separable: Option<bool>,
    in_channels: usize,
    classes: usize,
    activation: Option<String>,
    upsampling: Option<usize>,
    #[serde(rename = "_model_class")]
    _class: IgnoredAny,
    // Fields that the logits do not depend on: initial weights, a dropout, a second output.
    #[serde(rename = "encoder_weights")]
    _weights: IgnoredAny,
    #[serde(rename = "decoder_aspp_dropout")]
    _dropout: IgnoredAny,
    #[serde(rename = "aux_params")]
    _second: IgnoredAny,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            encoder_name: "resnet34".into(),
            encoder_depth: 5,
            encoder_output_stride: None,
            decoder_channels: 256,
            decoder_atrous_rates: vec![12, 24, 36],
            decoder_aspp_separable: None,
            in_channels: config::rgb(),
            classes: 1,
            activation: None,
            upsampling: None,
            _class: IgnoredAny,
            _weights: IgnoredAny,
            _dropout: IgnoredAny,
            _second: IgnoredAny,
        }
    }
}

/// The card of the network that `value` describes, with the preprocessing of its encoder's weights.
pub(super) fn card(value: &Value, class: &str) -> Result<Card> {
    // A decoder's features have a quarter of the resolution, those of a pyramid alone that of the backbone.
    let (head, stride) = match class {
        "DeepLabV3" => ("pyramid", 8),
        "DeepLabV3Plus" => ("decoder", 16),
        _ => {
            let hint = "known are DeepLabV3, DeepLabV3Plus";
            return Err(Error::unsupported(format!("{FILE}: _model_class {class}"), hint));
        }
    };
    let arguments = Arguments::deserialize(value).map_err(|error| match error.to_string() {
        text if text.starts_with("unknown field") => {
            let field = text.split(',').next().unwrap_or_default();
            Error::unsupported(format!("{FILE}: {field}"), "take it out if it does not change the network")
        }
        text => Error::malformed(FILE, text),
    })?;
    if !ENCODERS.contains(&arguments.encoder_name.as_str()) {
        let hint = format!("known are {}", ENCODERS.join(", "));
        return Err(Error::unsupported(format!("{FILE}: encoder_name {}", arguments.encoder_name), hint));
    }
    let output_stride = arguments.encoder_output_stride.unwrap_or(stride);
    let scale = if head == "decoder" { 4 } else { output_stride };
    config::needs(matches!(output_stride, 8 | 16), "encoder_output_stride", "8 or 16")?;
    config::needs(arguments.encoder_depth == 5, "encoder_depth", "5")?;
    config::needs(arguments.decoder_atrous_rates.len() == 3, "decoder_atrous_rates", "three numbers")?;
    config::needs(arguments.in_channels == config::rgb(), "in_channels", "3")?;
    config::needs(arguments.activation.as_deref().is_none_or(|name| name == "identity"), "activation", "null")?;
    config::needs(arguments.upsampling.is_none_or(|factor| factor == scale), "upsampling", &scale.to_string())?;

    let number = |number: usize| toml::Value::from(number as i64);
    let mut arch = toml::Table::new();
    arch.insert("backbone".into(), arguments.encoder_name.as_str().into());
    arch.insert("head".into(), head.into());
    arch.insert("output_stride".into(), number(output_stride));
    arch.insert(
        "rates".into(),
        arguments.decoder_atrous_rates.iter().map(|rate| number(*rate)).collect::<Vec<_>>().into(),
    );
    if let Some(separable) = arguments.decoder_aspp_separable {
        arch.insert("separable".into(), separable.into());
    }
    arch.insert("head_channels".into(), number(arguments.decoder_channels));
    arch.insert("align_corners".into(), true.into());
    arch.insert("classes".into(), number(arguments.classes));

    let list = |values: [f64; 3]| toml::Value::from(values.to_vec());
    let mut input = toml::Table::new();
    input.insert("channels".into(), number(arguments.in_channels));
    input.insert("size".into(), vec![number(512), number(512)].into());
    input.insert("any_size".into(), true.into());
    // The library accepts images whose sides are multiples of the output stride.
    input.insert("multiple".into(), number(output_stride));
    input.insert("mean".into(), list([0.485, 0.456, 0.406]));
    input.insert("std".into(), list([0.229, 0.224, 0.225]));

    let note = format!("{FILE}: has no preprocessing: that of the encoder's ImageNet weights is taken");
    Ok(Card {
        description: format!("{class} on {} as its config.json describes it", arguments.encoder_name),
        naming: Some(Naming::Smp),
        arch,
        input,
        from_config: true,
        config_classes: Some(arguments.classes),
        notes: vec![note],
        ..Card::new(&format!("smp_{}_{}", class.to_lowercase(), arguments.encoder_name), "deeplab", Task::Segment)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graph::Params;
    use crate::layers::Layer;
    use crate::models;

    fn with(field: &str, value: Value) -> Value {
        let mut config = json!({
            "_model_class": "DeepLabV3Plus", "activation": null, "aux_params": null, "classes": 5,
            "decoder_aspp_dropout": 0.5, "decoder_aspp_separable": true, "decoder_atrous_rates": [12, 24, 36],
            "decoder_channels": 256, "encoder_depth": 5, "encoder_name": "resnet18", "encoder_output_stride": 16,
            "encoder_weights": null, "in_channels": 3, "upsampling": 4,
        });
        config[field] = value;
        config
    }

    /// Dilation of the convolution with that name, and number of parameters of the network.
    fn built(config: &Value, name: &str) -> (usize, usize) {
        let (graph, naming) = models::build(&models::from_config(config).unwrap(), Params::Declared).unwrap();
        assert_eq!(naming, "smp");
        let Layer::Conv(conv) = &graph.nodes.iter().find(|def| def.name == name).unwrap().layer else {
            panic!("{name}")
        };
        (conv.dilation.0, graph.parameters())
    }

    #[test]
    fn the_network_is_that_of_the_arguments() {
        let published = models::card("smp_deeplabv3plus_resnet18").unwrap();
        let card = models::from_config(&with("classes", json!(21))).unwrap();
        assert!(models::differences(published, &card, Naming::Smp).unwrap().is_empty());
        let at = "encoder.layer4.0.conv1";
        let (dilation, parameters) = built(&with("classes", json!(5)), at);
        // The card's classifier has 16 classes of 256 weights and a bias more.
        assert_eq!((dilation, parameters as u64), (2, published.parameters.unwrap() - 16 * 257));
        assert_eq!(built(&with("encoder_output_stride", json!(8)), at), (4, parameters));
        let rates = with("decoder_atrous_rates", json!([6, 12, 18]));
        assert_eq!(built(&rates, "decoder.aspp.0.convs.3.0.0"), (18, parameters));
        // Three dense 3x3 convolutions from 512 to 256 in place of depthwise 3x3 and 1x1.
        let dense = built(&with("decoder_aspp_separable", json!(false)), "decoder.aspp.0.convs.3.0").1;
        assert_eq!(dense - parameters, 3 * (512 * 256 * 9 - 512 * 9 - 512 * 256));
        assert!(built(&with("decoder_channels", json!(128)), at).1 < parameters);
        let plain = json!({"_model_class": "DeepLabV3", "encoder_name": "resnet34", "classes": 21});
        let card = models::from_config(&plain).unwrap();
        let published = models::card("smp_deeplabv3_resnet34").unwrap();
        assert!(models::differences(published, &card, Naming::Smp).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        for (field, value, want) in [
            ("_model_class", json!("Unet"), "_model_class Unet"),
            ("encoder_name", json!("tu-resnet18"), "encoder_name tu-resnet18"),
            ("encoder_depth", json!(4), "encoder_depth other than 5"),
            ("encoder_output_stride", json!(32), "encoder_output_stride other than 8 or 16"),
            ("decoder_atrous_rates", json!([6, 12]), "decoder_atrous_rates other than three numbers"),
            ("in_channels", json!(4), "in_channels other than 3"),
            ("activation", json!("sigmoid"), "activation other than null"),
            ("upsampling", json!(8), "upsampling other than 4"),
            ("drop_path_rate", json!(0.1), "unknown field `drop_path_rate`"),
        ] {
            let error = models::from_config(&with(field, value)).unwrap_err();
            assert!(error.to_string().contains(want) && error.exit_code() == 4, "{field}: {error}");
            assert!(error.hint().is_some(), "{field}");
        }
        assert_eq!(models::from_config(&with("classes", json!("five"))).unwrap_err().exit_code(), 1);
    }
}
