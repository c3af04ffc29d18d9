//! The list of metrics: one file and one name make a metric of every format, and the pages made of the list are current.

#[path = "fixtures/skip16.rs"]
mod skip16;

use deadweight::engine::{Backend, EngineOptions};
use deadweight::measure::{Quiet, Settings, calibrate_and_measure};
use deadweight::measurement::Measurement;
use deadweight::metrics::{self, Metric, Which};
use deadweight::model::{LoadOptions, Model};
use deadweight::report::columns::{self, Column};
use deadweight::report::{self, Format, Report};
use deadweight::tally::Extra;

use crate::docs::assert_current;

/// With all that can be asked for.
fn measured(name: &str, limit: usize) -> Measurement {
    let model = Model::load(name, &LoadOptions::default()).unwrap();
    let data = model.builtin_data().unwrap().unwrap();
    let settings = Settings { limit: Some(limit), extra: Extra::ALL.to_vec(), ..Settings::default() };
    let backend = Backend::Native(EngineOptions::new(2));
    calibrate_and_measure(&model, &backend, &data, &settings, &Quiet).unwrap().1
}

fn list() -> Vec<&'static Metric> {
    metrics::all().collect()
}

#[test]
fn a_metric_of_one_file_is_in_every_format() {
    let mut all = list();
    all.push(&skip16::METRIC);
    let report = Report::of(&measured("digits", 2), &all);
    let column = Column::of(&skip16::METRIC, None, None);
    // Layer by layer: the value is in the row of the table as in all machine formats.
    let name = skip16::METRIC.name;
    let document = report::document(&report);
    let rows = report::rows(&report);
    let columns = [column];
    let text = |format: Format| String::from_utf8(format.render(&report, &columns, None).unwrap()).unwrap();
    let [table, markdown, csv] = [Format::Table, Format::Md, Format::Csv].map(text);
    for (layer, scope) in document["layers"].as_array().unwrap().iter().zip(report.layers()) {
        let value = scope.cells.get(name, None).unwrap().number().unwrap();
        assert!(value >= 1.0, "{}: {value}", scope.layer);
        assert_eq!(layer["metrics"][name]["with_padding"]["value"], value);
        let row =
            rows.iter().find(|row| row.layer == scope.layer && row.metric == name && row.parameter == "with_padding");
        assert_eq!(row.unwrap().value, Some(value));
        assert!(csv.contains(&format!("{},{name},with_padding,{value:?},", "")), "{csv}");
        let text = columns[0].text(scope);
        assert!(table.lines().any(|line| line.starts_with(&scope.layer) && line.ends_with(&text)), "{table}");
        assert!(markdown.contains(&format!("| {} | {text} |", scope.layer)), "{markdown}");
    }
    assert!(document["network"]["metrics"][name]["without_padding"]["value"].is_f64());
    let schema = report::schema(&all);
    assert!(schema["properties"]["network"]["properties"]["metrics"]["properties"][name].is_object());
    assert!(report::reference(&all).contains(&format!("## `{name}`")));
    assert!(report::explanation(&skip16::METRIC).contains("groups of 16 zero activations"));
}

/// Every field of `document` is named in `schema`, and every field that it requires is there.
fn check_fields(place: &str, document: &serde_json::Value, schema: &serde_json::Value) {
    if let (Some(fields), Some(known)) = (document.as_object(), schema["properties"].as_object()) {
        for (name, value) in fields {
            let schema = known.get(name).or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()));
            check_fields(
                &format!("{place}.{name}"),
                value,
                schema.unwrap_or_else(|| panic!("{place}: {name} is in no schema")),
            );
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
        required.for_each(|name| assert!(fields.contains_key(name), "{place}: {name} is missing"));
    }
    if let (Some(items), Some(schema)) = (document.as_array(), schema.get("items")) {
        items.iter().for_each(|item| check_fields(place, item, schema));
    }
}

#[test]
fn every_document_has_the_fields_of_its_schema_and_no_others() {
    let schema = report::schema(&list());
    for name in ["digits", "scenes", "photos", "verses", "chapters"] {
        check_fields(name, &report::document(&Report::new(&measured(name, 1))), &schema);
    }
}

#[test]
fn every_metric_is_in_the_document_of_some_network() {
    let documents = ["digits", "scenes"].map(|name| report::document(&Report::new(&measured(name, 1))));
    let missing: Vec<&str> = list()
        .into_iter()
        .filter(|metric| {
            let places: &[&str] = if metric.is_of_operands() { &["activations", "weights"] } else { &["metrics"] };
            let has = |document: &serde_json::Value| {
                places.iter().any(|place| !document["layers"][0][place][metric.name].is_null())
            };
            !documents.iter().any(has)
        })
        .map(|metric| metric.name)
        // Of quantised networks, of LSTMs and of attention.
        .filter(|name| !["raw", "temporal", "attention"].iter().any(|group| name.starts_with(group)))
        .filter(|name| !["zero_point", "steps"].contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn columns_and_metrics_have_one_vocabulary() {
    for name in columns::names() {
        let column = Column::parse(&name).unwrap();
        assert_eq!(column.name, name);
        assert!(column.header.lines().count() <= 2, "{name}");
    }
    assert_eq!(Column::parse("w.width.g16:3").err(), None);
    let error = Column::parse("a.zeroes").unwrap_err();
    assert!(error.contains("no column"), "{error}");
    for which in Which::ALL {
        let name = format!("{}.zeros", which.letter());
        assert_eq!(Column::parse(&name).unwrap().name, name);
    }
}

/// `docs/metrics.md` is what the list says; `UPDATE_DOCS=1 cargo test docs_are_current` writes it.
#[test]
fn docs_are_current() {
    assert_current("metrics.md", &report::reference(&list()));
}
