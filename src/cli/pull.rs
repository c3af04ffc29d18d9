//! `deadweight pull`: models and data sets of the hub, downloaded before they are used.

// The doc comments of flags are their help texts, which are plain text.
#![allow(rustdoc::broken_intra_doc_links)]

use clap::Args;
use serde::Serialize;

use super::args::{Common, Plain};
use super::out::{Out, printable};
use super::progress;
use crate::Result;
use crate::report::{Grid, to_json, units};
use crate::source::{FetchOptions, Snapshot, pull};

/// Arguments of `pull`.
#[derive(Args, Debug)]
pub struct PullArgs {
    /// Models, org/name[@revision][:file] or names of cards, and data sets, datasets/org/name[@revision][/path]
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Hash the files that the cache has already, and get those anew that are damaged
    #[arg(long)]
    pub verify: bool,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    pub format: Plain,
}

/// The document.
#[derive(Serialize)]
struct Document {
    schema: &'static str,
    pulled: Vec<Pulled>,
}

/// A repository.
#[derive(Serialize)]
struct Pulled {
    repo: String,
    revision: String,
    commit: String,
    path: String,
    /// The file that is the model, or the part of a data set that was asked for.
    part: Option<String>,
    files: Vec<PulledFile>,
}

/// A file of it.
#[derive(Serialize)]
struct PulledFile {
    name: String,
    bytes: u64,
    downloaded: bool,
}

/// Downloads what the cache lacks, and prints where it is.
pub(super) fn run(args: &PullArgs, common: Common) -> Result<()> {
    let mut out = Out::open(None)?;
    let options = FetchOptions { verify: args.verify, ..progress::downloads(common) };
    let mut document = Document { schema: "deadweight/pull/1", pulled: vec![] };
    for id in &args.ids {
        let pulled = Pulled::new(pull(id, &options)?);
        match args.format {
            Plain::Table => {
                let between = if document.pulled.is_empty() { "" } else { "\n" };
                out.write(&format!("{between}{}", pulled.table(out.width())))?;
                out.flush()?;
            }
            Plain::Json => {}
        }
        document.pulled.push(pulled);
    }
    if args.format == Plain::Json {
        out.write(&to_json(&document))?;
    }
    out.finish()
}

impl Pulled {
    fn new(snapshot: Snapshot) -> Self {
        let Snapshot { repo, revision, commit, path, files, part } = snapshot;
        let files = files.into_iter().map(|file| PulledFile {
            name: file.name,
            bytes: file.bytes,
            downloaded: file.downloaded,
        });
        Self { repo, revision, commit, path: path.display().to_string(), part, files: files.collect() }
    }

    fn table(&self, width: Option<u16>) -> String {
        let Self { repo, commit, path, files, .. } = self;
        let mut grid = Grid::new(["file", "bytes", "from"], &[0, 2]);
        for PulledFile { name, bytes, downloaded } in files {
            let from = if *downloaded { "the hub" } else { "the cache" };
            grid.row([printable(name).into_owned(), units::count(*bytes), from.to_owned()]);
        }
        let sum = files.iter().map(|file| file.bytes).sum();
        let all = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
        grid.total([all, units::count(sum), String::new()]);
        format!("name     {repo}\ncommit   {commit}\nfolder   {}\n\n{}", printable(path), grid.render(width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SnapshotFile;

    #[test]
    fn a_repository_is_shown_with_its_files() {
        let file = |name: &str, bytes, downloaded| SnapshotFile { name: name.into(), bytes, downloaded };
        let pulled = Pulled::new(Snapshot {
            repo: "org/net".into(),
            revision: "main".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            path: "/cache/snapshots/0123".into(),
            files: vec![file("config.json", 24, false), file("model.safetensors", 40_070, true)],
            part: Some("model.safetensors".into()),
        });
        insta::assert_snapshot!(pulled.table(None), @r"
        name     org/net
        commit   0123456789abcdef0123456789abcdef01234567
        folder   /cache/snapshots/0123

        file                 bytes  from
        --------------------------------------
        config.json             24  the cache
        model.safetensors  40.07 k  the hub
        --------------------------------------
        2 files            40.09 k
        ");
    }
}
