//! Optional rewrites `Graph -> Graph`: folding of batch norm, fusion of epilogues.

use super::{Graph, Node, NodeDef};
use crate::kernels::Activation;
use crate::layers::{BatchNorm, Layer, Param};

/// Folds every batch norm into the convolution before it, if nothing else reads that convolution.
///
/// `w' = w * s`, `b' = b * s + t` with the norm's scale `s` and shift `t` per output channel, in f64, rounded once.
/// A zero weight stays zero.
pub fn fold_norm(graph: &Graph) -> Graph {
    let readers = graph.readers();
    let mut rewrite = Rewrite::default();
    for node in graph.handles() {
        let def = graph.def(node);
        let folded = match &def.layer {
            Layer::BatchNorm(norm)
                if readers[def.inputs[0].index()].len() == 1 && graph.output != Some(def.inputs[0]) =>
            {
                let before = rewrite.new_of(def.inputs[0]);
                fold(&mut rewrite.graph.nodes[before.index()].layer, norm).then_some(before)
            }
            _ => None,
        };
        match folded {
            Some(conv) => rewrite.replace(node, conv),
            None => rewrite.keep(node, def),
        }
    }
    rewrite.finish(graph)
}

/// Folds `norm` into `layer` if it is a convolution without activation.
fn fold(layer: &mut Layer, norm: &BatchNorm) -> bool {
    let affine = norm.affine();
    let (weight, bias, out, outermost) = match layer {
        Layer::Conv(conv) if conv.activation == Activation::Identity => {
            // Scaled weights no longer equal the stored ones.
            conv.low_bits = None;
            (&mut conv.weight, &mut conv.bias_values, conv.out_channels, true)
        }
        Layer::ConvTranspose(conv) if conv.activation == Activation::Identity && conv.groups == 1 => {
            (&mut conv.weight, &mut conv.bias_values, conv.out_channels, false)
        }
        _ => return false,
    };
    if weight.data.is_empty() {
        // Shapes only: the norm's parameters become the bias.
        *bias = Some(Param { shape: vec![out], data: Default::default() });
        return true;
    }
    let old_bias = bias.as_ref().map(|bias| bias.data.clone());
    let shifted = affine.iter().enumerate().map(|(k, (scale, shift))| {
        let old = old_bias.as_ref().map_or(0.0, |bias| f64::from(bias[k]));
        (old * scale + shift) as f32
    });
    *bias = Some(Param { shape: vec![out], data: shifted.collect() });
    // Filters are the first dimension of a convolution's weight and the second of a transposed one's.
    let taps: usize = weight.shape[2..].iter().product();
    let inner = if outermost { weight.shape[1] * taps } else { taps };
    for (i, part) in weight.data.make_mut().chunks_mut(inner).enumerate() {
        let (scale, _) = affine[i % out];
        part.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
    }
    true
}

/// Fuses an activation into a convolution or linear layer that only it reads. Fuses a sum into a convolution that only the sum
/// reads: the convolution then reads the other term as its residual.
pub fn fuse_epilogue(graph: &Graph) -> Graph {
    fuse(graph, true)
}

/// [`fuse_epilogue`] for activations alone.
pub fn fuse_activations(graph: &Graph) -> Graph {
    fuse(graph, false)
}

fn fuse(graph: &Graph, sums: bool) -> Graph {
    let readers = graph.readers();
    let alone = |node: Node| readers[node.index()].len() == 1 && graph.output != Some(node);
    // Which convolution computes the sum at `node`: placed at the sum, it comes after both terms.
    let summing = |node: Node| {
        let def = graph.def(node);
        let (Layer::Add, true) = (&def.layer, sums) else { return None };
        let fits = |&term: &Node| {
            alone(term)
                && matches!(&graph.def(term).layer, Layer::Conv(conv)
                    if conv.activation == Activation::Identity && graph.def(term).inputs.len() == 1)
        };
        let chosen = def.inputs.iter().copied().find(fits)?;
        let other = def.inputs[usize::from(def.inputs[0] == chosen)];
        Some((chosen, other))
    };
    let moved: Vec<Node> = graph.handles().filter_map(|node| summing(node).map(|(conv, _)| conv)).collect();
    let mut rewrite = Rewrite::default();
    for node in graph.handles() {
        let def = graph.def(node);
        if moved.contains(&node) {
            continue;
        }
        if let Some((conv, residual)) = summing(node) {
            let conv = graph.def(conv);
            let inputs = vec![conv.inputs[0], residual];
            rewrite.keep(node, &NodeDef { inputs, ..conv.clone() });
            continue;
        }
        if let Layer::Activation(activation) = def.layer
            && alone(def.inputs[0])
        {
            let before = rewrite.new_of(def.inputs[0]);
            let slot = match &mut rewrite.graph.nodes[before.index()].layer {
                // With integers, the output consists of codes already.
                Layer::Conv(conv) if conv.integer.is_none() => Some(&mut conv.activation),
                Layer::ConvTranspose(conv) => Some(&mut conv.activation),
                Layer::Linear(linear) if linear.integer.is_none() => Some(&mut linear.activation),
                _ => None,
            };
            if let Some(slot @ Activation::Identity) = slot {
                *slot = activation;
                rewrite.replace(node, before);
                continue;
            }
        }
        rewrite.keep(node, def);
    }
    rewrite.finish(graph)
}

