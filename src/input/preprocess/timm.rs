//! Preprocessing from timm's `pretrained_cfg`, by the rules of `timm.data.create_transform` for evaluation.

use serde_json::Value;

use super::{CropRounding, InputKind, Preprocess, Resize};
use crate::input::resize::Interpolation;
use crate::{Error, Result};

impl Preprocess {
    /// Parses timm's `pretrained_cfg`, the inner table of its `config.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming `file` and the field, [`Error::Unsupported`] for an unknown interpolation or crop mode.
    pub fn from_timm(file: &str, config: &Value) -> Result<Self> {
        let wrong = |name: &str| Error::malformed(file, format!("pretrained_cfg.{name} is missing or not understood"));
        let stated = |name: &str| config.get(name).filter(|value| !value.is_null());
        let list = |name: &str| -> Result<Vec<f64>> {
            let values = stated(name).and_then(Value::as_array).ok_or_else(|| wrong(name))?;
            values.iter().map(|v| v.as_f64().ok_or_else(|| wrong(name))).collect()
        };
        let word = |name: &str, default: &'static str| match stated(name) {
            None => Ok(default.to_owned()),
            Some(word) => word.as_str().map(str::to_owned).ok_or_else(|| wrong(name)),
        };
        let input = stated("input_size").and_then(Value::as_array).ok_or_else(|| wrong("input_size"))?;
        let input: Option<Vec<usize>> = input.iter().map(|v| v.as_u64().and_then(|v| v.try_into().ok())).collect();
        let Some(&[channels, h, w]) = input.as_deref() else { return Err(wrong("input_size")) };
        let share = match stated("crop_pct") {
            None => 0.875,
            Some(share) => share.as_f64().filter(|share| *share > 0.0).ok_or_else(|| wrong("crop_pct"))?,
        };
        let interpolation = match word("interpolation", "bicubic")?.as_str() {
            "bicubic" => Interpolation::Bicubic,
            "bilinear" => Interpolation::Bilinear,
            "lanczos" => Interpolation::Lanczos,
            other => {
                let what = format!("{file}: pretrained_cfg.interpolation {other}");
                return Err(Error::unsupported(what, "known are bicubic, bilinear, lanczos"));
            }
        };
        // A single value is for all channels.
        let levels = |name: &str| {
            let values = stated(name).and_then(Value::as_f64).map_or_else(|| list(name), |value| Ok(vec![value]))?;
            Ok(if let [value] = values[..] { vec![value; channels.min(3)] } else { values })
        };
        let (mean, std): (Vec<f64>, Vec<f64>) = (levels("mean")?, levels("std")?);
        let scaled = [h, w].map(|side| (side as f64 / share).floor() as usize);
        let mut fill = vec![];
        let resize = match word("crop_mode", "center")?.as_str() {
            "squash" => Resize::Exact(scaled),
            "border" => {
                fill = mean.iter().map(|level| (255.0 * level).round_ties_even() as u8).collect();
                Resize::Within(scaled)
            }
            "center" if scaled[0] == scaled[1] => Resize::ShortestEdge(scaled[0]),
            "center" => Resize::Cover(scaled),
            other => {
                let what = format!("{file}: pretrained_cfg.crop_mode {other}");
                return Err(Error::unsupported(what, "known are center, squash, border"));
            }
        };
        let read = Self {
            kind: InputKind::Images,
            channels,
            size: [h, w],
            any_size: false,
            resize: Some(resize),
            crop: Some([h, w]),
            crop_rounding: CropRounding::RoundHalfEven,
            fill,
            interpolation,
            mean,
            std,
            ..Self::numbers(1)
        };
        read.check(file)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::hex::hex;
    use crate::input::decode::Pixels;

