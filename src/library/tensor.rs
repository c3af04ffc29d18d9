//! Values with their extents.

use crate::{Error, Result};

/// Values with extents, the last of which varies fastest.
///
/// ```
/// use deadweight::Tensor;
///
/// let image = Tensor::new([1, 2, 2], vec![0.0, 1.0, 2.0, 3.0])?;
/// assert_eq!((image.shape(), image.data()[3]), (&[1, 2, 2][..], 3.0));
/// assert!(Tensor::new([2, 2], vec![0.0]).is_err());
/// # Ok::<(), deadweight::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// `data` with the extents `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] if these are not the extents of so many values.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        let count = shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent));
        if count != Some(data.len()) {
            return Err(Error::shape("tensor", format!("{shape:?} are not the extents of {} values", data.len())));
        }
        Ok(Self { shape, data })
    }

    /// Token numbers, `[T]`.
    pub fn tokens(ids: &[u32]) -> Self {
        Self { shape: vec![ids.len()], data: ids.iter().map(|id| *id as f32).collect() }
    }

    /// Zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        Self { data: vec![0.0; shape.iter().product()], shape }
    }

    /// The extents, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values, by value.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The values, to be changed.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}
