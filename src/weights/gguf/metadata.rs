//! The metadata of a GGUF file, by type.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;

use crate::{Error, Result};

/// Metadata by key.
#[derive(Clone, Debug)]
pub struct Metadata {
    pub(super) file: String,
    pub(super) values: HashMap<String, Value>,
    /// Factors that divide the frequencies of rotary embedding (`rope_freqs.weight`), if the file has any.
    pub rope_factors: Option<Vec<f32>>,
}

impl Metadata {
    /// An error about `key`.
    pub fn wrong(&self, key: &str, detail: impl Into<String>) -> Error {
        Error::malformed(format!("{}: {key}", self.file), detail)
    }

    /// The file, as in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn get<'a, T>(&'a self, key: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, format!("is no {what}")))
    }

    /// The text of `key`, if there is any.
    ///
    /// # Errors
    /// Here as below: [`Error::Malformed`] naming the key if its value is of another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.get(key, "text", |value| value.to_string().ok().map(String::as_str))
    }

    /// The count of `key`: an integer that is not negative, and fits 32 bits.
    ///
    /// # Errors
    /// As [`Metadata::text`].
    pub fn count(&self, key: &str) -> Result<Option<u32>> {
        self.get(key, "count", count)
    }

    /// The number of `key`.
    ///
    /// # Errors
    /// As [`Metadata::text`].
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "number", number)
    }

    /// Whether `key` is true.
    ///
    /// # Errors
    /// As [`Metadata::text`].
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "flag", |value| value.to_bool().ok())
    }

    /// The texts of `key`.
    ///
    /// # Errors
    /// As [`Metadata::text`].
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        let text = |value: &Value| value.to_string().ok().cloned();
        self.get(key, "list of texts", |value| value.to_vec().ok()?.iter().map(text).collect())
    }

    /// The numbers of `key`.
    ///
    /// # Errors
    /// As [`Metadata::text`].
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.get(key, "list of numbers", |value| value.to_vec().ok()?.iter().map(number).collect())
    }
}

fn count(value: &Value) -> Option<u32> {
    let signed = match *value {
        Value::I8(value) => i64::from(value),
        Value::I16(value) => i64::from(value),
        Value::I32(value) => i64::from(value),
        Value::I64(value) => value,
        Value::U8(_) | Value::U16(_) | Value::U32(_) | Value::U64(_) => return value.to_u64().ok()?.try_into().ok(),
        _ => return None,
    };
    signed.try_into().ok()
}

fn number(value: &Value) -> Option<f64> {
    let number = match *value {
        Value::F32(value) => f64::from(value),
        Value::F64(value) => value,
        Value::I8(value) => value.into(),
        Value::I16(value) => value.into(),
        Value::I32(value) => value.into(),
        _ => count(value)?.into(),
    };
    number.is_finite().then_some(number)
}
