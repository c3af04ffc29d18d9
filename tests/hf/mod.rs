//! transformers' directories: networks of every family, head and variant against what transformers answers
//! (`tests/reference/make_transformers.py`), by all engines.

#[cfg(deadweight_assets)]
mod assets;
#[cfg(deadweight_cases)]
mod cases;
mod texts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use deadweight::Error;
use deadweight::engine::{CandleEngine, EngineOptions, Session};
use deadweight::kernels::Isa;
use deadweight::layers::Shape;
use deadweight::model::{LoadOptions, Model};
use safetensors::{Dtype, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::naive;

/// Largest difference of an output from transformers', relative to the largest output: f32 sums in another order.
const CLOSE: f32 = 1e-4;
const STEPS: usize = 11;

#[derive(Clone, Deserialize)]
pub struct Case {
    config: Value,
    tensors: BTreeMap<String, Vec<usize>>,
    extents: [usize; 2],
    output: Vec<Vec<f32>>,
    dtype: Option<String>,
}

pub fn stored() -> BTreeMap<String, Case> {
    let all: BTreeMap<String, Value> = serde_json::from_str(include_str!("../reference/transformers.json")).unwrap();
    let cases = all.into_iter().filter(|(name, _)| name != "versions");
    cases.map(|(name, case)| (name, serde_json::from_value(case).unwrap())).collect()
}

/// The values of the tensor `name`, as make_transformers.py makes them.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut state =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut unit = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let (center, spread) = match shape.len() {
        1 if name.ends_with(".weight") => (1.0, 0.3),
        1 => (0.0, 0.1),
        _ => (0.0, 0.5),
    };
    (0..shape.iter().product()).map(|_| center + spread * unit()).collect()
}

impl Case {
    /// Tensors of both layers.
    fn extents(&self) -> BTreeMap<String, Vec<usize>> {
        let second = self.tensors.iter().filter(|(name, _)| name.contains(".0."));
        let second = second.map(|(name, shape)| (name.replace(".0.", ".1."), shape.clone()));
        self.tensors.clone().into_iter().chain(second).collect()
    }

    /// Bytes of the tensor `name`.
    fn bytes(&self, name: &str, shape: &[usize]) -> (Dtype, Vec<u8>) {
        let values = values(name, shape).into_iter();
        match self.dtype.as_deref() {
            None => (Dtype::F32, values.flat_map(f32::to_le_bytes).collect()),
            Some("bfloat16") => (Dtype::BF16, values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect()),
            Some("float16") => (Dtype::F16, values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect()),
            Some(other) => panic!("{other}"),
        }
    }

    /// Writes the directory, its tensors in `shards` files.
    pub fn write(&self, folder: &Path, shards: usize) {
        std::fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        let tensors: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = self
            .extents()
            .into_iter()
            .map(|(name, shape)| {
                let (dtype, bytes) = self.bytes(&name, &shape);
                (name, shape, dtype, bytes)
            })
            .collect();
        let mut places = BTreeMap::new();
        for (i, tensors) in tensors.chunks(tensors.len().div_ceil(shards)).enumerate() {
            let file = if shards == 1 { "model.safetensors".to_owned() } else { format!("model-{i}.safetensors") };
            let views = tensors.iter().map(|(name, shape, dtype, bytes)| {
                places.insert(name.clone(), file.clone());
                (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
            });
            let views: Vec<_> = views.collect();
            std::fs::write(folder.join(&file), safetensors::serialize(views, None).unwrap()).unwrap();
        }
        if shards > 1 {
            let index = json!({ "metadata": {}, "weight_map": places });
            std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
        }
    }

    pub fn load(&self, shards: usize) -> Result<Model, Error> {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path(), shards);
        Model::load(folder.path().to_str().unwrap(), &LoadOptions::default())
    }

    /// The network's input and its extents.
    pub fn input(&self) -> (Vec<f32>, Shape) {
        if let Some(size) = self.config["image_size"].as_u64() {
            let shape =
                Shape::new(self.config["num_channels"].as_u64().unwrap_or(3) as usize, size as usize, size as usize);
            return ((0..shape.elements()).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect(), shape);
        }
        ((0..STEPS).map(|i| ((7 * i * i + 5 * i + 2) % 60) as f32).collect(), Shape::new(1, 1, STEPS))
    }
}

