//! Every number of `deadweight/measure/1` is found unchanged in `/2`: stored documents of the built-in models here, and of real
//! weights where the assets are.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::binary;

/// What the first version printed for `name`.
fn stored(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/reference/measure1/{name}.json.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What this version prints for `args`.
fn measured(args: &[&str]) -> Value {
    let output = binary::deadweight()
        .arg("measure")
        .args(args)
        .args(["--statistics", "full", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares numbers, and collects what differs.
#[derive(Default)]
struct Comparison {
    compared: usize,
    wrong: Vec<String>,
    /// Whether a baseline of the layer, or of one before it, changed: that of stored codes on both sides of their zero point,
    /// which have a sign now (METRICS section 2). What is made of it is another number then.
    rebased: bool,
    /// Whether the network reads sequences.
    recurrent: bool,
}

/// Bits of the largest magnitude on either side of the zero point, and one for the sign.
fn baseline(zero_point: i64, signed: bool) -> u32 {
    let (low, high) = if signed { (-128 - zero_point, 127 - zero_point) } else { (-zero_point, 255 - zero_point) };
    64 - low.unsigned_abs().max(high.unsigned_abs()).leading_zeros() + u32::from(low < 0)
}

impl Comparison {
    /// `old` is `new`; integers that a double cannot hold are strings now, and counts that are ratios' numerators may be floats.
    fn same(&mut self, place: &str, old: &Value, new: &Value) {
        self.compared += 1;
        let as_number = |value: &Value| match value {
            Value::String(text) => text.parse::<u128>().ok().map(|number| number as f64),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            other => other.as_f64(),
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let equal = text(old) == text(new) || (as_number(old).is_some() && as_number(old) == as_number(new));
        if !equal {
            self.wrong.push(format!("{place}: {old} is now {new}"));
        }
    }

    /// A ratio of the first version: `share` of `count` over `total`.
    fn ratio(&mut self, place: &str, (count, total, share): (&Value, Option<&Value>, Option<&Value>), new: &Value) {
        self.same(&format!("{place}.numerator"), count, &new["numerator"]);
        if let Some(total) = total {
            self.same(&format!("{place}.denominator"), total, &new["denominator"]);
        }
        if let Some(share) = share {
            self.same(&format!("{place}.value"), share, &new["value"]);
        }
    }

    fn macs(&mut self, place: &str, old: &Value, new: &Value) {
        for (class, count) in old.as_object().unwrap() {
            let place = format!("{place}.macs.{class}");
            match class.as_str() {
                "dense" => self.same(&place, count, &new["macs"]["value"]),
                class => {
                    self.ratio(
                        &place,
                        (count, Some(&old["dense"]), None),
                        &new[&format!("macs.{class}")]["with_padding"],
                    );
                }
            }
        }
    }

    fn potentials(&mut self, place: &str, old: &Value, new: &Value) {
        if self.rebased {
            return;
        }
        for (name, modes) in old.as_object().unwrap() {
            for mode in ["with_padding", "without_padding"] {
                let (old, new) = (&modes[mode], &new[&format!("potential.{name}")][mode]);
                let place = format!("{place}.{name}.{mode}");
                self.same(&format!("{place}.baseline"), &old["baseline"], &new["numerator"]);
                self.same(&format!("{place}.work"), &old["work"], &new["denominator"]);
                self.same(&format!("{place}.potential"), &old["potential"], &new["value"]);
            }
        }
    }

    fn operand(&mut self, place: &str, old: &Value, new: &Value) {
        let elements = Some(&old["elements"]);
        for (name, value) in old.as_object().unwrap() {
            let place = format!("{place}.{name}");
            let number = |new_name: &str| &new[new_name]["value"];
            match name.as_str() {
                "bits"
                    if old.get("raw").is_some_and(|raw| !raw["zero_point"].is_null())
                        && number("bits").as_f64() != value.as_f64() =>
                {
                    let zero_point = old["raw"]["zero_point"].as_i64().unwrap();
                    // Codes of activations are bytes, from 0 or from -128.
                    let either = [false, true].map(|signed| Some(f64::from(baseline(zero_point, signed))));
                    assert!(either.contains(&number("bits").as_f64()), "{place}: {:?} of {zero_point}", number("bits"));
                    self.rebased = true;
                }
                "bits" if self.rebased => {}
                "elements" | "bits" | "signed" | "scale" | "min" | "max" | "mean" | "std" | "entropy" => {
                    self.same(&place, value, number(name));
                }
                "zeros" => self.ratio(&place, (value, elements, Some(&old["zero_share"])), &new["zeros"]),
                "zeros_natural" => self.ratio(&place, (value, elements, None), &new["zeros.natural"]),
                "zeros_rounded" => self.ratio(&place, (value, elements, None), &new["zeros.rounded"]),
                "negative" | "saturated" => self.ratio(&place, (value, elements, None), &new[name]),
                "layer_width" => self.same(&place, value, number("width.layer")),
                "width_histogram" => self.same(&place, value, &new["width.histogram"]["counts"]),
                // Where codes were not counted there was no mean width.
                "mean_width" if value.is_null() => {}
                "mean_width" => self.same(&place, value, number("width")),
                "dead_channels" => self.same(&place, value, &new["dead"]["numerator"]),
                "channel_nonzeros" => self.same(&place, value, &new["channel_nonzeros"]["counts"]),
                "zero_share" => {}
                "zero_bits_sign_magnitude" | "zero_bits_twos_complement" if self.rebased => {}
                "zero_bits_sign_magnitude" | "zero_bits_twos_complement" => {
                    let new_name = if name.ends_with("magnitude") { "zero_bits" } else { "zero_bits.tc" };
                    self.ratio(&place, (&value["count"], Some(&value["total"]), Some(&value["share"])), &new[new_name]);
                }
                "groups" => {
                    for (size, group) in value.as_object().unwrap() {
                        let place = format!("{place}.{size}");
                        let (mean, histogram) = (format!("width.{size}"), format!("width.{size}.histogram"));
                        self.same(&place, &group["groups"], &new[&mean]["denominator"]);
                        self.same(&place, &group["mean_width"], &new[&mean]["value"]);
                        self.same(&place, &group["histogram"], &new[&histogram]["counts"]);
                    }
                }
                "terms" => {
                    for (encoder, term) in value.as_object().unwrap() {
                        let place = format!("{place}.{encoder}");
                        let all = format!("terms.{encoder}");
                        self.ratio(&place, (&term["terms"], elements, Some(&term["per_value"])), &new[&all]);
                        let nonzero = &new[&format!("{all}.nonzero")]["value"];
                        self.same(&format!("{place}.nonzero"), &term["per_nonzero"], nonzero);
                    }
                }
                "raw" => {
                    self.same(&place, &value["zero_point"], number("zero_point"));
                    for (old_name, new_name) in [("zeros", "raw.zeros"), ("zero_bits", "raw.zero_bits")] {
                        let share = &value[old_name];
                        let parts = (&share["count"], Some(&share["total"]), Some(&share["share"]));
                        self.ratio(&format!("{place}.{old_name}"), parts, &new[new_name]);
                    }
                }
                other => panic!("{place}: {other} is not compared"),
            }
        }
    }

    fn temporal(&mut self, place: &str, old: &Value, new: &Value) {
        let parts = |count: &str, share: &str| (&old[count], Some(&old["compared"]), Some(&old[share]));
        // Of the first version's objects, fields are named here, so that none is forgotten.
        assert_eq!(old.as_object().unwrap().len(), 5, "{place}");
        let (equal, terms) = (parts("equal", "equal_share"), parts("change_terms", "change_terms_per_value"));
        self.ratio(place, equal, &new["temporal"]);
        self.ratio(place, terms, &new["temporal.terms"]);
    }

    fn layer(&mut self, old: &Value, new: &Value) {
        let place = old["name"].as_str().unwrap();
        self.same(place, &old["name"], &new["name"]);
        self.same(place, &old["kind"], &new["kind"]);
        for extents in ["input", "output", "weight"] {
            self.extents(&format!("{place}.{extents}"), &old["shape"][extents], &new["shape"][extents]);
        }
        for attribute in ["stride", "padding", "dilation", "groups"] {
            self.same(&format!("{place}.{attribute}"), &old[attribute], &new["shape"][attribute]);
        }
        self.macs(place, &old["macs"], &new["metrics"]);
        self.operand(&format!("{place}.a"), &old["activations"], &new["activations"]);
        self.operand(&format!("{place}.w"), &old["weights"], &new["weights"]);
        self.potentials(place, &old["potentials"], &new["metrics"]);
        let Some(recurrent) = old.get("recurrent") else { return };
        self.temporal(place, &recurrent["temporal"], &new["metrics"]);
        for (old, new) in recurrent["gates"].as_array().unwrap().iter().zip(new["gates"].as_array().unwrap()) {
            let place = format!("{place}[{}]", old["gate"]);
            self.same(&place, &old["gate"], &new["gate"]);
            self.macs(&place, &old["macs"], &new["metrics"]);
            self.potentials(&place, &old["potentials"], &new["metrics"]);
            self.operand(&place, &old["weights"], &new["weights"]);
        }
        for (old, new) in recurrent["steps"].as_array().unwrap().iter().zip(new["steps"].as_array().unwrap()) {
            let place = format!("{place} from step {}", old["first"]);
            let activations = &new["activations"];
            self.same(&place, &old["first"], &new["first"]);
            self.same(&place, &old["steps"], &new["metrics"]["steps"]["value"]);
            self.same(&place, &old["values"], &activations["elements"]["value"]);
            let zeros = (&old["zeros"], Some(&old["values"]), Some(&old["zero_share"]));
            self.ratio(&place, zeros, &activations["zeros"]);
            let terms = (&old["terms"], Some(&old["values"]), Some(&old["terms_per_value"]));
            self.ratio(&place, terms, &activations["terms"]);
            self.temporal(&place, &old["temporal"], &new["metrics"]);
        }
    }

    /// How good the answers were: counts of the first version are numerators, and their totals denominators.
    fn quality(&mut self, old: &Value, new: &Value) {
        let Some(fields) = old.as_object() else { return self.same("quality", old, new) };
        for (name, value) in fields {
            let place = format!("quality.{name}");
            let of = |total: &str| (value, Some(&old[total]), None);
            match name.as_str() {
                "top1" | "top5" => self.ratio(&place, of("labelled"), &new[name]),
                "correct" if !old["tokens"].is_null() => self.ratio(&place, of("tokens"), &new["accuracy"]),
                "correct" => self.ratio(&place, of("pixels"), &new["accuracy"]),
                "classes" => {
                    for (old, new) in value.as_array().unwrap().iter().zip(new["classes"].as_array().unwrap()) {
                        ["class", "name"].into_iter().for_each(|field| self.same(&place, &old[field], &new[field]));
                        let parts = (&old["intersection"], Some(&old["union"]), Some(&old["iou"]));
                        self.ratio(&place, parts, &new["iou"]);
                    }
                }
                _ => self.same(&place, value, &new[name]),
            }
        }
    }

    /// Extents of what reads sequences step by step are of a step now; the first version had those of a segment, or none.
    fn extents(&mut self, place: &str, old: &Value, new: &Value) {
        let steps = |extents: &Value| extents.as_array().filter(|extents| extents.len() == 3).map(|all| all[2].clone());
        let mut old = old.clone();
        if self.recurrent && steps(new) == Some(1.into()) && steps(&old) != Some(1.into()) {
            old[2] = 1.into();
        }
        self.same(place, &old, new);
    }

    /// A whole document.
    fn document(&mut self, old: &Value, new: &Value) {
        self.quality(&old["data"]["quality"], &new["data"]["quality"]);
        for field in ["inputs", "inputs_sha256", "skipped", "preprocessing"] {
            self.same(
                field,
                old["data"].get(field).unwrap_or(&Value::Null),
                new["data"].get(field).unwrap_or(&Value::Null),
            );
        }
        for field in ["name", "task", "parameters", "folded", "licence", "naming"] {
            self.same(field, &old["model"][field], &new["model"][field]);
        }
        // Files lie in other folders on other machines.
        let name = |document: &Value| {
            document["model"]["source"].as_str().map(|path| Path::new(path).file_name().unwrap().to_owned())
        };
        assert_eq!(name(old), name(new));
        for field in ["name", "encoder", "min_one", "calibration_inputs"] {
            self.same(field, &old["format"][field], &new["format"][field]);
        }
        let layers = [old, new].map(|document| document["layers"].as_array().unwrap());
        assert_eq!(layers[0].len(), layers[1].len());
        self.recurrent = layers[0].iter().any(|layer| layer.get("recurrent").is_some());
        let mut rebased = false;
        for (old, new) in layers[0].iter().zip(layers[1]) {
            self.rebased = false;
            self.layer(old, new);
            rebased |= self.rebased;
        }
        self.rebased = rebased;
        let (old, new) = (&old["network"], &new["network"]);
        self.macs("network", &old["macs"], &new["metrics"]);
        self.potentials("network", &old["potentials"], &new["metrics"]);
        self.operand("network.a", &old["activations"], &new["activations"]);
        self.operand("network.w", &old["weights"], &new["weights"]);
    }
}

/// Compares what was stored as `name` with what `args` give.
pub fn compare(name: &str, args: &[&str]) {
    let mut comparison = Comparison::default();
    comparison.document(&stored(name), &measured(args));
    let Comparison { compared, wrong, .. } = comparison;
    assert!(
        wrong.is_empty(),
        "{name}: {} of {compared} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    assert!(compared > 1000, "{name}: only {compared} numbers");
}

#[test]
fn the_built_in_models_numbers_are_those_of_the_first_version() {
    for name in ["digits", "scenes", "photos", "verses"] {
        compare(name, &[name]);
    }
    compare("digits-int8", &["digits", "--quantize", "int8"]);
}
