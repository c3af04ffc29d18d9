//! The list of columns that tables can show: name, heading, what it means, and where it is in a document.

use std::sync::LazyLock;

use super::document::{Document, Macs, Operand, Potentials, Temporal, Term, Work};
use super::units;
use crate::metrics::POTENTIALS;

/// Columns that are shown unless others are chosen.
pub const DEFAULT: [&str; 11] =
    ["macs", "a.zeros", "w.zeros", "effectual", "a.g16", "a.terms", "A", "W+A", "Ap.g16", "Ae", "We+Ae"];

/// The same where neither terms nor codes were counted.
const OF_VALUES: [&str; 11] =
    ["macs", "a.zeros", "w.zeros", "effectual", "a.p", "a.g16", "A", "W+A", "Ap.layer", "Ap.g16", "W+A+Ap"];

/// One layer, or the whole network.
pub struct Row<'a> {
    /// Its name; `network` for the sums.
    pub name: &'a str,
    kind: &'a str,
    inputs: u64,
    encoder: &'a str,
    macs: &'a Macs,
    operands: [&'a Operand; 2],
    potentials: &'a Potentials,
    temporal: Option<&'a Temporal>,
}

/// The rows of `document`: its layers, then the network.
pub fn rows(document: &Document) -> impl Iterator<Item = Row<'_>> {
    let (inputs, encoder) = (document.data.inputs, document.format.encoder.as_str());
    let network = &document.network;
    let layers = document.layers.iter().map(move |layer| Row {
        name: &layer.name,
        kind: &layer.kind,
        inputs,
        encoder,
        macs: &layer.macs,
        operands: [&layer.activations, &layer.weights],
        potentials: &layer.potentials,
        temporal: layer.recurrent.as_ref().map(|recurrent| &recurrent.temporal),
    });
    layers.chain(std::iter::once(Row {
        name: "network",
        kind: "",
        inputs,
        encoder,
        macs: &network.macs,
        operands: [&network.activations, &network.weights],
        potentials: &network.potentials,
        temporal: None,
    }))
}

/// What a column shows.
#[derive(Clone, Debug)]
enum Extract {
    Layer(fn(&Row) -> Cell),
    /// Of activations (0) or weights (1); the name is that of the chosen encoder.
    Operand(usize, fn(&Operand, &str) -> Cell),
    Potential(&'static str),
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What `--columns` calls it.
    pub name: String,
    /// Its heading, in up to two lines.
    pub header: String,
    /// What it means.
    pub doc: String,
    extract: Extract,
}

impl Column {
    /// Its text in `row`.
    pub fn text(&self, row: &Row) -> String {
        match &self.extract {
            Extract::Layer(get) => get(row),
            Extract::Operand(which, get) => get(row.operands[*which], row.encoder),
            Extract::Potential(name) => {
                row.potentials.get(name).map_or(Cell::Absent, |p| Cell::Potential(p.with_padding))
            }
        }
        .text()
    }

    /// Whether it holds words, which stand on the left.
    pub fn is_text(&self) -> bool {
        self.name == "kind"
    }
}

/// A value of a row, before it is text.
enum Cell {
    Text(String),
    Count(u64),
    Share(Option<f64>),
    Mean(Option<f64>),
    Real(Option<f64>),
    Potential(Work),
    Absent,
}

impl Cell {
    fn text(self) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        match self {
            Self::Text(text) => text,
            Self::Count(count) => units::count(count),
            Self::Share(share) => units::share(share),
            Self::Mean(mean) => or_none(mean.map(|mean| format!("{mean:.2}"))),
            Self::Real(value) => or_none(value.map(|value| units::significant(value, 4))),
            Self::Potential(Work { potential: Some(potential), .. }) => units::significant(potential, 3),
            // No work is left: infinite, unless there was none to begin with.
            Self::Potential(Work { baseline: 0, .. }) | Self::Absent => "-".into(),
            Self::Potential(_) => "inf".into(),
        }
    }
}

fn part(count: u64, total: u64) -> Cell {
    Cell::Share((total > 0).then(|| count as f64 / total as f64))
}

