//! Which layers read one operand: it is counted once.

use super::layers::MeasuredLayer;
use crate::graph::Graph;
use crate::kernels::count::{Classes, Grouping};
use crate::tally::LayerShape;

/// For each layer, the first that reads the same tensor as the same codes in the same groups: itself, or one before it.
pub(super) fn first_readers(graph: &Graph, layers: &[MeasuredLayer], shapes: &[LayerShape]) -> Vec<usize> {
    let operand = |i: usize| {
        let MeasuredLayer { node, inside, recurrent, codings, .. } = &layers[i];
        let is_alone = *inside || *recurrent || shapes[i].grouping() != Grouping::Channels;
        (!is_alone).then(|| (graph.def(*node).inputs[0], codings[0].map))
    };
    let first = |i: usize| (0..i).find(|&before| operand(before).is_some_and(|read| Some(read) == operand(i)));
    (0..layers.len()).map(|i| first(i).unwrap_or(i)).collect()
}

/// The classes of rows and columns that the layers which read what layer `first` does tell apart.
pub(super) fn classes(first: usize, firsts: &[usize], shapes: &[LayerShape]) -> [Classes; 2] {
    let readers = firsts.iter().zip(shapes).filter(|(of, _)| **of == first).map(|(_, shape)| shape.classes());
    let divided = |[rows, columns]: [Classes; 2], by: [Classes; 2]| [rows.divided(&by[0]), columns.divided(&by[1])];
    readers.reduce(divided).expect("the first reader is a reader")
}

/// The classes of the layer of extents `shape`, divided as `all`, which it shares with others.
pub(super) fn classes_of(shape: &LayerShape, all: &[Classes; 2]) -> [Classes; 2] {
    let [rows, columns] = shape.classes();
    let classes = [rows.divided(&all[0]), columns.divided(&all[1])];
    assert!(classes.iter().zip(all).all(|(own, all)| own.of == all.of), "all are divided as this one is");
    classes
}
