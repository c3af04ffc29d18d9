//! ONNX files: operators, their attributes and constants, as stored.

use std::collections::HashMap;

use half::f16;
use rten_onnx::onnx::{AttributeProto, DataLocation, DataType, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::SourceFile;
use super::protobuf;
use crate::{Error, Result};

/// Values of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floats of any width.
    Floats(Vec<f32>),
    /// 8-bit integers, as bytes.
    Bytes {
        /// Whether they are signed (two's complement).
        signed: bool,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Wider integers.
    Integers(Vec<i64>),
}

/// A constant.
#[derive(Clone, Debug)]
pub struct OnnxTensor {
    /// Extents, outermost first; none for a scalar.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Values,
}

/// One operator.
#[derive(Clone, Debug)]
pub struct OnnxNode {
    /// Its type; with the prefix `domain:` for domains other than ONNX's own.
    pub op: String,
    /// Its name, which may be empty.
    pub name: String,
    /// Names of its inputs; empty for an omitted optional input.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    attributes: HashMap<String, AttributeProto>,
}

impl OnnxNode {
    /// Names of all attributes.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.keys().map(String::as_str)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attributes.get(name)?.i
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attributes.get(name)?.f
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        Some(&self.attributes.get(name)?.ints)
    }

    /// A string attribute.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.s.as_deref()
    }
}

/// A network and its constants.
#[derive(Debug)]
pub struct Onnx {
    /// The file, as in messages.
    pub source: String,
    /// The file itself.
    pub file: SourceFile,
    /// Version of ONNX's own operators.
    pub opset: i64,
    /// Operators in topological order.
    pub nodes: Vec<OnnxNode>,
    /// Constants by name.
    pub constants: HashMap<String, OnnxTensor>,
    /// Its inputs: name and extents, `None` for open ones.
    pub inputs: Vec<(String, Vec<Option<usize>>)>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
}

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

impl Onnx {
    /// Parses a network in memory; `name` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the bytes are no complete ONNX file; [`Error::Unsupported`] for constants in external files or
    /// of unsupported types.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::parse(name, bytes, SourceFile::of_bytes(name, bytes))
    }

    /// Parses `bytes`, the content of `file`.
    ///
    /// # Errors
    /// As [`Onnx::from_bytes`].
    pub(super) fn parse(source: &str, bytes: &[u8], file: SourceFile) -> Result<Self> {
        let damaged =
            |detail: String| Error::malformed(source, format!("truncated, damaged or no ONNX file: {detail}"));
        // The parser trusts lengths and recurses without a bound.
        protobuf::check(bytes).map_err(damaged)?;
        let model = ModelProto::parse_buf(bytes).map_err(|error| damaged(error.to_string()))?;
        let graph = model.graph.ok_or_else(|| damaged("it holds no graph".to_owned()))?;
        let own = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
        let opset = model.opset_import.iter().find(|set| own(&set.domain)).and_then(|set| set.version).unwrap_or(1);
        let microsoft = model.opset_import.iter().find(|set| set.domain.as_deref() == Some(MICROSOFT));
        if let Some(version) = microsoft.and_then(|set| set.version).filter(|&version| version != 1)
            && graph.node.iter().any(|node| node.domain.as_deref() == Some(MICROSOFT))
        {
            let what = format!("{source}: version {version} of the operators of {MICROSOFT}");
            return Err(Error::unsupported(what, "only version 1 can be read"));
        }
        let mut constants = HashMap::new();
        for tensor in graph.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            let constant = constant(&format!("{source}: {name}"), tensor)?;
            constants.insert(name, constant);
        }
        let mut nodes = Vec::new();
        for node in graph.node {
            if node.op_type.as_deref() == Some("Constant") {
                let (name, constant) = literal(source, node)?;
                constants.insert(name, constant);
                continue;
            }
            let kind = node.op_type.unwrap_or_default();
            let op = if own(&node.domain) { kind } else { format!("{}:{kind}", node.domain.unwrap_or_default()) };
            let attributes = node.attribute.into_iter().map(|a| (a.name.clone().unwrap_or_default(), a)).collect();
            let name = node.name.unwrap_or_default();
            nodes.push(OnnxNode { op, name, inputs: node.input, outputs: node.output, attributes });
        }
        // Old files list constants among the inputs.
        let inputs = graph.input.into_iter().filter(|input| !constants.contains_key(name_of(input)));
        let inputs = inputs.map(|input| (name_of(&input).to_owned(), extents(&input))).collect();
        let outputs = graph.output.iter().map(|output| name_of(output).to_owned()).collect();
        Ok(Self { source: source.to_owned(), file, opset, nodes, constants, inputs, outputs })
    }
}

