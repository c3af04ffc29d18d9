//! `deadweight study`: a network pruned, or its activations cut, level by level.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, NumberArgs};
use super::levels::Levels;
use super::out::{Out, directory, write_into};
use super::parsers::{PruneLevel, column, levels, prune_level};
use super::progress::Progress;
use super::setup;
use super::study_table::{Level, Study, StudyFormat};
use crate::engine::Backend;
use crate::graph::pruned::{self, Sparsity, prunable};
use crate::input::Dataset;
use crate::measure::{Settings, Thresholds};
use crate::metrics::Needs;
use crate::model::Model;
use crate::report::Report;
use crate::report::columns::Column;
use crate::study::Judge;
use crate::tally::{Extra, Statistics};
use crate::{Error, Result};

/// Arguments of `study`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  deadweight study prune digits --levels 0,50%,90%
  deadweight study threshold verses --levels 30%,60% --format csv")]
pub struct StudyArgs {
    /// What is changed.
    #[command(subcommand)]
    pub what: What,
}

/// What a study changes.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Set the weights of smallest magnitude to zero: zeros, potentials, traffic and the task's figure by level
    #[command(after_help = "\
Examples:
  deadweight study prune digits
  deadweight study prune digits --levels 0,2:4,4:8 --format json
  deadweight study prune resnet20.safetensors cifar/ --arch resnet20-cifar --levels 50%,70%,90% --scope global -o levels/")]
    Prune(Box<PruneArgs>),
    /// Set activations of small magnitude to zero: the same by level
    #[command(after_help = "\
Examples:
  deadweight study threshold digits
  deadweight study threshold verses --levels 10%..50% --columns a.zeros,A,Ae -o levels/")]
    Threshold(Box<ThresholdStudyArgs>),
}

/// Arguments of `study prune`.
#[derive(Args, Debug)]
pub struct PruneArgs {
    /// Levels: 0 (the network as it is), shares of the weights (50%, 87.5%), or N:M, at most N of each M along the reduction
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', default_value = "0,50%,70%,90%", value_parser = prune_level)]
    pub levels: Vec<PruneLevel>,
    /// Among which weights the smallest of a share are chosen
    #[arg(long, value_enum, default_value_t)]
    pub scope: ScopeName,
    /// What all studies have.
    #[command(flatten)]
    pub all: AllArgs,
}

/// Arguments of `study threshold`.
#[derive(Args, Debug)]
pub struct ThresholdStudyArgs {
    /// Levels: shares of each layer's inputs that are set to zero where they are learned; 10%..90% is each ten from 10 to 90. The
    /// network as it is comes first
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', default_value = "10%..90%", value_parser = levels)]
    pub levels: Vec<Vec<u32>>,
    /// What all studies have.
    #[command(flatten)]
    pub all: AllArgs,
}

/// Among which weights the smallest are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ScopeName {
    /// Those of each layer
    #[default]
    Layer,
    /// Those of all layers together
    Global,
}

/// Flags of all studies.
#[derive(Args, Debug)]
pub struct AllArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Only layers whose name matches: others are neither changed nor counted
    #[arg(long, value_name = "REGEX")]
    pub layers: Option<regex::Regex>,
    /// In which numbers.
    #[command(flatten)]
    pub numbers: NumberArgs,
    /// Columns of the table, as those of `measure` [default: zeros, potentials and traffic]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = column)]
    pub columns: Vec<Column>,
    /// How the table is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: StudyFormat,
    /// Directory for the counts of each level, a .dwm file each
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// By which engine.
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// The columns unless others are chosen.
const COLUMNS: [&str; 13] = [
    "a.zeros",
    "w.zeros",
    "potential.A",
    "potential.W",
    "potential.W+A",
    "potential.Ap.g16",
    "potential.Ae",
    "potential.We+Ae",
    "potential.W+Ae",
    "a.traffic.zvc",
    "w.traffic.zvc",
    "a.traffic.group",
    "w.traffic.group",
];

