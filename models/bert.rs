//! BERT (Devlin 2018) and its relatives with the same blocks: RoBERTa, DistilBERT, MiniLM; for classes of sequences and tokens,
//! masked words, and embeddings.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::transformer::{self, Head, MOST_LAYERS};
use super::{Card, Family, FromConfig, Naming, config};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::Activation;
use crate::kernels::attention::Mask;
use crate::layers::{Param, Step};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "bert",
    file: "models/bert.toml",
    cards: include_str!("bert.toml"),
    namings: &[
        (Naming::Transformers, "distilbert.embeddings.word_embeddings.weight"),
        (Naming::Transformers, "roberta.embeddings.word_embeddings.weight"),
        (Naming::Transformers, "bert.embeddings.word_embeddings.weight"),
        (Naming::Transformers, "embeddings.word_embeddings.weight"),
    ],
    reads: "nothing: heads are in no weight, so its numbers are those of config.json",
    build,
    from_config: Some(from_config),
};

/// Which relative it is, by transformers' `model_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Bert,
    Roberta,
    Distilbert,
}

/// How the hidden values of a sequence become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Pooling {
    Mean,
    First,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    #[serde(default)]
    kind: Kind,
    /// Vocabulary size.
    vocabulary: usize,
    /// Rows of the table of positions.
    positions: usize,
    /// Rows of the table of types.
    types: usize,
    /// The token that RoBERTa's positions do not count; they start after it.
    pad: Option<u32>,
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
    /// Of hidden values, how they become an embedding.
    pooling: Option<Pooling>,
    /// Whether embeddings have length 1.
    #[serde(default)]
    normalise: bool,
    /// Whether the head for words has weights of its own.
    #[serde(default)]
    untied: bool,
}

/// The names of a block's parts.
struct Names {
    layers: &'static str,
    projections: [&'static str; 3],
    output: &'static str,
    norm: &'static str,
    up: &'static str,
    down: &'static str,
    last_norm: &'static str,
}

const BERT: Names = Names {
    layers: "encoder.layer",
    projections: ["attention.self.query", "attention.self.key", "attention.self.value"],
    output: "attention.output.dense",
    norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    last_norm: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    layers: "transformer.layer",
    projections: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    output: "attention.out_lin",
    norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    last_norm: "output_layer_norm",
};

struct Net<'a> {
    root: &'a Scope,
    /// Where the network is without its head.
    base: Scope,
    arch: &'a Arch,
    activation: Activation,
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.check_sizes("depths", &[arch.layers.min(MOST_LAYERS)])?;
    card.check_sizes("width, heads, hidden, positions", &[arch.width, arch.heads, arch.hidden, arch.positions])?;
    card.within("vocabulary", arch.vocabulary, 1..=1 << 24)?;
    card.within("heads that divide the width", arch.width % arch.heads, 0..=0)?;
    let first = arch.pad.map_or(0, |pad| pad as usize + 1);
    card.within("pad", first, 0..=arch.positions - 1)?;
    let activation = transformer::activation("activation", &arch.activation)?;
    // Weights of the network without a head have no prefix.
    let bare = root.is_stored() && root.at("embeddings.word_embeddings").has("weight");
    let base = root.at(match arch.kind {
        _ if bare => "",
        Kind::Bert => "bert",
        Kind::Roberta => "roberta",
        Kind::Distilbert => "distilbert",
    });
    Ok(Net { root, base, arch: &arch, activation }.build(first))
}

