//! The file's graph as rten holds it: loaded once, asked for any tensors. Here alone rten is called.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rten::{ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use rten_onnx::onnx::{
    DataLocation, DataType, GraphProto, ModelProto, StringStringEntryProto, TensorProto, TypeProto, TypeProtoTensor,
    ValueInfoProto,
};

use crate::weights::onnx::{OnnxTensor, Values, constant};
use crate::{Error, Result};

/// Bytes from which on a constant is given to rten beside the graph.
const LARGE: usize = 256;

/// A loaded graph.
pub(super) struct RtenModel {
    source: String,
    model: rten::Model,
    /// Names of the operators, by their number.
    titles: Vec<String>,
    ids: HashMap<String, NodeId>,
}

/// What a graph is loaded from again, without the weights that we hold ourselves.
pub(super) struct Reload {
    source: String,
    model: ModelProto,
    /// The constants but the weights.
    options: ModelOptions,
    titles: Vec<String>,
    wanted: Vec<String>,
    /// The weights, in the order of the graph.
    weights: Vec<String>,
}

impl RtenModel {
    /// Loads `graph`, whose tensors `wanted` can be asked for; of the constants `weights` another load can do without.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what rten cannot load; [`Error::Malformed`] for constants that do not fit memory.
    pub fn load(
        source: &str,
        mut model: ModelProto,
        mut graph: GraphProto,
        wanted: Vec<String>,
        weights: &HashSet<String>,
    ) -> Result<(Self, Reload)> {
        let titles: Vec<String> = graph.node.iter().map(title).collect();
        // rten names operators and tensors alike; the file need not.
        for (i, node) in graph.node.iter_mut().enumerate() {
            node.name = Some(format!("#{i}"));
        }
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(false);
        let held = beside(source, &mut graph, weights)?;
        let (weights, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| held.is_weight);
        others.into_iter().for_each(|held| {
            options.external_data(&held.file, held.bytes);
        });
        let mut all = options.clone();
        let names = weights.iter().map(|held| held.name.clone()).collect();
        weights.into_iter().for_each(|held| {
            all.external_data(&held.file, held.bytes);
        });
        model.graph = Some(graph);
        let reload = Reload { source: source.to_owned(), model, options, titles, wanted, weights: names };
        Ok((reload.with(&all)?, reload))
    }

    /// Whether the tensor `name` can be asked for.
    pub fn has(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// The tensors `wanted`, each once, for `inputs` and `weights` by name.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the operator that cannot be computed.
    pub fn run(
        &self,
        inputs: Vec<(String, Value)>,
        weights: Vec<(&str, ValueView<'_>)>,
        wanted: &[&str],
        threads: &Arc<ThreadPool>,
    ) -> Result<Vec<Value>> {
        let unknown = |name: &str| Error::malformed(&self.source, format!("{name}: no operator makes it"));
        let id = |name: &str| self.ids.get(name).copied().ok_or_else(|| unknown(name));
        let wanted = wanted.iter().map(|name| id(name)).collect::<Result<Vec<NodeId>>>()?;
        let inputs = inputs.into_iter().map(|(name, value)| Ok((id(&name)?, ValueOrView::from(value))));
        let weights = weights.into_iter().map(|(name, view)| Ok((id(name)?, ValueOrView::View(view))));
        let inputs = inputs.chain(weights).collect::<Result<Vec<_>>>()?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(threads)));
        let ran = guarded(&self.source, || self.model.run(inputs, &wanted, Some(options)))?;
        ran.map_err(|error| Error::shape(&self.source, with_titles(&error.to_string(), &self.titles)))
    }
}

/// What `body` returns; its panic becomes an error, since a damaged graph can meet one in rten.
fn guarded<T>(source: &str, body: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Error::malformed(source, format!("cannot be run: {}", text.unwrap_or("rten failed")))
    })
}

/// The name of an operator in messages.
pub(super) fn title(node: &rten_onnx::onnx::NodeProto) -> String {
    let named = node.name.as_ref().filter(|name| !name.is_empty());
    let name = named.or(node.output.iter().find(|name| !name.is_empty())).cloned().unwrap_or_default();
    format!("{} {name}", node.op_type.as_deref().unwrap_or_default())
}

/// `text` with the operators' own names for their numbers.
fn with_titles(text: &str, titles: &[String]) -> String {
    let mut parts = text.split("\"#");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('"').and_then(|(number, rest)| Some((titles.get(number.parse::<usize>().ok()?)?, rest))) {
            Some((title, rest)) => whole += &format!("{title}{rest}"),
            None => whole += &format!("\"#{part}"),
        }
    }
    whole
}

