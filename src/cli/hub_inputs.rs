//! Inputs that are data sets of the hub: downloaded, and from there on files as any other.

use std::path::PathBuf;

use super::args::Common;
use super::progress;
use crate::Result;
use crate::source::{is_hub_data, pull_input};

/// Inputs on this machine.
pub struct Local {
    /// Their paths.
    pub paths: Vec<PathBuf>,
    /// The data sets among them, each with its commit.
    pub from: Vec<String>,
}

/// `paths`, with the files of a data set in place of its name.
///
/// # Errors
/// Those of downloading.
pub fn local(paths: &[PathBuf], common: Common) -> Result<Local> {
    let mut local = Local { paths: vec![], from: vec![] };
    for path in paths {
        match path.to_str().filter(|_| is_hub_data(path)) {
            Some(id) => {
                let (snapshot, files) = pull_input(id, &progress::downloads(common))?;
                let part = snapshot.part.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
                local.from.push(format!("{}{part}", snapshot.name()));
                local.paths.extend(files);
            }
            None => local.paths.push(path.clone()),
        }
    }
    Ok(local)
}
