//! Tables of images, in a build that reads none.

use std::path::Path;
use std::sync::Arc;

use super::folders::Classes;
use crate::{Error, Result};

/// There is none.
pub(super) enum Table {}

impl Table {
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn open(path: &Path, _: Option<&Classes>) -> Result<(Self, Option<String>)> {
        let what = format!("{}: Parquet, in a build without it,", path.display());
        Err(Error::unsupported(what, "build with --features parquet"))
    }

    pub fn len(&self) -> usize {
        match *self {}
    }

    pub fn name(&self) -> &str {
        match *self {}
    }

    pub fn label(&self, _: usize) -> Option<u32> {
        match *self {}
    }

    pub fn read(&self, _: usize) -> Result<Arc<[u8]>> {
        match *self {}
    }
}
