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
}
