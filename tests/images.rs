//! Networks whose outputs are images, through the program: pictures, quality, wrong flags and wrong files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use deadweight::graph::Params;
use deadweight::layers::Layer;
use deadweight::models::{self, Card};
use safetensors::tensor::{Dtype, TensorView};

use crate::binary;

const DENOISE: &str = r#"name = "small"
family = "denoise"
task = "restore"
description = "a small one"
input = { channels = 1, size = [32, 32], any_size = true, mean = [0.0], std = [1.0] }
arch = { channels = 1, depth = 3, width = 8, output = "noise" }
"#;

const SEGMENT: &str = r#"name = "map"
family = "deeplab"
task = "segment"
description = "a small one"
labels = ["background", "cat", "dog"]
input = { channels = 3, size = [32, 32], any_size = true, mean = [0.0, 0.0, 0.0], std = [1.0, 1.0, 1.0] }
arch = { backbone = "mobilenet_v2", head = "pooling", output_stride = 16, width = 0.1, classes = 3 }
naming = "transformers"
"#;

/// A temporary folder with a card, random weights for it, images of two sizes and their truths.
struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    fn new(card: &str) -> Self {
        let workspace = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(workspace.path("card.toml"), card).unwrap();
        let card = Card::parse("card.toml", card).unwrap();
        let (graph, _) = models::build(&card, Params::Random(1)).unwrap();
        let mut tensors = HashMap::new();
        for def in &graph.nodes {
            let mut add = |name: &str, shape: &[usize], data: &[f32]| {
                let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
                tensors.insert(format!("{}.{name}", def.name), (shape.to_vec(), bytes));
            };
            match &def.layer {
                Layer::Conv(conv) => {
                    add("weight", &conv.weight.shape, &conv.weight.data);
                    conv.bias_values.iter().for_each(|bias| add("bias", &bias.shape, &bias.data));
                }
                Layer::BatchNorm(norm) => {
                    add("weight", &norm.weight.shape, &norm.weight.data);
                    add("bias", &norm.bias.shape, &norm.bias.data);
                    add("running_mean", &norm.mean.shape, &norm.mean.data);
                    add("running_var", &norm.variance.shape, &norm.variance.data);
                }
                _ => {}
            }
        }
        let views = tensors
            .iter()
            .map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        std::fs::write(workspace.path("w.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        for sub in ["in", "truth", "out"] {
            std::fs::create_dir(workspace.path(sub)).unwrap();
        }
        for (name, w, h) in [("a", 33, 40), ("b", 20, 16)] {
            let image =
                image::RgbImage::from_fn(w, h, |x, y| image::Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]));
            image.save(workspace.path("in").join(format!("{name}.png"))).unwrap();
            let classes = image::GrayImage::from_fn(w, h, |x, _| image::Luma([(x % 3) as u8]));
            classes.save(workspace.path("truth").join(format!("{name}.png"))).unwrap();
        }
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = binary::deadweight();
        command.current_dir(self.folder.path()).args([verb, "w.safetensors", "--arch", "card.toml", "in"]);
        command.args(more).output().unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Fails with `code` and all of `parts` in the message, leaving no file.
fn refused(workspace: &Workspace, verb: &str, more: &[&str], code: i32, parts: &[&str]) {
    let output = workspace.run(verb, more);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
    assert!(parts.iter().all(|word| said.contains(word)), "{more:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(workspace.names("out").is_empty(), "{more:?}: {:?}", workspace.names("out"));
}

fn size(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).unwrap()
}