fn name_of(value: &ValueInfoProto) -> &str {
    value.name.as_deref().unwrap_or_default()
}

fn extents(value: &ValueInfoProto) -> Vec<Option<usize>> {
    let shape = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()?.shape.as_ref());
    let extent = |value: Option<i64>| value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
    shape.map(|shape| shape.dim.iter().map(|dim| extent(dim.dim_value)).collect()).unwrap_or_default()
}

/// The name and the value of a `Constant`.
fn literal(source: &str, node: NodeProto) -> Result<(String, OnnxTensor)> {
    let name = node.output.into_iter().next().unwrap_or_default();
    let place = format!("{source}: {name}");
    let other = || Error::unsupported(format!("{place}: a Constant without a tensor"), "store it as a tensor");
    let attribute = node.attribute.into_iter().next().ok_or_else(other)?;
    let list = |values: Values, count: usize| OnnxTensor { shape: vec![count], values };
    let constant = match (attribute.name.as_deref(), attribute.t) {
        (_, Some(tensor)) => constant(&place, tensor)?,
        (Some("value_float"), _) => {
            OnnxTensor { shape: vec![], values: Values::Floats(attribute.f.into_iter().collect()) }
        }
        (Some("value_int"), _) => {
            OnnxTensor { shape: vec![], values: Values::Integers(attribute.i.into_iter().collect()) }
        }
        (Some("value_ints"), _) => list(Values::Integers(attribute.ints.clone()), attribute.ints.len()),
        (Some("value_floats"), _) => list(Values::Floats(attribute.floats.clone()), attribute.floats.len()),
        _ => return Err(other()),
    };
    Ok((name, constant))
}

fn constant(place: &str, tensor: TensorProto) -> Result<OnnxTensor> {
    if !tensor.external_data.is_empty() || tensor.data_location == Some(DataLocation::EXTERNAL) {
        let hint = "save the model in one file (onnx.save with save_as_external_data=False)";
        return Err(Error::unsupported(format!("{place}: its values are in another file"), hint));
    }
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or_else(|| Error::malformed(place, format!("its shape is {:?}", tensor.dims)))?;
    let raw = tensor.raw_data.map(std::cell::RefCell::into_inner);
    let raw = raw.as_deref();
    let values = match tensor.data_type {
        Some(DataType::FLOAT) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            None => tensor.float_data,
        }),
        Some(DataType::DOUBLE) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
            None => tensor.double_data.iter().map(|&value| value as f32).collect(),
        }),
        Some(DataType::FLOAT16) => Values::Floats(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            None => tensor.int32_data.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect(),
        }),
        Some(kind @ (DataType::INT8 | DataType::UINT8)) => Values::Bytes {
            signed: kind == DataType::INT8,
            bytes: match raw {
                Some(raw) => raw.to_vec(),
                None => tensor.int32_data.iter().map(|&value| value as u8).collect(),
            },
        },
        Some(DataType::BOOL) => Values::Integers(match raw {
            Some(raw) => raw.iter().map(|&byte| byte.into()).collect(),
            None => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        }),
        Some(DataType::INT32) => Values::Integers(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
            None => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        }),
        Some(DataType::INT64) => Values::Integers(match raw {
            Some(raw) => raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
            None => tensor.int64_data,
        }),
        other => {
            let kind = other.map_or("no type".to_owned(), |kind| kind.to_string());
            return Err(Error::unsupported(
                format!("{place}: values of {kind}"),
                "only floats and integers can be read",
            ));
        }
    };
    let count = match &values {
        Values::Floats(values) => values.len(),
        Values::Bytes { bytes, .. } => bytes.len(),
        Values::Integers(values) => values.len(),
    };
    let wanted = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    if wanted != Some(count) {
        return Err(Error::malformed(place, format!("{count} values, its shape is {shape:?}")));
    }
    if let Values::Floats(values) = &values
        && values.iter().any(|value| value.is_nan())
    {
        return Err(Error::NotFinite { place: place.to_owned(), detail: String::new() });
    }
    Ok(OnnxTensor { shape, values })
}
