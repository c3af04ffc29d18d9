//! The formats of both operands: one for each, and the scales of the weights.

use std::fmt;
use std::str::FromStr;

use super::NumberFormat;
use crate::Error;

/// How many scales the weights of a layer have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightScale {
    /// One.
    Tensor,
    /// One for each filter: for each output channel, each row of the stacked matrix of a recurrent layer.
    Filter,
}

impl WeightScale {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tensor, Self::Filter];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Filter => "filter",
        }
    }
}

/// The number formats of activations and of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// Of the operand that enters.
    pub activations: NumberFormat,
    /// Of the operand that stays.
    pub weights: NumberFormat,
    /// The scales of the weights, if their format has any.
    weight_scale: Option<WeightScale>,
}

impl Default for Formats {
    fn default() -> Self {
        NumberFormat::default().into()
    }
}

impl From<NumberFormat> for Formats {
    fn from(format: NumberFormat) -> Self {
        Self::new(format, format)
    }
}

impl Formats {
    /// These, with as many scales of weights as their format has by default: one a filter of int8, else one a tensor.
    pub fn new(activations: NumberFormat, weights: NumberFormat) -> Self {
        Self { activations, weights, weight_scale: weights.weight_scale() }
    }

    /// The same with other scales of weights.
    ///
    /// # Errors
    /// [`Error::Invalid`] for weights in a format that has no scale to choose.
    pub fn with_weight_scale(self, scale: WeightScale) -> Result<Self, Error> {
        match self.weight_scale {
            Some(_) => Ok(Self { weight_scale: Some(scale), ..self }),
            None => {
                let detail =
                    format!("is of weights in int8 or fixed point, and {} has no scale to choose", self.weights);
                Err(Error::invalid(format!("--weight-scale {}", scale.name()), detail))
            }
        }
    }

    /// The scales of the weights, if their format has any.
    pub fn weight_scale(self) -> Option<WeightScale> {
        self.weight_scale
    }

    /// Both, activations first.
    pub fn both(self) -> [NumberFormat; 2] {
        [self.activations, self.weights]
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.activations == self.weights {
            true => self.weights.fmt(f),
            false => write!(f, "a:{},w:{}", self.activations, self.weights),
        }
    }
}

impl FromStr for Formats {
    type Err = Error;

    /// `FORMAT`, or `a:FORMAT,w:FORMAT` in either order.
    fn from_str(text: &str) -> Result<Self, Error> {
        if !text.contains([':', ',']) {
            return Ok(text.parse::<NumberFormat>()?.into());
        }
        let wrong =
            || Error::invalid(format!("number format {text}"), "give one, or one for each operand: a:int8,w:fixed4");
        let (first, second) = text.split_once(',').ok_or_else(wrong)?;
        let of = |letter: &str| [first, second].into_iter().find_map(|part| part.strip_prefix(letter));
        let (Some(activations), Some(weights)) = (of("a:"), of("w:")) else { return Err(wrong()) };
        Ok(Self::new(activations.parse()?, weights.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_operands_parse_and_print() {
        let formats: Formats = "a:int8,w:fixed4".parse().unwrap();
        assert_eq!(formats.both(), [NumberFormat::Int8, NumberFormat::Fixed(4)]);
        assert_eq!("w:fixed4,a:int8".parse::<Formats>().unwrap(), formats);
        for text in ["a:int8,w:fixed4", "a:bf16,w:e4m3", "a:stored,w:int8", "fixed9", "fp16"] {
            assert_eq!(text.parse::<Formats>().unwrap().to_string(), text);
        }
        assert_eq!("a:int8,w:int8".parse::<Formats>().unwrap().to_string(), "int8");
        for (text, named) in [("a:int8,w:int4", "int4"), ("a:half,w:int8", "half"), ("float", "float")] {
            let message = text.parse::<Formats>().unwrap_err().to_string();
            assert!(
                message.contains(&format!("format {named}:")) && message.contains("fixed2 to fixed16"),
                "{message}"
            );
        }
        for text in ["a:int8", "a:int8,a:int8", "int8,w:int8", "a:int8,w:int8,w:int8", "a:int8;w:int8", ",", ":"] {
            let message = text.parse::<Formats>().unwrap_err().to_string();
            assert!(message.contains("number format"), "{text}: {message}");
        }
    }

    #[test]
    fn weights_have_scales_where_their_format_has() {
        let scale = |text: &str| text.parse::<Formats>().unwrap().weight_scale();
        assert_eq!(scale("int8"), Some(WeightScale::Filter));
        assert_eq!(scale("a:int8,w:fixed4"), Some(WeightScale::Tensor));
        assert_eq!(["bf16", "stored", "a:int8,w:e5m2"].map(scale), [None; 3]);
        for chosen in WeightScale::ALL {
            let formats = "a:bf16,w:fixed4".parse::<Formats>().unwrap().with_weight_scale(chosen).unwrap();
            assert_eq!(formats.weight_scale(), Some(chosen));
        }
        let error = "a:int8,w:bf16".parse::<Formats>().unwrap().with_weight_scale(WeightScale::Filter).unwrap_err();
        assert!(error.to_string().contains("bf16 has no scale"), "{error}");
    }
}
