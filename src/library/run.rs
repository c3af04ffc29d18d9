//! A measurement in the hands of a program: its figures, its file, its tables.

use std::io::Write;
use std::path::Path;

use crate::measurement::Measurement;
use crate::metrics::{self, Cell, Fraction, Metric, Value, Which};
use crate::report::{self, Format, Report, Row, Scope, rows};
use crate::tally::Padding;
use crate::{Error, Result};

/// A measurement: exact counts of every layer, and every figure that follows from them. `Send` and `Sync`.
///
/// ```
/// use deadweight::prelude::*;
///
/// let model = Model::load("digits").open()?;
/// let run = model.measure(Inputs::built_in()).limit(8).run()?;
/// let layer = run.layer("conv1").expect("digits has it");
/// assert!(layer.number("a.zeros")?.expect("it has activations") < 0.5);
///
/// let path = std::env::temp_dir().join(format!("deadweight-doc-{}.dwm", std::process::id()));
/// run.save(&path)?;
/// assert_eq!(Run::load(&path)?.to_bytes(), run.to_bytes());
/// # std::fs::remove_file(path).expect("it was saved");
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Run {
    measurement: Measurement,
    report: Report,
    /// Metrics that the list does not have.
    own: Vec<&'static Metric>,
}

impl Run {
    pub(super) fn new(measurement: Measurement) -> Self {
        Self { report: Report::new(&measurement), measurement, own: Vec::new() }
    }

    /// Reads what [`Run::save`], or `deadweight measure -o FILE.dwm`, wrote.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] for what is no measurement, or is cut short.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Measurement::load(path).map(Self::new)
    }

    /// Writes the counts to a file, which appears only when it is complete.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |error| Error::io(path, error);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(&self.to_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(path).map(drop).map_err(|error| Error::io(path, error.error))
    }

    /// The bytes of its file: equal measurements give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.measurement.to_bytes()
    }

    /// Both as one: over the inputs of both.
    ///
    /// # Errors
    /// [`Error::Invalid`] saying in what the two differ, if they are not parts of one run, or have an input in common.
    pub fn merged(&self, other: &Self) -> Result<Self> {
        let mut all = self.measurement.clone();
        all.add(&other.measurement, "the other measurement")?;
        Ok(Self::new(all).with_metrics(&self.own))
    }

    /// The same counts with these metrics too: those of one's own, which the list does not have.
    #[must_use]
    pub fn with_metrics(mut self, own: &[&'static Metric]) -> Self {
        self.own.extend(own);
        let all: Vec<&Metric> = metrics::all().chain(self.own.iter().copied()).collect();
        self.report = Report::of(&self.measurement, &all);
        self
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.measurement.provenance.model.name
    }

    /// Inputs that were counted.
    pub fn inputs(&self) -> u64 {
        self.measurement.inputs
    }

    /// What is to be known of the run beside its figures, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.report.provenance.notes
    }

    /// The figures of the network: its layers' sums.
    pub fn network(&self) -> Figures<'_> {
        Figures { scope: self.report.network(), own: &self.own }
    }

    /// The figures of each layer, in the order of the network.
    pub fn layers(&self) -> impl Iterator<Item = Figures<'_>> {
        self.report.layers().map(|scope| Figures { scope, own: &self.own })
    }

    /// Those of the layer called `name`.
    pub fn layer(&self, name: &str) -> Option<Figures<'_>> {
        self.layers().find(|layer| layer.name() == name)
    }

    /// Every number, one a row, as CSV and Parquet hold them.
    pub fn rows(&self) -> Vec<Row> {
        rows(&self.report)
    }

    /// The bytes of a format: `table`, `json`, `csv`, `md` or `parquet`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a count that the format cannot hold.
    pub fn render(&self, format: Format) -> Result<Vec<u8>> {
        let columns = report::columns::default(report::counted(&self.report.provenance));
        format.render(&self.report, &columns, None)
    }

    /// Its document, of which `deadweight schema` prints the JSON Schema.
    pub fn to_json(&self) -> String {
        report::to_json(&report::document(&self.report))
    }
}

impl std::fmt::Display for Run {
    /// The table, a row a layer.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.render(Format::Table).map_err(|_| std::fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&table))
    }
}

/// The figures of a layer or of the network.
///
/// ```
/// use deadweight::prelude::*;
///
/// let run = Model::load("digits").open()?.measure(Inputs::built_in()).limit(4).run()?;
/// let worst = run.layers().map(|layer| Ok((layer.potential("W+A")?.ratio(), layer.name().to_owned())));
/// let mut worst = worst.collect::<Result<Vec<_>>>()?;
/// worst.sort_by(|a, b| b.0.total_cmp(&a.0));
/// assert!(worst[0].0 >= run.network().potential("W+A")?.ratio());
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    scope: &'a Scope,
    own: &'a [&'static Metric],
}

