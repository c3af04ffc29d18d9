//! Repositories of the Hugging Face hub, in the cache that its other clients share: what is used of them is downloaded once,
//! checked, and read from there.

mod cache;
mod client;
mod faults;
mod id;
mod settings;
mod transfer;
mod wanted;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::cache::Cache;
use self::client::{Client, Failure};
use self::faults::{explain, not_cached};
use self::id::{Id, is_commit, is_inside};
use self::settings::Settings;
use self::transfer::Facts;
use self::wanted::{Input, MODULES};
use super::{FetchOptions, Snapshot, SnapshotFile};
use crate::weights::{is_plain, read_json, shards};
use crate::{Error, Result};

/// The snapshot of `id`: of a model, `org/name[@revision][:file]`, with its weights and, if the repository has them, its
/// configuration, its tokenizer, and what sentence-transformers makes of its values; of a data set,
/// `datasets/org/name[@revision][/path]`, with its Parquet files, else its images.
///
/// Cached files are not downloaded again. Offline, or with `HF_HUB_OFFLINE` set to 1, true, yes or on, only the cache is used.
///
/// # Errors
/// [`Error::Invalid`] for an invalid id, [`Error::NotFound`] for what the cache (offline) or the hub does not have,
/// [`Error::Unavailable`] if the hub cannot be reached or refuses, [`Error::Io`] if the cache cannot be written.
pub fn fetch(id: &str, options: &FetchOptions) -> Result<Snapshot> {
    Hub::of_environment(options)?.fetch(id)
}

/// The files that are the data set `id` as one input, which is fetched: its Parquet files, or the folder of its images.
///
/// # Errors
/// As [`fetch`]; [`Error::Invalid`] if it has several parts and none is named.
pub fn fetch_input(id: &str, options: &FetchOptions) -> Result<(Snapshot, Vec<PathBuf>)> {
    Hub::of_environment(options)?.fetch_input(id)
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

/// What downloads read of the environment.
///
/// # Errors
/// [`Error::Invalid`] if nothing says where the cache is.
pub fn hub_place() -> Result<HubPlace> {
    let Settings { cache, endpoint, token, offline, .. } = Hub::of_environment(&FetchOptions::default())?.settings;
    Ok(HubPlace { cache, endpoint, has_token: token.is_some(), offline })
}

/// Asks the hub for anything, as downloads do: by the proxies and with the deadlines of the environment, the latter at most `within`.
///
/// # Errors
/// [`Error::Unavailable`] if nothing answers; a refusal is an answer.
pub fn hub_answers(within: Duration) -> Result<()> {
    let mut settings = Hub::of_environment(&FetchOptions::default())?.settings;
    let limits = &mut settings.limits;
    (limits.answer, limits.stall) = (limits.answer.min(within), limits.stall.min(within));
    let url = format!("{}/api/models?limit=1", settings.endpoint);
    match Client::new(&settings, None).head(&url) {
        Ok(_) | Err(Failure::Status { .. }) => Ok(()),
        Err(Failure::Broken(detail) | Failure::Wrong(detail) | Failure::Damaged(detail)) => {
            let hint = "check the connection, HF_ENDPOINT and the proxy".into();
            Err(Error::Unavailable { what: settings.endpoint, detail, hint })
        }
        Err(Failure::Local(error)) => Err(error),
        Err(Failure::Stopped) => Err(Error::Interrupted),
    }
}

/// The hub, and its cache.
struct Hub {
    settings: Settings,
    client: Client,
    verify: bool,
}

/// A repository whose commit is known.
struct Repository<'a> {
    hub: &'a Hub,
    id: &'a Id,
    commit: String,
    cache: Cache,
    /// Lengths of its files, as far as the hub lists them.
    lengths: HashMap<String, u64>,
    files: Vec<SnapshotFile>,
}

/// What the hub lists of a repository.
struct Listing {
    commit: String,
    names: Vec<String>,
    lengths: HashMap<String, u64>,
}

