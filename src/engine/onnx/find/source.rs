//! What is shown of a layer: which tensors hold it, and how they are laid out.

use super::super::view::View;
use crate::graph::Node;

/// Where the values of an operand are, and how they are laid out there.
#[derive(Clone, Debug)]
pub(in super::super) struct Source {
    /// The tensor.
    pub tensor: String,
    /// Which of its axes are channels, rows and columns.
    pub view: View,
    /// What is taken from each value.
    pub zero: Zero,
    /// For hidden values, which a recurrence reads one step later: the order of the steps, and what the first one reads.
    pub delay: Option<Delay>,
}

/// The zero point of an operand.
#[derive(Clone, Debug)]
pub(in super::super) enum Zero {
    /// Floats, or codes of which none is taken.
    None,
    /// Known from the file.
    Fixed(i32),
    /// A tensor that each run makes.
    Tensor(String),
}

/// How the hidden values of a recurrence become what its product reads.
#[derive(Clone, Debug)]
pub(in super::super) struct Delay {
    /// Whether the steps go from the last one to the first.
    pub reverse: bool,
    /// Steps of a sequence; several sequences follow one another.
    pub steps: usize,
    /// The first states: a tensor and the place of the first sequence's; zeros without one.
    pub initial: Option<(String, usize)>,
    /// Whether each step reads codes of 0 to 255 less their zero point, quantised by itself (DynamicQuantizeLinear).
    pub quantised: bool,
}

/// What is shown to the watchers of a node.
#[derive(Clone, Debug)]
pub(in super::super) struct Shown {
    pub node: Node,
    pub role: Role,
    pub source: Source,
}

/// What of a node is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Role {
    /// Its operand; of a product of two activations, the first.
    First,
    /// The second operand of a product of two activations.
    Second,
    /// Its output.
    Output,
}

/// The tensors that an operand is made of.
pub(in super::super) fn tensors_of(source: &Source) -> impl Iterator<Item = &str> {
    let zero = if let Zero::Tensor(name) = &source.zero { Some(name.as_str()) } else { None };
    let initial = source.delay.as_ref().and_then(|delay| delay.initial.as_ref()).map(|(name, _)| name.as_str());
    [Some(source.tensor.as_str()), zero, initial].into_iter().flatten()
}
