//! The study's figures of the built-in models, which need no assets: `examples/study/results.json` has what a run prints now.

use serde_json::Value;

use crate::binary::succeed;

/// A figure as the study keeps it: six digits, and the ends of its interval where it has one.
fn kept(entry: &Value) -> Vec<f64> {
    let entry = entry.get("with_padding").unwrap_or(entry);
    let number = |name: &str| format!("{:.5e}", entry[name].as_f64().unwrap()).parse().unwrap();
    match entry.get("low").is_some() && entry["low"] != entry["high"] {
        true => ["value", "low", "high"].map(number).to_vec(),
        false => vec![number("value")],
    }
}

#[test]
fn the_study_has_the_figures_of_the_built_in_models() {
    let study: Value = serde_json::from_str(include_str!("../examples/study/results.json")).unwrap();
    for key in ["digits", "digits.int8", "digits.bf16", "scenes", "photos", "verses", "chapters"] {
        let words: Vec<&str> = study[key]["command"].as_str().unwrap().split(' ').skip(1).collect();
        let document: Value =
            serde_json::from_slice(&succeed(&[&words[..], &["--format", "json", "-q"]].concat())).unwrap();
        let figures = study[key]["figures"].as_object().unwrap();
        assert!(figures.len() > 40, "{key}: {} figures", figures.len());
        for (name, want) in figures {
            let (operand, metric) = name.split_once('.').unwrap_or(("", name));
            let of = match operand {
                "a" => &document["network"]["activations"][metric],
                "w" => &document["network"]["weights"][metric],
                _ => [name.clone(), format!("potential.{name}")]
                    .iter()
                    .find_map(|name| document["network"]["metrics"].get(name))
                    .unwrap_or_else(|| panic!("{key}: {name} is no figure of the network")),
            };
            if want[0].is_null() {
                let of = of.get("with_padding").unwrap_or(of);
                assert!(of["value"].is_null(), "{key}: {name}");
                continue;
            }
            let want: Vec<f64> = want.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
            assert_eq!(kept(of), want, "{key}: {name}");
        }
    }
}