impl Net<'_> {
    fn build(&self, first: usize) -> Node {
        let Self { root, base, arch, .. } = self;
        let at = base.at("embeddings");
        let ids = root.input(1);
        let words = at.at("word_embeddings");
        let table = words.parameter("weight", &[arch.vocabulary, arch.width]);
        let mut x = words.embedding(ids, table.clone());
        if arch.types > 0 {
            // All tokens are of the first type.
            let types = at.at("token_type_embeddings");
            let of_types = types.parameter("weight", &[arch.types, arch.width]);
            x = at.add(x, types.embedding(at.fill(ids, 0.0), of_types));
        }
        x = transformer::add_positions(&at.at("position_embeddings"), x, ids, arch.positions, first, arch.pad);
        at.ignore("position_ids");
        let mut x = at.at("LayerNorm").layer_norm(x, arch.eps);
        let names = if arch.kind == Kind::Distilbert { &DISTILBERT } else { &BERT };
        for layer in 0..arch.layers {
            x = self.block(&base.at(names.layers).at(layer), names, x);
        }
        self.head(x, (&words, &table))
    }

    /// Attention, then two linear layers; each added to what it reads, and normalised after that.
    fn block(&self, at: &Scope, names: &Names, x: Node) -> Node {
        let Arch { width, heads, hidden, eps, .. } = *self.arch;
        let parts = names.projections.map(|name| at.at(name).project(x, width, true));
        let shape = transformer::heads(heads, heads, width / heads, Mask::default());
        let y = at.at("attention").attention(parts, shape, None);
        let x = at.at(names.norm).layer_norm(at.add(at.at(names.output).project(y, width, true), x), eps);
        let y = at.at(names.up).project(x, hidden, true);
        let y = at.at(names.down).project(at.at(names.up).activation(y, self.activation), width, true);
        at.at(names.last_norm).layer_norm(at.add(y, x), eps)
    }

    fn head(&self, x: Node, table: (&Scope, &Param)) -> Node {
        let Self { root, base, arch, .. } = self;
        let classes = arch.classes.unwrap_or(2);
        let first = || root.step(x, Step::First);
        // It reads one step, unless a head follows that does.
        if arch.kind != Kind::Distilbert && !(arch.kind == Kind::Bert && arch.head == Head::Sequence) {
            base.skip("pooler");
        }
        match (arch.head, arch.kind) {
            (Head::Hidden | Head::Language, _) => match arch.pooling {
                None => x,
                Some(pooling) => {
                    let y = if pooling == Pooling::First { first() } else { root.global_avg_pool(x) };
                    if arch.normalise { root.normalise(y) } else { y }
                }
            },
            (Head::Tokens, _) => root.at("classifier").project(x, classes, true),
            (Head::Sequence, kind) => {
                let (dense, activation, out) = match kind {
                    Kind::Bert => (base.at("pooler.dense"), Activation::Tanh, "classifier"),
                    Kind::Roberta => (root.at("classifier.dense"), Activation::Tanh, "classifier.out_proj"),
                    Kind::Distilbert => (root.at("pre_classifier"), Activation::Relu, "classifier"),
                };
                let y = dense.activation(dense.project(first(), arch.width, true), activation);
                root.at(out).project(y, classes, true)
            }
            (Head::Masked, kind) => self.words(x, table, kind),
        }
    }

    /// Logits of the word at each step.
    fn words(&self, x: Node, table: (&Scope, &Param), kind: Kind) -> Node {
        let (root, arch) = (self.root, self.arch);
        let (dense, norm, decoder, bias) = match kind {
            Kind::Bert => {
                let at = root.at("cls.predictions");
                root.skip("cls.seq_relationship");
                let (dense, norm) = (at.at("transform.dense"), at.at("transform.LayerNorm"));
                // Its bias is beside the decoder, and sometimes in it too.
                at.at("decoder").ignore("bias");
                (dense, norm, at.at("decoder"), at.parameter("bias", &[arch.vocabulary]))
            }
            Kind::Roberta => {
                let at = root.at("lm_head");
                at.at("decoder").ignore("bias");
                (at.at("dense"), at.at("layer_norm"), at.at("decoder"), at.parameter("bias", &[arch.vocabulary]))
            }
            Kind::Distilbert => {
                let at = root.at("vocab_projector");
                let bias = at.parameter("bias", &[arch.vocabulary]);
                (root.at("vocab_transform"), root.at("vocab_layer_norm"), at, bias)
            }
        };
        let inner = if kind == Kind::Roberta { Activation::Gelu } else { self.activation };
        let y = dense.activation(dense.project(x, arch.width, true), inner);
        let y = norm.layer_norm(y, arch.eps);
        transformer::language_head(&decoder, y, table, !arch.untied, Some(bias))
    }
}

/// The `config.json` of BERT and RoBERTa.
#[derive(Deserialize)]
struct Bert {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "small")]
    layer_norm_eps: f64,
    pad_token_id: Option<u32>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

/// The `config.json` of DistilBERT.
#[derive(Deserialize)]
struct Distilbert {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    #[serde(default = "gelu")]
    activation: String,
    max_position_embeddings: usize,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn gelu() -> String {
    "gelu".into()
}

fn small() -> f64 {
    1e-12
}

fn yes() -> bool {
    true
}

fn from_config(value: &Value) -> Result<FromConfig> {
    let head = Head::of(value)?;
    let classes = matches!(head, Head::Sequence | Head::Tokens).then(|| config::classes(value, 2));
    let arch = if value["model_type"] == "distilbert" {
        let config: Distilbert = config::read(value)?;
        Arch {
            kind: Kind::Distilbert,
            vocabulary: config.vocab_size,
            positions: config.max_position_embeddings,
            types: 0,
            pad: None,
            width: config.dim,
            layers: config.n_layers,
            heads: config.n_heads,
            hidden: config.hidden_dim,
            activation: config.activation,
            eps: 1e-12,
            head,
            classes,
            pooling: None,
            normalise: false,
            untied: !config.tie_word_embeddings,
        }
    } else {
        let config: Bert = config::read(value)?;
        let absolute = config.position_embedding_type.is_none_or(|kind| kind == "absolute");
        config::needs(absolute, "position_embedding_type", "absolute")?;
        config::needs(!config.is_decoder, "is_decoder", "false")?;
        let roberta = value["model_type"] == "roberta";
        Arch {
            kind: if roberta { Kind::Roberta } else { Kind::Bert },
            vocabulary: config.vocab_size,
            positions: config.max_position_embeddings,
            types: config.type_vocab_size,
            pad: roberta.then(|| config.pad_token_id.unwrap_or(1)),
            width: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            hidden: config.intermediate_size,
            activation: config.hidden_act,
            eps: config.layer_norm_eps,
            head,
            classes,
            pooling: None,
            normalise: false,
            untied: !config.tie_word_embeddings,
        }
    };
    let arch = Arch {
        pooling: match value["_pooling"].as_str().filter(|_| head == Head::Hidden) {
            Some("mean") => Some(Pooling::Mean),
            Some(_) => Some(Pooling::First),
            None => None,
        },
        normalise: head == Head::Hidden && value["_normalise"] == true,
        ..arch
    };
    config::needs(head != Head::Language, "architectures", "an encoder's")?;
    transformer::activation("hidden_act", &arch.activation)?;
    config::arch(&arch)
}
