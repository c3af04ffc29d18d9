//! The numbers of a network: what a checkpoint's shapes say, else what the card says.

use std::fmt::Display;

use super::{Node, Scope};
use crate::kernels::Activation;
use crate::layers::{Conv, ConvTranspose, Layer};

/// Layers or numbers that one note lists at most.
const LISTED: usize = 6;
/// Blocks that are counted; no network has as many.
const MOST_BLOCKS: usize = 1000;
/// Extents up to which products of a few do not overflow. Larger ones can only be those of empty tensors.
const MOST: usize = 1 << 20;

/// A number of a layer that the checkpoint may state.
pub struct Extent<'a> {
    scope: &'a Scope,
    layer: String,
    unit: &'static str,
    stored: Option<usize>,
}

impl Extent<'_> {
    /// With `more` than the checkpoint states.
    pub fn plus(self, more: usize) -> Self {
        Self { stored: self.stored.map(|stored| stored + more), ..self }
    }

    /// What the checkpoint states, else `card`. A checkpoint that differs from the card is noted.
    pub fn or(self, card: usize) -> usize {
        let stored = self.stored.unwrap_or(card);
        if stored != card {
            let Self { layer, unit, .. } = self;
            self.scope.state.borrow_mut().differences.push(Difference { layer, unit, stored, card });
        }
        stored
    }
}

/// A number in which a checkpoint differs from its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path of the layer.
    layer: String,
    unit: &'static str,
    stored: usize,
    card: usize,
}

impl Difference {
    /// Whether it makes another network, not only one for other inputs.
    pub fn is_of_network(&self) -> bool {
        self.unit != INPUTS
    }
}

/// One sentence on the `differences` of a checkpoint from the card `name`; `None` if there are none.
pub fn note(name: &str, differences: &[Difference]) -> Option<String> {
    let all = |order: fn(&Difference) -> bool| differences.iter().all(order);
    let word = match (all(|d| d.stored < d.card), all(|d| d.stored > d.card)) {
        (true, true) => return None,
        (true, false) => "smaller than",
        (false, true) => "larger than",
        (false, false) => "of other sizes than",
    };
    let filters = all(|d| d.unit == FILTERS);
    let word = match word {
        "smaller than" if filters => "narrower than",
        "larger than" if filters => "wider than",
        word => word,
    };
    let one = |d: &Difference| format!("{} {} of {} {}", d.layer, d.stored, d.card, d.unit);
    let listed: Vec<String> = differences.iter().take(LISTED).map(one).collect();
    let more = match differences.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{word} card {name}: {}{more}", listed.join(", ")))
}

const FILTERS: &str = "filters";
const INPUTS: &str = "input channels";

impl Scope {
    /// Filters (or output features) of the layer `name` here.
    pub fn filters(&self, name: &str) -> Extent<'_> {
        self.extent(name, FILTERS, |shape| shape.first().copied())
    }

    /// Channels that a filter of the layer `name` here reads: those of its input, if it has one group.
    pub fn inputs(&self, name: &str) -> Extent<'_> {
        self.extent(name, INPUTS, |shape| shape.get(1).copied())
    }

    fn extent(&self, name: &str, unit: &'static str, of: fn(&[usize]) -> Option<usize>) -> Extent<'_> {
        let at = self.at(name);
        let stored = at.shape("weight").and_then(|shape| of(&shape)).filter(|extent| (1..=MOST).contains(extent));
        Extent { scope: self, layer: at.path, unit, stored }
    }

    /// How many of the parts `<stem><first>`, `<stem><first + 1>` and so on here the checkpoint has parameters of.
    pub fn parts(&self, stem: &str, first: usize) -> Extent<'_> {
        self.parts_at(stem.trim_end_matches('.'), |i| format!("{stem}{}", first + i))
    }

    /// How many of the parts `place(0)`, `place(1)` and so on of the layer `name` here the checkpoint has parameters of.
    pub fn parts_at(&self, name: &str, place: impl Fn(usize) -> String) -> Extent<'_> {
        let count = || (0..MOST_BLOCKS).take_while(|&i| self.holds(place(i))).count();
        let stored = self.is_stored().then(count).filter(|&count| count > 0);
        Extent { scope: self, layer: self.at(name).path, unit: "blocks", stored }
    }

    /// Whether the checkpoint holds parameters below `name`; false without a checkpoint.
    pub fn holds(&self, name: impl Display) -> bool {
        let below = self.at(name).stored_name("x");
        let below = below.strip_suffix('x').unwrap_or(&below);
        self.state.borrow().params.has_below(below)
    }

    /// `conv` with the number of filters that the checkpoint has. A depthwise convolution (one filter a channel) follows its
    /// input's channels; the groups of any other grouped convolution follow from the extents of its weight.
    pub(super) fn sized(&self, inputs: usize, conv: Conv) -> Conv {
        if self.exact {
            return conv;
        }
        if conv.groups > 1 && conv.groups == conv.out_channels {
            return Conv { out_channels: inputs, groups: inputs, ..conv };
        }
        let out_channels = self.filters("").or(conv.out_channels);
        if conv.groups == 1 {
            return Conv { out_channels, ..conv };
        }
        let groups = |shape: &[usize]| {
            let each = shape.get(1).copied().filter(|&each| each > 0 && inputs.is_multiple_of(each))?;
            Some(inputs / each)
        };
        let stored = self.shape("weight").and_then(|shape| groups(&shape));
        let groups = Extent { scope: self, layer: self.path.clone(), unit: "groups", stored }.or(conv.groups);
        Conv { out_channels, groups, ..conv }
    }

    /// `conv` with the number of filters that the checkpoint has.
    pub(super) fn sized_transpose(&self, conv: ConvTranspose) -> ConvTranspose {
        if self.exact {
            return conv;
        }
        let stored = self.shape("weight").and_then(|shape| shape.get(1)?.checked_mul(conv.groups));
        let stored = stored.filter(|filters| (1..=MOST).contains(filters));
        let filters = Extent { scope: self, layer: self.path.clone(), unit: FILTERS, stored };
        ConvTranspose { out_channels: filters.or(conv.out_channels), ..conv }
    }

    /// The layer with parameters that decides how many channels `node` has, by its path.
    pub(super) fn source(&self, mut node: Node) -> String {
        let state = self.state.borrow();
        loop {
            let def = state.graph.def(node);
            let passes = match &def.layer {
                Layer::BatchNorm(_) | Layer::Activation(_) | Layer::Pool(_) | Layer::GlobalAvgPool => true,
                Layer::Add | Layer::Mul => true,
                Layer::Conv(conv) => conv.is_depthwise() && conv.activation == Activation::Identity,
                _ => false,
            };
            match def.inputs.first() {
                Some(&input) if passes => node = input,
                _ => return def.name.clone(),
            }
        }
    }
}
