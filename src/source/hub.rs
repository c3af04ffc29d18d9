//! Snapshots of repositories on the Hugging Face hub, in the cache that its other clients share.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::directory::choose;
use crate::weights::{is_plain, read_json, shards};
use crate::{Error, Result};

const ENDPOINT: &str = "https://huggingface.co";
const CONFIGS: [&str; 4] = ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"];
/// The modules of sentence-transformers, each with a folder that may hold a `config.json`.
const MODULES: &str = "modules.json";
/// What a tokenizer is made of where there is no `tokenizer.json`.
const VOCABULARY: [&str; 5] = ["vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"];

/// The snapshot of `id`, `org/name[@revision]`: a directory with the weights and, if the repository has them, `config.json`,
/// `preprocessor_config.json`, its tokenizer, and what sentence-transformers makes of its values.
///
/// Cached files are not downloaded again. With `offline`, or `HF_HUB_OFFLINE` set to 1, true, yes or on, only the cache is
/// used.
///
/// # Errors
/// [`Error::Invalid`] for an invalid id, [`Error::NotFound`] for what the cache (offline) or the hub does not have,
/// [`Error::Unavailable`] if the hub cannot be reached or refuses.
pub fn fetch(id: &str, offline: bool) -> Result<PathBuf> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let mut hub = Hub::new(variable)?;
    hub.offline |= offline;
    hub.fetch(id)
}

/// Where models of the hub come from and are kept.
pub struct HubPlace {
    /// The cache's directory, which may not be there yet.
    pub cache: PathBuf,
    /// The hub's address.
    pub endpoint: String,
    /// Whether there is a token.
    pub has_token: bool,
    /// Whether `HF_HUB_OFFLINE` says that the hub is not asked.
    pub offline: bool,
}

/// What [`fetch`] reads of the environment.
///
/// # Errors
/// [`Error::Invalid`] if nothing says where the cache is.
pub fn hub_place() -> Result<HubPlace> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let Hub { cache, endpoint, token, offline } = Hub::new(variable)?;
    Ok(HubPlace { cache, endpoint, has_token: token.is_some(), offline })
}

/// Where the hub and its cache are.
struct Hub {
    cache: PathBuf,
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

/// A repository at a revision.
struct Id<'a> {
    repo: &'a str,
    revision: &'a str,
}

impl<'a> Id<'a> {
    fn parse(id: &'a str) -> Result<Self> {
        let (repo, revision) = id.split_once('@').unwrap_or((id, "main"));
        let plain = |part: &str| {
            !part.starts_with('.')
                && !part.contains("..")
                && !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        // Both become part of paths in the cache.
        let valid = repo.split('/').count() == 2 && repo.split('/').chain(revision.split('/')).all(plain);
        if valid {
            Ok(Self { repo, revision })
        } else {
            Err(Error::invalid(id, "no hub id, which is org/name or org/name@revision"))
        }
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.to_owned(), RepoType::Model, revision.to_owned())
    }
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.repo, self.revision)
    }
}

