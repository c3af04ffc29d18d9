//! Real checkpoints in the folder of `DEADWEIGHT_ASSETS`, against what transformers answers.

use std::path::PathBuf;
use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::graph::Graph;
use deadweight::layers::Shape;
use deadweight::model::{LoadOptions, Model};
use safetensors::SafeTensors;

/// Largest difference relative to the largest output.
const CLOSE: f32 = 1e-4;

fn folder() -> PathBuf {
    PathBuf::from(env!("DEADWEIGHT_ASSETS_DIR")).join("nlp")
}

fn model(name: &str) -> Model {
    Model::load(folder().join(name).to_str().unwrap(), &LoadOptions::default()).unwrap()
}

/// The tensor `name` of a reference as floats, and the length of a row.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<f32>, usize) {
    let view = file.tensor(name).unwrap();
    let values = match view.dtype() {
        safetensors::Dtype::I64 => {
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
        }
        safetensors::Dtype::I32 => {
            view.data().chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as f32).collect()
        }
        _ => view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
    };
    (values, *view.shape().last().unwrap())
}

/// The largest difference of the output of `graph` for `ids` from `want`, of which a row has some first features of a step.
fn apart(graph: &Arc<Graph>, ids: &[f32], (want, columns): &(Vec<f32>, usize)) -> f32 {
    let shape = Shape::new(1, 1, ids.len());
    let y = Session::new(Arc::clone(graph), shape, 1, EngineOptions::new(2)).unwrap().run(ids, None).unwrap();
    let steps = want.len() / columns;
    let largest = want.iter().fold(0f32, |most, v| most.max(v.abs()));
    let got = |i: usize| y[i % columns * steps + i / columns];
    want.iter().enumerate().map(|(i, want)| (got(i) - want).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn decoders_and_words_are_those_of_transformers() {
    for name in ["stories260k-llama", "glass-llama-en", "splade-bert-tiny"] {
        let bytes = std::fs::read(folder().join(name).join("ref.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let model = model(name);
        let inputs = if name == "splade-bert-tiny" { vec![".0", ".1", ".2"] } else { vec![""] };
        for input in inputs {
            let (ids, _) = tensor(&file, &format!("ids{input}"));
            let apart = apart(&model.graph, &ids, &tensor(&file, &format!("logits{input}")));
            assert!(apart < CLOSE, "{name}{input}: {apart} apart");
        }
    }
}

#[test]
fn minilm_gives_hidden_values_and_embeddings_of_transformers() {
    let bytes = std::fs::read(folder().join("all-MiniLM-L6-v2.ref.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let model = model("all-MiniLM-L6-v2");
    // Its hidden values are what the mean reads.
    let mean = model.graph.handles().find(|node| model.graph.def(*node).layer.kind() == "global_avg_pool").unwrap();
    let hidden = model.graph.def(mean).inputs[0];
    let ended = Arc::new(Graph { output: Some(hidden), nodes: model.graph.nodes[..=hidden.index()].to_vec() });
    let (embeddings, columns) = tensor(&file, "embeddings");
    for (i, embedding) in embeddings.chunks(columns).enumerate() {
        let (ids, _) = tensor(&file, &format!("ids.{i}"));
        let apart_hidden = apart(&ended, &ids, &tensor(&file, &format!("hidden.{i}")));
        let apart_embedding = apart(&model.graph, &ids, &(embedding.to_vec(), columns));
        assert!(apart_hidden < CLOSE && apart_embedding < CLOSE, "{i}: {apart_hidden}, {apart_embedding} apart");
    }
}