impl Hub {
    fn of_environment(options: &FetchOptions) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Ok(Self::new(Settings::new(variable)?, options))
    }

    fn new(mut settings: Settings, options: &FetchOptions) -> Self {
        settings.offline |= options.offline;
        let client = Client::new(&settings, options.monitor.clone());
        Self { settings, client, verify: options.verify }
    }

    fn fetch(&self, id: &str) -> Result<Snapshot> {
        let id = Id::parse(id)?;
        self.snapshot(&id, |_, _| Ok(())).map(|(snapshot, ())| snapshot)
    }

    fn fetch_input(&self, id: &str) -> Result<(Snapshot, Vec<PathBuf>)> {
        let id = Id::parse(id)?;
        let input = |id: &Id, names: &[String]| wanted::input(id, &wanted::data(id, names)?);
        let (snapshot, input) = self.snapshot(&id, input)?;
        let paths = match input {
            Input::Tables(tables) => tables.iter().map(|table| snapshot.path.join(table)).collect(),
            Input::Folder(folder) => vec![snapshot.path.join(folder)],
        };
        Ok((snapshot, paths))
    }

    /// The snapshot of `id`, and what `look` makes of the names of its files, before any is downloaded.
    fn snapshot<T>(&self, id: &Id, look: impl Fn(&Id, &[String]) -> Result<T>) -> Result<(Snapshot, T)> {
        let cached = || self.cached(id, &look);
        if self.settings.offline {
            return cached();
        }
        // A commit never changes; a branch may have moved.
        if is_commit(&id.revision)
            && !self.verify
            && self.is_complete(id)
            && let Ok(cached) = cached()
        {
            return Ok(cached);
        }
        match self.downloaded(id, &look) {
            Err(error @ Error::Unavailable { .. }) => match cached() {
                Ok(cached) => {
                    tracing::warn!("{error}; using the cache instead");
                    Ok(cached)
                }
                Err(_) => Err(error),
            },
            other => other,
        }
    }

    /// Whether all that is used of a model's commit is in the cache, and what is not there is known not to exist.
    fn is_complete(&self, id: &Id) -> bool {
        let (cache, commit) = (Cache::new(&self.settings.cache, id), &id.revision);
        let has = |file: &str| cache.stored(commit, file).is_some();
        !id.is_dataset && wanted::beside(has).into_iter().all(|file| has(file) || cache.is_absent(commit, file))
    }

    /// The cached snapshot, if its weights are complete.
    fn cached<T>(&self, id: &Id, look: &impl Fn(&Id, &[String]) -> Result<T>) -> Result<(Snapshot, T)> {
        let missing = |what: &str| not_cached(&self.settings, id, what);
        let cache = Cache::new(&self.settings.cache, id);
        let commit = cache.commit(&id.revision).ok_or_else(|| missing("the revision"))?;
        let names = cache.list(&commit);
        let absent = |error: Error| match error {
            Error::NotFound { .. } => missing(if id.is_dataset { "files" } else { "weights" }),
            other => other,
        };
        let (part, used) = if id.is_dataset {
            let used: Vec<String> = wanted::data(id, &names).map_err(absent)?.into_iter().cloned().collect();
            if let Some(shard) = wanted::missing_shard(&used) {
                return Err(missing(&shard));
            }
            (id.part.clone(), used)
        } else {
            let (chosen, _) = wanted::model(id, &names).map_err(absent)?;
            for shard in shards_of(&cache.snapshot(&commit), &chosen)? {
                if !names.contains(&shard) {
                    return Err(missing(&shard));
                }
            }
            (Some(chosen), names.clone())
        };
        let seen = look(id, &names).map_err(absent)?;
        let mut repository = Repository { hub: self, id, commit, cache, lengths: HashMap::new(), files: vec![] };
        for name in &used {
            if let Some((path, detail)) = repository.damage(name)? {
                return Err(Error::malformed(path.display().to_string(), detail));
            }
            repository.note(name, false)?;
        }
        Ok((repository.into_snapshot(part), seen))
    }

    fn downloaded<T>(&self, id: &Id, look: &impl Fn(&Id, &[String]) -> Result<T>) -> Result<(Snapshot, T)> {
        let listing = self.listing(id).map_err(|failure| explain(&self.settings, id, None, failure))?;
        let Listing { commit, names, lengths } = listing;
        let seen = look(id, &names)?;
        let cache = Cache::new(&self.settings.cache, id);
        // Every file comes from the commit that was listed, even if the branch moves meanwhile.
        let mut repository = Repository { hub: self, id, commit, cache, lengths, files: vec![] };
        let part = if id.is_dataset {
            wanted::data(id, &names)?.into_iter().try_for_each(|name| repository.get(name))?;
            id.part.clone()
        } else {
            Some(repository.get_model(&names)?)
        };
        // Last, so that the branch never points to an incomplete snapshot.
        repository.cache.point(&id.revision, &repository.commit)?;
        Ok((repository.into_snapshot(part), seen))
    }

    /// The commit that `id` is at now, and its files.
    fn listing(&self, id: &Id) -> Result<Listing, Failure> {
        // A data set may have a hundred thousand files, whose lengths take long to list.
        let (kind, query) = if id.is_dataset { ("datasets", "") } else { ("models", "?blobs=true") };
        let (endpoint, revision) = (&self.settings.endpoint, encoded(&id.revision, ""));
        let list = self.client.json(&format!("{endpoint}/api/{kind}/{}/revision/{revision}{query}", id.repo))?;
        let commit = list["sha"].as_str().filter(|commit| is_commit(commit));
        let commit = commit.ok_or_else(|| Failure::Wrong("names no commit".into()))?.to_owned();
        if is_commit(&id.revision) && !commit.eq_ignore_ascii_case(&id.revision) {
            return Err(Failure::Wrong(format!("answers for another commit, {commit}")));
        }
        let (mut names, mut lengths) = (Vec::new(), HashMap::new());
        for file in list["siblings"].as_array().into_iter().flatten() {
            let Some(name) = file["rfilename"].as_str().filter(|name| is_inside(name)) else { continue };
            names.push(name.to_owned());
            lengths.extend(file["size"].as_u64().map(|length| (name.to_owned(), length)));
        }
        Ok(Listing { commit, names, lengths })
    }
}

