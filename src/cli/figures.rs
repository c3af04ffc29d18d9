//! `report --svg DIR`: figures for papers, each a file that appears when it is complete.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::out;
use crate::report::{Report, figures};
use crate::{Error, Result};

/// Where figures go.
pub(super) struct Figures(PathBuf);

impl Figures {
    /// Figures in `folder`, which is made if it is not there. Called before any work, so that a bad path fails at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is a file of that name; [`Error::Io`] if it cannot be made.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        if folder.exists() && !folder.is_dir() {
            return Err(Error::invalid(format!("--svg {}", folder.display()), "is a file, must be a directory"));
        }
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        Ok(Self(folder.into()))
    }

    /// Writes the figures of `runs`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, runs: &[Report]) -> Result<()> {
        for figure in figures::figures(runs) {
            let path = self.0.join(&figure.name);
            let mut file = out::temporary(&self.0)?;
            file.write_all(figure.svg.as_bytes()).map_err(|error| Error::io(&path, error))?;
            out::persist(file, &path)?;
        }
        Ok(())
    }
}
