//! Tidy CSV: every number of the document on its own line, for data frames.

use super::document::{Document, Group, Layer, Macs, Operand, Potentials, Recurrent, Temporal, Term, Terms, Work};
use super::quality::Quality;

const HEADER: [&str; 7] = ["layer", "index", "operand", "metric", "parameter", "value", "unit"];

/// All numbers. The network's rows have layer `network` and no index; what has no value has an empty field, what is
/// infinite is `inf`.
pub(super) fn render(document: &Document) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).expect(IN_MEMORY);
    for (index, layer) in document.layers.iter().enumerate() {
        let mut rows = Rows { writer: &mut writer, layer: &layer.name, index: index.to_string(), operand: "" };
        layer_rows(&mut rows, layer);
    }
    let mut rows = Rows { writer: &mut writer, layer: "network", index: String::new(), operand: "" };
    provenance(&mut rows, document);
    let network = &document.network;
    macs(&mut rows, &network.macs);
    operand(&mut rows, "activations", &network.activations);
    operand(&mut rows, "weights", &network.weights);
    potentials(&mut rows, &network.potentials);
    String::from_utf8(writer.into_inner().expect(IN_MEMORY)).expect("all fields are UTF-8")
}

const IN_MEMORY: &str = "memory takes every record, and all have seven fields";

/// Writes rows of one layer, and of one operand of it.
struct Rows<'a> {
    writer: &'a mut csv::Writer<Vec<u8>>,
    layer: &'a str,
    index: String,
    operand: &'static str,
}

impl Rows<'_> {
    fn put(&mut self, metric: &str, parameter: &str, value: impl Into<Number>, unit: &str) {
        let value = value.into().0;
        let record = [self.layer, &self.index, self.operand, metric, parameter, &value, unit];
        self.writer.write_record(record).expect(IN_MEMORY);
    }

    fn series(&mut self, metric: &str, values: &[u64], unit: &str) {
        for (i, &value) in values.iter().enumerate() {
            self.put(metric, &i.to_string(), value, unit);
        }
    }
}

/// A number as text; reals in the shortest form that reads back the same.
struct Number(String);

macro_rules! integers {
    ($($type:ty)*) => { $(impl From<$type> for Number {
        fn from(value: $type) -> Self {
            Self(value.to_string())
        }
    })* };
}

integers!(u32 u64 u128 usize);

impl From<Option<usize>> for Number {
    fn from(value: Option<usize>) -> Self {
        Self(value.map(|value| value.to_string()).unwrap_or_default())
    }
}

impl From<Option<f64>> for Number {
    fn from(value: Option<f64>) -> Self {
        Self(value.map(|value| format!("{value:?}")).unwrap_or_default())
    }
}

fn provenance(rows: &mut Rows, document: &Document) {
    let Document { model, data, format, .. } = document;
    rows.put("parameters", "", model.parameters, "values");
    model.files.iter().for_each(|file| rows.put("file_bytes", &file.name, file.bytes, "bytes"));
    rows.put("inputs", "", data.inputs, "inputs");
    rows.put("skipped", "", data.skipped, "inputs");
    match &data.quality {
        None => {}
        Some(Quality::Classify(accuracy)) => {
            rows.put("labelled", "", accuracy.labelled, "inputs");
            rows.put("top1", "", accuracy.top1, "inputs");
            rows.put("top5", "", accuracy.top5, "inputs");
        }
        Some(Quality::Segment(overlap)) => {
            rows.put("images", "", overlap.images, "inputs");
            rows.put("pixels", "", overlap.pixels, "pixels");
            rows.put("correct", "", overlap.correct, "pixels");
            rows.put("mean_iou", "", overlap.mean_iou, "share");
            for class in &overlap.classes {
                rows.put("class", &class.name, class.class, "class");
                rows.put("intersection", &class.name, class.intersection, "pixels");
                rows.put("union", &class.name, class.union, "pixels");
                rows.put("iou", &class.name, class.iou, "share");
            }
        }
        Some(Quality::Language(likelihood)) => {
            rows.put("tokens", "", likelihood.tokens, "tokens");
            rows.put("correct", "", likelihood.correct, "tokens");
            rows.put("characters", "", likelihood.characters, "characters");
            rows.put("perplexity", "", Some(likelihood.perplexity), "perplexity");
            rows.put("bits_per_character", "", likelihood.bits_per_character, "bits");
        }
        Some(Quality::Restore(fidelity)) => {
            rows.put("images", "", fidelity.images, "inputs");
            rows.put("psnr", "", Some(fidelity.psnr_db), "dB");
            rows.put("input_psnr", "", Some(fidelity.input_psnr_db), "dB");
            rows.put("ssim", "", fidelity.ssim, "similarity");
        }
    }
    rows.put("bits", "", format.bits, "bits");
    rows.put("calibration_inputs", "", format.calibration_inputs, "inputs");
}

