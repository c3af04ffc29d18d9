//! How a tensor of a file is an operand `[C, H, W]`: which of its axes are channels, rows and columns.

use crate::kernels::{Geometry, LANES};
use crate::layers::Shape;

/// A tensor's axes as channels, rows and columns, each a list of axes, outermost first. Axes in no list have extent 1, or are
/// fixed at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Places of the tensor's elements that channels, rows and columns add up to.
    offsets: [Vec<usize>; 3],
    /// Place of the first element.
    start: usize,
}

impl View {
    /// The axes `lists` of a contiguous tensor of extents `dims`; `None` if an axis of several elements is in no list.
    pub fn new(dims: &[usize], lists: [&[usize]; 3]) -> Option<Self> {
        let left_out = |axis: &usize| !lists.iter().any(|list| list.contains(axis));
        (0..dims.len()).filter(left_out).all(|axis| dims[axis] == 1).then(|| Self::fixed(dims, lists, &[]))
    }

    /// [`View::new`] with some axes fixed at an index.
    pub fn fixed(dims: &[usize], lists: [&[usize]; 3], fixed: &[(usize, usize)]) -> Self {
        let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
        let offsets = lists.map(|list| {
            list.iter().fold(vec![0], |outer, &axis| {
                let inner = (0..dims[axis]).map(|index| index * stride(axis)).collect::<Vec<_>>();
                outer.iter().flat_map(|before| inner.iter().map(move |place| before + place)).collect()
            })
        });
        Self { offsets, start: fixed.iter().map(|&(axis, index)| index * stride(axis)).sum() }
    }

    /// Channels, rows and columns.
    pub fn shape(&self) -> Shape {
        let [c, h, w] = [0, 1, 2].map(|i| self.offsets[i].len());
        Shape::new(c, h, w)
    }

    /// The first rows and columns alone.
    pub fn cropped(mut self, h: usize, w: usize) -> Self {
        self.offsets[1].truncate(h);
        self.offsets[2].truncate(w);
        self
    }

    /// Copies the operand out of `from` into `to`, which is of [`Geometry::blocked`].
    pub fn pack(&self, from: impl Fn(usize) -> f32, to: &mut [f32]) {
        let [channels, rows, columns] = &self.offsets;
        let block = rows.len() * columns.len() * LANES;
        for (c, channel) in channels.iter().enumerate() {
            let mut at = c / LANES * block + c % LANES;
            for row in rows {
                let start = self.start + channel + row;
                for column in columns {
                    to[at] = from(start + column);
                    at += LANES;
                }
            }
        }
    }

    /// Its layout once packed.
    pub fn geometry(&self) -> Geometry {
        let Shape { c, h, w } = self.shape();
        Geometry::blocked(1, c, h, w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_become_channels_rows_and_columns() {
        // [2, 3, 4]: the last axis are channels, the first two columns.
        let view = View::new(&[2, 3, 4], [&[2], &[], &[0, 1]]).unwrap();
        assert_eq!(view.shape(), Shape::new(4, 1, 6));
        let geometry = view.geometry();
        let mut packed = vec![-1.0; geometry.len()];
        view.pack(|place| place as f32, &mut packed);
        for (c, w) in (0..4).flat_map(|c| (0..6).map(move |w| (c, w))) {
            assert_eq!(packed[geometry.index(0, c, 0, w)], (w * 4 + c) as f32);
        }
        assert!(View::new(&[2, 3], [&[1], &[], &[]]).is_none(), "two images are no one image");
        // Direction 1 of [T, 2, 1, H].
        let hidden = View::fixed(&[3, 2, 1, 5], [&[3], &[], &[0]], &[(1, 1)]);
        let mut packed = vec![-1.0; hidden.geometry().len()];
        hidden.pack(|place| place as f32, &mut packed);
        assert_eq!(packed[2 * 16..][..5], [25.0, 26.0, 27.0, 28.0, 29.0]);
    }
}
