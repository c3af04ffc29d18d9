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
use crate::graph::pruned::{self, prunable};
use crate::input::Dataset;
use crate::measure::{Settings, Thresholds};
use crate::metrics::Needs;
use crate::model::Model;
use crate::report::Report;
use crate::report::columns::Column;
use crate::study::Judge;
use crate::tally::Extra;
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

/// Measures the network level by level.
pub(super) fn run(args: &StudyArgs, common: Common) -> Result<()> {
    let (name, all) = match &args.what {
        What::Prune(args) => ("prune", &args.all),
        What::Threshold(args) => ("threshold", &args.all),
    };
    let mut out = Out::open(None)?;
    all.output.as_deref().map_or(Ok(()), |folder| directory("-o", folder))?;
    let (model, backend, data) = setup::job(&all.model, &all.inputs, &all.backend, common)?;
    let progress = Progress::new(common);
    let feeding = setup::feeding(&all.inputs, &all.backend.engine);
    let model = setup::in_integers(model, &all.model, &backend, &data, &feeding, &progress)?;
    let columns = if all.columns.is_empty() {
        COLUMNS.iter().map(|name| Column::parse(name).expect("a column")).collect()
    } else {
        all.columns.clone()
    };
    let extra: BTreeSet<Extra> = columns.iter().flat_map(Column::needs).filter_map(Needs::extra).collect();
    let feeding = Settings { layers: all.layers.clone(), extra: extra.into_iter().collect(), ..feeding };
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
    let changed = match &args.what {
        What::Prune(args) => pruned_levels(&model, args)?,
        What::Threshold(args) => cut_levels(&model, args, &job)?,
    };
    let study = job.study(name, &model, &changed)?;
    out.write(&study.text(all.format, &columns, out.width()))?;
    out.finish()
}

/// A network at a level.
struct Changed {
    /// As the user writes it.
    level: String,
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

/// The networks of `args`.
fn pruned_levels(model: &Model, args: &PruneArgs) -> Result<Vec<Changed>> {
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
    let mut seen = Vec::new();
    let levels = args.levels.iter().filter(|level| {
        let is_new = !seen.contains(level);
        seen.push(level);
        is_new
    });
    let changed = |level: &PruneLevel| {
        let level_name = level.to_string();
        let Some(sparsity) = level.sparsity() else {
            return Changed { level: level_name, model: None, recorded: Recorded::AsItIs };
        };
        let mut cut = model.with_graph(pruned::pruned(&model.graph, sparsity, scope, chosen));
        let (of, recorded) = match (sparsity, scope) {
            (pruned::Sparsity::Blocks { .. }, _) => ("in blocks along the reduction", level_name.clone()),
            (_, pruned::Scope::Layer) => ("of each layer", format!("{level_name} of each layer")),
            (_, pruned::Scope::Global) => ("of all layers", format!("{level_name} of all layers")),
        };
        cut.notes.push(format!(
            "weights of small magnitude were set to zero, {level_name} {of}: not the network as it is, and its answers differ"
        ));
        Changed { level: level_name, model: Some(cut), recorded: Recorded::Pruned(recorded) }
    };
    Ok(levels.map(changed).collect())
}

/// The network as it is, and those of `args`.
fn cut_levels(model: &Model, args: &ThresholdStudyArgs, job: &Job<'_>) -> Result<Vec<Changed>> {
    let mut levels = args.levels.concat();
    levels.sort_unstable();
    levels.dedup();
    let thresholds = Thresholds::learn(model, job.backend, job.data, job.settings, &levels, job.progress)?;
    let changed = |(which, &level): (usize, &u32)| {
        let mut cut = thresholds.apply(model, which);
        cut.notes.push(thresholds.note(level));
        Changed { level: format!("{level}%"), model: Some(cut), recorded: Recorded::Threshold(level) }
    };
    let first = Changed { level: "0".into(), model: None, recorded: Recorded::AsItIs };
    Ok(std::iter::once(first).chain(levels.iter().enumerate().map(changed)).collect())
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
    /// Measures each of `changed`.
    fn study(&self, name: &'static str, model: &Model, changed: &[Changed]) -> Result<Study> {
        let Self { all, common, backend, progress, .. } = *self;
        let levels = Levels { backend, inputs: &all.inputs, common, progress, count: changed.len() };
        let mut study = Study::new(name, &model.card.name);
        // Where no truth is known, answers are compared with those of the network as it is.
        let mut judge: Option<Judge<'_>> = None;
        for (which, Changed { level, model: cut, recorded }) in changed.iter().enumerate() {
            let own = cut.as_ref().unwrap_or(model);
            let settings = match recorded {
                Recorded::AsItIs => self.settings.clone(),
                Recorded::Threshold(level) => Settings { threshold: Some(*level), ..self.settings.clone() },
                Recorded::Pruned(how) => Settings { pruned: Some(how.clone()), ..self.settings.clone() },
            };
            let measurement = levels.measure(own, &settings, which, level)?;
            if let Some(folder) = &all.output {
                let file = format!("{name}-{}.dwm", level.trim_end_matches('%').replace(':', "of"));
                write_into(Path::new(folder), &file, &measurement.to_bytes())?;
            }
            let report = Report::new(&measurement);
            if report.quality.is_none() && judge.is_none() && which == 0 {
                judge = Judge::new(model, backend, self.data, self.settings, progress).ok();
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
