//! What the user states of inputs in place of the card: size, mean, deviation, order of the axes, range of the pixels.

use super::{Input, InputKind, Preprocess, Resize};
use crate::{Error, Result};

/// Order of the axes of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Channels, rows, columns.
    #[default]
    Nchw,
    /// Rows, columns, channels.
    Nhwc,
}

impl Layout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nchw, Self::Nhwc];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nchw => "nchw",
            Self::Nhwc => "nhwc",
        }
    }
}

/// What the user states; `None` leaves it to the card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Rows and columns of the input.
    pub size: Option<[usize; 2]>,
    /// Subtracted from pixels of [`Overrides::range`]: a value per channel, or one for all.
    pub mean: Option<Vec<f64>>,
    /// Divides the difference.
    pub std: Option<Vec<f64>>,
    /// Order of the axes of arrays.
    pub layout: Option<Layout>,
    /// Lowest and highest value of a pixel. Arrays hold such pixels, and `mean` and `std` are of them; 0 to 1 by default.
    pub range: Option<[f64; 2]>,
}

impl Overrides {
    /// What is stated, by the name of its flag.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let list = |values: &Vec<f64>| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let options = [
            ("input_size", self.size.map(|[h, w]| format!("{h}x{w}"))),
            ("mean", self.mean.as_ref().map(list)),
            ("std", self.std.as_ref().map(list)),
            ("layout", self.layout.map(|layout| layout.name().to_owned())),
            ("range", self.range.map(|[low, high]| format!("{low}..{high}"))),
        ];
        options.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Whether it says what becomes of pixels.
    pub fn is_of_pixels(&self) -> bool {
        self.mean.is_some() || self.std.is_some() || self.range.is_some()
    }

    /// The first flag that is stated.
    fn flag(&self) -> Option<String> {
        self.options().first().map(|(name, _)| format!("--{}", name.replace('_', "-")))
    }
}

