//! Attributes of ONNX operators: read, and written into new ones.

use rten_onnx::onnx::{AttributeProto, AttributeType, GraphProto, NodeProto};

/// What an operator states.
pub(super) trait Attributes {
    /// The attribute `name`.
    fn attribute(&self, name: &str) -> Option<&AttributeProto>;

    /// An integer.
    fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    /// A float.
    fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.f
    }

    /// A list of integers.
    fn ints(&self, name: &str) -> Option<&[i64]> {
        Some(&self.attribute(name)?.ints)
    }

    /// A text.
    fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name)?.s.as_deref()
    }

    /// Texts.
    fn texts(&self, name: &str) -> &[String] {
        self.attribute(name).map_or(&[], |attribute| &attribute.strings)
    }
}

impl Attributes for NodeProto {
    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }
}

/// A value of an attribute.
pub(super) enum Given<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
    Graph(GraphProto),
}

/// An operator of ONNX's own.
pub(super) fn operator(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto { op_type: Some(op.to_owned()), input: owned(inputs), output: owned(outputs), ..NodeProto::default() }
}

/// `node` with another attribute.
pub(super) fn with(mut node: NodeProto, name: &str, given: Given<'_>) -> NodeProto {
    let mut attribute = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    attribute.r#type = Some(match given {
        Given::Int(i) => {
            attribute.i = Some(i);
            AttributeType::INT
        }
        Given::Float(f) => {
            attribute.f = Some(f);
            AttributeType::FLOAT
        }
        Given::Ints(ints) => {
            attribute.ints = ints.to_vec();
            AttributeType::INTS
        }
        Given::Text(text) => {
            attribute.s = Some(text.to_owned());
            AttributeType::STRING
        }
        Given::Graph(graph) => {
            attribute.g = Some(graph);
            AttributeType::GRAPH
        }
    });
    node.attribute.retain(|known| known.name.as_deref() != Some(name));
    node.attribute.push(attribute);
    node
}
