//! Inputs that are stored as arrays: images of floats, or all inputs of a network by name.

use sha2::{Digest, Sha256};

use super::arrays::Array;
use super::preprocess::{Input, Layout, Preprocess};
use super::spec::{InputSpec, sample_shape};
use crate::{Error, Result};

/// Arrays of a file that are no inputs.
const BESIDE: [&str; 2] = ["labels", "masks"];

/// The images among the arrays of a file, and what belongs to them.
pub(super) struct Images {
    /// Those called `images`, or the only ones.
    pub images: Array,
    /// Labels and masks.
    pub beside: Vec<Array>,
}

impl Images {
    /// Those among the `arrays` of file `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there are none or several.
    pub(super) fn among(name: &str, arrays: Vec<Array>) -> Result<Self> {
        let (beside, mut others): (Vec<_>, Vec<_>) =
            arrays.into_iter().partition(|array| BESIDE.contains(&array.name.as_str()));
        let at = match (others.iter().position(|array| array.name == "images"), others.len()) {
            (Some(at), _) => at,
            (None, 1) => 0,
            (None, 0) => return Err(Error::malformed(name, "holds no tensor `images`")),
            (None, _) => {
                let names: Vec<&str> = others.iter().map(|array| array.name.as_str()).collect();
                let detail = format!("holds {}: call the images among them `images`", names.join(", "));
                return Err(Error::malformed(name, detail));
            }
        };
        Ok(Self { images: others.swap_remove(at), beside })
    }
}

/// Inputs in arrays.
pub(super) struct Values {
    /// Name of the file, which names its inputs.
    pub name: String,
    /// Number of inputs.
    pub count: usize,
    /// The class of each, if it is known.
    pub labels: Vec<u32>,
    masks: Option<Array>,
    kind: Kind,
}

enum Kind {
    /// Images of extents `[C, H, W]`.
    Images { array: Array, layout: Layout, shape: [usize; 3] },
    /// The inputs of a network, in its order; a sample is `shape`.
    Named { parts: Vec<Part>, shape: [usize; 3] },
}

/// One input of a network.
struct Part {
    array: Array,
    /// Numbers of a sample.
    elements: usize,
    /// Whether all samples have the same.
    shared: bool,
}

impl Values {
    /// The images of file `name`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if they, their labels or their masks do not fit.
    pub(super) fn images(
        name: &str,
        Images { images: array, beside }: Images,
        preprocess: &Preprocess,
    ) -> Result<Self> {
        let (count, layout, shape) = extents(&array.shape, preprocess)
            .ok_or_else(|| Error::malformed(&array.place, wrong_extents(&array.shape, preprocess)))?;
        let (mut labels, mut masks) = (Vec::new(), None);
        for array in beside {
            let [_, h, w] = shape;
            let fits = if array.name == "labels" { array.shape == [count] } else { array.shape == [count, h, w] };
            if !fits {
                let detail = format!("is {:?}, must be one per image", array.shape);
                return Err(Error::malformed(array.place, detail));
            }
            if array.name == "labels" { labels = array.counts(u32::MAX)? } else { masks = Some(array) }
        }
        Ok(Self { name: name.to_owned(), count, labels, masks, kind: Kind::Images { array, layout, shape } })
    }