impl Preprocess {
    /// The same with what `stated` says in place of the card.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the flag whose values cannot be, or that networks of this kind have no use for.
    pub fn overridden(mut self, stated: &Overrides) -> Result<Self> {
        let Some(flag) = stated.flag() else { return Ok(self) };
        if self.kind != InputKind::Images {
            return Err(Error::invalid(flag, "is of networks that read images"));
        }
        if let Some([h, w]) = stated.size {
            self.resize_to([h, w])?;
        }
        let [low, high] = stated.range.unwrap_or([0.0, 1.0]);
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(Error::invalid(
                "--range",
                format!("is {low}..{high}, must go from a lower number to a higher one"),
            ));
        }
        // Pixels of low..high as pixels of 0..1, of which means and deviations are kept.
        let (span, free) = (high - low, self.assumed && stated.range.is_some());
        if let Some(means) = stated.mean.clone().or_else(|| free.then(|| vec![0.0])) {
            self.mean = self.by_channel("--mean", means)?.into_iter().map(|mean| (mean - low) / span).collect();
        }
        if let Some(deviations) = stated.std.clone().or_else(|| free.then(|| vec![1.0])) {
            self.std = self.by_channel("--std", deviations)?.into_iter().map(|std| std / span).collect();
        }
        if let (Some(bad), true) = (self.std.iter().find(|std| **std <= 0.0), stated.std.is_some()) {
            return Err(Error::invalid("--std", format!("holds {}, must be positive", bad * span)));
        }
        self.overrides = stated.clone();
        Ok(self)
    }

    /// `values`, one per channel.
    fn by_channel(&self, flag: &str, mut values: Vec<f64>) -> Result<Vec<f64>> {
        if values.len() == 1 {
            values = vec![values[0]; self.channels];
        }
        if values.len() != self.channels {
            let detail = format!("has {} values, the network reads {} channels", values.len(), self.channels);
            return Err(Error::invalid(flag, detail));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::invalid(flag, format!("holds {value}"))),
            None => Ok(values),
        }
    }

    /// Inputs of another size: what was resized and then cropped keeps the proportion of both, everything else is resized to
    /// it.
    fn resize_to(&mut self, [h, w]: [usize; 2]) -> Result<()> {
        if ![h, w].iter().all(|side| (1..=16384).contains(side)) {
            return Err(Error::invalid("--input-size", format!("is {h}x{w}, sides must be 1 to 16384")));
        }
        match (self.resize, self.crop) {
            (Some(Resize::ShortestEdge(edge)), Some(crop)) => {
                // The edge that the larger of both proportions needs, so that the crop lies inside.
                let [rows, columns] = [(h, crop[0]), (w, crop[1])].map(|(to, from)| (edge * to).div_ceil(from));
                self.resize = Some(Resize::ShortestEdge(rows.max(columns)));
                self.crop = Some([h, w]);
            }
            (Some(Resize::Cover(size) | Resize::Within(size) | Resize::Exact(size)), Some(crop)) => {
                let scaled = [0, 1].map(|i| (size[i] * [h, w][i]).div_ceil(crop[i]));
                self.resize = self.resize.map(|resize| match resize {
                    Resize::Cover(_) => Resize::Cover(scaled),
                    Resize::Within(_) => Resize::Within(scaled),
                    _ => Resize::Exact(scaled),
                });
                self.crop = Some([h, w]);
            }
            (_, crop) => {
                self.resize = Some(Resize::Exact([h, w]));
                self.crop = crop.map(|_| [h, w]);
            }
        }
        self.size = [h, w];
        Ok(())
    }

    /// The same for a network that reads its input in the order `layout`.
    pub fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Order of the axes in which the network reads its input.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What the user stated in place of the card.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Pixels `[C, H, W]` of the range that the user names, red first, as the network reads them; `None` where no range is
    /// named.
    pub(in crate::input) fn normalised(&self, pixels: &[f32]) -> Option<Vec<f32>> {
        let [low, high] = self.overrides.range?.map(|bound| bound as f32);
        let plane = pixels.len() / self.channels;
        let channel = |channel: usize| {
            let (mean, std) = (self.mean[channel] as f32, self.std[channel] as f32);
            let pixels = &pixels[self.stored_channel(channel) * plane..][..plane];
            pixels.iter().map(move |v| ((v - low) / (high - low) - mean) / std)
        };
        Some((0..self.channels).flat_map(channel).collect())
    }

    /// Mean and deviation of each channel, of pixels of 0 to 1.
    pub(in crate::input) fn scales(&self) -> Vec<(f32, f32)> {
        self.mean.iter().zip(&self.std).map(|(mean, std)| (*mean as f32, *std as f32)).collect()
    }

    /// `values` `[C, H, W]` of extents `shape` as an input: of the network's size, or framed where it reads any.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `id` for other extents.
    pub(in crate::input) fn fitted(&self, id: &str, values: Vec<f32>, shape: [usize; 3]) -> Result<Input> {
        let ([c, h, w], [rows, columns]) = (shape, self.size);
        let of_any_size = self.any_size && (self.framing().is_none() || h == rows);
        if c != self.channels || !(of_any_size || [h, w] == [rows, columns]) {
            let detail = format!("is [{c}, {h}, {w}], the network reads [{}, {rows}, {columns}]", self.channels);
            return Err(Error::shape(id, detail));
        }
        let [framed_h, framed_w] = [h, w].map(|side| side.next_multiple_of(self.multiple));
        if [framed_h, framed_w] == [h, w] {
            return Ok(Input { values, shape, size: [h, w] });
        }
        let at = |row: usize| (0..framed_w).map(move |column| row.min(h - 1) * w + column.min(w - 1));
        let plane = |plane: &[f32]| (0..framed_h).flat_map(at).map(|at| plane[at]).collect::<Vec<_>>();
        let values = values.chunks(h * w).flat_map(plane).collect();
        Ok(Input { values, shape: [c, framed_h, framed_w], size: [h, w] })
    }

    /// What is done to arrays, as text.
    pub(in crate::input) fn describe_arrays(&self) -> String {
        match self.overrides.range {
            Some([low, high]) => {
                format!("arrays of {low} to {high}, ((x - {low})/{} - {:?}) / {:?}", high - low, self.mean, self.std)
            }
            None => "arrays as they are".into(),
        }
    }
}

