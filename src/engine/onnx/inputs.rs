//! What a graph reads: names, types and extents, the open ones among these fixed.

use rten::{DataType as Element, Value};
use rten_onnx::onnx::{DataType, Dimension, GraphProto, TensorShapeProto, TypeProtoTensor, ValueInfoProto};

use crate::input::{InputSpec, InputType};
use crate::weights::onnx::name_of;
use crate::{Error, Result};

/// Largest extent of an input.
const LARGEST: usize = 1 << 24;

/// What fixes the extents that a file leaves open.
#[derive(Clone, Debug, Default)]
pub struct InputExtents {
    /// Extents by the input's name; without a name, those of the only input.
    pub shapes: Vec<(Option<String>, Vec<usize>)>,
    /// Rows and columns of an image.
    pub size: Option<(usize, usize)>,
}

/// One input of the graph.
#[derive(Clone, Debug)]
pub(super) struct GraphInput {
    pub spec: InputSpec,
    element: Element,
}

impl GraphInput {
    /// The value of `values`, which are as many as it has elements.
    pub fn value(&self, values: &[f32]) -> Option<Value> {
        let shape = &self.spec.shape;
        let rounded = values.iter().map(|value| value.round_ties_even());
        match self.element {
            Element::Float => Value::from_shape(shape, values.to_vec()).ok(),
            Element::Int32 => Value::from_shape(shape, rounded.map(|value| value as i32).collect::<Vec<_>>()).ok(),
            Element::UInt8 => Value::from_shape(shape, rounded.map(|value| value as u8).collect::<Vec<_>>()).ok(),
            Element::Int8 => Value::from_shape(shape, rounded.map(|value| value as i8).collect::<Vec<_>>()).ok(),
            _ => None,
        }
    }
}

/// The inputs of `graph`, whose own statements of extents become those that `extents` fix.
///
/// # Errors
/// [`Error::Invalid`] asking for the flag that decides an open extent, or for one that contradicts the file;
/// [`Error::Unsupported`] for inputs of other types.
pub(super) fn read(source: &str, graph: &mut GraphProto, extents: &InputExtents) -> Result<Vec<GraphInput>> {
    let constants: Vec<&str> = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    // Old files list constants among the inputs.
    let read = graph.input.iter().filter(|input| !constants.contains(&name_of(input)));
    let read: Vec<ValueInfoProto> = read.cloned().collect();
    let names: Vec<&str> = read.iter().map(name_of).collect();
    for (name, _) in &extents.shapes {
        let known = match name {
            Some(name) => names.contains(&name.as_str()),
            None => names.len() == 1,
        };
        if !known {
            let given = name.as_deref().unwrap_or("extents without a name");
            let detail = format!("{given}: the inputs of {source} are {}", names.join(", "));
            return Err(Error::invalid("--shape", detail));
        }
    }
    let inputs: Vec<GraphInput> = read.iter().map(|input| one(source, input, extents)).collect::<Result<_>>()?;
    graph.input = read;
    for (input, fixed) in graph.input.iter_mut().zip(&inputs) {
        let dim = |&extent: &usize| Dimension { dim_value: Some(extent as i64), dim_param: None };
        let shape = TensorShapeProto { dim: fixed.spec.shape.iter().map(dim).collect() };
        if let Some(tensor) = input.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()) {
            tensor.shape = Some(shape);
        }
    }
    Ok(inputs)
}

