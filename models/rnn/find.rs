//! Where the parameters of a recurrent network stand: by the names and extents of a checkpoint, whatever its modules are called.

use std::collections::BTreeMap;

use super::layout::{Head, Layout, Part, Style};
use super::{Cell, MOST_LAYERS};

/// Extents of the tensors of a checkpoint by name.
pub(super) type Extents = BTreeMap<String, Vec<usize>>;

/// Words in the names of embeddings, and of decoders, where their extents do not tell them apart.
const EMBEDDINGS: [&str; 6] = ["emb", "encoder", "lookup", "wte", "tok", "input"];
const DECODERS: [&str; 11] =
    ["decoder", "fc", "linear", "head", "out", "proj", "logit", "softmax", "dense", "classifier", "generator"];
/// Names of the cells of TensorFlow's LSTMs.
const TENSORFLOW_CELLS: [&str; 3] = ["basic_lstm_cell", "lstm_cell", "BasicLSTMCell"];

/// A layer in one direction, and what its place among the others follows from.
struct Found {
    /// The path of its module.
    path: String,
    /// Its number within the module.
    layer: usize,
    part: Part,
    /// I.
    inputs: usize,
}

impl Layout {
    /// That of the checkpoint with these tensors. What a step computes follows from how many gates are stacked; of one gate, it is
    /// `plain`.
    ///
    /// # Errors
    /// What is missing, or which parameters could be meant, in words.
    pub fn find(extents: &Extents, plain: Cell) -> Result<Self, String> {
        let mut found = pytorch(extents, plain)?;
        found.extend(keras(extents, plain)?);
        found.extend(tensorflow(extents));
        let layers = stacked(found)?;
        let first = layers.first().and_then(|layer| layer.first()).ok_or("it has no layer of an LSTM, GRU or RNN")?;
        let features = first.inputs;
        let outputs = layers.last().map_or(0, |layer| layer.iter().map(|found| found.part.outputs()).sum());
        let transposed = first.part.style != Style::Pytorch;
        let layers: Vec<Vec<Part>> =
            layers.into_iter().map(|layer| layer.into_iter().map(|found| found.part).collect()).collect();
        let used: Vec<&str> = layers.iter().flatten().flat_map(Part::names).collect();
        let matrices = extents.iter().filter(|(name, shape)| shape.len() == 2 && !used.contains(&name.as_str()));
        let matrices: Vec<(&str, [usize; 2])> =
            matrices.map(|(name, shape)| (name.as_str(), [shape[0], shape[1]])).collect();
        let is_biased = |name: &str| bias_of(extents, name).is_some();
        let embeddings = matrices.iter().filter(|(name, [_, columns])| *columns == features && !is_biased(name));
        let embeddings: Vec<&str> = embeddings.map(|(name, _)| *name).collect();
        let none = format!("it has no embedding [V, {features}], whose values the first layer reads");
        let embedding = match one(&embeddings, &EMBEDDINGS, &DECODERS, "the embedding")? {
            Some(embedding) => embedding,
            // Tied, and stored by the decoder's name.
            None => match matrices[..] {
                [(name, [_, columns])] if columns == features && outputs == features && !transposed => name,
                _ => return Err(none),
            },
        };
        let rows = extents[embedding][0];
        if [rows, features, outputs].contains(&0) {
            return Err(format!("{embedding} is {:?}, of no values", extents[embedding]));
        }
        if let Some(head) = known_head(extents) {
            return Ok(Self { embedding: embedding.to_owned(), rows, features, layers, head });
        }
        let reads = |[rows, columns]: [usize; 2]| if transposed { rows } else { columns };
        let decoders = matrices.iter().filter(|(name, shape)| *name != embedding && reads(*shape) == outputs);
        let decoders: Vec<&str> = decoders.map(|(name, _)| *name).collect();
        let biased: Vec<&str> = decoders.iter().copied().filter(|name| is_biased(name)).collect();
        let decoders = if biased.is_empty() { decoders } else { biased };
        let head = match one(&decoders, &DECODERS, &EMBEDDINGS, "the decoder")? {
            Some(weight) => Head::Linear {
                weight: Some(weight.to_owned()),
                bias: bias_of(extents, weight),
                row: weight.strip_suffix(".weight").unwrap_or(weight).to_owned(),
                classes: extents[weight][usize::from(transposed)],
                transposed,
            },
            None if outputs == features && !transposed => tied(extents, embedding, &used),
            None => return Err(format!("it has no decoder of the {outputs} values of its last layer")),
        };
        Ok(Self { embedding: embedding.to_owned(), rows, features, layers, head })
    }
}

