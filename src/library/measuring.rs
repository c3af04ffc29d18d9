//! Measuring a model, from a program.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use super::inputs::Inputs;
use super::model::Model;
use super::run::Run;
use super::session::backend;
use crate::format::Formats;
use crate::kernels::count::Encoder;
use crate::measure::{Monitor, Settings, Stage, calibrate_and_measure};
use crate::metrics::select;
use crate::tally::Statistics;
use crate::{Error, Result};

/// Called with the inputs done and their number.
type OnProgress = Box<dyn FnMut(usize, usize) -> ControlFlow<()> + Send>;

/// A measurement to be made: see [`Model::measure`].
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let run = model.measure(Inputs::built_in()).limit(8).threads(1).run()?;
/// let macs = run.network().macs()?;
/// assert_eq!(macs.dense, 8 * model.layers().iter().map(|layer| u128::from(layer.macs)).sum::<u128>());
/// assert!(macs.ineffectual_share() > 0.4);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[must_use = "run() measures"]
pub struct Measuring {
    model: Model,
    inputs: Inputs,
    settings: Settings,
    format: Option<Formats>,
    threads: Option<usize>,
    on_progress: Option<OnProgress>,
    problem: Option<Error>,
}

impl Measuring {
    pub(super) fn new(model: Model, inputs: Inputs) -> Self {
        let settings = Settings::default();
        Self { model, inputs, settings, format: None, threads: None, on_progress: None, problem: None }
    }

    /// Only the first `inputs`.
    pub fn limit(mut self, inputs: usize) -> Self {
        self.settings.limit = Some(inputs);
        self
    }

    /// Threads; all that this process may use by default. No count depends on them.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Inputs that run together; by default 8, or fewer where their values would outgrow the caches. No count depends on it.
    pub fn batch(mut self, inputs: usize) -> Self {
        (self.settings.batch, self.settings.batch_may_be_less) = (inputs.max(1), false);
        self
    }

    /// Inputs from which the ranges of activations are learned, 32 by default.
    pub fn calibrate(mut self, inputs: usize) -> Self {
        self.settings.calibrate = inputs.max(1);
        self
    }

    /// In which numbers operands are counted: `fixed16` by default, `fixed8`, `int8`, `bf16`, `stored`, … as the command line names
    /// them.
    pub fn number_format(mut self, name: &str) -> Self {
        match name.parse() {
            Ok(format) => self.format = Some(format),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Whether widths, ones and terms of values are counted, as they are by default; without them zeros and widths of groups are, and
    /// a run is faster.
    pub fn terms(mut self, count: bool) -> Self {
        self.settings.statistics = if count { Statistics::Terms } else { Statistics::Values };
        self
    }

    /// Counts how often each code is seen as well, for metrics of one's own; [`Measuring::metrics`] sees to it for those that there are.
    pub fn codes(mut self) -> Self {
        self.settings.statistics = Statistics::Full;
        self
    }

    /// By which encoder the terms of potentials are counted: `naf` by default, `popcount`, `booth4` or `runs`.
    pub fn encoder(mut self, name: &str) -> Self {
        match Encoder::from_name(name) {
            Some(encoder) => self.settings.encoder = encoder,
            None => {
                let known = Encoder::ALL.map(Encoder::name).join(", ");
                self.fail(Error::invalid("encoder", format!("{name} is none: there are {known}")));
            }
        }
        self
    }

    /// Counts what these metrics need as well: names, first words of several, or `all`.
    pub fn metrics<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        for name in names {
            let selection = select(name);
            if selection.metrics.is_empty() {
                self.fail(Error::invalid("metrics", format!("{name} is no metric; `deadweight explain` lists them")));
            }
            let needs = selection.metrics.iter().map(|metric| metric.needs.level());
            self.settings.statistics = needs.fold(self.settings.statistics, Statistics::max);
            self.settings.extra.extend(selection.extras());
        }
        self.settings.extra.sort_unstable();
        self.settings.extra.dedup();
        self
    }

    /// Only layers whose name this regular expression matches.
    pub fn layers(mut self, pattern: &str) -> Self {
        match regex::Regex::new(pattern) {
            Ok(pattern) => self.settings.layers = Some(pattern),
            Err(error) => self.fail(Error::invalid("layers", error.to_string())),
        }
        self
    }

    /// Calls `each` now and then with the inputs done and their number; [`ControlFlow::Break`] ends the run with
    /// [`Error::Interrupted`].
    pub fn on_progress(mut self, each: impl FnMut(usize, usize) -> ControlFlow<()> + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(each));
        self
    }

    /// Measures. It takes the time of the whole run: call it on a thread of its own from asynchronous code, as it is `Send`.
    ///
    /// # Errors
    /// Those of what was asked for: names that do not exist, inputs that are not for the model or cannot be decoded;
    /// [`Error::NotFinite`] for NaN or infinity; [`Error::Interrupted`].
    pub fn run(self) -> Result<Run> {
        let Self { model, inputs, mut settings, format, threads, on_progress, problem } = self;
        if let Some(problem) = problem {
            return Err(problem);
        }
        settings.format = Settings::format_of(&model.inner, format)?;
        let data = inputs.dataset(&model.inner)?;
        let monitor = Shown { each: RefCell::new(on_progress), stopped: Cell::new(false) };
        let backend = backend(&model, threads);
        let (_, measurement) = calibrate_and_measure(&model.inner, &backend, &data, &settings, &monitor)?;
        match measurement.inputs {
            0 => Err(Error::invalid("inputs", "none was measured")),
            _ => Ok(Run::new(measurement)),
        }
    }

    /// Keeps the first problem.
    fn fail(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }
}

/// Hands progress to a closure.
struct Shown {
    each: RefCell<Option<OnProgress>>,
    stopped: Cell<bool>,
}

impl Monitor for Shown {
    fn progress(&self, stage: Stage, done: usize, total: usize) {
        if let (Stage::Measure, Some(each)) = (stage, &mut *self.each.borrow_mut()) {
            self.stopped.set(self.stopped.get() || each(done, total).is_break());
        }
    }

    fn stop(&self) -> bool {
        self.stopped.get()
    }
}
