//! Accuracy of Winograd's transforms: layers with real weights, on their real inputs, against direct sums in f64.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadweight::engine::{EngineOptions, Session};
use deadweight::graph::{Graph, Node, NodeDef};
use deadweight::kernels::{Activation, Halo};
use deadweight::layers::{Conv, Layer, Padding, Shape};

use super::{load, stored};
use crate::naive;

/// Largest error of a value, relative to the root mean square of the layer's output.
const TOLERANCE: f64 = 1e-5;

/// `conv` on a map of `h` x `w`, and the same filters so dilated that the phases of the map have three rows and columns, and
/// two.
fn spread(conv: &Conv, h: usize, w: usize) -> [Conv; 3] {
    [h.max(w), 3, 2].map(|phase| {
        let (down, across) = (h.div_ceil(phase), w.div_ceil(phase));
        let padding = Padding::Explicit(Halo { top: down, bottom: down, left: across, right: across });
        Conv { dilation: (down, across), padding, ..conv.clone() }
    })
}

/// `node` of `graph` alone, without bias, activation or residual.
fn alone(graph: &Graph, node: Node, conv: &Conv) -> Graph {
    let channels = conv.in_channels;
    let input = NodeDef { name: "input".into(), layer: Layer::Input, inputs: vec![], channels, codes: None };
    let layer = Layer::Conv(Conv { activation: Activation::Identity, ..conv.clone() });
    let read = Node::clone(&graph.handles().next().unwrap());
    let def = NodeDef { layer, inputs: vec![read], ..graph.def(node).clone() };
    let output = graph.handles().nth(1);
    Graph { nodes: vec![input, def], output }
}

#[test]
fn winograd_is_within_1e_5_of_sums_in_f64() {
    let mut layers: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, card, reference, tensor, cut) in [
        ("classify/resnet20-cifar10", "resnet20-cifar", "classify/resnet20-cifar10.ref", "input", None),
        (
            "classify/resnet50-thin-opennsfw",
            "resnet50-thin-opennsfw",
            "classify/resnet50-thin-opennsfw.ref",
            "input_first1",
            None,
        ),
        ("denoise/dncnn-s25", "dncnn_gray_bn", "data/set12-noisy-sigma25", "01", Some(48)),
    ] {
        let model = load(&format!("{file}.safetensors"), card);
        let (image, shape) = stored(&format!("{reference}.safetensors"), tensor);
        let [c, h, w] = shape[shape.len() - 3..] else { panic!("{shape:?}") };
        let side = cut.unwrap_or(h);
        // The first image, or its top left corner.
        let at = |c: usize, y: usize, x: usize| image[(c * h + y) * w + x];
        let places = (0..c).flat_map(|c| (0..side).flat_map(move |y| (0..side).map(move |x| (c, y, x))));
        let x: Vec<f32> = places.map(|(c, y, x)| at(c, y, x)).collect();
        let input = Shape::new(c, side, side);
        let shapes = model.graph.shapes(input).unwrap();
        let whole = Session::new(Arc::clone(&model.graph), input, 1, EngineOptions::new(2)).unwrap();
        for node in model.graph.handles() {
            let Layer::Conv(conv) = &model.graph.def(node).layer else { continue };
            if !whole.kernel(node).starts_with("winograd") {
                continue;
            }
            let read = model.graph.def(node).inputs[0];
            let before = Arc::new(Graph { output: Some(read), ..(*model.graph).clone() });
            let operand = Session::new(before, input, 1, EngineOptions::new(2)).unwrap().run(&x, None).unwrap();
            let shape = shapes[read.index()];
            for (spread, conv) in spread(conv, shape.h, shape.w).iter().enumerate() {
                let graph = alone(&model.graph, node, conv);
                let mut session = Session::new(Arc::new(graph.clone()), shape, 1, EngineOptions::new(2)).unwrap();
                let kernel = session.kernel(graph.output());
                assert!(spread > 0 || kernel == whole.kernel(node), "the layer's shape alone decides");
                if kernel == "direct" {
                    continue;
                }
                let got = session.run(&operand, None).unwrap();
                let want = naive::run(&graph, shape, &operand);
                let squares: f64 = want.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
                let rms = (squares / want.len() as f64).sqrt();
                let error = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
                let most = got.iter().zip(&want).map(error).fold(0.0, f64::max);
                let name = &model.graph.def(node).name;
                assert!(most <= TOLERANCE * rms, "{card}: {name}: {kernel}: {:e} of the root mean square", most / rms);
                *layers.entry(kernel).or_default() += 1;
            }
        }
    }
    let enough = [("winograd4", 20), ("winograd3", 3), ("winograd2", 3), ("karatsuba", 3)];
    assert!(enough.iter().all(|(kernel, least)| layers.get(kernel).is_some_and(|n| n >= least)), "{layers:?}");
}
