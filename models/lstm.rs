//! LSTM language models and taggers: embedding, one or more layers in one or both directions, a decoder.

use serde::{Deserialize, Serialize};

use super::{Card, Family, FromConfig, Naming, config};
use crate::graph::{Node, Scope};
use crate::layers::{Lstm, Param};
use crate::{Error, Result};

/// The family. Its name is transformers-style repositories' `model_type`.
pub(super) const FAMILY: Family = Family {
    name: "rnn",
    file: "models/lstm.toml",
    cards: include_str!("lstm.toml"),
    namings: &[
        (Naming::Clmbr, "recurrent.weight_ih_l0"),
        (Naming::Pytorch, "rnn.weight_ih_l0"),
        (Naming::G2pm, "logit_layer.0.weight"),
        (Naming::Lstm, "lstm.weight_ih_l0"),
        (Naming::Fastai, "0.rnns.0.weight_hh_l0_raw"),
        (Naming::Charrnn, "rnnlm/softmax_w"),
        (Naming::Textgenrnn, "rnn_1/rnn_1/kernel:0"),
    ],
    build,
    from_config: Some(from_config),
};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Vocabulary size; taken from the checkpoint's embedding.
    vocabulary: usize,
    embedding: usize,
    /// Hidden size of each layer.
    hidden: Vec<usize>,
    /// Size of the projection of the hidden values.
    projection: Option<usize>,
    #[serde(default)]
    bidirectional: bool,
    /// Size of the hidden layer between the LSTM and the classes, for taggers.
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

fn build(root: &Scope, card: &Card, naming: Naming) -> Result<Node> {
    let arch: Arch = card.arch()?;
    card.within("layers of hidden", arch.hidden.len(), 1..=16)?;
    card.check_sizes("hidden", &arch.hidden)?;
    card.within("vocabulary", arch.vocabulary, 1..=1 << 24)?;
    card.check_sizes("embedding", &[arch.embedding])?;
    card.check_sizes("projection", arch.projection.as_slice())?;
    if arch.projection.is_some() && !matches!(naming, Naming::Pytorch | Naming::Lstm | Naming::Clmbr) {
        let what = format!("{}: a projection in the names of {}", card.name, naming.name());
        return Err(Error::unsupported(what, "PyTorch's names have one"));
    }
    if arch.bidirectional && matches!(naming, Naming::Fastai | Naming::Charrnn | Naming::Textgenrnn) {
        let what = format!("{}: both directions in the names of {}", card.name, naming.name());
        return Err(Error::unsupported(what, "PyTorch's names have both"));
    }
    card.within("window", arch.window.unwrap_or(1), 1..=4096)?;
    if arch.window.is_some() != (naming == Naming::Textgenrnn) {
        let what = format!("{}: its windows in the names of {}", card.name, naming.name());
        return Err(Error::unsupported(what, "networks with windows have the names of textgenrnn"));
    }
    if arch.tagger.is_some() != (naming == Naming::G2pm) {
        let what = format!("{}: its decoder in the names of {}", card.name, naming.name());
        return Err(Error::unsupported(what, "taggers have the names of g2pm, language models one of the others"));
    }
    let net = Net { root, naming, projection: arch.projection };
    let (at, table) = net.embedding();
    let rows = at.shape(table).map_or(arch.vocabulary, |shape| shape.first().copied().unwrap_or(0));
    let table = at.parameter(table, &[rows, arch.embedding]);
    let mut x = root.at(net.embedding_row()).embedding(root.input(1), table.clone());
    let mut parts = vec![x];
    for (layer, &hidden) in arch.hidden.iter().enumerate() {
        let forward = net.layer(x, layer, hidden, false);
        x = if arch.bidirectional {
            let backward = net.layer(x, layer, hidden, true);
            root.at(format!("layer{layer}")).concat(&[forward, backward])
        } else {
            forward
        };
        parts.push(x);
    }
    if naming == Naming::Textgenrnn {
        return Ok(net.attention(&parts, arch.classes.unwrap_or(rows)));
    }
    Ok(net.decoder(x, &arch, (rows, table)))
}

struct Net<'a> {
    root: &'a Scope,
    naming: Naming,
    projection: Option<usize>,
}

