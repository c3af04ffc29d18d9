//! Tests of whole comparisons, of measurements made by hand.

use serde_json::json;

use super::document::document;
use super::*;
use crate::metrics::{Cell, Fraction, Interval, Value, Which};
use crate::report::sample;

fn side(file: &str, change: impl Fn(&mut Report)) -> Side {
    let mut report = sample::report();
    change(&mut report);
    Side { file: file.into(), report }
}

/// Lets the zeros of activations of scope `at` be `zeros` of 800, with an interval of 5 % to either side.
fn zeros(report: &mut Report, at: usize, zeros: u32) {
    let of = |cell: &Cell| {
        let is = cell.metric.name == "zeros" && cell.operand == Some(Which::Activations);
        let share = f64::from(zeros) / 800.0;
        let interval = Interval { std: 0.1, low: share - 0.05, high: share + 0.05 };
        match is {
            true => Cell {
                value: Value::Ratio(Fraction::new(zeros, 800_u32)),
                intervals: [Some(interval), None],
                ..cell.clone()
            },
            false => cell.clone(),
        }
    };
    report.scopes[at].cells = report.scopes[at].cells.iter().map(of).collect();
}

/// The sample and two others: in `b` names have a prefix, and shares of zeros moved; `c` is of other numbers and lacks a layer.
fn comparison() -> Comparison {
    let base = side("runs/a.dwm", |report| (0..3).for_each(|at| zeros(report, at, 400)));
    let b = side("runs/b.json", |report| {
        report.scopes[0].layer = "model.conv1".into();
        report.scopes[1].layer = "model.layer1.0|conv".into();
        // 7.07 % is the margin: 7 % are noise, 7.25 % are not.
        [456, 458, 400].into_iter().enumerate().for_each(|(at, count)| zeros(report, at, count));
    });
    let c = side("c.dwm", |report| {
        (0..3).for_each(|at| zeros(report, at, 400));
        report.scopes[1].layer = "head".into();
        report.provenance.format.name = "int8".into();
        report.inputs = 3;
        report.inputs_sha256 = "11".repeat(32);
        report.scopes[0].shape.as_mut().unwrap().padding = [None, Some(1), Some(1), Some(1)];
    });
    let columns = ["a.zeros", "w.zeros"].map(|name| Column::parse(name).unwrap());
    Comparison::new(vec![base, b, c], &columns).unwrap()
}

