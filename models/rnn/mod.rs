//! Recurrent language models and taggers: embedding, layers of LSTM, GRU or plain RNN in one or both directions, a decoder.

mod card;
mod find;
mod layout;

use serde::{Deserialize, Serialize};

use self::layout::{Head, Layout, Part, Style};
use super::{Card, Family, FromConfig, Naming, config};
use crate::graph::{Node, Scope};
use crate::layers::{Lstm, Param, Recurrent};
use crate::{Error, Result, layers};

/// The family. Its name is transformers-style repositories' `model_type`.
pub(super) const FAMILY: Family = Family {
    name: "rnn",
    file: "models/rnn.toml",
    cards: include_str!("../rnn.toml"),
    namings: &[
        (Naming::Clmbr, "recurrent.weight_ih_l0"),
        (Naming::Pytorch, "rnn.weight_ih_l0"),
        (Naming::G2pm, "logit_layer.0.weight"),
        (Naming::Lstm, "lstm.weight_ih_l0"),
        (Naming::Fastai, "0.rnns.0.weight_hh_l0_raw"),
        (Naming::Charrnn, "rnnlm/softmax_w"),
        (Naming::Textgenrnn, "rnn_1/rnn_1/kernel:0"),
    ],
    reads: "kind of cell, layers, sizes, directions, projection, vocabulary",
    build,
    from_config: Some(from_config),
};

pub(super) use card::{KINDS, card};

/// Whether a checkpoint with these tensors has recurrent layers.
pub(super) fn has_layers(extents: &find::Extents) -> bool {
    extents.keys().any(|name| ["weight_hh", "recurrent_kernel", "lstm_cell/"].iter().any(|part| name.contains(part)))
}

/// Whose names the layers of a checkpoint with these tensors have, if it has any.
pub(super) fn naming(extents: &find::Extents) -> Option<Naming> {
    let layout = Layout::find(extents, Cell::RnnTanh).ok()?;
    let style = layout.layers.first()?.first()?.style;
    Some(match style {
        Style::Pytorch => Naming::Pytorch,
        Style::Keras => Naming::Keras,
        Style::Tensorflow => Naming::Tensorflow,
    })
}

/// What a step computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Cell {
    #[default]
    Lstm,
    Gru,
    RnnTanh,
    RnnRelu,
}

impl Cell {
    /// Stacked gates.
    fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::RnnTanh | Self::RnnRelu => 1,
        }
    }

    /// What one gate is, whose function no checkpoint tells.
    fn plain(self) -> Self {
        if self == Self::RnnRelu { self } else { Self::RnnTanh }
    }

    /// As spelt in cards.
    fn name(self) -> &'static str {
        match self {
            Self::Lstm => "lstm",
            Self::Gru => "gru",
            Self::RnnTanh => "rnn_tanh",
            Self::RnnRelu => "rnn_relu",
        }
    }
}

/// Sizes of a checkpoint are read from it; these are those of a network without one.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// What a step computes; by default an LSTM.
    #[serde(default)]
    cell: Cell,
    /// Vocabulary size.
    vocabulary: usize,
    embedding: usize,
    /// Hidden size of each layer.
    hidden: Vec<usize>,
    /// Size of the projection of the hidden values.
    projection: Option<usize>,
    #[serde(default)]
    bidirectional: bool,
    /// Size of the hidden layer between the last layer and the classes, for taggers.
    tagger: Option<usize>,
    /// Number of classes per step; by default the vocabulary size.
    classes: Option<usize>,
    /// Number of tokens from which the next one is predicted, for networks that keep no state between windows.
    window: Option<usize>,
    /// Tokens before and after each line, for taggers and for networks with windows.
    begin: Option<String>,
    end: Option<String>,
    /// Whether the decoder shares the embedding's weight.
    #[serde(default)]
    tied: bool,
}

