//! Runs of a graph in parts: what one part leaves for those behind it, so that nothing is computed twice.

use std::collections::{BTreeSet, HashMap, HashSet};

use rten_onnx::onnx::GraphProto;

use super::operators;

/// Which tensors each operator reads and makes.
pub(super) struct Flow {
    steps: Vec<Step>,
    /// The operator that makes a tensor.
    makers: HashMap<String, usize>,
    constants: HashSet<String>,
}

struct Step {
    reads: Vec<String>,
    makes: Vec<String>,
}

/// One run of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The tensors that it is asked for.
    pub asked: BTreeSet<String>,
    /// Those among them that the next part is given, inputs of the graph too.
    pub left: BTreeSet<String>,
}

impl Flow {
    /// The operators of `graph`, of whose tensors `constants` depend on constants alone.
    pub fn new(graph: &GraphProto, constants: HashSet<String>) -> Self {
        let steps: Vec<Step> = graph
            .node
            .iter()
            .map(|node| {
                let mut reads = node.input.clone();
                for inner in operators::subgraphs(node) {
                    // What is read within may be from without; names made within are never looked up here.
                    operators::for_each(inner, &mut |node| reads.extend(node.input.iter().cloned()));
                    reads.extend(inner.output.iter().filter_map(|output| output.name.clone()));
                }
                Step { reads, makes: node.output.clone() }
            })
            .collect();
        let made = steps.iter().enumerate().flat_map(|(i, step)| step.makes.iter().map(move |name| (name.clone(), i)));
        let makers = made.filter(|(name, _)| !name.is_empty() && !constants.contains(name)).collect();
        Self { steps, makers, constants }
    }

    /// The runs that give each list of `wanted` tensors, for a graph with `inputs`.
    pub fn parts(&self, inputs: &[&str], wanted: &[BTreeSet<String>]) -> Vec<Part> {
        let mut known: HashSet<&str> = inputs.iter().copied().collect();
        let mut parts = Vec::new();
        for (i, own) in wanted.iter().enumerate() {
            let done = self.behind(own.iter().map(String::as_str), &known);
            let mut made = known.clone();
            made.extend(done.iter().flat_map(|&step| self.steps[step].makes.iter().map(String::as_str)));
            // What later parts read of what is made by now.
            let later: Vec<&str> = wanted[i + 1..].iter().flatten().map(String::as_str).collect();
            let open = self.behind(later.iter().copied(), &made);
            let reads = open.iter().flat_map(|&step| self.steps[step].reads.iter().map(String::as_str));
            let read = reads.chain(later).filter(|name| made.contains(name) && !self.constants.contains(*name));
            let left: BTreeSet<String> = read.map(str::to_owned).collect();
            parts.push(Part { asked: own.union(&left).cloned().collect(), left });
            known = made.into_iter().filter(|name| parts[i].left.contains(*name)).collect();
        }
        parts
    }

    /// The operators that have to run for `wanted`, where the tensors `known` are there.
    fn behind<'a>(&'a self, wanted: impl Iterator<Item = &'a str>, known: &HashSet<&str>) -> HashSet<usize> {
        let mut pending: Vec<&str> = wanted.collect();
        let mut steps = HashSet::new();
        while let Some(name) = pending.pop() {
            if known.contains(name) {
                continue;
            }
            if let Some(&step) = self.makers.get(name)
                && steps.insert(step)
            {
                pending.extend(self.steps[step].reads.iter().map(String::as_str));
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::operator;
    use super::*;

    #[test]
    fn a_part_leaves_what_the_next_ones_read() {
        // x -> a -> b -> c, and d of a and c.
        let node = vec![
            operator("Relu", &["x"], &["a"]),
            operator("MatMul", &["a", "w"], &["b"]),
            operator("Relu", &["b"], &["c"]),
            operator("Add", &["a", "c"], &["d"]),
        ];
        let flow = Flow::new(&GraphProto { node, ..GraphProto::default() }, HashSet::from(["w".to_owned()]));
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let parts = flow.parts(&["x"], &[set(&["b"]), set(&["d"])]);
        assert_eq!(parts[0], Part { asked: set(&["a", "b"]), left: set(&["a", "b"]) });
        assert_eq!(parts[1], Part { asked: set(&["d"]), left: set(&[]) });
        assert_eq!(flow.parts(&["x"], &[set(&["d"])])[0].asked, set(&["d"]));
    }
}
