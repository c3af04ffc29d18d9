//! One file, from the hub to the disk: resumed where an earlier try was cut, its length and its hash checked before it gets its
//! name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::HeaderMap;

use super::client::{Client, Failure, LINKED_ETAG, Tries, broken, header};
use crate::Error;
use crate::hex::hex;

/// What the hub says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its hash: 64 digits are the SHA-256 of the content, 40 the SHA-1 that git gives it. It is a file name.
    pub etag: String,
    pub length: Option<u64>,
}

impl Facts {
    /// Those of the file at `url`, which must be of `commit`.
    pub fn of(client: &Client, url: &str, commit: &str) -> Result<Self, Failure> {
        let headers = client.persistently(|| client.head(url))?;
        let named = header(&headers, "x-repo-commit");
        if let Some(other) = named.filter(|named| named != commit) {
            return Err(Failure::Wrong(format!("answers for another commit, {other}")));
        }
        Self::read(&headers)
    }

    fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let linked = header(headers, LINKED_ETAG);
        let length = if linked.is_some() { "x-linked-size" } else { "content-length" };
        let length = header(headers, length).and_then(|length| length.trim().parse().ok());
        let etag = linked.or_else(|| header(headers, "etag")).ok_or_else(|| {
            Failure::Wrong("answers without an ETag, by which the content is stored: HF_ENDPOINT is no hub?".into())
        })?;
        let etag = etag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if etag.is_empty() || etag.len() > 200 || !etag.chars().all(is_name) {
            return Err(Failure::Wrong("answers with an unusable ETag".into()));
        }
        Ok(Self { etag, length })
    }
}

/// Downloads the file at `url`, called `name`, to `path`, if its content is what `facts` say; its length is returned. Until then
/// it is at `path.incomplete`, where the next try goes on.
pub(super) fn download(client: &Client, url: &str, name: &str, facts: &Facts, path: &Path) -> Result<u64, Failure> {
    let incomplete = path.with_added_extension("incomplete");
    let found = std::fs::metadata(&incomplete).is_ok_and(|left| left.len() > 0);
    let attempt = || {
        let result = Part::open(name, &incomplete, facts)?.complete(client, url)?.named(path, facts);
        result.map(|part| part.have)
    };
    let cleaned = |result| {
        if matches!(result, Err(Failure::Damaged(_))) {
            // If it cannot be removed, the next try cuts or hashes it.
            drop(std::fs::remove_file(&incomplete));
        }
        result
    };
    match cleaned(attempt()) {
        // What an earlier try left may be damaged; what comes from the hub now is not excused.
        Err(Failure::Damaged(_)) if found => {
            tracing::warn!("{name}: what an earlier download left is damaged, downloading it from the start");
            cleaned(attempt())
        }
        result => result,
    }
}

/// A file that is being downloaded.
struct Part<'a> {
    name: &'a str,
    path: &'a Path,
    file: File,
    have: u64,
    length: Option<u64>,
}

impl<'a> Part<'a> {
    fn open(name: &'a str, path: &'a Path, facts: &Facts) -> Result<Self, Failure> {
        let failed = |path: &Path, error| Failure::Local(Error::io(path, error));
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(|error| failed(path, error))?;
        let have = file.metadata().map_err(|error| failed(path, error))?.len();
        let mut part = Self { name, path, file, have, length: facts.length };
        if part.length.is_none_or(|length| have > length) {
            part.restart()?;
        }
        Ok(part)
    }

    fn failed(&self, error: std::io::Error) -> Failure {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let error = if full {
            let of = self.length.map(|length| format!(" of {length}")).unwrap_or_default();
            let text = format!(
                "the disk is full after {}{of} bytes; free some, or set HF_HUB_CACHE to a folder of another one",
                self.have
            );
            std::io::Error::new(error.kind(), text)
        } else {
            error
        };
        Failure::Local(Error::io(self.path, error))
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.have = 0;
        self.file.set_len(0).map_err(|error| self.failed(error))
    }

    fn report(&self, client: &Client) {
        if let Some(monitor) = &client.monitor {
            monitor.progress(self.name, self.have, self.length);
        }
    }

