//! `deadweight precision`: how few bits each operand of each layer needs.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, value_parser};

use super::args::{BackendArgs, Common, InputArgs, ModelArgs, OutArgs};
use super::out::{Out, distinct};
use super::parsers::share;
use super::parts::{end, existing, save};
use super::progress::Progress;
use super::setup;
use crate::format::Precision;
use crate::measure::Settings;
use crate::report::Grid;
use crate::study::{Check, Hooks, Next, Numbers, Outcome, PrecisionSearch, State};
use crate::{Error, Result};

/// How often the state is saved at most.
const SELDOM: Duration = Duration::from_secs(1);

/// Arguments of `precision`.
#[derive(Args, Debug)]
pub struct PrecisionArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Which inputs.
    #[command(flatten)]
    pub inputs: InputArgs,
    /// How much worse the figure of the task may become, as a share of what it is: accuracy, mean IoU, PSNR, perplexity, retrieval;
    /// where no truth is known, agreement with the network as it is
    #[arg(long, value_name = "P%", default_value = "1%", value_parser = share)]
    pub tolerance: f64,
    /// Search bits of the significand, with the exponents of f32, instead of fixed point
    #[arg(long)]
    pub float: bool,
    /// Learn the ranges of activations, which fixed point has, from the first N inputs [default: all]
    #[arg(long, value_name = "N", conflicts_with = "float", value_parser = value_parser!(u32).range(1..))]
    pub calibrate: Option<u32>,
    /// Save what is known so far to FILE during the search, and when it is interrupted; FILE is removed when the search has ended
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Resume from the checkpoint, if there is one; the tolerance may be another
    #[arg(long, requires = "checkpoint")]
    pub resume: bool,
    /// Search nothing: measure again, on the same inputs, the loss that FILE states and that of each next bit, and end with exit code 5
    /// if one is not as it is stated
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["tolerance", "float", "calibrate", "checkpoint"])]
    pub check: Option<PathBuf>,
    /// Where the precision file goes, which `measure --precision` reads.
    #[command(flatten)]
    pub out: OutArgs,
    /// By which engine.
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// Searches, or checks what a search found.
pub(super) fn run(args: &PrecisionArgs, common: Common) -> Result<()> {
    if args.model.quantize.is_some() {
        return Err(Error::invalid("--quantize", "is of integers, and precision searches the bits of float networks"));
    }
    distinct(&[
        ("-o", Some(args.out.output.as_deref().unwrap_or(Path::new("-")))),
        ("--checkpoint", args.checkpoint.as_deref()),
        ("--check", args.check.as_deref()),
    ])?;
    let mut out = Out::open(args.out.output.as_deref())?;
    let checked = args.check.as_deref().map(setup::profile).transpose()?;
    let state = match &args.checkpoint {
        Some(path) => existing(path, args.resume)?.map(|(file, bytes)| State::from_bytes(&file, &bytes)).transpose()?,
        None => None,
    };
    let (model, backend, data) = setup::job(&args.model, &args.inputs, &args.backend, common)?;
    let progress = Progress::new(common);
    let feeding = setup::feeding(&args.inputs, &args.backend.engine);
    let settings = Settings { calibrate: args.calibrate.map_or(usize::MAX, |inputs| inputs as usize), ..feeding };
    let keeper = args.checkpoint.as_deref().map(|path| Keeper::new(path, SELDOM));
    let keep = |state: &State| {
        if let Some(keeper) = &keeper {
            keeper.keep(state);
        }
        Ok(())
    };
    let say = |text: &str| progress.say(text);
    let hooks = Hooks { monitor: &progress, say: &say, keep: &keep };
    let float = checked.as_ref().map_or(args.float, |profile| profile.is_float());
    let numbers = if float { Numbers::Float } else { Numbers::Fixed };
    let mut search = PrecisionSearch::new(&model, &backend, &data, &settings, numbers, &progress)?;
    if let Some(profile) = &checked {
        let check = search.check(profile, &hooks)?;
        out.write(&check_text(&check, out.width()))?;
        out.finish()?;
        let failed = check.wrong();
        return if failed.is_empty() { Ok(()) } else { Err(Error::Gate { failed }) };
    }
    state.map_or(Ok(()), |state| search.resume(state))?;
    let outcome = search.run(args.tolerance, &hooks);
    if let (Err(Error::Interrupted), Some(path)) = (&outcome, &args.checkpoint) {
        save(path, &search.state().to_bytes())?;
    }
    let outcome = outcome?;
    let to_file = args.out.output.as_deref().is_some_and(|path| path != Path::new("-"));
    out.write(&outcome.to_toml())?;
    out.finish()?;
    if to_file {
        let mut table = Out::open(None)?;
        table.write(&text(&outcome, table.width()))?;
        table.finish()?;
    }
    end(args.checkpoint.as_deref())
}

