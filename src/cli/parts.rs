//! Parts of runs and resumable runs: shards, shared ranges, checkpoints.

use std::path::{Path, PathBuf};

use clap::{Args, value_parser};

use super::out::{persist, temporary};
use crate::engine::Backend;
use crate::input::Dataset;
use crate::measure::{Calibration, Monitor, Saving, Settings, calibrate, calibrate_and_measure, measure_saving};
use crate::measurement::{Checkpoint, Measurement};
use crate::model::Model;
use crate::{Error, Result};

/// Flags of parts and checkpoints.
#[derive(Args, Debug)]
pub struct PartArgs {
    /// Measure part I of N of the inputs; `deadweight merge` adds the parts. Ranges are those of the whole run
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(usize, usize)>,
    /// Take the ranges from a measurement of the same model and format, instead of learning them again
    #[arg(long, value_name = "FILE.dwm")]
    pub calibration: Option<PathBuf>,
    /// Save the counts to FILE during the run, and when it is interrupted; FILE is removed when the run has ended
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Inputs between checkpoints
    #[arg(long, value_name = "M", default_value_t = 256, value_parser = value_parser!(u32).range(1..), requires = "checkpoint")]
    pub checkpoint_every: u32,
    /// Resume from the checkpoint, if there is one
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
}

/// `I/N`, I from 1 to N.
fn shard(text: &str) -> Result<(usize, usize), &'static str> {
    let parts = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    parts
        .filter(|(part, parts)| (1..=*parts).contains(part) && *parts <= 1 << 20)
        .ok_or("give I/N, e.g. 3/16, I from 1 to N")
}

impl PartArgs {
    /// Calibrates and measures according to the flags.
    pub(super) fn measure(
        &self,
        model: &Model,
        backend: &Backend,
        data: &Dataset,
        settings: &Settings,
        monitor: &dyn Monitor,
    ) -> Result<Measurement> {
        let from = self.checkpoint()?;
        if let (None, None, None) = (&self.calibration, &self.checkpoint, &from) {
            return Ok(calibrate_and_measure(model, backend, data, settings, monitor)?.1);
        }
        let calibration = match (&from, &self.calibration) {
            (Some((path, checkpoint)), _) => {
                Calibration::of_measurement(model, settings, &checkpoint.measurement, &path.display().to_string())?
            }
            (None, Some(path)) => {
                let file = path.display().to_string();
                Calibration::of_measurement(model, settings, &Measurement::load(path)?, &file)?
            }
            (None, None) => calibrate(model, backend, data, settings, monitor)?,
        };
        let from = from.map(|(_, checkpoint)| checkpoint);
        let Some(path) = &self.checkpoint else {
            return measure_saving(model, backend, data, &calibration, (from, None), monitor);
        };
        let save = |checkpoint: &Checkpoint| match save(path, &checkpoint.to_bytes()) {
            // The run can still end well; the last checkpoint that could be saved remains.
            Err(error) if !monitor.stop() => {
                tracing::warn!("no checkpoint was saved: {error}");
                Ok(())
            }
            result => result,
        };
        let saving = Saving { every: self.checkpoint_every as usize, save: &save };
        measure_saving(model, backend, data, &calibration, (from, Some(&saving)), monitor)
    }

    /// The checkpoint to resume from, with its path.
    fn checkpoint(&self) -> Result<Option<(PathBuf, Checkpoint)>> {
        let Some(path) = &self.checkpoint else { return Ok(None) };
        let Some((file, bytes)) = existing(path, self.resume)? else { return Ok(None) };
        Ok(Some((path.clone(), Checkpoint::from_bytes(&file, &bytes)?)))
    }

    /// Removes the checkpoint of a run that has ended with its results saved.
    pub(super) fn end(&self) -> Result<()> {
        end(self.checkpoint.as_deref())
    }
}

/// The name and the content of the checkpoint `path`, if it is there, which is right only if the run is to `resume`.
///
/// # Errors
/// [`Error::Invalid`] for one that is not to be resumed, and for what is no file; those of reading, and of a path that cannot be
/// written.
pub(super) fn existing(path: &Path, resume: bool) -> Result<Option<(String, Vec<u8>)>> {
    let file = path.display().to_string();
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::invalid(format!("--checkpoint {file}"), "is no regular file"));
    }
    match std::fs::read(path) {
        Ok(_) if !resume => {
            let detail = "is there already: give --resume to continue from it, or remove it";
            Err(Error::invalid(format!("--checkpoint {file}"), detail))
        }
        Ok(bytes) => Ok(Some((file, bytes))),
        // A path that cannot be written fails now, not after an hour.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => temporary(folder(path)).map(|_| None),
        Err(error) => Err(Error::io(path, error)),
    }
}

/// Removes the checkpoint of a run that has ended with its results saved, if there is one.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn end(checkpoint: Option<&Path>) -> Result<()> {
    match checkpoint {
        Some(path) if path.exists() => std::fs::remove_file(path).map_err(|error| Error::io(path, error)),
        _ => Ok(()),
    }
}

/// The directory of `path`.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes `bytes` to a temporary file and renames it to `path` when everything is on the disk.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;

    let mut file = temporary(folder(path))?;
    file.write_all(bytes).map_err(|error| Error::io(path, error))?;
    persist(file, path)
}