type LayerColumn = (&'static str, &'static str, &'static str, fn(&Row) -> Cell);

const LAYER_COLUMNS: [LayerColumn; 10] = [
    ("kind", "kind", "kind of layer", |row| Cell::Text(row.kind.into())),
    ("macs", "MACs\n/input", "multiply-accumulates of one input", |row| {
        row.macs.dense.checked_div(row.inputs).map_or(Cell::Absent, Cell::Count)
    }),
    ("all_macs", "MACs", "multiply-accumulates of all inputs", |row| Cell::Count(row.macs.dense)),
    ("padding", "padding\nMACs", "MACs whose activation is read from outside the tensor, of all MACs", |row| {
        part(row.macs.padding, row.macs.dense)
    }),
    ("zero_both", "both\nzero", "MACs of a zero activation and a zero weight, of all MACs", |row| {
        part(row.macs.zero_both, row.macs.dense)
    }),
    ("zero_activation", "act zero\nMACs", "MACs of a zero activation and a non-zero weight, of all MACs", |row| {
        part(row.macs.zero_activation, row.macs.dense)
    }),
    ("zero_weight", "wt zero\nMACs", "MACs of a non-zero activation and a zero weight, of all MACs", |row| {
        part(row.macs.zero_weight, row.macs.dense)
    }),
    ("effectual", "effectual\nMACs", "MACs of two non-zero operands, of all MACs", |row| {
        part(row.macs.effectual, row.macs.dense)
    }),
    ("temporal", "as step\nbefore", "activations of an LSTM whose code is that of the step before", |row| {
        row.temporal.map_or(Cell::Absent, |temporal| Cell::Share(temporal.equal_share))
    }),
    (
        "temporal_terms",
        "change\nterms",
        "mean terms of the difference to the step before, of an LSTM's activations",
        |row| row.temporal.map_or(Cell::Absent, |temporal| Cell::Mean(temporal.change_terms_per_value)),
    ),
];

/// Terms by the encoder of that name, where terms were counted.
fn terms(x: &Operand, encoder: &str) -> Option<Term> {
    x.terms.as_ref()?.by_encoder().into_iter().find(|(name, _)| *name == encoder).map(|(_, term)| term)
}

type OperandColumn = (&'static str, &'static str, &'static str, fn(&Operand, &str) -> Cell);

const OPERAND_COLUMNS: [OperandColumn; 28] = [
    ("elements", "values", "values", |x, _| Cell::Count(x.elements)),
    ("zeros", "zero", "zero codes, of all values", |x, _| Cell::Share(x.zero_share)),
    ("natural", "natural\nzero", "real values of exactly 0, of all values", |x, _| part(x.zeros_natural, x.elements)),
    ("rounded", "rounded\nzero", "non-zero values of zero code, of all values", |x, _| {
        part(x.zeros_rounded, x.elements)
    }),
    ("negative", "negative", "negative codes, of all values", |x, _| {
        x.negative.map_or(Cell::Absent, |negative| part(negative, x.elements))
    }),
    ("saturated", "saturated", "values beyond the calibrated range", |x, _| Cell::Count(x.saturated)),
    ("min", "min", "smallest real value", |x, _| Cell::Real(x.min)),
    ("max", "max", "largest real value", |x, _| Cell::Real(x.max)),
    ("mean", "mean", "mean of the codes, in real terms", |x, _| Cell::Real(x.mean)),
    ("std", "std", "standard deviation of the codes, in real terms", |x, _| Cell::Real(x.std)),
    ("p", "layer\nwidth", "width of the layer", |x, _| x.layer_width.map_or(Cell::Absent, |p| Cell::Count(p.into()))),
    ("width", "value\nwidth", "mean width of a value", |x, _| Cell::Mean(x.mean_width)),
    ("g16", "g16\nwidth", "mean width of groups of 16", |x, _| Cell::Mean(x.groups.g16.mean_width)),
    ("g64", "g64\nwidth", "mean width of groups of 64", |x, _| Cell::Mean(x.groups.g64.mean_width)),
    ("g256", "g256\nwidth", "mean width of groups of 256", |x, _| Cell::Mean(x.groups.g256.mean_width)),
    ("terms", "terms", "mean terms of a value, by the chosen encoder", |x, encoder| {
        terms(x, encoder).map_or(Cell::Absent, |term| Cell::Mean(term.per_value))
    }),
    ("naf", "naf\nterms", "mean non-zero digits of the canonical signed-digit form", |x, _| {
        terms(x, "naf").map_or(Cell::Absent, |term| Cell::Mean(term.per_value))
    }),
    ("popcount", "ones", "mean ones of the magnitude", |x, _| {
        terms(x, "popcount").map_or(Cell::Absent, |term| Cell::Mean(term.per_value))
    }),
    ("booth4", "booth4\nterms", "mean non-zero radix-4 modified Booth digits", |x, _| {
        terms(x, "booth4").map_or(Cell::Absent, |term| Cell::Mean(term.per_value))
    }),
    ("runs", "runs\nterms", "mean terms of the run code", |x, _| {
        terms(x, "runs").map_or(Cell::Absent, |term| Cell::Mean(term.per_value))
    }),
    ("nonzero_naf", "naf of\nnon-zero", "mean naf terms of a non-zero value", |x, _| {
        terms(x, "naf").map_or(Cell::Absent, |term| Cell::Mean(term.per_nonzero))
    }),
    ("zero_bits", "zero\nbits", "zero bits of all bits, sign-magnitude", |x, _| {
        x.zero_bits_sign_magnitude.map_or(Cell::Absent, |bits| Cell::Share(bits.share))
    }),
    ("zero_bits_tc", "zero bits\n2's c.", "zero bits of all bits, two's complement", |x, _| {
        x.zero_bits_twos_complement.map_or(Cell::Absent, |bits| Cell::Share(bits.share))
    }),
    ("raw_zeros", "raw\nzero", "zero codes as a quantised network stores them, of all values", |x, _| {
        x.raw.map_or(Cell::Absent, |raw| Cell::Share(raw.zeros.share))
    }),
    ("raw_zero_bits", "raw zero\nbits", "zero bits of the codes as a quantised network stores them", |x, _| {
        x.raw.map_or(Cell::Absent, |raw| Cell::Share(raw.zero_bits.share))
    }),
    ("entropy", "entropy", "Shannon entropy of the codes, bits a value", |x, _| Cell::Mean(x.entropy)),
    ("dead", "dead\nchannels", "channels that were never non-zero", |x, _| Cell::Count(x.dead_channels)),
    ("scale", "scale", "codes are real values times this, rounded", |x, _| Cell::Real(x.scale)),
];

/// All columns: of the layer, `a.` of activations, `w.` of weights, and potentials by name.
pub static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let layer = LAYER_COLUMNS.iter().map(|&(name, header, doc, get)| Column {
        name: name.into(),
        header: header.into(),
        doc: doc.into(),
        extract: Extract::Layer(get),
    });
    let operands = [("a", "act", "activations"), ("w", "wt", "weights")].into_iter().enumerate();
    let operands = operands.flat_map(|(which, (letter, short, long))| {
        OPERAND_COLUMNS.iter().map(move |&(name, header, doc, get)| {
            let header = if header.contains('\n') {
                header.replace('\n', &format!(" {short}\n"))
            } else {
                format!("{header}\n{short}")
            };
            Column {
                name: format!("{letter}.{name}"),
                header,
                doc: format!("{long}: {doc}"),
                extract: Extract::Operand(which, get),
            }
        })
    });
    let potentials = POTENTIALS.iter().map(|&(name, doc)| Column {
        name: name.into(),
        header: name.into(),
        doc: format!("potential of {doc}"),
        extract: Extract::Potential(name),
    });
    layer.chain(operands).chain(potentials).collect()
});

