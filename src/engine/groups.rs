//! Which nodes run together: a partition of the graph.

use crate::graph::{Graph, Node};

/// A partition of the nodes of a graph into groups. A group runs as one when its last node would; the values of its other
/// nodes are read inside the group alone.
///
/// It maps each node to the last one of its group, so that no node can be in two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    last: Vec<Node>,
}

impl Groups {
    /// Every node of `graph` as a group of its own.
    pub fn single(graph: &Graph) -> Self {
        Self { last: graph.handles().collect() }
    }

    /// Every node of `graph` as a group of its own, except for the groups `wanted`, each with its nodes in running order. A
    /// wanted group is skipped if an earlier one has one of its nodes, or if a node other than its last is read outside it.
    pub fn new(graph: &Graph, wanted: impl IntoIterator<Item = Vec<Node>>) -> Self {
        let readers = graph.readers();
        let mut groups = Self::single(graph);
        let mut taken = vec![false; groups.last.len()];
        for nodes in wanted {
            let Some((&last, inner)) = nodes.split_last() else { continue };
            let is_inner = |node: Node| {
                let readers = &readers[node.index()];
                node != graph.output() && !readers.is_empty() && readers.iter().all(|reader| nodes.contains(reader))
            };
            let is_free = nodes.iter().all(|node| !taken[node.index()]);
            if is_free && nodes.is_sorted_by(|a, b| a < b) && inner.iter().all(|&node| is_inner(node)) {
                for node in &nodes {
                    groups.last[node.index()] = last;
                    taken[node.index()] = true;
                }
            }
        }
        groups
    }

    /// The last node of the group of `node`: the only one whose value others may read.
    pub fn last_of(&self, node: Node) -> Node {
        self.last[node.index()]
    }

    /// Whether `node` runs together with a later one.
    pub fn is_inner(&self, node: Node) -> bool {
        self.last_of(node) != node
    }

    /// The nodes of the group that ends at `last`, in running order; empty if `last` is inside a group.
    pub fn ending_at(&self, last: Node) -> Vec<Node> {
        let nodes = (0..=last.0).map(Node);
        nodes.filter(|&node| self.last_of(node) == last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Params, Scope};
    use crate::kernels::Activation;

    /// A chain of activations; the second is read by the last as well.
    fn graph() -> Graph {
        let net = Scope::new(Params::Random(0));
        let mut values = vec![net.input(16)];
        for _ in 0..5 {
            values.push(net.activation(values[values.len() - 1], Activation::Relu));
        }
        let y = net.add(values[5], values[2]);
        net.finish(y).unwrap().0
    }

    fn groups(wanted: &[&[u32]]) -> Vec<u32> {
        let wanted = wanted.iter().map(|nodes| nodes.iter().copied().map(Node).collect());
        Groups::new(&graph(), wanted).last.iter().map(|node| node.0).collect()
    }

    #[test]
    fn the_first_that_wants_a_node_has_it() {
        assert_eq!(groups(&[]), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(groups(&[&[1, 2], &[2, 3, 4], &[3, 4], &[4, 5]]), [0, 2, 2, 4, 4, 5, 6]);
        assert_eq!(groups(&[&[3, 4], &[4, 5], &[5, 6]]), [0, 1, 2, 4, 4, 6, 6]);
    }

    #[test]
    fn a_value_that_is_read_outside_ends_its_group() {
        assert_eq!(groups(&[&[2, 3]]), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(groups(&[&[2, 3, 4, 5, 6]]), [0, 1, 6, 6, 6, 6, 6]);
        // No reader would run before the group, nor may the output be inside it.
        assert_eq!(groups(&[&[4, 3], &[6, 5], &[1, 1, 2], &[]]), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn each_node_is_in_the_group_that_its_last_ends() {
        let graph = graph();
        let groups = Groups::new(&graph, [vec![Node(3), Node(4)]]);
        assert_eq!(groups.ending_at(Node(4)), [Node(3), Node(4)]);
        assert_eq!(groups.ending_at(Node(3)), []);
        assert_eq!(graph.handles().map(|node| groups.ending_at(node).len()).sum::<usize>(), graph.nodes.len());
    }
}
