//! Output: standard output, or a file that appears only when it is complete.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{NamedTempFile, SpooledTempFile};

use crate::{Error, Result};

/// Name of the standard output in messages.
const STDOUT: &str = "standard output";

/// Unfinished files and folders, to be deleted by code that ends the process without unwinding.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Deletes what is unfinished.
pub fn discard_unfinished() {
    for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // The process is about to end; nobody is left to report to.
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

/// Lets code that ends the process without unwinding delete `path`, a file or a folder.
pub(super) fn unfinished(path: &Path) {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
}

/// No longer.
pub(super) fn finished(path: &Path) {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|unfinished| unfinished != path);
}

/// A file in `folder` that is deleted unless it is persisted.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn temporary(folder: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".deadweight-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(|error| Error::io(folder, error))?;
    unfinished(file.path());
    Ok(file)
}

/// The directory `folder`, which is made if it is not there. Called before any work, so that a bad path fails at once.
///
/// # Errors
/// [`Error::Invalid`] naming `flag` if there is a file of that name, or for `-`; [`Error::Io`] if it cannot be made.
pub(super) fn directory(flag: &str, folder: &Path) -> Result<()> {
    if folder == Path::new("-") {
        return Err(Error::invalid(format!("{flag} -"), "is the standard output, must be a directory"));
    }
    if folder.exists() && !folder.is_dir() {
        return Err(Error::invalid(format!("{flag} {}", folder.display()), "is a file, must be a directory"));
    }
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))
}

/// Writes `bytes` to the file `name` in `folder`, which appears when it is complete.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write_into(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let mut file = temporary(folder)?;
    file.write_all(bytes).map_err(|error| Error::io(&path, error))?;
    persist(file, &path)
}

/// Renames a complete temporary file to `path`.
///
/// # Errors
/// [`Error::Io`]; then no file is left.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let name = file.path().to_owned();
    // Some file systems report a full disk only here.
    file.as_file().sync_all().map_err(|error| Error::io(path, error))?;
    file.persist(path).map_err(|error| Error::io(path, error.error))?;
    finished(&name);
    Ok(())
}

/// Size in bytes from which a buffered document is moved from memory to a file.
const HELD: usize = 1 << 20;

/// An open output. A file appears under its name only after [`Out::finish`].
pub struct Out {
    target: Target,
    /// The buffered document, if it is written only when complete.
    held: Option<SpooledTempFile>,
}

enum Target {
    Stdout,
    /// A terminal, pipe or device, which must not be replaced by a file.
    Special(PathBuf, File),
    File(PathBuf, NamedTempFile),
}

impl Out {
    /// Opens `path`, or standard output for none or `-`. Called before any work, so that a bad path fails at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the path is a directory or in none; [`Error::Io`] if it cannot be written.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        Ok(Self { target: Target::open("-o", path)?, held: None })
    }

    /// The same for a document that is useless if incomplete: nothing is written before [`Out::finish`], not even to standard
    /// output. Messages name `flag`.
    ///
    /// # Errors
    /// As [`Out::open`].
    pub fn whole(flag: &str, path: Option<&Path>) -> Result<Self> {
        let target = Target::open(flag, path)?;
        let held = (!matches!(target, Target::File(..))).then(|| SpooledTempFile::new(HELD));
        Ok(Self { target, held })
    }

    /// Width of the terminal in columns, if the output is one.
    pub fn width(&self) -> Option<u16> {
        if !matches!(self.target, Target::Stdout) || !io::stdout().is_terminal() {
            return None;
        }
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|&c| c > 0);
        columns.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0))
    }

    /// Whether a terminal reads it.
    pub fn is_terminal(&self) -> bool {
        match &self.target {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Special(_, file) => file.is_terminal(),
            Target::File(..) => false,
        }
    }

    /// Writes `text`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.write_bytes(text.as_bytes())
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.held {
            Some(held) => held.write_all(bytes).map_err(|error| Error::io(std::env::temp_dir(), error)),
            None => self.target.apply(|to| to.write_all(bytes)),
        }
    }

    /// Makes what was written visible to readers.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<()> {
        self.target.apply(|to| to.flush())
    }

    /// Finishes the output; a file gets its name.
    ///
    /// # Errors
    /// [`Error::Io`] if the last bytes cannot be written; then no file is left.
    pub fn finish(mut self) -> Result<()> {
        if let Some(mut held) = self.held {
            held.rewind().map_err(|error| Error::io(std::env::temp_dir(), error))?;
            self.target.apply(|to| io::copy(&mut held, to).map(|_| ()))?;
        }
        self.target.apply(|to| to.flush())?;
        match self.target {
            Target::File(path, file) => persist(file, &path),
            Target::Stdout | Target::Special(..) => Ok(()),
        }
    }
}

