//! GGUF files: their metadata as the `config.json` that the same network has on the hub, and as its vocabulary.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Directory;
use crate::input::{StoredVocabulary, VocabularySource};
use crate::weights::Weights;
use crate::weights::gguf::{Gguf, Metadata};
use crate::{Error, Result};

impl Directory {
    /// What a GGUF file holds.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming a field that is missing or of the wrong type; [`Error::Unsupported`] for a scaling of
    /// positions that is not known.
    pub fn of_gguf(file: Gguf) -> Result<Self> {
        let Gguf { weights, metadata } = file;
        let config = config(&metadata, &weights)?;
        let vocabulary = vocabulary(&metadata)?.map(|stored| VocabularySource::Stored(Arc::new(stored)));
        Ok(Self { weights, config: Some(config), preprocessor: None, vocabulary })
    }
}

/// Metadata below the name of the architecture.
struct Sizes<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Sizes<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn count(&self, name: &str) -> Result<Option<u32>> {
        self.metadata.count(&self.key(name))
    }

    fn needed(&self, name: &str) -> Result<u32> {
        self.count(name)?.ok_or_else(|| self.metadata.wrong(&self.key(name), "is missing"))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.metadata.number(&self.key(name))
    }
}

/// The configuration by the names of transformers.
fn config(metadata: &Metadata, weights: &Weights) -> Result<Value> {
    let key = "general.architecture";
    let architecture = metadata.text(key)?.ok_or_else(|| metadata.wrong(key, "is missing"))?;
    let sizes = Sizes { metadata, architecture };
    let mut config = match architecture {
        "bert" => bert(&sizes, weights)?,
        _ => llama(&sizes, weights)?,
    };
    let heads = sizes.needed("attention.head_count")?;
    let embedding =
        if architecture == "bert" { "embeddings.word_embeddings.weight" } else { "model.embed_tokens.weight" };
    let stated = json!({
        "model_type": architecture,
        "hidden_size": sizes.needed("embedding_length")?,
        "intermediate_size": sizes.needed("feed_forward_length")?,
        "num_hidden_layers": sizes.needed("block_count")?,
        "num_attention_heads": heads,
        "max_position_embeddings": sizes.needed("context_length")?,
        "vocab_size": shape(weights, embedding).and_then(|shape| shape.first()),
        "_name_or_path": metadata.text("general.name")?,
    });
    config.extend(stated.as_object().cloned().unwrap_or_default());
    config.retain(|_, value| !value.is_null());
    Ok(config.into())
}

/// Extents of the tensor `name`; the prefix `model.` is stripped where all names have it.
fn shape<'a>(weights: &'a Weights, name: &str) -> Option<&'a [usize]> {
    weights.shape(name).or_else(|| weights.shape(name.strip_prefix("model.")?))
}

fn bert(sizes: &Sizes<'_>, weights: &Weights) -> Result<Map<String, Value>> {
    let types = shape(weights, "embeddings.token_type_embeddings.weight").and_then(|shape| shape.first());
    let stated = json!({
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "layer_norm_eps": sizes.number("attention.layer_norm_epsilon")?.map(as_written),
        "type_vocab_size": types,
        "pooling_type": sizes.count("pooling_type")?,
    });
    Ok(stated.as_object().cloned().unwrap_or_default())
}

