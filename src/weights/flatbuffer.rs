//! FlatBuffers with every offset checked: the subset that TFLite's schema uses.

use crate::{Error, Result};

/// A whole buffer.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    /// Its name in messages.
    file: &'a str,
    bytes: &'a [u8],
}

/// A table: its fields are found by number.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    of: Bytes<'a>,
    at: usize,
    /// Offsets of its fields, two bytes each.
    fields: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self { file, bytes }
    }

    fn broken(&self) -> Error {
        Error::malformed(self.file, format!("an offset leaves its {} bytes: truncated or damaged", self.bytes.len()))
    }

    fn slice(&self, at: usize, len: usize) -> Result<&'a [u8]> {
        let end = at.checked_add(len);
        end.and_then(|end| self.bytes.get(at..end)).ok_or_else(|| self.broken())
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        Ok(*self.slice(at, N)?.first_chunk().expect("as long as was asked for"))
    }

    fn u32(&self, at: usize) -> Result<usize> {
        self.array(at).map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// The target of the offset at `at`.
    fn follow(&self, at: usize) -> Result<usize> {
        at.checked_add(self.u32(at)?).ok_or_else(|| self.broken())
    }

    /// The table that the offset at `at` points to; 0 for the root.
    pub(super) fn table(self, at: usize) -> Result<Table<'a>> {
        let at = self.follow(at)?;
        let back = i64::from(i32::from_le_bytes(self.array(at)?));
        let fields = usize::try_from(at as i64 - back).map_err(|_| self.broken())?;
        let len = usize::from(u16::from_le_bytes(self.array(fields)?));
        let fields = self.slice(fields, len)?.get(4..).ok_or_else(|| self.broken())?;
        Ok(Table { of: self, at, fields })
    }

    /// The vector of elements of `size` bytes that the offset at `at` points to.
    fn vector(self, at: usize, size: usize) -> Result<&'a [u8]> {
        let at = self.follow(at)?;
        let len = self.u32(at)?.checked_mul(size).ok_or_else(|| self.broken())?;
        self.slice(at + 4, len)
    }
}

impl<'a> Table<'a> {
    /// Position of field `number`; `None` if it has its default.
    fn field(&self, number: usize) -> Option<usize> {
        let offset = self.fields.get(2 * number..2 * number + 2)?;
        let offset = usize::from(u16::from_le_bytes([offset[0], offset[1]]));
        (offset != 0).then_some(self.at + offset)
    }

    /// Numbers of the fields that are stored rather than left at their defaults.
    pub(super) fn stated(&self) -> impl Iterator<Item = usize> {
        (0..self.fields.len() / 2).filter(|&number| self.field(number).is_some())
    }

    fn array<const N: usize>(&self, number: usize) -> Result<Option<[u8; N]>> {
        self.field(number).map(|at| self.of.array(at)).transpose()
    }

    pub(super) fn i8(&self, number: usize, default: i8) -> Result<i8> {
        Ok(self.array(number)?.map_or(default, i8::from_le_bytes))
    }

    pub(super) fn bool(&self, number: usize) -> Result<bool> {
        Ok(self.i8(number, 0)? != 0)
    }

    pub(super) fn i32(&self, number: usize, default: i32) -> Result<i32> {
        Ok(self.array(number)?.map_or(default, i32::from_le_bytes))
    }

    pub(super) fn f32(&self, number: usize) -> Result<f32> {
        Ok(self.array(number)?.map_or(0.0, f32::from_le_bytes))
    }

    pub(super) fn table(&self, number: usize) -> Result<Option<Table<'a>>> {
        self.field(number).map(|at| self.of.table(at)).transpose()
    }

    /// All tables of a vector; empty if it is missing.
    pub(super) fn tables(&self, number: usize) -> Result<Vec<Table<'a>>> {
        let Some(at) = self.field(number) else { return Ok(Vec::new()) };
        let count = self.of.vector(at, 4)?.len() / 4;
        let start = self.of.follow(at)? + 4;
        (0..count).map(|i| self.of.table(start + 4 * i)).collect()
    }

    pub(super) fn bytes(&self, number: usize) -> Result<&'a [u8]> {
        self.field(number).map_or(Ok(&[][..]), |at| self.of.vector(at, 1))
    }

    pub(super) fn text(&self, number: usize) -> Result<&'a str> {
        let wrong = |_| Error::malformed(self.of.file, "a name is no UTF-8 text");
        self.bytes(number).and_then(|bytes| std::str::from_utf8(bytes).map_err(wrong))
    }

    /// All numbers of a vector, of `N` bytes each.
    pub(super) fn numbers<T, const N: usize>(&self, number: usize, make: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let Some(at) = self.field(number) else { return Ok(Vec::new()) };
        Ok(self.of.vector(at, N)?.as_chunks().0.iter().map(|&bytes| make(bytes)).collect())
    }
}
