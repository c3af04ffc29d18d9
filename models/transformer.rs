//! What families of transformers have in common: heads, activations, positions, and what their configurations say of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Task, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::kernels::attention::{AttentionShape, Mask};
use crate::layers::{Param, Positions};

/// Most layers of a network.
pub(super) const MOST_LAYERS: usize = 1000;

/// What follows the last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Head {
    /// Nothing: the hidden values of each step.
    #[default]
    Hidden,
    /// Classes of a whole sequence.
    Sequence,
    /// Classes of each step.
    Tokens,
    /// Logits of the word at each step, which was masked.
    Masked,
    /// Logits of the next token at each step.
    Language,
}

impl Head {
    /// That of a transformers class, by the end of its name in `architectures`; without any, none.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] for another class.
    pub fn of(config: &Value) -> Result<Self> {
        let Some(name) = config["architectures"][0].as_str() else { return Ok(Self::Hidden) };
        let known = [
            ("ForSequenceClassification", Self::Sequence),
            ("ForImageClassification", Self::Sequence),
            ("ForTokenClassification", Self::Tokens),
            ("ForMaskedLM", Self::Masked),
            ("ForCausalLM", Self::Language),
            ("LMHeadModel", Self::Language),
            ("Model", Self::Hidden),
        ];
        let head = known.iter().find(|(end, _)| name.ends_with(end)).map(|(_, head)| *head);
        let ends: Vec<&str> = known.iter().map(|(end, _)| *end).collect();
        let want = format!("a class that ends in {}", ends.join(", "));
        config::needs(head.is_some() && !name.contains("Heads"), "architectures", &want)?;
        Ok(head.unwrap_or_default())
    }

    /// What the output means.
    pub fn task(self) -> Task {
        match self {
            Self::Hidden => Task::Features,
            Self::Sequence => Task::Classify,
            Self::Tokens | Self::Masked => Task::Tag,
            Self::Language => Task::Language,
        }
    }
}

/// The activation that a configuration calls `name` in `field`.
///
/// # Errors
/// [`crate::Error::Unsupported`] for others.
pub(super) fn activation(field: &str, name: &str) -> Result<Activation> {
    let known = [
        ("gelu", Activation::Gelu),
        ("gelu_python", Activation::Gelu),
        ("gelu_new", Activation::GeluTanh),
        ("gelu_fast", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("quick_gelu", Activation::QuickGelu),
        ("silu", Activation::Silu),
        ("swish", Activation::Silu),
        ("relu", Activation::Relu),
        ("tanh", Activation::Tanh),
    ];
    let found = known.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation);
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    config::needs(found.is_some(), field, &format!("one of {} ({name})", names.join(", ")))?;
    Ok(found.unwrap_or_default())
}

/// `heads` heads on `kv_heads` of `features` features, with scores over the root of these.
pub(super) fn heads(heads: usize, kv_heads: usize, features: usize, mask: Mask) -> AttentionShape {
    let scale = (1.0 / (features as f64).sqrt()) as f32;
    AttentionShape { heads, kv_heads, inner: features, outer: features, scale, mask }
}

/// `x` plus the rows of the table at `at` of their positions, `rows` in all, from row `first` on.
pub(super) fn add_positions(at: &Scope, x: Node, ids: Node, rows: usize, first: usize, skip: Option<u32>) -> Node {
    let numbers = at.positions(ids, Positions { first, limit: rows - first, exact: false, skip });
    let table = at.parameter("weight", &[rows, at.channels(x)]);
    at.add(x, at.embedding(numbers, table))
}

/// `[a, b]` as `[b, a]`; empty for a network of shapes only.
pub(super) fn transposed(param: &Param) -> Param {
    let [rows, columns] = [param.shape[0], param.shape[1]];
    let from = |i: usize| param.data[i % rows * columns + i / rows];
    let count = if param.data.is_empty() { 0 } else { rows * columns };
    Param { shape: vec![columns, rows], data: (0..count).map(from).collect() }
}

/// The linear head `at` over each step: with weights of its own or, if it has none and is `tied`, those of the embedding `words`,
/// `table`.
pub(super) fn language_head(
    at: &Scope,
    x: Node,
    (words, table): (&Scope, &Param),
    tied: bool,
    bias: Option<Param>,
) -> Node {
    if tied {
        // It may be stored beside the table that it shares.
        at.ignore("weight");
        return at.stored_steps(x, (table.clone(), words.stored_bits()), bias, true);
    }
    let weight = at.parameter("weight", &table.shape);
    at.stored_steps(x, (weight, at.stored_bits()), bias, false)
}
