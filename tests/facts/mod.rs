//! What files state of a network besides its weights is obeyed or refused, and choices are noted.

pub mod build;
mod checkpoints;
mod directories;
mod modules;

use std::path::Path;
use std::process::Output;

use deadweight::model::{LoadOptions, Model};
use deadweight::models;
use deadweight::weights::Weights;

use build::Tensor;

use crate::binary;

/// The weights of the built-in classifier.
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo/digits.safetensors");

/// Its tensors.
fn digits() -> Vec<Tensor> {
    let weights = Weights::open(DIGITS).unwrap();
    let tensor =
        |name: &str| (name.to_owned(), weights.shape(name).unwrap().to_vec(), weights.read_f32(name).unwrap().to_vec());
    weights.names().map(tensor).collect()
}

/// The same with a classifier of that many classes.
fn digits_of(classes: usize) -> Vec<Tensor> {
    let resized = |(name, mut shape, values): Tensor| match name.starts_with("fc.") {
        true => {
            let row: usize = shape[1..].iter().product();
            shape[0] = classes;
            (name, shape, values.iter().cycle().take(classes * row).copied().collect())
        }
        false => (name, shape, values),
    };
    digits().into_iter().map(resized).collect()
}

/// Exit code, standard output, standard error.
fn deadweight(line: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = binary::deadweight().args(line).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn load(path: &Path, arch: Option<&str>) -> Result<Model, deadweight::Error> {
    let options = LoadOptions { arch: arch.map(str::to_owned), ..LoadOptions::default() };
    Model::load(path.to_str().unwrap(), &options)
}

/// Writes a card: the card `name` with other labels and other architecture fields.
fn write_card(path: &Path, name: &str, labels: &str, arch: &[(&str, toml::Value)]) {
    let mut card = models::card(name).unwrap().clone();
    card.arch.extend(arch.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
    let (family, task) = (&card.family, card.task.name());
    let [input, arch] = [card.input, card.arch].map(toml::Value::Table);
    let text = format!(
        "name = \"mine\"\nfamily = \"{family}\"\ntask = \"{task}\"\ndescription = \"d\"\nlabels = {labels}\ninput = {input}\narch = {arch}\n"
    );
    std::fs::write(path, text).unwrap();
}

/// A small colour image.
fn image(folder: &Path, (w, h): (u32, u32)) -> std::path::PathBuf {
    let path = folder.join("image.png");
    image::RgbImage::from_fn(w, h, |x, y| image::Rgb([(7 * x) as u8, (5 * y) as u8, (x * y) as u8]))
        .save(&path)
        .unwrap();
    path
}
