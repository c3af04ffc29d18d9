//! Precision files: how many bits each operand of each layer has (METRICS section 2, `profile`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Coding;
use crate::kernels::FloatType;
use crate::kernels::count::CodeMap;
use crate::{Error, Result};

/// Bits of one operand of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Fixed point: multiples of `2^-fraction` that fit `integer + fraction` bits, sign included.
    Fixed {
        /// Bits before the point, the sign among them; negative where all values are small.
        integer: i32,
        /// Bits behind it; negative where all values are large.
        fraction: i32,
    },
    /// Values rounded to so many bits of significand, the hidden one among them, with the exponents of f32.
    Float {
        /// The bits.
        significand: u32,
    },
}

impl Precision {
    /// Fewest and most bits of fixed point.
    pub const FIXED: [u32; 2] = [2, 16];
    /// Fewest and most bits of a significand.
    pub const FLOAT: [u32; 2] = [1, FloatType::MOST_SIGNIFICAND];
    /// Fraction bits whose scales are normal floats.
    const FRACTION: std::ops::RangeInclusive<i32> = -126..=126;

    /// Bits of a code: integer and fraction bits, or those of the significand.
    pub fn bits(self) -> u32 {
        match self {
            Self::Fixed { integer, fraction } => integer.saturating_add(fraction).max(0) as u32,
            Self::Float { significand } => significand,
        }
    }

    /// Whether it is one of floating point.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float { .. })
    }

    /// Why it is none, if it is none.
    fn problem(self) -> Option<String> {
        let bits = self.bits();
        match self {
            Self::Fixed { fraction, .. } if !Self::FRACTION.contains(&fraction) => {
                Some(format!("has {fraction} fraction bits, may have -126 to 126"))
            }
            Self::Fixed { .. } if !(Self::FIXED[0]..=Self::FIXED[1]).contains(&bits) => Some(format!(
                "has {bits} bits, integer and fraction together, may have {} to {}",
                Self::FIXED[0],
                Self::FIXED[1]
            )),
            Self::Float { .. } if !(Self::FLOAT[0]..=Self::FLOAT[1]).contains(&bits) => {
                Some(format!("has a significand of {bits} bits, may have {} to {}", Self::FLOAT[0], Self::FLOAT[1]))
            }
            _ => None,
        }
    }

    /// The precision with one bit less (of fixed point behind the point), if there is one.
    pub fn less(self) -> Option<Self> {
        let less = match self {
            Self::Fixed { integer, fraction } => Self::Fixed { integer, fraction: fraction - 1 },
            Self::Float { significand } => Self::Float { significand: significand - 1 },
        };
        less.problem().is_none().then_some(less)
    }

    /// The codes of values.
    ///
    /// # Panics
    /// For bits that a file may not state.
    pub fn map(self) -> CodeMap {
        match self {
            Self::Fixed { fraction, .. } => {
                let hi = (1 << (self.bits() - 1)) - 1;
                CodeMap::linear(2f64.powi(fraction) as f32, -hi, hi)
            }
            Self::Float { significand } => CodeMap::float(1.0, FloatType::of_significand(significand)),
        }
    }

    /// The numbers of an operand of floats. The baseline B is that of the widest.
    ///
    /// # Panics
    /// As [`Precision::map`].
    pub fn coding(self) -> Coding {
        let [_, baseline] = if matches!(self, Self::Fixed { .. }) { Self::FIXED } else { Self::FLOAT };
        Coding {
            map: self.map(),
            bits: baseline,
            unit: Some(1.0),
            per_filter: false,
            width: Some(self.bits()),
            stored: None,
        }
    }
}

/// The precisions of a network's layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The file's name without directories.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, hex.
    pub sha256: String,
    /// The network's card.
    pub model: String,
    /// SHA-256 of the files of the weights that it was made for, hex; empty where it does not say.
    pub weights: Vec<String>,
    /// By the layer's name: those of activations and of weights.
    pub layers: BTreeMap<String, [Precision; 2]>,
    /// By the layer's name, where they are stated: the losses with one bit less of activations and of weights.
    pub next: BTreeMap<String, [Option<f64>; 2]>,
    /// What else it states, of the search that made it.
    pub search: Option<toml::Table>,
}

/// Bits as files state them.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bits {
    integer: Option<i32>,
    fraction: Option<i32>,
    significand: Option<u32>,
}

impl TryFrom<Bits> for Precision {
    type Error = String;

    fn try_from(bits: Bits) -> Result<Self, String> {
        let precision = match bits {
            Bits { integer: Some(integer), fraction: Some(fraction), significand: None } => {
                Self::Fixed { integer, fraction }
            }
            Bits { integer: None, fraction: None, significand: Some(significand) } => Self::Float { significand },
            _ => return Err("must be { integer = I, fraction = F } or { significand = S }".into()),
        };
        precision.problem().map_or(Ok(precision), Err)
    }
}

/// The text of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    model: String,
    #[serde(default)]
    weights: Vec<String>,
    search: Option<toml::Table>,
    #[serde(default)]
    layers: BTreeMap<String, Layer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    activations: Bits,
    weights: Bits,
    #[serde(default)]
    next: Next,
}

/// The losses that ruled out one bit less.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    activations: Option<f64>,
    weights: Option<f64>,
}

impl Profile {
    /// Whether its precisions are of floating point.
    pub fn is_float(&self) -> bool {
        self.layers.values().any(|[activations, _]| activations.is_float())
    }