fn layer_rows(rows: &mut Rows, layer: &Layer) {
    let shape = &layer.shape;
    let mut extents = |metric: &str, names: &[&str], values: &[Option<usize>], unit: &str| {
        names.iter().zip(values).for_each(|(name, &value)| rows.put(metric, name, value, unit));
    };
    extents("shape.input", &["C", "H", "W"], &shape.input, "values");
    extents("shape.output", &["K", "P", "Q"], &shape.output, "values");
    extents("shape.weight", &["K", "C/groups", "R", "S"], &shape.weight.map(Some), "values");
    extents("stride", &["rows", "columns"], &layer.stride.map(Some), "values");
    extents("padding", &["top", "bottom", "left", "right"], &layer.padding, "values");
    extents("dilation", &["rows", "columns"], &layer.dilation.map(Some), "values");
    extents("groups", &[""], &[Some(layer.groups)], "groups");
    macs(rows, &layer.macs);
    operand(rows, "activations", &layer.activations);
    operand(rows, "weights", &layer.weights);
    potentials(rows, &layer.potentials);
    if let Some(recurrent) = &layer.recurrent {
        sequences(rows, recurrent);
    }
}

/// An LSTM's gates are layers of the name and `[i]`, `[f]`, `[g]`, `[o]`, and steps are parameters.
fn sequences(rows: &mut Rows, recurrent: &Recurrent) {
    let temporal = |rows: &mut Rows, parameter: &str, of: &Temporal| {
        rows.operand = "activations";
        rows.put("temporal.compared", parameter, of.compared, "values");
        rows.put("temporal.equal", parameter, of.equal, "values");
        rows.put("temporal.equal_share", parameter, of.equal_share, "fraction");
        rows.put("temporal.change_terms", parameter, of.change_terms, "terms");
        rows.put("temporal.change_terms_per_value", parameter, of.change_terms_per_value, "terms per value");
    };
    temporal(rows, "", &recurrent.temporal);
    for step in &recurrent.steps {
        let parameter = format!("step {}", step.first);
        rows.put("steps", &parameter, step.steps, "steps");
        rows.put("elements", &parameter, step.values, "values");
        rows.put("zeros", &parameter, step.zeros, "values");
        rows.put("zero_share", &parameter, step.zero_share, "fraction");
        rows.put("terms", &parameter, step.terms, "terms");
        rows.put("terms_per_value", &parameter, step.terms_per_value, "terms per value");
        temporal(rows, &parameter, &step.temporal);
    }
    for gate in &recurrent.gates {
        let layer = format!("{}[{}]", rows.layer, gate.gate);
        let mut rows = Rows { writer: rows.writer, layer: &layer, index: rows.index.clone(), operand: "" };
        macs(&mut rows, &gate.macs);
        operand(&mut rows, "weights", &gate.weights);
        potentials(&mut rows, &gate.potentials);
    }
}

fn macs(rows: &mut Rows, macs: &Macs) {
    let Macs { dense, padding, zero_both, zero_activation, zero_weight, effectual } = *macs;
    for (class, count) in [
        ("dense", dense),
        ("padding", padding),
        ("zero_both", zero_both),
        ("zero_activation", zero_activation),
        ("zero_weight", zero_weight),
        ("effectual", effectual),
    ] {
        rows.put("macs", class, count, "MACs");
    }
}

