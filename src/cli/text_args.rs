//! Flags of texts: what of a file is an input, and how many tokens it has.

use clap::{Args, ValueEnum, value_parser};

use crate::input::{Cut, Dataset, Labels, Split};
use crate::model::Model;
use crate::models::Task;
use crate::{Error, Result};

/// What of texts is an input.
#[derive(Args, Clone, Debug, Default)]
pub struct TextArgs {
    /// What of a text is an input [default: window for a network that predicts the next token without a state, else line]
    #[arg(long, value_enum, value_name = "PART")]
    pub split: Option<Part>,
    /// Read at most N tokens at once: windows of N, or texts that are cut off after N [default: 512 or the network's positions, for
    /// windows; whole lines and paragraphs]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(2..))]
    pub context: Option<u32>,
    /// Tokens from the start of a window to that of the next; each token is scored once, in the first window that has it [default:
    /// the window's]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub stride: Option<u32>,
    /// Read records of JSON, one a line, whose field NAME is their text, or the column NAME of tables (.tsv) with labels [default: text,
    /// for files .jsonl and .tsv]
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// The field of records, or the column of tables (.tsv), that holds the classes of texts, by number or name, or a list of those
    /// of words; an empty NAME reads none [default: label, where there is one]
    #[arg(long, value_name = "NAME")]
    pub label_field: Option<String>,
}

/// Parts of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Each line
    Line,
    /// Each run of lines that are not empty
    Paragraph,
    /// Windows of --context tokens, each read from an empty context
    Window,
}

impl TextArgs {
    /// How texts for `model` are split; `None` if as its card says, or in streams.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a flag that does not fit the network or another flag.
    pub fn cut(&self, model: &Model) -> Result<Option<Cut>> {
        let given = [
            ("--split", self.split.is_some()),
            ("--context", self.context.is_some()),
            ("--stride", self.stride.is_some()),
            ("--field", self.field.is_some()),
            ("--label-field", self.label_field.is_some()),
        ];
        let given = given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
        if (model.card.task == Task::Tag && model.has_sequences()) || model.window().is_some() {
            let detail = || format!("is of other networks: the card of {} says how texts are split", model.card.name);
            return given.map_or(Ok(None), |flag| Err(Error::invalid(flag, detail())));
        }
        if given.is_none() && model.has_sequences() {
            return Ok(None);
        }
        let predicts = model.card.task == Task::Language;
        let part = self.split.unwrap_or(if predicts { Part::Window } else { Part::Line });
        let labels = self.labels(model)?;
        let (field, length) = (self.field.clone(), self.context.map(|length| length as usize));
        if part != Part::Window {
            if self.stride.is_some() {
                return Err(Error::invalid("--stride", "is of --split window"));
            }
            let split = if part == Part::Line { Split::Line } else { Split::Paragraph };
            return Ok(Some(Cut::Texts { split, length, field, predicts, labels }));
        }
        if !predicts {
            let detail =
                format!("is of networks that predict the next token, and {} reads whole texts", model.card.name);
            return Err(Error::invalid("--split window", detail));
        }
        let length = length.unwrap_or_else(|| model.context());
        let stride = self.stride.map_or(length, |stride| stride as usize);
        if stride > length {
            let detail = format!("leaves tokens out between windows of {length}; give at most that");
            return Err(Error::invalid(format!("--stride {stride}"), detail));
        }
        Ok(Some(Cut::Contexts { length, stride, field }))
    }
}

impl TextArgs {
    /// The labels that are read for `model`.
    fn labels(&self, model: &Model) -> Result<Option<Labels>> {
        let named = self.label_field.as_deref();
        match (model.labels_of_texts().zip(model.labels()), named) {
            (_, Some("")) => Ok(None),
            (Some((of, classes)), _) => Ok(Some(Labels { of, field: self.label_field.clone(), classes })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let (name, task) = (&model.card.name, model.card.task.name());
                let detail = format!("is of networks that classify texts or their words, and {name} is to {task}");
                Err(Error::invalid("--label-field", detail))
            }
        }
    }
}

/// `data`, if none of its texts is longer than `model` has positions.
///
/// # Errors
/// [`Error::Shape`] naming the longest text.
pub fn within_positions(data: Dataset, model: &Model) -> Result<Dataset> {
    match (model.positions(), data.longest_text()) {
        (Some(limit), Some((text, tokens))) if tokens > limit => {
            let detail =
                format!("has {tokens} tokens, {} has {limit} positions; give --context {limit}", model.card.name);
            Err(Error::shape(text, detail))
        }
        _ => Ok(data),
    }
}
