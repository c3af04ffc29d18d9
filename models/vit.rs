//! ViT (Dosovitskiy 2020) and DeiT (Touvron 2020): patches of an image as tokens, classes from the first one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::naming::lacks;
use super::transformer::{self, Head, MOST_LAYERS};
use super::{Card, Family, FromConfig, Naming, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::kernels::attention::Mask;
use crate::layers::{Conv, Param, Positions, Step};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "vit",
    file: "models/vit.toml",
    cards: include_str!("vit.toml"),
    namings: &[
        (Naming::Transformers, "vit.embeddings.patch_embeddings.projection.weight"),
        (Naming::Transformers, "deit.embeddings.patch_embeddings.projection.weight"),
        (Naming::Transformers, "embeddings.patch_embeddings.projection.weight"),
    ],
    reads: "classes",
    build,
    from_config: Some(from_config),
};

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Rows and columns of the image.
    image: usize,
    /// Rows and columns of a patch.
    patch: usize,
    channels: usize,
    width: usize,
    layers: usize,
    heads: usize,
    /// Values between the two layers of a block's second half.
    hidden: usize,
    activation: String,
    eps: f64,
    /// Whether it is a DeiT, which has a second learned token.
    #[serde(default)]
    distilled: bool,
    /// Whether queries, keys and values have no biases.
    #[serde(default)]
    without_biases: bool,
    /// Number of classes; none for a network that ends in its features.
    classes: Option<usize>,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &[arch.layers.min(MOST_LAYERS)])?;
    card.check_sizes("image, patch, channels", &[arch.image, arch.patch, arch.channels])?;
    card.check_sizes("width, heads, hidden", &[arch.width, arch.heads, arch.hidden])?;
    card.within("heads that divide the width", arch.width % arch.heads, 0..=0)?;
    card.within("patch", arch.patch, 1..=arch.image)?;
    let activation = transformer::activation("activation", &arch.activation)?;
    let bare = root.is_stored() && root.at("embeddings.patch_embeddings.projection").has("weight");
    let base = root.at(match arch.distilled {
        _ if bare => "",
        true => "deit",
        false => "vit",
    });
    let x = embeddings(&base.at("embeddings"), root.input(arch.channels), &arch);
    let x = (0..arch.layers).fold(x, |x, layer| block(&base.at("encoder.layer").at(layer), &arch, activation, x));
    let x = base.at("layernorm").layer_norm(x, arch.eps);
    base.skip("pooler");
    let first = root.step(x, Step::First);
    let (Some(classes), head) = (arch.classes, root.at("classifier")) else { return Ok(first) };
    if lacks(&head) {
        return Ok(first);
    }
    Ok(head.linear(first, super::naming::classes(&head, classes), 1))
}

/// Patches after the learned tokens, with their positions.
fn embeddings(at: &Scope, x: Node, arch: &Arch) -> Node {
    let (width, patch) = (arch.width, arch.patch);
    let conv = Conv { kernel: (patch, patch), ..Conv::new(width, 1).stride(patch).bias(true) };
    let patches = at.at("patch_embeddings.projection").exact().conv(x, conv);
    let names: &[&str] = if arch.distilled { &["cls_token", "distillation_token"] } else { &["cls_token"] };
    let learned = names.iter().map(|name| at.parameter(name, &[1, 1, width])).collect::<Vec<_>>();
    let before = Param {
        shape: vec![names.len(), width],
        data: learned.iter().flat_map(|param| param.data.iter().copied()).collect(),
    };
    let x = at.at("cls_token").tokens(patches, before);
    let steps = names.len() + (arch.image / patch).pow(2);
    let table = at.parameter("position_embeddings", &[1, steps, width]);
    let table = Param { shape: vec![steps, width], data: table.data };
    at.ignore("mask_token");
    let numbers = at.positions(x, Positions { first: 0, limit: steps, exact: true, skip: None });
    at.add(x, at.at("position_embeddings").embedding(numbers, table))
}

fn block(at: &Scope, arch: &Arch, activation: Activation, x: Node) -> Node {
    let Arch { width, heads, hidden, eps, without_biases, .. } = *arch;
    let y = at.at("layernorm_before").layer_norm(x, eps);
    let part = |name: &str| at.at("attention.attention").at(name).project(y, width, !without_biases);
    let shape = transformer::heads(heads, heads, width / heads, Mask::default());
    let y = at.at("attention").attention(["query", "key", "value"].map(part), shape, None);
    let x = at.add(at.at("attention.output.dense").project(y, width, true), x);
    let y = at.at("layernorm_after").layer_norm(x, eps);
    let up = at.at("intermediate.dense");
    let y = up.activation(up.project(y, hidden, true), activation);
    at.add(at.at("output.dense").project(y, width, true), x)
}

/// The `config.json`; missing fields have the library's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    image_size: usize,
    patch_size: usize,
    num_channels: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    qkv_bias: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 16,
            num_channels: 3,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-12,
            qkv_bias: true,
        }
    }
}

fn from_config(value: &Value) -> Result<FromConfig> {
    let config: Config = config::read(value)?;
    let name = value["architectures"][0].as_str().unwrap_or_default();
    let both = name.ends_with("ForImageClassificationWithTeacher");
    config::needs(!both, "architectures", "a class that ends in ForImageClassification or Model")?;
    let head = Head::of(value)?;
    config::needs(matches!(head, Head::Sequence | Head::Hidden), "architectures", "one for images")?;
    transformer::activation("hidden_act", &config.hidden_act)?;
    config::arch(&Arch {
        image: config.image_size,
        patch: config.patch_size,
        channels: config.num_channels,
        width: config.hidden_size,
        layers: config.num_hidden_layers,
        heads: config.num_attention_heads,
        hidden: config.intermediate_size,
        activation: config.hidden_act,
        eps: config.layer_norm_eps,
        distilled: value["model_type"] == "deit",
        without_biases: !config.qkv_bias,
        classes: (head == Head::Sequence).then(|| config::classes(value, 2)),
    })
}