/// A graph under construction from another one, with the new node of each old one.
#[derive(Default)]
pub(super) struct Rewrite {
    graph: Graph,
    map: std::collections::HashMap<Node, Node>,
}

impl Rewrite {
    fn new_of(&self, old: Node) -> Node {
        self.map[&old]
    }

    fn replace(&mut self, old: Node, new: Node) {
        self.map.insert(old, new);
    }

    /// Adds `def`, whose inputs are old nodes, as the replacement of `old`.
    pub(super) fn keep(&mut self, old: Node, def: &NodeDef) {
        let new = self.beside(def);
        self.replace(old, new);
    }

    /// Adds `def` as the replacement of `old`; its inputs are old nodes, but for the first, which is the new node `input`.
    pub(super) fn keep_reading(&mut self, old: Node, def: &NodeDef, input: Node) {
        self.keep(old, def);
        self.read(old, 0, input);
    }

    /// Lets the replacement of `old` read the new node `input` as its input of number `which`.
    pub(super) fn read(&mut self, old: Node, which: usize, input: Node) {
        let new = self.new_of(old);
        self.graph.nodes[new.index()].inputs[which] = input;
    }

    /// Adds `def`, whose inputs are old nodes.
    pub(super) fn beside(&mut self, def: &NodeDef) -> Node {
        let inputs = def.inputs.iter().map(|&input| self.new_of(input)).collect();
        self.graph.nodes.push(NodeDef { inputs, ..def.clone() });
        Node(self.graph.nodes.len() as u32 - 1)
    }

    pub(super) fn finish(mut self, old: &Graph) -> Graph {
        self.graph.output = old.output.map(|output| self.new_of(output));
        self.graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Params, Scope};
    use crate::layers::Conv;

    fn residual_block() -> Graph {
        let net = Scope::new(Params::Random(1));
        let x = net.input(16);
        let y = net.at("conv1").conv(x, Conv::new(16, 3).padding(1));
        let y = net.at("bn1").batch_norm(y, 1e-5);
        let y = net.relu(y);
        let y = net.at("conv2").conv(y, Conv::new(16, 3).padding(1));
        let y = net.at("bn2").batch_norm(y, 1e-5);
        let shortcut = net.at("down").conv(x, Conv::new(16, 1));
        let y = net.add(y, shortcut);
        let y = net.relu(y);
        net.finish(y).unwrap().0
    }

    #[test]
    fn a_residual_block_becomes_three_convolutions() {
        let graph = fuse_epilogue(&fold_norm(&residual_block()));
        let names: Vec<&str> = graph.nodes.iter().map(|def| def.name.as_str()).collect();
        assert_eq!(names, ["input", "conv1", "down", "conv2"]);
        let Layer::Conv(conv2) = &graph.def(graph.output()).layer else { panic!("the output is conv2") };
        assert_eq!(conv2.activation, Activation::Relu);
        assert!(conv2.bias_values.is_some());
        assert_eq!(graph.def(graph.output()).inputs, [Node(1), Node(2)]);
    }

    #[test]
    fn a_convolution_that_is_read_twice_keeps_its_norm() {
        let net = Scope::new(Params::Random(1));
        let x = net.input(4);
        let y = net.at("conv").conv(x, Conv::new(4, 1));
        let z = net.at("bn").batch_norm(y, 1e-5);
        let out = net.add(y, z);
        let (graph, _) = net.finish(out).unwrap();
        assert_eq!(fold_norm(&graph).nodes.len(), graph.nodes.len());
    }
}
