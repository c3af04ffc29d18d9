//! Description of a preprocessing.

use super::{ChannelOrder, Grey, InputKind, Preprocess, Resize};
use crate::input::{Degradation, Framing};

impl Preprocess {
    /// All steps, as text.
    pub fn describe(&self) -> String {
        let [h, w] = self.size;
        match self.kind {
            InputKind::Images => {}
            InputKind::Tokens => return "numbers of tokens".into(),
            InputKind::Arrays => return self.describe_arrays(),
            InputKind::Audio(Framing { rate, chunk, context, .. }) => {
                return format!("{rate} Hz, chunks of {chunk} samples behind {context}");
            }
        }
        let mut steps = Vec::new();
        match self.filter() {
            Degradation::Bayer => steps.push("Bayer filter GRBG".to_owned()),
            Degradation::Xtrans => steps.push("X-Trans filter".to_owned()),
            _ => {}
        }
        match self.resize {
            Some(Resize::ShortestEdge(edge)) => {
                steps.push(format!("shortest edge {edge} {}", self.interpolation.name()));
            }
            Some(Resize::Cover([h, w])) => steps.push(format!("cover {h}x{w} {}", self.interpolation.name())),
            Some(Resize::Within([h, w])) => steps.push(format!("within {h}x{w} {}", self.interpolation.name())),
            Some(Resize::Exact([h, w])) => steps.push(format!("resize {h}x{w} {}", self.interpolation.name())),
            None => {}
        }
        if self.crop.is_some() {
            let frame = if self.fill.is_empty() { String::new() } else { format!(" on {:?}", self.fill) };
            steps.push(format!("center crop {h}x{w}{frame}"));
        }
        if self.any_size && self.resize.is_none() {
            steps.push("size kept".to_owned());
        }
        if self.multiple > 1 {
            steps.push(format!("framed to multiples of {}", self.multiple));
        }
        let colours = match (self.channels, self.channel_order) {
            (1, _) if self.grey == Grey::Studio => "grey (16 to 235)",
            (1, _) => "grey",
            (_, ChannelOrder::Rgb) => "RGB",
            (_, ChannelOrder::Bgr) => "BGR",
        };
        steps.push(format!("{colours}, (x/255 - {:?}) / {:?}", self.mean, self.std));
        steps.join(", ")
    }
}
