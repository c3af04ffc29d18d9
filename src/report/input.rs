//! The JSON line of one input (`--per-input`).

use serde_json::{Map, json};

use super::columns::{self, Column};
use super::document::numbers;
use super::quality::Quality;
use crate::hex::hex;
use crate::kernels::count::Encoder;
use crate::metrics::{Cells, Sampled};
use crate::tally::Statistics;
use crate::{Error, Result};

/// The results of one input: an image, a recording, or a segment of a text.
#[derive(Clone, Debug)]
pub struct InputLine<'a> {
    /// Its place among all inputs, from 0.
    pub index: usize,
    /// Its name in messages.
    pub id: &'a str,
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// Its class, where known.
    pub label: Option<u32>,
    /// The class that the network takes it for, and its name, of networks that classify.
    pub prediction: Option<(usize, String)>,
    /// How good the answer was, where the truth is known.
    pub quality: Option<Quality>,
    /// The network's ratios of it.
    pub cells: Cells,
}

impl InputLine<'_> {
    /// One line of JSON, its line break included.
    pub fn to_json(&self) -> String {
        let mut fields = Map::new();
        fields.insert("index".into(), json!(self.index));
        fields.insert("id".into(), json!(self.id));
        fields.insert("sha256".into(), json!(hex(self.digest)));
        fields.extend(self.label.map(|label| ("label".into(), json!(label))));
        let prediction = self.prediction.as_ref().map(|(class, name)| json!({ "class": class, "name": name }));
        fields.extend(prediction.map(|prediction| ("prediction".into(), prediction)));
        fields.extend(self.quality.as_ref().map(|quality| ("quality".into(), json!(quality))));
        fields.append(&mut numbers(&self.cells));
        format!("{}\n", serde_json::Value::Object(fields))
    }
}

/// The per-input metrics of a run that counts terms by `encoder`, or only values: those of `columns`, or those of the default
/// columns.
///
/// # Errors
/// [`Error::Invalid`] for a column that no single input has.
pub fn of_inputs(columns: &[Column], counted: Statistics, encoder: Encoder, min_one: bool) -> Result<Vec<Sampled>> {
    let all = Sampled::all(encoder, counted >= Statistics::Terms);
    let find = |column: &Column| {
        let (metric, operand) = column.metric()?;
        let mut known = all.iter().filter(|known| known.min_one == (min_one && metric.min_one));
        known.find(|known| known.metric.name == metric.name && known.operand() == operand).copied()
    };
    if columns.is_empty() {
        return Ok(columns::default(counted).iter().filter_map(find).collect());
    }
    let mut chosen: Vec<Sampled> = Vec::new();
    for column in columns.iter().filter(|column| !column.is_text()) {
        let wrong = || {
            let detail = "is known of no single input; `deadweight explain NAME` says which metrics have an interval";
            Error::invalid(format!("--per-input with --columns {}", column.name), detail)
        };
        let sampled = find(column).ok_or_else(wrong)?;
        // A metric stands whole in a line, whichever of its numbers are columns.
        if chosen.iter().all(|known| known.metric.name != sampled.metric.name) {
            chosen.push(sampled);
        }
    }
    Ok(chosen)
}