fn one(source: &str, input: &ValueInfoProto, extents: &InputExtents) -> Result<GraphInput> {
    let name = name_of(input);
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let Some(TypeProtoTensor { elem_type: Some(kind), shape }) = tensor else {
        let what = format!("{source}: the input {name}, which is no tensor,");
        return Err(Error::unsupported(what, "networks that read tensors can be run"));
    };
    let (element, dtype) = match *kind {
        DataType::FLOAT | DataType::FLOAT16 | DataType::DOUBLE => (Element::Float, InputType::Float),
        DataType::INT64 | DataType::INT32 => (Element::Int32, InputType::Integer),
        DataType::BOOL => (Element::Int32, InputType::Bool),
        DataType::UINT8 => (Element::UInt8, InputType::Integer),
        DataType::INT8 => (Element::Int8, InputType::Integer),
        other => {
            let what = format!("{source}: the input {name} of type {other}");
            return Err(Error::unsupported(what, "floats, integers of 8, 32 or 64 bits and bools can be given"));
        }
    };
    let own: Option<Vec<Option<usize>>> = shape.as_ref().map(|shape| {
        let extent = |dim: &Dimension| dim.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
        shape.dim.iter().map(extent).collect()
    });
    let given = extents.shapes.iter().find(|(given, _)| given.as_deref().is_none_or(|given| given == name));
    let fixed = fixed(source, name, own.as_deref(), given.map(|(_, shape)| shape.as_slice()), extents.size)?;
    let count = fixed.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    if fixed.iter().any(|&extent| extent == 0 || extent > LARGEST) || count.is_none_or(|count| count > 1 << 31) {
        return Err(Error::invalid(format!("{source}: {name}"), format!("an input of {fixed:?}")));
    }
    Ok(GraphInput { spec: InputSpec { name: name.to_owned(), shape: fixed, dtype }, element })
}

/// Extents of the input `name`, of which the file states `own`.
fn fixed(
    source: &str,
    name: &str,
    own: Option<&[Option<usize>]>,
    given: Option<&[usize]>,
    size: Option<(usize, usize)>,
) -> Result<Vec<usize>> {
    let text = |extents: &[Option<usize>]| {
        let text = |extent: &Option<usize>| extent.map_or("?".to_owned(), |extent| extent.to_string());
        extents.iter().map(text).collect::<Vec<_>>().join("x")
    };
    if let Some(given) = given {
        let fits = own.is_none_or(|own| {
            own.len() == given.len() && own.iter().zip(given).all(|(own, given)| own.is_none_or(|own| own == *given))
        });
        let shown: Vec<Option<usize>> = given.iter().copied().map(Some).collect();
        let detail = || format!("{source} has an input {name} of {}", text(own.unwrap_or_default()));
        return match fits {
            true => Ok(given.to_vec()),
            false => Err(Error::invalid(format!("--shape {name}={}", text(&shown)), detail())),
        };
    }
    let Some(own) = own else {
        let detail = format!("is missing: {source} says nothing of the extents of its input {name}");
        return Err(Error::invalid("--shape", format!("{detail}; give {name}=1x3x224x224, say")));
    };
    let mut extents = own.to_vec();
    // Inputs are run one at a time.
    if extents.len() > 1 && extents[0].is_none() {
        extents[0] = Some(1);
    }
    // Rows and columns: the axes behind few channels, or before them.
    let places = match extents[..] {
        [_, _, _, Some(1..=4)] if extents[1].is_none_or(|c| c > 4) => Some([1, 2]),
        [_, _, _, _] => Some([2, 3]),
        _ => None,
    };
    if let (Some([row, column]), Some((h, w))) = (places, size) {
        for (axis, extent) in [(row, h), (column, w)] {
            match own[axis] {
                Some(own) if own != extent => {
                    let detail = format!("{source} reads {}", text(&extents));
                    return Err(Error::invalid(format!("--input-size {h}x{w}"), detail));
                }
                _ => extents[axis] = Some(extent),
            }
        }
    }
    let open: Vec<usize> = (0..extents.len()).filter(|&axis| extents[axis].is_none()).collect();
    if open.is_empty() {
        return Ok(extents.into_iter().flatten().collect());
    }
    let shown = text(&extents);
    let only_size = places.is_some_and(|places| open.iter().all(|axis| places.contains(axis)));
    Err(match only_size {
        true => {
            let detail = format!("is missing: {source} takes images of any size ({name} is {shown}); give HxW");
            Error::invalid("--input-size", detail)
        }
        false => {
            let example: Vec<Option<usize>> = extents.iter().map(|extent| extent.or(Some(16))).collect();
            let detail = format!("is missing: {source} leaves extents of {name} open ({shown})");
            Error::invalid("--shape", format!("{detail}; give {name}={}, say", text(&example)))
        }
    })
}
