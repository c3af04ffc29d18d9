//! What a download gives, and who watches it: known with and without a hub client.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

/// Watches downloads.
pub trait DownloadMonitor: Debug + Send + Sync {
    /// Of `file`, `done` bytes are there; `total`, if its length is known. Called when it begins (`done` is what an earlier try
    /// left), after each piece, and when it is complete.
    fn progress(&self, file: &str, done: u64, total: Option<u64>);

    /// Whether to stop. What has arrived is kept, and the next try goes on from there.
    fn stop(&self) -> bool;
}

/// How repositories are fetched.
#[derive(Clone, Debug, Default)]
pub struct FetchOptions {
    /// Read only the cache.
    pub offline: bool,
    /// Hash the files that the cache has already, and get those anew that are damaged.
    pub verify: bool,
    /// Who watches.
    pub monitor: Option<Arc<dyn DownloadMonitor>>,
}

/// A repository in the cache, at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `org/name`, or `datasets/org/name`.
    pub repo: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The directory with its files.
    pub path: PathBuf,
    /// The files that were asked for, as far as the cache has them.
    pub files: Vec<SnapshotFile>,
    /// The file that is the model, of those of a model; of a data set what was named of it.
    pub part: Option<String>,
}

impl Snapshot {
    /// `org/name@commit`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.repo, self.commit)
    }
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Path in the repository.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Whether this call downloaded it; the cache had the others.
    pub downloaded: bool,
}
