//! `deadweight models`: the cards, and the layers of one network, from a card without weights or from a file.

use std::path::Path;

use serde::Serialize;

use super::args::{Common, ModelsArgs, Plain, Show};
use super::out::{Out, printable};
use super::progress;
use crate::builtin;
use crate::engine::Plan;
use crate::graph::{Graph, Params, passes};
use crate::input::Preprocess;
use crate::layers::{Layer, Param, Shape};
use crate::model::{LoadOptions, Model};
use crate::models::{Card, FAMILIES, build, card, cards};
use crate::report::{Grid, to_json, units};
use crate::{Error, Result};

/// Lists the cards, or shows one.
pub(super) fn run(args: &ModelsArgs, common: Common) -> Result<()> {
    let mut out = Out::open(None)?;
    let width = out.width();
    let text = match &args.show {
        None => list(args.format, width),
        Some(Show::Show { model, arch, card: as_card, format }) => match card_of(model, arch.is_some())? {
            Some(card) if *as_card => card.to_toml(),
            Some(card) => show(&card, *format, width)?,
            None => {
                let (arch, offline) = (arch.clone(), common.offline);
                let downloads = progress::downloads(common).monitor;
                let options = LoadOptions { arch, offline, downloads, no_fold: true, ..LoadOptions::default() };
                let model = Model::load(model, &options)?;
                if *as_card { start_of_card(&model) } else { show_model(&model, *format, width)? }
            }
        },
    };
    out.write(&text)?;
    out.finish()
}

/// The card named `name`, or in the file `name`; `None` for a file or directory of weights, or a hub id.
fn card_of(name: &str, with_arch: bool) -> Result<Option<Card>> {
    let path = Path::new(name);
    let found = match path.exists() {
        true if path.is_file() && name.ends_with(".toml") => Some(Card::from_file(path)?),
        true => None,
        // A name with a slash, or given with --arch, is no card's name.
        false if name.contains('/') || with_arch => card(name).ok().cloned(),
        false => Some(card(name)?.clone()),
    };
    match found {
        Some(_) if with_arch => Err(Error::invalid("--arch", format!("is of weights files, and {name} is a card"))),
        found => Ok(found),
    }
}

/// A card in the list.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    family: &'a str,
    task: &'a str,
    description: &'a str,
    parameters: Option<u64>,
    macs: Option<u64>,
    weights: String,
    /// The revision of the repository that they are in, if the card pins one.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    source: &'a str,
    licence: &'a str,
}

impl<'a> Listed<'a> {
    fn new(card: &'a Card) -> Self {
        // Where its weights can be found.
        let weights = match &card.repo {
            _ if builtin::find(&card.name).is_some() => "built in".to_owned(),
            Some(repo) => repo.clone(),
            None => "yours (--arch)".to_owned(),
        };
        let Card { name, family, task, description, parameters, macs, source, licence, .. } = card;
        let (parameters, macs, revision) = (*parameters, *macs, card.revision.as_deref());
        Self { name, family, task: task.name(), description, parameters, macs, weights, revision, source, licence }
    }
}

fn list(format: Plain, width: Option<u16>) -> String {
    #[derive(Serialize)]
    struct ListedFamily {
        name: &'static str,
        /// Numbers that come from the weights.
        reads: &'static str,
    }
    #[derive(Serialize)]
    struct List<'a> {
        schema: &'static str,
        models: Vec<Listed<'a>>,
        families: Vec<ListedFamily>,
    }
    let models: Vec<Listed> = cards().iter().map(Listed::new).collect();
    let families = FAMILIES.iter().map(|family| ListedFamily { name: family.name, reads: family.reads });
    if format == Plain::Json {
        return to_json(&List { schema: "deadweight/models/1", models, families: families.collect() });
    }
    let mut numbers = Grid::new(["family", "numbers that the weights say"], &[0, 1]);
    families.for_each(|family| numbers.row([family.name.to_owned(), family.reads.to_owned()]));
    let mut grid = Grid::new(["name", "task", "parameters", "MACs", "weights", "network"], &[0, 1, 4, 5]);
    let count = |count: Option<u64>| count.map_or("-".into(), units::count);
    for card in &models {
        let Listed { name, task, weights, description, .. } = card;
        grid.row([
            name.to_string(),
            task.to_string(),
            count(card.parameters),
            count(card.macs),
            weights.clone(),
            description.to_string(),
        ]);
    }
    format!("{}\n{}", grid.render(width), numbers.render(width))
}

