//! Weights of small magnitude set to zero: so many of a layer, of all layers, or of each block along the reduction.

use super::{Graph, Node};
use crate::layers::{Layer, Param};

/// Which weights become zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sparsity {
    /// The smallest ones: so many of ten thousand, to the nearest whole number of weights, a half up. Those that are zero count.
    Share(u32),
    /// Of each aligned block of `of` weights along the reduction (input channels of a group at one tap, or features) all but the
    /// `keep` largest.
    Blocks {
        /// How many stay.
        keep: usize,
        /// Of how many; the last block of a line may be shorter.
        of: usize,
    },
}

/// Among which weights the smallest are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of a layer.
    Layer,
    /// Those of all layers.
    Global,
}

/// `graph` with weights of the layers that `chosen` chooses by name set to zero. Of equal magnitudes the first become zero, in the order
/// of the network, of filters and of what is in them. Biases and what is no layer's weight stay as they are.
pub fn pruned(graph: &Graph, sparsity: Sparsity, scope: Scope, chosen: impl Fn(&str) -> bool) -> Graph {
    let mut graph = graph.clone();
    let nodes: Vec<Node> = graph.handles().filter(|node| chosen(&graph.def(*node).name)).collect();
    let mut layers: Vec<Layer> = nodes.iter().map(|node| graph.def(*node).layer.clone()).collect();
    match (sparsity, scope) {
        (Sparsity::Blocks { keep, of }, _) => layers.iter_mut().flat_map(weights).for_each(|of_layer| {
            let lines = of_layer.lines;
            let mut data = of_layer.param.data.to_vec();
            for line in 0..lines.count {
                let places: Vec<usize> = (0..lines.length).map(|i| lines.place(line, i)).collect();
                for block in places.chunks(of) {
                    zero_smallest(&mut data, block, block.len().saturating_sub(keep));
                }
            }
            of_layer.param.data = data.into();
        }),
        (Sparsity::Share(share), Scope::Layer) => layers.iter_mut().flat_map(weights).for_each(|of_layer| {
            cut(&mut [of_layer.param], share);
        }),
        (Sparsity::Share(share), Scope::Global) => {
            let mut all: Vec<&mut Param> = layers.iter_mut().flat_map(weights).map(|of_layer| of_layer.param).collect();
            cut(&mut all, share);
        }
    }
    for (node, layer) in nodes.into_iter().zip(layers) {
        graph.nodes[node.index()].layer = layer;
    }
    graph
}

/// How many weights [`pruned`] can set to zero.
pub fn prunable(graph: &Graph, chosen: impl Fn(&str) -> bool) -> usize {
    let of =
        |layer: &Layer| weights(&mut layer.clone()).iter().map(|of_layer| of_layer.param.data.len()).sum::<usize>();
    graph.nodes.iter().filter(|def| chosen(&def.name)).map(|def| of(&def.layer)).sum()
}

/// Sets the smallest weights of `params` to zero, so many of ten thousand.
fn cut(params: &mut [&mut Param], share: u32) {
    let count: usize = params.iter().map(|param| param.data.len()).sum();
    let wanted = (count * share as usize + 5000) / 10_000;
    if wanted == 0 {
        return;
    }
    // The bits of magnitudes order as these do.
    let mut magnitudes: Vec<u32> =
        params.iter().flat_map(|param| param.data.iter().map(|w| w.abs().to_bits())).collect();
    let (below, &mut last, _) = magnitudes.select_nth_unstable(wanted - 1);
    let mut equals = wanted - below.iter().filter(|magnitude| **magnitude < last).count();
    for param in params {
        let cut = |w: &f32| {
            let magnitude = w.abs().to_bits();
            let is_equal = magnitude == last && equals > 0;
            equals -= usize::from(is_equal);
            if magnitude < last || is_equal { 0.0 } else { *w }
        };
        param.data = param.data.iter().map(cut).collect();
    }
}

