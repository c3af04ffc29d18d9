//! What a network's output means: the number of classes, their names, and whether it consists of probabilities.

use std::borrow::Cow;

use super::Model;
use crate::graph::Node;
use crate::input::{Classes, LabelOf};
use crate::kernels::{Activation, Integer};
use crate::layers::Layer;
use crate::models::Task;

/// Number of classes of ImageNet networks with a background class, which labels do not number.
const WITH_BACKGROUND: usize = 1001;

impl Model {
    /// Number of classes: one per channel, or two by the sign of one channel.
    pub fn classes(&self) -> usize {
        self.graph.def(self.graph.output()).channels.max(2)
    }

    /// Whether it distinguishes two classes by one channel: an object, and everything else.
    pub fn is_binary(&self) -> bool {
        matches!(self.card.task, Task::Classify | Task::Segment) && self.graph.def(self.graph.output()).channels == 1
    }

    /// Threshold of the one channel above which the class is 1: where the probability is a half.
    pub fn threshold(&self) -> f32 {
        if self.gives_probabilities() { 0.5 } else { 0.0 }
    }

    /// `output` with one value per class; the output of a single channel is compared with the value at probability a half.
    pub fn class_values<'a>(&self, output: &'a [f32]) -> Cow<'a, [f32]> {
        match *output {
            [share] if self.gives_probabilities() => vec![1.0 - share, share].into(),
            [logit] => vec![0.0, logit].into(),
            _ => output.into(),
        }
    }

    /// Name of class `class`: the card's, if it names as many classes as the network has.
    pub fn class_name(&self, class: usize) -> String {
        let number = || format!("class {class}");
        let named = self.card.labels.as_ref().and_then(|labels| match self.classes().checked_sub(labels.count())? {
            0 => labels.get(class),
            1 if self.is_binary() || self.classes() == WITH_BACKGROUND => match class.checked_sub(1) {
                None => Some("background"),
                Some(class) => labels.get(class),
            },
            _ => None,
        });
        match named {
            Some(name) => name.to_owned(),
            None if self.is_binary() && self.card.task == Task::Segment && class < 2 => {
                ["background", "object"][class].to_owned()
            }
            None => number(),
        }
    }

    /// Which of the network's `classes` classes is label 0 of a data set: 1 if the network has a background class.
    pub fn label_offset(&self, classes: usize) -> usize {
        let own = self.card.labels.as_ref().filter(|labels| labels.count() == classes);
        let background = own.is_none_or(|labels| labels.get(0) == Some("background"));
        usize::from(classes == WITH_BACKGROUND && background && !self.card.reads_tokens())
    }

    /// What the labels of its inputs are of, if it classifies texts or their words.
    pub fn labels_of_texts(&self) -> Option<LabelOf> {
        match self.card.task {
            Task::Classify if self.card.reads_tokens() => Some(LabelOf::Text),
            // Others answer with words, or with marks of their own.
            Task::Tag if self.card.arch.get("head").and_then(|head| head.as_str()) == Some("tokens") => {
                Some(LabelOf::Word)
            }
            _ => None,
        }
    }

    /// What the labels of its inputs number, if it classifies them or their words.
    pub fn labels(&self) -> Option<Classes> {
        if self.card.task != Task::Classify && self.labels_of_texts().is_none() {
            return None;
        }
        let offset = self.label_offset(self.classes());
        let count = self.classes() - offset;
        let known = self.card.labels.as_ref().filter(|labels| [count, count + offset].contains(&labels.count()));
        let names = known.map(|labels| {
            let name = |label: usize| {
                let id = labels.wordnet_id(label + labels.count() - count);
                [Some(self.class_name(label + offset)), id.map(str::to_owned)].into_iter().flatten().collect()
            };
            (0..count).map(name).collect()
        });
        Some(Classes { count, names: names.unwrap_or_default() })
    }

    /// Whether its outputs are probabilities: of a softmax, or of each channel by itself.
    pub fn gives_probabilities(&self) -> bool {
        self.ends_in_probabilities(self.graph.output())
    }

    fn ends_in_probabilities(&self, node: Node) -> bool {
        let def = self.graph.def(node);
        let squashes = |activation: Activation| matches!(activation, Activation::Sigmoid | Activation::HardSigmoid);
        match &def.layer {
            Layer::Softmax(_) | Layer::Integer(Integer::Softmax { .. }) => true,
            Layer::Activation(activation) => squashes(*activation),
            Layer::Conv(conv) => squashes(conv.activation),
            Layer::ConvTranspose(conv) => squashes(conv.activation),
            Layer::Linear(linear) => squashes(linear.activation),
            // Layers that keep the values: stored in another way, resized, or a part of them.
            Layer::Integer(Integer::Dequantize(_) | Integer::Quantize(..) | Integer::Rescale { .. })
            | Layer::Resize(_)
            | Layer::Slice(_) => self.ends_in_probabilities(def.inputs[0]),
            _ => false,
        }
    }
}