/// A network shown layer by layer.
#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    #[serde(flatten)]
    card: Listed<'a>,
    naming: String,
    input: [usize; 3],
    preprocessing: String,
    parameter_bytes: u64,
    activation_bytes: u64,
    layers: Vec<ShownLayer>,
}

/// A layer in the list.
#[derive(Serialize)]
struct ShownLayer {
    name: String,
    kind: &'static str,
    output: [usize; 3],
    /// `[K, C/groups, R, S]` or `[K, C]`; empty for layers without weights.
    weight: Vec<usize>,
    parameters: u64,
    macs: u64,
}

fn show(card: &Card, format: Plain, width: Option<u16>) -> Result<String> {
    let preprocess = Preprocess::from_table(&card.name, &card.input)?;
    let (graph, naming) = build(card, Params::Declared)?;
    describe(Listed::new(card), &graph, naming, &preprocess, format, width)
}

/// A card to start from, of a model that was read from files.
fn start_of_card(model: &Model) -> String {
    let mut card = model.card.clone();
    if model.naming == card.family {
        // The files hold the network.
        card.family.clear();
        card.input.remove("assumed");
    }
    card.to_toml()
}

fn show_model(model: &Model, format: Plain, width: Option<u16>) -> Result<String> {
    // The source of a repository says its commit.
    let listed = Listed { weights: model.source.clone(), revision: None, ..Listed::new(&model.card) };
    describe(listed, &model.graph, model.naming.clone(), &model.preprocess, format, width)
}

/// The layers of `graph`, after the card `listed`.
fn describe(
    mut listed: Listed,
    graph: &Graph,
    naming: String,
    preprocess: &Preprocess,
    format: Plain,
    width: Option<u16>,
) -> Result<String> {
    let (h, w) = preprocess.size();
    let input = Shape::new(preprocess.channels(), h, w);
    let shapes = graph.shapes(input)?;
    let layers = graph.handles().zip(&shapes).map(|(node, shape)| {
        let def = graph.def(node);
        ShownLayer {
            name: def.name.clone(),
            kind: def.layer.kind(),
            output: [shape.c, shape.h, shape.w],
            weight: weight(&def.layer).map(|weight| weight.shape.clone()).unwrap_or_default(),
            parameters: def.layer.parameters() as u64,
            macs: def.layer.macs(*shape),
        }
    });
    listed.parameters = Some(graph.parameters() as u64);
    listed.macs = Some(graph.macs(input)?);
    // The native engine's memory for one image: the buffers of the fused graph, shared by lifetime.
    let plan = Plan::new(&passes::fuse_epilogue(&passes::fold_norm(graph)), input, 1, true)?;
    let shown = Shown {
        schema: "deadweight/model/1",
        card: listed,
        naming,
        input: [input.c, input.h, input.w],
        preprocessing: preprocess.describe(),
        parameter_bytes: (graph.parameters() * size_of::<f32>()) as u64,
        activation_bytes: plan.bytes() as u64,
        layers: layers.collect(),
    };
    Ok(match format {
        Plain::Json => to_json(&shown),
        Plain::Table => shown.table(width),
    })
}

fn weight(layer: &Layer) -> Option<&Param> {
    match layer {
        Layer::Conv(conv) => Some(&conv.weight),
        Layer::ConvTranspose(conv) => Some(&conv.weight),
        Layer::Linear(linear) => Some(&linear.weight),
        Layer::Embedding(embedding) => Some(&embedding.table),
        _ => layer.recurrence().map(|recurrence| recurrence.weight),
    }
}

