//! Scans the wire format of an ONNX file before it is parsed: every length fits, and graphs contain one another to a bounded depth.

/// The messages that are parsed, by their content.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Sequence,
    Shape,
    /// Contains no further message that is parsed.
    Leaf,
}

/// What field `number` of `message` is.
enum Child {
    Parsed(Message),
    /// A message that may contain its own kind.
    Nested(Message),
    /// A number, bytes, or a message that is skipped.
    Other,
}

fn child(message: Message, number: u64) -> Child {
    use Child::{Nested, Parsed};
    match (message, number) {
        (Message::Model, 7) => Parsed(Message::Graph),
        (Message::Model, 8 | 14) | (Message::Tensor, 13) | (Message::Shape, 1) => Parsed(Message::Leaf),
        (Message::Graph, 1) => Parsed(Message::Node),
        (Message::Graph, 5) | (Message::Attribute, 5) => Parsed(Message::Tensor),
        (Message::Graph, 11..=13) => Parsed(Message::ValueInfo),
        (Message::Node, 5) => Parsed(Message::Attribute),
        // Branches of If, bodies of Loop.
        (Message::Attribute, 6) => Nested(Message::Graph),
        (Message::ValueInfo, 2) => Parsed(Message::Type),
        (Message::Type, 1) => Parsed(Message::TensorType),
        // The elements of a sequence of values.
        (Message::Type, 4) => Nested(Message::Sequence),
        (Message::Sequence, 1) => Nested(Message::Type),
        (Message::TensorType, 2) => Parsed(Message::Shape),
        _ => Child::Other,
    }
}

/// Most messages in a file: parsed, each takes many times its bytes.
const MESSAGES: usize = 1 << 20;

/// Most messages of one kind in one another.
const DEPTH: usize = 16;

/// Checks that `bytes` can safely be parsed as an ONNX model; the error says what is wrong.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    message(Message::Model, bytes, 0, &mut 0)
}

fn message(kind: Message, mut bytes: &[u8], depth: usize, count: &mut usize) -> Result<(), String> {
    *count += 1;
    if *count > MESSAGES {
        return Err(format!("more than {MESSAGES} messages"));
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => skip(&mut bytes, 8)?,
            2 => {
                let length = varint(&mut bytes)?;
                let inner = bytes;
                skip(&mut bytes, length)?;
                // The bytes up to the start of the rest.
                let inner = &inner[..inner.len() - bytes.len()];
                match child(kind, key >> 3) {
                    Child::Parsed(kind) => message(kind, inner, depth, count)?,
                    Child::Nested(_) if depth == DEPTH => return Err(format!("graphs in one another {DEPTH} times")),
                    Child::Nested(kind) => message(kind, inner, depth + 1, count)?,
                    Child::Other => {}
                }
            }
            5 => skip(&mut bytes, 4)?,
            wire => return Err(format!("wire type {wire}")),
        }
    }
    Ok(())
}

fn skip(bytes: &mut &[u8], length: u64) -> Result<(), String> {
    let rest = usize::try_from(length).ok().and_then(|length| bytes.get(length..));
    *bytes = rest.ok_or_else(|| format!("{length} bytes where {} are left", bytes.len()))?;
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("it ends within a number")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits".to_owned())
}
