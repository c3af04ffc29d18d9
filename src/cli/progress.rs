//! Log and progress on stderr, and Ctrl-C.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

use super::args::Common;
use super::out;
use crate::error::exit;
use crate::measure::{Monitor, Stage};
use crate::source::{DownloadMonitor, FetchOptions};

/// Whether Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The first Ctrl-C asks the run to stop, the second ends the process.
pub fn watch_for_interrupts() {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            out::discard_unfinished();
            std::process::exit(exit::INTERRUPTED.into());
        }
        // If stderr is gone there is nobody to report to.
        let _ = writeln!(io::stderr(), "stopping after this batch; Ctrl-C again ends at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!("Ctrl-C will end the program at once: {error}");
    }
}

/// Sends the log to stderr: warnings; nothing if quiet, more if verbose; `RUST_LOG` overrides both.
pub fn start_log(common: Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("deadweight={level}")));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A log that cannot be written must not end the run.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    // An existing logger, as in tests, is kept.
    let _ = log.with_ansi(colour).without_time().with_target(false).try_init();
}

/// A progress bar, if it can be seen, and the check for Ctrl-C.
pub struct Progress {
    visible: bool,
    bar: RefCell<Option<(Stage, ProgressBar)>>,
}

impl Progress {
    /// A bar on stderr, unless quiet or stderr is no terminal.
    pub fn new(common: Common) -> Self {
        Self { visible: !common.quiet && io::stderr().is_terminal(), bar: RefCell::new(None) }
    }
}

impl Monitor for Progress {
    fn progress(&self, stage: Stage, done: usize, total: usize) {
        if !self.visible {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        if bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            let style = ProgressStyle::with_template("{msg:10} {wide_bar} {human_pos}/{human_len} {eta}");
            let new = ProgressBar::new(total as u64).with_style(style.expect("the template is right, as a test shows"));
            new.set_message(match stage {
                Stage::Calibrate => "calibrate",
                Stage::Measure => "measure",
                Stage::Predict => "run",
            });
            if let Some((_, old)) = bar.replace((stage, new)) {
                old.finish_and_clear();
            }
        }
        if let Some((_, bar)) = bar.as_ref() {
            bar.set_position(done as u64);
            if done == total {
                bar.finish_and_clear();
            }
        }
    }

    fn stop(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

/// How downloads are made and watched.
pub fn downloads(common: Common) -> FetchOptions {
    let visible = !common.quiet && io::stderr().is_terminal();
    let monitor = DownloadProgress { visible, bar: Mutex::new(None) };
    FetchOptions { offline: common.offline, verify: false, monitor: Some(Arc::new(monitor)) }
}

/// A bar for each file, if it can be seen, and the check for Ctrl-C.
#[derive(Debug)]
struct DownloadProgress {
    visible: bool,
    bar: Mutex<Option<(String, ProgressBar)>>,
}

impl DownloadMonitor for DownloadProgress {
    fn progress(&self, file: &str, done: u64, total: Option<u64>) {
        if !self.visible {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = bar.as_ref().is_none_or(|(shown, bar)| shown != file || bar.is_finished());
        if is_new && total != Some(done) {
            let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is right, as a test shows");
            // The rate is of this download, not of what an earlier one left.
            let new = ProgressBar::new(total.unwrap_or(0)).with_style(style).with_position(done);
            new.set_message(out::printable(file).into_owned());
            if let Some((_, old)) = bar.replace((file.to_owned(), new)) {
                old.finish_and_clear();
            }
        }
        if let Some((_, bar)) = bar.as_ref().filter(|(shown, _)| shown == file) {
            bar.set_position(done);
            if total == Some(done) {
                bar.finish_and_clear();
            }
        }
    }

    fn stop(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_one_another() {
        let progress = Progress { visible: true, bar: RefCell::new(None) };
        for stage in [Stage::Calibrate, Stage::Measure, Stage::Predict] {
            progress.progress(stage, 0, 2);
            progress.progress(stage, 2, 2);
            let bar = progress.bar.borrow();
            let (shown, bar) = bar.as_ref().unwrap();
            assert_eq!((*shown, bar.position(), bar.is_finished()), (stage, 2, true));
        }
        assert!(!progress.stop());
    }

    #[test]
    fn files_follow_one_another() {
        let progress = DownloadProgress { visible: true, bar: Mutex::new(None) };
        for file in ["a.json", "b.bin"] {
            progress.progress(file, 5, Some(20));
            progress.progress(file, 20, Some(20));
            let bar = progress.bar.lock().unwrap();
            let (shown, bar) = bar.as_ref().unwrap();
            assert_eq!((shown.as_str(), bar.position(), bar.is_finished()), (file, 20, true));
        }
        assert!(!progress.stop());
    }
}
