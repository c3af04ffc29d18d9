//! The precision search of a network: figures of networks whose operands are rounded, asked for by [`Search`].

use std::collections::BTreeSet;

use super::figure::{Figure, Judge};
use super::operands::{Numbers, Operand, operands, round_operands};
use super::outcome::Outcome;
use super::search::{Search, Step};
use super::state::State;
use crate::engine::Backend;
use crate::format::{Precision, Profile};
use crate::input::Dataset;
use crate::measure::{Monitor, Settings, calibrate};
use crate::model::Model;
use crate::{Error, Result};

/// What goes on around a search.
pub struct Hooks<'a> {
    /// Progress within a run, and whether to stop.
    pub monitor: &'a dyn Monitor,
    /// How far the search is, a line that is replaced by the next.
    pub say: &'a dyn Fn(&str),
    /// Takes the state after each figure that is new.
    ///
    /// # Errors
    /// Its own, which end the search.
    pub keep: &'a dyn Fn(&State) -> Result<()>,
}

/// A search.
pub struct PrecisionSearch<'a> {
    model: &'a Model,
    judge: Judge<'a>,
    operands: Vec<Operand>,
    numbers: Numbers,
    calibrated: u64,
    state: State,
}

impl<'a> PrecisionSearch<'a> {
    /// Runs `model` as it is over `data`, to learn ranges and the figure of full precision.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a network of integers or one that is run from its file; those of [`Judge::new`] and of calibrating.
    pub fn new(
        model: &'a Model,
        backend: &'a Backend,
        data: &'a Dataset,
        settings: &Settings,
        numbers: Numbers,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let name = &model.card.name;
        if model.stores_integers() || model.graph.nodes.iter().any(|def| def.codes.is_some()) {
            let what = format!("a search of the precision of {name}, which stores integers,");
            return Err(Error::unsupported(what, "`measure` counts it in the codes that it stores"));
        }
        if model.program.is_some() {
            let what = format!("a search of the precision of {name}, an ONNX file that is run as it is,");
            return Err(Error::unsupported(what, "its weights as a checkpoint of a known network, with --arch"));
        }
        let judge = Judge::new(model, backend, data, settings, monitor)?;
        // The default format: fixed point of 16 bits.
        let calibration = calibrate(model, backend, data, settings, monitor)?;
        let operands = operands(model, &calibration);
        let facts = [
            ("network", name.clone()),
            ("weights", model.files.iter().map(|file| file.sha256.as_str()).collect::<Vec<_>>().join(" ")),
            ("preprocessing", data.describe()),
            (
                "options",
                data.options()
                    .into_iter()
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            ("inputs", format!("{} ({})", judge.count(), judge.digest())),
            ("calibration", format!("{} ({})", calibration.inputs, calibration.digest)),
            ("engine", backend.name().to_owned()),
            ("kernels", format!("{:?}", backend.option())),
            ("folding of batch norm", format!("{:?}", model.folded)),
            ("numbers", numbers.name().to_owned()),
            ("figure", judge.figure().name().to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let state = State::new(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        Ok(Self { model, judge, operands, numbers, calibrated: calibration.inputs, state })
    }

    /// Goes on from `state`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is of another search.
    pub fn resume(&mut self, state: State) -> Result<()> {
        state.check(&self.state)?;
        self.state = state;
        Ok(())
    }

    /// What is known so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The loss of operands in these bits (0: as they are).
    ///
    /// # Errors
    /// [`Error::Interrupted`]; those of running and of `hooks`.
    fn loss(&mut self, bits: &[u32], hooks: &Hooks<'_>) -> Result<f64> {
        let figure = match self.state.get(bits) {
            Some(figure) => figure,
            None => {
                let numbers = self.numbers;
                let of = |(operand, &bits): (&Operand, &u32)| (bits > 0).then(|| operand.precision(numbers, bits));
                let precisions: Vec<Option<Precision>> = self.operands.iter().zip(bits).map(of).collect();
                let figure = self.figure(&precisions, hooks.monitor)?;
                self.state.insert(bits, figure);
                (hooks.keep)(&self.state)?;
                figure
            }
        };
        Ok(self.judge.figure().loss(self.judge.full(), figure))
    }

    fn figure(&self, precisions: &[Option<Precision>], monitor: &dyn Monitor) -> Result<f64> {
        self.judge.judge(&round_operands(self.model, &self.operands, precisions), monitor)
    }

    /// Searches the fewest bits whose loss is within `tolerance`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the most bits lose more; [`Error::Interrupted`]; those of running and of `hooks`.
    pub fn run(&mut self, tolerance: f64, hooks: &Hooks<'_>) -> Result<Outcome> {
        let bits = self.numbers.bits();
        let search = Search { operands: self.operands.len(), bits, tolerance };
        let all = bits[1] as usize * search.operands;
        // What a state knows beyond these is of a search for another tolerance.
        let mut networks = BTreeSet::new();
        let found = search.run(&mut |step, asked| {
            networks.insert(asked.to_vec());
            let used: u32 = asked.iter().map(|&of| if of == 0 { bits[1] } else { of }).sum();
            (hooks.say)(&match step {
                Step::Alone(i) => {
                    let Operand { layer, .. } = &self.operands[i];
                    format!("{} of {}: {layer}, {} alone", i + 1, search.operands, self.operands[i].name())
                }
                Step::Widen => "all together".to_owned(),
                // The bit that is tried is not saved yet.
                Step::Take => format!("{} of {all} bits saved", all - used as usize - 1),
            });
            self.loss(asked, hooks)
        })?;
        let judge = &self.judge;
        let found = found.map_err(|loss| {
            let (least, most, name) = ((loss * 1000.0).ceil() / 10.0, bits[1], judge.figure().name());
            let lost = if loss < 1e-5 { "less than 0.001".to_owned() } else { format!("{:.3}", loss * 100.0) };
            let detail =
                format!("{most} bits of every operand lose {lost} % of the {name} already: give at least {least}%");
            Error::invalid(format!("--tolerance {}%", (tolerance * 1e8).round() / 1e6), detail)
        })?;
        Ok(Outcome {
            model: self.model.card.name.clone(),
            weights: self.model.files.iter().map(|file| file.sha256.clone()).collect(),
            operands: self.operands.clone(),
            numbers: self.numbers,
            figure: judge.figure(),
            full: judge.full(),
            got: self.state.get(&found.bits).unwrap_or_default(),
            tolerance,
            inputs: judge.count(),
            digest: judge.digest(),
            calibrated: self.calibrated,
            asked: networks.len(),
            found,
        })
    }

    /// Measures again what `profile` states: the loss of its precisions, and with one bit less of each operand.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a file that has no search, or is of other layers or inputs; [`Error::Interrupted`]; those of running.
    pub fn check(&self, profile: &Profile, hooks: &Hooks<'_>) -> Result<Check> {
        let wrong = |detail: String| Error::invalid(format!("--check {}", profile.file), detail);
        let weights: Vec<&str> = self.model.files.iter().map(|file| file.sha256.as_str()).collect();
        if let Some(detail) = profile.differs(&self.model.card.name, &weights) {
            return Err(wrong(detail));
        }
        let stated = |name: &str| profile.search.as_ref().and_then(|search| search.get(name));
        let number = |name: &str| stated(name).and_then(toml::Value::as_float).filter(|number| !number.is_nan());
        let (Some(tolerance), Some(loss)) = (number("tolerance"), number("loss")) else {
            return Err(wrong("states no search: `deadweight precision -o FILE.toml` makes files that do".into()));
        };
        let digest = self.judge.digest().to_string();
        if stated("inputs_sha256").and_then(toml::Value::as_str).is_some_and(|of| of != digest) {
            let inputs = stated("inputs").and_then(toml::Value::as_integer).unwrap_or_default();
            return Err(wrong(format!(
                "is of {inputs} other inputs: give those that it was made with, and the same --limit"
            )));
        }
        let own = self.judge.figure().name();
        if let Some(other) = stated("figure").and_then(toml::Value::as_str).filter(|figure| *figure != own) {
            return Err(wrong(format!("is judged by {other}, these inputs by {own}: give the same labels or truths")));
        }
        let of = |operand: &Operand| {
            let layer = profile.layers.get(&operand.layer).map(|both| both[operand.which]);
            layer.ok_or_else(|| wrong(format!("states no precision of {}", operand.layer)))
        };
        let precisions: Vec<Precision> = self.operands.iter().map(of).collect::<Result<_>>()?;
        let (figure, full) = (self.judge.figure(), self.judge.full());
        let all: Vec<Option<Precision>> = precisions.iter().copied().map(Some).collect();
        let got = self.figure(&all, hooks.monitor)?;
        let mut check = Check { figure, full, got, tolerance, loss: [loss, figure.loss(full, got)], next: Vec::new() };
        for (i, operand) in self.operands.iter().enumerate() {
            // Fewer than the fewest bits are not searched.
            let Some(less) = precisions[i].less() else { continue };
            (hooks.say)(&format!("{} of {}: {}", i + 1, self.operands.len(), operand.layer));
            let mut cut = all.clone();
            cut[i] = Some(less);
            let loss = figure.loss(full, self.figure(&cut, hooks.monitor)?);
            let stated = profile.next.get(&operand.layer).and_then(|next| next[operand.which]);
            check.next.push(Next { operand: format!("{}, {}", operand.layer, operand.name()), stated, loss });
        }
        Ok(check)
    }
}

/// Losses as a file states them, and as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is judged by.
    pub figure: Figure,
    /// The figure of full precision.
    pub full: f64,
    /// The figure in the precisions of the file.
    pub got: f64,
    /// The loss that is still within.
    pub tolerance: f64,
    /// The loss in the precisions of the file: as it is stated, and as it is.
    pub loss: [f64; 2],
    /// With one bit less of each operand that has more than the fewest.
    pub next: Vec<Next>,
}

/// The loss with one bit less of an operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// The layer, and which operand of it.
    pub operand: String,
    /// As the file states it, if it does.
    pub stated: Option<f64>,
    /// As it is.
    pub loss: f64,
}

impl Check {
    /// What is not as it is stated, a line each.
    pub fn wrong(&self) -> Vec<String> {
        let [stated, is] = self.loss;
        let percent = |loss: f64| format!("{:.4} %", loss * 100.0);
        let mut wrong = Vec::new();
        if is > self.tolerance {
            wrong.push(format!("the loss is {}, beyond the tolerance of {}", percent(is), percent(self.tolerance)));
        }
        if stated != is {
            wrong.push(format!("the loss is {}, stated {}", percent(is), percent(stated)));
        }
        for Next { operand, stated, loss } in &self.next {
            let is = format!("{operand}: with one bit less the loss is {}", percent(*loss));
            match stated {
                _ if *loss <= self.tolerance => wrong.push(format!("{is}, within the tolerance")),
                Some(stated) if stated != loss => wrong.push(format!("{is}, stated {}", percent(*stated))),
                _ => {}
            }
        }
        wrong
    }
}
