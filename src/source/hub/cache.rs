//! The cache that the hub's Python client shares: contents by their hash, and for each commit a folder of links to them.
//!
//! ```text
//! models--org--name/blobs/<etag>                  contents, once each
//!                  /refs/<branch>                 the commit that it was at
//!                  /snapshots/<commit>/<file>     links to contents
//!                  /.no_exist/<commit>/<file>     files that a commit is known not to have
//! .locks/models--org--name/<etag>.lock            who downloads it
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::id::{Id, is_commit};
use crate::{Error, Result};

/// A repository in the cache.
pub(super) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

/// What a process holds while it downloads; let go of when dropped.
pub(super) struct Lock(#[expect(dead_code, reason = "the file is the lock")] Option<File>);

impl Cache {
    pub fn new(root: &Path, id: &Id) -> Self {
        Self { folder: root.join(id.folder()), locks: root.join(".locks").join(id.folder()) }
    }

    /// The commit that `revision` is, as far as the cache knows.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes that `revision` is `commit`.
    pub fn point(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let folder = made(&path)?;
        let failed = |error| Error::io(&path, error);
        let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        fs::write(file.path(), commit).map_err(failed)?;
        readable(file.as_file()).map_err(failed)?;
        file.persist(&path).map_err(|error| Error::io(&path, error.error))?;
        Ok(())
    }

    /// The folder of `commit`.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where the content of hash `etag` is.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The content that `file` of `commit` is, and the hash by which it is stored.
    pub fn stored(&self, commit: &str, file: &str) -> Option<(PathBuf, String)> {
        let path = fs::canonicalize(self.snapshot(commit).join(file)).ok().filter(|path| path.is_file())?;
        let etag = path.file_name()?.to_str()?.to_owned();
        Some((path, etag))
    }

    /// Makes `file` of `commit` the content of hash `etag`.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        let folder = made(&path)?;
        if same(&path, &self.blob(etag)) {
            return Ok(());
        }
        // A name that is not taken; the rename replaces a broken link, and another process may do the same.
        let failed = |error| Error::io(&path, error);
        let place = tempfile::Builder::new().prefix(".deadweight-").tempdir_in(folder).map_err(failed)?;
        let link = place.path().join("link");
        point_to(&self.blob(etag), &link, file, etag).map_err(failed)?;
        fs::rename(&link, &path).map_err(failed)
    }

    /// Removes `file` of `commit` and its content.
    pub fn remove(&self, commit: &str, file: &str) {
        if let Some((content, _)) = self.stored(commit, file) {
            // What cannot be removed is replaced by the download.
            drop(fs::remove_file(content));
        }
        drop(fs::remove_file(self.snapshot(commit).join(file)));
    }

    /// Notes that `commit` has no `file`. The cache is complete without it, so that a failure is none.
    pub fn note_absent(&self, commit: &str, file: &str) {
        let path = self.folder.join(".no_exist").join(commit).join(file);
        if !path.exists() && made(&path).is_ok() {
            drop(File::create(path));
        }
    }

    /// Whether `commit` is known not to have `file`.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.folder.join(".no_exist").join(commit).join(file).is_file()
    }

    /// Paths of the files that the cache has of `commit`, sorted.
    pub fn list(&self, commit: &str) -> Vec<String> {
        let root = self.snapshot(commit);
        let (mut pending, mut found) = (vec![root.clone()], Vec::new());
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_file() {
                    let words = path.strip_prefix(&root).into_iter().flat_map(Path::iter).map(|word| word.to_str());
                    found.extend(words.collect::<Option<Vec<_>>>().map(|words| words.join("/")));
                } else if path.is_dir() && !path.is_symlink() {
                    pending.push(path);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Waits until no other process downloads the content of hash `etag`; `wait` is called between two looks, with the lock's path.
    ///
    /// # Errors
    /// Of making the file, and those of `wait`.
    pub fn lock<E: From<Error>>(&self, etag: &str, mut wait: impl FnMut(&Path) -> Result<(), E>) -> Result<Lock, E> {
        let path = self.locks.join(format!("{etag}.lock"));
        made(&path)?;
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(|error| Error::io(&path, error))?;
            match file.try_lock() {
                // Some clients remove the file when they are done: then it is locked by nobody else's measure.
                Ok(()) if same_file(&file, &path) => return Ok(Lock(Some(file))),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => wait(&path)?,
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{}: cannot be locked ({error}); two downloads at once may disturb each other",
                        path.display()
                    );
                    return Ok(Lock(None));
                }
            }
        }
    }
}

/// The folder of `path`, made if need be.
fn made(path: &Path) -> Result<&Path> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    Ok(folder)
}

/// Whether both paths lead to one file.
fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |data: fs::Metadata| (data.dev(), data.ino());
    file.metadata().map(place).ok() == fs::metadata(path).map(place).ok()
}

#[cfg(not(unix))]
fn same_file(_: &File, _: &Path) -> bool {
    true
}

/// Lets others read a file that was made for this user alone.
#[cfg(unix)]
fn readable(file: &File) -> std::io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> std::io::Result<()> {
    Ok(())
}

/// Makes `link` a link to the content `etag`, seen from where `file` is in a snapshot.
#[cfg(unix)]
fn point_to(_: &Path, link: &Path, file: &str, etag: &str) -> std::io::Result<()> {
    let up = "../".repeat(2 + file.matches('/').count());
    std::os::unix::fs::symlink(format!("{up}blobs/{etag}"), link)
}

/// Makes `link` the content itself: links need a permission of their own.
#[cfg(not(unix))]
fn point_to(blob: &Path, link: &Path, _: &str, _: &str) -> std::io::Result<()> {
    fs::hard_link(blob, link).or_else(|_| fs::copy(blob, link).map(|_| ()))
}
