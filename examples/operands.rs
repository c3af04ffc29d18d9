//! Saves what some layers of a network that reads text multiply: an own probe beside a plain run.
//!
//! `operands MODEL TEXT OUT.safetensors LAYER...` runs the first line of the file TEXT and writes, of each layer, what it reads as
//! `LAYER.0`, `[channels, steps]`; of attention the queries, keys and values as `.0`, `.1`, `.2`, and the probabilities as `.p`,
//! `[heads, queries, keys]`. `tests/reference/make_recount.py` counts what it wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use deadweight::engine::{Backend, EngineOptions, Runner};
use deadweight::graph::Node;
use deadweight::input::{Cut, Dataset, Split};
use deadweight::kernels::attention::{KvCache, Operands, Probabilities, attention};
use deadweight::kernels::{Exec, Geometry, Isa, LANES, Pool, Region};
use deadweight::layers::{Layer, Shape};
use deadweight::model::{LoadOptions, Model};
use deadweight::probe::{Origin, Probe, Watch};
use safetensors::tensor::{Dtype, TensorView};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, text, out, layers @ ..] = &arguments[..] else {
        bail!("usage: operands MODEL TEXT OUT.safetensors LAYER...")
    };
    let model = Model::load(model, &LoadOptions::default())?;
    let vocabulary = model.vocabulary.as_ref().context("the network reads no text")?.open()?;
    let cut = Cut::Texts { split: Split::Line, length: None, field: None, labels: None, predicts: false };
    let data = Dataset::text(&[text.into()], &vocabulary, &cut, &model.preprocess)?;
    let tokens = data.load(0)?.values;
    let mut kept = Kept::default();
    for name in layers {
        let node = model.graph.handles().find(|node| model.graph.def(*node).name == *name);
        kept.0.insert(node.with_context(|| format!("no layer {name}"))?, Default::default());
    }
    let backend = Backend::Native(EngineOptions::new(1));
    let steps = tokens.len();
    Runner::new(&model.graph, Shape::new(1, 1, steps), &backend, 1)?.run(&tokens, Some(&kept))?;

    let mut tensors = BTreeMap::new();
    for (&node, operands) in &kept.0 {
        let def = model.graph.def(node);
        let values = operands.each_ref().map(|operand| operand.0.lock().expect("the run has ended").clone());
        if let Layer::Attention(layer) = &def.layer {
            let heads = layer.shape.heads;
            tensors.insert(
                format!("{}.p", def.name),
                (vec![heads, steps, steps], probabilities(layer.shape, &values, steps)),
            );
        }
        for (which, values) in values.into_iter().enumerate().filter(|(_, values)| !values.is_empty()) {
            tensors.insert(format!("{}.{which}", def.name), (vec![values.len() / steps, steps], values));
        }
    }
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views =
        tensors.iter().map(|(name, (shape, _))| Ok((name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name])?)));
    safetensors::serialize_to_file(views.collect::<Result<Vec<_>>>()?, None, Path::new(out))?;
    Ok(())
}

/// The probabilities of queries, keys and values `[channels, steps]`, as the engine computes them.
fn probabilities(
    shape: deadweight::kernels::attention::AttentionShape,
    operands: &[Vec<f32>; 3],
    steps: usize,
) -> Vec<f32> {
    let packed = operands.each_ref().map(|values| {
        let geometry = Geometry::blocked(1, values.len() / steps, 1, steps);
        let mut buffer = vec![0.0; geometry.len()];
        geometry.pack(values, &mut buffer);
        (buffer, geometry)
    });
    let [q, k, v] = packed.each_ref().map(|(buffer, geometry)| (&buffer[..], geometry));
    let geometry = Geometry::blocked(1, shape.heads * shape.outer, 1, steps);
    let (mut output, pool) = (vec![0.0; geometry.len()], Pool::new(1));
    let all = Mutex::new(vec![0.0; shape.heads * steps * steps]);
    let keep = |rows: &[Probabilities<'_>]| {
        for row in rows {
            let first = (row.head * steps + row.query) * steps;
            all.lock().expect("one thread")[first + row.keys.start..first + row.keys.end].copy_from_slice(row.values);
        }
    };
    let operands = Operands { q, k, v, inside: None, rounding: None };
    let mut cache = KvCache::new(shape, 1);
    attention(&Exec::new(&pool, Isa::best()), 1, &operands, (&mut output, &geometry), &mut cache, Some(&keep));
    all.into_inner().expect("one thread")
}

/// The operands of some layers.
#[derive(Default)]
struct Kept(BTreeMap<Node, [Operand; 3]>);

/// One operand, `[channels, steps]`.
#[derive(Default)]
struct Operand(Mutex<Vec<f32>>);

impl Watch for Operand {
    fn look(&self, _: usize, x: &[f32], geometry: &Geometry, image: usize, region: Region, _: Origin) {
        let mut values = self.0.lock().expect("one thread");
        values.resize(geometry.c * geometry.w, 0.0);
        for channel in region.blocks.start * LANES..(region.blocks.end * LANES).min(geometry.c) {
            for step in 0..geometry.w {
                values[channel * geometry.w + step] = x[geometry.index(image, channel, 0, step)];
            }
        }
    }
}

impl Probe for Kept {
    fn watch(&self, node: Node) -> Option<&dyn Watch> {
        self.0.get(&node).map(|operands| &operands[0] as &dyn Watch)
    }

    fn watch_second(&self, node: Node) -> Option<&dyn Watch> {
        self.0.get(&node).map(|operands| &operands[1] as &dyn Watch)
    }

    fn watch_third(&self, node: Node) -> Option<&dyn Watch> {
        self.0.get(&node).map(|operands| &operands[2] as &dyn Watch)
    }
}
