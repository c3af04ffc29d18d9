//! Rebuilds tensors from the calls that a pickle records.

use std::collections::HashMap;

use super::Id;
use super::arena::{Arena, Node};
use crate::weights::tensor::{Content, Dtype, Quantisation, Storage, Tensor};

/// Wrappers around a tensor's call (a parameter, a subclass) do not nest deeper in practice.
const MAX_WRAPPERS: usize = 8;
const MAX_RANK: usize = 16;

/// Why a tensor could not be rebuilt.
pub(super) enum Fault {
    Broken(String),
    /// Meta, complex, or sparse in an unsupported layout: what it is.
    Unsupported(String),
}

impl From<String> for Fault {
    fn from(detail: String) -> Self {
        Self::Broken(detail)
    }
}

impl From<&str> for Fault {
    fn from(detail: &str) -> Self {
        Self::Broken(detail.to_owned())
    }
}

/// The dtype of a storage by its class.
enum Class {
    Typed(Dtype),
    /// Bytes; the tensor names the dtype.
    Untyped,
    Unread(String),
}

/// Storages by key.
pub(super) type Storages = HashMap<String, Storage>;

/// A pickle and its storages.
pub(super) struct Source<'a> {
    pub(super) arena: &'a Arena<'a>,
    pub(super) storages: &'a Storages,
}

impl Source<'_> {
    /// Whether the value represents a tensor (which may still be broken).
    pub(super) fn is_tensor(&self, id: Id) -> bool {
        self.arena.call(id).is_some_and(|((module, name), _)| {
            module.starts_with("torch") && (name.starts_with("_rebuild_") || is_wrapper(name))
        })
    }

    /// The tensor that the call `id` would have created.
    pub(super) fn tensor(&self, mut id: Id) -> Result<Tensor, Fault> {
        for _ in 0..MAX_WRAPPERS {
            let ((_, name), args) = self.arena.call(id).ok_or("a tensor that is no call")?;
            let (name, args) = match (name, args) {
                ("_rebuild_from_type_v2", [callable, _, args, ..]) => {
                    let name = self.arena.global(*callable).map(|(_, name)| name);
                    (name.ok_or("a tensor subclass of no known call")?, self.arena.seq(*args).unwrap_or_default())
                }
                other => other,
            };
            return match (name, args) {
                ("_rebuild_parameter" | "_rebuild_parameter_with_state", [data, ..]) => {
                    id = *data;
                    continue;
                }
                (name, [data, ..]) if is_wrapper(name) => {
                    id = *data;
                    continue;
                }
                ("_rebuild_tensor" | "_rebuild_tensor_v2", [storage, offset, size, stride, ..]) => {
                    self.view(*storage, None, *offset, *size, *stride)
                }
                ("_rebuild_tensor_v3", [storage, offset, size, stride, _, _, dtype, ..]) => {
                    self.view(*storage, Some(*dtype), *offset, *size, *stride)
                }
                ("_rebuild_qtensor", [storage, offset, size, stride, quantiser, ..]) => {
                    let tensor = self.view(*storage, None, *offset, *size, *stride)?;
                    Ok(tensor.quantised(self.quantisation(*quantiser)?)?)
                }
                ("_rebuild_sparse_tensor", [layout, data, ..]) => self.sparse(*layout, *data),
                (name, _) => Err(Fault::Unsupported(format!("a tensor made by {name}"))),
            };
        }
        Err("wrapped too many times".into())
    }

    fn view(&self, storage: Id, dtype: Option<Id>, offset: Id, size: Id, stride: Id) -> Result<Tensor, Fault> {
        let (shape, strides) = (self.extents(size)?, self.extents(stride)?);
        let (storage, class) = self.storage(storage)?;
        let class = match (class, dtype) {
            (Class::Untyped, Some(dtype)) => {
                let name = self.arena.global(dtype).map(|(_, name)| name).ok_or("a dtype that is no name")?;
                torch_dtype(name).map_or_else(|| Class::Unread(name.to_owned()), Class::Typed)
            }
            (class, _) => class,
        };
        let dtype = match class {
            Class::Typed(dtype) => dtype,
            Class::Untyped => Dtype::U8,
            Class::Unread(name) => return Ok(Tensor { shape, content: Content::Unread(name) }),
        };
        let offset = self.arena.size(offset).ok_or("an offset that is no size")?;
        Ok(Tensor::view(storage, dtype, offset, shape, strides)?)
    }

    /// A tuple of sizes, or a `torch.Size` of one.
    pub(super) fn extents(&self, id: Id) -> Result<Vec<usize>, Fault> {
        let id = match self.arena.call(id) {
            Some((("torch", "Size"), [inner])) => *inner,
            _ => id,
        };
        let extents = self.arena.seq(id).ok_or("a shape that is no tuple")?;
        if extents.len() > MAX_RANK {
            return Err(format!("has {} dimensions, at most {MAX_RANK} are read", extents.len()).into());
        }
        let extents: Option<Vec<usize>> = extents.iter().map(|extent| self.arena.size(*extent)).collect();
        extents.ok_or_else(|| "a shape or stride that is no size".into())
    }

    /// The storage behind a persistent id `('storage', class, key, device, elements[, (key, offset, elements)])`.
    fn storage(&self, id: Id) -> Result<(Storage, Class), Fault> {
        let Node::Persistent(id) = self.arena.get(id) else {
            return Err(Fault::Unsupported("a storage inside the pickle (by pickle.dump, not torch.save)".into()));
        };
        let reference = Reference::parse(self.arena, *id).ok_or("an invalid storage reference")?;
        let whole =
            self.storages.get(reference.key).ok_or_else(|| format!("storage {:?} is missing", reference.key))?;
        let class = storage_class(reference.class);
        let size = class.size();
        let claimed = reference.elements.checked_mul(size).filter(|claimed| *claimed <= whole.bytes);
        let claimed = claimed.ok_or_else(|| {
            format!("storage {:?} claims {} elements, it has {} bytes", reference.key, reference.elements, whole.bytes)
        })?;
        let (start, bytes) = match reference.view.and_then(|view| self.arena.seq(view)) {
            None => (0, claimed),
            Some([_, offset, elements]) => {
                let bytes = |id: &Id| self.arena.size(*id).and_then(|elements| elements.checked_mul(size));
                bytes(offset).zip(bytes(elements)).ok_or("an invalid storage view")?
            }
            Some(_) => return Err("an invalid storage view".into()),
        };
        let fits = start.checked_add(bytes).is_some_and(|end| end <= claimed);
        let storage = whole.start.checked_add(start).filter(|_| fits);
        let storage = storage.and_then(|start| Storage::new(&whole.blob, start, bytes));
        Ok((storage.ok_or("a storage view outside its storage")?, class))
    }

    fn quantisation(&self, id: Id) -> Result<Quantisation, Fault> {
        let params = self.arena.seq(id).unwrap_or_default();
        let scheme = params.first().and_then(|scheme| self.arena.global(*scheme)).map(|(_, name)| name);
        match (scheme, params) {
            (Some("per_tensor_affine"), [_, scale, zero_point]) => {
                let scale = match self.arena.get(*scale) {
                    Node::Float(scale) => *scale,
                    _ => return Err("a scale that is no number".into()),
                };
                let zero_point = self.arena.int(*zero_point).ok_or("a zero point that is no integer")?;
                Ok(Quantisation::Whole { scale, zero_point })
            }
            (Some("per_channel_affine"), [_, scales, zero_points, axis]) => Ok(Quantisation::Channels {
                scales: Box::new(self.plain(*scales)?),
                zero_points: Box::new(self.plain(*zero_points)?),
                axis: self.arena.size(*axis).ok_or("an axis that is no size")?,
            }),
            (Some(scheme), _) => Err(Fault::Unsupported(format!("quantisation {scheme}"))),
            (None, _) => Err("a quantisation without a scheme".into()),
        }
    }

    /// A tensor that is not quantised itself: quantisation does not nest.
    pub(super) fn plain(&self, id: Id) -> Result<Tensor, Fault> {
        match self.arena.call(id) {
            Some(((_, "_rebuild_tensor" | "_rebuild_tensor_v2"), [storage, offset, size, stride, ..])) => {
                self.view(*storage, None, *offset, *size, *stride)
            }
            _ => Err("scales or zero points that are no tensor".into()),
        }
    }
}

