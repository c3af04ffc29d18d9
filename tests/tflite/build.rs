//! Builds TFLite files with the library that the format's authors publish.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, UnionWIPOffset, WIPOffset};

/// A number in an operator's options.
#[derive(Clone, Copy)]
pub enum Number {
    I8(i8),
    I32(i32),
    F32(f32),
}

/// A tensor: name, extents, type number, bytes of a constant, scales and zero points.
#[derive(Clone, Default)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<i32>,
    pub element: i8,
    pub data: Vec<u8>,
    pub scales: Vec<f32>,
    pub zero_points: Vec<i64>,
    /// The dimension of the scales, if it is not that of the filters.
    pub axis: Option<i32>,
    pub variable: bool,
    /// Extents, -1 for open ones.
    pub signature: Vec<i32>,
    pub sparse: bool,
    /// Whether the scales have an extension table.
    pub details: bool,
}

/// An operator: its number in the schema, inputs, outputs, and options by field.
#[derive(Clone, Default)]
pub struct Operator {
    pub code: i32,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub options: Vec<(u16, Number)>,
}

/// A file of one graph.
#[derive(Clone, Default)]
pub struct File {
    pub tensors: Vec<Tensor>,
    pub operators: Vec<Operator>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    /// Version of the format, if it is not 3.
    pub version: Option<u32>,
}

/// Type numbers of the schema.
pub const F32: i8 = 0;
pub const F16: i8 = 1;
pub const I32: i8 = 2;
pub const U8: i8 = 3;
pub const I8: i8 = 9;

type Offset = WIPOffset<TableFinishedWIPOffset>;

/// Number of the options table of operator `code` in the schema's union.
fn options_type(code: i32) -> u8 {
    match code {
        0 => 11,
        3 => 1,
        4 => 2,
        9 => 8,
        22 => 17,
        34 => 22,
        39 => 26,
        40 => 27,
        _ => 0,
    }
}

/// Slot of field `number` in a table's vtable.
fn slot(number: u16) -> u16 {
    4 + 2 * number
}

impl File {
    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut b = FlatBufferBuilder::new();
        // Buffer 0 is empty: that of all tensors that are no constants.
        let mut buffers = vec![buffer(&mut b, &[])];
        let mut tensors = Vec::new();
        for tensor in &self.tensors {
            let place = if tensor.data.is_empty() { 0 } else { buffers.len() as u32 };
            if place > 0 {
                buffers.push(buffer(&mut b, &tensor.data));
            }
            tensors.push(write_tensor(&mut b, tensor, place));
        }
        let mut codes: Vec<i32> = self.operators.iter().map(|operator| operator.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let operators: Vec<Offset> = self
            .operators
            .iter()
            .map(|operator| {
                let code = codes.binary_search(&operator.code).unwrap() as u32;
                let inputs = b.create_vector(&operator.inputs);
                let outputs = b.create_vector(&operator.outputs);
                let options = write_options(&mut b, &operator.options);
                let table = b.start_table();
                b.push_slot_always(slot(0), code);
                b.push_slot_always(slot(1), inputs);
                b.push_slot_always(slot(2), outputs);
                b.push_slot_always(slot(3), options_type(operator.code));
                b.push_slot_always(slot(4), WIPOffset::<UnionWIPOffset>::new(options.value()));
                b.end_table(table)
            })
            .collect();
        let codes: Vec<Offset> = codes
            .iter()
            .map(|&code| {
                let table = b.start_table();
                b.push_slot_always(slot(0), code.min(127) as i8);
                b.push_slot_always(slot(3), code);
                b.end_table(table)
            })
            .collect();
        let [tensors, operators, codes, buffers] =
            [tensors, operators, codes, buffers].map(|tables| b.create_vector(&tables));
        let (inputs, outputs) = (b.create_vector(&self.inputs), b.create_vector(&self.outputs));
        let graph = b.start_table();
        b.push_slot_always(slot(0), tensors);
        b.push_slot_always(slot(1), inputs);
        b.push_slot_always(slot(2), outputs);
        b.push_slot_always(slot(3), operators);
        let graph = b.end_table(graph);
        let graphs = b.create_vector(&[graph]);
        let model = b.start_table();
        b.push_slot_always(slot(0), self.version.unwrap_or(3));
        b.push_slot_always(slot(1), codes);
        b.push_slot_always(slot(2), graphs);
        b.push_slot_always(slot(4), buffers);
        let model = b.end_table(model);
        b.finish(model, Some("TFL3"));
        b.finished_data().to_vec()
    }
}

fn buffer(b: &mut FlatBufferBuilder<'_>, data: &[u8]) -> Offset {
    let data = b.create_vector(data);
    let table = b.start_table();
    b.push_slot_always(slot(0), data);
    b.end_table(table)
}

fn write_tensor(b: &mut FlatBufferBuilder<'_>, tensor: &Tensor, buffer: u32) -> Offset {
    let (scales, zero_points) = (b.create_vector(&tensor.scales), b.create_vector(&tensor.zero_points));
    let quantisation = b.start_table();
    b.push_slot_always(slot(2), scales);
    b.push_slot_always(slot(3), zero_points);
    // Filters are the first dimension, except in depthwise weights.
    let depthwise = tensor.shape.first() == Some(&1) && tensor.shape.len() == 4;
    b.push_slot_always(slot(6), tensor.axis.unwrap_or(if depthwise { 3i32 } else { 0 }));
    if tensor.details {
        b.push_slot_always(slot(4), 1u8);
    }
    let quantisation = b.end_table(quantisation);
    let (shape, name) = (b.create_vector(&tensor.shape), b.create_string(&tensor.name));
    let signature = b.create_vector(&tensor.signature);
    let sparsity = b.start_table();
    let sparsity = b.end_table(sparsity);
    let table = b.start_table();
    b.push_slot_always(slot(0), shape);
    b.push_slot_always(slot(1), tensor.element);
    b.push_slot_always(slot(2), buffer);
    b.push_slot_always(slot(3), name);
    b.push_slot_always(slot(4), quantisation);
    b.push_slot_always(slot(5), tensor.variable);
    b.push_slot_always(slot(7), signature);
    if tensor.sparse {
        b.push_slot_always(slot(6), sparsity);
    }
    b.end_table(table)
}

fn write_options(b: &mut FlatBufferBuilder<'_>, options: &[(u16, Number)]) -> Offset {
    let table = b.start_table();
    for &(field, number) in options {
        match number {
            Number::I8(value) => b.push_slot_always(slot(field), value),
            Number::I32(value) => b.push_slot_always(slot(field), value),
            Number::F32(value) => b.push_slot_always(slot(field), value),
        }
    }
    b.end_table(table)
}
