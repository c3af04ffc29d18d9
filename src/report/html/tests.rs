//! What a page is made of: one file that loads nothing, data that can be read back, names that cannot become markup.

use serde_json::Value as Json;

use super::*;
use crate::metrics::{Value, Which};
use crate::report::Scope;
use crate::report::sample;

/// The block of data `id` of a page.
fn block_of(page: &str, id: &str) -> Json {
    let open = format!("<script type=\"application/json\" id=\"{id}\">");
    let (_, rest) = page.split_once(&open).unwrap();
    serde_json::from_str(rest.split("</script>").next().unwrap()).unwrap()
}

/// The number at an address in a scope, of column `field`.
fn number(run: &Json, address: &str, field: &str, scope: usize) -> Json {
    let place = run["columns"][address][field].as_u64().unwrap() as usize;
    run["arrays"][place][scope].clone()
}

#[test]
fn a_page_loads_nothing_and_is_the_same_each_time() {
    let runs = [sample::report(), sample::report()];
    let page = page(&runs, &[]);
    assert_eq!(page, super::page(&runs, &[]));
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for loads in ["src=\"", "href=\"http", "@import", "url(http", "//cdn", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(loads), "{loads}");
    }
    // Names of XML and of licences are no loads.
    let addresses = page.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
    let foreign: Vec<&str> = addresses
        .filter(|rest| !rest.starts_with("://www.w3.org/"))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert_eq!(page.matches("</script>").count(), page.matches("<script").count(), "no script is cut off");
}

#[test]
fn the_data_have_the_sums_of_the_run() {
    let report = sample::report();
    let page = page(std::slice::from_ref(&report), &[]);
    let data = block_of(&page, "data");
    let run = &data["runs"][0];
    assert_eq!((&run["label"], &run["class"]), (&"tiny".into(), &"image classifiers".into()));
    assert_eq!(run["layers"]["name"], serde_json::json!(["conv1", "layer1.0|conv"]));
    let scopes: Vec<&Scope> = report.layers().chain([report.network()]).collect();
    for (place, scope) in scopes.iter().enumerate() {
        let Some(Value::Work([with, without])) = scope.cells.get("macs.effectual", None) else { panic!("work") };
        let fields = ["n", "d", "m", "e"].map(|field| number(run, "macs.effectual", field, place).as_u64().unwrap());
        let want = [with.numerator, with.denominator, without.numerator, without.denominator];
        assert_eq!(fields.map(u128::from), want, "{}", scope.layer);
        let Some(Value::Histogram(counts)) = scope.cells.get("width.g16.histogram", Some(Which::Activations)) else {
            panic!("a histogram")
        };
        let used = counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        assert_eq!(number(run, "a.width.g16.histogram", "c", place), serde_json::json!(counts[..used]));
    }
    // An infinite potential is a sum over nothing, and no number that JSON has not.
    assert_eq!(number(run, "potential.A", "d", 1), 0);
    let metric = &data["metrics"]["potential.A"];
    assert_eq!((&metric["kind"], &metric["show"]), (&"work".into(), &"times".into()));
    assert!(data["metrics"].get("channel_nonzeros").is_none(), "channels stand apart");
    let channels = block_of(&page, "channels-0");
    assert_eq!(channels["a"][1], "AAAAAAAA", "all channels of a layer of zeros are dead");
    assert_eq!(channels["a"][0].as_str().unwrap().len(), 8);
}

#[test]
fn equal_arrays_are_stored_once() {
    let data = block_of(&page(&[sample::report()], &[]), "data");
    let arrays = data["runs"][0]["arrays"].as_array().unwrap();
    let mut texts: Vec<String> = arrays.iter().map(Json::to_string).collect();
    texts.sort();
    assert!(texts.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn names_cannot_end_a_block_or_be_markup() {
    let mut report = sample::report();
    let name = "</script><script>{{scripts}}&<!--";
    report.provenance.model.name = name.into();
    report.scopes[0].layer = name.into();
    report.provenance.notes.push(name.into());
    let example = Example {
        network: name.into(),
        id: name.into(),
        pictures: Vec::new(),
        lines: vec![name.into()],
        tokens: vec![(name.into(), Some(1.5))],
    };
    let page = page(&[report], std::slice::from_ref(&example));
    assert!(!page.contains("</script><script>{{"), "the name is nowhere as it is");
    assert!(page.contains("<title>script&gt;&lt;script&gt;{{scripts}}&amp;&lt;!-- · deadweight</title>"));
    let data = block_of(&page, "data");
    assert_eq!(data["runs"][0]["layers"]["name"][0], name);
    assert_eq!(serde_json::from_value::<Example>(data["examples"][0].clone()).unwrap(), example);
    let plain = super::page(&[sample::report()], &[]);
    assert_eq!(page.matches("</script>").count(), plain.matches("</script>").count());
}

#[test]
fn runs_are_told_apart_by_network_then_numbers_then_place() {
    let named = |name: &str, format: &str| {
        let mut report = sample::report();
        report.provenance.model.name = name.into();
        report.provenance.format.name = format.into();
        report
    };
    let runs =
        [named("org/a", "fixed16"), named("b", "fixed16"), named("b", "int8"), named("c", "int8"), named("c", "int8")];
    assert_eq!(labels(&runs), ["a", "b in fixed16", "b in int8", "c in int8, run 4", "c in int8, run 5"]);
}

#[test]
fn networks_have_their_class() {
    let of = |task: &str, format: &str, kind: &str| {
        let mut report = sample::report();
        report.provenance.model.task = task.into();
        report.provenance.format.name = format.into();
        report.scopes[0].kind = kind.into();
        class(&report)
    };
    let cases = [
        ("classify", "fixed16", "conv", Class::Images),
        ("classify", "stored", "conv", Class::Quantised),
        ("segment", "fixed16", "conv", Class::Segmentation),
        ("restore", "bf16", "conv", Class::Restoration),
        ("language", "fixed16", "lstm", Class::Recurrent),
        ("language", "stored", "attention", Class::Transformer),
        ("features", "fixed16", "linear", Class::Other),
    ];
    for (task, format, kind, want) in cases {
        assert_eq!(of(task, format, kind), want, "{task} {format} {kind}");
    }
}

#[test]
fn the_library_has_the_licences_of_all_its_packages() {
    let lock: Json = serde_json::from_str(include_str!("plot/package-lock.json")).unwrap();
    let licences = include_str!("plot/THIRD-PARTY.txt");
    let packages = lock["packages"].as_object().unwrap();
    let bundled: Vec<&String> =
        packages.keys().filter(|name| name.contains("d3-") || name.contains("observablehq")).collect();
    assert!(bundled.len() > 25, "{bundled:?}");
    for title in licences
        .lines()
        .filter(|line| line.contains(": ") && line.starts_with(['@', 'd', 'b', 'i']) && line.ends_with(['C', 'T', 'e']))
    {
        let Some((name, version)) = title.split(':').next().and_then(|words| words.rsplit_once(' ')) else { continue };
        let known = packages.get(&format!("node_modules/{name}"));
        assert!(known.is_none_or(|package| package["version"] == version), "{title} is not what is locked");
    }
    assert!(licences.contains("@observablehq/plot 0.6.17") && PLOT.contains("Observable Plot 0.6.17"));
}