/// The contents of a storage's persistent id.
pub(super) struct Reference<'a> {
    pub(super) class: &'a str,
    pub(super) key: &'a str,
    elements: usize,
    view: Option<Id>,
}

impl<'a> Reference<'a> {
    pub(super) fn parse(arena: &'a Arena<'_>, id: Id) -> Option<Self> {
        let (class, key, elements, view) = match arena.seq(id)? {
            [kind, class, key, _, elements] if arena.text(*kind) == Some("storage") => (class, key, elements, None),
            [kind, class, key, _, elements, view] if arena.text(*kind) == Some("storage") => {
                (class, key, elements, Some(*view))
            }
            _ => return None,
        };
        let (class, key) = (arena.global(*class)?.1, arena.text(*key)?);
        Some(Self { class, key, elements: arena.size(*elements)?, view })
    }

    /// Element size in bytes, also for unsupported types: legacy files have the storages one after the other.
    pub(super) fn element_size(&self) -> Option<usize> {
        match self.class {
            "ComplexFloatStorage" => Some(8),
            "ComplexDoubleStorage" => Some(16),
            "QUInt4x2Storage" | "QUInt2x4Storage" => Some(1),
            class => match storage_class(class) {
                Class::Unread(_) => None,
                class => Some(class.size()),
            },
        }
    }
}

impl Class {
    fn size(&self) -> usize {
        match self {
            Self::Typed(dtype) => dtype.size(),
            Self::Untyped | Self::Unread(_) => 1,
        }
    }
}

/// Classes whose first argument is the tensor: parameters as PyTorch before 0.4 stored them.
fn is_wrapper(name: &str) -> bool {
    matches!(name, "Parameter" | "Variable" | "Buffer")
}

fn storage_class(name: &str) -> Class {
    Class::Typed(match name {
        "FloatStorage" => Dtype::F32,
        "DoubleStorage" => Dtype::F64,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "ByteStorage" | "QUInt8Storage" => Dtype::U8,
        "CharStorage" | "QInt8Storage" => Dtype::I8,
        "ShortStorage" => Dtype::I16,
        "IntStorage" | "QInt32Storage" => Dtype::I32,
        "LongStorage" => Dtype::I64,
        "BoolStorage" => Dtype::Bool,
        "UntypedStorage" => return Class::Untyped,
        other => return Class::Unread(other.to_owned()),
    })
}

fn torch_dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float32" => Dtype::F32,
        "float64" => Dtype::F64,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float8_e4m3fn" => Dtype::F8E4M3,
        "float8_e5m2" => Dtype::F8E5M2,
        "uint8" => Dtype::U8,
        "int8" => Dtype::I8,
        "uint16" => Dtype::U16,
        "int16" => Dtype::I16,
        "uint32" => Dtype::U32,
        "int32" => Dtype::I32,
        "uint64" => Dtype::U64,
        "int64" => Dtype::I64,
        "bool" => Dtype::Bool,
        _ => return None,
    })
}
