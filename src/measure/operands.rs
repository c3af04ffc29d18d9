//! Which layers share an operand, so that it is counted once. A reader is a layer whose input the operand is.

use super::layers::MeasuredLayer;
use crate::graph::Graph;
use crate::kernels::count::{Classes, Grouping};
use crate::tally::LayerShape;

/// The input operands of all layers, for inputs of one size.
pub(super) struct Operands {
    /// Extents of the layers.
    pub(super) shapes: Vec<LayerShape>,
    /// The [`LayerShape::reader`] of each layer's outputs, where these are counted.
    pub(super) readers_of_outputs: Vec<Option<LayerShape>>,
    /// For each layer, the first that reads the same tensor as the same codes in the same groups: itself, or one before it. None for
    /// products of two activations, whose operands are counted together.
    firsts: Vec<Option<usize>>,
}

impl Operands {
    /// The operands of `layers` of extents `shapes`.
    pub(super) fn new(
        graph: &Graph,
        layers: &[MeasuredLayer],
        (shapes, readers_of_outputs): (Vec<LayerShape>, Vec<Option<LayerShape>>),
    ) -> Self {
        let operand = |i: usize| {
            let MeasuredLayer { node, inside, gates, codings, .. } = &layers[i];
            let is_alone = *inside || gates.is_some() || shapes[i].grouping() != Grouping::Channels;
            (!is_alone).then(|| (graph.def(*node).inputs[0], codings[0].map))
        };
        let first = |i: usize| (0..i).find(|&before| operand(before).is_some_and(|read| Some(read) == operand(i)));
        let is_pair = |i: usize| layers[i].is_of_activations(graph);
        let firsts = (0..layers.len()).map(|i| (!is_pair(i)).then(|| first(i).unwrap_or(i))).collect();
        Self { shapes, readers_of_outputs, firsts }
    }

    /// The layers that are the first to read an operand.
    pub(super) fn firsts(&self) -> impl Iterator<Item = usize> {
        (0..self.firsts.len()).filter(|&i| self.firsts[i] == Some(i))
    }

    /// The layers that read what layer `first` is the first to read.
    pub(super) fn readers(&self, first: usize) -> impl Iterator<Item = usize> {
        (first..self.firsts.len()).filter(move |&i| self.firsts[i] == Some(first))
    }

    /// The classes of rows and columns that the readers of an operand distinguish.
    pub(super) fn classes(&self, first: usize) -> [Classes; 2] {
        let divided = |[rows, columns]: [Classes; 2], by: [Classes; 2]| [rows.divided(&by[0]), columns.divided(&by[1])];
        let classes = self.readers(first).map(|reader| self.shapes[reader].classes());
        classes.reduce(divided).expect("the first reader is a reader")
    }

    /// The classes of layer `reader`, divided as `all`, which it shares with the other readers.
    pub(super) fn classes_of(&self, reader: usize, all: &[Classes; 2]) -> [Classes; 2] {
        let [rows, columns] = self.shapes[reader].classes();
        let classes = [rows.divided(&all[0]), columns.divided(&all[1])];
        assert!(classes.iter().zip(all).all(|(own, all)| own.of == all.of), "all are divided as this one is");
        classes
    }
}
