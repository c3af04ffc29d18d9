//! What inputs a network has by name: of networks that are files with several, or with others than one image.

/// The type of an input's values. Values go in as floats, which a network of integers rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputType {
    /// Floats.
    Float,
    /// Integers: token ids, positions, lengths.
    Integer,
    /// 0 or 1.
    Bool,
}

impl InputType {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Bool => "bool",
        }
    }
}

/// One input of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name in the file.
    pub name: String,
    /// All its extents, the batch among them, as they are run: none is open.
    pub shape: Vec<usize>,
    /// The type of its values.
    pub dtype: InputType,
}

impl InputSpec {
    /// Values of one sample.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it can be an image, whichever way its axes are: `[1, C, H, W]` or `[1, H, W, C]` of floats.
    pub fn is_image(&self) -> bool {
        self.shape.len() == 4 && self.shape[0] == 1 && self.dtype == InputType::Float
    }
}

/// Extents of the sample that holds the values of all `inputs`, one after the other in their order: those of a single input
/// `[1, A, B, C]` as they are, else `[1, 1, number of values]`.
pub fn sample_shape(inputs: &[InputSpec]) -> [usize; 3] {
    match inputs {
        [InputSpec { shape, .. }] if shape.len() == 4 && shape[0] == 1 => [shape[1], shape[2], shape[3]],
        _ => [1, 1, inputs.iter().map(InputSpec::elements).sum()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_image_keeps_its_extents_and_others_are_rows() {
        let spec = |shape: &[usize]| InputSpec { name: "x".into(), shape: shape.to_vec(), dtype: InputType::Float };
        assert_eq!(sample_shape(&[spec(&[1, 3, 8, 9])]), [3, 8, 9]);
        assert_eq!(sample_shape(&[spec(&[2, 3, 8, 9])]), [1, 1, 432]);
        assert_eq!(sample_shape(&[spec(&[1, 20, 16])]), [1, 1, 320]);
        assert_eq!(sample_shape(&[spec(&[1, 3, 8, 9]), spec(&[1, 4])]), [1, 1, 220]);
        assert!(spec(&[1, 3, 8, 9]).is_image() && !spec(&[1, 4]).is_image());
    }
}
