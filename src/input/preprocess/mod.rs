//! Preprocessing: from an image to a network's input.

mod channels;
mod crop;
mod describe;
mod overrides;
mod timm;
mod transformers;

use serde::Deserialize;

pub(super) use self::overrides::laid_out;
pub use self::overrides::{Layout, Overrides};
use super::audio::Framing;
use super::decode::Pixels;
use super::degrade::Degradation;
use super::resize::{Interpolation, resize_part};
use crate::{Error, Result};

/// The size to which an image is resized before it is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// The shorter side to this, the longer in proportion (truncated).
    ShortestEdge(usize),
    /// Rows and columns.
    Exact([usize; 2]),
    /// The smallest size in proportion that covers these rows and columns (rounded).
    Cover([usize; 2]),
    /// The largest size in proportion that these rows and columns hold (rounded).
    Within([usize; 2]),
}

/// How odd margins of a crop are rounded; images smaller than the crop are zero-padded by the same library's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropRounding {
    /// Half to even, odd padding larger after (torchvision, timm).
    #[default]
    RoundHalfEven,
    /// Down, odd padding larger before (transformers).
    Floor,
}

/// Order of the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// Every step from 8-bit pixels to `[C, H, W]` floats.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    #[serde(skip)]
    kind: InputKind,
    /// 1 (grey) or 3.
    channels: usize,
    /// Rows and columns of the input; for networks of any size, those that they are listed and timed with.
    size: [usize; 2],
    /// Whether images keep their own size (after `resize`, if given).
    #[serde(default)]
    any_size: bool,
    /// Images of any size are padded to multiples of this, repeating their last row and column.
    #[serde(default = "one")]
    multiple: usize,
    #[serde(default)]
    grey: Grey,
    /// What is done to images that are clean, as part of the network's input.
    #[serde(default)]
    degradation: Option<CardDegradation>,
    /// The size to which an image is resized first; without it images must have the input's own.
    #[serde(default)]
    resize: Option<Resize>,
    /// Rows and columns that are cut out of the middle: those of the input.
    #[serde(default)]
    crop: Option<[usize; 2]>,
    #[serde(default)]
    crop_rounding: CropRounding,
    /// Padding of images smaller than the crop: a level per channel; black by default.
    #[serde(default)]
    fill: Vec<u8>,
    /// How pixels are interpolated where images are resized; `bilinear` by default, all as Pillow does them.
    #[serde(default = "bilinear")]
    interpolation: Interpolation,
    /// Subtracted from `value / 255`, in the network's channel order.
    mean: Vec<f64>,
    /// Divides the difference.
    std: Vec<f64>,
    #[serde(default)]
    channel_order: ChannelOrder,
    /// Whether nothing states `mean` and `std`: pixels then go in in the range that the user names, by default 0 to 1.
    #[serde(default)]
    assumed: bool,
    /// Order of the axes in which the network reads its input.
    #[serde(skip)]
    layout: Layout,
    /// What the user states in place of the card.
    #[serde(skip)]
    overrides: Overrides,
}

/// The kind of input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum InputKind {
    #[default]
    Images,
    /// Token ids.
    Tokens,
    /// Recordings.
    Audio(Framing),
    /// Arrays of numbers.
    Arrays,
}

/// How colour becomes grey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grey {
    /// ITU-R 601 weights, black 0 and white 255 (Pillow).
    #[default]
    Full,
    /// ITU-R 601 weights, black 16 and white 235 (MATLAB's `rgb2ycbcr`).
    Studio,
}

/// A degradation that is part of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CardDegradation {
    /// The colour filter of most cameras.
    Bayer,
    /// The colour filter of Fujifilm's cameras.
    Xtrans,
}

/// A network's input, made from an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// `[C, H, W]`.
    pub values: Vec<f32>,
    /// Its extents.
    pub shape: [usize; 3],
    /// Rows and columns of the image; the rest is padding.
    pub size: [usize; 2],
}