/// The column of that name.
pub fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// The columns of `document` that are shown unless others are chosen.
pub fn default(document: &Document) -> Vec<&'static Column> {
    let names = if document.format.statistics.is_none() { DEFAULT } else { OF_VALUES };
    names.iter().filter_map(|name| find(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_column_has_its_own_name_and_a_meaning() {
        let mut names: Vec<&str> = COLUMNS.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        let twice: Vec<&[&str]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(COLUMNS.iter().all(|column| !column.doc.is_empty() && column.header.lines().count() <= 2));
        let mut document = sample::document();
        assert_eq!(default(&document).len(), DEFAULT.len());
        document.format.statistics = Some("values");
        assert_eq!(default(&document).len(), OF_VALUES.len());
    }

    #[test]
    fn every_column_has_a_text_in_every_row() {
        let document = sample::document();
        let mut lines = String::new();
        for column in COLUMNS.iter().filter(|column| !matches!(column.extract, Extract::Potential(_))) {
            let texts: Vec<String> = rows(&document).map(|row| column.text(&row)).collect();
            lines += &format!("{}: {}\n", column.name, texts.join(" | "));
        }
        insta::assert_snapshot!(lines, @r"
        kind: conv | depthwise | 
        macs: 250 | 125 | 375
        all_macs: 1.000 k | 500 | 1.500 k
        padding: 1.0% | 2.0% | 0.7%
        zero_both: 1.0% | 2.0% | 0.7%
        zero_activation: 56.0% | 92.0% | 70.7%
        zero_weight: 2.0% | 4.0% | 1.3%
        effectual: 40.0% | 0.0% | 26.7%
        temporal: - | - | -
        temporal_terms: - | - | -
        a.elements: 1.000 k | 500 | 1.500 k
        a.zeros: 60.0% | 100.0% | 60.0%
        a.natural: 59.9% | 99.8% | 59.9%
        a.rounded: 0.1% | 0.2% | 0.1%
        a.negative: 0.3% | 0.6% | 0.2%
        a.saturated: 2 | 2 | 2
        a.min: -0.001000 | -0.001000 | -
        a.max: 0.006836 | 0.006836 | -
        a.mean: 0.001250 | 0.001250 | -
        a.std: 0.002000 | 0.002000 | -
        a.p: 3 | 3 | -
        a.width: 1.20 | 0.00 | 1.20
        a.g16: 4.00 | 4.00 | 4.00
        a.g64: 5.00 | 5.00 | 5.00
        a.g256: 6.00 | 6.00 | 6.00
        a.terms: 0.80 | 0.00 | 0.80
        a.naf: 0.80 | 0.00 | 0.80
        a.popcount: 1.20 | 0.00 | 1.20
        a.booth4: 1.60 | 0.00 | 1.60
        a.runs: 2.00 | 0.00 | 2.00
        a.nonzero_naf: 2.00 | - | 2.00
        a.zero_bits: 81.2% | 81.2% | 81.2%
        a.zero_bits_tc: 75.0% | 75.0% | 75.0%
        a.raw_zeros: - | - | -
        a.raw_zero_bits: - | - | -
        a.entropy: 0.97 | 0.97 | -
        a.dead: 1 | 1 | 1
        a.scale: 1024 | 1024 | -
        w.elements: 36 | 36 | 1.500 k
        w.zeros: 16.7% | 16.7% | 60.0%
        w.natural: 13.9% | 13.9% | 59.9%
        w.rounded: 2.8% | 2.8% | 0.1%
        w.negative: 8.3% | 8.3% | 0.2%
        w.saturated: 2 | 2 | 2
        w.min: -0.001000 | -0.001000 | -
        w.max: 0.006836 | 0.006836 | -
        w.mean: 0.001250 | 0.001250 | -
        w.std: 0.002000 | 0.002000 | -
        w.p: 3 | 3 | -
        w.width: 2.50 | 2.50 | 1.20
        w.g16: 4.00 | 4.00 | 4.00
        w.g64: 5.00 | 5.00 | 5.00
        w.g256: 6.00 | 6.00 | 6.00
        w.terms: 1.67 | 1.67 | 0.80
        w.naf: 1.67 | 1.67 | 0.80
        w.popcount: 2.50 | 2.50 | 1.20
        w.booth4: 3.33 | 3.33 | 1.60
        w.runs: 4.17 | 4.17 | 2.00
        w.nonzero_naf: 2.00 | 2.00 | 2.00
        w.zero_bits: 81.2% | 81.2% | 81.2%
        w.zero_bits_tc: 75.0% | 75.0% | 75.0%
        w.raw_zeros: - | - | -
        w.raw_zero_bits: - | - | -
        w.entropy: 0.97 | 0.97 | -
        w.dead: 1 | 1 | 1
        w.scale: 1024 | 1024 | -
        ");
    }

    #[test]
    fn potentials_are_finite_infinite_or_none() {
        let text = |baseline, work, potential| Cell::Potential(Work { baseline, work, potential }).text();
        assert_eq!(text(512, 256, Some(2.0)), "2.00");
        assert_eq!(text(512, 0, None), "inf");
        assert_eq!(text(0, 0, None), "-");
    }
}
