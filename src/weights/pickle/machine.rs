//! The pickle machine, protocols 0 to 5: it builds plain values, and records calls instead of making them.

use std::collections::HashMap;

use super::Id;
use super::arena::{Arena, Node, Object};
use super::reader::{Reader, unescape_bytes, unescape_unicode};

/// Limits far above what checkpoints need (a thousand layers with optimiser state have 100,000 values), so that a hostile
/// file cannot take more than some tens of megabytes.
const MAX_NODES: usize = 1 << 20;
const MAX_STEPS: usize = 1 << 23;
const MAX_STACK: usize = 1 << 21;
const MAX_MARKS: usize = 1 << 12;

/// A value, and the rest of the input after it.
pub(super) struct Loaded<'a> {
    pub(super) arena: Arena<'a>,
    pub(super) root: Id,
    pub(super) rest: &'a [u8],
}

#[derive(Default)]
struct Machine<'a> {
    arena: Arena<'a>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Number of pairs copied into dicts so far: many calls may refer to one list.
    copied: usize,
}

type Step<T = ()> = Result<T, String>;

/// Loads one pickle from the start of `input`; the error says what is wrong with it.
pub(super) fn load(input: &[u8]) -> Result<Loaded<'_>, String> {
    let mut reader = Reader::new(input);
    let mut machine = Machine::default();
    for _ in 0..MAX_STEPS {
        let at = reader.position();
        let opcode = reader.byte().map_err(|e| format!("pickle: {e}"))?;
        if opcode == b'.' {
            let root = machine.pop().map_err(|e| format!("pickle, byte {at}: {e}"))?;
            return Ok(Loaded { arena: machine.arena, root, rest: reader.rest() });
        }
        machine.step(opcode, &mut reader).map_err(|e| format!("pickle, byte {at}: {e}"))?;
    }
    Err(format!("pickle: more than {MAX_STEPS} instructions"))
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8, reader: &mut Reader<'a>) -> Step {
        match opcode {
            0x80 => {
                let protocol = reader.byte()?;
                if protocol > 5 {
                    return Err(format!("protocol {protocol}, known are 0 to 5"));
                }
            }
            0x95 => drop(reader.take(8)?),
            b'(' => self.mark()?,
            b'0' => self.discard()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'I' => match reader.line()? {
                b"00" => self.push(Node::Bool(false))?,
                b"01" => self.push(Node::Bool(true))?,
                text => self.decimal(text)?,
            },
            b'L' => {
                let text = reader.line()?;
                self.decimal(text.strip_suffix(b"L").unwrap_or(text))?;
            }
            b'J' => self.push(Node::Int(i32::from_le_bytes(reader.array()?).into()))?,
            b'K' => self.push(Node::Int(reader.byte()?.into()))?,
            b'M' => self.push(Node::Int(u16::from_le_bytes(reader.array()?).into()))?,
            0x8a => {
                let length = reader.byte()?.into();
                self.long(reader.take(length)?)?;
            }
            0x8b => {
                let length = u32::from_le_bytes(reader.array()?);
                self.long(reader.take(length.into())?)?;
            }
            b'F' => {
                let text = std::str::from_utf8(reader.line()?).ok().and_then(|text| text.trim().parse().ok());
                self.push(Node::Float(text.ok_or("no number")?))?;
            }
            b'G' => self.push(Node::Float(f64::from_be_bytes(reader.array()?)))?,
            b'S' => self.quoted(reader.line()?)?,
            b'V' => self.unicode(reader.line()?)?,
            b'T' | b'X' | b'B' => {
                let length = u32::from_le_bytes(reader.array()?).into();
                self.string(opcode != b'B', reader.take(length)?)?;
            }
            b'U' | 0x8c | b'C' => {
                let length = reader.byte()?.into();
                self.string(opcode != b'C', reader.take(length)?)?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = u64::from_le_bytes(reader.array()?);
                self.string(opcode == 0x8d, reader.take(length)?)?;
            }
            b']' | b')' | 0x8f => self.push(Node::Seq(Vec::new()))?,
            b'l' | b't' | 0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::Seq(items))?;
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Node::Seq(items))?;
            }
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'd' => {
                let items = pairs(&self.pop_mark()?)?;
                self.push(Node::Dict(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(pairs(&items)?)?;
            }
            b'u' => {
                let items = pairs(&self.pop_mark()?)?;
                self.set_items(items)?;
            }
            b'p' => {
                let text = std::str::from_utf8(reader.line()?).ok().and_then(|text| text.trim().parse().ok());
                self.put(text.ok_or("no memo number")?)?;
            }
            b'q' => self.put(reader.byte()?.into())?,
            b'r' => self.put(u32::from_le_bytes(reader.array()?).into())?,
            0x94 => self.put(self.memo.len() as u64)?,
            b'g' => {
                let text = std::str::from_utf8(reader.line()?).ok().and_then(|text| text.trim().parse().ok());
                self.recall(text.ok_or("no memo number")?)?;
            }
            b'h' => self.recall(reader.byte()?.into())?,
            b'j' => self.recall(u32::from_le_bytes(reader.array()?).into())?,
            b'c' => {
                let (module, name) = (reader.line()?, reader.line()?);
                let global = self.global(module, name)?;
                self.push_id(global)?;
            }
            0x93 => {
                let items = self.pop_many(2)?;
                self.push(Node::Global(items[0], items[1]))?;
            }
            b'R' | 0x81 => {
                let items = self.pop_many(2)?;
                self.call(items[0], items[1])?;
            }
            0x92 => {
                let items = self.pop_many(3)?;
                self.call(items[0], items[1])?;
            }
            b'i' => {
                let (module, name) = (reader.line()?, reader.line()?);
                let items = self.pop_mark()?;
                let (callable, args) = (self.global(module, name)?, self.add(Node::Seq(items))?);
                self.call(callable, args)?;
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err("an object without a class".into());
                }
                let callable = items.remove(0);
                let args = self.add(Node::Seq(items))?;
                self.call(callable, args)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                if let Node::Object(object) = &mut self.arena.0[object as usize] {
                    object.state = Some(state);
                }
            }
            b'P' => {
                let text = self.text(reader.line()?)?;
                self.push(Node::Persistent(text))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))?;
            }
            0x82..=0x84 => return Err("refers to the extension registry".into()),
            0x97 | 0x98 => return Err("refers to a buffer outside the file".into()),
            _ => return Err(format!("unknown instruction {opcode:#04x}")),
        }
        Ok(())
    }

    fn add(&mut self, node: Node<'a>) -> Step<Id> {
        if self.arena.0.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        self.arena.0.push(node);
        Ok(self.arena.0.len() as Id - 1)
    }

    fn push(&mut self, node: Node<'a>) -> Step {
        let id = self.add(node)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Step {
        if self.stack.len() >= MAX_STACK {
            return Err(format!("more than {MAX_STACK} values on the stack"));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Values below the last mark belong to an unfinished container.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Id> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor());
        Ok(self.stack.split_off(start.ok_or("the stack is empty")?))
    }

    fn mark(&mut self) -> Step {
        if self.marks.len() >= MAX_MARKS {
            return Err(format!("nested deeper than {MAX_MARKS}"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let start = self.marks.pop().ok_or("no mark on the stack")?;
        Ok(self.stack.split_off(start))
    }

    fn discard(&mut self) -> Step {
        if !self.marks.is_empty() && self.floor() == self.stack.len() {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn put(&mut self, key: u64) -> Step {
        let top = self.top()?;
        if self.memo.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} values in the memo"));
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step {
        let id = *self.memo.get(&key).ok_or_else(|| format!("nothing in the memo at {key}"))?;
        self.push_id(id)
    }

    fn decimal(&mut self, text: &'a [u8]) -> Step {
        let value = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
        self.push(value.map_or(Node::Bytes(text), Node::Int))
    }

    /// A little-endian two's complement integer of any length.
    fn long(&mut self, bytes: &'a [u8]) -> Step {
        if bytes.len() > 8 {
            return self.push(Node::Bytes(bytes));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    fn string(&mut self, is_text: bool, bytes: &'a [u8]) -> Step {
        let id = if is_text { self.text(bytes)? } else { self.add(Node::Bytes(bytes))? };
        self.push_id(id)
    }

    /// Python 2 stores binary data in strings, which is kept as bytes.
    fn text(&mut self, bytes: &'a [u8]) -> Step<Id> {
        self.add(std::str::from_utf8(bytes).map_or(Node::Bytes(bytes), Node::Text))
    }

    fn quoted(&mut self, line: &'a [u8]) -> Step {
        let inner = match line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            _ => return Err("a string without quotes".into()),
        };
        if !inner.contains(&b'\\') {
            return self.string(true, inner);
        }
        let text = unescape_bytes(inner).ok_or("a string with a broken escape")?;
        // Strings with invalid bytes name nothing here, so their value is not needed.
        self.push(String::from_utf8(text).map_or(Node::Bytes(inner), |text| Node::Unescaped(text.into())))
    }

    fn unicode(&mut self, line: &'a [u8]) -> Step {
        let text = unescape_unicode(line).ok_or("a string with a broken escape")?;
        self.push(Node::Unescaped(text.into()))
    }

    fn global(&mut self, module: &'a [u8], name: &'a [u8]) -> Step<Id> {
        let (module, name) = (self.text(module)?, self.text(name)?);
        self.add(Node::Global(module, name))
    }

    fn call(&mut self, callable: Id, args: Id) -> Step {
        let node = match self.arena.global(callable) {
            Some(("collections", "OrderedDict")) => Node::Dict(self.ordered(args)?),
            _ => Node::Object(Box::new(Object { callable, args, state: None, dict: Vec::new(), list: Vec::new() })),
        };
        self.push(node)
    }

    /// Arguments of `OrderedDict`: none, or (by Python 2) a list of pairs.
    fn ordered(&mut self, args: Id) -> Step<Vec<(Id, Id)>> {
        let Some([list, ..]) = self.arena.seq(args) else { return Ok(Vec::new()) };
        let list = self.arena.seq(*list).unwrap_or_default();
        self.copied += list.len();
        if self.copied > MAX_NODES {
            return Err(format!("more than {MAX_NODES} items"));
        }
        let pair = |item: &Id| match self.arena.seq(*item) {
            Some([key, value]) => Ok((*key, *value)),
            _ => Err("an OrderedDict of something else than pairs".into()),
        };
        list.iter().map(pair).collect()
    }

    fn append(&mut self, mut items: Vec<Id>) -> Step {
        let target = self.top()?;
        match &mut self.arena.0[target as usize] {
            Node::Seq(list) => list.append(&mut items),
            Node::Object(object) => object.list.append(&mut items),
            _ => return Err("appends to something that is no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, mut items: Vec<(Id, Id)>) -> Step {
        let target = self.top()?;
        match &mut self.arena.0[target as usize] {
            Node::Dict(dict) => dict.append(&mut items),
            Node::Object(object) => object.dict.append(&mut items),
            _ => return Err("sets items of something that is no dict".into()),
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err("a key without a value".into()),
    }
}