impl Shown<'_> {
    fn table(&self, width: Option<u16>) -> String {
        let Listed { name, task, description, weights, revision, source, licence, parameters, macs, .. } = &self.card;
        let count = |count: &Option<u64>| count.map_or("-".into(), units::count);
        // A file has no description of itself.
        let all = |facts: &[&str], between| {
            let said: Vec<&str> = facts.iter().copied().filter(|fact| !fact.is_empty()).collect();
            said.join(between)
        };
        let at = revision.map(|revision| format!("@{revision}")).unwrap_or_default();
        let names = format!("{weights}{at}, names of {}", self.naming);
        let facts = [
            ("model", format!("{name}: {}", all(&[task, description], ", "))),
            ("weights", all(&[&names, source, licence], "; ")),
            ("input", format!("{}: {}", extents(&self.input), self.preprocessing)),
            ("size", format!("{} parameters, {} MACs an input", count(parameters), count(macs))),
            (
                "memory",
                format!(
                    "{}B weights, {}B values of one input",
                    bytes(self.parameter_bytes),
                    bytes(self.activation_bytes)
                ),
            ),
        ];
        let mut text = String::new();
        for (key, fact) in facts {
            text += &format!("{key:<8} {}\n", printable(&fact));
        }
        let mut grid = Grid::new(["layer", "kind", "output", "weight", "parameters", "MACs"], &[0, 1]);
        let some = |count: u64| if count == 0 { String::new() } else { units::count(count) };
        for layer in &self.layers {
            let (output, weight) = (extents(&layer.output), extents(&layer.weight));
            let cells =
                [layer.name.clone(), layer.kind.into(), output, weight, some(layer.parameters), some(layer.macs)];
            grid.row(cells);
        }
        grid.total(["network".to_owned(), String::new(), String::new(), String::new(), count(parameters), count(macs)]);
        format!("{text}\n{}", grid.render(width))
    }
}

/// `64x3x7x7`.
fn extents(extents: &[usize]) -> String {
    extents.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// As [`units::count`], with a space before the unit of counts without prefix.
fn bytes(bytes: u64) -> String {
    let count = units::count(bytes);
    if count.contains(' ') { count } else { count + " " }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_is_listed_and_can_be_shown() {
        let text = list(Plain::Table, None);
        let json: serde_json::Value = serde_json::from_str(&list(Plain::Json, None)).unwrap();
        assert_eq!(json["models"].as_array().unwrap().len(), cards().len());
        for card in cards() {
            assert!(text.contains(&card.name), "{}", card.name);
            let shown: serde_json::Value = serde_json::from_str(&show(card, Plain::Json, None).unwrap()).unwrap();
            let sum = |field: &str| -> u64 {
                shown["layers"].as_array().unwrap().iter().map(|layer| layer[field].as_u64().unwrap()).sum()
            };
            assert_eq!((Some(sum("parameters")), Some(sum("macs"))), (card.parameters, card.macs), "{}", card.name);
            assert!(shown["activation_bytes"].as_u64().unwrap() > 0, "{}", card.name);
        }
    }

    #[test]
    fn a_network_is_shown_layer_by_layer() {
        let text = r#"
            name = "mine"
            family = "resnet"
            task = "classify"
            description = "a small one"
            source = "made by hand"
            licence = "MIT"
            input = { channels = 1, size = [8, 8], mean = [0.5], std = [0.25] }
            arch = { block = "basic", depths = [1], widths = [16], stem = "cifar", channels = 1, classes = 2 }
        "#;
        let card = Card::parse("mine.toml", text).unwrap();
        insta::assert_snapshot!(show(&card, Plain::Table, None).unwrap(), @r"
        model    mine: classify, a small one
        weights  yours (--arch), names of torchvision; made by hand; MIT
        input    1x8x8: grey, (x/255 - [0.5]) / [0.25]
        size     4.882 k parameters, 304.2 k MACs an input
        memory   19.53 kB weights, 17.42 kB values of one input

        layer                kind             output     weight  parameters     MACs
        -----------------------------------------------------------------------------
        input                input             1x8x8
        conv1                conv             16x8x8   16x1x3x3         144  9.216 k
        bn1                  batch_norm       16x8x8                     32
        conv1.relu           relu             16x8x8
        layer1.0.conv1       conv             16x8x8  16x16x3x3     2.304 k  147.5 k
        layer1.0.bn1         batch_norm       16x8x8                     32
        layer1.0.conv1.relu  relu             16x8x8
        layer1.0.conv2       conv             16x8x8  16x16x3x3     2.304 k  147.5 k
        layer1.0.bn2         batch_norm       16x8x8                     32
        layer1.0.add         add              16x8x8
        layer1.0.relu        relu             16x8x8
        global_pool          global_avg_pool  16x1x1
        fc                   linear            2x1x1       2x16          34       32
        -----------------------------------------------------------------------------
        network                                                     4.882 k  304.2 k
        ");
    }
}