/// Sets the `count` smallest weights at `places` of `data` to zero, the first of equals.
fn zero_smallest(data: &mut [f32], places: &[usize], count: usize) {
    let mut order = places.to_vec();
    order.sort_by(|a, b| data[*a].abs().total_cmp(&data[*b].abs()));
    order[..count].iter().for_each(|place| data[*place] = 0.0);
}

/// The weights of a layer, and what is summed over them.
struct Weights<'a> {
    param: &'a mut Param,
    lines: Lines,
}

/// Lines of weights along the reduction.
#[derive(Clone, Copy)]
struct Lines {
    count: usize,
    length: usize,
    order: Order,
}

#[derive(Clone, Copy)]
enum Order {
    /// `[filter][input][tap]`, so many taps.
    Filters(usize),
    /// Of a transposed convolution: `[group][input][filter][tap]`, so many filters and taps.
    Inputs(usize, usize),
    /// `[filter][channel][pixel]`, the line in the order pixel, channel: so many channels.
    ChannelsLast(usize),
}

impl Lines {
    /// Where weight `i` of line `line` is.
    fn place(&self, line: usize, i: usize) -> usize {
        match self.order {
            Order::Filters(taps) => (line / taps * self.length + i) * taps + line % taps,
            Order::Inputs(filters, taps) => {
                let (filter, tap) = (line / taps, line % taps);
                ((filter / filters * self.length + i) * filters + filter % filters) * taps + tap
            }
            Order::ChannelsLast(channels) => {
                line * self.length + i % channels * (self.length / channels) + i / channels
            }
        }
    }
}