impl Arch {
    /// A language model of `[V, E]` in one direction, with a decoder of its own.
    fn language(cell: Cell, [vocabulary, embedding]: [usize; 2], hidden: Vec<usize>) -> Self {
        Self {
            cell,
            vocabulary,
            embedding,
            hidden,
            projection: None,
            bidirectional: false,
            tagger: None,
            classes: None,
            window: None,
            begin: None,
            end: None,
            tied: false,
        }
    }
}

/// Most layers.
const MOST_LAYERS: usize = 16;

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("layers of hidden", arch.hidden.len(), 1..=MOST_LAYERS)?;
    card.check_sizes("hidden", &arch.hidden)?;
    card.within("vocabulary", arch.vocabulary, 1..=1 << 24)?;
    card.check_sizes("embedding", &[arch.embedding])?;
    card.check_sizes("projection", arch.projection.as_slice())?;
    card.within("window", arch.window.unwrap_or(1), 1..=4096)?;
    let refuse = |what: &str, hint: &str| {
        Err(Error::unsupported(format!("{}: {what} in the names of {}", card.name, naming.name()), hint))
    };
    let pytorch = matches!(naming, Naming::Pytorch | Naming::Lstm | Naming::Clmbr);
    if arch.projection.is_some() && !(pytorch && arch.cell == Cell::Lstm) {
        return refuse(&format!("a projection of {}", arch.cell.name()), "PyTorch's LSTMs have one");
    }
    if arch.bidirectional && matches!(naming, Naming::Fastai | Naming::Charrnn | Naming::Textgenrnn) {
        return refuse("both directions", "PyTorch's names have both");
    }
    if arch.cell != Cell::Lstm && !(pytorch || naming == Naming::Keras) {
        return refuse(arch.cell.name(), "PyTorch's names have it");
    }
    if arch.window.is_some() != (naming == Naming::Textgenrnn) {
        return refuse("its windows", "networks with windows have the names of textgenrnn");
    }
    if arch.tagger.is_some() != (naming == Naming::G2pm) {
        return refuse("its decoder", "taggers have the names of g2pm, language models one of the others");
    }
    if root.extents().is_none() && matches!(naming, Naming::Keras | Naming::Tensorflow) {
        return refuse("a network without a checkpoint", "PyTorch's names are known without one");
    }
    Ok(Net { root }.build(&layout(root, card, &arch, naming)))
}

/// Where the parameters stand, and of which sizes: as the checkpoint's names and extents say, else as the card does.
fn layout(root: &Scope, card: &Card, arch: &Arch, naming: Naming) -> Layout {
    let of_card = Layout::of(arch, naming);
    let Some(found) = root.extents().and_then(|extents| Layout::find(&extents, arch.cell.plain()).ok()) else {
        return of_card;
    };
    if let Some(part) = found.layers.iter().flatten().find(|part| part.cell != arch.cell) {
        let [got, want] = [part.cell, arch.cell].map(Cell::name);
        root.problem(format!("{}: is of {got}, card {} is of {want}", part.recurrent, card.name));
    }
    if let (true, false, Head::Linear { row, .. }) = (found.is_tied(), arch.tied, &found.head)
        && root.at(row).shape("weight").is_none()
    {
        root.problem(format!("{row}.weight: missing, card {} does not share it with the embedding", card.name));
    }
    found
}

struct Net<'a> {
    root: &'a Scope,
}

