//! The table of a study: a level a row.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use crate::report::columns::Column;
use crate::report::quality::{Quality, quality_text};
use crate::report::{Grid, Report, to_json, units};

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StudyFormat {
    /// For people
    #[default]
    Table,
    /// A level a row
    Csv,
    /// One document
    Json,
}

/// A study.
#[derive(Serialize)]
pub(super) struct Study {
    schema: &'static str,
    study: &'static str,
    model: String,
    pub(super) inputs: u64,
    pub(super) levels: Vec<Level>,
}

/// One level's figures.
#[derive(Serialize)]
pub(super) struct Level {
    level: String,
    /// By the column's name; none of what has no value. JSON has no infinite numbers: null.
    metrics: BTreeMap<String, Option<f64>>,
    /// What the task is judged by, and how good the answers were.
    figure: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Quality>,
    notes: Vec<String>,
    #[serde(skip)]
    cells: Vec<String>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    value: Option<f64>,
}

impl Level {
    /// Of `report` at `level`; `figure` in place of a quality that it has not.
    pub(super) fn new(level: &str, report: &Report, columns: &[Column], figure: Option<(&'static str, f64)>) -> Self {
        let network = report.network();
        let number = |column: &Column| column.figure(network).map(|figure| figure.number).filter(|x| !x.is_nan());
        let of_quality = report.quality.as_ref().map(figure_of);
        let figure = of_quality.or(figure.map(|(name, value)| (name, Some(value))));
        Self {
            level: level.to_owned(),
            metrics: columns.iter().map(|column| (column.name.clone(), number(column))).collect(),
            figure: figure.map(|(name, value)| Figure { name: name.to_owned(), value }),
            quality: report.quality.clone(),
            notes: report.provenance.notes.clone(),
            cells: columns.iter().map(|column| column.text(network)).collect(),
        }
    }

    /// How good the answers were, in words.
    fn answers(&self) -> String {
        match (&self.quality, &self.figure) {
            (Some(quality), _) => quality_text(quality),
            (None, Some(Figure { name, value: Some(value) })) => format!("{name} {}", units::significant(*value, 4)),
            _ => String::new(),
        }
    }
}

/// The number by which answers are judged.
fn figure_of(quality: &Quality) -> (&'static str, Option<f64>) {
    match quality {
        Quality::Classify(of) => ("accuracy", of.top1.value),
        Quality::Label(of) => ("accuracy", of.accuracy.value),
        Quality::Segment(of) => ("mean IoU", of.mean_iou),
        Quality::Language(of) => ("perplexity", of.perplexity),
        Quality::Restore(of) => ("PSNR", Some(of.psnr_db)),
        Quality::Embed(of) => match of.top1 {
            Some(top1) => ("retrieval", top1.value),
            None => ("cosine with the reference", Some(of.mean_cosine)),
        },
    }
}

impl Study {
    /// Without a level yet, of the network `model`.
    pub(super) fn new(study: &'static str, model: &str) -> Self {
        Self { schema: "deadweight/study/1", study, model: model.to_owned(), inputs: 0, levels: Vec::new() }
    }

    /// The table.
    pub(super) fn text(&self, format: StudyFormat, columns: &[Column], width: Option<u16>) -> String {
        match format {
            StudyFormat::Json => to_json(self),
            StudyFormat::Csv => self.csv(columns),
            StudyFormat::Table => self.table(columns, width),
        }
    }

    fn table(&self, columns: &[Column], width: Option<u16>) -> String {
        let mut text = format!("{:<11} {}\n{:<11} {}\n", "model", self.model, "inputs", self.inputs);
        // What all levels have in common is said once.
        let is_of_all = |note: &&String| self.levels.iter().all(|level| level.notes.contains(*note));
        let first = self.levels.first().map(|level| &level.notes[..]).unwrap_or_default();
        first.iter().filter(is_of_all).for_each(|note| text += &format!("{:<11} {note}\n", "note"));
        for level in &self.levels {
            let own = level.notes.iter().filter(|note| !is_of_all(note));
            own.for_each(|note| text += &format!("{:<11} {}: {note}\n", "note", level.level));
        }
        let headers = columns.iter().map(|column| column.header.clone());
        let headers = std::iter::once("level".to_owned()).chain(headers).chain(["answers".to_owned()]);
        let mut grid = Grid::new(headers, &[0, columns.len() + 1]);
        for level in &self.levels {
            let cells = std::iter::once(level.level.clone()).chain(level.cells.clone());
            grid.row(cells.chain([level.answers()]));
        }
        format!("{text}\n{}", grid.render(width))
    }

    fn csv(&self, columns: &[Column]) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let names = columns.iter().map(|column| column.name.as_str());
        let header: Vec<&str> = std::iter::once("level").chain(names.clone()).chain(["figure", "value"]).collect();
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:?}"));
        let rows = self.levels.iter().map(|level| {
            let figure = level.figure.as_ref();
            let metrics = names.clone().map(|name| number(level.metrics[name]));
            let name = figure.map(|figure| figure.name.clone()).unwrap_or_default();
            let value = number(figure.and_then(|figure| figure.value));
            std::iter::once(level.level.clone()).chain(metrics).chain([name, value]).collect::<Vec<String>>()
        });
        let all = std::iter::once(header.into_iter().map(str::to_owned).collect()).chain(rows);
        all.into_iter()
            .for_each(|row: Vec<String>| writer.write_record(row).expect("memory takes what is written to it"));
        let bytes = writer.into_inner().expect("memory takes what is written to it");
        String::from_utf8(bytes).expect("it was text")
    }
}
