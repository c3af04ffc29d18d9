//! Output: a folder of files that appears only when it is complete.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::out;
use crate::{Error, Result};

/// A folder of files that appears when it is complete; a folder that is there takes them then, all at once.
pub(super) struct Folder {
    path: PathBuf,
    is_new: bool,
    /// Where the files are until then: beside a new folder, or in one that is there. That may be the current folder, a link or where
    /// another file system is mounted, none of which can be replaced.
    unfinished: TempDir,
}

impl Folder {
    /// The folder `path`. Called before any work, so that a bad path fails at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `flag` for a file, a folder with something in it, one in no folder, or `-`; [`Error::Io`].
    pub(super) fn open(flag: &str, path: &Path) -> Result<Self> {
        let wrong = |detail: &str| Err(Error::invalid(format!("{flag} {}", path.display()), detail));
        if path == Path::new("-") {
            return wrong("is the standard output, must be a folder");
        }
        let above = path.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
        let is_new = path.symlink_metadata().is_err();
        if is_new && (path.file_name().is_none() || !above.is_dir()) {
            return wrong("is not in an existing folder");
        }
        if !is_new {
            if !path.is_dir() {
                let is_link = !path.exists();
                return wrong(if is_link {
                    "is a link to nothing, must be a folder"
                } else {
                    "is a file, must be a folder"
                });
            }
            let mut entries = std::fs::read_dir(path).map_err(|error| Error::io(path, error))?;
            if entries.next().is_some() {
                return wrong("is not empty; give a new folder, so that files of two exports do not mix");
            }
        }
        let place = if is_new { above } else { path };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".deadweight-").suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let unfinished = builder.tempdir_in(place).map_err(|error| Error::io(place, error))?;
        out::unfinished(unfinished.path());
        Ok(Self { path: path.to_owned(), is_new, unfinished })
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
        let Self { path, is_new, unfinished } = self;
        let failed = |error| Error::io(&path, error);
        let name = unfinished.path().to_owned();
        if is_new {
            std::fs::rename(&name, &path).map_err(failed)?;
            // It has another name now.
            let _ = unfinished.keep();
        } else {
            move_files(&name, &path).map_err(failed)?;
            unfinished.close().map_err(failed)?;
        }
        out::finished(&name);
        Ok(())
    }
}

/// Moves the files in `from` to `to`, a folder of the same file system that has none of these names.
///
/// # Errors
/// Those of moving a file; then those that were moved are deleted.
fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    let mut moved = Vec::new();
    let mut each = || {
        for entry in std::fs::read_dir(from)? {
            let (entry, path) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
            if path.symlink_metadata().is_ok() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another program wrote a file of that name"));
            }
            std::fs::rename(entry, &path)?;
            moved.push(path);
        }
        Ok(())
    };
    let result = each();
    if result.is_err() {
        // The error says what is wrong; another of deleting would say no more.
        moved.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
    result
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
        drop(Folder::open("-o", &path).unwrap());
        assert_eq!((names(above.path()), names(&path)), (vec!["export".into()], vec![]));
        let folder = Folder::open("-o", &path).unwrap();
        folder.write("a", b"1").unwrap();
        assert!(!path.join("a").exists() && Folder::open("-o", &path).is_err());
        folder.finish().unwrap();
        assert_eq!((names(above.path()), names(&path)), (vec!["export".into()], vec!["a".into()]));
        for (at, want) in [
            (path.clone(), "is not empty"),
            (path.join("a"), "is a file"),
            (path.join("none/b"), "is not in an existing folder"),
            (path.join("a/b"), "is not in an existing folder"),
            ("-".into(), "is the standard output, must be a folder"),
        ] {
            let error = Folder::open("-o", &at).err().unwrap();
            assert!(error.exit_code() == 2 && error.to_string().contains(want), "{error}");
        }
        assert_eq!(names(&path), ["a"]);
    }

    #[test]
    fn what_others_wrote_meanwhile_stays() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::open("-o", path.path()).unwrap();
        ["a", "b", "c"].iter().for_each(|name| folder.write(name, b"1").unwrap());
        std::fs::write(path.path().join("b"), "other").unwrap();
        assert_eq!(folder.finish().unwrap_err().exit_code(), 1);
        assert_eq!(
            (names(path.path()), std::fs::read(path.path().join("b")).unwrap()),
            (vec!["b".into()], b"other".into())
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_an_empty_folder_stays_one() {
        let above = tempfile::tempdir().unwrap();
        let (path, link) = (above.path().join("export"), above.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = Folder::open("-o", &link).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("is a link to nothing"), "{error}");
        std::fs::create_dir(&path).unwrap();
        let folder = Folder::open("-o", &link).unwrap();
        folder.write("a", b"1").unwrap();
        folder.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!((names(above.path()), names(&path)), (vec!["export".into(), "link".into()], vec!["a".into()]));
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