fn operand(rows: &mut Rows, name: &'static str, operand: &Operand) {
    rows.operand = name;
    rows.put("bits", "", operand.bits, "bits");
    rows.put("elements", "", operand.elements, "values");
    rows.put("zeros", "", operand.zeros, "values");
    rows.put("zeros_natural", "", operand.zeros_natural, "values");
    rows.put("zeros_rounded", "", operand.zeros_rounded, "values");
    rows.put("zero_share", "", operand.zero_share, "fraction");
    if let Some(negative) = operand.negative {
        rows.put("negative", "", negative, "values");
    }
    rows.put("saturated", "", operand.saturated, "values");
    // Sums over layers have none of these.
    let reals = [
        ("scale", operand.scale, "codes per unit"),
        ("min", operand.min, "real"),
        ("max", operand.max, "real"),
        ("mean", operand.mean, "real"),
        ("std", operand.std, "real"),
        ("entropy", operand.entropy, "bits per value"),
    ];
    reals.iter().filter(|(_, value, _)| value.is_some()).for_each(|(name, value, unit)| {
        rows.put(name, "", *value, unit);
    });
    if let Some(width) = operand.layer_width {
        rows.put("layer_width", "", width, "bits");
    }
    if let Some(histogram) = &operand.width_histogram {
        rows.series("width_histogram", histogram, "values");
        rows.put("mean_width", "", operand.mean_width, "bits");
    }
    let groups = &operand.groups;
    for (name, group) in [("g16", &groups.g16), ("g64", &groups.g64), ("g256", &groups.g256)] {
        let Group { groups, histogram, mean_width } = group;
        rows.put("groups", name, *groups, "groups");
        rows.series(&format!("{name}.width_histogram"), histogram, "groups");
        rows.put("mean_group_width", name, *mean_width, "bits");
    }
    for (code, bits) in
        [("sign_magnitude", operand.zero_bits_sign_magnitude), ("twos_complement", operand.zero_bits_twos_complement)]
    {
        let Some(bits) = bits else { continue };
        rows.put("zero_bits", code, bits.count, "bits");
        rows.put("all_bits", code, bits.total, "bits");
        rows.put("zero_bit_share", code, bits.share, "fraction");
    }
    if let Some(raw) = &operand.raw {
        rows.put("zero_point", "", Some(f64::from(raw.zero_point)), "code");
        rows.put("raw_zeros", "", raw.zeros.count, "values");
        rows.put("raw_zero_share", "", raw.zeros.share, "fraction");
        rows.put("zero_bits", "raw", raw.zero_bits.count, "bits");
        rows.put("all_bits", "raw", raw.zero_bits.total, "bits");
        rows.put("zero_bit_share", "raw", raw.zero_bits.share, "fraction");
    }
    for (encoder, term) in operand.terms.iter().flat_map(Terms::by_encoder) {
        let Term { terms, per_value, per_nonzero } = term;
        rows.put("terms", encoder, terms, "terms");
        rows.put("terms_per_value", encoder, per_value, "terms");
        rows.put("terms_per_nonzero", encoder, per_nonzero, "terms");
    }
    rows.put("dead_channels", "", operand.dead_channels, "channels");
    rows.series("channel_nonzeros", operand.channel_nonzeros.as_deref().unwrap_or_default(), "values");
    rows.operand = "";
}

fn potentials(rows: &mut Rows, potentials: &Potentials) {
    for (name, potential) in &potentials.0 {
        for (mode, work) in [("with_padding", potential.with_padding), ("without_padding", potential.without_padding)] {
            let parameter = format!("{name}:{mode}");
            let Work { baseline, work, potential } = work;
            rows.put("baseline", &parameter, baseline, "bit products");
            rows.put("work", &parameter, work, "bit products");
            let infinite = (baseline > 0 && work == 0).then_some(f64::INFINITY);
            rows.put("potential", &parameter, potential.or(infinite), "ratio");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::sample;

    fn records(text: &str) -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), HEADER);
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    /// All numbers below `value`, and the nulls, which stand for numbers that are not.
    fn numbers(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Number(number) => into.push(number.to_string()),
            Value::Null => into.push(String::new()),
            Value::Array(items) => items.iter().for_each(|item| numbers(item, into)),
            Value::Object(fields) => fields.values().for_each(|item| numbers(item, into)),
            Value::Bool(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_number_of_the_document_is_there_once() {
        let document = sample::document();
        let records = records(&render(&document));
        let json = serde_json::to_value(&document).unwrap();
        let parts = [
            ("0", vec![&json["layers"][0]]),
            ("1", vec![&json["layers"][1]]),
            ("", vec![&json["network"], &json["model"], &json["data"], &json["format"]]),
        ];
        for (index, parts) in parts {
            let mut want = Vec::new();
            parts.iter().for_each(|part| numbers(part, &mut want));
            // JSON has no infinity.
            let got = records.iter().filter(|record| record[1] == index).map(|record| record[5].replace("inf", ""));
            let mut got: Vec<String> = got.collect();
            want.sort();
            got.sort();
            assert_eq!(got, want, "index {index}");
        }
    }

    #[test]
    fn rows_are_tidy() {
        let mut document = sample::document();
        document.layers[0].name = "a, \"b\"".into();
        document.layers[0].potentials.0[0].1.with_padding.work = u128::from(u64::MAX) + 1;
        let records = records(&render(&document));
        let value = |key: [&str; 5]| {
            let found: Vec<_> = records.iter().filter(|record| record[..5] == key).collect();
            assert_eq!(found.len(), 1, "{key:?}");
            found[0][5].clone()
        };
        assert_eq!(value(["a, \"b\"", "0", "", "work", "A:with_padding"]), "18446744073709551616");
        assert_eq!(value(["layer1.0|conv", "1", "", "potential", "A:with_padding"]), "inf");
        assert_eq!(value(["network", "", "", "inputs", ""]), "4");
        assert_eq!(value(["network", "", "weights", "width_histogram", "3"]), "600");
        assert_eq!(value(["layer1.0|conv", "1", "activations", "terms_per_nonzero", "naf"]), "");
        let mut keys: Vec<String> = records.iter().map(|record| record[..5].join("\t")).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all, "two rows with one key");
    }
}
