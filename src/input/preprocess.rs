//! Preprocessing: how an image becomes a network's input.

use serde::Deserialize;
use serde_json::Value;

use super::decode::Pixels;
use super::resize::{Interpolation, resize};
use crate::{Error, Result};

/// Which size an image is brought to before it is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// The shorter side to this, the longer in proportion (truncated).
    ShortestEdge(usize),
    /// Rows and columns.
    Exact([usize; 2]),
}

/// Where the middle of an odd margin lies; images smaller than the crop are framed with zeros by the same maker's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropRounding {
    /// Half to even, odd frames larger after (torchvision, timm).
    #[default]
    RoundHalfEven,
    /// Down, odd frames larger before (transformers).
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
    channels: usize,
    size: [usize; 2],
    #[serde(default)]
    resize: Option<Resize>,
    #[serde(default)]
    crop: Option<[usize; 2]>,
    #[serde(default)]
    crop_rounding: CropRounding,
    #[serde(default = "bilinear")]
    interpolation: Interpolation,
    /// Subtracted from `value / 255`, in the network's channel order.
    mean: Vec<f64>,
    /// Divides what is left.
    std: Vec<f64>,
    #[serde(default)]
    channel_order: ChannelOrder,
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
        let read: Self = table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Error::malformed(&place, error.message().to_owned()))?;
        read.check(&place)
    }

    /// Reads transformers' `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming `file` and the field.
    pub fn from_transformers(file: &str, config: &Value) -> Result<Self> {
        let flag = |name: &str, default: bool| config.get(name).and_then(Value::as_bool).unwrap_or(default);
        let wrong = |name: &str| Error::malformed(file, format!("{name} is missing or not of the expected form"));
        let number = |value: &Value| value.as_u64().map(|v| v as usize);
        // A size is a number, {"shortest_edge": n} or {"height": h, "width": w}.
        enum Size {
            Edge(usize),
            Both([usize; 2]),
        }
        let size = |name: &str| -> Option<Size> {
            let value = config.get(name)?;
            let both = || Some(Size::Both([number(value.get("height")?)?, number(value.get("width")?)?]));
            let edge = || Some(Size::Edge(number(value.get("shortest_edge")?)?));
            number(value).map(Size::Edge).or_else(edge).or_else(both)
        };
        let mut resized = None;
        let mut crop = None;
        if flag("do_resize", true) {
            resized = Some(size("size").ok_or_else(|| wrong("size"))?);
        }
        let next = config.get("image_processor_type").or_else(|| config.get("feature_extractor_type"));
        let conv_next = next.and_then(Value::as_str).is_some_and(|name| name.starts_with("ConvNext"));
        let resize = match resized {
            // ConvNext's processor resizes to size / crop_pct and crops, below 384; above, it resizes exactly.
            Some(Size::Edge(edge)) if conv_next => {
                let share = config.get("crop_pct").and_then(Value::as_f64).unwrap_or(224.0 / 256.0);
                crop = Some([edge, edge]);
                Some(if edge < 384 {
                    Resize::ShortestEdge((edge as f64 / share) as usize)
                } else {
                    Resize::Exact([edge, edge])
                })
            }
            Some(Size::Edge(edge)) => Some(Resize::ShortestEdge(edge)),
            Some(Size::Both(size)) => Some(Resize::Exact(size)),
            None => None,
        };
        if flag("do_center_crop", false) {
            crop = Some(match size("crop_size").ok_or_else(|| wrong("crop_size"))? {
                Size::Edge(edge) => [edge, edge],
                Size::Both(size) => size,
            });
        }
        let interpolation = match config.get("resample").map_or(Some(2), Value::as_u64) {
            Some(1) => Interpolation::Lanczos,
            Some(2) => Interpolation::Bilinear,
            Some(3) => Interpolation::Bicubic,
            _ => return Err(wrong("resample (1, 2 and 3 are known)")),
        };
        let factor = match flag("do_rescale", true) {
            true => config.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0),
            false => 1.0,
        };
        let list = |name: &str, default: f64| match (flag("do_normalize", true), config.get(name)) {
            (true, Some(value)) => value
                .as_array()
                .and_then(|values| values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>())
                .ok_or_else(|| wrong(name)),
            _ => Ok(vec![default; 3]),
        };
        // Ours is (v / 255 - mean) / std: another factor moves into both.
        let unit = 1.0 / (255.0 * factor);
        let mean: Vec<f64> = list("image_mean", 0.0)?.into_iter().map(|v| v * unit).collect();
        let std = list("image_std", 1.0)?.into_iter().map(|v| v * unit).collect();
        let size = match (crop, resize) {
            (Some(crop), _) => crop,
            (None, Some(Resize::Exact(size))) => size,
            _ => return Err(wrong("crop_size (the network's input size)")),
        };
        let order = if flag("do_flip_channel_order", false) { ChannelOrder::Bgr } else { ChannelOrder::Rgb };
        let read = Self {
            channels: mean.len(),
            size,
            resize,
            crop,
            crop_rounding: CropRounding::Floor,
            interpolation,
            mean,
            std,
            channel_order: order,
        };
        read.check(file)
    }

    /// Reads timm's `pretrained_cfg`, the inner table of its `config.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming `file` and the field.
    pub fn from_timm(file: &str, config: &Value) -> Result<Self> {
        let wrong = |name: &str| Error::malformed(file, format!("pretrained_cfg.{name} is missing or not understood"));
        let list = |name: &str| -> Result<Vec<f64>> {
            let values = config.get(name).and_then(Value::as_array).ok_or_else(|| wrong(name))?;
            values.iter().map(|v| v.as_f64().ok_or_else(|| wrong(name))).collect()
        };
        let input = list("input_size")?;
        let [channels, h, w] = input[..] else { return Err(wrong("input_size")) };
        let share = config.get("crop_pct").and_then(Value::as_f64).unwrap_or(0.875);
        let interpolation = match config.get("interpolation").and_then(Value::as_str) {
            Some("bicubic") => Interpolation::Bicubic,
            Some("bilinear") => Interpolation::Bilinear,
            Some("lanczos") => Interpolation::Lanczos,
            _ => return Err(wrong("interpolation")),
        };
        let size = [h as usize, w as usize];
        let read = Self {
            channels: channels as usize,
            size,
            resize: Some(if h == w {
                Resize::ShortestEdge((h / share).floor() as usize)
            } else {
                Resize::Exact([(h / share).floor() as usize, (w / share).floor() as usize])
            }),
            crop: Some(size),
            crop_rounding: CropRounding::RoundHalfEven,
            interpolation,
            mean: list("mean")?,
            std: list("std")?,
            channel_order: ChannelOrder::Rgb,
        };
        read.check(file)
    }

    fn check(self, place: &str) -> Result<Self> {
        let wrong = |detail: &str| Err(Error::malformed(place, detail));
        let sides = self.size.iter().chain(self.crop.iter().flatten());
        let edges = match self.resize {
            Some(Resize::ShortestEdge(edge)) => [edge, edge],
            Some(Resize::Exact(size)) => size,
            None => [1, 1],
        };
        if !matches!(self.channels, 1 | 3) {
            return wrong("channels must be 1 or 3");
        }
        if self.mean.len() != self.channels || self.std.len() != self.channels {
            return wrong("mean and std need one value a channel");
        }
        if self.std.iter().any(|&std| !(std.is_finite() && std > 0.0)) || !self.mean.iter().all(|v| v.is_finite()) {
            return wrong("std must be positive and mean finite");
        }
        if !sides.chain(&edges).all(|&side| (1..=16384).contains(&side)) {
            return wrong("sizes must be 1 to 16384");
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

    /// Channels of the input.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All steps in words.
    pub fn describe(&self) -> String {
        let [h, w] = self.size;
        let mut steps = Vec::new();
        match self.resize {
            Some(Resize::ShortestEdge(edge)) => {
                steps.push(format!("shortest edge {edge} {}", self.interpolation.name()));
            }
            Some(Resize::Exact([h, w])) => steps.push(format!("resize {h}x{w} {}", self.interpolation.name())),
            None => {}
        }
        if self.crop.is_some() {
            steps.push(format!("center crop {h}x{w}"));
        }
        let colours = match (self.channels, self.channel_order) {
            (1, _) => "grey",
            (_, ChannelOrder::Rgb) => "RGB",
            (_, ChannelOrder::Bgr) => "BGR",
        };
        steps.push(format!("{colours}, (x/255 - {:?}) / {:?}", self.mean, self.std));
        steps.join(", ")
    }

    /// The input `[C, H, W]` made of `image`.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `id` if, without resizing or cropping, the image is not of the input's size.
    pub fn apply(&self, id: &str, image: Pixels) -> Result<Vec<f32>> {
        let mut image = image.with_channels(self.channels);
        if let Some(rule) = self.resize {
            let [h, w] = match rule {
                Resize::Exact(size) => size,
                // int(edge * long / short), as the makers' Python has it.
                Resize::ShortestEdge(edge) if image.h <= image.w => [edge, edge * image.w / image.h],
                Resize::ShortestEdge(edge) => [edge * image.h / image.w, edge],
            };
            image = resize(&image, h.max(1), w.max(1), self.interpolation);
        }
        if let Some([h, w]) = self.crop {
            image = self.crop(&image, h, w);
        }
        let (h, w) = self.size();
        if (image.h, image.w) != (h, w) {
            let detail = format!("is {}x{}, the network needs {h}x{w} and its card does not resize", image.h, image.w);
            return Err(Error::shape(id, detail));
        }
        let c = self.channels;
        let mut values = Vec::with_capacity(c * h * w);
        for channel in 0..c {
            let from = if self.channel_order == ChannelOrder::Bgr { c - 1 - channel } else { channel };
            let (mean, std) = (self.mean[channel] as f32, self.std[channel] as f32);
            let value = |&v: &u8| (f32::from(v) / 255.0 - mean) / std;
            values.extend(image.data[from..].iter().step_by(c).map(value));
        }
        Ok(values)
    }

    /// The middle of `image`, framed with zeros where it is smaller than the crop.
    fn crop(&self, image: &Pixels, h: usize, w: usize) -> Pixels {
        let before = |size: usize, want: usize| -> i64 {
            let margin = size as i64 - want as i64;
            match self.crop_rounding {
                CropRounding::Floor => margin.div_euclid(2),
                // Frames are split evenly, the odd row after; margins are halved to even.
                CropRounding::RoundHalfEven if margin < 0 => -(-margin / 2),
                CropRounding::RoundHalfEven => margin / 2 + i64::from(margin % 4 == 3),
            }
        };
        let (top, left) = (before(image.h, h), before(image.w, w));
        let mut data = vec![0; h * w * image.c];
        for (y, row) in data.chunks_exact_mut(w * image.c).enumerate() {
            let Ok(from) = usize::try_from(y as i64 + top) else { continue };
            if from >= image.h {
                continue;
            }
            for (x, pixel) in row.chunks_exact_mut(image.c).enumerate() {
                let Ok(column) = usize::try_from(x as i64 + left) else { continue };
                if column < image.w {
                    pixel.copy_from_slice(&image.data[(from * image.w + column) * image.c..][..image.c]);
                }
            }
        }
        Pixels { h, w, c: image.c, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> Result<Preprocess> {
        Preprocess::from_table("t", &text.parse().unwrap())
    }

    const PLAIN: &str = "channels = 1\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]\n";

    fn grey(h: usize, w: usize) -> Pixels {
        Pixels { h, w, c: 1, data: (0..h * w).map(|v| v as u8).collect() }
    }

    #[test]
    fn crops_round_as_their_makers_do() {
        for (rounding, want) in [("floor", 1.0), ("round_half_even", 2.0)] {
            let text = format!("{PLAIN}crop = [2, 2]\ncrop_rounding = \"{rounding}\"");
            let values = card(&text).unwrap().apply("x", grey(2, 5)).unwrap();
            assert_eq!((values[0] * 255.0).round(), want, "{rounding}");
        }
    }

    #[test]
    fn small_images_are_framed_by_their_makers_rule() {
        for (rounding, want) in [("floor", [0.0, 0.0, 0.0, 7.0]), ("round_half_even", [7.0, 0.0, 0.0, 0.0])] {
            let text = format!("{PLAIN}crop = [2, 2]\ncrop_rounding = \"{rounding}\"");
            let image = Pixels { h: 1, w: 1, c: 1, data: vec![7] };
            let values = card(&text).unwrap().apply("x", image).unwrap();
            assert_eq!(values.iter().map(|v| (v * 255.0).round()).collect::<Vec<_>>(), want, "{rounding}");
        }
    }

    #[test]
    fn channels_are_ordered_before_they_are_normalised() {
        let text =
            "channels = 3\nsize = [1, 1]\nmean = [0.0, 0.0, 0.0]\nstd = [1.0, 2.0, 4.0]\nchannel_order = \"bgr\"";
        let image = Pixels { h: 1, w: 1, c: 3, data: vec![255, 102, 51] };
        assert_eq!(card(text).unwrap().apply("x", image).unwrap(), [0.2, 0.2, 0.25]);
    }

    #[test]
    fn wrong_fields_are_errors_that_name_the_card() {
        for (text, word) in [
            ("colour = 3", "colour"),
            ("channels = 2\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]", "channels"),
            ("channels = 1\nsize = [2, 2]\nmean = [0.0]\nstd = [0.0]", "std"),
            ("channels = 1\nsize = [0, 2]\nmean = [0.0]\nstd = [1.0]", "sizes"),
            ("channels = 3\nsize = [2, 2]\nmean = [0.0]\nstd = [1.0]", "one value a channel"),
        ] {
            let error = card(text).unwrap_err().to_string();
            assert!(error.starts_with("card t: [input]") && error.contains(word), "{error}");
        }
        assert!(
            card(PLAIN).unwrap().apply("pic.png", grey(3, 2)).unwrap_err().to_string().starts_with("pic.png: is 3x2")
        );
    }

    #[test]
    fn makers_configurations_are_read() {
        let config = serde_json::json!({
            "image_processor_type": "ConvNextImageProcessor", "do_resize": true, "size": {"shortest_edge": 224},
            "crop_pct": 0.875, "resample": 3, "do_normalize": true, "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        });
        let read = Preprocess::from_transformers("p.json", &config).unwrap();
        assert!(
            read.describe().starts_with("shortest edge 256 bicubic, center crop 224x224, RGB"),
            "{}",
            read.describe()
        );
        let config = serde_json::json!({
            "do_resize": true, "size": {"shortest_edge": 256}, "do_center_crop": true, "crop_size": {"height": 224, "width": 224},
            "resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255.0, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        });
        let read = Preprocess::from_transformers("p.json", &config).unwrap();
        assert!(read.describe().starts_with("shortest edge 256 bilinear, center crop 224x224"), "{}", read.describe());
        let config = serde_json::json!({
            "input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        });
        let read = Preprocess::from_timm("c.json", &config).unwrap();
        assert!(read.describe().starts_with("shortest edge 235 bicubic, center crop 224x224"), "{}", read.describe());
        assert!(
            Preprocess::from_timm("c.json", &serde_json::json!({})).unwrap_err().to_string().contains("input_size")
        );
    }
}