    fn with(changes: Value) -> Value {
        let mut config = json!({
            "input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        });
        changes.as_object().unwrap().iter().for_each(|(field, value)| config[field] = value.clone());
        config
    }

    #[test]
    fn every_field_is_obeyed() {
        let rgb = "RGB, (x/255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]";
        for (changes, want) in [
            (json!({}), "shortest edge 235 bicubic, center crop 224x224"),
            (json!({"crop_pct": null, "interpolation": null}), "shortest edge 256 bicubic, center crop 224x224"),
            (json!({"crop_mode": "squash", "crop_pct": 1.0}), "resize 224x224 bicubic, center crop 224x224"),
            (json!({"crop_mode": "squash"}), "resize 235x235 bicubic, center crop 224x224"),
            (json!({"crop_mode": "border"}), "within 235x235 bicubic, center crop 224x224 on [124, 116, 104]"),
            (json!({"input_size": [3, 160, 256]}), "cover 168x269 bicubic, center crop 160x256"),
            // Sizes that are equal after scaling count as a square.
            (json!({"input_size": [3, 19, 18], "crop_pct": 10.0}), "shortest edge 1 bicubic, center crop 19x18"),
            (json!({"interpolation": "lanczos"}), "shortest edge 235 lanczos, center crop 224x224"),
        ] {
            let read = Preprocess::from_timm("c.json", &with(changes.clone())).unwrap();
            assert_eq!(read.describe(), format!("{want}, {rgb}"), "{changes}");
        }
        let grey = with(json!({"input_size": [1, 28, 28], "mean": [0.5], "std": [0.25], "crop_mode": "border"}));
        let read = Preprocess::from_timm("c.json", &grey).unwrap();
        assert!(read.describe().ends_with("center crop 28x28 on [128], grey, (x/255 - [0.5]) / [0.25]"));
        let alike = Preprocess::from_timm("c.json", &with(json!({"mean": [0.5], "std": 0.5}))).unwrap();
        assert!(alike.describe().ends_with("RGB, (x/255 - [0.5, 0.5, 0.5]) / [0.5, 0.5, 0.5]"));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        for (changes, code, want) in [
            (json!({"input_size": null}), 1, "input_size"),
            (json!({"input_size": [3, 224]}), 1, "input_size"),
            (json!({"input_size": [3, 224.5, 224]}), 1, "input_size"),
            (json!({"input_size": [4, 224, 224]}), 1, "channels must be 1 or 3"),
            (json!({"input_size": [1, 224, 224]}), 1, "one value per channel"),
            (json!({"mean": null}), 1, "mean"),
            (json!({"crop_pct": 0}), 1, "crop_pct"),
            (json!({"crop_pct": "all"}), 1, "crop_pct"),
            (json!({"crop_mode": 3}), 1, "crop_mode"),
            (json!({"crop_mode": "mirror"}), 4, "crop_mode mirror is not supported"),
            (json!({"interpolation": "random"}), 4, "interpolation random is not supported"),
            (json!({"interpolation": "nearest"}), 4, "interpolation nearest is not supported"),
        ] {
            let error = Preprocess::from_timm("c.json", &with(changes.clone())).unwrap_err();
            assert!(error.to_string().contains(want) && error.exit_code() == code, "{changes}: {error}");
        }
    }

    #[derive(serde::Deserialize)]
    struct Case {
        picture: [usize; 2],
        config: Value,
        sha256: String,
    }

    /// The picture that the reference script makes.
    fn picture(h: usize, w: usize, c: usize) -> Pixels {
        let level = |i: usize| {
            let (y, x, k) = (i / (w * c), i / c % w, i % c);
            ((11 * x * x + 37 * y + 5 * x * y + 90 * k) / 16 % 256) as u8
        };
        Pixels { h, w, c, data: (0..h * w * c).map(level).collect() }
    }

    #[test]
    fn equals_timm_pixel_for_pixel() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/reference/timm.json")).unwrap();
        assert_eq!(cases.len(), 90);
        let differs = |case: &&Case| {
            let mut config = case.config.clone();
            config["std"] = config["mean"].clone();
            let read = Preprocess::from_timm("c.json", &config).unwrap();
            // Pixel levels, without the normalisation.
            let c = read.channels;
            let plain = Preprocess { mean: vec![0.0; c], std: vec![1.0; c], ..read };
            let [h, w] = case.picture;
            let input = plain.apply("picture", picture(h, w, c)).unwrap();
            let pixels = plain.pixels(&input.values, [input.shape[1], input.shape[2]]);
            let digest = hex(Sha256::digest(&pixels.data));
            !digest.starts_with(&case.sha256) || case.sha256.len() != 16
        };
        let wrong: Vec<_> = cases.iter().filter(differs).map(|case| (case.picture, &case.config)).collect();
        assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), cases.len());
    }
}