impl Net<'_> {
    fn build(&self, layout: &Layout) -> Node {
        let root = self.root;
        let table = root.parameter(&layout.embedding, &[layout.rows, layout.features]);
        let mut x = root.at(layout.embedding_row()).embedding(root.input(1), table.clone());
        let mut parts = vec![x];
        for (index, layer) in layout.layers.iter().enumerate() {
            let directions: Vec<Node> = layer.iter().map(|part| self.part(x, part)).collect();
            x = match directions[..] {
                [one] => one,
                _ => root.at(format!("layer{index}")).concat(&directions),
            };
            parts.push(x);
        }
        match &layout.head {
            Head::Attention(classes) => self.attention(&parts, *classes),
            Head::Tagger(hidden, classes) => self.tagger(x, *hidden, *classes),
            Head::Linear { weight, bias, row, classes, transposed } => {
                let inputs = root.channels(x);
                let weight = match (weight, transposed) {
                    (None, _) => table,
                    (Some(name), false) => root.parameter(name, &[*classes, inputs]),
                    (Some(name), true) => transposed_of(&root.parameter(name, &[inputs, *classes])),
                };
                let bias = bias.as_ref().map(|name| root.parameter(name, &[*classes]));
                root.at(row).linear_steps(x, weight, bias, layout.is_tied())
            }
        }
    }

    /// One layer in one direction: the product of all inputs, then the recurrence.
    fn part(&self, x: Node, part: &Part) -> Node {
        let (root, hidden, gates) = (self.root, part.hidden, part.cell.gates());
        let inputs = root.channels(x);
        if let Some(copy) = &part.copy {
            root.ignore(copy);
        }
        match part.style {
            Style::Pytorch => {
                let recurrent = root.parameter(&part.recurrent, &[gates * hidden, part.outputs()]);
                let input = root.parameter(&part.input, &[gates * hidden, inputs]);
                let mut biases = part.biases.iter().map(|name| root.parameter(name, &[gates * hidden]));
                let x = root.at(&part.input).linear_steps(x, input, biases.next(), false);
                let projection = part.projection.as_ref();
                let projection = projection.map(|(name, outputs)| root.parameter(name, &[*outputs, hidden]));
                self.recurrence(&part.recurrent, x, part, (recurrent, biases.next(), projection))
            }
            Style::Keras => {
                // Source row of each of our gate rows: a GRU's first two gates are the other way round.
                let row = move |i: usize| match i / hidden {
                    gate @ (0 | 1) if gates == 3 => (1 - gate) * hidden + i % hidden,
                    _ => i,
                };
                let rows = |name: &str, count: usize| {
                    let kernel = root.parameter(name, &[count, gates * hidden]);
                    rearranged(&kernel, &[gates * hidden, count], |i| i % count * gates * hidden + row(i / count))
                };
                let (input, recurrent) = (rows(&part.input, inputs), rows(&part.recurrent, hidden));
                let biases = part.biases.first().map(|name| {
                    let each = if gates == 3 { 2 } else { 1 };
                    let shape = [each, gates * hidden];
                    let bias = root.parameter(name, if each == 1 { &shape[1..] } else { &shape });
                    let of = |from: usize| rearranged(&bias, &shape[1..], |i| from * gates * hidden + row(i));
                    (of(0), (each == 2).then(|| of(1)))
                });
                let (bias, recurrent_bias) = biases.unzip();
                let x = root.at(&part.input).linear_steps(x, input, bias, false);
                self.recurrence(&part.recurrent, x, part, (recurrent, recurrent_bias.flatten(), None))
            }
            Style::Tensorflow => {
                let kernel = root.parameter(&part.input, &[inputs + hidden, 4 * hidden]);
                // Source row of each of our gate rows.
                let row = move |i: usize| [0, 2, 1, 3][i / hidden] * hidden + i % hidden;
                let rows = |from: usize, count: usize| {
                    rearranged(&kernel, &[4 * hidden, count], |i| (from + i % count) * 4 * hidden + row(i / count))
                };
                let bias = part.biases.first().map(|name| {
                    let bias = rearranged(&root.parameter(name, &[4 * hidden]), &[4 * hidden], row);
                    let added = bias.data.iter().enumerate().map(|(i, &b)| if i / hidden == 1 { b + 1.0 } else { b });
                    Param { data: added.collect(), ..bias }
                });
                let cell = part.input.rsplit_once('/').map_or("", |(cell, _)| cell);
                let x = root.at(cell).at("input").linear_steps(x, rows(0, inputs), bias, false);
                self.recurrence(&format!("{cell}.hidden"), x, part, (rows(inputs, hidden), None, None))
            }
        }
    }

    /// The recurrence of `part` over the contributions `x` of its inputs, with its weight, bias and projection.
    fn recurrence(
        &self,
        row: &str,
        x: Node,
        part: &Part,
        (weight, bias, projection): (Param, Option<Param>, Option<Param>),
    ) -> Node {
        let (at, reverse) = (self.root.at(row), part.reverse);
        let cell = match part.cell {
            Cell::Lstm => {
                return at.lstm(
                    x,
                    Lstm { weight, bias, projection, reverse, clip: None, integer: None, rounding: [None; 2] },
                );
            }
            Cell::Gru => layers::Cell::Gru,
            Cell::RnnTanh => layers::Cell::Tanh,
            Cell::RnnRelu => layers::Cell::Relu,
        };
        at.recurrent(x, Recurrent { cell, weight, bias, reverse, rounding: None })
    }

    /// textgenrnn's head: embedding and all layers concatenated, their attention-weighted mean over the window, classes.
    fn attention(&self, parts: &[Node], classes: usize) -> Node {
        let x = self.root.at("attention").concat(parts);
        let features = self.root.channels(x);
        let name = "attention/attention/attention_W:0";
        let weight = transposed_of(&self.root.parameter(name, &[features, 1]));
        let scores = self.root.at(name).linear_steps(x, weight, None, false);
        let mean = self.root.at("attention").weighted_mean(x, scores);
        let weight = transposed_of(&self.root.parameter("output/output/kernel:0", &[features, classes]));
        let bias = self.root.parameter("output/output/bias:0", &[classes]);
        self.root.at("output/output/kernel:0").linear_steps(mean, weight, Some(bias), false)
    }

    /// g2pM's head: a linear layer of `hidden` outputs, a ReLU, classes.
    fn tagger(&self, x: Node, hidden: usize, classes: usize) -> Node {
        let linear = |index: usize, x: Node, outputs: usize| {
            let at = self.root.at(format!("logit_layer.{index}"));
            let weight = at.parameter("weight", &[outputs, self.root.channels(x)]);
            at.linear_steps(x, weight, Some(at.parameter("bias", &[outputs])), false)
        };
        let x = self.root.at("logit_layer.0").relu(linear(0, x, hidden));
        linear(2, x, classes)
    }
}

