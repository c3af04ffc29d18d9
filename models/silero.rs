//! Silero's voice activity detector: a short Fourier transform as a convolution, four convolutions, an LSTM cell.
//!
//! A recording is an image of one channel: chunks are its columns, the samples of a chunk its rows. The rows of a chunk
//! already include samples of its neighbours, so that only the LSTM reads across chunks.

use serde::Deserialize;

use super::{Card, Family, Naming};
use crate::Result;
use crate::graph::{Node, Scope};
use crate::kernels::{Activation, Halo};
use crate::layers::{Conv, Lstm, Padding, Slice};

/// The family.
pub(super) const FAMILY: Family = Family {
    name: "silero",
    file: "models/silero.toml",
    cards: include_str!("silero.toml"),
    namings: &[(Naming::Silero, "stft_conv.weight")],
    reads: "nothing: it computes with its numbers",
    build,
    from_config: None,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arch {
    /// Samples per window of the transform; it has half as many frequencies, plus one.
    window: usize,
    /// Stride of the windows in samples.
    hop: usize,
    /// Filters of the convolutions.
    channels: [usize; 4],
    /// Steps from window to window of each.
    strides: [usize; 4],
    /// Size of the LSTM cell.
    hidden: usize,
}

/// Convolves along rows alone.
fn conv(out: usize, kernel: usize, stride: usize, pad: usize) -> Conv {
    let padding = Padding::Explicit(Halo { top: pad, bottom: pad, left: 0, right: 0 });
    Conv { kernel: (kernel, 1), stride: (stride, 1), padding, ..Conv::new(out, 1) }
}

fn build(root: &Scope, card: &Card, _: Naming) -> Result<Node> {
    let Arch { window, hop, channels, strides, hidden } = card.arch()?;
    card.check_sizes("window, hop, hidden", &[window, hop, hidden])?;
    card.check_sizes("channels", &channels)?;
    card.check_sizes("strides", &strides)?;
    // The network computes with these numbers.
    let root = &root.exact();
    let bins = window / 2 + 1;
    let parts = root.at("stft_conv").conv(root.input(1), conv(2 * bins, window, hop, 0));
    let at = root.at("stft");
    let part = |start: usize| at.slice(parts, Slice { start, channels: bins, cut: Halo::default() });
    let squares = [0, bins].map(part).map(|part| at.mul(part, part));
    let mut x = at.activation(at.add(squares[0], squares[1]), Activation::Sqrt);
    for (i, (out, stride)) in channels.into_iter().zip(strides).enumerate() {
        let at = root.at(format!("conv{}", i + 1));
        x = at.relu(at.conv(x, conv(out, 3, stride, 1).bias(true)));
    }
    let cell = root.at("lstm_cell");
    let inputs = root.channels(x);
    let [input, recurrent] =
        [("weight_ih", inputs), ("weight_hh", hidden)].map(|(name, from)| cell.parameter(name, &[4 * hidden, from]));
    let [input_bias, bias] = ["bias_ih", "bias_hh"].map(|name| cell.parameter(name, &[4 * hidden]));
    let x = cell.at("weight_ih").linear_steps(x, input, Some(input_bias), false);
    let lstm = Lstm {
        weight: recurrent,
        bias: Some(bias),
        projection: None,
        reverse: false,
        clip: None,
        integer: None,
        rounding: [None; 2],
    };
    let x = cell.relu(cell.at("weight_hh").lstm(x, lstm));
    let last = root.at("final_conv");
    Ok(last.activation(last.conv(x, conv(1, 1, 1, 0).bias(true)), Activation::Sigmoid))
}
