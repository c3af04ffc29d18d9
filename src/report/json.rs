//! JSON: objects indented, arrays on one line, so that a histogram is a line and a document can be read.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

/// `value` as one JSON document that ends with a newline. Integers of any size stay integers.
pub fn to_json(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Layout::default());
    value.serialize(&mut serializer).expect("documents have string keys and memory takes every byte");
    text.push(b'\n');
    String::from_utf8(text).expect("serde_json writes UTF-8")
}

/// Line breaks in objects only.
#[derive(Default)]
struct Layout {
    depth: usize,
    /// Whether the object that ends has a field.
    filled: bool,
}

impl Layout {
    fn new_line(&self, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        write!(to, "\n{:width$}", "", width = 2 * self.depth)
    }
}

impl Formatter for Layout {
    fn begin_array_value<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        to.write_all(b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.new_line(to)?;
        }
        to.write_all(b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if !first {
            to.write_all(b",")?;
        }
        self.new_line(to)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sample;

    #[test]
    fn arrays_stay_on_a_line_and_objects_do_not() {
        let value = json!({ "a": [1, 2.5, null], "b": {}, "c": [{ "d": "\"" }, { "e": [] }] });
        insta::assert_snapshot!(to_json(&value), @r#"
        {
          "a": [1, 2.5, null],
          "b": {},
          "c": [{
            "d": "\""
          }, {
            "e": []
          }]
        }
        "#);
        assert_eq!(serde_json::from_str::<Value>(&to_json(&value)).unwrap(), value);
    }

    #[test]
    fn the_document_has_the_fields_of_its_schema() {
        let mut document = sample::document();
        let huge = u128::from(u64::MAX) * 1_000_003;
        document.layers[0].potentials.0[0].1.with_padding.baseline = huge;
        let text = to_json(&document);
        assert!(text.contains(&format!("\"baseline\": {huge},")), "{text}");
        assert!(text.ends_with("}\n") && !text.ends_with("\n\n"));

        let text = to_json(&sample::document());
        let value: Value = serde_json::from_str(&text).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(value["schema"], "deadweight/measure/1");
        assert_eq!(keys(&value), "data format layers model network schema tool");
        let layer = &value["layers"][0];
        assert_eq!(keys(layer), "activations dilation groups kind macs name padding potentials shape stride weights");
        assert_eq!(keys(&layer["macs"]), "dense effectual padding zero_activation zero_both zero_weight");
        assert!(layer["macs"]["dense"].is_u64());
        assert_eq!(keys(&layer["potentials"]["A"]), "with_padding without_padding");
        assert_eq!(keys(&layer["potentials"]["A"]["with_padding"]), "baseline potential work");
        assert!(value["layers"][1]["potentials"]["A"]["with_padding"]["potential"].is_null(), "infinite");
        assert_eq!(keys(&value["network"]), "activations macs potentials weights");
        assert_eq!(value["network"]["activations"].get("channel_nonzeros"), None);
    }
}