impl Repository<'_> {
    /// Gets what is used of a model; returns the file that it is.
    fn get_model(&mut self, names: &[String]) -> Result<String> {
        let (chosen, data) = wanted::model(self.id, names)?;
        let holds = |file: &str| names.iter().any(|name| name == file);
        for file in wanted::beside(holds) {
            match holds(file) {
                true => self.get(file)?,
                false => self.cache.note_absent(&self.commit, file),
            }
        }
        let snapshot = self.cache.snapshot(&self.commit);
        for file in modules(&snapshot)?.iter().filter(|file| holds(file)) {
            self.get(file)?;
        }
        self.get(&chosen)?;
        for file in shards_of(&snapshot, &chosen)?.iter().chain(&data) {
            self.get(file)?;
        }
        Ok(chosen)
    }

    /// Gets `file`, if the cache does not have it, or has it damaged.
    fn get(&mut self, file: &str) -> Result<()> {
        if let Some((_, detail)) = self.damage(file)? {
            tracing::warn!("{}: {file} in the cache {detail}; downloading it again", self.id);
            self.cache.remove(&self.commit, file);
        }
        let cached = self.cache.stored(&self.commit, file).is_some();
        if !cached {
            let result = self.download(file);
            result.map_err(|failure| explain(&self.hub.settings, self.id, Some(file), failure))?;
        }
        self.note(file, !cached)
    }

    /// Where the cache has `file`, and what is wrong with it, if it has it and something is: its length, and where that is asked for
    /// its hash.
    fn damage(&self, file: &str) -> Result<Option<(PathBuf, String)>> {
        let Some((path, etag)) = self.cache.stored(&self.commit, file) else { return Ok(None) };
        let length = std::fs::metadata(&path).map_err(|error| Error::io(&path, error))?.len();
        let detail = match self.lengths.get(file) {
            Some(listed) if *listed != length => Some(format!("has {length} bytes of {listed}")),
            _ if self.hub.verify => transfer::damage(&path, &etag)?,
            _ => None,
        };
        Ok(detail.map(|detail| (path, detail)))
    }

    fn download(&self, file: &str) -> Result<(), Failure> {
        tracing::info!("downloading {}: {file}", self.id);
        let (client, settings) = (&self.hub.client, &self.hub.settings);
        let url = format!("{}/{}/resolve/{}/{}", settings.endpoint, self.id.name(), self.commit, encoded(file, "/"));
        let facts = Facts::of(client, &url, &self.commit)?;
        // As long as the other process may take for all of it.
        let (start, longest) = (Instant::now(), client.limits.whole(facts.length.unwrap_or(0)));
        let mut is_told = false;
        let _lock = self.cache.lock(&facts.etag, |lock| {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!("{}: another process downloads {file}; waiting for it", lock.display());
            }
            match start.elapsed() > longest {
                true => Err(Failure::Broken(format!("another process has not ended its download: {}", lock.display()))),
                false => client.pause(Duration::from_millis(50)),
            }
        })?;
        let blob = self.cache.blob(&facts.etag);
        // Another commit, or another process, may have brought it.
        let length = std::fs::metadata(&blob).map(|blob| blob.len()).ok();
        if length.is_none_or(|length| facts.length.is_some_and(|wanted| wanted != length)) {
            transfer::download(client, &url, file, &facts, &blob)?;
        }
        Ok(self.cache.link(&self.commit, file, &facts.etag)?)
    }

    /// Adds `file` to those of the snapshot.
    fn note(&mut self, file: &str, downloaded: bool) -> Result<()> {
        let path = self.cache.snapshot(&self.commit).join(file);
        let bytes = std::fs::metadata(&path).map_err(|error| Error::io(&path, error))?.len();
        self.files.push(SnapshotFile { name: file.to_owned(), bytes, downloaded });
        Ok(())
    }

    fn into_snapshot(self, part: Option<String>) -> Snapshot {
        let Self { id, commit, cache, files, .. } = self;
        let path = cache.snapshot(&commit);
        Snapshot { repo: id.name(), revision: id.revision.clone(), commit, path, files, part }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// `text` as a part of a URL; characters of `kept` stay.
fn encoded(text: &str, kept: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.as_bytes().contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Where the modules of a snapshot have their settings.
fn modules(snapshot: &Path) -> Result<Vec<String>> {
    let modules = read_json(&snapshot.join(MODULES))?.unwrap_or_default();
    let folders = modules.as_array().into_iter().flatten().filter_map(|module| module["path"].as_str());
    Ok(folders.filter(|folder| is_plain(folder)).map(|folder| format!("{folder}/config.json")).collect())
}

/// The shards of the weights `chosen`, if those are an index.
fn shards_of(snapshot: &Path, chosen: &str) -> Result<Vec<String>> {
    if !chosen.ends_with(".json") {
        return Ok(vec![]);
    }
    let index = snapshot.join(chosen);
    let shown = index.display().to_string();
    let json = read_json(&index)?.ok_or_else(|| Error::malformed(&shown, "vanished while it was read"))?;
    let folder = chosen.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    Ok(shards(&shown, &json)?.into_keys().map(|shard| format!("{folder}{shard}")).collect())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
