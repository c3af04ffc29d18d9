//! Preprocessing of small images, by hand.

use super::*;

fn card(text: &str) -> Result<Preprocess> {
    Preprocess::from_table("t", &text.parse().unwrap())
}

const PLAIN: &str = "channels = 1\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]\n";

fn grey(h: usize, w: usize) -> Pixels {
    Pixels { h, w, c: 1, data: (0..h * w).map(|v| v as u8).collect() }
}

#[test]
fn crops_round_as_in_their_library() {
    for (rounding, want) in [("floor", 1.0), ("round_half_even", 2.0)] {
        let text = format!("{PLAIN}crop = [2, 2]\ncrop_rounding = \"{rounding}\"");
        let values = card(&text).unwrap().apply("x", grey(2, 5)).unwrap().values;
        assert_eq!((values[0] * 255.0).round(), want, "{rounding}");
    }
}

#[test]
fn small_images_are_padded_by_their_librarys_rule() {
    for (rounding, want) in [("floor", [0.0, 0.0, 0.0, 7.0]), ("round_half_even", [7.0, 0.0, 0.0, 0.0])] {
        let text = format!("{PLAIN}crop = [2, 2]\ncrop_rounding = \"{rounding}\"");
        let image = Pixels { h: 1, w: 1, c: 1, data: vec![7] };
        let values = card(&text).unwrap().apply("x", image).unwrap().values;
        assert_eq!(values.iter().map(|v| (v * 255.0).round()).collect::<Vec<_>>(), want, "{rounding}");
    }
}

#[test]
fn classes_stay_with_their_pixels() {
    let text = format!("{PLAIN}resize = {{ exact = [2, 4] }}\ncrop = [2, 2]\ncrop_rounding = \"floor\"");
    let classes = card(&text).unwrap().apply_to_classes(vec![1, 2, 3, 4], [1, 4], 255);
    assert_eq!(classes, [2, 3, 2, 3]);
    let text = format!("{PLAIN}crop = [2, 2]\ncrop_rounding = \"floor\"");
    assert_eq!(card(&text).unwrap().apply_to_classes(vec![7], [1, 1], 255), [255, 255, 255, 7]);
}

#[test]
fn channels_are_ordered_before_they_are_normalised() {
    let text = "channels = 3\nsize = [1, 1]\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 2.0, 4.0]\nchannel_order = \"bgr\"";
    let image = Pixels { h: 1, w: 1, c: 3, data: vec![255, 102, 51] };
    assert_eq!(card(text).unwrap().apply("x", image).unwrap().values, [0.2, 0.2, 0.25]);
}

#[test]
fn wrong_fields_are_errors_that_name_the_card() {
    for (text, word) in [
        ("colour = 3", "colour"),
        ("channels = 2\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]", "channels"),
        ("channels = 1\nsize = [2, 2]\nmean = [0.0]\nstd = [0.0]", "std"),
        ("channels = 1\nsize = [0, 2]\nmean = [0.0]\nstd = [1.0]", "sizes"),
        ("channels = 3\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]", "one value per channel"),
    ] {
        let error = card(text).unwrap_err().to_string();
        assert!(error.starts_with("card t: [input]") && error.contains(word), "{error}");
    }
    assert!(card(PLAIN).unwrap().apply("pic.png", grey(3, 2)).unwrap_err().to_string().starts_with("pic.png: is 3x2"));
}
