//! Bytes of peer messages: a writer that cannot fail and a reader that never panics.

use bytes::Bytes;
use concord_core::codec::DecodeError;

/// Collects the bytes of one message.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer that will not grow until `capacity` bytes were written.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// A count of items, which are bounded far below `u32::MAX`.
    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("counts are bounded by limits.rs"));
    }

    /// A length and the bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// A length and UTF-8.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Presence, then the value.
    pub(crate) fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

/// Takes the bytes of one message apart.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    message: &'a Bytes,
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(message: &'a Bytes) -> Self {
        Self { message, offset: 0 }
    }

    /// An error at the current place.
    pub(crate) const fn error(&self, what: &'static str) -> DecodeError {
        DecodeError {
            what,
            offset: self.offset,
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let end = self.offset.checked_add(N);
        let found = end
            .and_then(|end| self.message.get(self.offset..end))
            .and_then(|slice| <[u8; N]>::try_from(slice).ok());
        match found {
            Some(array) => {
                self.offset = self.offset.saturating_add(N);
                Ok(array)
            }
            None => Err(self.error("message ends early")),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("neither true nor false")),
        }
    }

    /// A count of items of which each takes at least `item_bytes_min`: never more than
    /// the rest of the message can hold, so allocating for them is safe.
    pub(crate) fn count(&mut self, limit: usize, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        let rest = self.message.len().saturating_sub(self.offset);
        if count > limit || count.saturating_mul(item_bytes_min) > rest {
            return Err(self.error("count over limit"));
        }
        Ok(count)
    }

    /// Bytes, shared with the message, not copied.
    pub(crate) fn bytes(&mut self, limit: usize) -> Result<Bytes, DecodeError> {
        let len = self.count(limit, 1)?;
        let end = self.offset.saturating_add(len);
        // `count` has checked that they are there.
        let bytes = self.message.slice(self.offset..end);
        self.offset = end;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self, limit: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(limit)?;
        match core::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.error("text is not UTF-8")),
        }
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.bool()? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Lets by what follows: a message that may grow, and whose reader may be older.
    pub(crate) fn skip_rest(&mut self) {
        self.offset = self.message.len();
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.offset == self.message.len() {
            Ok(())
        } else {
            Err(self.error("bytes after the end"))
        }
    }
}

/// The longest prefix of `text` within `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or("")
}
