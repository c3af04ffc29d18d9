//! Reports from files: counts, or JSON documents made of them.

use std::path::Path;

use super::scopes::Report;
use crate::measurement::Measurement;
use crate::{Error, Result};

impl Report {
    /// Reads a file of counts (`-o FILE.dwm`) or a document (`--format json`); its content says which it is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`], and [`Error::Malformed`] for what is neither.
    pub fn load(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound {
                what: name.clone(),
                hint: "give a file that `deadweight measure ... -o FILE.dwm` or `--format json` wrote".into(),
            },
            _ => Error::io(path, error),
        })?;
        // Counts begin with the length of their header in 8 bytes, the highest of which is 0; no JSON holds that byte.
        if bytes.get(7) == Some(&0) {
            return Ok(Self::new(&Measurement::from_bytes(&name, &bytes)?));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::malformed(&name, "is neither a file of counts nor a measurement in JSON"))?;
        Self::from_json(&name, text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{document, sample, to_json};
    use super::*;

    #[test]
    fn both_kinds_of_files_are_told_apart_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let json = to_json(&document(&sample::report()));
        let mut measurement = sample::measurement();
        measurement.spread.scopes = vec![Vec::new(); 3];
        for bytes in [measurement.to_bytes(), json.clone().into_bytes()] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(to_json(&document(&Report::load(&path).unwrap())), json);
        }
        for (bytes, want) in
            [(&b"name,n\nconv,1\n"[..], "no measurement in JSON"), (&[0xff; 9], "neither"), (b"", "JSON")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = Report::load(&path).unwrap_err();
            assert!(error.to_string().contains(want) && error.exit_code() == 1, "{error}");
        }
        let error = Report::load(&folder.path().join("none")).unwrap_err();
        assert!(error.exit_code() == 3 && error.hint().is_some(), "{error}");
    }
}
