//! Snapshots of the Hugging Face hub: from the cache, or downloaded into it.

use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::{Error, Result};

/// Weights, the preferred first; an index brings its shards.
const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// What tells the network and its preprocessing.
const CONFIGS: [&str; 2] = ["config.json", "preprocessor_config.json"];

/// The directory of the hub's cache, by the same variables as the hub's own Python client, first set first taken.
fn cache_directory(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    var("HF_HUB_CACHE")
        .or_else(|| var("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(var("HF_HOME")?.join("hub")))
        .or_else(|| Some(var("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(var("HOME")?.join(".cache/huggingface/hub")))
}

fn environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn is_on(value: Option<PathBuf>) -> bool {
    let value = value.map(|value| value.to_string_lossy().to_lowercase());
    value.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on"))
}

/// The snapshot directory of `id`, `org/name[@revision]`, with its weights and configuration files. With `offline` (or
/// `HF_HUB_OFFLINE`) only the cache is looked at.
///
/// # Errors
/// [`Error::NotFound`] naming repository, revision and file, if they are not to be had.
pub fn fetch(id: &str, offline: bool) -> Result<PathBuf> {
    let (name, revision) = id.split_once('@').unwrap_or((id, "main"));
    let Some(directory) = cache_directory(environment) else {
        return Err(Error::invalid("HF_HOME", "is not set and neither is HOME: there is no place for downloads"));
    };
    let repo = Repo::with_revision(name.to_owned(), RepoType::Model, revision.to_owned());
    let cache = Cache::new(directory.clone());
    if offline || is_on(environment("HF_HUB_OFFLINE")) {
        let cached = cache.repo(repo);
        let held = WEIGHTS.iter().find_map(|file| cached.get(file));
        return held.and_then(|file| file.parent().map(PathBuf::from)).ok_or_else(|| Error::NotFound {
            what: format!("{name}@{revision}: {} in {}", WEIGHTS[0], directory.display()),
            hint: "offline only the cache is looked at; run once with the network, or give a local directory".into(),
        });
    }
    let mut builder = ApiBuilder::new().with_cache_dir(directory).with_progress(false);
    if let Some(endpoint) = environment("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.to_string_lossy().into_owned());
    }
    if let Some(token) = environment("HF_TOKEN") {
        builder = builder.with_token(Some(token.to_string_lossy().into_owned()));
    }
    let api = builder.build().map_err(|error| failed(id, WEIGHTS[0], &error))?.repo(repo);
    let mut missing = None;
    for file in WEIGHTS {
        match api.get(file) {
            Ok(path) => {
                let folder = path.parent().map(PathBuf::from).ok_or_else(|| Error::malformed(id, "has no snapshot"))?;
                bring_shards(id, &api, file, &path)?;
                for config in CONFIGS {
                    // Optional: many repositories lack one of them.
                    if let Err(error) = api.get(config) {
                        tracing::info!("{id}: {config}: {}", brief(&error));
                    }
                }
                return Ok(folder);
            }
            Err(error) => missing = missing.or(Some(failed(id, file, &error))),
        }
    }
    Err(missing.expect("there is a first name to try"))
}

fn bring_shards(id: &str, api: &ApiRepo, file: &str, path: &std::path::Path) -> Result<()> {
    if !file.ends_with(".index.json") {
        return Ok(());
    }
    let text = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let index: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| Error::malformed(format!("{id}: {file}"), error.to_string()))?;
    let shards = index.get("weight_map").and_then(serde_json::Value::as_object).into_iter().flatten();
    let shards: std::collections::BTreeSet<&str> = shards.filter_map(|(_, shard)| shard.as_str()).collect();
    shards.into_iter().try_for_each(|shard| api.get(shard).map(|_| ()).map_err(|error| failed(id, shard, &error)))
}

fn failed(id: &str, file: &str, error: &ApiError) -> Error {
    Error::NotFound {
        what: format!("{id}: {file} ({})", brief(error)),
        hint: "check the name and the network; HF_TOKEN opens gated repositories; a local directory works as well"
            .into(),
    }
}

/// The first line of what went wrong: no address with a token in it, no page of the server's.
fn brief(error: &ApiError) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_variables_say() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), PathBuf::from(value))).collect();
            cache_directory(move |name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("HOME", "/h")]), Some("/h/.cache/huggingface/hub".into()));
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/huggingface/hub".into()));
        assert_eq!(with(&[("HF_HOME", "/f"), ("XDG_CACHE_HOME", "/x")]), Some("/f/hub".into()));
        assert_eq!(with(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Some("/c".into()));
    }

    #[test]
    fn offline_is_any_word_for_yes() {
        for (value, want) in [("1", true), ("TRUE", true), ("on", true), ("0", false), ("no", false)] {
            assert_eq!(is_on(Some(value.into())), want, "{value}");
        }
        assert!(!is_on(None));
    }
}
