//! Log and progress on stderr, and Ctrl-C.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar, ProgressState, ProgressStyle};
use tracing_subscriber::EnvFilter;

use super::args::Common;
use super::out;
use super::trace::Trace;
use crate::error::exit;
use crate::measure::{Figures, LayerFigures, Monitor, Stage};
use crate::report::units;
use crate::source::{DownloadMonitor, FetchOptions};

/// Whether Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How often the headline is computed for a bar, and how often the log has a line.
const OFTEN: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(10);

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

/// How far a run is, on a bar or in the log, and the check for Ctrl-C.
pub struct Progress {
    shown: Shown,
    /// How often the headline is asked for.
    every: Duration,
    trace: Option<Arc<Trace>>,
    now: RefCell<Now>,
}

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Bar,
    Log,
    Nowhere,
}

/// The stage that is running.
struct Now {
    stage: Option<Stage>,
    since: Instant,
    bar: Option<ProgressBar>,
    /// Which of several runs it is.
    part: String,
    headline: String,
    asked: Instant,
    logged: Instant,
    said: Instant,
}

impl Progress {
    /// A bar on stderr, or lines in the log where stderr is no terminal and the log is verbose; nothing if quiet.
    pub fn new(common: Common) -> Self {
        let (shown, every) = match (common.quiet, io::stderr().is_terminal(), common.verbose) {
            (false, true, _) => (Shown::Bar, OFTEN),
            (false, false, 1..) => (Shown::Log, SELDOM),
            _ => (Shown::Nowhere, SELDOM),
        };
        Self::of(shown, every)
    }

    fn of(shown: Shown, every: Duration) -> Self {
        let start = Instant::now();
        let (part, headline) = (String::new(), String::new());
        let now =
            Now { stage: None, since: start, bar: None, part, headline, asked: start, logged: start, said: start };
        Self { shown, every, trace: None, now: RefCell::new(now) }
    }

    /// The same, which also tells `trace`.
    pub(super) fn with_trace(self, trace: Option<Arc<Trace>>) -> Self {
        Self { trace, ..self }
    }

    /// What follows is run `which` of `of`, of `name`.
    pub(super) fn part(&self, which: usize, of: usize, name: &str) {
        let mut now = self.now.borrow_mut();
        now.part = format!("[{which}/{of}] {name} ");
        // The next stage has a bar of its own.
        now.stage = None;
    }
}

impl Progress {
    /// What follows is a run at this place of a search.
    pub(super) fn say(&self, text: &str) {
        let mut now = self.now.borrow_mut();
        now.part = format!("{text} ");
        // The next stage has a bar of its own.
        now.stage = None;
        if self.shown == Shown::Log && now.said.elapsed() >= self.every {
            tracing::info!("{text}");
            now.said = Instant::now();
        }
    }
}

impl Now {
    /// Begins `stage` of `total` inputs.
    fn begin(&mut self, stage: Stage, total: usize, shown: Shown) {
        let start = Instant::now();
        (self.stage, self.since, self.logged) = (Some(stage), start, start);
        self.headline.clear();
        let name = match stage {
            Stage::Calibrate => "calibrate",
            Stage::Measure => "measure",
            Stage::Predict => "run",
        };
        let new = (shown == Shown::Bar).then(|| {
            let bar = ProgressBar::new(total as u64).with_style(style());
            bar.set_prefix(format!("{}{name}", self.part));
            bar
        });
        if let Some(old) = std::mem::replace(&mut self.bar, new) {
            old.finish_and_clear();
        }
    }

    /// The line of the log after `done` of `total` inputs.
    fn line(&self, done: usize, total: usize) -> String {
        let seconds = self.since.elapsed().as_secs_f64();
        let rate = done as f64 / seconds;
        let mut line = format!("{}{done} of {total}, {rate:.1}/s", self.part);
        if let (1.., Ok(left)) = (done, Duration::try_from_secs_f64((total - done) as f64 / rate)) {
            line += &format!(", {} left", FormattedDuration(left));
        }
        if !self.headline.is_empty() {
            line += &format!("; {}", self.headline);
        }
        line
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix} {wide_bar} {human_pos}/{human_len} {rate} {eta} left {msg}";
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn must not end the run.
        let _ = write!(to, "{:.1}/s", state.per_sec());
    };
    ProgressStyle::with_template(template).expect("the template is right, as a test shows").with_key("rate", rate)
}