/// The outputs of all engines, `[step][feature]`, by the engine's name. Native gives the same bits on every level.
fn outputs(model: &Model, x: &[f32], shape: Shape) -> Vec<(&'static str, Vec<Vec<f32>>)> {
    let native = |isa: Isa, threads: usize| {
        let options = EngineOptions { isa, ..EngineOptions::new(threads) };
        Session::new(Arc::clone(&model.graph), shape, 1, options).unwrap().run(x, None).unwrap()
    };
    let one = native(Isa::SCALAR, 1);
    for isa in Isa::available() {
        let other = native(isa, 2);
        assert!(other.iter().zip(&one).all(|(a, b)| a.to_bits() == b.to_bits()), "{}: other bits", isa.name());
    }
    let candle = CandleEngine::new(&model.graph, candle_core::Device::Cpu).unwrap().run(x, shape, None).unwrap();
    let y = model.graph.shapes(shape).unwrap()[model.graph.output().index()];
    let steps = y.h * y.w;
    let rows = |y: Vec<f32>| (0..steps).map(|t| y[t..].iter().step_by(steps).copied().collect()).collect();
    [("native", one), ("candle", candle), ("plain loops", naive::run(&model.graph, shape, x))]
        .map(|(name, y)| (name, rows(y)))
        .to_vec()
}

/// Largest difference of `got` from the first values of the rows `want`, relative to their largest.
fn apart(got: &[Vec<f32>], rows: &[usize], want: &[Vec<f32>]) -> f32 {
    let largest = want.iter().flatten().fold(0f32, |most, v| most.max(v.abs()));
    let pairs = rows.iter().zip(want).flat_map(|(&row, want)| got[row].iter().zip(want));
    pairs.map(|(got, want)| (got - want).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn every_family_head_and_variant_is_that_of_transformers() {
    let mut wrong = Vec::new();
    for (name, case) in stored() {
        let model = match case.load(1) {
            Ok(model) => model,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let (x, shape) = case.input();
        let rows = if case.output.len() == 1 { vec![0] } else { vec![0, 4, 10] };
        for (engine, got) in outputs(&model, &x, shape) {
            let extents = [got.len(), got[0].len()];
            let apart = apart(&got, &rows, &case.output);
            if extents != case.extents || apart.is_nan() || apart > CLOSE {
                wrong.push(format!("{name} by {engine}: {apart} apart, {extents:?} of {:?}", case.extents));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn checkpoints_in_several_files_are_read_as_one() {
    let case = &stored()["llama"];
    let (x, shape) = case.input();
    let of = |shards: usize| outputs(&case.load(shards).unwrap(), &x, shape).remove(0).1;
    assert!(of(1) == of(3));
}

#[test]
fn tied_heads_stored_beside_their_embedding_are_not_read() {
    let case = &stored()["llama one key head, tied"];
    let mut beside = case.clone();
    beside.tensors.insert("lm_head.weight".into(), vec![60, 32]);
    let (x, shape) = case.input();
    let of = |case: &Case| outputs(&case.load(1).unwrap(), &x, shape).remove(0).1;
    assert!(of(case) == of(&beside));
}

#[test]
fn what_a_config_says_wrong_is_named() {
    let all = stored();
    let error = |name: &str, change: &dyn Fn(&mut Case)| {
        let mut case = all[name].clone();
        change(&mut case);
        let error = case.load(1).err().unwrap_or_else(|| panic!("{name} was loaded"));
        (error.exit_code(), error.to_string())
    };
    let set = |field: &'static str, value: Value| move |case: &mut Case| case.config[field] = value.clone();
    let dynamic = json!({"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0});
    type Wrong<'a> = (&'a str, &'a dyn Fn(&mut Case), u8, &'a str);
    let cases: [Wrong; 9] = [
        (
            "llama",
            &set("rope_parameters", dynamic),
            4,
            "rope_parameters other than default, linear, llama3 and yarn (dynamic)",
        ),
        ("llama", &set("rope_parameters", json!({"rope_type": "linear"})), 1, "linear has no number factor"),
        ("llama", &set("hidden_act", json!("mish")), 4, "hidden_act other than one of gelu"),
        (
            "llama",
            &set("hidden_size", json!(48)),
            1,
            "model.embed_tokens.weight: is [60, 32], the network needs [60, 48]",
        ),
        ("llama", &set("num_attention_heads", json!(3)), 1, "heads"),
        (
            "bert",
            &set("position_embedding_type", json!("relative_key")),
            4,
            "position_embedding_type other than absolute",
        ),
        ("bert", &set("vocab_size", json!("many")), 1, "invalid type"),
        (
            "gpt2",
            &set("architectures", json!(["GPT2DoubleHeadsModel"])),
            4,
            "architectures other than a class that ends in",
        ),
        ("qwen2", &set("layer_types", json!(["chunked_attention", "full_attention"])), 4, "layer_types other than"),
    ];
    let mut wrong = Vec::new();
    for (name, change, code, text) in cases {
        let got = error(name, change);
        if got.0 != code || !got.1.contains(text) {
            wrong.push(format!("{name}: {got:?}, not {code}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
