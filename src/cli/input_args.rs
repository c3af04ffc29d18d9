//! Flags of inputs that state what a model's card leaves open: sizes, pixels, arrays by name, random numbers.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use clap::{Args, value_parser};

use super::text_args::TextArgs;
use crate::input::{Layout, Overrides};

/// What inputs are, in place of what the card says.
#[derive(Args, Clone, Debug, Default)]
pub struct StatedArgs {
    /// Rows and columns of the network's input, in place of the card's
    #[arg(long, value_name = "HxW", value_parser = size)]
    pub input_size: Option<[usize; 2]>,
    /// Subtracted from pixels (of 0 to 1, or of --range), in place of the card's: a number per channel, or one for all
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', allow_hyphen_values = true)]
    pub mean: Vec<f64>,
    /// Divides the difference, in place of the card's
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', allow_hyphen_values = true)]
    pub std: Vec<f64>,
    /// Order of the axes of arrays [default: the one in which channels fit the network]
    #[arg(long, value_parser = layout())]
    pub layout: Option<Layout>,
    /// Range of pixels, which --mean and --std are of (0..1, 0..255, -1..1): arrays hold such pixels and are normalised; without it
    /// arrays of floats go in as they are
    #[arg(long, value_name = "LO..HI", value_parser = range, allow_hyphen_values = true)]
    pub range: Option<[f64; 2]>,
    /// An input of a network by its name, as an array [N, ...] (or one for all); or one .npz or .safetensors with all, as INPUT
    #[arg(long, value_name = "NAME=FILE.npy", value_parser = named, conflicts_with = "inputs")]
    pub input: Vec<(String, PathBuf)>,
    /// N inputs of random numbers (by --seed) instead: to look at shapes and weights alone
    #[arg(long, value_name = "N", conflicts_with_all = ["inputs", "input"], value_parser = value_parser!(u32).range(1..))]
    pub random_inputs: Option<u32>,
    /// Of texts.
    #[command(flatten)]
    pub texts: TextArgs,
}

impl StatedArgs {
    /// What is stated of images.
    pub fn overrides(&self) -> Overrides {
        let list = |values: &Vec<f64>| (!values.is_empty()).then(|| values.clone());
        Overrides {
            size: self.input_size,
            mean: list(&self.mean),
            std: list(&self.std),
            layout: self.layout,
            range: self.range,
        }
    }
}

fn layout() -> impl TypedValueParser<Value = Layout> {
    PossibleValuesParser::new(Layout::ALL.map(Layout::name)).map(|name| {
        let named = Layout::ALL.into_iter().find(|layout| layout.name() == name);
        named.expect("possible values are names of layouts")
    })
}

/// `224x192`, or one number for both.
fn size(text: &str) -> Result<[usize; 2], &'static str> {
    let (h, w) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse().ok().filter(|side| (1..=16384).contains(side));
    side(h).zip(side(w)).map(|(h, w)| [h, w]).ok_or("give rows and columns of 1 to 16384, e.g. 224x224")
}

/// `0..255`.
fn range(text: &str) -> Result<[f64; 2], &'static str> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let bounds = text.split_once("..").and_then(|(low, high)| number(low).zip(number(high)));
    let bounds = bounds.filter(|(low, high)| low < high).map(|(low, high)| [low, high]);
    bounds.ok_or("give the lowest and the highest value, e.g. 0..255")
}

/// `name=file.npy`.
pub fn named(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, file) = text.rsplit_once('=').ok_or("give a name and a file, e.g. image=image.npy")?;
    if name.is_empty() || file.is_empty() {
        return Err("give a name and a file, e.g. image=image.npy");
    }
    Ok((name.into(), file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        assert_eq!((size("224x192"), size("32")), (Ok([224, 192]), Ok([32, 32])));
        assert!(size("0x4").is_err() && size("4x").is_err() && size("a").is_err());
        assert_eq!((range("0..255"), range("-1..1.5")), (Ok([0.0, 255.0]), Ok([-1.0, 1.5])));
        assert!(range("1..1").is_err() && range("0-1").is_err() && range("0..inf").is_err());
        assert_eq!(named("a=b=c.npy"), Ok(("a=b".into(), "c.npy".into())));
        assert!(named("c.npy").is_err() && named("=c.npy").is_err());
    }
}