/// `41.2 % ± 0.3 ineffectual, W+A 1.71×`.
fn headline(figures: &Figures) -> String {
    let Figures { ineffectual, half, potential } = figures;
    // So many decimals that the half width has a digit.
    let decimals = match half.map(|half| 100.0 * half) {
        Some(half) if half < 0.05 => 2,
        _ => 1,
    };
    let half = half.map(|half| format!(" ± {:.decimals$}", 100.0 * half)).unwrap_or_default();
    format!("{:.decimals$} %{half} ineffectual, W+A {}×", 100.0 * ineffectual, units::significant(*potential, 3))
}

impl Monitor for Progress {
    fn progress(&self, stage: Stage, done: usize, total: usize) {
        if let Some(trace) = &self.trace {
            trace.enter_stage(stage);
        }
        if self.shown == Shown::Nowhere {
            return;
        }
        let mut now = self.now.borrow_mut();
        if now.stage != Some(stage) {
            now.begin(stage, total, self.shown);
        }
        if self.shown == Shown::Log && now.logged.elapsed() >= self.every {
            tracing::info!("{}", now.line(done, total));
            now.logged = Instant::now();
        }
        if let Some(bar) = &now.bar {
            bar.set_position(done as u64);
            if done == total {
                bar.finish_and_clear();
            }
        }
    }

    fn stop(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }

    fn takes_figures(&self) -> bool {
        self.shown != Shown::Nowhere && self.now.borrow().asked.elapsed() >= self.every
    }

    fn take_figures(&self, figures: &Figures) {
        let mut now = self.now.borrow_mut();
        (now.asked, now.headline) = (Instant::now(), headline(figures));
        if let Some(bar) = &now.bar {
            bar.set_message(now.headline.clone());
        }
    }

    fn takes_layers(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.has_last())
    }

    fn take_layers(&self, layers: &[LayerFigures<'_>]) {
        if let Some(trace) = &self.trace {
            trace.take_layers(layers);
        }
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
        let progress = Progress::of(Shown::Bar, Duration::ZERO);
        progress.part(2, 6, "scenes");
        for (stage, name) in [(Stage::Calibrate, "calibrate"), (Stage::Measure, "measure"), (Stage::Predict, "run")] {
            progress.progress(stage, 0, 2);
            progress.progress(stage, 2, 2);
            let now = progress.now.borrow();
            let bar = now.bar.as_ref().unwrap();
            assert_eq!((now.stage, bar.position(), bar.is_finished()), (Some(stage), 2, true));
            assert_eq!(bar.prefix(), format!("[2/6] scenes {name}"));
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

    #[test]
    fn the_headline_is_asked_for_where_it_is_seen_and_seldom() {
        let figures = Figures { ineffectual: 0.4123, half: Some(0.0031), potential: 1.7056 };
        assert_eq!(headline(&figures), "41.2 % ± 0.3 ineffectual, W+A 1.71×");
        assert_eq!(headline(&Figures { half: None, ..figures }), "41.2 % ineffectual, W+A 1.71×");
        let sure = Figures { half: Some(0.0004), ..figures };
        assert_eq!(headline(&sure), "41.23 % ± 0.04 ineffectual, W+A 1.71×");
        assert!(!Progress::of(Shown::Nowhere, Duration::ZERO).takes_figures());
        assert!(!Progress::of(Shown::Bar, SELDOM).takes_figures());
        let progress = Progress::of(Shown::Log, Duration::ZERO);
        progress.progress(Stage::Measure, 0, 1000);
        assert!(progress.takes_figures());
        progress.take_figures(&figures);
        let mut now = progress.now.borrow_mut();
        now.since = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let line = now.line(100, 1000);
        assert!(line.starts_with("100 of 1000, 10.0/s, 00:01:30 left; 41.2 % ± 0.3 ineffectual"), "{line}");
        assert!(!now.line(0, 1000).contains("left"));
    }
}