impl Part {
    /// All its parameters.
    fn names(&self) -> impl Iterator<Item = &str> {
        let projection = self.projection.iter().map(|(name, _)| name);
        let names = [&self.input, &self.recurrent].into_iter().chain(&self.copy).chain(&self.biases).chain(projection);
        names.map(String::as_str)
    }
}

/// PyTorch's modules: `PATH.weight_ih_l0` and so on.
fn pytorch(extents: &Extents, plain: Cell) -> Result<Vec<Found>, String> {
    let input = |name: &str| {
        let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
        let suffix = last.strip_prefix("weight_ih")?;
        let numbered = suffix.strip_suffix("_reverse").unwrap_or(suffix);
        let layer = if numbered.is_empty() { 0 } else { numbered.strip_prefix("_l")?.parse().ok()? };
        Some((path.to_owned(), suffix.to_owned(), layer))
    };
    let part = |(path, suffix, layer): (String, String, usize)| {
        let name = |part: &str| match path.is_empty() {
            true => format!("{part}{suffix}"),
            false => format!("{path}.{part}{suffix}"),
        };
        // Weight dropout keeps the weights in a parameter beside the module, whose own is a copy.
        let raw = [path.strip_suffix("module").unwrap_or_default(), &format!("{path}.")]
            .map(|path| format!("{path}weight_hh{suffix}_raw"));
        let raw = raw.into_iter().find(|name| extents.contains_key(name));
        let (recurrent, copy) = match raw {
            Some(raw) => (raw, Some(name("weight_hh"))),
            None => (name("weight_hh"), None),
        };
        let projection = name("weight_hr");
        let projection =
            extents.get(&projection).filter(|shape| shape.len() == 2).map(|shape| (projection.clone(), shape));
        let shape = extents.get(&recurrent).ok_or_else(|| format!("{recurrent} is missing"))?;
        let hidden = projection.as_ref().map_or(shape.last(), |(_, shape)| shape.last()).copied().unwrap_or(0);
        let cell = match shape[..] {
            [rows, _] => cell(rows, hidden, plain),
            _ => None,
        };
        let cell = cell.ok_or_else(|| format!("{recurrent} is {shape:?}, of no LSTM, GRU or RNN"))?;
        let input = name("weight_ih");
        let biases = ["bias_ih", "bias_hh"].map(name).into_iter().filter(|name| extents.contains_key(name));
        let part = Part {
            cell,
            style: Style::Pytorch,
            hidden,
            copy,
            biases: biases.collect(),
            projection: projection.map(|(name, shape)| (name, shape[0])),
            reverse: suffix.ends_with("_reverse"),
            recurrent,
            input,
        };
        let inputs = extents[&part.input].last().copied().unwrap_or(0);
        Ok(Found { path, layer, inputs, part })
    };
    extents.keys().filter_map(|name| input(name)).map(part).collect()
}

