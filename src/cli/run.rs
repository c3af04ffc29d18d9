//! `deadweight run`: prints the answer to each input (and saves it, if it is an image) as soon as it is known.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::args::{Common, Plain, RunArgs};
use super::examples::SavedExamples;
use super::out::{Out, distinct};
use super::pictures::Pictures;
use super::progress::Progress;
use super::save_outputs::SavedOutputs;
use super::setup;
use super::trace::traced;
use super::{answers, generate};
use crate::Result;
use crate::input::turned_note;
use crate::measure::{add_score, embed_partners, predict, start_score, wrapped_notes};
use crate::model::Model;
use crate::report;

/// Name and version of the JSON document's layout.
const SCHEMA: &str = "deadweight/run/2";

/// Runs the network on the inputs.
pub(super) fn run(args: &RunArgs, common: Common) -> Result<()> {
    distinct(&[
        ("-o", Some(args.out.output.as_deref().unwrap_or(Path::new("-")))),
        ("--save-outputs", args.save_outputs.as_deref()),
        ("--trace", args.trace.trace.as_deref()),
    ])?;
    let mut out = match args.format {
        Plain::Json => Out::whole("-o", args.out.output.as_deref())?,
        Plain::Table => Out::open(args.out.output.as_deref())?,
    };
    let backend = setup::backend(&args.backend)?;
    let model = setup::model(&args.model, common, args.no_fold, &args.inputs, args.backend.backend)?;
    let trace = args.trace.open("run")?;
    let backend = traced(setup::backend_of(&model, &args.backend, backend)?, trace.as_ref())?;
    let progress = Progress::new(common).with_trace(trace.clone());
    let end_trace = || trace.as_ref().map_or(Ok(()), |trace| trace.finish());
    if let Some(prompt) = &args.generate.prompt {
        answers::of(&model, args)?;
        let vocabulary = setup::vocabulary(&model, &args.inputs)?;
        generate::run(args, prompt, (&model, &vocabulary, &backend), &progress, &mut out)?;
        end_trace()?;
        return out.finish();
    }
    let data = setup::inputs(&model, &args.inputs, common)?;
    let settings = setup::feeding(&args.inputs, &args.backend.engine);
    let model = setup::in_integers(model, &args.model, &backend, &data, &settings, &progress)?;
    let data = embed_partners(&model, &backend, data, &settings, &progress)?;
    let answers = answers::of(&model, args)?;
    // Examples have the pictures in themselves.
    let saves = args.save.is_some() || args.examples.is_none();
    let inputs = if answers.pictures() { data.files().collect() } else { Vec::new() };
    let mut pictures = Pictures::new(args.save.as_deref(), &model.card.name, answers.pictures() && saves, &inputs)?;
    let save = |path: &PathBuf| SavedOutputs::open(path, model.card.task, &args.inputs.inputs);
    let mut saved_outputs = args.save_outputs.as_ref().map(save).transpose()?;
    let mut examples =
        args.examples.as_ref().map(|folder| SavedExamples::open(folder, &model, &args.inputs)).transpose()?;
    let mut quality = start_score(model.card.task, data.known());
    let (mut printed, mut turned) = (0, 0);
    if args.format == Plain::Json {
        out.write(&json_start(&model, backend.name()))?;
    }
    let skipped = predict(&model, &backend, &data, &settings, &progress, |sample, output, shape| {
        turned += u64::from(sample.turned);
        add_score(&mut quality, &model, sample, output, shape);
        if let Some(outputs) = &mut saved_outputs {
            outputs.add(sample, output, shape)?;
        }
        if let Some(examples) = &mut examples {
            examples.add(&*answers, sample, output, shape)?;
        }
        let saved = match answers.picture(sample, output, shape) {
            Some(picture) if saves => Some(pictures.save(&sample.id, &picture)?),
            _ => None,
        };
        let text = match args.format {
            Plain::Table => answers.text(sample, output, shape, saved.as_deref()),
            Plain::Json => {
                let id = ("id".to_owned(), json!(sample.id));
                let saved = saved.map(|path| ("saved".to_owned(), json!(path.display().to_string())));
                let fields = answers.json(sample, output, shape);
                let fields: Map<String, Value> = std::iter::once(id).chain(fields).chain(saved).collect();
                format!("{}\n    {}", if printed > 0 { "," } else { "" }, Value::Object(fields))
            }
        };
        printed += 1;
        out.write(&text)
    })?;
    let said: Vec<String> = turned_note(turned).into_iter().chain(wrapped_notes(&model)).collect();
    said.iter().for_each(|note| tracing::warn!("{note}"));
    if printed == 0 {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    let quality = report::quality(&quality, &|class| model.class_name(class));
    out.write(&match args.format {
        Plain::Table => quality.map(|quality| format!("\n{}\n", report::quality_text(&quality))).unwrap_or_default(),
        Plain::Json => {
            let notes: Vec<&String> = data.notes().iter().chain(&said).collect();
            let notes = if notes.is_empty() { String::new() } else { format!("  \"notes\": {},\n", json!(notes)) };
            format!("\n  ],\n  \"skipped\": {skipped},\n{notes}  \"quality\": {}\n}}\n", json!(quality))
        }
    })?;
    saved_outputs.map_or(Ok(()), SavedOutputs::finish)?;
    end_trace()?;
    examples.map_or(Ok(()), SavedExamples::finish)?;
    out.finish()
}

fn json_start(model: &Model, backend: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut facts = json!({ "name": model.card.name, "naming": model.naming, "source": model.source });
    if !model.notes.is_empty() {
        facts["notes"] = json!(model.notes);
    }
    let facts = [
        ("schema", json!(SCHEMA)),
        ("tool", json!({ "name": "deadweight", "version": version, "backend": backend })),
        ("model", facts),
    ];
    let fields: String = facts.iter().map(|(name, value)| format!("  \"{name}\": {value},\n")).collect();
    format!("{{\n{fields}  \"inputs\": [")
}