impl Reload {
    fn with(&self, options: &ModelOptions) -> Result<RtenModel> {
        let Self { source, model, titles, wanted, .. } = self;
        let bytes = model.write_buf().map_err(|error| Error::malformed(source, error.to_string()))?;
        let loaded = guarded(source, || options.load(bytes))?;
        let model = loaded.map_err(|error| {
            let detail = with_titles(&error.to_string(), titles);
            Error::unsupported(format!("{source}: {detail}: this graph"), "docs/networks.md says what ONNX files run")
        })?;
        let id = |name: &String| Some((name.clone(), model.find_node(name)?));
        let ids = wanted.iter().filter_map(id).collect();
        Ok(RtenModel { source: source.clone(), model, titles: titles.clone(), ids })
    }

    /// What is loaded without the weights `given`, which each run is to be given; `value` gives those of the others, one at a time.
    ///
    /// # Errors
    /// Those of `value`.
    pub fn without(mut self, given: &HashSet<&str>, value: impl Fn(&str) -> Result<Value>) -> Result<Self> {
        let graph = self.model.graph.get_or_insert_default();
        for tensor in &graph.initializer {
            let name = tensor.name.as_deref().unwrap_or_default();
            if self.weights.iter().any(|weight| weight == name)
                && !given.contains(name)
                && let Some(values) = value(name)?.into_tensor::<f32>()
            {
                let bytes = values.into_data().iter().flat_map(|value| value.to_le_bytes()).collect();
                self.options.external_data(&place(tensor), bytes);
            }
        }
        let is_given = |tensor: &TensorProto| tensor.name.as_deref().is_some_and(|name| given.contains(name));
        let (inputs, kept) = std::mem::take(&mut graph.initializer).into_iter().partition(is_given);
        graph.initializer = kept;
        let inputs: Vec<TensorProto> = inputs;
        graph.input.extend(inputs.into_iter().map(|tensor| {
            let kind = TypeProtoTensor { elem_type: tensor.data_type, shape: None };
            let kind = TypeProto { tensor_type: Some(kind), sequence: None };
            ValueInfoProto { name: tensor.name, r#type: Some(kind) }
        }));
        Ok(self)
    }

    /// Loads it.
    ///
    /// # Errors
    /// As [`RtenModel::load`].
    pub fn load(self) -> Result<RtenModel> {
        self.with(&self.options)
    }
}

/// The values of a constant, which are given beside the graph.
struct Held {
    name: String,
    file: String,
    bytes: Vec<u8>,
    is_weight: bool,
}

/// Takes the values of all large constants out of `graph`, so that rten reads them where they are, and converts those of types that
/// rten lacks.
fn beside(source: &str, graph: &mut GraphProto, weights: &HashSet<String>) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for tensor in &mut graph.initializer {
        if let Some(DataType::BFLOAT16 | DataType::INT16 | DataType::UINT16 | DataType::INT4 | DataType::UINT4) =
            tensor.data_type
        {
            convert(source, tensor)?;
        }
        let large = tensor.raw_data.as_ref().is_some_and(|raw| raw.borrow().len() >= LARGE);
        let Some(raw) = tensor.raw_data.take_if(|_| large) else { continue };
        let (bytes, file) = (raw.into_inner(), format!("{}.data", all.len()));
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
        tensor.external_data = vec![
            entry("location", file.clone()),
            entry("offset", "0".to_owned()),
            entry("length", bytes.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::EXTERNAL);
        let name = tensor.name.clone().unwrap_or_default();
        let is_weight = weights.contains(&name);
        all.push(Held { name, file, bytes, is_weight });
    }
    Ok(all)
}

/// The file beside the graph that holds the values of `tensor`.
fn place(tensor: &TensorProto) -> String {
    let location = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
    location.and_then(|entry| entry.value.clone()).unwrap_or_default()
}

/// `tensor` in a type that rten has and that holds its values.
fn convert(source: &str, tensor: &mut TensorProto) -> Result<()> {
    let name = tensor.name.clone().unwrap_or_default();
    let OnnxTensor { values, .. } = constant(&format!("{source}: {name}"), tensor)?;
    let (kind, bytes): (_, Vec<u8>) = match values {
        Values::Floats(values) => (DataType::FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Values::Bytes { signed, bytes } => (if signed { DataType::INT8 } else { DataType::UINT8 }, bytes),
        Values::Integers(values) => {
            (DataType::INT32, values.iter().flat_map(|&value| (value as i32).to_le_bytes()).collect())
        }
    };
    tensor.int32_data.clear();
    (tensor.data_type, tensor.raw_data) = (Some(kind), Some(bytes.into()));
    Ok(())
}