#[test]
fn images_are_restored_saved_and_measured() {
    let workspace = Workspace::new(DENOISE);
    let output = workspace.run("run", &["--sigma", "25", "--save", "out"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        printed.contains("a.png  40x33  PSNR") && printed.contains("SSIM") && printed.contains("of 2 with a truth"),
        "{printed}"
    );
    assert_eq!(workspace.names("out"), ["a-small.png", "b-small.png"]);
    assert_eq!(size(&workspace.path("out/a-small.png")), (33, 40));
    assert!(!text(&output.stderr).contains("replaced"), "{}", text(&output.stderr));
    // What an earlier run saved is replaced with a warning; an input is not replaced.
    let again = workspace.run("run", &["--save", "out"]);
    let said = text(&again.stderr);
    assert!(again.status.success() && said.contains("2 files, as out/a-small.png, were there before"), "{said}");
    assert!(workspace.run("run", &["--save", "in"]).status.success());
    let own = workspace.run("run", &["--save", "in"]);
    let said = text(&own.stderr);
    assert_eq!(own.status.code(), Some(2), "{said}");
    assert!(said.contains("in/a-small.png: is an input of this run"), "{said}");
    for name in workspace.names("in").iter().filter(|name| name.contains("small")) {
        std::fs::remove_file(workspace.path("in").join(name)).unwrap();
    }
    // The same noise for the same seed, other noise for another one.
    let json = |seed: &str| {
        text(&workspace.run("run", &["--sigma", "25", "--seed", seed, "--save", "out", "--format", "json"]).stdout)
    };
    assert_eq!(json("3"), json("3"));
    assert_ne!(json("3"), json("4"));
    let read: serde_json::Value = serde_json::from_str(&json("0")).unwrap();
    assert_eq!(read["inputs"][1]["size"], serde_json::json!([16, 20]));
    assert!(read["quality"]["psnr_db"].as_f64().unwrap() > 0.0);
    // Without a truth there is nothing to compare with.
    let plain = text(&workspace.run("run", &["--save", "out"]).stdout);
    assert!(!plain.contains("PSNR"), "{plain}");
    let read: serde_json::Value =
        serde_json::from_slice(&workspace.run("measure", &["--sigma", "25", "--format", "json"]).stdout).unwrap();
    assert_eq!(read["data"]["quality"]["images"], 2);
    assert_eq!(read["layers"][0]["shape"]["input"], serde_json::json!([1, null, null]));
    assert_eq!(read["layers"][0]["metrics"]["macs"]["value"], (33 * 40 + 20 * 16) * 9 * 8);
    let clean = workspace.run("measure", &["--truth", "in"]);
    assert_eq!(clean.status.code(), Some(3), "an image is not its own truth: {}", text(&clean.stderr));
}

#[test]
fn pixels_are_classified_saved_and_measured() {
    let workspace = Workspace::new(SEGMENT);
    let output = workspace.run("run", &["--truth", "truth", "--save", "out"]);
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(printed.contains("a.png  -> out/a-map.png") && printed.contains("mean IoU"), "{printed}");
    let map = image::open(workspace.path("out/a-map.png")).unwrap().into_rgb8();
    assert!(map.pixels().all(|pixel| [[0, 0, 0], [128, 0, 0], [0, 128, 0]].contains(&pixel.0)));
    let overlaid = workspace.run("run", &["--overlay", "--save", "out"]);
    assert!(overlaid.status.success());
    assert_eq!(size(&workspace.path("out/b-map.png")), (20, 16));
    let json: serde_json::Value =
        serde_json::from_slice(&workspace.run("measure", &["--truth", "truth", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["data"]["quality"]["pixels"], 33 * 40 + 20 * 16);
    let csv = text(&workspace.run("measure", &["--truth", "truth", "--format", "csv"]).stdout);
    assert!(csv.contains("quality.mean_iou") && csv.contains(",quality.classes.iou,cat,"), "{csv}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let workspace = Workspace::new(SEGMENT);
    refused(&workspace, "run", &["--save", "out", "--top", "3"], 2, &["--top", "classify"]);
    refused(&workspace, "run", &["--save", "out", "--sigma", "25"], 2, &["--sigma", "restore"]);
    refused(&workspace, "run", &["--save", "nowhere"], 2, &["--save nowhere", "existing directory"]);
    refused(&workspace, "measure", &["--truth", "nowhere"], 2, &["--truth nowhere", "existing directory"]);
    refused(&workspace, "measure", &["--truth", "out"], 3, &["the truth of", "a.png", "_mask.png"]);
    // A mask whose size differs from its image.
    image::GrayImage::new(5, 6).save(workspace.path("truth/a.png")).unwrap();
    refused(&workspace, "measure", &["--truth", "truth"], 4, &["truth/a.png", "6x5", "40x33"]);
    // A mask that is a photograph.
    image::RgbImage::new(33, 40).save(workspace.path("truth/a.png")).unwrap();
    refused(&workspace, "measure", &["--truth", "truth"], 1, &["truth/a.png", "no class map"]);
    let workspace = Workspace::new(DENOISE);
    refused(&workspace, "run", &["--save", "out", "--overlay"], 2, &["--overlay", "segment"]);
    refused(&workspace, "run", &["--save", "out", "--sigma=-1"], 2, &["--sigma"]);
    refused(&workspace, "run", &["--save", "out", "--sigma", "5", "--scale", "2"], 2, &["--scale"]);
    let digits = binary::deadweight().args(["run", "digits", "--save", "."]).output().unwrap();
    assert_eq!(digits.status.code(), Some(2), "{}", text(&digits.stderr));
}
