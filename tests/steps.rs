//! Steps of LSTMs: one by one where asked, and extents that do not depend on how texts are cut.

use serde_json::Value;

use crate::binary::{fail, succeed};

fn document(flags: &[&str]) -> Value {
    let run = ["measure", "verses", "--limit", "4", "--streams", "2", "--format", "json"];
    serde_json::from_slice(&succeed(&[&run[..], flags].concat())).unwrap()
}

/// First and last step, and numerators and denominators of everything that is counted of the steps between.
type Steps = (u64, u64, Vec<(String, [u64; 2])>);

fn steps(layer: &Value) -> Vec<Steps> {
    let of = |steps: &Value| {
        let mut counts = Vec::new();
        for operand in ["metrics", "activations"] {
            for (name, value) in steps[operand].as_object().unwrap() {
                let numerator = value["numerator"].as_u64().or(value["value"].as_u64());
                if let Some(numerator) = numerator {
                    counts.push((name.clone(), [numerator, value["denominator"].as_u64().unwrap_or(0)]));
                }
            }
        }
        assert!(counts.len() >= 5, "{counts:?}");
        (steps["first"].as_u64().unwrap(), steps["last"].as_u64().unwrap(), counts)
    };
    layer["steps"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn steps_are_counted_one_by_one_where_it_is_asked_for() {
    let together = document(&[]);
    assert!(together["options"].get("single_steps").is_none());
    for single in [5, 20, 64, 1000] {
        let apart = document(&["--single-steps", &single.to_string()]);
        assert_eq!(apart["options"]["single_steps"], single.to_string());
        for (apart, together) in apart["layers"].as_array().unwrap().iter().zip(together["layers"].as_array().unwrap())
        {
            if together.get("steps").is_none() {
                continue;
            }
            let (apart, together) = (steps(apart), steps(together));
            // Two segments of 64 steps of each of two streams.
            let singles = apart.iter().filter(|(first, last, _)| first == last).count();
            assert_eq!(singles, single.min(128), "{single}");
            assert!(apart.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "steps follow one another");
            for (first, last, want) in together {
                let parts = apart.iter().filter(|steps| first <= steps.0 && steps.0 <= last);
                let sum = parts.fold(vec![[0; 2]; want.len()], |mut sum, (_, _, counts)| {
                    for (to, (_, of)) in sum.iter_mut().zip(counts) {
                        *to = [to[0] + of[0], to[1] + of[1]];
                    }
                    sum
                });
                assert_eq!(
                    sum,
                    want.iter().map(|(_, counts)| *counts).collect::<Vec<_>>(),
                    "{single}: {first} to {last}"
                );
            }
        }
    }
    // As by default: nothing is asked for.
    assert_eq!(document(&["--single-steps", "2"]), together);
    for flags in [&["digits", "--single-steps", "5"][..], &["verses", "--single-steps", "1"]] {
        let (code, message) = fail(&[&["measure"], flags].concat());
        assert!(code == 2 && message.contains("--single-steps"), "{message}");
    }
}

#[test]
fn extents_of_texts_are_those_of_a_step_however_they_are_cut() {
    for steps in ["64", "7"] {
        let document = document(&["--steps", steps]);
        for layer in document["layers"].as_array().unwrap() {
            let shape = &layer["shape"];
            let weight = [0, 1].map(|extent| shape["weight"][extent].clone());
            assert_eq!(shape["input"], serde_json::json!([weight[1], 1, 1]), "{layer}");
            assert_eq!(shape["output"], serde_json::json!([weight[0], 1, 1]), "{layer}");
        }
    }
}