/// Keras' layers: `PATH/kernel` and `PATH/recurrent_kernel`.
fn keras(extents: &Extents, plain: Cell) -> Result<Vec<Found>, String> {
    let part = |(recurrent, shape): (&String, &Vec<usize>)| {
        let (name, end) = ended(recurrent);
        let path = name.strip_suffix("recurrent_kernel")?;
        let input = format!("{path}kernel{end}");
        let inputs = *extents.get(&input)?.first()?;
        let &[hidden, columns] = shape.as_slice() else { return None };
        let refused = |what: &str| Some(Err(format!("{recurrent} {what}")));
        let Some(cell) = cell(columns, hidden, plain) else {
            return refused(&format!("is {shape:?}, of no LSTM, GRU or RNN"));
        };
        let bias = Some(format!("{path}bias{end}")).filter(|bias| extents.contains_key(bias));
        match bias.as_ref().map(|bias| extents[bias].len()) {
            None if cell == Cell::Gru => {
                return refused("is of a GRU without biases, which would say whether it is one of reset_after");
            }
            Some(1) if cell == Cell::Gru => {
                return refused(
                    "is of a GRU whose candidate reads the product of reset gate and hidden values (reset_after=False)",
                );
            }
            _ => {}
        }
        let part = Part {
            cell,
            style: Style::Keras,
            hidden,
            copy: None,
            biases: bias.into_iter().collect(),
            projection: None,
            reverse: path.contains("backward"),
            recurrent: recurrent.clone(),
            input,
        };
        Some(Ok(Found { path: path.to_owned(), layer: 0, inputs, part }))
    };
    extents.iter().filter_map(part).collect()
}

/// TensorFlow's cells: `PATH/basic_lstm_cell/kernel` and `bias`, `weights` and `biases` of old.
fn tensorflow(extents: &Extents) -> Vec<Found> {
    let part = |(kernel, shape): (&String, &Vec<usize>)| {
        let (name, _) = ended(kernel);
        let (path, last) = name.rsplit_once('/')?;
        let is_cell = TENSORFLOW_CELLS.contains(&path.rsplit('/').next()?) && ["kernel", "weights"].contains(&last);
        let &[rows, columns] = shape.as_slice() else { return None };
        let hidden = columns / 4;
        if !is_cell || columns % 4 != 0 || rows <= hidden || hidden == 0 {
            return None;
        }
        let part = Part {
            cell: Cell::Lstm,
            style: Style::Tensorflow,
            hidden,
            copy: None,
            biases: vec![bias_of(extents, kernel)?],
            projection: None,
            reverse: false,
            recurrent: kernel.clone(),
            input: kernel.clone(),
        };
        let number = |component: &str| component.strip_prefix("cell_")?.parse().ok();
        let (numbered, module): (Vec<&str>, Vec<&str>) = path.split('/').partition(|part| number(part).is_some());
        let layer = numbered.first().and_then(|component| number(component)).unwrap_or(0);
        Some(Found { path: module.join("/"), layer, inputs: rows - hidden, part })
    };
    // Keras' kernels stand beside recurrent ones.
    let is_of_keras =
        |name: &str| name.contains("kernel") && extents.contains_key(&name.replace("kernel", "recurrent_kernel"));
    extents.iter().filter(|(name, _)| !is_of_keras(name)).filter_map(part).collect()
}

/// What a step of `gates` stacked gates of `hidden` values computes.
fn cell(gates: usize, hidden: usize, plain: Cell) -> Option<Cell> {
    let stacked = |cell: &Cell| hidden > 0 && gates == cell.gates() * hidden;
    [Cell::Lstm, Cell::Gru, plain].into_iter().find(stacked)
}

/// A name without the end that TensorFlow's variables have, and that end.
fn ended(name: &str) -> (&str, &str) {
    name.split_at(name.strip_suffix(":0").unwrap_or(name).len())
}