impl Net<'_> {
    /// Path of the embedding, and its parameter name there.
    fn embedding(&self) -> (Scope, &'static str) {
        match self.naming {
            Naming::Pytorch => (self.root.at("encoder"), "weight"),
            Naming::Fastai => (self.root.at("0.encoder"), "weight"),
            Naming::Charrnn => (self.root.clone(), "embedding"),
            Naming::Textgenrnn => (self.root.clone(), "embedding/embedding/embeddings:0"),
            _ => (self.root.at("embedding"), "weight"),
        }
    }

    fn embedding_row(&self) -> &'static str {
        match self.naming {
            Naming::Pytorch => "encoder",
            Naming::Fastai => "0.encoder",
            _ => "embedding",
        }
    }

    /// One layer in one direction: the product of all inputs, then the recurrence.
    fn layer(&self, x: Node, layer: usize, hidden: usize, reverse: bool) -> Node {
        let inputs = self.root.channels(x);
        match self.naming {
            Naming::Charrnn => return self.tensorflow_layer(x, layer, hidden, inputs),
            Naming::Textgenrnn => return self.keras_layer(x, layer, hidden, inputs),
            _ => {}
        }
        let suffix = format!(
            "l{}{}",
            if self.naming == Naming::Fastai { 0 } else { layer },
            if reverse { "_reverse" } else { "" }
        );
        let at = match self.naming {
            Naming::Clmbr => self.root.at("recurrent"),
            Naming::Pytorch => self.root.at("rnn"),
            // The weight before dropout is stored next to the module; the module's own is a copy.
            Naming::Fastai => {
                let at = self.root.at(format!("0.rnns.{layer}.module"));
                at.ignore("weight_hh_l0");
                at
            }
            _ => self.root.at("lstm"),
        };
        let outputs = self.projection.unwrap_or(hidden);
        let recurrent = match self.naming {
            Naming::Fastai => {
                self.root.at(format!("0.rnns.{layer}")).parameter("weight_hh_l0_raw", &[4 * hidden, hidden])
            }
            _ => at.parameter(&format!("weight_hh_{suffix}"), &[4 * hidden, outputs]),
        };
        let input = at.parameter(&format!("weight_ih_{suffix}"), &[4 * hidden, inputs]);
        let [input_bias, bias] = ["ih", "hh"].map(|part| at.parameter(&format!("bias_{part}_{suffix}"), &[4 * hidden]));
        let x = at.at(format!("weight_ih_{suffix}")).linear_steps(x, input, Some(input_bias), false);
        let row = match self.naming {
            Naming::Fastai => self.root.at(format!("0.rnns.{layer}.weight_hh_l0_raw")),
            _ => at.at(format!("weight_hh_{suffix}")),
        };
        let projection =
            self.projection.map(|outputs| at.parameter(&format!("weight_hr_{suffix}"), &[outputs, hidden]));
        row.lstm(x, Lstm { weight: recurrent, bias: Some(bias), projection, reverse, clip: None, integer: None })
    }

    /// TensorFlow's BasicLSTMCell: one kernel `[in + H, 4·H]`, gates i, g, f, o, with 1 added to the forget gate.
    fn tensorflow_layer(&self, x: Node, layer: usize, hidden: usize, inputs: usize) -> Node {
        let at = self.root.at(format!("rnnlm/multi_rnn_cell/cell_{layer}/basic_lstm_cell"));
        let stored = self
            .root
            .renamed(|name| name.replace('.', "/"))
            .at(format!("rnnlm/multi_rnn_cell/cell_{layer}/basic_lstm_cell"));
        let kernel = stored.parameter("weights", &[inputs + hidden, 4 * hidden]);
        let bias = stored.parameter("biases", &[4 * hidden]);
        // Source row of each of our gate rows.
        let row = move |i: usize| [0, 2, 1, 3][i / hidden] * hidden + i % hidden;
        let rows = |from: usize, count: usize| {
            rearranged(&kernel, &[4 * hidden, count], |i| (from + i % count) * 4 * hidden + row(i / count))
        };
        let mut bias = rearranged(&bias, &[4 * hidden], row);
        if !bias.data.is_empty() {
            bias.data = bias.data.iter().enumerate().map(|(i, &b)| if i / hidden == 1 { b + 1.0 } else { b }).collect();
        }
        let x = at.at("input").linear_steps(x, rows(0, inputs), Some(bias), false);
        at.at("hidden").lstm(
            x,
            Lstm {
                weight: rows(inputs, hidden),
                bias: None,
                projection: None,
                reverse: false,
                clip: None,
                integer: None,
            },
        )
    }

    /// Keras' LSTM: kernels `[in, 4·H]` and `[H, 4·H]`, gates in our order.
    fn keras_layer(&self, x: Node, layer: usize, hidden: usize, inputs: usize) -> Node {
        let name = format!("rnn_{0}/rnn_{0}", layer + 1);
        let parameter = |part: &str, shape: &[usize]| self.root.parameter(&format!("{name}/{part}:0"), shape);
        let kernel = transposed(&parameter("kernel", &[inputs, 4 * hidden]));
        let recurrent = transposed(&parameter("recurrent_kernel", &[hidden, 4 * hidden]));
        let bias = parameter("bias", &[4 * hidden]);
        let x = self.root.at(format!("{name}/kernel:0")).linear_steps(x, kernel, Some(bias), false);
        self.root.at(format!("{name}/recurrent_kernel:0")).lstm(
            x,
            Lstm { weight: recurrent, bias: None, projection: None, reverse: false, clip: None, integer: None },
        )
    }

    /// textgenrnn's head: embedding and all layers concatenated, their attention-weighted mean over the window, classes.
    fn attention(&self, parts: &[Node], classes: usize) -> Node {
        let x = self.root.at("attention").concat(parts);
        let features = self.root.channels(x);
        let name = "attention/attention/attention_W:0";
        let weight = transposed(&self.root.parameter(name, &[features, 1]));
        let scores = self.root.at(name).linear_steps(x, weight, None, false);
        let mean = self.root.at("attention").weighted_mean(x, scores);
        let weight = transposed(&self.root.parameter("output/output/kernel:0", &[features, classes]));
        let bias = self.root.parameter("output/output/bias:0", &[classes]);
        self.root.at("output/output/kernel:0").linear_steps(mean, weight, Some(bias), false)
    }

    fn decoder(&self, x: Node, arch: &Arch, (rows, table): (usize, Param)) -> Node {
        let classes = arch.classes.unwrap_or(rows);
        let inputs = self.root.channels(x);
        let at = match self.naming {
            Naming::Clmbr => self.root.at("lm_head"),
            Naming::Pytorch => self.root.at("decoder"),
            Naming::Fastai => self.root.at("1.decoder"),
            Naming::Charrnn => {
                let stored = self.root.renamed(|name| name.replace('.', "/"));
                let weight = stored.parameter("rnnlm.softmax_w", &[inputs, classes]);
                let weight = rearranged(&weight, &[classes, inputs], |i| i % inputs * classes + i / inputs);
                let bias = stored.parameter("rnnlm.softmax_b", &[classes]);
                return self.root.at("rnnlm/softmax_w").linear_steps(x, weight, Some(bias), false);
            }
            Naming::G2pm => {
                let hidden = arch.tagger.unwrap_or(1);
                let first = self.root.at("logit_layer.0");
                let weight = first.parameter("weight", &[hidden, inputs]);
                let x = first.linear_steps(x, weight, Some(first.parameter("bias", &[hidden])), false);
                let x = first.relu(x);
                let last = self.root.at("logit_layer.2");
                let weight = last.parameter("weight", &[classes, hidden]);
                return last.linear_steps(x, weight, Some(last.parameter("bias", &[classes])), false);
            }
            _ => self.root.at("fc"),
        };
        // A tied weight may also be stored a second time.
        let tied = arch.tied && at.shape("weight").is_none();
        let weight = if tied { table } else { at.parameter("weight", &[classes, inputs]) };
        let bias = at.has("bias").then(|| at.parameter("bias", &[classes]));
        at.linear_steps(x, weight, bias, tied)
    }
}

/// Element `i` of the result is element `from(i)` of `param`; empty for a network of shapes only.
fn rearranged(param: &Param, shape: &[usize], from: impl Fn(usize) -> usize) -> Param {
    let count = if param.data.is_empty() { 0 } else { shape.iter().product() };
    Param { shape: shape.to_vec(), data: (0..count).map(|i| param.data[from(i)]).collect() }
}

/// `[a, b]` as `[b, a]`.
fn transposed(param: &Param) -> Param {
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
    config::needs(config.rnn_type == "LSTM", "rnn_type", "LSTM")?;
    config::needs(!config.bidirectional, "bidirectional", "false")?;
    config::needs((1..=16).contains(&config.num_layers), "num_layers", "1 to 16")?;
    config::arch(&Arch {
        vocabulary: config.vocab_size,
        embedding: config.embedding_dim,
        hidden: vec![config.hidden_dim; config.num_layers],
        projection: None,
        bidirectional: false,
        tagger: None,
        classes: None,
        window: None,
        begin: None,
        end: None,
        tied: config.tie_weights,
    })
}