#[test]
fn tables_say_what_changed_and_what_is_noise() {
    let mut comparison = comparison();
    comparison.sort(Sort::Change);
    insta::assert_snapshot!(Format::Table.render(&comparison, None), @r"
    base     runs/a.dwm: tiny, fixed16, 4 inputs; top-1 75.0%, top-5 100.0% of 4 with a label
    against  runs/b.json: tiny, fixed16, 4 inputs; top-1 75.0%, top-5 100.0% of 4 with a label
    against  c.dwm: tiny, int8, 3 inputs; top-1 75.0%, top-5 100.0% of 4 with a label
    differs  inputs: 4 (000000000000) (runs/a.dwm), 3 (111111111111) (c.dwm)
    differs  number format: fixed16 (runs/a.dwm), int8 (c.dwm)
    differs  padding of conv1: 0, 1, 0, 1 (runs/a.dwm), any, 1, 1, 1 (c.dwm)
    names    those of runs/b.json are matched without model.
    only in  c.dwm: head
    ~        within the 95 % interval of the difference: other inputs may give none

    layer          metric       a      b     change  ratio      c  change  ratio
    -----------------------------------------------------------------------------
    network        a.zeros  50.0%  50.0%          =      1  50.0%       =      1
                   w.zeros  16.7%  16.7%          =      1  16.7%       =      1
    layer1.0|conv  a.zeros  50.0%  57.2%   +7.25 pp  1.145      -       -      -
                   w.zeros  16.7%  16.7%          =      1      -       -      -
    conv1          a.zeros  50.0%  57.0%  ~+7.00 pp  1.140  50.0%       =      1
                   w.zeros  16.7%  16.7%          =      1  16.7%       =      1
    ");
}

#[test]
fn markdown_has_every_name_in_every_row() {
    let mut comparison = comparison();
    comparison.keep_changed();
    insta::assert_snapshot!(Format::Md.render(&comparison, None), @r"
    - base: runs/a.dwm: tiny, fixed16, 4 inputs; top-1 75.0%, top-5 100.0% of 4 with a label
    - against: runs/b.json: tiny, fixed16, 4 inputs; top-1 75.0%, top-5 100.0% of 4 with a label
    - against: c.dwm: tiny, int8, 3 inputs; top-1 75.0%, top-5 100.0% of 4 with a label
    - differs: inputs: 4 (000000000000) (runs/a.dwm), 3 (111111111111) (c.dwm)
    - differs: number format: fixed16 (runs/a.dwm), int8 (c.dwm)
    - differs: padding of conv1: 0, 1, 0, 1 (runs/a.dwm), any, 1, 1, 1 (c.dwm)
    - names: those of runs/b.json are matched without model.
    - only in: c.dwm: head

    | layer | metric | a | b | change | ratio | c | change | ratio |
    | :-- | :-- | --: | --: | --: | --: | --: | --: | --: |
    | layer1.0\|conv | a.zeros | 50.0% | 57.2% | +7.25 pp | 1.145 | - | - | - |
    | layer1.0\|conv | w.zeros | 16.7% | 16.7% | = | 1 | - | - | - |
    ");
    comparison.keep_from(0.2);
    assert!(comparison.rows.is_empty());
    assert!(Format::Md.render(&comparison, None).ends_with("- changes: none\n"));
}

#[test]
fn documents_hold_every_figure() {
    let document = document(&comparison());
    assert_eq!((&document["schema"], &document["same_inputs"]), (&json!("deadweight/compare/1"), &json!(false)));
    assert_eq!(document["files"][0]["only"], json!([]));
    assert_eq!(document["files"][2]["only"], json!(["head"]));
    assert_eq!(
        document["differences"][1],
        json!({ "file": "c.dwm", "what": "number format", "base": "fixed16", "other": "int8" })
    );
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    assert_eq!(
        rows[4],
        json!({
            "scope": "layer", "layer": "layer1.0|conv", "index": 1, "kind": "conv", "metric": "a.zeros",
            "base": { "value": 0.5, "low": 0.45, "high": 0.55, "std": 0.1 },
            "others": [
                {
                    "name": "model.layer1.0|conv", "value": 0.5725, "low": 0.5225, "high": 0.6225, "std": 0.1,
                    "difference": 458.0 / 800.0 - 0.5, "ratio": 1.145, "margin": rows[4]["others"][0]["margin"], "verdict": "changed",
                },
                { "name": null, "value": null, "difference": null, "ratio": null, "margin": null, "verdict": "missing" },
            ],
        })
    );
    let margin = rows[4]["others"][0]["margin"].as_f64().unwrap();
    assert!((margin - 0.05 * 2.0_f64.sqrt()).abs() < 1e-12, "{margin}");
    let lines = Format::Csv.render(&comparison(), None);
    assert_eq!(lines.lines().count(), 1 + 2 * 6);
    assert!(lines.lines().all(|line| line.split(',').count() == 18), "{lines}");
}

#[test]
fn sorting_puts_the_network_first_and_noise_last() {
    let mut comparison = comparison();
    let order = |comparison: &Comparison| -> Vec<(Option<usize>, usize)> {
        comparison.rows.iter().map(|row| (row.index, row.column)).collect()
    };
    let of_base = [(None, 0), (None, 1), (Some(0), 0), (Some(0), 1), (Some(1), 0), (Some(1), 1)];
    comparison.sort(Sort::Order);
    assert_eq!(order(&comparison), of_base);
    comparison.sort(Sort::Change);
    // 14.5 % that are none before 14 % that are noise.
    assert_eq!(order(&comparison), [(None, 0), (None, 1), (Some(1), 0), (Some(1), 1), (Some(0), 0), (Some(0), 1)]);
    comparison.sort(Sort::Metric);
    assert_eq!(order(&comparison), [(None, 0), (Some(1), 0), (Some(0), 0), (None, 1), (Some(1), 1), (Some(0), 1)]);
    // A larger one that is noise stays behind.
    let noisy = comparison.rows.iter_mut().find(|row| row.index == Some(0) && row.column == 0).unwrap();
    noisy.changes[0].ratio = Some(3.0);
    comparison.sort(Sort::Change);
    assert_eq!(order(&comparison)[2], (Some(1), 0));
    comparison.keep_from(1.0);
    assert_eq!(order(&comparison), [(Some(0), 0)]);
    comparison.keep_changed();
    assert_eq!(order(&comparison), [], "noise is no change, however large");
}
