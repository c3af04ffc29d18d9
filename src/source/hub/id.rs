//! Names on the hub: `org/name[@revision][:file]` of models, `datasets/org/name[@revision][/path]` of data sets.

use std::fmt;

use crate::{Error, Result};

/// How data sets are told from models.
const DATASETS: &str = "datasets/";

/// A repository at a revision, and a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub is_dataset: bool,
    /// `org/name`.
    pub repo: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// A path in the repository; of a model, a file or the mark of one, as `Q4_K_M`.
    pub part: Option<String>,
}

impl Id {
    /// # Errors
    /// [`Error::Invalid`] if `text` is no such name.
    pub fn parse(text: &str) -> Result<Self> {
        let id = match text.strip_prefix(DATASETS) {
            Some(rest) => Self::of_dataset(rest),
            None => Self::of_model(text),
        };
        // Each becomes part of paths in the cache, and of URLs.
        let valid = id.repo.split('/').count() == 2
            && id.repo.split('/').chain(id.revision.split('/')).all(is_word)
            && id.part.as_deref().is_none_or(is_inside);
        if valid {
            return Ok(id);
        }
        let detail = "no hub id, which is org/name, org/name@revision or org/name:file of a model, datasets/org/name, \
                      datasets/org/name@revision or datasets/org/name/path of a data set";
        Err(Error::invalid(text, detail))
    }

    fn of_model(text: &str) -> Self {
        let (id, part) = text.split_once(':').map_or((text, None), |(id, part)| (id, Some(part.to_owned())));
        let (repo, revision) = id.split_once('@').unwrap_or((id, "main"));
        Self { is_dataset: false, repo: repo.to_owned(), revision: revision.to_owned(), part }
    }

    fn of_dataset(rest: &str) -> Self {
        let (repo, behind) = match rest.split_once('@') {
            Some((repo, behind)) => (repo.to_owned(), Some(behind)),
            None => (rest.splitn(3, '/').take(2).collect::<Vec<_>>().join("/"), None),
        };
        // A revision is one word, but refs/pr/5 and refs/convert/parquet are three.
        let words = if behind.is_some_and(|behind| behind.starts_with("refs/")) { 3 } else { 1 };
        let cut = |text: &str, words: usize| {
            let part = text.splitn(words + 1, '/').nth(words).map(|part| part.trim_end_matches('/').to_owned());
            (text.splitn(words + 1, '/').take(words).collect::<Vec<_>>().join("/"), part)
        };
        let (revision, part) = match behind {
            Some(behind) => cut(behind, words),
            None => ("main".to_owned(), cut(rest, 2).1),
        };
        Self { is_dataset: true, repo, revision, part: part.filter(|part| !part.is_empty()) }
    }

    /// The repository as users name it: `org/name`, `datasets/org/name`.
    pub fn name(&self) -> String {
        format!("{}{}", if self.is_dataset { DATASETS } else { "" }, self.repo)
    }

    /// Its folder in the cache.
    pub fn folder(&self) -> String {
        let kind = if self.is_dataset { "datasets" } else { "models" };
        format!("{kind}--{}", self.repo.replace('/', "--"))
    }

    /// The words that get it: `org/name@revision`, without `@main`.
    pub fn to_pull(&self) -> String {
        let revision = if self.revision == "main" { String::new() } else { format!("@{}", self.revision) };
        let between = if self.is_dataset { '/' } else { ':' };
        let part = self.part.as_ref().map(|part| format!("{between}{part}")).unwrap_or_default();
        format!("{}{revision}{part}", self.name())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name(), self.revision)
    }
}

/// Whether `word` can be a part of a repository's name or of a revision.
fn is_word(word: &str) -> bool {
    !word.starts_with('.')
        && !word.contains("..")
        && !word.is_empty()
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether a path of a repository stays inside its folder.
pub(super) fn is_inside(path: &str) -> bool {
    let plain = |word: &str| !matches!(word, "" | "." | "..") && !word.contains(['\\', ':', '\0']);
    path.split('/').all(plain)
}

/// Whether `revision` is a commit, which never changes.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit;

    #[test]
    fn names_are_taken_apart_and_put_together() {
        let parse = |text: &str| {
            let id = Id::parse(text).unwrap();
            assert_eq!(id.to_pull(), text.replace("@main", "").trim_end_matches('/'));
            (id.is_dataset, id.repo, id.revision, id.part)
        };
        let want = |is_dataset, repo: &str, revision: &str, part: Option<&str>| {
            (is_dataset, repo.to_owned(), revision.to_owned(), part.map(str::to_owned))
        };
        for (text, wanted) in [
            ("org/net", want(false, "org/net", "main", None)),
            ("org/net@main", want(false, "org/net", "main", None)),
            ("org/net@refs/pr/5", want(false, "org/net", "refs/pr/5", None)),
            ("org/net:onnx/model.onnx", want(false, "org/net", "main", Some("onnx/model.onnx"))),
            ("org/net@v2:Q4_K_M", want(false, "org/net", "v2", Some("Q4_K_M"))),
            ("datasets/org/d", want(true, "org/d", "main", None)),
            ("datasets/org/d/", want(true, "org/d", "main", None)),
            ("datasets/org/d/data/test", want(true, "org/d", "main", Some("data/test"))),
            ("datasets/org/d@v1/data/test", want(true, "org/d", "v1", Some("data/test"))),
            (
                "datasets/org/d@refs/convert/parquet/default/test",
                want(true, "org/d", "refs/convert/parquet", Some("default/test")),
            ),
        ] {
            assert_eq!(parse(text), wanted, "{text}");
        }
        assert_eq!(Id::parse("datasets/org/d").unwrap().folder(), "datasets--org--d");
    }

    #[test]
    fn other_names_are_refused() {
        for id in [
            "net",
            "a/b/c",
            "org/..",
            "../net",
            "org/net@",
            "org/net@../x",
            "org/net@a//b",
            "o rg/net",
            "org/net@a@b",
            "/net",
            "org/net:",
            "org/net:../x",
            "org/net:a/./b",
            "org/net:a\\b",
            "datasets/d",
            "datasets/org/d/../x",
            "datasets/org/d@/x",
            "datasets/org/d//x",
        ] {
            assert!(Id::parse(id).is_err_and(|error| error.exit_code() == exit::USAGE), "{id}");
        }
    }
}
