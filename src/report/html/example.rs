//! What a network answered to an input: pictures, words, or a text coloured by how much it surprised.

use serde::{Deserialize, Serialize};

/// One input with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The network's name.
    pub network: String,
    /// The input's name.
    pub id: String,
    /// Its pictures, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<ExamplePicture>,
    /// What is said of it, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// A text, token by token, each with the bits by which it surprised, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<(String, Option<f32>)>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExamplePicture {
    /// What it is: `input`, `answer`, `truth`.
    pub is: String,
    /// A file's name in the folder of the list, or the picture itself as a data URL.
    pub picture: String,
}
