//! `deadweight run`: the likeliest classes of each input, told as they are known.

use serde_json::{Value, json};

use super::args::{Common, Plain, RunArgs};
use super::out::{Out, printable};
use super::progress::Progress;
use super::setup;
use crate::Result;
use crate::input::Sample;
use crate::measure::predict;
use crate::model::Model;
use crate::report::units;
use crate::task::classify::{Accuracy, top_k};

/// Name and version of the JSON document's layout.
const SCHEMA: &str = "deadweight/run/1";

/// Classifies the inputs.
pub(super) fn run(args: &RunArgs, common: Common) -> Result<()> {
    let mut out = Out::open(args.out.output.as_deref())?;
    let backend = setup::backend(&args.engine, &args.backend)?;
    let model = setup::model(&args.model, common, args.no_fold, None)?;
    let data = setup::inputs(&model, &args.inputs.inputs)?;
    let settings = setup::feeding(&args.inputs, &args.engine);
    let mut answers = Answers { model: &model, top: args.top as usize, told: 0, accuracy: Accuracy::default() };
    if args.format == Plain::Json {
        out.write(&answers.json_start(backend.name()))?;
    }
    let skipped = predict(&model, &backend, &data, &settings, &Progress::new(common), |sample, logits| {
        out.write(&match args.format {
            Plain::Table => answers.text(sample, logits),
            Plain::Json => answers.json(sample, logits),
        })
    })?;
    if answers.told == 0 {
        return Err(setup::none_decoded(&args.inputs.inputs));
    }
    out.write(&match args.format {
        Plain::Table => answers.text_end(),
        Plain::Json => answers.json_end(skipped),
    })?;
    out.finish()
}

/// Tells answers one by one: nothing of an input is kept after it was told.
struct Answers<'a> {
    model: &'a Model,
    top: usize,
    told: usize,
    accuracy: Accuracy,
}

impl Answers<'_> {
    fn count(&mut self, sample: &Sample, logits: &[f32]) {
        self.told += 1;
        if let Some(label) = sample.label {
            self.accuracy.add(logits, label, self.model.label_offset(logits.len()));
        }
    }

    /// Name of the class that a data set calls `label`.
    fn label_name(&self, label: u32, classes: usize) -> String {
        self.model.class_name(label as usize + self.model.label_offset(classes))
    }

    fn text(&mut self, sample: &Sample, logits: &[f32]) -> String {
        self.count(sample, logits);
        let label = sample.label.map(|label| format!("  (label: {})", self.label_name(label, logits.len())));
        let mut text = format!("{}{}\n", printable(&sample.id), printable(&label.unwrap_or_default()));
        for (class, _, probability) in top_k(logits, self.top) {
            text += &format!("  {:6.2}%  {}\n", probability * 100.0, printable(&self.model.class_name(class)));
        }
        text
    }

    fn text_end(&self) -> String {
        let Accuracy { labelled, top1, top5 } = self.accuracy;
        let share = |count: u64| units::share(Some(count as f64 / labelled as f64));
        match labelled {
            0 => String::new(),
            _ => format!("\ntop-1 {}, top-5 {} of {labelled} with a label\n", share(top1), share(top5)),
        }
    }

    fn json_start(&self, backend: &str) -> String {
        let model = self.model;
        let version = env!("CARGO_PKG_VERSION");
        let facts = [
            ("schema", json!(SCHEMA)),
            ("tool", json!({ "name": "deadweight", "version": version, "backend": backend })),
            ("model", json!({ "name": model.card.name, "naming": model.naming, "source": model.source })),
        ];
        let fields: String = facts.iter().map(|(name, value)| format!("  \"{name}\": {value},\n")).collect();
        format!("{{\n{fields}  \"inputs\": [")
    }

    /// One input, one line.
    fn json(&mut self, sample: &Sample, logits: &[f32]) -> String {
        let comma = if self.told > 0 { "," } else { "" };
        self.count(sample, logits);
        let answer = |(class, logit, probability): (usize, f32, f64)| {
            let name = self.model.class_name(class);
            json!({ "class": class, "name": name, "logit": logit, "probability": probability })
        };
        let top: Vec<Value> = top_k(logits, self.top).into_iter().map(answer).collect();
        format!("{comma}\n    {}", json!({ "id": sample.id, "label": sample.label, "top": top }))
    }

    fn json_end(&self, skipped: usize) -> String {
        let Accuracy { labelled, top1, top5 } = self.accuracy;
        let quality = match labelled {
            0 => Value::Null,
            _ => json!({ "labelled": labelled, "top1": top1, "top5": top5 }),
        };
        format!("\n  ],\n  \"skipped\": {skipped},\n  \"quality\": {quality}\n}}\n")
    }
}