impl Input {
    /// The values without the padding.
    pub fn cropped(&self) -> Vec<f32> {
        let ([_, h, w], [rows, columns]) = (self.shape, self.size);
        let planes = self.values.chunks(h * w);
        planes.flat_map(|plane| plane.chunks(w).take(rows).flat_map(|row| &row[..columns])).copied().collect()
    }
}

fn one() -> usize {
    1
}

fn bilinear() -> Interpolation {
    Interpolation::Bilinear
}

impl Preprocess {
    /// Reads the `[input]` table of the card `card`.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the card and the field.
    pub fn from_table(card: &str, table: &toml::Table) -> Result<Self> {
        let place = format!("card {card}: [input]");
        if let (Some(steps), 1) = (table.get("steps"), table.len()) {
            let steps = steps.as_integer().and_then(|steps| usize::try_from(steps).ok());
            let steps = steps.filter(|steps| (1..=4096).contains(steps));
            return steps.map(Self::numbers).ok_or_else(|| Error::malformed(place, "steps must be 1 to 4096"));
        }
        if table.contains_key("chunk") {
            let framing: std::result::Result<Framing, toml::de::Error> = table.clone().try_into();
            let framing = framing.map_err(|error| Error::malformed(&place, error.message().to_owned()))?;
            return match framing.fault() {
                Some(fault) => Err(Error::malformed(place, fault)),
                None => Ok(Self::recordings(framing)),
            };
        }
        let read: Self = table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Error::malformed(&place, error.message().to_owned()))?;
        read.check(&place)
    }

    /// For networks that read token ids: nothing is done; `steps` is the length they are listed and timed with.
    pub fn numbers(steps: usize) -> Self {
        Self {
            channels: 1,
            kind: InputKind::Tokens,
            size: [1, steps],
            any_size: false,
            multiple: 1,
            grey: Grey::Full,
            degradation: None,
            resize: None,
            crop: None,
            crop_rounding: CropRounding::default(),
            fill: vec![],
            interpolation: bilinear(),
            mean: vec![0.0],
            std: vec![1.0],
            channel_order: ChannelOrder::default(),
            assumed: false,
            layout: Layout::default(),
            overrides: Overrides::default(),
        }
    }

    /// For networks that read arrays `[c, h, w]` of numbers, as they are.
    pub fn arrays([c, h, w]: [usize; 3]) -> Self {
        Self {
            kind: InputKind::Arrays,
            channels: c,
            size: [h, w],
            mean: vec![0.0; c],
            std: vec![1.0; c],
            ..Self::numbers(w)
        }
    }

    /// For networks that read recordings.
    fn recordings(framing: Framing) -> Self {
        Self { kind: InputKind::Audio(framing), size: [framing.rows(), 64], any_size: true, ..Self::numbers(64) }
    }

    /// Whether it reads images.
    pub fn reads_images(&self) -> bool {
        self.kind == InputKind::Images
    }

    /// How recordings are split into chunks, if it reads such.
    pub fn framing(&self) -> Option<Framing> {
        if let InputKind::Audio(framing) = self.kind { Some(framing) } else { None }
    }

    fn check(self, place: &str) -> Result<Self> {
        let wrong = |detail: &str| Err(Error::malformed(place, detail));
        let sides = self.size.iter().chain(self.crop.iter().flatten());
        let edges = match self.resize {
            Some(Resize::ShortestEdge(edge)) => [edge, edge],
            Some(Resize::Exact(size) | Resize::Cover(size) | Resize::Within(size)) => size,
            None => [1, 1],
        };
        if !matches!(self.channels, 1 | 3) {
            return wrong("channels must be 1 or 3");
        }
        if self.mean.len() != self.channels || self.std.len() != self.channels {
            return wrong("mean and std need one value per channel");
        }
        if !(self.fill.is_empty() || (self.fill.len() == self.channels && self.crop.is_some())) {
            return wrong("fill needs one level per channel, and a crop");
        }
        if self.std.iter().any(|&std| !(std.is_finite() && std > 0.0)) || !self.mean.iter().all(|v| v.is_finite()) {
            return wrong("std must be positive and mean finite");
        }
        if !sides.chain(&edges).all(|&side| (1..=16384).contains(&side)) {
            return wrong("sizes must be 1 to 16384");
        }
        if !(1..=256).contains(&self.multiple) || (self.multiple > 1 && !self.any_size) {
            return wrong("multiple must be 1 to 256, and needs inputs of any size");
        }
        if self.any_size && self.crop.is_some() {
            return wrong("crop needs inputs of one size");
        }
        if self.crop.is_some_and(|crop| crop != self.size) {
            return wrong("crop must be the size of the network's input");
        }
        Ok(self)
    }

    /// Rows and columns of the input.
    pub fn size(&self) -> (usize, usize) {
        (self.size[0], self.size[1])
    }

    /// Whether images keep their own size.
    pub fn any_size(&self) -> bool {
        self.any_size
    }

    /// The colour filter of a camera that every input passes, if there is one.
    pub fn filter(&self) -> Degradation {
        match self.degradation {
            None => Degradation::None,
            Some(CardDegradation::Bayer) => Degradation::Bayer,
            Some(CardDegradation::Xtrans) => Degradation::Xtrans,
        }
    }

    /// The input difference that corresponds to 255 grey levels.
    pub(super) fn unit(&self) -> f64 {
        1.0 / (255.0 * self.std[0])
    }

    /// 8-bit pixels of a network's output: `[C, H, W]` values, denormalised and clipped.
    pub fn pixels(&self, values: &[f32], [h, w]: [usize; 2]) -> Pixels {
        let c = self.channels;
        let level = |i: usize| {
            let (pixel, channel) = (i / c, i % c);
            let from = self.stored_channel(channel);
            let value = f64::from(values[from * h * w + pixel]) * self.std[from] + self.mean[from];
            (value.clamp(0.0, 1.0) * 255.0).round() as u8
        };
        Pixels { h, w, c, data: (0..h * w * c).map(level).collect() }
    }

    /// The channel of an image, red first, that is channel `channel` of the input; and the reverse.
    fn stored_channel(&self, channel: usize) -> usize {
        if self.channel_order == ChannelOrder::Bgr { self.channels - 1 - channel } else { channel }
    }

    /// Channels of the input.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The input `[C, H, W]` made from `image`.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `id` if, without resizing or cropping, the image is not of the input's size.
    pub fn apply(&self, id: &str, image: Pixels) -> Result<Input> {
        let mut image = match (self.channels, self.grey) {
            (1, Grey::Studio) => image.studio_luma(),
            (channels, _) => image.with_channels(channels),
        };
        let size = [image.h, image.w];
        if let Some(to) = self.resized(size).filter(|&to| to != size) {
            image = resize_part(&image, to, self.kept(to), self.interpolation);
        }
        let black = vec![0; image.c];
        image = self.crop(image, if self.fill.is_empty() { &black } else { &self.fill });
        let size = [image.h, image.w];
        let (h, w) = if self.any_size { (image.h, image.w) } else { self.size() };
        if size != [h, w] {
            let detail = format!("is {}x{}, the network needs {h}x{w} and its card does not resize", image.h, image.w);
            return Err(Error::shape(id, detail));
        }
        let framed = [h, w].map(|side| side.next_multiple_of(self.multiple));
        if framed != size {
            image = image.framed(framed);
        }
        let [h, w] = framed;
        let c = self.channels;
        let mut values = Vec::with_capacity(c * h * w);
        for channel in 0..c {
            let from = self.stored_channel(channel);
            let (mean, std) = (self.mean[channel] as f32, self.std[channel] as f32);
            let of_level: [f32; 256] = std::array::from_fn(|level| (level as f32 / 255.0 - mean) / std);
            values.extend(image.data[from..].iter().step_by(c).map(|&level| of_level[usize::from(level)]));
        }
        Ok(Input { values, shape: [c, h, w], size })
    }
}

#[cfg(test)]
mod tests;
