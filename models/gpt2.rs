//! GPT-2 (Radford 2019): a decoder with learned positions and norms before each half of a block.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transformer::{self, Head, MOST_LAYERS};
use super::{Card, Family, FromConfig, Naming, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::attention::{AttentionShape, Mask};
use crate::kernels::{Activation, Halo};
use crate::layers::{Slice, Step};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "gpt2",
    file: "models/gpt2.toml",
    cards: include_str!("gpt2.toml"),
    namings: &[(Naming::Transformers, "transformer.wte.weight"), (Naming::Transformers, "wte.weight")],
    reads: "nothing: heads are in no weight, so its numbers are those of config.json",
    build,
    from_config: Some(from_config),
};

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Vocabulary size.
    vocabulary: usize,
    positions: usize,
    width: usize,
    layers: usize,
    heads: usize,
    /// Values between the two layers of a block's second half.
    hidden: usize,
    activation: String,
    eps: f64,
    #[serde(default)]
    head: Head,
    /// Number of classes, where the head has such.
    classes: Option<usize>,
    /// Whether scores are not over the root of a head's features.
    #[serde(default)]
    unscaled: bool,
    /// Whether scores of layer i are over i + 1 as well.
    #[serde(default)]
    scaled_by_layer: bool,
    /// Whether the head for words has weights of its own.
    #[serde(default)]
    untied: bool,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &[arch.layers.min(MOST_LAYERS)])?;
    card.check_sizes("width, heads, hidden, positions", &[arch.width, arch.heads, arch.hidden, arch.positions])?;
    card.within("vocabulary", arch.vocabulary, 1..=1 << 24)?;
    card.within("heads that divide the width", arch.width % arch.heads, 0..=0)?;
    let activation = transformer::activation("activation", &arch.activation)?;
    let bare = root.is_stored() && root.at("wte").has("weight");
    let base = root.at(if bare { "" } else { "transformer" });
    let ids = root.input(1);
    let words = base.at("wte");
    let table = words.parameter("weight", &[arch.vocabulary, arch.width]);
    let x = words.embedding(ids, table.clone());
    let mut x = transformer::add_positions(&base.at("wpe"), x, ids, arch.positions, 0, None);
    for layer in 0..arch.layers {
        x = block(&base.at("h").at(layer), &arch, (layer, activation), x);
    }
    let x = base.at("ln_f").layer_norm(x, arch.eps);
    let classes = arch.classes.unwrap_or(2);
    Ok(match arch.head {
        Head::Hidden | Head::Masked => x,
        Head::Language => transformer::language_head(&root.at("lm_head"), x, (&words, &table), !arch.untied, None),
        Head::Sequence => root.at("score").project(root.step(x, Step::Last), classes, false),
        Head::Tokens => root.at("classifier").project(x, classes, true),
    })
}

fn block(at: &Scope, arch: &Arch, (layer, activation): (usize, Activation), x: Node) -> Node {
    let Arch { width, heads, hidden, eps, .. } = *arch;
    // Weights are stored `[in, out]`.
    let linear = |name: &str, x: Node, out: usize| {
        let at = at.at(name);
        let weight = transformer::transposed(&at.parameter("weight", &[at.channels(x), out]));
        at.linear_steps(x, weight, Some(at.parameter("bias", &[out])), false)
    };
    // Masks that were stored as if they were weights.
    at.at("attn").ignore("bias");
    at.at("attn").ignore("masked_bias");
    let y = at.at("ln_1").layer_norm(x, eps);
    let all = linear("attn.c_attn", y, 3 * width);
    let part = |i: usize| at.slice(all, Slice { start: i * width, channels: width, cut: Halo::default() });
    let shape = transformer::heads(heads, heads, width / heads, Mask { causal: true, window: None });
    let scale = if arch.unscaled { 1.0 } else { shape.scale };
    let scale = if arch.scaled_by_layer { scale / (layer + 1) as f32 } else { scale };
    let y = at.at("attention").attention([0, 1, 2].map(part), AttentionShape { scale, ..shape }, None);
    let x = at.add(linear("attn.c_proj", y, width), x);
    let y = at.at("ln_2").layer_norm(x, eps);
    let y = at.at("mlp").activation(linear("mlp.c_fc", y, hidden), activation);
    at.add(linear("mlp.c_proj", y, width), x)
}

/// The `config.json`; missing fields have the library's defaults.
#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    activation_function: String,
    layer_norm_epsilon: f64,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn yes() -> bool {
    true
}

fn from_config(value: &Value) -> Result<FromConfig> {
    let config: Config = config::read(value)?;
    let head = Head::of(value)?;
    config::needs(!config.add_cross_attention, "add_cross_attention", "false")?;
    config::needs(head != Head::Masked, "architectures", "a decoder's")?;
    transformer::activation("activation_function", &config.activation_function)?;
    config::arch(&Arch {
        vocabulary: config.vocab_size,
        positions: config.n_positions,
        width: config.n_embd,
        layers: config.n_layer,
        heads: config.n_head,
        hidden: config.n_inner.unwrap_or(4 * config.n_embd),
        activation: config.activation_function,
        eps: config.layer_norm_epsilon,
        head,
        classes: matches!(head, Head::Sequence | Head::Tokens).then(|| config::classes(value, 2)),
        unscaled: !config.scale_attn_weights,
        scaled_by_layer: config.scale_attn_by_inverse_layer_idx,
        untied: !config.tie_word_embeddings,
    })
}