    /// The inputs `specs` of a network, each the one of `arrays` that bears its name: `[N, ...]`, or one for all.
    ///
    /// # Errors
    /// [`Error::Malformed`] for one that is missing, of other extents, or no input.
    pub(super) fn named(name: &str, arrays: Vec<Array>, specs: &[InputSpec]) -> Result<Self> {
        let wanted = || {
            let one = |spec: &InputSpec| format!("{} {:?}", spec.name, spec.shape);
            specs.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let known = |array: &Array| specs.iter().any(|spec| spec.name == array.name) || array.name == "labels";
        if let (Some(other), false) = (arrays.iter().find(|array| !known(array)), specs.len() == 1 && arrays.len() == 1)
        {
            return Err(Error::malformed(
                &other.place,
                format!("is no input of the network, which reads {}", wanted()),
            ));
        }
        let (mut arrays, mut count) = (arrays, 1);
        let mut parts = Vec::new();
        for spec in specs {
            let found =
                arrays.iter().position(|array| array.name == spec.name || specs.len() == 1 && array.name != "labels");
            let Some(found) = found else {
                return Err(Error::malformed(
                    name,
                    format!("holds no array {}: the network reads {}", spec.name, wanted()),
                ));
            };
            let array = arrays.swap_remove(found);
            let Some(samples) = samples_of(&array.shape, &spec.shape) else {
                let detail = format!("is {:?}, the network reads {:?}, or several of them", array.shape, spec.shape);
                return Err(Error::malformed(array.place, detail));
            };
            if samples != 1 && count != 1 && samples != count {
                return Err(Error::malformed(
                    array.place,
                    format!("holds {samples} inputs, another array holds {count}"),
                ));
            }
            count = if samples == 1 { count } else { samples };
            parts.push(Part { array, elements: spec.elements(), shared: samples == 1 });
        }
        let labels = match arrays.iter().find(|array| array.name == "labels") {
            Some(labels) if labels.shape == [count] => labels.counts(u32::MAX)?,
            Some(labels) => {
                return Err(Error::malformed(&labels.place, format!("is {:?}, must be [{count}]", labels.shape)));
            }
            None => Vec::new(),
        };
        let kind = Kind::Named { parts, shape: sample_shape(specs) };
        Ok(Self { name: name.to_owned(), count, labels, masks: None, kind })
    }

    /// Input `index` with the SHA-256 of its extents and numbers. Pixels are normalised where `preprocess` names their range;
    /// other numbers go in as they are.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `id` if it is not of the network's size; those of reading.
    pub(super) fn input(&self, id: &str, index: usize, preprocess: &Preprocess) -> Result<(Input, [u8; 32])> {
        let mut hasher = Sha256::new();
        match &self.kind {
            Kind::Images { array, layout, shape } => {
                let len = shape.iter().product();
                let raw = array.read(index * len, len)?;
                shape.iter().for_each(|extent| hasher.update((*extent as u64).to_le_bytes()));
                hasher.update(&raw);
                let mut values = channels_first(array.element.floats(&raw), *shape, *layout);
                if let Some(normalised) = preprocess.normalised(&values) {
                    values = normalised;
                }
                Ok((preprocess.fitted(id, values, *shape)?, hasher.finalize().into()))
            }
            Kind::Named { parts, shape } => {
                let mut values = Vec::new();
                for Part { array, elements, shared } in parts {
                    let raw = array.read(if *shared { 0 } else { index * elements }, *elements)?;
                    hasher.update((*elements as u64).to_le_bytes());
                    hasher.update(&raw);
                    values.extend(array.element.floats(&raw));
                }
                let [_, h, w] = *shape;
                Ok((Input { values, shape: *shape, size: [h, w] }, hasher.finalize().into()))
            }
        }
    }

    /// The class map of image `index`, if there are any.
    ///
    /// # Errors
    /// Those of reading; [`Error::Malformed`] for numbers that are no classes.
    pub(super) fn mask(&self, index: usize) -> Result<Option<Vec<u8>>> {
        let (Some(masks), Kind::Images { shape: [_, h, w], .. }) = (&self.masks, &self.kind) else { return Ok(None) };
        let numbers = masks.element.integers(&masks.read(index * h * w, h * w)?);
        let classes = numbers.and_then(|numbers| numbers.into_iter().map(|class| u8::try_from(class).ok()).collect());
        classes.map(Some).ok_or_else(|| Error::malformed(&masks.place, "must hold classes of 0 to 255"))
    }
}

/// The number of images in an array of extents `shape`, the order of their axes, and their `[C, H, W]`.
fn extents(shape: &[usize], preprocess: &Preprocess) -> Option<(usize, Layout, [usize; 3])> {
    let stated = preprocess.overrides().layout;
    let of = |axes: [usize; 3]| {
        let [a, b, c] = axes;
        let orders = [(Layout::Nchw, [a, b, c]), (Layout::Nhwc, [c, a, b])];
        let fits = |(layout, shape): &(Layout, [usize; 3])| {
            stated.is_none_or(|stated| stated == *layout) && shape[0] == preprocess.channels()
        };
        orders.into_iter().find(fits)
    };
    let (count, (layout, shape)) = match *shape {
        [h, w] => (1, (Layout::Nchw, [1, h, w])),
        [a, b, c] => match of([a, b, c]) {
            Some(one) => (1, one),
            None => (a, (Layout::Nchw, [1, b, c])),
        },
        [n, a, b, c] => (n, of([a, b, c])?),
        _ => return None,
    };
    (shape[0] == preprocess.channels() && shape.iter().all(|extent| *extent > 0)).then_some((count, layout, shape))
}

fn wrong_extents(shape: &[usize], preprocess: &Preprocess) -> String {
    let (c, (h, w)) = (preprocess.channels(), preprocess.size());
    let axes = match preprocess.overrides().layout {
        Some(Layout::Nchw) => format!("[{c}, {h}, {w}] or several of them, as --layout nchw says"),
        Some(Layout::Nhwc) => format!("[{h}, {w}, {c}] or several of them, as --layout nhwc says"),
        None => format!("[{c}, {h}, {w}] or [{h}, {w}, {c}], or several of them"),
    };
    format!("is {shape:?}, the network reads {axes}")
}

/// How many samples of extents `sample`, a batch of one among them or not, an array of extents `shape` holds.
fn samples_of(shape: &[usize], sample: &[usize]) -> Option<usize> {
    let single = sample.strip_prefix(&[1]).unwrap_or(sample);
    match shape {
        shape if shape == sample || shape == single => Some(1),
        [count, rest @ ..] if rest == sample || rest == single => Some(*count),
        _ => None,
    }
}

/// Images `[C, H, W]` of `values` of that shape in the order `layout`.
fn channels_first(values: Vec<f32>, [c, ..]: [usize; 3], layout: Layout) -> Vec<f32> {
    match layout {
        Layout::Nchw => values,
        Layout::Nhwc => (0..c).flat_map(|channel| values[channel..].iter().step_by(c)).copied().collect(),
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
