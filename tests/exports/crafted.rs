//! Files of counts that somebody made: extents that no layer has, and names that would be more than a name.

use deadweight::export::{Run, TARGETS};
use deadweight::measurement::Measurement;
use deadweight::tally::LayerShape;

use super::{full, measured, written};

#[test]
fn extents_that_no_layer_has_are_an_error_of_the_file() {
    let good = measured(&full());
    let spoil: [fn(&mut LayerShape); 4] = [
        |shape| shape.output[1] = 0,
        |shape| shape.input[2] = 0,
        |shape| shape.stride = [0, 0],
        |shape| shape.dilation[1] = 0,
    ];
    for (case, spoil) in spoil.into_iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad.layers[0].tally.shape);
        let error = Measurement::from_bytes("run.dwm", &bad.to_bytes()).unwrap_err();
        let text = "run.dwm: stem: has extents that no layer has";
        assert!(error.exit_code() == 1 && error.to_string().contains(text), "{case}: {error}");
    }
    assert!(Measurement::from_bytes("run.dwm", &good.to_bytes()).is_ok());
}

/// Names in a file are anybody's.
#[test]
fn a_name_does_not_leave_its_comment() {
    let mut crafted = measured(&full());
    crafted.layers[0].name = "a\nproblem: {}\u{85}x: 1\r\u{2028}y: 2".into();
    crafted.layers[5].name = "up\rz: 3".into();
    let one_line = r"a\nproblem: {}\u{85}x: 1\r\u{2028}y: 2";
    let timeloop = written("timeloop", &crafted).unwrap();
    let problem = std::str::from_utf8(&timeloop.files[0].1).unwrap();
    assert!(problem.starts_with(&format!("# layer {one_line} (conv): 16 filters")), "{problem}");
    for target in TARGETS.iter().filter(|target| target.name != "npy") {
        for (name, bytes) in target.write(&Run { measurement: &crafted, file: "run.dwm" }).unwrap().files {
            let text = String::from_utf8(bytes).unwrap();
            let strange = |c: char| c.is_control() && c != '\n' || c == '\u{2028}';
            assert!(!text.contains(strange) && !text.contains("\nproblem: {}"), "{} {name}: {text}", target.name);
        }
    }
}
