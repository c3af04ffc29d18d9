//! The end of building: what is left over in a checkpoint, and how it differs from what the card says.

use super::scope::State;
use super::{Difference, Graph, Node, Params, Scope};
use crate::{Error, Result};

/// A finished network.
pub struct Fitted {
    /// The network.
    pub graph: Graph,
    /// Where its parameters were read from.
    pub params: Params,
    /// Numbers in which the checkpoint differs from the card.
    pub differences: Vec<Difference>,
    /// Whether its output is the features before a classifier that the checkpoint lacks.
    pub headless: bool,
    /// Parameters of another head, which were left out.
    pub left_out: Vec<String>,
}

impl Scope {
    /// Finishes the graph with output `output`; returns it with the checkpoint it was read from.
    ///
    /// # Errors
    /// [`Error::Mismatch`] listing every parameter that is missing, of the wrong shape or left over; the errors of
    /// reading a parameter.
    pub fn finish(self, output: Node) -> Result<(Graph, Params)> {
        self.fitted(output).map(|fitted| (fitted.graph, fitted.params))
    }

    /// As [`Scope::finish`], with how the checkpoint differs from the network that was described.
    ///
    /// # Errors
    /// As [`Scope::finish`].
    pub fn fitted(self, output: Node) -> Result<Fitted> {
        let mut state = self.state.replace(State::new(Params::Declared));
        let (mut left_out, mut problems) = (vec![], state.problems);
        for name in state.params.names() {
            if state.used.contains(name) || name.ends_with("num_batches_tracked") {
                continue;
            }
            match &state.headless {
                Some(head) if is_of_head(name, head) => left_out.push(name.to_owned()),
                _ => problems.push(format!("{name}: left over, the network has no such parameter")),
            }
        }
        if !problems.is_empty() {
            problems.extend(state.headless.map(|head| format!("{head}.weight: missing")));
            return Err(Error::Mismatch { file: state.params.source().to_owned(), problems });
        }
        if let Params::Stored(weights) = &state.params {
            weights.check_read()?;
        }
        state.graph.output = Some(output);
        let (differences, headless) = (state.differences, state.headless.is_some());
        Ok(Fitted { graph: state.graph, params: state.params, differences, headless, left_out })
    }

    /// Notes that the checkpoint lacks the classifier here, so that the network ends in the features before it.
    pub fn end_headless(&self) {
        self.state.borrow_mut().headless = Some(self.path.clone());
    }

    /// Allows the checkpoint to hold parameters below `name` that the network does not read.
    pub fn skip(&self, name: &str) {
        let below = format!("{}.", self.at(name).path);
        let state = &mut *self.state.borrow_mut();
        let names = state.params.names().into_iter().filter(|name| name.starts_with(&below));
        state.used.extend(names.map(str::to_owned));
    }

    /// Allows the checkpoint to hold the parameter `name`, which the network does not read.
    pub fn ignore(&self, name: &str) {
        let name = self.stored_name(name);
        self.state.borrow_mut().used.insert(name);
    }
}

/// Words in the names of what is trained on top of a backbone.
const HEADS: [&str; 10] =
    ["head", "heads", "fc", "classifier", "proj", "projector", "projection", "predictor", "prediction", "queue"];

/// Whether the parameter `name` belongs to another head than the one at `head`: it is below that, or in a module of its own
/// that is called one.
fn is_of_head(name: &str, head: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let below = name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.'));
    below || (!first.contains("conv") && first.split('_').any(|word| HEADS.contains(&word)))
}