/// `values` `[C, H, W]` of extents `[c, h, w]` with their axes in the order `layout`, and its extents.
pub(in crate::input) fn laid_out(values: Vec<f32>, [c, h, w]: [usize; 3], layout: Layout) -> (Vec<f32>, [usize; 3]) {
    match layout {
        Layout::Nchw => (values, [c, h, w]),
        Layout::Nhwc => {
            let pixel = |pixel: usize| (0..c).map(move |channel| channel * h * w + pixel);
            ((0..h * w).flat_map(pixel).map(|at| values[at]).collect(), [h, w, c])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Pixels;

    fn card(more: &str) -> Preprocess {
        let text = format!("channels = 3\nsize = [2, 2]\nmean = [0.5, 0.25, 0.125]\nstd = [0.5, 0.5, 0.25]\n{more}");
        Preprocess::from_table("t", &text.parse().unwrap()).unwrap()
    }

    fn values(preprocess: &Preprocess) -> Vec<f32> {
        let image = Pixels { h: 2, w: 2, c: 3, data: (0..12).map(|v| v * 20).collect() };
        preprocess.apply("x", image).unwrap().values
    }

    fn stated(range: Option<[f64; 2]>, mean: &[f64], std: &[f64]) -> Overrides {
        let some = |values: &[f64]| (!values.is_empty()).then(|| values.to_vec());
        Overrides { range, mean: some(mean), std: some(std), ..Overrides::default() }
    }

    #[test]
    fn means_and_deviations_are_of_the_range() {
        let plain = values(&card(""));
        // The same numbers, counted from 0 to 255.
        let same = stated(Some([0.0, 255.0]), &[127.5, 63.75, 31.875], &[127.5, 127.5, 63.75]);
        assert_eq!(values(&card("").overridden(&same).unwrap()), plain);
        // A range alone leaves the card's, and is everything where nothing states any.
        let wide = stated(Some([-1.0, 1.0]), &[], &[]);
        assert_eq!(values(&card("").overridden(&wide).unwrap()), plain);
        let assumed = values(&card("assumed = true").overridden(&wide).unwrap());
        assert!((assumed[0] + 1.0).abs() < 1e-6 && (assumed[1] - (60.0 / 127.5 - 1.0)).abs() < 1e-6, "{assumed:?}");
        let one = values(&card("").overridden(&stated(None, &[0.0], &[])).unwrap());
        assert_eq!(one[1], 60.0 / 255.0 / 0.5);
    }

    #[test]
    fn pixels_of_arrays_become_what_those_of_images_become() {
        for (more, flags) in [
            ("", stated(Some([0.0, 255.0]), &[], &[])),
            ("channel_order = \"bgr\"", stated(Some([0.0, 255.0]), &[], &[])),
            ("", stated(Some([0.0, 255.0]), &[10.0], &[20.0])),
        ] {
            let preprocess = card(more).overridden(&flags).unwrap();
            // The image of `values`, channel by channel.
            let pixels: Vec<f32> = (0..12).map(|i| ((i % 4 * 3 + i / 4) * 20) as f32).collect();
            assert_eq!(preprocess.normalised(&pixels).unwrap(), values(&preprocess), "{more}");
        }
        assert_eq!(card("").normalised(&[0.0; 12]), None);
    }

    #[test]
    fn another_size_keeps_the_proportion_of_resize_and_crop() {
        let sized = |more: &str, size| {
            let stated = Overrides { size: Some(size), ..Overrides::default() };
            card(more).overridden(&stated).unwrap()
        };
        let cropped = sized("resize = { shortest_edge = 4 }\ncrop = [2, 2]", [3, 5]);
        assert_eq!((cropped.resize, cropped.crop), (Some(Resize::ShortestEdge(10)), Some([3, 5])));
        let plain = sized("", [3, 5]);
        assert_eq!((plain.resize, plain.crop, plain.size()), (Some(Resize::Exact([3, 5])), None, (3, 5)));
        let image = Pixels { h: 7, w: 9, c: 3, data: vec![9; 7 * 9 * 3] };
        for preprocess in [&cropped, &plain, &sized("any_size = true", [3, 5])] {
            assert_eq!(preprocess.apply("x", image.clone()).unwrap().shape, [3, 3, 5]);
        }
    }

    #[test]
    fn wrong_values_name_their_flag() {
        let cases = [
            (stated(Some([1.0, 1.0]), &[], &[]), "--range"),
            (stated(None, &[0.0, 1.0], &[]), "--mean: has 2 values"),
            (stated(None, &[f64::NAN], &[]), "--mean: holds NaN"),
            (stated(None, &[], &[0.5, 0.0, 1.0]), "--std: holds 0"),
            (Overrides { size: Some([0, 4]), ..Overrides::default() }, "--input-size: is 0x4"),
        ];
        for (stated, want) in cases {
            let error = card("").overridden(&stated).unwrap_err();
            assert!(error.to_string().starts_with(want) && error.exit_code() == 2, "{want}: {error}");
        }
        let error = Preprocess::numbers(4).overridden(&stated(Some([0.0, 1.0]), &[], &[])).unwrap_err();
        assert_eq!(error.to_string(), "--range: is of networks that read images");
    }

    #[test]
    fn axes_are_turned() {
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let (turned, shape) = laid_out(values, [3, 2, 2], Layout::Nhwc);
        assert_eq!((turned, shape), ([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11].map(|v| v as f32).to_vec(), [2, 2, 3]));
    }
}
