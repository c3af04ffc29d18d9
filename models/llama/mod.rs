//! Llama (Touvron 2023) and its relatives: Mistral, Qwen2, Qwen2.5, Qwen3, SmolLM2. RMS norms, rotary positions, gated products,
//! heads that share keys and values.

mod rope;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::rope::Rope;
use super::transformer::{self, Head, MOST_LAYERS};
use super::{Card, Family, FromConfig, Naming, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::kernels::attention::Mask;
use crate::layers::{Rotary, Step};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "llama",
    file: "models/llama.toml",
    cards: include_str!("../llama.toml"),
    namings: &[(Naming::Transformers, "model.embed_tokens.weight"), (Naming::Transformers, "embed_tokens.weight")],
    reads: "biases, norms of queries and keys; heads are in no weight, so its numbers are those of config.json",
    build,
    from_config: Some(from_config),
};

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Vocabulary size.
    vocabulary: usize,
    /// Positions that it was trained with.
    positions: usize,
    width: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    /// Features of a head; by default the width over the heads.
    features: Option<usize>,
    /// Values of the gated product.
    hidden: usize,
    activation: String,
    eps: f64,
    rope: Rope,
    /// Tokens that a step sees, in the layers that `windowed` lists; in all, if it lists none.
    window: Option<usize>,
    #[serde(default)]
    windowed: Vec<usize>,
    /// Whether queries, keys and values have biases.
    #[serde(default)]
    biases: bool,
    /// Whether each head of queries and keys is normalised.
    #[serde(default)]
    norms: bool,
    #[serde(default)]
    head: Head,
    /// Number of classes, where the head has such.
    classes: Option<usize>,
    /// Whether the head for words shares the embedding's weights.
    #[serde(default)]
    tied: bool,
}

impl Arch {
    fn features(&self) -> usize {
        self.features.unwrap_or(self.width / self.heads)
    }

    fn window(&self, layer: usize) -> Option<usize> {
        self.window.filter(|_| self.windowed.is_empty() || self.windowed.contains(&layer))
    }
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &[arch.layers.min(MOST_LAYERS)])?;
    card.check_sizes("heads, kv_heads, features", &[arch.heads, arch.kv_heads, arch.features()])?;
    card.check_sizes("width, hidden", &[arch.width, arch.hidden])?;
    card.within("vocabulary", arch.vocabulary, 1..=1 << 24)?;
    card.within("positions", arch.positions, 1..=1 << 24)?;
    card.within("kv_heads that divide the heads", arch.heads % arch.kv_heads, 0..=0)?;
    let activation = transformer::activation("activation", &arch.activation)?;
    let turns = Arc::new(arch.rope.turns(card, arch.features())?);
    let rotary = Rotary { turns, limit: arch.positions };
    let bare = root.is_stored() && root.at("embed_tokens").has("weight");
    let base = root.at(if bare { "" } else { "model" });
    let words = base.at("embed_tokens");
    let table = words.parameter("weight", &[arch.vocabulary, arch.width]);
    let mut x = words.embedding(root.input(1), table.clone());
    for layer in 0..arch.layers {
        let mask = Mask { causal: true, window: arch.window(layer) };
        x = block(&base.at("layers").at(layer), &arch, (&rotary, mask, activation), x);
    }
    let x = base.at("norm").rms_norm(x, arch.eps, 1);
    let classes = arch.classes.unwrap_or(2);
    Ok(match arch.head {
        Head::Hidden | Head::Masked => x,
        Head::Language => transformer::language_head(&root.at("lm_head"), x, (&words, &table), arch.tied, None),
        Head::Sequence => root.at("score").project(root.step(x, Step::Last), classes, false),
        Head::Tokens => root.at("score").project(x, classes, true),
    })
}