/// Multiply-accumulates by what makes them ineffectual, padding counted; they add up to `dense`.
///
/// ```
/// use deadweight::prelude::*;
///
/// let run = Model::load("digits").open()?.measure(Inputs::built_in()).limit(4).run()?;
/// let m = run.network().macs()?;
/// assert_eq!(m.dense, m.effectual + m.zero_activation + m.zero_weight + m.zero_both + m.padding);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Macs {
    /// All of them.
    pub dense: u128,
    /// Neither operand is zero.
    pub effectual: u128,
    /// Only the activation is zero.
    pub zero_activation: u128,
    /// Only the weight is zero.
    pub zero_weight: u128,
    /// Both are.
    pub zero_both: u128,
    /// The activation is padding.
    pub padding: u128,
}

impl Macs {
    /// Share of the MACs that have a zero operand, 0 to 1.
    pub fn ineffectual_share(&self) -> f64 {
        1.0 - self.effectual as f64 / self.dense as f64
    }
}

/// A potential: dense work over the work left.
///
/// ```
/// use deadweight::prelude::*;
///
/// let run = Model::load("digits").open()?.measure(Inputs::built_in()).run()?;
/// let skipped = run.network().potential("W+A")?;
/// let (low, high) = skipped.interval95.expect("of several inputs");
/// assert!(low < skipped.ratio() && skipped.ratio() < high);
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Work {
    /// Dense work.
    pub baseline: u128,
    /// Work left.
    pub work: u128,
    /// The 95 % interval of their ratio over inputs like these, where it is known: low, high.
    pub interval95: Option<(f64, f64)>,
}

impl Work {
    /// Dense work over work left: how many times faster it could be at most. Infinite where no work is left.
    pub fn ratio(&self) -> f64 {
        self.baseline as f64 / self.work as f64
    }
}

impl<'a> Figures<'a> {
    /// The layer's name; `network` for its sums.
    pub fn name(&self) -> &'a str {
        &self.scope.layer
    }

    /// The layer's kind; nothing for the network.
    pub fn kind(&self) -> &'a str {
        &self.scope.kind
    }

    /// The metric `name`: of activations, weights or outputs with the letter before it, `a.zeros`, `w.width`; a potential also by its
    /// short name, `W+A`. None where it has no value here.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that no metric has.
    pub fn value(&self, name: &str) -> Result<Option<&'a Value>> {
        Ok(self.cell(name)?.map(|cell| &cell.value))
    }

    /// The one number that stands for it, padding counted, if one does.
    ///
    /// # Errors
    /// As [`Figures::value`].
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.value(name)?.and_then(Value::number))
    }

    /// The potential `name`, `W+A` or `potential.W+A`, padding counted.
    ///
    /// # Errors
    /// As [`Figures::value`], and for what is no potential or was not counted.
    pub fn potential(&self, name: &str) -> Result<Work> {
        match self.cell(name)? {
            Some(Cell { value: Value::Work([with, _]), intervals: [interval, _], .. }) => Ok(Work {
                baseline: with.numerator,
                work: with.denominator,
                interval95: interval.map(|interval| (interval.low, interval.high)),
            }),
            Some(_) => Err(Error::invalid(name, "is no potential; `deadweight explain` lists them")),
            None => Err(Error::invalid(name, format!("has no value for {}: it was not counted", self.name()))),
        }
    }

    /// Its MACs by class.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it was read from a file that does not have them.
    pub fn macs(&self) -> Result<Macs> {
        let of = |name: &str| match self.value(name)? {
            Some(Value::Count(count)) => Ok(*count),
            Some(Value::Work(modes)) => Ok(modes[Padding::With as usize].numerator),
            Some(Value::Ratio(Fraction { numerator, .. })) => Ok(*numerator),
            _ => Err(Error::invalid(name, format!("has no value for {}", self.name()))),
        };
        Ok(Macs {
            dense: of("macs")?,
            effectual: of("macs.effectual")?,
            zero_activation: of("macs.zero_activation")?,
            zero_weight: of("macs.zero_weight")?,
            zero_both: of("macs.zero_both")?,
            padding: of("macs.padding")?,
        })
    }

    fn cell(&self, name: &str) -> Result<Option<&'a Cell>> {
        let lettered = Which::ALL
            .into_iter()
            .find_map(|which| Some((which, name.strip_prefix(which.letter())?.strip_prefix('.')?)));
        let (operand, bare) = lettered.map_or((None, name), |(which, bare)| (Some(which), bare));
        let is = |metric: &Metric| metric.name == bare || metric.name.strip_prefix("potential.") == Some(bare);
        let found = self.scope.cells.iter().find(|cell| is(cell.metric) && cell.operand == operand);
        let known = || self.own.iter().copied().find(|metric| is(metric));
        match (found, metrics::find(bare).or_else(known)) {
            (Some(cell), _) => Ok(Some(cell)),
            (None, Some(metric)) if metric.is_of_operands() && operand.is_none() => {
                Err(Error::invalid(name, format!("is of operands: say a.{bare} or w.{bare}")))
            }
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Error::invalid(name, "is no metric; `deadweight explain` lists them")),
        }
    }
}
