//! States that a graph reads and gives (h, c, caches): carried from one input to the next.

use std::collections::HashMap;

use rten::Value;
use sha2::{Digest, Sha256};

use super::inputs::GraphInput;
use crate::{Error, Result};

/// An input of a graph that reads what an output of it gave for the input before, in the same sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    /// The input.
    pub input: String,
    /// The output.
    pub output: String,
    /// What the first input of a sequence reads: extents and values; zeros if it is not given.
    pub start: Option<(Vec<usize>, Vec<f32>)>,
}

impl Carry {
    /// As it is given on the command line.
    fn flag(&self) -> String {
        format!("--carry {}={}", self.input, self.output)
    }
}

/// A state of a graph.
pub(super) struct State {
    pub input: GraphInput,
    pub output: String,
    /// What the first input of a sequence reads.
    pub start: Vec<f32>,
    flag: String,
}

impl State {
    /// As text, for reports: which input reads which output, and where it starts, if not at zeros.
    pub fn describe(&self) -> String {
        let digest = Sha256::digest(self.start.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        let start: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let start = if self.start.iter().all(|value| *value == 0.0) { String::new() } else { format!(" from {start}") };
        format!("{}={}{start}", self.input.spec.name, self.output)
    }

    /// Its value as the graph reads it.
    ///
    /// # Errors
    /// [`Error::Shape`] for values that are not of its extents.
    pub fn value(&self, values: &[f32]) -> Result<(String, Value)> {
        let name = &self.input.spec.name;
        let wrong =
            || Error::shape(name, format!("is {} values, a state of {:?}", values.len(), self.input.spec.shape));
        let value = Some(values).filter(|values| values.len() == self.input.spec.elements());
        Ok((name.clone(), value.and_then(|values| self.input.value(values)).ok_or_else(wrong)?))
    }
}

/// Takes those of `inputs` that `carry` says are states out of them; `outputs` are the names of the graph's outputs.
///
/// # Errors
/// [`Error::Invalid`] for names that the graph does not have, states named twice, a first value of other extents, and where no
/// input would be left.
pub(super) fn states(
    source: &str,
    inputs: &mut Vec<GraphInput>,
    outputs: &[String],
    carry: &[Carry],
) -> Result<Vec<State>> {
    let mut states: Vec<State> = Vec::with_capacity(carry.len());
    for one in carry {
        let Carry { input, output, start } = one;
        let wrong = |detail: String| Err(Error::invalid(one.flag(), detail));
        if states.iter().any(|state| state.input.spec.name == *input) {
            return wrong(format!("{input} is carried already"));
        }
        let Some(place) = inputs.iter().position(|known| known.spec.name == *input) else {
            let known: Vec<&str> = inputs.iter().map(|input| input.spec.name.as_str()).collect();
            return wrong(format!("{input}: the inputs of {source} are {}", known.join(", ")));
        };
        if !outputs.contains(output) {
            return wrong(format!("{output}: the outputs of {source} are {}", outputs.join(", ")));
        }
        let input = inputs.remove(place);
        let start = match start {
            None => vec![0.0; input.spec.elements()],
            Some((shape, values)) if *shape == input.spec.shape => values.clone(),
            Some((shape, _)) => {
                let detail = format!("is {shape:?}, {} of {source} is {:?}", input.spec.name, input.spec.shape);
                return Err(Error::invalid(format!("--carry-start {}", input.spec.name), detail));
            }
        };
        states.push(State { input, output: output.clone(), start, flag: one.flag() });
    }
    if inputs.is_empty() && !states.is_empty() {
        return Err(Error::invalid(&states[0].flag, format!("leaves {source} without an input")));
    }
    Ok(states)
}

/// Checks that the outputs of `states` have the extents of their inputs.
///
/// # Errors
/// [`Error::Invalid`] naming one that has not.
pub(super) fn check(states: &[State], shapes: &HashMap<String, Vec<usize>>) -> Result<()> {
    let differs = states.iter().find(|state| shapes.get(&state.output) != Some(&state.input.spec.shape));
    differs.map_or(Ok(()), |State { input, output, flag, .. }| {
        let given = shapes.get(output).map_or_else(|| "of unknown extents".to_owned(), |shape| format!("{shape:?}"));
        let detail =
            format!("{output} is {given}, {} is {:?}: a state keeps its extents", input.spec.name, input.spec.shape);
        Err(Error::invalid(flag, detail))
    })
}