fn llama(sizes: &Sizes<'_>, weights: &Weights) -> Result<Map<String, Value>> {
    let heads = sizes.needed("attention.head_count")?;
    let class = match sizes.architecture {
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        _ => "LlamaForCausalLM",
    };
    let width = match sizes.count("attention.key_length")? {
        Some(width) => width,
        None => sizes.needed("embedding_length")?.checked_div(heads).unwrap_or(0),
    };
    if let Some(turned) = sizes.count("rope.dimension_count")?.filter(|turned| *turned != width) {
        let what = format!("{}: rotary embedding of {turned} of {width} features", sizes.metadata.file());
        return Err(Error::unsupported(what, "all features of a head are turned"));
    }
    let theta = sizes.number("rope.freq_base")?.map_or(10_000.0, as_written);
    let mut config = json!({
        "architectures": [class],
        "hidden_act": "silu",
        "num_key_value_heads": sizes.count("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": width,
        "rms_norm_eps": sizes.number("attention.layer_norm_rms_epsilon")?.map(as_written),
        "rope_theta": theta,
        "rope_scaling": scaling(sizes, width, theta)?,
        "attention_bias": shape(weights, "model.layers.0.self_attn.q_proj.bias").is_some(),
        "mlp_bias": shape(weights, "model.layers.0.mlp.gate_proj.bias").is_some(),
        "tie_word_embeddings": weights.shape("lm_head.weight").is_none(),
        "bos_token_id": sizes.metadata.count("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": sizes.metadata.count("tokenizer.ggml.eos_token_id")?,
    });
    if let Some(window) = sizes.count("attention.sliding_window")? {
        config["sliding_window"] = window.into();
    }
    Ok(config.as_object().cloned().unwrap_or_default())
}

/// The scaling of rotary embedding, as transformers has it; null for none.
fn scaling(sizes: &Sizes<'_>, width: u32, theta: f64) -> Result<Value> {
    if let Some(factors) = &sizes.metadata.rope_factors {
        return llama3(factors, width, theta).ok_or_else(|| {
            let what = format!("{}: rope_freqs.weight: these factors of the frequencies", sizes.metadata.file());
            Error::unsupported(what, "those of Llama 3 are read")
        });
    }
    let kind = sizes.metadata.text(&sizes.key("rope.scaling.type"))?;
    let factor = sizes.number("rope.scaling.factor")?;
    match kind.unwrap_or("none") {
        "none" => Ok(Value::Null),
        kind @ ("linear" | "yarn") => {
            let factor = factor.ok_or_else(|| sizes.metadata.wrong(&sizes.key("rope.scaling.factor"), "is missing"))?;
            let mut scaling = json!({"rope_type": kind, "factor": as_written(factor)});
            if let Some(original) = sizes.count("rope.scaling.original_context_length")? {
                scaling["original_max_position_embeddings"] = original.into();
            }
            Ok(scaling)
        }
        kind => {
            let what = format!("{}: rope.scaling.type {kind}", sizes.metadata.file());
            Err(Error::unsupported(what, "known are none, linear, yarn"))
        }
    }
}

/// Llama 3's scaling, if it makes these `factors`: those of high frequencies are 1, of low ones the largest.
///
/// With wavelengths l = 2π θ^(2i/d) and s = (o/l - low) / (high - low): 1 for l < o/high, f for l > o/low, else 1/((1-s)/f + s).
fn llama3(factors: &[f32], width: u32, theta: f64) -> Option<Value> {
    const ORIGINAL: f64 = 8192.0;
    const LOW: f64 = 1.0;
    const HIGH: f64 = 4.0;
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let of_frequency = |i: usize| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * i as f64 / f64::from(width));
        let smooth = ((ORIGINAL / wavelength - LOW) / (HIGH - LOW)).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / factor + smooth)
    };
    let fits = |(i, &stored): (usize, &f32)| (f64::from(stored) / of_frequency(i) - 1.0).abs() < 1e-4;
    let all = factors.len() * 2 == width as usize && factors.iter().enumerate().all(fits);
    all.then(|| {
        json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": LOW, "high_freq_factor": HIGH,
            "original_max_position_embeddings": ORIGINAL as u32})
    })
}

/// A number that was stored as `f32`, as it is written in decimals: 1e-5, not 0.000009999999747.
fn as_written(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}

/// The vocabulary, if the file has one.
fn vocabulary(metadata: &Metadata) -> Result<Option<StoredVocabulary>> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let Some(model) = metadata.text(&key("model"))? else { return Ok(None) };
    let id = |name: &str| metadata.count(&key(name));
    let marks = match model {
        "bert" => (id("cls_token_id")?.or(id("bos_token_id")?), id("seperator_token_id")?.or(id("eos_token_id")?)),
        _ => (id("bos_token_id")?, id("eos_token_id")?),
    };
    let kinds = metadata.numbers(&key("token_type"))?.unwrap_or_default();
    Ok(Some(StoredVocabulary {
        file: metadata.file().to_owned(),
        model: model.to_owned(),
        pre: metadata.text(&key("pre"))?.map(str::to_owned),
        tokens: metadata.texts(&key("tokens"))?.unwrap_or_default(),
        kinds: kinds.into_iter().map(|kind| kind as i64).collect(),
        scores: metadata.numbers(&key("scores"))?.unwrap_or_default(),
        merges: metadata.texts(&key("merges"))?.unwrap_or_default(),
        begin: marks.0,
        end: marks.1,
        unknown: id("unknown_token_id")?,
        add_begin: metadata.flag(&key("add_bos_token"))?,
        add_end: metadata.flag(&key("add_eos_token"))?,
        space_before: metadata.flag(&key("add_space_prefix"))?,
    }))
}
