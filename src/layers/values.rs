//! The values of a learned tensor: floats, or codes that floats are made of when somebody reads them.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::kernels::CodedMatrix;

/// The values of a learned tensor, row-major; a slice of floats to those who read it. Of a matrix of codes floats are made when
/// they are first read, and kept: kernels that multiply codes as they are never read them.
#[derive(Clone)]
pub struct Values(Held);

#[derive(Clone)]
enum Held {
    Floats(Arc<[f32]>),
    Coded(Arc<Coded>),
}

struct Coded {
    codes: Arc<CodedMatrix>,
    floats: OnceLock<Vec<f32>>,
}

impl Values {
    /// The codes, if there are any.
    pub fn codes(&self) -> Option<&Arc<CodedMatrix>> {
        match &self.0 {
            Held::Floats(_) => None,
            Held::Coded(coded) => Some(&coded.codes),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Held::Floats(floats) => floats.len(),
            Held::Coded(coded) => coded.codes.rows() * coded.codes.columns(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The floats, to be changed: values are no codes any more, and shared with no other tensor.
    pub fn make_mut(&mut self) -> &mut [f32] {
        if let Held::Coded(_) = &self.0 {
            *self = self[..].into();
        }
        match &mut self.0 {
            Held::Floats(floats) => Arc::make_mut(floats),
            Held::Coded(_) => unreachable!("they were made floats"),
        }
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Held::Floats(floats) => floats,
            Held::Coded(coded) => coded.floats.get_or_init(|| coded.codes.to_floats()),
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Arc::<[f32]>::default().into()
    }
}

impl From<Arc<[f32]>> for Values {
    fn from(floats: Arc<[f32]>) -> Self {
        Self(Held::Floats(floats))
    }
}

impl From<Vec<f32>> for Values {
    fn from(floats: Vec<f32>) -> Self {
        Self(Held::Floats(floats.into()))
    }
}

impl From<&[f32]> for Values {
    fn from(floats: &[f32]) -> Self {
        Self(Held::Floats(floats.into()))
    }
}

impl From<CodedMatrix> for Values {
    fn from(codes: CodedMatrix) -> Self {
        Self(Held::Coded(Arc::new(Coded { codes: Arc::new(codes), floats: OnceLock::new() })))
    }
}

impl FromIterator<f32> for Values {
    fn from_iter<T: IntoIterator<Item = f32>>(floats: T) -> Self {
        Self(Held::Floats(floats.into_iter().collect()))
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Held::Floats(floats) => floats.fmt(f),
            Held::Coded(coded) => coded.codes.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CodedForm;

    #[test]
    fn codes_are_floats_to_those_who_read_them_and_changed_floats_are_no_codes() {
        let form = CodedForm { group: 16, nibbles: false, minimum: false, halves: false };
        let read = |row: usize, _: usize, codes: &mut [i8]| {
            codes.iter_mut().zip(0..).for_each(|(code, column)| *code = column);
            [row as f32, 0.0]
        };
        let mut values = Values::from(CodedMatrix::new((2, 16), form, read));
        let other = values.clone();
        assert!(values.codes().is_some() && values.len() == 32 && (values[15], values[17]) == (0.0, 1.0));
        values.make_mut()[0] = 3.0;
        assert!(values.codes().is_none() && values[0] == 3.0 && values[1..] == other[1..] && other[0] == 0.0);
    }
}
