//! Where the parameters of a recurrent network stand: by the names of a library, for a card.

use super::{Arch, Cell};
use crate::models::Naming;

/// The parameters of a network by name, with the sizes that cannot be read from one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// `[V, E]`.
    pub embedding: String,
    /// V.
    pub rows: usize,
    /// E.
    pub features: usize,
    /// The layers, each in one direction, or forward and backward.
    pub layers: Vec<Vec<Part>>,
    /// What follows the last layer.
    pub head: Head,
}

/// One layer in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What its steps compute.
    pub cell: Cell,
    /// How its weights are stored.
    pub style: Style,
    /// H.
    pub hidden: usize,
    /// Of the input product.
    pub input: String,
    /// Of the recurrent product, and of one that training kept a copy of.
    pub recurrent: String,
    /// A second copy of the recurrent weights, which is not read.
    pub copy: Option<String>,
    /// Of the inputs' and of the recurrence's product; TensorFlow and Keras have one.
    pub biases: Vec<String>,
    /// `[P, H]`, and P.
    pub projection: Option<(String, usize)>,
    /// Whether it goes from the last step to the first.
    pub reverse: bool,
}

/// How the weights of G gates over I inputs are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `[G·H, I]` and `[G·H, H]`, gates i f g o or r z n, two biases `[G·H]`.
    Pytorch,
    /// `[I, G·H]` and `[H, G·H]`, gates i f g o or z r n; one bias `[G·H]`, of a GRU `[2, 3·H]`.
    Keras,
    /// `[I + H, 4·H]`, gates i g f o, one bias `[4·H]`, to which 1 is added for the forget gate.
    Tensorflow,
}

/// What follows the last layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// One linear layer.
    Linear {
        /// `[K, in]`, or `[in, K]` if `transposed`; none if it is the embedding's.
        weight: Option<String>,
        /// `[K]`.
        bias: Option<String>,
        /// Its row's name.
        row: String,
        /// K.
        classes: usize,
        /// Whether inputs are the rows.
        transposed: bool,
    },
    /// g2pM's two linear layers, with a ReLU between; the size of the first, and K.
    Tagger(usize, usize),
    /// textgenrnn's attention over the window, and K.
    Attention(usize),
}

impl Layout {
    /// That of `arch` by the names of `naming`.
    pub fn of(arch: &Arch, naming: Naming) -> Self {
        let (embedding, decoder) = match naming {
            Naming::Pytorch => ("encoder.weight", "decoder"),
            Naming::Clmbr => ("embedding.weight", "lm_head"),
            Naming::Fastai => ("0.encoder.weight", "1.decoder"),
            Naming::Charrnn => ("embedding", "rnnlm/softmax_w"),
            Naming::Textgenrnn => ("embedding/embedding/embeddings:0", ""),
            _ => ("embedding.weight", "fc"),
        };
        let directions = if arch.bidirectional { &[false, true][..] } else { &[false] };
        let layer = |(index, &hidden): (usize, &usize)| {
            directions.iter().map(|&reverse| Part::of(arch, naming, index, hidden, reverse)).collect()
        };
        let classes = arch.classes.unwrap_or(arch.vocabulary);
        let head = match naming {
            Naming::G2pm => Head::Tagger(arch.tagger.unwrap_or(1), classes),
            Naming::Textgenrnn => Head::Attention(classes),
            Naming::Charrnn => Head::Linear {
                weight: Some(decoder.into()),
                bias: Some("rnnlm/softmax_b".into()),
                row: decoder.into(),
                classes,
                transposed: true,
            },
            _ => Head::Linear {
                weight: (!arch.tied).then(|| format!("{decoder}.weight")),
                bias: Some(format!("{decoder}.bias")),
                row: decoder.into(),
                classes,
                transposed: false,
            },
        };
        Self {
            embedding: embedding.into(),
            rows: arch.vocabulary,
            features: arch.embedding,
            layers: arch.hidden.iter().enumerate().map(layer).collect(),
            head,
        }
    }
}

impl Layout {
    /// Name of the embedding's row: the path of its module, which Keras' older files name twice.
    pub fn embedding_row(&self) -> &str {
        let name = self.embedding.strip_suffix(":0").unwrap_or(&self.embedding);
        let path = [".weight", "/embeddings"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        match path.split_once('/') {
            Some((outer, inner)) if outer == inner => inner,
            _ => path,
        }
    }

    /// Whether the decoder's weight is the embedding's.
    pub fn is_tied(&self) -> bool {
        matches!(self.head, Head::Linear { weight: None, .. })
    }
}

impl Part {
    fn of(arch: &Arch, naming: Naming, index: usize, hidden: usize, reverse: bool) -> Self {
        let part = |style: Style, input: String, recurrent: String, biases: Vec<String>| Self {
            cell: arch.cell,
            style,
            hidden,
            input,
            recurrent,
            copy: None,
            biases,
            projection: None,
            reverse,
        };
        match naming {
            Naming::Charrnn => {
                let at = format!("rnnlm/multi_rnn_cell/cell_{index}/basic_lstm_cell");
                part(Style::Tensorflow, format!("{at}/weights"), format!("{at}/weights"), vec![format!("{at}/biases")])
            }
            Naming::Textgenrnn => {
                let name = |part: &str| format!("rnn_{0}/rnn_{0}/{part}:0", index + 1);
                part(Style::Keras, name("kernel"), name("recurrent_kernel"), vec![name("bias")])
            }
            Naming::Fastai => {
                let at = format!("0.rnns.{index}");
                let biases = ["ih", "hh"].map(|of| format!("{at}.module.bias_{of}_l0"));
                let (input, recurrent) = (format!("{at}.module.weight_ih_l0"), format!("{at}.weight_hh_l0_raw"));
                let copy = Some(format!("{at}.module.weight_hh_l0"));
                Self { copy, ..part(Style::Pytorch, input, recurrent, biases.into()) }
            }
            _ => {
                let at = match naming {
                    Naming::Clmbr => "recurrent",
                    Naming::Pytorch => "rnn",
                    _ => "lstm",
                };
                let name = |of: &str| format!("{at}.{of}_l{index}{}", if reverse { "_reverse" } else { "" });
                let biases = ["bias_ih", "bias_hh"].map(name);
                let projection = arch.projection.map(|outputs| (name("weight_hr"), outputs));
                let (input, recurrent) = (name("weight_ih"), name("weight_hh"));
                Self { projection, ..part(Style::Pytorch, input, recurrent, biases.into()) }
            }
        }
    }

    /// P, the number of values that a step passes on.
    pub fn outputs(&self) -> usize {
        self.projection.as_ref().map_or(self.hidden, |(_, outputs)| *outputs)
    }
}
