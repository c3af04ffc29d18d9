//! Flags of ONNX files that are run as they are.

use std::path::PathBuf;

use clap::Args;

use super::args::BackendName;
use super::input_args::named;
use crate::engine::onnx::{Carry, InputExtents};
use crate::input::single_array;
use crate::model::{LoadOptions, OnnxBy};
use crate::{Error, Result};

/// What an ONNX file leaves open.
#[derive(Args, Clone, Debug, Default)]
pub struct OnnxArgs {
    /// Extents of an input of an ONNX file, where it leaves some open: name=1x3x320x320, or 1x3x320x320 if it has one input;
    /// several times for several inputs
    #[arg(long = "shape", value_name = "NAME=EXTENTS", value_parser = shape)]
    pub shapes: Vec<(Option<String>, Vec<usize>)>,
    /// Which output of an ONNX file is given [default: its first]
    #[arg(long, value_name = "NAME")]
    pub graph_output: Option<String>,
    /// An input of an ONNX file that reads what an output gave for the input before it (a recurrent state, a cache), several times
    /// for several; the arrays of a file are one sequence, the images of a folder another, and its first input reads zeros
    #[arg(long, value_name = "INPUT=OUTPUT", value_parser = pair)]
    pub carry: Vec<(String, String)>,
    /// What the first input of a sequence reads of a state of --carry, in place of zeros
    #[arg(long, value_name = "INPUT=FILE.npy", value_parser = named, requires = "carry")]
    pub carry_start: Vec<(String, PathBuf)>,
}

impl OnnxArgs {
    /// `options` with what these flags say.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the start of a state that is not carried; those of reading it.
    pub fn options(&self, backend: BackendName, options: LoadOptions) -> Result<LoadOptions> {
        let onnx = match backend {
            BackendName::Auto => OnnxBy::Auto,
            BackendName::Onnx => OnnxBy::File,
            BackendName::Native | BackendName::Candle => OnnxBy::Layers,
        };
        let extents = InputExtents { shapes: self.shapes.clone(), ..options.extents };
        let mut carry: Vec<Carry> = self
            .carry
            .iter()
            .map(|(input, output)| Carry { input: input.clone(), output: output.clone(), start: None })
            .collect();
        for (name, path) in &self.carry_start {
            let Some(state) = carry.iter_mut().find(|state| state.input == *name) else {
                let detail = format!("is of a state that --carry {name}=OUTPUT names, and none does");
                return Err(Error::invalid(format!("--carry-start {name}"), detail));
            };
            state.start = Some(single_array(path)?);
        }
        Ok(LoadOptions { onnx, extents, output: self.graph_output.clone(), carry, ..options })
    }
}

/// Extents, perhaps behind a name.
fn shape(text: &str) -> Result<(Option<String>, Vec<usize>), &'static str> {
    let (name, extents) = match text.rsplit_once('=') {
        Some((name, extents)) => (Some(name.to_owned()), extents),
        None => (None, text),
    };
    let extent = |extent: &str| extent.parse().ok().filter(|extent| (1..=1 << 24).contains(extent));
    let extents: Option<Vec<usize>> = extents.split(['x', ',']).map(extent).collect();
    Ok((name, extents.ok_or("give name=1x3x320x320, or 1x3x320x320")?))
}

/// `input=output`.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (input, output) = text.split_once('=').unwrap_or_default();
    match input.is_empty() || output.is_empty() {
        true => Err("give an input and an output of the file, e.g. h=hn"),
        false => Ok((input.to_owned(), output.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_an_input_and_an_output() {
        assert_eq!(pair("h=hn"), Ok(("h".into(), "hn".into())));
        assert!(pair("h").is_err() && pair("=hn").is_err() && pair("h=").is_err());
    }

    #[test]
    fn extents_may_have_a_name() {
        assert_eq!(shape("x=1x3x320x320"), Ok((Some("x".into()), vec![1, 3, 320, 320])));
        assert_eq!(shape("1x16"), Ok((None, vec![1, 16])));
        assert_eq!(shape("a=b:0=7"), Ok((Some("a=b:0".into()), vec![7])));
        assert!(shape("x=1x-1").is_err() && shape("x").is_err() && shape("x=").is_err() && shape("0").is_err());
    }
}