/// Measures the network level by level; `given` is what the line gives.
pub(super) fn run(args: &StudyArgs, common: Common, given: &[String]) -> Result<()> {
    let (name, all) = match &args.what {
        What::Prune(args) => ("prune", &args.all),
        What::Threshold(args) => ("threshold", &args.all),
    };
    let names = match &args.what {
        What::Prune(args) => {
            args.check_scope(given)?;
            args.distinct().iter().map(ToString::to_string).collect()
        }
        What::Threshold(args) => args.names(),
    };
    let mut out = Out::open(None)?;
    all.output.as_deref().map_or(Ok(()), |folder| new_files(folder, name, &names))?;
    let (model, backend, data) = setup::job(&all.model, &all.inputs, &all.backend, common)?;
    let progress = Progress::new(common);
    let feeding = setup::feeding(&all.inputs, &all.backend.engine);
    let model = setup::in_integers(model, &all.model, &backend, &data, &feeding, &progress)?;
    let columns = if all.columns.is_empty() {
        COLUMNS.iter().map(|name| Column::parse(name).expect("a column")).collect()
    } else {
        all.columns.clone()
    };
    let needs: Vec<Needs> = columns.iter().flat_map(Column::needs).collect();
    let statistics = needs.iter().map(|needs| needs.level()).fold(feeding.statistics, Statistics::max);
    let extra: BTreeSet<Extra> = needs.into_iter().filter_map(Needs::extra).collect();
    let extra = extra.into_iter().collect();
    let feeding = Settings { layers: all.layers.clone(), statistics, extra, ..feeding };
    let settings = setup::in_numbers(&all.numbers, &model, feeding)?;
    let job = Job {
        all,
        common,
        backend: &backend,
        data: &data,
        settings: &settings,
        progress: &progress,
        columns: &columns,
    };
    let study = match &args.what {
        What::Prune(args) => {
            setup::learns(&settings, given)?;
            job.study(name, &model, &names, pruning(&model, args)?)?
        }
        What::Threshold(args) => job.study(name, &model, &names, cutting(&model, args, &job)?)?,
    };
    out.write(&study.text(all.format, &columns, out.width()))?;
    out.finish()
}

/// The file of the counts of `level`.
fn file_name(study: &str, level: &str) -> String {
    format!("{study}-{}.dwm", level.trim_end_matches('%').replace(':', "of"))
}

/// Makes `folder`, which is to have none of the files of `levels` yet.
///
/// # Errors
/// [`Error::Invalid`] for the standard output, a file, and a folder that has one of them; [`Error::Io`].
fn new_files(folder: &Path, study: &str, levels: &[String]) -> Result<()> {
    if folder == Path::new("-") {
        return Err(Error::invalid("-o -", "is the standard output, must be a directory: each level has a file"));
    }
    let mut files = levels.iter().map(|level| file_name(study, level));
    if let Some(file) = files.find(|file| folder.join(file).exists()) {
        let detail = format!("has {file} already: give another directory, or remove what an earlier study left there");
        return Err(Error::invalid(format!("-o {}", folder.display()), detail));
    }
    directory("-o", folder)
}

impl PruneArgs {
    /// Each level once.
    fn distinct(&self) -> Vec<PruneLevel> {
        let mut levels = Vec::new();
        for level in &self.levels {
            if !levels.contains(level) {
                levels.push(*level);
            }
        }
        levels
    }

    /// Checks that a scope that the line gives is one of shares.
    fn check_scope(&self, given: &[String]) -> Result<()> {
        let is_share = |level: &PruneLevel| matches!(level.sparsity(), Some(Sparsity::Share(_)));
        if given.iter().any(|flag| flag == "--scope") && !self.levels.iter().any(is_share) {
            return Err(Error::invalid("--scope", "is of shares, as 50%, and --levels has none: leave it out"));
        }
        Ok(())
    }
}

impl ThresholdStudyArgs {
    /// Each level above 0 once, in order.
    fn distinct(&self) -> Vec<u32> {
        let levels: BTreeSet<u32> = self.levels.iter().flatten().copied().collect();
        levels.into_iter().collect()
    }

    /// The levels as the user writes them, with that of the network as it is.
    fn names(&self) -> Vec<String> {
        let above = self.distinct().into_iter().map(|level| format!("{level}%"));
        std::iter::once("0".to_owned()).chain(above).collect()
    }
}

/// A network at a level.
struct Changed {
    /// None for the network as it is.
    model: Option<Model>,
    /// What its measurement records.
    recorded: Recorded,
}

/// How a level is recorded.
enum Recorded {
    AsItIs,
    Threshold(u32),
    Pruned(String),
}

