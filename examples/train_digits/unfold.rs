//! Convolution as a matrix product; candle's own gradient of a convolution is a plain loop, ten times slower.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

/// Bias-free convolution of `x` `[C, N, H, W]` by `weight` `[O, C, k, k]`, k odd, zero padding of k / 2: `[O, N, P, Q]`.
///
/// Channels come first, so that the patches are one matrix and the product needs no reordering.
pub fn convolve(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let (channels, images, height, width) = x.dims4()?;
    let (out, in_channels, kernel, kernel_width) = weight.dims4()?;
    if in_channels != channels || kernel != kernel_width {
        bail!("convolution of {channels} channels by {:?}", weight.shape());
    }
    let patches = Patches { channels, images, size: [height, width], kernel, stride };
    let [p, q] = patches.out();
    let columns = x.contiguous()?.apply_op1(patches)?;
    weight.reshape((out, ()))?.matmul(&columns)?.reshape((out, images, p, q))
}

/// Copies every k x k window to a column: `[C, N, H, W]` to `[C * k * k, N * P * Q]`.
#[derive(Clone, Copy)]
struct Patches {
    channels: usize,
    images: usize,
    size: [usize; 2],
    kernel: usize,
    stride: usize,
}

impl Patches {
    fn out(&self) -> [usize; 2] {
        self.size.map(|size| (size - 1) / self.stride + 1) // odd kernel, padded by half of it
    }

    fn columns_shape(&self) -> Shape {
        let [p, q] = self.out();
        Shape::from((self.channels * self.kernel * self.kernel, self.images * p * q))
    }

    fn image_shape(&self) -> Shape {
        Shape::from((self.channels, self.images, self.size[0], self.size[1]))
    }

    /// Calls `visit(offset in the columns, offset in the images)` for every tap inside the image.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        let ([height, width], [p, q], half) = (self.size, self.out(), self.kernel / 2);
        let mut column = 0;
        for channel in 0..self.channels {
            for (r, s) in (0..self.kernel).flat_map(|r| (0..self.kernel).map(move |s| (r, s))) {
                for (image, y) in (0..self.images).flat_map(|image| (0..p).map(move |y| (image, y))) {
                    let row = (y * self.stride + r).wrapping_sub(half);
                    if row < height {
                        let base = ((channel * self.images + image) * height + row) * width;
                        for x in 0..q {
                            let at = (x * self.stride + s).wrapping_sub(half);
                            if at < width {
                                visit(column + x, base + at);
                            }
                        }
                    }
                    column += q;
                }
            }
        }
    }
}

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let images = values(storage, layout)?;
        let shape = self.columns_shape();
        let mut columns = vec![0.0; shape.elem_count()];
        self.for_each(|column, pixel| columns[column] = images[pixel]);
        Ok((CpuStorage::F32(columns), shape))
    }

    fn bwd(&self, _x: &Tensor, _columns: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.apply_op1_no_bwd(&Images(*self)).map(Some)
    }
}

/// The transpose of [`Patches`]: every pixel is the sum of the column entries that it was copied to.
struct Images(Patches);

impl CustomOp1 for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let columns = values(storage, layout)?;
        let shape = self.0.image_shape();
        let mut images = vec![0.0; shape.elem_count()];
        self.0.for_each(|column, pixel| images[pixel] += columns[column]);
        Ok((CpuStorage::F32(images), shape))
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((begin, end))) => Ok(&values[begin..end]),
        _ => bail!("patches need contiguous {:?}", DType::F32),
    }
}