fn block(at: &Scope, arch: &Arch, (rotary, mask, activation): (&Rotary, Mask, Activation), x: Node) -> Node {
    let Arch { width, heads, kv_heads, hidden, eps, biases, .. } = *arch;
    let features = arch.features();
    let inner = at.at("self_attn");
    // Older checkpoints hold frequencies as if they were weights.
    inner.at("rotary_emb").ignore("inv_freq");
    let y = at.at("input_layernorm").rms_norm(x, eps, 1);
    let part = |name: &str, heads: usize| inner.at(name).project(y, heads * features, biases);
    let turned = |name: &str, norm: &str, heads: usize| {
        let x = part(name, heads);
        let normed = if inner.is_stored() { inner.at(norm).has("weight") } else { arch.norms };
        let x = if normed { inner.at(norm).rms_norm(x, eps, heads) } else { x };
        inner.at(name).rotary(x, rotary.clone())
    };
    let (q, k) = (turned("q_proj", "q_norm", heads), turned("k_proj", "k_norm", kv_heads));
    let shape = transformer::heads(heads, kv_heads, features, mask);
    let y = at.at("attention").attention([q, k, part("v_proj", kv_heads)], shape, None);
    let x = at.add(inner.at("o_proj").project(y, width, false), x);
    let y = at.at("post_attention_layernorm").rms_norm(x, eps, 1);
    let mlp = at.at("mlp");
    let gate = mlp.at("gate_proj");
    let gate = gate.activation(gate.project(y, hidden, false), activation);
    let y = mlp.mul(gate, mlp.at("up_proj").project(y, hidden, false));
    at.add(mlp.at("down_proj").project(y, width, false), x)
}

/// The `config.json` of Llama, Mistral, Qwen2 and Qwen3.
#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    #[serde(default = "silu")]
    hidden_act: String,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    tie_word_embeddings: bool,
}

fn silu() -> String {
    "silu".into()
}

fn from_config(value: &Value) -> Result<FromConfig> {
    let config: Config = config::read(value)?;
    let head = Head::of(value)?;
    config::needs(head != Head::Masked, "architectures", "a decoder's")?;
    transformer::activation("hidden_act", &config.hidden_act)?;
    let kind = value["model_type"].as_str().unwrap_or_default();
    let (layers, qwen) = (config.num_hidden_layers, kind.starts_with("qwen"));
    // Qwen's first layers see all; Llama has no windows, whatever it states.
    let on = if qwen { config.use_sliding_window.unwrap_or(false) } else { kind == "mistral" };
    let window = config.sliding_window.filter(|window| on && *window > 0);
    let windowed: Vec<usize> = match (&config.layer_types, qwen) {
        (Some(kinds), _) => {
            let known = |kind: &String| ["full_attention", "sliding_attention"].contains(&kind.as_str());
            config::needs(kinds.iter().all(known), "layer_types", "full_attention and sliding_attention")?;
            (0..layers).filter(|&layer| kinds.get(layer).is_some_and(|kind| kind == "sliding_attention")).collect()
        }
        (None, true) => (config.max_window_layers.unwrap_or(28)..layers).collect(),
        (None, false) => vec![],
    };
    let window = window.filter(|_| !windowed.is_empty() || (config.layer_types.is_none() && !qwen));
    config::arch(&Arch {
        vocabulary: config.vocab_size,
        positions: config.max_position_embeddings,
        width: config.hidden_size,
        layers,
        heads: config.num_attention_heads,
        kv_heads: config.num_key_value_heads.unwrap_or(config.num_attention_heads),
        features: config.head_dim,
        hidden: config.intermediate_size,
        activation: config.hidden_act,
        eps: config.rms_norm_eps,
        rope: Rope::of(value)?,
        windowed: if window.is_some() { windowed } else { vec![] },
        window,
        biases: kind == "qwen2",
        norms: kind == "qwen3",
        head,
        classes: matches!(head, Head::Sequence | Head::Tokens).then(|| config::classes(value, 2)),
        tied: config.tie_word_embeddings,
    })
}