/// What makes the network of each level of `args`, by its place.
fn pruning<'a>(model: &'a Model, args: &'a PruneArgs) -> Result<impl Fn(usize) -> Changed + 'a> {
    let name = &model.card.name;
    if model.stores_integers() || model.program.is_some() {
        let what = format!("pruning of {name}");
        return Err(Error::unsupported(what, "networks whose weights are floats, run by our layers, are pruned"));
    }
    let chosen = |layer: &str| args.all.layers.as_ref().is_none_or(|pattern| pattern.is_match(layer));
    if prunable(&model.graph, chosen) == 0 {
        return Err(Error::invalid("--layers", format!("chooses no layer of {name} that has weights")));
    }
    let scope = match args.scope {
        ScopeName::Layer => pruned::Scope::Layer,
        ScopeName::Global => pruned::Scope::Global,
    };
    let levels = args.distinct();
    Ok(move |which: usize| {
        let (level, Some(sparsity)) = (levels[which], levels[which].sparsity()) else {
            return Changed { model: None, recorded: Recorded::AsItIs };
        };
        let mut cut = model.with_graph(pruned::pruned(&model.graph, sparsity, scope, chosen));
        let (of, recorded) = match (sparsity, scope) {
            (Sparsity::Blocks { .. }, _) => ("in blocks along the reduction", level.to_string()),
            (_, pruned::Scope::Layer) => ("of each layer", format!("{level} of each layer")),
            (_, pruned::Scope::Global) => ("of all layers", format!("{level} of all layers")),
        };
        cut.notes.push(format!(
            "weights of small magnitude were set to zero, {level} {of}: not the network as it is, and its answers differ"
        ));
        Changed { model: Some(cut), recorded: Recorded::Pruned(recorded) }
    })
}

/// What makes the network as it is, and then that of each level of `args`, by its place.
fn cutting<'a>(
    model: &'a Model,
    args: &ThresholdStudyArgs,
    job: &Job<'_>,
) -> Result<impl Fn(usize) -> Changed + use<'a>> {
    let levels = args.distinct();
    let thresholds = Thresholds::learn(model, job.backend, job.data, job.settings, &levels, job.progress)?;
    Ok(move |which: usize| {
        let Some(which) = which.checked_sub(1) else {
            return Changed { model: None, recorded: Recorded::AsItIs };
        };
        let mut cut = thresholds.apply(model, which);
        cut.notes.push(thresholds.note(levels[which]));
        Changed { model: Some(cut), recorded: Recorded::Threshold(levels[which]) }
    })
}

/// What is done at every level.
struct Job<'a> {
    all: &'a AllArgs,
    common: Common,
    backend: &'a Backend,
    data: &'a Dataset,
    settings: &'a Settings,
    progress: &'a Progress,
    columns: &'a [Column],
}

impl Job<'_> {
    /// Measures the network of each of `names`, which `change` makes of `model`; one is in memory at a time, beside `model`.
    fn study(
        &self,
        name: &'static str,
        model: &Model,
        names: &[String],
        change: impl Fn(usize) -> Changed,
    ) -> Result<Study> {
        let Self { all, common, backend, progress, .. } = *self;
        let levels = Levels { backend, inputs: &all.inputs, common, progress, count: names.len() };
        let mut study = Study::new(name, &model.card.name);
        // Where no truth is known, answers are compared with those of the network as it is.
        let mut judge: Option<Judge<'_>> = None;
        for (which, level) in names.iter().enumerate() {
            let Changed { model: cut, recorded } = change(which);
            let own = cut.as_ref().unwrap_or(model);
            let settings = match recorded {
                Recorded::AsItIs => self.settings.clone(),
                Recorded::Threshold(level) => Settings { threshold: Some(level), ..self.settings.clone() },
                Recorded::Pruned(how) => Settings { pruned: Some(how), ..self.settings.clone() },
            };
            let measurement = levels.measure(own, &settings, which, level)?;
            if let Some(folder) = &all.output {
                write_into(folder, &file_name(name, level), &measurement.to_bytes())?;
            }
            let report = Report::new(&measurement);
            if report.quality.is_none() && which == 0 {
                judge = Judge::if_any(model, backend, self.data, self.settings, progress)?;
            }
            let figure = match (&judge, &report.quality) {
                (Some(judge), None) => Some((judge.figure().name(), judge.judge(own, progress)?)),
                _ => None,
            };
            study.inputs = measurement.inputs;
            study.levels.push(Level::new(level, &report, self.columns, figure));
        }
        Ok(study)
    }
}
