//! ONNX files: operators, their attributes and constants, as stored.

mod external;
mod values;

use std::collections::HashMap;
use std::path::Path;

use rten_onnx::onnx::{AttributeProto, ModelProto, NodeProto, ValueInfoProto};

use super::SourceFile;
use super::protobuf;
use crate::{Error, Result};

pub use values::{OnnxTensor, Values, constant, literal};

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
    /// The operator `node`.
    pub fn of(node: &NodeProto) -> Self {
        let named = |attribute: &AttributeProto| (attribute.name.clone().unwrap_or_default(), attribute.clone());
        Self {
            op: operator(node),
            name: node.name.clone().unwrap_or_default(),
            inputs: node.input.clone(),
            outputs: node.output.clone(),
            attributes: node.attribute.iter().map(named).collect(),
        }
    }

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

/// A parsed file, with the constants that it keeps in other files.
pub struct OnnxFile {
    /// The file, as in messages.
    pub source: String,
    /// The file itself, then those of its external data.
    pub files: Vec<SourceFile>,
    /// What it says; the values of all constants are in it.
    pub model: ModelProto,
}

impl OnnxFile {
    /// Parses a file in memory, which has no other beside it; `name` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the bytes are no complete ONNX file; [`Error::NotFound`] if constants are in other files.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::parse(name, bytes, SourceFile::of_bytes(name, bytes), None)
    }

    /// Parses `bytes`, the content of `file`, and reads the constants that it keeps in other files of `folder`.
    ///
    /// # Errors
    /// As [`OnnxFile::from_bytes`]; [`Error::Invalid`] for a file outside `folder`.
    pub(super) fn parse(source: &str, bytes: &[u8], file: SourceFile, folder: Option<&Path>) -> Result<Self> {
        let damaged =
            |detail: String| Error::malformed(source, format!("truncated, damaged or no ONNX file: {detail}"));
        // The parser trusts lengths and recurses without a bound.
        protobuf::check(bytes).map_err(damaged)?;
        let mut model = ModelProto::parse_buf(bytes).map_err(|error| damaged(error.to_string()))?;
        let graph = model.graph.as_mut().ok_or_else(|| damaged("it holds no graph".to_owned()))?;
        let mut files = vec![file];
        files.extend(external::read(source, graph, folder)?);
        Ok(Self { source: source.to_owned(), files, model })
    }

    /// Version of ONNX's own operators.
    pub fn opset(&self) -> i64 {
        let own = self.model.opset_import.iter().find(|set| is_own(set.domain.as_deref()));
        own.and_then(|set| set.version).unwrap_or(1)
    }
}

/// Whether `domain` is that of ONNX's own operators.
pub fn is_own(domain: Option<&str>) -> bool {
    matches!(domain, None | Some("" | "ai.onnx"))
}

/// Type of an operator, with the prefix `domain:` for domains other than ONNX's own.
pub fn operator(node: &NodeProto) -> String {
    let kind = node.op_type.as_deref().unwrap_or_default();
    match node.domain.as_deref() {
        Some(domain) if !is_own(Some(domain)) => format!("{domain}:{kind}"),
        _ => kind.to_owned(),
    }
}

/// A network and its constants.
#[derive(Debug)]
pub struct Onnx {
    /// The file, as in messages.
    pub source: String,
    /// The file itself, then those of its external data.
    pub files: Vec<SourceFile>,
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
    /// As [`OnnxFile::from_bytes`] and [`Onnx::of`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::of(&OnnxFile::from_bytes(name, bytes)?)
    }

    /// The network of `file`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming a constant whose values are not of its shape; [`Error::Unsupported`] for constants of
    /// unsupported types.
    pub fn of(file: &OnnxFile) -> Result<Self> {
        let source = file.source.as_str();
        let Some(graph) = &file.model.graph else { return Err(Error::malformed(source, "it holds no graph")) };
        let microsoft = file.model.opset_import.iter().find(|set| set.domain.as_deref() == Some(MICROSOFT));
        if let Some(version) = microsoft.and_then(|set| set.version).filter(|&version| version != 1)
            && graph.node.iter().any(|node| node.domain.as_deref() == Some(MICROSOFT))
        {
            let what = format!("{source}: version {version} of the operators of {MICROSOFT}");
            return Err(Error::unsupported(what, "only version 1 can be read"));
        }
        let mut constants = HashMap::new();
        for tensor in &graph.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            let constant = constant(&format!("{source}: {name}"), tensor)?;
            constants.insert(name, constant);
        }
        let mut nodes = Vec::new();
        for node in &graph.node {
            if node.op_type.as_deref() == Some("Constant") {
                let (name, constant) = literal(source, node)?;
                constants.insert(name, constant);
                continue;
            }
            nodes.push(OnnxNode::of(node));
        }
        // Old files list constants among the inputs.
        let inputs = graph.input.iter().filter(|input| !constants.contains_key(name_of(input)));
        let inputs = inputs.map(|input| (name_of(input).to_owned(), extents(input))).collect();
        let outputs = graph.output.iter().map(|output| name_of(output).to_owned()).collect();
        let (files, opset) = (file.files.clone(), file.opset());
        Ok(Self { source: source.to_owned(), files, opset, nodes, constants, inputs, outputs })
    }
}

/// The name of an input or output.
pub fn name_of(value: &ValueInfoProto) -> &str {
    value.name.as_deref().unwrap_or_default()
}

/// The extents that the file states of an input or output, `None` for open ones.
pub fn extents(value: &ValueInfoProto) -> Vec<Option<usize>> {
    let shape = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()?.shape.as_ref());
    let extent = |value: Option<i64>| value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
    shape.map(|shape| shape.dim.iter().map(|dim| extent(dim.dim_value)).collect()).unwrap_or_default()
}