impl Hub {
    /// Settings from environment variables; `variable` looks one up.
    fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| path("HOME").map(|home| home.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| home.as_ref().map(|home| home.join("hub")));
        let cache = cache.ok_or_else(|| {
            Error::invalid("HF_HOME", "not set, and neither is HOME: set one so that the cache of the hub has a place")
        })?;
        let token = variable("HF_TOKEN").or_else(|| std::fs::read_to_string(home?.join("token")).ok());
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let offline = variable("HF_HUB_OFFLINE").map(|value| value.trim().to_ascii_lowercase());
        let offline = offline.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on"));
        Ok(Self { cache, endpoint: endpoint.trim_end_matches('/').to_owned(), token, offline })
    }

    fn fetch(&self, id: &str) -> Result<PathBuf> {
        let id = Id::parse(id)?;
        let cached = self.cached(&id);
        // A commit never changes; a branch may have moved.
        if self.offline || (cached.is_ok() && is_commit(id.revision)) {
            return cached;
        }
        match self.download(&id) {
            Err(error @ Error::Unavailable { .. }) if cached.is_ok() => {
                tracing::warn!("{error}; using the cache instead");
                cached
            }
            other => other,
        }
    }

    /// The cached snapshot, if its weights are complete.
    fn cached(&self, id: &Id<'_>) -> Result<PathBuf> {
        let missing = |what: &str| Error::NotFound {
            what: format!("{id}: {what} in the cache {}", self.cache.display()),
            hint: format!(
                "go online (unset HF_HUB_OFFLINE, leave out --offline), or get it with `hf download {} --revision {}`",
                id.repo, id.revision
            ),
        };
        let folder = self.cache.join(id.at(id.revision).folder_name());
        let commit = if is_commit(id.revision) {
            id.revision.to_owned()
        } else {
            let commit = std::fs::read_to_string(folder.join("refs").join(id.revision)).unwrap_or_default();
            commit.trim().to_owned()
        };
        if !is_commit(&commit) {
            return Err(missing("the revision"));
        }
        let snapshot = folder.join("snapshots").join(commit);
        let names = listed(&snapshot);
        let chosen = choose(&id.to_string(), &names).map_err(|error| match error {
            Error::NotFound { .. } => missing("weights"),
            other => other,
        })?;
        if chosen.ends_with(".json") {
            for shard in shards_of(&snapshot.join(chosen))? {
                if !snapshot.join(&shard).is_file() {
                    return Err(missing(&shard));
                }
            }
        }
        Ok(snapshot)
    }

    fn download(&self, id: &Id<'_>) -> Result<PathBuf> {
        let failed = |what: &str, error: &ApiError| self.explain(id, what, error);
        let cache = Cache::new(self.cache.clone());
        let builder = ApiBuilder::from_cache(cache.clone()).with_endpoint(self.endpoint.clone()).with_progress(false);
        let api = builder.with_token(self.token.clone()).build().map_err(|e| failed("client", &e))?;
        let info = api.repo(id.at(id.revision)).info().map_err(|e| failed("listing", &e))?;
        if !is_commit(&info.sha) {
            return Err(self.refused(id, "listing", "the hub names no commit"));
        }
        let names: Vec<String> = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let chosen = choose(&id.to_string(), &names)?;
        if !is_plain(chosen) {
            return Err(self.refused(id, chosen, "no plain file name"));
        }
        // Every file comes from the commit that was listed, even if the branch moves meanwhile.
        let repo = api.repo(id.at(&info.sha));
        let snapshot = cache.repo(id.at(&info.sha)).pointer_path(&info.sha);
        let get = |file: &str| self.download_file(id, &api, &repo, &snapshot, file);
        let holds = |file: &str| names.iter().any(|name| name == file);
        let vocabulary = if holds("tokenizer.json") { &[][..] } else { &VOCABULARY[..] };
        for file in CONFIGS.iter().chain(vocabulary).filter(|file| holds(file)) {
            get(file)?;
        }
        if holds(MODULES) {
            get(MODULES)?;
            for file in modules(&snapshot)?.iter().filter(|file| holds(file)) {
                get(file)?;
            }
        }
        get(chosen)?;
        if chosen.ends_with(".json") {
            for shard in shards_of(&snapshot.join(chosen))? {
                get(&shard)?;
            }
        }
        // Last, so that the branch never points to an incomplete snapshot.
        let reference = cache.repo(id.at(id.revision)).create_ref(&info.sha);
        reference.map_err(|e| Error::io(&snapshot, e))?;
        Ok(snapshot)
    }

    fn download_file(
        &self,
        id: &Id<'_>,
        api: &hf_hub::api::sync::Api,
        repo: &ApiRepo,
        snapshot: &Path,
        file: &str,
    ) -> Result<()> {
        if snapshot.join(file).is_file() {
            return Ok(());
        }
        tracing::info!("downloading {id}: {file}");
        let failed = |e: ApiError| self.explain(id, file, &e);
        let metadata = api.metadata(&repo.url(file)).map_err(failed)?;
        // The crate builds paths of both without checking them.
        let is_name =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !is_name(metadata.etag()) || !snapshot.ends_with(metadata.commit_hash()) {
            return Err(self.refused(id, file, "the hub answers with an unusable etag or another commit"));
        }
        let path = repo.download(file).map_err(failed)?;
        let length = std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
        if length != metadata.size() as u64 {
            // A partial file in the cache would be taken for the whole one next time.
            for part in [std::fs::canonicalize(&path).unwrap_or_default(), path] {
                drop(std::fs::remove_file(part));
            }
            return Err(self.refused(id, file, &format!("got {length} bytes of {}", metadata.size())));
        }
        Ok(())
    }

    fn refused(&self, id: &Id<'_>, what: &str, detail: &str) -> Error {
        let hint = "try again later, or download the repository by other means and name its directory";
        Error::Unavailable { what: format!("{id}: {what}"), detail: detail.to_owned(), hint: hint.into() }
    }

    /// Error message for a failed request. The token is never shown.
    fn explain(&self, id: &Id<'_>, what: &str, error: &ApiError) -> Error {
        let mut detail = error.to_string();
        if let Some(token) = &self.token {
            detail = detail.replace(token.as_str(), "***");
        }
        let what = format!("{id}: {what} from {}", self.endpoint);
        let status = detail.rsplit_once("http status: ").and_then(|(_, status)| status.trim().parse::<u16>().ok());
        let hint = match status {
            Some(404) => {
                let hint = "check the id and the revision; a private repository needs HF_TOKEN".into();
                return Error::NotFound { what, hint };
            }
            Some(401 | 403) => {
                "accept the repository's terms on its page, and set HF_TOKEN to a token that may read it"
            }
            Some(429) => "too many requests: wait some minutes; with HF_TOKEN set the limit is higher",
            Some(_) => "the hub has a problem: try again later",
            None => "check the network, HF_ENDPOINT and the proxy; with HF_HUB_OFFLINE=1 only the cache is used",
        };
        Error::Unavailable { what, detail, hint: hint.into() }
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where the modules of a snapshot have their settings.
fn modules(snapshot: &Path) -> Result<Vec<String>> {
    let modules = read_json(&snapshot.join(MODULES))?.unwrap_or_default();
    let folders = modules.as_array().into_iter().flatten().filter_map(|module| module["path"].as_str());
    Ok(folders.filter(|folder| is_plain(folder)).map(|folder| format!("{folder}/config.json")).collect())
}

fn shards_of(index: &Path) -> Result<Vec<String>> {
    let shown = index.display().to_string();
    let json = read_json(index)?.ok_or_else(|| Error::malformed(&shown, "vanished while it was read"))?;
    Ok(shards(&shown, &json)?.into_keys().collect())
}

/// Names of the files in a snapshot whose content exists.
fn listed(snapshot: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(snapshot).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