/// Saves the state of a search from time to time.
struct Keeper<'a> {
    path: &'a Path,
    /// At most once in so long.
    seldom: Duration,
    saved: Cell<Instant>,
    /// Whether it was said that the state cannot be saved.
    warned: Cell<bool>,
}

impl<'a> Keeper<'a> {
    fn new(path: &'a Path, seldom: Duration) -> Self {
        Self { path, seldom, saved: Cell::new(Instant::now()), warned: Cell::new(false) }
    }

    /// Saves `state`, if it is time. The search can still end well without: the last state that could be saved remains.
    fn keep(&self, state: &State) {
        if self.saved.get().elapsed() < self.seldom {
            return;
        }
        self.saved.set(Instant::now());
        if let Err(error) = save(self.path, &state.to_bytes())
            && !self.warned.replace(true)
        {
            tracing::warn!("no checkpoint was saved: {error}");
        }
    }
}

fn percent(loss: f64) -> String {
    format!("{:.3} %", loss * 100.0)
}

/// What was found, as a table.
fn text(outcome: &Outcome, width: Option<u16>) -> String {
    let Outcome { found, figure, full, got, tolerance, .. } = outcome;
    let ([used, all], [activations, weights]) = (outcome.bits(), outcome.means());
    let mut text = format!("{:<11} {}\n{:<11} {}\n", "model", outcome.model, "inputs", outcome.inputs);
    text += &format!(
        "{:<11} {full:.4}, {got:.4} in these bits: a loss of {}, of {} that are within\n",
        figure.name(),
        percent(found.loss),
        percent(*tolerance)
    );
    let saved = 100.0 * f64::from(all - used) / f64::from(all);
    text += &format!(
        "{:<11} {} of {all} saved ({saved:.1} %): on average {activations:.2} an activation, {weights:.2} a weight; {} networks were run\n\n",
        "bits",
        all - used,
        outcome.asked
    );
    let mut grid =
        Grid::new(["layer", "act", "weight", "alone\nact", "alone\nweight", "next\nact", "next\nweight"], &[0]);
    for i in (0..outcome.operands.len()).step_by(2) {
        let next = |i: usize| found.next[i].map_or_else(|| "-".to_owned(), percent);
        let of = |bits: &[u32], i: usize| match &outcome.operands[i].precision(outcome.numbers, bits[i]) {
            Precision::Fixed { integer, fraction } => format!("{integer}.{fraction}"),
            Precision::Float { significand } => significand.to_string(),
        };
        grid.row([
            outcome.operands[i].layer.clone(),
            of(&found.bits, i),
            of(&found.bits, i + 1),
            of(&found.alone, i),
            of(&found.alone, i + 1),
            next(i),
            next(i + 1),
        ]);
    }
    text + &grid.render(width)
}

/// What was measured again, as a table.
fn check_text(check: &Check, width: Option<u16>) -> String {
    let Check { figure, full, got, loss: [stated, is], .. } = *check;
    let mut text = format!("{:<11} {full:.4}, {got:.4} in these bits\n", figure.name());
    text += &format!("{:<11} {}, stated {}\n", "loss", percent(is), percent(stated));
    text += &format!("{:<11} {}\n\n", "tolerance", percent(check.tolerance));
    let mut grid = Grid::new(["one bit less of", "loss", "stated"], &[0]);
    for Next { operand, stated, loss } in &check.next {
        grid.row([operand.clone(), percent(*loss), stated.map_or_else(|| "not stated".to_owned(), percent)]);
    }
    text + &grid.render(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_cannot_be_saved_ends_no_search() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("gone");
        std::fs::create_dir(&place).unwrap();
        let path = place.join("search.state");
        let keeper = Keeper::new(&path, Duration::ZERO);
        let mut state = State::new(Vec::new());
        keeper.keep(&state);
        assert!(path.exists() && !keeper.warned.get());
        std::fs::remove_dir_all(&place).unwrap();
        state.insert(&[2], 0.5);
        keeper.keep(&state);
        keeper.keep(&state);
        assert!(!path.exists() && keeper.warned.get());
        // It is saved again once it can be.
        std::fs::create_dir(&place).unwrap();
        keeper.keep(&state);
        assert_eq!(std::fs::read(&path).unwrap(), state.to_bytes());
        // Not before it is time.
        let seldom = Keeper::new(&path, Duration::from_secs(3600));
        seldom.keep(&State::new(Vec::new()));
        assert_eq!(std::fs::read(&path).unwrap(), state.to_bytes());
    }
}
