//! Tests of assertions.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Assertion {
    Assertion::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn parts(text: &str) -> Vec<(String, String)> {
    match parse(text).subject {
        Subject::Figure { parts, .. } => parts.into_iter().map(|(scope, column)| (scope, column.name)).collect(),
        Subject::Quality(name) => vec![("quality".into(), name)],
    }
}

#[test]
fn scope_metric_parameter_operator_and_number() {
    let one = |scope: &str, metric: &str| vec![(scope.to_owned(), metric.to_owned())];
    let cases = [
        ("network.W+A>=2", one("network", "potential.W+A")),
        (" layer1.0.conv1.a.zeros < 50 % ", one("layer1.0.conv1", "a.zeros")),
        ("*.weights.zeros == 0", one("*", "w.zeros")),
        ("layers.activations.width.g16 <= 8", one("layers", "a.width.g16")),
        ("network.W+A.without_padding > 1", one("network", "potential.W+A:without_padding")),
        ("network.Ae:with_padding > 1", one("network", "potential.Ae:with_padding")),
        ("fc.a.width.histogram.3 != 0", one("fc", "a.width.histogram:3")),
        ("\"a >= b.fc\".macs > 1e6", one("a >= b.fc", "macs")),
        ("'quality'.a.zeros > 0", one("quality", "a.zeros")),
        ("quality.top1 >= 75%", one("quality", "top1")),
        ("quality.a.zeros >= 75%", one("quality", "a.zeros")),
    ];
    for (text, want) in cases {
        assert_eq!(parts(text), want, "{text}");
    }
    // Either dot may part the two: the longer scope is tried first.
    let both = [("network.potential", "potential.W+A"), ("network", "potential.W+A")];
    assert_eq!(parts("network.potential.W+A >= 2"), both.map(|(scope, metric)| (scope.into(), metric.into())));
    let Assertion { operator, bound, in_percent, .. } = parse("network.a.zeros <= 12.5%");
    assert_eq!((operator, bound, in_percent), (Operator::AtMost, 0.125, true));
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let cases = [
        ("network.a.zeroes >= 2", 8, "near are a.zeros"),
        ("layer1.0.conv1.a.zeroes >= 2", 15, "near are a.zeros"),
        ("network.zeros >= 2", 8, "a.zeros"),
        ("network.W+A", 11, ">= <= == != > <"),
        ("network.W+A = 2", 12, "write =="),
        ("network.W+A >= ", 15, "a number must stand here"),
        ("network.W+A >= two", 15, "a number must stand here"),
        ("network.W+A >= 2%%", 15, "a number must stand here"),
        ("network.W+A >= nan", 15, "a number must stand here"),
        ("W+A >= 2", 0, "SCOPE.METRIC"),
        (">= 2", 0, "SCOPE.METRIC"),
        ("network.W+A.padded >= 2", 8, "with_padding or without_padding, not padded"),
        ("network.a.width.histogram >= 2", 8, "a.width.histogram.0"),
        ("network.a.width.histogram.x >= 2", 8, "x is no place"),
        ("network.macs.3 >= 2", 8, "macs is one number and has no 3"),
        ("quality.topp1 >= 2", 8, "top1"),
        ("\"fc.macs >= 2", 13, "a comparison must follow"),
        ("\"fc\"macs >= 2", 4, "the dot and the metric must follow"),
        ("\"fc\".mac >= 2", 5, "mac is no column"),
        ("größe.a.zeroes >= 2", 6, "a.zeros"),
    ];
    for (text, at, want) in cases {
        let error = Assertion::parse(text).expect_err(text);
        let caret = error.lines().last().unwrap().chars().position(|c| c == '^').unwrap() - 2;
        assert!(error.contains(want) && caret == at, "{text}: at {caret}\n{error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", piece in "[\"'a-z.*?<>=!%:0-9+ ]{0,40}") {
        let _ = Assertion::parse(&text);
        let _ = Assertion::parse(&piece);
        if let Ok(assertion) = Assertion::parse(&format!("{text}.a.zeros >= 1")) {
            let _ = assertion.check(Known { layers: &["conv1", "a.zeros"], task: "classify" });
        }
    }

    #[test]
    fn any_layer_is_found_by_its_own_name(layers in prop::collection::vec("[a-z0-9.()+]{1,12}", 1..6), at in 0_usize..6) {
        let names: Vec<&str> = layers.iter().map(String::as_str).collect();
        let name = names[at % names.len()];
        let quoted = parse(&format!("\"{name}\".potential.W+A >= 1"));
        let (selected, column) = quoted.select(&names).unwrap();
        let Selected::Layers(places) = selected else { panic!("{name}: a layer") };
        prop_assert!(places.iter().all(|&place| names[place] == name) && !places.is_empty());
        prop_assert_eq!(&column.name, "potential.W+A");
    }
}

#[test]
fn the_longest_name_that_is_known_is_meant() {
    let assertion = parse("a.potential.W+A >= 1");
    let of = |layers: &[&str]| assertion.select(layers).map(|(selected, _)| selected);
    assert_eq!(of(&["a"]).unwrap(), Selected::Layers(vec![0]));
    assert_eq!(of(&["a", "a.potential"]).unwrap(), Selected::Layers(vec![1]));
    let error = of(&["b", "ab"]).unwrap_err();
    assert!(error.to_string().contains("there is no layer a; near are ab, b") && error.exit_code() == 2, "{error}");
    let error = parse("quality.psnr_db > 30").check(Known { layers: &[], task: "classify" }).unwrap_err();
    assert!(error.to_string().contains("labelled, top1, top5"), "{error}");
}

#[test]
fn what_fails_says_what_was_expected_and_by_how_much() {
    let of = |text: &str, number: f64| parse(text).failure("it", number);
    assert_eq!(of("network.W+A >= 2", 2.0), None);
    assert_eq!(of("network.W+A >= 2", 1.5).unwrap(), "it is 1.50000, expected >= 2, off by 0.500000 (25.0%)");
    assert_eq!(of("network.a.zeros < 50%", 0.5).unwrap(), "it is 50%, expected < 50%, off by 0% (0%)");
    assert_eq!(of("network.a.zeros == 0", 0.25).unwrap(), "it is 0.250000, expected == 0, off by 0.250000");
    assert_eq!(of("network.macs != 7", 7.0).unwrap(), "it is 7, expected != 7");
    assert_eq!(of("network.W+A <= 4", f64::INFINITY).unwrap(), "it is inf, expected <= 4");
    // Six digits that look alike are not enough.
    assert_eq!(
        of("network.W+A >= 2", 1.9999999).unwrap(),
        "it is 1.9999999, expected >= 2, off by 1.00000e-7 (0.00000500%)"
    );
}
