//! A line an input, beside what is measured of all.

use std::cell::RefCell;
use std::path::PathBuf;

use clap::Args;

use super::out::Out;
use super::parts::PartArgs;
use super::progress::Progress;
use crate::measure::{MeasuredInput, Monitor, Settings};
use crate::metrics::Sampled;
use crate::model::Model;
use crate::models::Task;
use crate::report::columns::Column;
use crate::report::{InputLine, of_inputs, quality};
use crate::task::classify::top_k;
use crate::{Error, Result};

/// Flags of it.
#[derive(Args, Debug)]
pub struct PerInputArgs {
    /// Write a line of JSON for each input (image, recording, segment of a text) too: its name, digest and answer, and the
    /// network's ratios of it, those that --columns chooses; FILE appears only when it is complete
    #[arg(long, value_name = "FILE.jsonl")]
    pub per_input: Option<PathBuf>,
}

impl PerInputArgs {
    /// Opens the file, if one is asked for.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the lines would not be complete; as [`Out::open`].
    pub(super) fn open(&self, parts: &PartArgs) -> Result<Option<Out>> {
        let Some(path) = &self.per_input else { return Ok(None) };
        let flag = || format!("--per-input {}", path.display());
        if parts.checkpoint.is_some() {
            let detail = "would lack the inputs before a checkpoint: leave out --checkpoint, or measure parts by --shard, \
                          whose lines follow one another";
            return Err(Error::invalid(flag(), detail));
        }
        Out::whole("--per-input", Some(path)).map(Some)
    }
}

/// Writes lines while inputs are measured.
pub(super) struct Lines<'a> {
    progress: &'a Progress,
    model: &'a Model,
    ratios: Vec<Sampled>,
    out: RefCell<Out>,
}

impl<'a> Lines<'a> {
    /// Lines to `out` of what `model` is measured with, in which `columns` or the usual ratios are.
    ///
    /// # Errors
    /// As [`of_inputs`].
    pub(super) fn new(
        out: Out,
        model: &'a Model,
        settings: &Settings,
        columns: &[Column],
        progress: &'a Progress,
    ) -> Result<Self> {
        let ratios = of_inputs(columns, settings.statistics, settings.encoder, settings.min_one)?;
        Ok(Self { progress, model, ratios, out: RefCell::new(out) })
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`Out::finish`].
    pub(super) fn finish(self) -> Result<()> {
        self.out.into_inner().finish()
    }
}

impl Monitor for Lines<'_> {
    fn behind(&self) -> Option<&dyn Monitor> {
        Some(self.progress)
    }

    fn takes_inputs(&self) -> bool {
        true
    }

    fn take_input(&self, input: &MeasuredInput<'_>) -> Result<()> {
        let MeasuredInput { sample, output, ratios, fractions, .. } = *input;
        let name = |class: usize| self.model.class_name(class);
        let ratio = |name: &str| ratios.iter().position(|known| known == name).map(|place| fractions[place]);
        let class = || top_k(&self.model.class_values(output), 1).first().map(|(class, ..)| (*class, name(*class)));
        let line = InputLine {
            index: sample.place,
            id: &sample.id,
            digest: sample.digest,
            label: sample.label,
            prediction: (self.model.card.task == Task::Classify).then(class).flatten(),
            quality: quality(input.quality, &name),
            cells: self.ratios.iter().filter_map(|sampled| sampled.cell(ratio)).collect(),
        };
        self.out.borrow_mut().write(&line.to_json())
    }
}