/// The weights of `layer` that multiply activations.
fn weights(layer: &mut Layer) -> Vec<Weights<'_>> {
    let rows = |param: &Param| Lines { count: param.shape[0], length: param.shape[1], order: Order::Filters(1) };
    match layer {
        Layer::Conv(conv) => {
            let taps = conv.kernel.0 * conv.kernel.1;
            let lines = Lines {
                count: conv.out_channels * taps,
                length: conv.in_channels / conv.groups,
                order: Order::Filters(taps),
            };
            vec![Weights { param: &mut conv.weight, lines }]
        }
        Layer::ConvTranspose(conv) => {
            let taps = conv.kernel.0 * conv.kernel.1;
            let lines = Lines {
                count: conv.out_channels * taps,
                length: conv.in_channels / conv.groups,
                order: Order::Inputs(conv.out_channels / conv.groups, taps),
            };
            vec![Weights { param: &mut conv.weight, lines }]
        }
        Layer::Linear(linear) => {
            let order = linear.channels_last.map_or(Order::Filters(1), Order::ChannelsLast);
            let lines = Lines { order, ..rows(&linear.weight) };
            vec![Weights { param: &mut linear.weight, lines }]
        }
        Layer::Lstm(lstm) => [Some(&mut lstm.weight), lstm.projection.as_mut()]
            .into_iter()
            .flatten()
            .map(|param| Weights { lines: rows(param), param })
            .collect(),
        Layer::Recurrent(layer) => vec![Weights { lines: rows(&layer.weight), param: &mut layer.weight }],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::{Params, Scope as Builder};
    use crate::layers::{Conv, ConvTranspose};

    fn param(data: &[f32]) -> Param {
        Param { shape: vec![data.len()], data: data.into() }
    }

    fn network() -> Graph {
        let net = Builder::new(Params::Random(3));
        let x = net.input(6);
        let y = net.at("a").conv(x, Conv::new(10, 3).padding(1));
        let y = net.at("b").conv_transpose(y, ConvTranspose::new(9, 2, 2));
        let y = net.global_avg_pool(y);
        let y = net.at("fc").linear(y, 7, 1);
        net.finish(y).unwrap().0
    }

    fn data(graph: &Graph) -> Vec<Vec<f32>> {
        graph
            .nodes
            .iter()
            .flat_map(|def| weights(&mut def.layer.clone()).iter().map(|of| of.param.data.to_vec()).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn so_many_weights_are_zero_by_layer_and_of_all() {
        let graph = network();
        let zeros = |of: &[f32]| of.iter().filter(|w| **w == 0.0).count();
        for (share, scope) in [
            (5000, Scope::Layer),
            (3333, Scope::Layer),
            (9000, Scope::Global),
            (0, Scope::Global),
            (10_000, Scope::Layer),
        ] {
            let cut = data(&pruned(&graph, Sparsity::Share(share), scope, |_| true));
            let counts: Vec<usize> = cut.iter().map(|of| of.len()).collect();
            let wanted = |count: usize| (count as f64 * f64::from(share) / 10_000.0).round() as usize;
            match scope {
                Scope::Layer => {
                    assert!(cut.iter().zip(&counts).all(|(of, &count)| zeros(of) == wanted(count)), "{share}")
                }
                Scope::Global => assert_eq!(zeros(&cut.concat()), wanted(counts.iter().sum())),
            }
            // What is left is what it was, and no smaller than what is gone.
            let whole = data(&graph).concat();
            let kept = cut.concat();
            assert!(kept.iter().zip(&whole).all(|(kept, was)| *kept == 0.0 || kept == was));
        }
        let cut = data(&pruned(&graph, Sparsity::Share(5000), Scope::Layer, |name| name == "b"));
        assert_eq!([cut[0] == data(&graph)[0], cut[1] == data(&graph)[1]], [true, false]);
        assert_eq!(prunable(&graph, |name| name != "b"), 6 * 10 * 9 + 9 * 7);
    }

    #[test]
    fn blocks_go_along_the_reduction() {
        let graph = network();
        let cut = data(&pruned(&graph, Sparsity::Blocks { keep: 2, of: 4 }, Scope::Layer, |_| true));
        let nonzero = |places: &mut dyn Iterator<Item = f32>| places.filter(|w| *w != 0.0).count();
        // [10, 6, 3, 3]: channels 0..4 and 4..6 at each tap.
        for (filter, tap) in (0..10).flat_map(|filter| (0..9).map(move |tap| (filter, tap))) {
            let at = |channel: usize| cut[0][(filter * 6 + channel) * 9 + tap];
            assert_eq!([nonzero(&mut (0..4).map(at)), nonzero(&mut (4..6).map(at))], [2, 2]);
        }
        // [10, 9, 2, 2], inputs first: 0..4, 4..8, 8..10.
        for (filter, tap) in (0..9).flat_map(|filter| (0..4).map(move |tap| (filter, tap))) {
            let at = |channel: usize| cut[1][(channel * 9 + filter) * 4 + tap];
            assert_eq!([0..4, 4..8, 8..10].map(|block| nonzero(&mut block.map(at))), [2, 2, 2]);
        }
        // [7, 9]: a block of one feature keeps it.
        for filter in 0..7 {
            let at = |feature: usize| cut[2][filter * 9 + feature];
            assert_eq!([0..4, 4..8, 8..9].map(|block| nonzero(&mut block.map(at))), [2, 2, 1]);
        }
        let last = Lines { count: 1, length: 6, order: Order::ChannelsLast(2) };
        assert_eq!((0..6).map(|i| last.place(0, i)).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
    }

    proptest! {
        #[test]
        fn the_smallest_are_those_of_a_stable_sort(
            values in prop::collection::vec(prop::sample::select(vec![0.0f32, -0.0, 0.5, -0.5, 1.0, -2.0, 3.5, 1e-20]), 1..60),
            parts in 1usize..4, share in 0u32..=10_000,
        ) {
            let mut params: Vec<Param> = values.chunks(values.len().div_ceil(parts)).map(param).collect();
            cut(&mut params.iter_mut().collect::<Vec<_>>(), share);
            let got: Vec<f32> = params.iter().flat_map(|param| param.data.to_vec()).collect();
            let wanted = (values.len() as f64 * f64::from(share) / 10_000.0 + 0.5).floor() as usize;
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()));
            let mut want = values.clone();
            order[..wanted].iter().for_each(|place| want[*place] = 0.0);
            prop_assert_eq!(&got, &want);
            let mut block = values.clone();
            zero_smallest(&mut block, &(0..values.len()).collect::<Vec<_>>(), wanted);
            prop_assert_eq!(block, want);
        }
    }
}