    /// Gets what is missing.
    fn complete(mut self, client: &Client, url: &str) -> Result<Self, Failure> {
        let mut tries = Tries::new(client);
        let missing = self.length.unwrap_or(0).saturating_sub(self.have);
        // For all tries together: each may bring so little that it would take for ever.
        let end = Instant::now() + client.limits.whole(missing);
        self.report(client);
        while self.length.is_none_or(|length| self.have < length) {
            let before = self.have;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Broken(format!("was not done in time, {} bytes arrived", self.have)));
            }
            match self.append(client, url, left) {
                Ok(()) if self.length.is_none() => break,
                Ok(()) => {}
                Err(failure) => {
                    if self.have > before {
                        tries.restart();
                    }
                    tries.again(failure)?;
                    if self.length.is_none() {
                        self.restart()?;
                    }
                }
            }
        }
        self.report(client);
        Ok(self)
    }

    /// Appends what one request brings within `limit`.
    fn append(&mut self, client: &Client, url: &str, limit: Duration) -> Result<(), Failure> {
        let response = match client.get(url, self.have, limit) {
            // There is nothing behind what we have: another file.
            Err(Failure::Status { status: 416, .. }) if self.have > 0 => {
                self.restart()?;
                client.get(url, 0, limit)?
            }
            other => other?,
        };
        let stated = |name: &str| header(response.headers(), name);
        if response.status() == 206 {
            let range = stated("content-range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", self.have)) {
                return Err(Failure::Wrong(format!("answers with another range ({range})")));
            }
        } else if self.have > 0 {
            // The server knows no ranges.
            self.restart()?;
        }
        let coming: Option<u64> = stated("content-length").and_then(|length| length.trim().parse().ok());
        if let (Some(coming), Some(length)) = (coming, self.length)
            && self.have + coming != length
        {
            self.restart()?;
            return Err(Failure::Damaged(format!("is sent with {coming} bytes, but has {length}")));
        }
        self.file.seek(SeekFrom::Start(self.have)).map_err(|error| self.failed(error))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 18];
        loop {
            if client.stops() {
                return Err(Failure::Stopped);
            }
            let read = body.read(&mut buffer).map_err(|error| self.ended(&error.into()))?;
            if read == 0 {
                break;
            }
            self.file.write_all(&buffer[..read]).map_err(|error| self.failed(error))?;
            self.have += read as u64;
            self.report(client);
            if let Some(length) = self.length.filter(|length| self.have > *length) {
                return Err(Failure::Damaged(format!("is longer than its {length} bytes")));
            }
        }
        match self.length.filter(|length| self.have < *length) {
            Some(_) => Err(self.ended(&std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())),
            None => Ok(()),
        }
    }

    /// The failure of a connection in the middle of the content.
    fn ended(&self, error: &ureq::Error) -> Failure {
        let why = match broken(error) {
            Failure::Broken(why) => why,
            other => return other,
        };
        let of = self.length.map(|length| format!(" of {length}")).unwrap_or_default();
        Failure::Broken(format!("the connection broke off after {}{of} bytes: {why}", self.have))
    }

    /// Gives it its name `path`, if it is what `facts` say.
    fn named(self, path: &Path, facts: &Facts) -> Result<Self, Failure> {
        if let Some(detail) = damage(self.path, &facts.etag).map_err(Failure::Local)? {
            return Err(Failure::Damaged(detail));
        }
        self.file.sync_all().map_err(|error| self.failed(error))?;
        std::fs::rename(self.path, path).map_err(|error| Failure::Local(Error::io(path, error)))?;
        Ok(self)
    }
}

/// How the file at `path` differs from its hash `etag`, if that is one and it does.
pub(super) fn damage(path: &Path, etag: &str) -> Result<Option<String>, Error> {
    let is_digest = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (kind, got) = match etag.len() {
        64 if is_digest => ("SHA-256", digest(path, Sha256::new())?),
        40 if is_digest => {
            let length = std::fs::metadata(path).map_err(|error| Error::io(path, error))?.len();
            ("git SHA-1", digest(path, Sha1::new_with_prefix(format!("blob {length}\0")))?)
        }
        _ => return Ok(None),
    };
    let same = got.eq_ignore_ascii_case(etag);
    Ok((!same).then(|| format!("is damaged: its {kind} is {got}, should be {etag}")))
}

fn digest<D: Digest + Write>(path: &Path, mut hash: D) -> Result<String, Error> {
    let mut file = File::open(path).map_err(|error| Error::io(path, error))?;
    std::io::copy(&mut file, &mut hash).map_err(|error| Error::io(path, error))?;
    Ok(hex(hash.finalize()))
}
