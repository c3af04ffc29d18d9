//! Inputs, labels and answers through the program, with networks of a few parameters whose outputs ONNX Runtime computed as
//! well.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::binary;

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/inputs").join(name)
}

/// ONNX Runtime's output for the image.
fn expected(name: &str) -> Vec<f64> {
    let all: Value = serde_json::from_slice(&std::fs::read(reference("expected.json")).unwrap()).unwrap();
    all[name].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// The image of make_inputs.py.
fn image() -> image::RgbImage {
    image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([x * 17, y * 29, x * y * 7 + x].map(|value| value as u8)))
}

/// A temporary folder with the image in `in/image.png`.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        let workspace = Self(tempfile::tempdir().unwrap());
        workspace.put("in/image.png", &image());
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, image: &image::RgbImage) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        image.save(self.path(name)).unwrap();
    }

    fn run(&self, verb: &str, network: &str, more: &[&str]) -> Output {
        let mut command = binary::deadweight();
        command.current_dir(self.0.path()).arg(verb);
        command.arg(reference(network)).args(more).output().unwrap()
    }

    /// The JSON document, and the log.
    fn json(&self, verb: &str, network: &str, more: &[&str]) -> (Value, String) {
        let output = self.run(verb, network, &[more, &["--format", "json"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{network} {more:?}: {said}");
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    }
}

#[test]
fn probabilities_are_the_networks_own() {
    let workspace = Workspace::new();
    for name in ["softmax", "softmax-codes"] {
        let (json, _) = workspace.json("run", &format!("{name}.onnx"), &["in"]);
        let mut want: Vec<(usize, f64)> = expected(name).into_iter().enumerate().collect();
        want.sort_by(|a, b| b.1.total_cmp(&a.1));
        let top = json["inputs"][0]["top"].as_array().unwrap();
        assert_eq!(top.len(), 4);
        for (answer, (class, share)) in top.iter().zip(want) {
            let near = (answer["probability"].as_f64().unwrap() - share).abs() < 1e-6;
            assert!(answer["class"] == json!(class) && near, "{name}: {answer} and {share}");
        }
    }
    // 123 / 256, of shares whose sum is 255 / 256.
    let table = workspace.run("run", "softmax-codes.onnx", &["in"]).stdout;
    assert!(String::from_utf8(table).unwrap().contains("48.05%"));
}

#[test]
fn one_value_distinguishes_two_classes() {
    let workspace = Workspace::new();
    let logit = expected("one-logit")[0];
    let share = 1.0 / (1.0 + (-logit).exp());
    for name in ["one-logit.onnx", "one-share.onnx"] {
        let (json, _) = workspace.json("run", name, &["in"]);
        let top = json["inputs"][0]["top"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["class"], &top[1]["class"]), (2, &json!(0), &json!(1)), "{name}");
        assert!((top[1]["probability"].as_f64().unwrap() - share).abs() < 1e-6, "{name}: {top:?}");
        // The network detects white.
        workspace.put("two/1/white.png", &image::RgbImage::from_pixel(8, 8, image::Rgb([255; 3])));
        workspace.put("two/0/image.png", &image());
        let (document, _) = workspace.json("run", name, &["two"]);
        let all = json!({ "value": 1.0, "numerator": 2, "denominator": 2 });
        assert_eq!(document["quality"], json!({ "labelled": 2, "top1": all, "top5": all }), "{name}");
    }
}

#[test]
fn one_channel_of_pixels_marks_an_object() {
    let workspace = Workspace::new();
    let above: Vec<bool> = expected("object").iter().map(|logit| *logit > 0.0).collect();
    let objects = above.iter().filter(|above| **above).count();
    assert!((10..54).contains(&objects), "{objects} pixels");
    let mask = |folder: &str, object: u8, change: Option<u8>| {
        let mut mask =
            image::GrayImage::from_fn(8, 8, |x, y| image::Luma([if above[(y * 8 + x) as usize] { object } else { 0 }]));
        change.iter().for_each(|value| mask.put_pixel(0, 0, image::Luma([*value])));
        std::fs::create_dir_all(workspace.path(folder)).unwrap();
        mask.save(workspace.path(folder).join("image.png")).unwrap();
    };
    mask("ones", 1, None);
    mask("white", 255, None);
    mask("ignored", 1, Some(255));
    mask("other", 1, Some(3));
    std::fs::create_dir(workspace.path("out")).unwrap();
    for name in ["object", "object-share"] {
        let network = format!("{name}.onnx");
        let (json, said) = workspace.json("run", &network, &["in", "--truth", "ones", "--save", "out"]);
        let classes = json!([
            { "class": 0, "name": "background", "pixels": 64 - objects, "share": (64 - objects) as f64 / 64.0 },
            { "class": 1, "name": "object", "pixels": objects, "share": objects as f64 / 64.0 },
        ]);
        let mut got = json["inputs"][0]["classes"].as_array().unwrap().clone();
        got.sort_by_key(|class| class["class"].as_u64());
        assert_eq!(json!(got), classes, "{name}");
        assert_eq!(json["quality"]["mean_iou"], 1.0, "{name}");
        assert!(!said.contains("255"), "{said}");
        let map = image::open(workspace.path(&format!("out/image-{name}.png"))).unwrap().into_rgb8();
        let drawn: Vec<bool> = map.pixels().map(|pixel| pixel.0 == [128, 0, 0]).collect();
        assert_eq!(drawn, above, "{name}");
        let (json, said) = workspace.json("measure", &network, &["in", "--truth", "white"]);
        assert_eq!(json["data"]["quality"]["mean_iou"], 1.0, "{name}");
        assert!(said.contains("255 is the object"), "{said}");
        let notes = json["notes"].as_array().unwrap();
        assert!(notes.iter().any(|note| note.as_str().unwrap().contains("255 is the object")), "{json}");
        let (json, _) = workspace.json("measure", &network, &["in", "--truth", "ignored"]);
        assert_eq!(
            (&json["data"]["quality"]["mean_iou"], &json["data"]["quality"]["pixels"]),
            (&json!(1.0), &json!(63))
        );
        let output = workspace.run("run", &network, &["in", "--truth", "other", "--save", "out"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("other/image.png: holds class 3"), "{said}");
    }
    // Drawn over the image, the background stays unchanged.
    assert!(workspace.run("run", "object.onnx", &["in", "--overlay", "--save", "out"]).status.success());
    let over = image::open(workspace.path("out/image-object.png")).unwrap().into_rgb8();
    for ((over, under), above) in over.pixels().zip(image().pixels()).zip(&above) {
        let [r, g, b] = under.0;
        let mixed = [((u16::from(r) + 128) / 2) as u8, g / 2, b / 2];
        assert_eq!(over.0, if *above { mixed } else { under.0 });
    }
}

#[test]
fn folders_are_classes_by_number_and_name_and_the_log_says_which() {
    let workspace = Workspace::new();
    let card = r#"
        name = "four"
        family = "mobilenet_v2"
        task = "classify"
        description = "four classes"
        labels = ["Sea Lion", "fox", "0", "hen"]
        arch = {}
        input = { channels = 3, size = [8, 8], resize = { exact = [8, 8] }, mean = [0.0, 0.0, 0.0], std = [1.0, 1.0, 1.0] }
    "#;
    std::fs::write(workspace.path("card.toml"), card).unwrap();
    let labels = |folder: &str, more: &[&str]| {
        let (json, said) = workspace.json("run", "softmax.onnx", &[&[folder], more].concat());
        let inputs = json["inputs"].as_array().unwrap();
        let labels: Vec<Value> = inputs.iter().map(|input| input["label"].clone()).collect();
        assert_eq!(said.contains(&format!("{folder}: ")), json["notes"][0].is_string());
        (json!(labels), said)
    };
    for name in
        ["numbers/03", "numbers/1", "names/fox", "names/sea_lion", "some/hen", "some/whale", "other/a", "other/b"]
    {
        workspace.put(&format!("{name}/image.png"), &image());
    }
    let (got, said) = labels("numbers", &[]);
    assert!(
        got == json!([3, 1]) && said.contains("numbers: its folders are named by the numbers of classes"),
        "{said}"
    );
    let (got, said) = labels("names", &["--arch", "card.toml"]);
    assert!(got == json!([1, 0]) && said.contains("names: its 2 folders are named as classes"), "{got} {said}");
    let (got, said) = labels("some", &["--arch", "card.toml"]);
    assert!(got == json!([3, null]) && said.contains("as whale, have no label"), "{got} {said}");
    let (got, said) = labels("other", &[]);
    assert!(got == json!([0, 1]) && said.contains("but the network has 4"), "{got} {said}");
    let (got, said) = labels("in", &[]);
    assert!(got == json!([null]) && !said.contains("folders"), "{got} {said}");
    workspace.put("numbers/4/image.png", &image());
    let output = workspace.run("run", "softmax.onnx", &["numbers"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("numbers/4: is of class 4"), "{said}");
}

#[test]
fn rotated_images_are_counted() {
    let workspace = Workspace::new();
    let plain = workspace.json("run", "softmax.onnx", &["in"]).0;
    // The image rotated to the left, with the orientation tag 6 that rotates it back.
    let data = image::imageops::rotate270(&image()).into_raw();
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::eXIf, exif).unwrap();
    writer.write_image_data(&data).unwrap();
    writer.finish().unwrap();
    std::fs::write(workspace.path("in/image.png"), &bytes).unwrap();
    let (json, said) = workspace.json("run", "softmax.onnx", &["in"]);
    assert_eq!(json["inputs"], plain["inputs"]);
    assert!(said.contains("1 image was turned upright"), "{said}");
    let (json, _) = workspace.json("measure", "softmax.onnx", &["in", "in"]);
    assert_eq!(
        json["notes"].as_array().unwrap().last(),
        Some(&json!("2 images were turned upright as their orientation tags say"))
    );
}