impl Target {
    fn open(flag: &str, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Stdout) };
        let failed = |error: io::Error| Error::io(path, error);
        let wrong = |detail: &str| Error::invalid(format!("{flag} {}", path.display()), detail);
        let existing = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(wrong("is a directory, must be a file")),
            Ok(metadata) => {
                // Renaming over a file needs no permission to write to it, so that permission is checked here.
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                if !metadata.is_file() {
                    return Ok(Self::Special(path.into(), file));
                }
                Some(metadata.permissions())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        // A symbolic link stays one: its target is replaced.
        let target = if existing.is_some() { path.canonicalize().map_err(failed)? } else { path.to_owned() };
        let folder = match target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if target.file_name().is_none() || !folder.is_dir() {
            return Err(wrong("is not in an existing directory"));
        }
        let file = temporary(folder)?;
        if let Some(permissions) = existing {
            file.as_file().set_permissions(permissions).map_err(failed)?;
        }
        Ok(Self::File(target, file))
    }

    /// Applies `write` to the destination; an error names the destination.
    fn apply(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        match self {
            Self::Stdout => write(&mut io::stdout()).map_err(|error| Error::io(STDOUT, error)),
            Self::Special(path, file) => write(file).map_err(|error| Error::io(path.as_path(), error)),
            Self::File(path, file) => write(file).map_err(|error| Error::io(path.as_path(), error)),
        }
    }
}

/// Whether no two flags name one file.
///
/// # Errors
/// [`Error::Invalid`] naming two that do.
pub(super) fn distinct(outputs: &[(&str, Option<&Path>)]) -> Result<()> {
    // A file that is not there yet is told by its directory.
    let place = |path: &Path| match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), ..) => path,
        (_, Some(folder), Some(name)) if folder != Path::new("") => {
            folder.canonicalize().map_or_else(|_| path.to_owned(), |folder| folder.join(name))
        }
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    };
    let given: Vec<(&str, &Path)> = outputs.iter().filter_map(|(flag, path)| Some((*flag, (*path)?))).collect();
    for (i, (flag, path)) in given.iter().enumerate() {
        let is_special = std::fs::metadata(path).is_ok_and(|about| !about.is_file());
        let other = given[..i].iter().find(|(_, other)| place(other) == place(path) && !is_special);
        if let Some((other, _)) = other {
            let (name, mend) = (path.display(), "is where the other goes too: give another file");
            let other = if *path == Path::new("-") { "the standard output" } else { other };
            return Err(Error::invalid(format!("{flag} {name}"), mend.replace("the other", other)));
        }
    }
    Ok(())
}

/// Whether `error` means that the reader of the standard output has closed it.
pub fn is_reader_gone(error: &Error) -> bool {
    matches!(error, Error::Io { path, source }
        if path == Path::new(STDOUT) && source.kind() == io::ErrorKind::BrokenPipe)
}

/// `text` with control characters escaped: names from files must not control a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n';
    if !text.contains(steers) {
        return text.into();
    }
    let escape = |c: char| if steers(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        std::fs::write(&path, "old").unwrap();
        let mut out = Out::open(Some(&path)).unwrap();
        out.write("new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()).len(), 2);
        out.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["out.json"]);
        let mut out = Out::open(Some(&path)).unwrap();
        out.write("half").unwrap();
        drop(out);
        assert_eq!(names(folder.path()), ["out.json"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[cfg(unix)]
    #[test]
    fn a_whole_document_is_written_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let written = |finish: bool| {
            let path = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            // A pipe that is also open for reading can be written without blocking.
            let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let mut out = Out::whole("-o", Some(&path)).unwrap();
            out.write("half").unwrap();
            if finish {
                out.write(" and half").unwrap();
                out.finish().unwrap();
            }
            writeln!(reader, ".").unwrap();
            std::fs::remove_file(&path).unwrap();
            let mut line = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(reader), &mut line).unwrap();
            line
        };
        assert_eq!([written(false), written(true)], [".\n", "half and half.\n"]);
    }

    #[test]
    fn bad_paths_fail_at_once_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| Out::open(Some(path)).err().map(|error| (error.exit_code(), error.to_string()));
        let (code, text) = message(folder.path()).unwrap();
        assert!(code == 2 && text.ends_with("is a directory, must be a file"), "{text}");
        let (code, text) = message(&folder.path().join("no/out.csv")).unwrap();
        assert!(code == 2 && text.ends_with("is not in an existing directory"), "{text}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(message(&file.join("out")).is_some());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_and_links_and_permissions_kept() {
        use std::os::unix::fs::PermissionsExt;
        let mut out = Out::open(Some(Path::new("/dev/null"))).unwrap();
        out.write("gone").unwrap();
        out.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut out = Out::open(Some(&link)).unwrap();
        out.write("new").unwrap();
        out.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn only_a_closed_standard_output_is_a_reader_gone() {
        let broken = |path: &str| Error::io(path, io::ErrorKind::BrokenPipe.into());
        assert!(is_reader_gone(&broken(STDOUT)));
        assert!(!is_reader_gone(&broken("fifo")));
        assert!(!is_reader_gone(&Error::io(STDOUT, io::ErrorKind::StorageFull.into())));
        assert!(!is_reader_gone(&Error::Interrupted));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31mb\nc\t"), "a\\u{1b}[31mb\nc\\t");
        assert_eq!(printable("naïve 数"), "naïve 数");
    }
}
