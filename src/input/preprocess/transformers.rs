//! Preprocessing from transformers' `preprocessor_config.json`.

use serde_json::Value;

use super::{ChannelOrder, CropRounding, InputKind, Preprocess, Resize};
use crate::input::resize::Interpolation;
use crate::{Error, Result};

impl Preprocess {
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
            // Classifiers' processors have no bound on the longer side.
            let edge = || match value.get("longest_edge") {
                None => Some(Size::Edge(number(value.get("shortest_edge")?)?)),
                Some(_) => None,
            };
            number(value).map(Size::Edge).or_else(edge).or_else(both)
        };
        const STEPS: [&str; 7] = [
            "do_resize",
            "do_center_crop",
            "do_rescale",
            "do_normalize",
            "do_convert_rgb",
            "do_flip_channel_order",
            "do_reduce_labels",
        ];
        let asked = config.as_object().into_iter().flatten().filter(|(_, value)| **value == true);
        if let Some((step, _)) = asked
            .map(|(name, value)| (name.as_str(), value))
            .find(|(name, _)| name.starts_with("do_") && !STEPS.contains(name))
        {
            let hint = format!("known are {}", STEPS.join(", "));
            return Err(Error::unsupported(format!("{file}: {step} true"), hint));
        }
        let mut resized = None;
        let mut crop = None;
        if flag("do_resize", true) {
            resized = Some(size("size").ok_or_else(|| wrong("size"))?);
        }
        let next = config.get("image_processor_type").or_else(|| config.get("feature_extractor_type"));
        let conv_next = next.and_then(Value::as_str).is_some_and(|name| name.starts_with("ConvNext"));
        let resize = match resized {
            // ConvNext's processor resizes to size / crop_pct and crops, below 384; from there on it resizes exactly.
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
        // Ours is (v / 255 - mean) / std: another factor is folded into both.
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
            kind: InputKind::Images,
            channels: mean.len(),
            size,
            any_size: false,
            resize,
            crop,
            crop_rounding: CropRounding::Floor,
            interpolation,
            mean,
            std,
            channel_order: order,
            ..Self::numbers(1)
        };
        read.check(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transformers_configurations_are_read() {
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
        for (field, value, want) in [
            ("do_pad", serde_json::json!(true), "do_pad true"),
            ("size", serde_json::json!({"shortest_edge": 256, "longest_edge": 300}), "size is missing or not"),
        ] {
            let mut other = config.clone();
            other[field] = value;
            let error = Preprocess::from_transformers("p.json", &other).unwrap_err().to_string();
            assert!(error.contains(want), "{field}: {error}");
        }
    }
}
