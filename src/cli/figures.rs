//! `report --svg DIR`: figures for papers, each a file that appears when it is complete.

use std::path::{Path, PathBuf};

use super::out;
use crate::Result;
use crate::report::{Report, figures};

/// Where figures go.
pub(super) struct Figures(PathBuf);

impl Figures {
    /// Figures in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// Those of [`out::directory`].
    pub(super) fn open(folder: &Path) -> Result<Self> {
        out::directory("--svg", folder)?;
        Ok(Self(folder.into()))
    }

    /// Writes the figures of `runs`.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub(super) fn write(&self, runs: &[Report]) -> Result<()> {
        figures::figures(runs)
            .iter()
            .try_for_each(|figure| out::write_into(&self.0, &figure.name, figure.svg.as_bytes()))
    }
}