    /// Why it is not of the network `model`, the files of whose weights have the SHA-256 `weights`, if it is not. A file that does
    /// not state weights is of any.
    pub fn differs(&self, model: &str, weights: &[&str]) -> Option<String> {
        if self.model != model {
            return Some(format!("is of {}, the network is {model}: give the file that was made for it", self.model));
        }
        let list = |weights: &[&str]| if weights.is_empty() { "of no file".to_owned() } else { weights.join(" ") };
        let own: Vec<&str> = self.weights.iter().map(String::as_str).collect();
        (!own.is_empty() && own != weights).then(|| {
            format!(
                "was made for other weights (SHA-256 {}; the network's: {}): search again, or leave out its line `weights`",
                list(&own),
                list(weights)
            )
        })
    }

    /// Reads `text`, the content of `path`, whose SHA-256 is `sha256`.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the file and the layer.
    pub fn parse(path: &str, text: &str, sha256: String) -> Result<Self> {
        let wrong = |error| Error::toml(path, "is no precision file: ", text, &error);
        let Text { model, weights, search, layers } = toml::from_str(text).map_err(wrong)?;
        if layers.is_empty() {
            return Err(Error::malformed(path, "states no layer: it needs [layers.\"NAME\"] for each"));
        }
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
        let next =
            layers.iter().map(|(name, layer)| (name.clone(), [layer.next.activations, layer.next.weights])).collect();
        let precision = |name: &str, operand: &str, bits: Bits| {
            Precision::try_from(bits)
                .map_err(|problem| Error::malformed(format!("{path}: layers.{name:?}.{operand}"), problem))
        };
        let both = |(name, layer): (String, Layer)| {
            let both =
                [precision(&name, "activations", layer.activations)?, precision(&name, "weights", layer.weights)?];
            Ok((name, both))
        };
        let layers = layers.into_iter().map(both).collect::<Result<_>>()?;
        Ok(Self { file, bytes: text.len() as u64, sha256, model, weights, layers, next, search })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Profile> {
        Profile::parse("some/net.toml", text, String::new())
    }

    #[test]
    fn files_are_read_and_what_is_none_is_named() {
        let text = "model = \"net\"\n[layers.\"a.0\"]\nactivations = { integer = 3, fraction = -1 }\nweights = { significand = 4 }\n";
        let profile = parse(text).unwrap();
        assert_eq!((profile.file.as_str(), profile.model.as_str()), ("net.toml", "net"));
        let [activations, weights] = profile.layers["a.0"];
        assert_eq!([activations.bits(), weights.bits()], [2, 4]);
        for (old, new, want) in [
            ("fraction = -1", "fraction = 14", "has 17 bits"),
            ("fraction = -1", "fraction = -2", "has 1 bits"),
            ("fraction = -1", "fraction = 127", "-126 to 126"),
            ("fraction = -1", "fraction = -1, more = 2", "more"),
            ("significand = 4", "significand = 12", "1 to 11"),
            ("significand = 4", "integer = 4", "must be { integer"),
            ("weights =", "wieghts =", "wieghts"),
            ("model =", "modle =", "modle"),
            ("[layers.\"a.0\"]", "[others]", "others"),
        ] {
            let message = parse(&text.replace(old, new)).unwrap_err().to_string();
            assert!(message.contains(want) && message.contains("net.toml"), "{new}: {message}");
        }
        assert!(parse("model = \"net\"").unwrap_err().to_string().contains("states no layer"));
        assert!(parse("model = ").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn files_are_of_one_network_and_of_the_weights_that_they_state() {
        let text =
            "model = \"net\"\n[layers.\"a\"]\nactivations = { significand = 4 }\nweights = { significand = 4 }\n";
        let any = parse(text).unwrap();
        assert_eq!((any.differs("net", &["12"]), any.differs("net", &[])), (None, None));
        assert!(any.differs("other", &["12"]).unwrap().contains("is of net, the network is other"));
        let one = parse(&format!("weights = [\"12\", \"34\"]\n{text}")).unwrap();
        assert_eq!(one.differs("net", &["12", "34"]), None);
        for weights in [&["12"][..], &["34", "12"], &["12", "35"], &[]] {
            let detail = one.differs("net", weights).unwrap();
            assert!(detail.contains("was made for other weights (SHA-256 12 34;"), "{weights:?}: {detail}");
        }
    }

    #[test]
    fn widths_and_baselines_are_those_of_the_file() {
        let coding = Precision::Fixed { integer: -2, fraction: 8 }.coding();
        assert_eq!((coding.bits, coding.width, coding.map), (16, Some(6), CodeMap::linear(256.0, -31, 31)));
        let coding = Precision::Float { significand: 3 }.coding();
        assert_eq!((coding.bits, coding.width, coding.map.code(1.3)), (11, Some(3), 5));
    }

    proptest! {
        #[test]
        fn codes_are_those_of_the_definition(x in -300f32..300.0, bits in 2u32..17, fraction in -6i32..20) {
            let integer = bits as i32 - fraction;
            let map = Precision::Fixed { integer, fraction }.map();
            let most = 2f64.powi(bits as i32 - 1) - 1.0;
            let want = (f64::from(x) * 2f64.powi(fraction)).round_ties_even().clamp(-most, most);
            prop_assert_eq!(f64::from(map.code(x)), want);
            prop_assert_eq!(f64::from(map.nearest(x)), want * 2f64.powi(-fraction));
        }
    }
}