/// Element `i` of the result is element `from(i)` of `param`; empty for a network of shapes only.
fn rearranged(param: &Param, shape: &[usize], from: impl Fn(usize) -> usize) -> Param {
    let count = if param.data.is_empty() { 0 } else { shape.iter().product() };
    Param { shape: shape.to_vec(), data: (0..count).map(|i| param.data[from(i)]).collect() }
}

/// `[a, b]` as `[b, a]`.
fn transposed_of(param: &Param) -> Param {
    let [rows, columns] = [param.shape[0], param.shape[1]];
    rearranged(param, &[columns, rows], |i| i % rows * columns + i / rows)
}

/// The `config.json` of such repositories.
#[derive(Deserialize)]
struct Config {
    rnn_type: String,
    vocab_size: usize,
    embedding_dim: usize,
    hidden_dim: usize,
    num_layers: usize,
    #[serde(default)]
    bidirectional: bool,
    #[serde(default)]
    tie_weights: bool,
}

fn from_config(value: &serde_json::Value) -> Result<FromConfig> {
    let config: Config = config::read(value)?;
    let cell = match config.rnn_type.as_str() {
        "LSTM" => Some(Cell::Lstm),
        "GRU" => Some(Cell::Gru),
        "RNN" | "RNN_TANH" => Some(Cell::RnnTanh),
        "RNN_RELU" => Some(Cell::RnnRelu),
        _ => None,
    };
    config::needs(cell.is_some(), "rnn_type", "LSTM, GRU, RNN_TANH or RNN_RELU")?;
    config::needs(!config.bidirectional, "bidirectional", "false")?;
    config::needs((1..=MOST_LAYERS).contains(&config.num_layers), "num_layers", "1 to 16")?;
    let hidden = vec![config.hidden_dim; config.num_layers];
    let arch = Arch::language(cell.unwrap_or_default(), [config.vocab_size, config.embedding_dim], hidden);
    config::arch(&Arch { tied: config.tie_weights, ..arch })
}
