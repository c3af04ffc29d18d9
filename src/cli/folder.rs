//! Output: a folder of files that appears only when it is complete.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::out;
use crate::{Error, Result};

/// A folder of files that appears when it is complete.
pub(super) struct Folder {
    path: PathBuf,
    /// Where the files are until then.
    unfinished: TempDir,
}

impl Folder {
    /// The folder `path`. Called before any work, so that a bad path fails at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `flag` for a file, a folder with something in it, or one in no folder; [`Error::Io`].
    pub(super) fn open(flag: &str, path: &Path) -> Result<Self> {
        let wrong = |detail: &str| Err(Error::invalid(format!("{flag} {}", path.display()), detail));
        let above = path.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
        if path.exists() && !path.is_dir() {
            return wrong("is a file, must be a folder");
        }
        if path.is_dir() {
            let mut entries = std::fs::read_dir(path).map_err(|error| Error::io(path, error))?;
            if entries.next().is_some() {
                return wrong("is not empty; give a new folder, so that files of two exports do not mix");
            }
        } else if path.file_name().is_none() || !above.is_dir() {
            return wrong("is not in an existing folder");
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".deadweight-").suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let unfinished = builder.tempdir_in(above).map_err(|error| Error::io(above, error))?;
        out::unfinished(unfinished.path());
        Ok(Self { path: path.to_owned(), unfinished })
    }

    /// Writes the file `name`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let failed = |error| Error::io(self.path.join(name), error);
        let mut file = File::create_new(self.unfinished.path().join(name)).map_err(failed)?;
        // Some file systems report a full disk only at the end.
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`]; then nothing is left.
    pub(super) fn finish(self) -> Result<()> {
        let name = self.unfinished.path().to_owned();
        // An empty folder is replaced.
        std::fs::rename(&name, &self.path).map_err(|error| Error::io(&self.path, error))?;
        out::finished(&name);
        // It has another name now.
        let _ = self.unfinished.keep();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_when_it_is_complete_and_not_before() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("export");
        let folder = Folder::open("-o", &path).unwrap();
        folder.write("a", b"1").unwrap();
        assert!(!path.exists() && folder.write("a", b"2").is_err());
        drop(folder);
        assert_eq!(names(above.path()), [""; 0]);
        // An empty folder takes the files.
        std::fs::create_dir(&path).unwrap();
        let folder = Folder::open("-o", &path).unwrap();
        folder.write("a", b"1").unwrap();
        folder.finish().unwrap();
        assert_eq!((names(above.path()), names(&path)), (vec!["export".into()], vec!["a".into()]));
        for (at, want) in [
            (path.clone(), "is not empty"),
            (path.join("a"), "is a file"),
            (path.join("none/b"), "is not in an existing folder"),
            (path.join("a/b"), "is not in an existing folder"),
        ] {
            let error = Folder::open("-o", &at).err().unwrap();
            assert!(error.exit_code() == 2 && error.to_string().contains(want), "{error}");
        }
        assert_eq!(names(&path), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let above = tempfile::tempdir().unwrap();
        let plain = above.path().join("plain");
        std::fs::create_dir(&plain).unwrap();
        let path = above.path().join("export");
        Folder::open("-o", &path).unwrap().finish().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
