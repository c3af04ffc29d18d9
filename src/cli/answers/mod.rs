//! Printing the answers one by one, one file per task; nothing of an input is kept after that.

mod classify;
mod detect;
mod features;
mod language;
mod restore;
mod segment;

use std::path::Path;

use serde_json::{Map, Value};

use super::args::RunArgs;
use super::pictures::Picture;
use crate::input::Sample;
use crate::layers::Shape;
use crate::model::Model;
use crate::models::Task;
use crate::{Error, Result};

/// How the answers of a task are printed.
pub(super) trait Answers {
    /// Lines for people; `saved` is the file of the picture.
    fn text(&self, sample: &Sample, output: &[f32], shape: Shape, saved: Option<&Path>) -> String;

    /// Fields of the input's JSON object.
    fn json(&self, sample: &Sample, output: &[f32], shape: Shape) -> Map<String, Value>;

    /// Whether answers are pictures.
    fn pictures(&self) -> bool {
        false
    }

    /// The answer as a picture.
    fn picture(&self, _: &Sample, _: &[f32], _: Shape) -> Option<Picture> {
        None
    }
}

/// The answers of `model`.
pub(super) fn of<'a>(model: &'a Model, args: &RunArgs) -> Result<Box<dyn Answers + 'a>> {
    let task = model.card.task;
    let wrong = |flag: &str, of: &str| {
        Err(Error::invalid(flag, format!("is for networks that {of}, and {} is to {}", model.card.name, task.name())))
    };
    let drawn = [
        ("--max-tokens", args.generate.max_tokens.is_some()),
        ("--temperature", args.generate.temperature.is_some()),
        ("--top-k", args.generate.top_k.is_some()),
        ("--top-p", args.generate.top_p.is_some()),
    ];
    if let (None, Some((flag, _))) = (&args.generate.prompt, drawn.iter().find(|(_, given)| *given)) {
        return Err(Error::invalid(*flag, "is for text generation; give --prompt"));
    }
    match task {
        _ if args.top.is_some() && task != Task::Classify => wrong("--top", "classify"),
        _ if args.overlay && task != Task::Segment => wrong("--overlay", "segment"),
        _ if args.generate.prompt.is_some() && task != Task::Language => wrong("--prompt", "predict the next token"),
        Task::Classify | Task::Language | Task::Tag | Task::Detect | Task::Features if args.save.is_some() => {
            wrong("--save", "segment or restore")
        }
        Task::Classify => Ok(Box::new(classify::Classify { model, top: args.top.unwrap_or(5) as usize })),
        Task::Segment => Ok(Box::new(segment::Segment { model, overlay: args.overlay })),
        Task::Restore => Ok(Box::new(restore::Restore { model })),
        Task::Language => Ok(Box::new(language::Language { model })),
        Task::Tag => Ok(Box::new(language::Tag { model })),
        Task::Features => Ok(Box::new(features::Features)),
        Task::Detect => Ok(Box::new(detect::Detect { model })),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => unreachable!("{other} is no object"),
    }
}
