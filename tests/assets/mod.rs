//! Real weights on real data, against the outputs of PyTorch and others; built only if the assets are given.

mod classify;
mod denoise;
mod designs;
mod language;
mod measure1;
mod panic;
mod quantised;
mod segment;
mod tokens;
mod transformers;
mod winograd;
mod wrong_graphs;
mod wrong_inputs;
mod wrong_weights;

use std::path::{Path, PathBuf};

use deadweight::model::{LoadOptions, Model};
use deadweight::weights::Weights;

fn asset(name: &str) -> PathBuf {
    Path::new(env!("DEADWEIGHT_ASSETS_DIR")).join(name)
}

fn load(file: &str, card: &str) -> Model {
    let options = LoadOptions { arch: Some(card.to_owned()), ..LoadOptions::default() };
    Model::load(asset(file).to_str().unwrap(), &options).unwrap()
}

fn stored(file: &str, tensor: &str) -> (Vec<f32>, Vec<usize>) {
    let weights = Weights::open(asset(file)).unwrap();
    (weights.read_f32(tensor).unwrap().to_vec(), weights.shape(tensor).unwrap().to_vec())
}

fn json(file: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(asset(file)).unwrap()).unwrap()
}
