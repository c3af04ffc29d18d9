//! Flags of ONNX files that are run as they are.

use clap::Args;

use super::args::BackendName;
use crate::engine::onnx::InputExtents;
use crate::model::{LoadOptions, OnnxBy};

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
}

impl OnnxArgs {
    /// `options` with what these flags say.
    pub fn options(&self, backend: BackendName, options: LoadOptions) -> LoadOptions {
        let onnx = match backend {
            BackendName::Auto => OnnxBy::Auto,
            BackendName::Onnx => OnnxBy::File,
            BackendName::Native | BackendName::Candle => OnnxBy::Layers,
        };
        let extents = InputExtents { shapes: self.shapes.clone(), ..options.extents };
        LoadOptions { onnx, extents, output: self.graph_output.clone(), ..options }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_may_have_a_name() {
        assert_eq!(shape("x=1x3x320x320"), Ok((Some("x".into()), vec![1, 3, 320, 320])));
        assert_eq!(shape("1x16"), Ok((None, vec![1, 16])));
        assert_eq!(shape("a=b:0=7"), Ok((Some("a=b:0".into()), vec![7])));
        assert!(shape("x=1x-1").is_err() && shape("x").is_err() && shape("x=").is_err() && shape("0").is_err());
    }
}