/// The layers in order: modules whose paths differ by a number alone, the layers within each, forward before backward.
fn stacked(mut found: Vec<Found>) -> Result<Vec<Vec<Found>>, String> {
    // Keras numbers cells of its own accord.
    let is_numbered = |component: &&str| !component.contains("_cell");
    let digits = |path: &str| {
        let components = path.split(['/', '.']).filter(is_numbered);
        components.flat_map(|name| name.split(|c: char| !c.is_ascii_digit())).filter_map(|n| n.parse().ok()).collect()
    };
    let stack = |path: &str| {
        let path = path.replace("backward", "forward");
        path.replace(|c: char| c.is_ascii_digit() || "_./".contains(c), "")
    };
    let mut stacks: Vec<&str> = found.iter().map(|found| found.path.as_str()).collect();
    stacks.sort_unstable();
    stacks.dedup_by_key(|path| stack(path));
    if stacks.len() > 1 {
        return Err(format!("its layers could be those of {}", listed(&stacks)));
    }
    let place = |found: &Found| -> (Vec<usize>, usize) { (digits(&found.path), found.layer) };
    found.sort_by_key(|found| (place(found), found.part.reverse));
    let mut layers: Vec<Vec<Found>> = vec![];
    for found in found {
        match layers.last_mut() {
            Some(layer) if place(&layer[0]) == place(&found) => layer.push(found),
            _ => layers.push(vec![found]),
        }
    }
    for layers in layers.chunk_by(|a, b| a[0].path == b[0].path) {
        let gap = layers.iter().enumerate().find(|(number, layer)| layer[0].layer != *number);
        if let Some((number, layer)) = gap {
            return Err(format!("layer {number} of {} is missing", layer[0].path));
        }
    }
    let directions = |layer: &[Found]| layer.iter().map(|found| found.part.reverse).collect::<Vec<_>>();
    let even = layers.iter().all(|layer| matches!(directions(layer)[..], [false] | [false, true]));
    match even && layers.len() <= MOST_LAYERS {
        true => Ok(layers),
        false => Err("its layers are no stack in one direction or in both".into()),
    }
}

/// The one of `names` that is meant: the only one, or the only one with one of `words`, or with none of `others`.
fn one<'a>(names: &[&'a str], words: &[&str], others: &[&str], what: &str) -> Result<Option<&'a str>, String> {
    let has = |name: &str, words: &[&str]| words.iter().any(|word| name.to_lowercase().contains(word));
    let named: Vec<&str> = names.iter().copied().filter(|name| has(name, words)).collect();
    let rest: Vec<&str> = names.iter().copied().filter(|name| !has(name, others)).collect();
    match (names, &named[..], &rest[..]) {
        ([], ..) => Ok(None),
        ([one], ..) | (_, [one], _) | (_, _, [one]) => Ok(Some(one)),
        _ => Err(format!("{what} could be {}", listed(names))),
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        _ => names.concat(),
    }
}

/// The bias beside the weight `name`, if there is one.
fn bias_of(extents: &Extents, name: &str) -> Option<String> {
    let (name, end) = ended(name);
    let spelt = [("weights", "biases"), ("weight", "bias"), ("kernel", "bias"), ("_w", "_b"), ("/W", "/b")];
    let beside = |(weight, bias): (&str, &str)| Some(format!("{}{bias}{end}", name.strip_suffix(weight)?));
    spelt.into_iter().filter_map(beside).find(|bias| extents.get(bias).is_some_and(|shape| shape.len() == 1))
}

/// A decoder with the weight of `embedding`, `[V, E]`: its bias, if any, is what is left of V values.
fn tied(extents: &Extents, embedding: &str, used: &[&str]) -> Head {
    let rows = extents[embedding][0];
    let left = extents.iter().filter(|(name, shape)| **shape == [rows] && !used.contains(&name.as_str()));
    let bias: Vec<&String> = left.map(|(name, _)| name).collect();
    let bias = if let [bias] = bias[..] { Some(bias.clone()) } else { None };
    let row = bias.as_ref().and_then(|bias| bias.strip_suffix(".bias")).unwrap_or("decoder").to_owned();
    Head::Linear { weight: None, bias, row, classes: rows, transposed: false }
}

/// A head of several layers that is known by name.
fn known_head(extents: &Extents) -> Option<Head> {
    let first = |name: &str| extents.get(name).and_then(|shape| shape.first().copied());
    if let (Some(hidden), Some(classes)) = (first("logit_layer.0.weight"), first("logit_layer.2.weight")) {
        return Some(Head::Tagger(hidden, classes));
    }
    let attends = extents.contains_key("attention/attention/attention_W:0");
    first("output/output/bias:0").filter(|_| attends).map(Head::Attention)
}

#[cfg(test)]
mod tests;
