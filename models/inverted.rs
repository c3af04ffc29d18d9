//! Inverted residuals (Sandler 2018), with squeeze-and-excite (Howard 2019, Tan 2019): the block of MobileNetV3 and
//! EfficientNet.

use super::naming::{Style, Unit, squeeze_excite};
use crate::graph::{Node, Scope};
use crate::kernels::Activation;

/// Paths of the layers of one block.
pub(super) struct Block {
    at: Scope,
    expand: Option<Unit>,
    depthwise: Unit,
    squeeze: [Scope; 2],
    project: Unit,
}

/// Numbers of one block, by the card.
pub(super) struct Sizes {
    /// Channels of the input, after the expansion, and of the output.
    pub channels: [usize; 3],
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Channels inside squeeze-and-excite, if there is one.
    pub squeeze: Option<usize>,
}

/// The activations of a block: after its convolutions, inside squeeze-and-excite, and of its gate.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    pub main: Activation,
    pub inner: Activation,
    pub gate: Activation,
}

impl Block {
    /// In timm's names, with an expansion or without.
    pub fn timm(at: Scope, expands: bool) -> Self {
        let unit = |conv: &str, norm: &str| Unit::new(&at, conv, norm);
        let (expand, depthwise, project) = if expands {
            (Some(unit("conv_pw", "bn1")), unit("conv_dw", "bn2"), unit("conv_pwl", "bn3"))
        } else {
            (None, unit("conv_dw", "bn1"), unit("conv_pw", "bn2"))
        };
        let squeeze = ["se.conv_reduce", "se.conv_expand"].map(|name| at.at(name));
        Self { at, expand, depthwise, squeeze, project }
    }

    /// In torchvision's names, which number only the layers that exist.
    pub fn torchvision(at: Scope, expands: bool, squeezes: bool) -> Self {
        let place = |k: usize| at.at(format!("block.{k}"));
        let unit = |k: usize| Unit::new(&place(k), "0", "1");
        let depthwise = usize::from(expands);
        let squeeze = place(depthwise + 1);
        Self {
            expand: expands.then(|| unit(0)),
            depthwise: unit(depthwise),
            squeeze: ["fc1", "fc2"].map(|name| squeeze.at(name)),
            project: unit(depthwise + 1 + usize::from(squeezes)),
            at,
        }
    }

    /// The block on `x`. It is added to its input if the card's numbers of channels are equal and the stride is 1.
    pub fn apply(&self, x: Node, sizes: &Sizes, style: Style, functions: Functions) -> Node {
        let [inputs, middle, out] = sizes.channels;
        let mut y = x;
        if let Some(expand) = &self.expand {
            y = expand.apply(y, style.conv(middle, 1, 1), style.eps, functions.main);
        }
        let depthwise = style.depthwise(self.at.channels(y), sizes.kernel, sizes.stride);
        y = self.depthwise.apply(y, style.dilated(depthwise, sizes.dilation), style.eps, functions.main);
        if let Some(width) = sizes.squeeze {
            y = squeeze_excite(&self.at.at("se"), &self.squeeze, y, width, [functions.inner, functions.gate]);
        }
        y = self.project.apply(y, style.conv(out, 1, 1), style.eps, Activation::Identity);
        if sizes.stride == 1 && inputs == out { self.at.add(y, x) } else { y }
    }
}
