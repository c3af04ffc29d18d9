//! Quantised integer tensors, as integers.

use std::sync::Arc;

use super::tensor::{Content, Dtype, Quantisation, Stored, Tensor, elements, integers};

/// Quantised weights whose first dimension is the filters.
#[derive(Clone, Debug)]
pub struct IntegerTensor {
    /// Codes minus their zero point.
    pub codes: Arc<[f32]>,
    /// Scales: one, one per filter, or one for each of equal parts of filters.
    pub scales: Vec<f32>,
    /// Code of zero.
    pub zero_point: i32,
    /// Whether codes are -128..=127 or 0..=255.
    pub signed: bool,
}

impl Tensor {
    /// The values of a tensor of 64-bit integers.
    pub(super) fn wide(&self) -> Option<Vec<i64>> {
        let Content::Stored(stored) = &self.content else { return None };
        let bytes = (stored.dtype == Dtype::I64).then(|| stored.bytes(&self.shape))?;
        Some(bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect())
    }

    /// The same 8-bit integers with `scales`: one, or one for each of equal parts of filters.
    pub(super) fn scaled(mut self, scales: &[f32], zero_point: i32) -> Result<Self, String> {
        let filters = self.shape.first().copied().unwrap_or(0);
        let count = elements(&self.shape).unwrap_or(0);
        let parts = if scales.len() == 1 { 1 } else { scales.len() / filters.max(1) * filters };
        if count == 0 || scales.len() != parts || !count.is_multiple_of(scales.len()) {
            return Err(format!("{} scales do not cut {:?} in equal parts of filters", scales.len(), self.shape));
        }
        match &mut self.content {
            Content::Stored(stored) if matches!(stored.dtype, Dtype::I8 | Dtype::U8) => {
                stored.quantisation = Some(Quantisation::Parts { scales: scales.to_vec(), zero_point });
                Ok(self)
            }
            _ => Err(format!("is {}, 8-bit integers have scales", self.dtype())),
        }
    }

    /// Whether it consists of quantised integers.
    pub(super) fn is_quantised(&self) -> bool {
        matches!(&self.content, Content::Stored(Stored { quantisation: Some(_), .. }))
    }

    /// The integers, if they have 8 bits, a common zero point, and scales per filter.
    pub(super) fn integers(&self) -> Option<IntegerTensor> {
        let Content::Stored(stored) = &self.content else { return None };
        let signed = match stored.dtype {
            Dtype::I8 => true,
            Dtype::U8 => false,
            _ => return None,
        };
        let (scales, zero_point) = match stored.quantisation.as_ref()? {
            Quantisation::Whole { scale, zero_point } => (vec![*scale as f32], i32::try_from(*zero_point).ok()?),
            Quantisation::Parts { scales, zero_point } => (scales.clone(), *zero_point),
            Quantisation::Channels { scales, zero_points, axis: 0 } => {
                let zero_points = zero_points.read().ok()?;
                let zero = zero_points.first().copied()?;
                zero_points.iter().all(|&other| other == zero).then_some(())?;
                (scales.read().ok()?.to_vec(), zero as i32)
            }
            Quantisation::Channels { .. } => return None,
        };
        let range = if signed { -128..=127 } else { 0..=255 };
        let codes = integers(stored.dtype, &stored.bytes(&self.shape))?;
        let codes = codes.into_iter().map(|code| (code - zero_point) as f32).collect();
        let fits = range.contains(&zero_point) && scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0);
        fits.then_some(IntegerTensor { codes, scales, zero_point, signed })
    }
}
