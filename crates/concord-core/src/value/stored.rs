//! Values as they are kept: plain, or packed. The one place where either becomes the other.
//!
//! ```text
//! packed:  codec u8 (1 zstd)  ·  raw size (number)  ·  one frame of the codec
//! ```
//!
//! Whether bytes are packed is said beside them, in the flags of a request, a reply or a record: it is
//! never guessed from what they look like (D-DATA-11). They are packed once, before a request
//! is replicated, and unpacked where somebody looks at the content; log, network, memory,
//! history and snapshots hold the small form.
//!
//! What unpacks is not trusted: the frame must be one, say the size that is recorded beside
//! it, and hold as much, of the format that is claimed. Room is made for no more than that size, which is
//! at most [`VALUE_BYTES_MAX`] and was judged as the size of the value. Anything else is [`CorruptValue`], the
//! same on every replica.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use bytes::Bytes;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::{Value, ValueFormat, check_value};
use crate::codec::reader::Reader;
use crate::codec::{DecodeError, writer};
use crate::limits::VALUE_BYTES_MAX;

const ZSTD: u8 = 1;

/// Levels at which values can be packed: the higher, the smaller and the slower.
pub const PACKING_LEVELS: core::ops::RangeInclusive<i32> = 1..=19;

/// The window of [`PACKING_LEVELS`] is never larger: what a comparison may take besides its buffer.
const WINDOW_LOG_MAX: u32 = 23;

/// Bytes that a comparison looks at in one step.
const COMPARE_STEP: usize = 16 << 10;

/// Bytes with a format, as they are kept, plain or packed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredValue {
    format: ValueFormat,
    is_packed: bool,
    bytes: Bytes,
}

/// A [`StoredValue`] that lies elsewhere.
#[derive(Clone, Copy)]
pub struct StoredRef<'a> {
    format: ValueFormat,
    is_packed: bool,
    bytes: &'a [u8],
}

/// A packed value that is not what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed value is damaged: {what}")]
pub struct CorruptValue {
    /// What is wrong with it.
    pub what: &'static str,
}

impl StoredValue {
    /// Checks the head of packed bytes. What the frame holds shows when it is unpacked.
    ///
    /// # Errors
    ///
    /// If the codec is unknown, the size out of range, or the packed form not the smaller one.
    pub fn packed(format: ValueFormat, bytes: Bytes) -> Result<Self, CorruptValue> {
        check_packed(&bytes)?;
        Ok(Self {
            format,
            is_packed: true,
            bytes,
        })
    }

    /// Bytes that come from the keyspace.
    pub(crate) const fn trusted(format: ValueFormat, is_packed: bool, bytes: Bytes) -> Self {
        Self {
            format,
            is_packed,
            bytes,
        }
    }

    /// Packs a value that is not, if that makes it smaller; `level` is one of [`PACKING_LEVELS`].
    pub fn pack(&mut self, level: i32) {
        if self.is_packed {
            return;
        }
        if let Some(packed) = pack(&self.bytes, level) {
            self.bytes = Bytes::from(packed);
            self.is_packed = true;
        }
    }

    /// Unpacks a value that is packed, in place.
    ///
    /// # Errors
    ///
    /// If it is damaged; then it stays as it is.
    pub fn make_plain(&mut self) -> Result<(), CorruptValue> {
        if self.is_packed {
            self.bytes = Bytes::from(unpack(self.format, &self.bytes)?);
            self.is_packed = false;
        }
        Ok(())
    }

    /// The value itself.
    ///
    /// # Errors
    ///
    /// If it is packed and damaged.
    pub fn unpack(self) -> Result<Value, CorruptValue> {
        let bytes = if self.is_packed {
            Bytes::from(unpack(self.format, &self.bytes)?)
        } else {
            self.bytes
        };
        Ok(Value::trusted(self.format, bytes))
    }

    /// The value itself, if it is not packed.
    #[must_use]
    pub fn into_plain(self) -> Option<Value> {
        (!self.is_packed).then(|| Value::trusted(self.format, self.bytes))
    }

    /// What the content is.
    #[must_use]
    pub const fn format(&self) -> ValueFormat {
        self.format
    }

    /// Whether the bytes are packed.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// The bytes as they are kept. Not the content, if they are packed.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How long the content is.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        self.as_ref().raw_len()
    }

    /// The same, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> StoredRef<'_> {
        StoredRef::new(self.format, self.is_packed, &self.bytes)
    }
}

impl From<Value> for StoredValue {
    /// Not packed.
    fn from(value: Value) -> Self {
        let format = value.format();
        Self {
            format,
            is_packed: false,
            bytes: value.into_bytes(),
        }
    }
}

impl<'a> StoredRef<'a> {
    pub(crate) const fn new(format: ValueFormat, is_packed: bool, bytes: &'a [u8]) -> Self {
        Self {
            format,
            is_packed,
            bytes,
        }
    }

    /// What the content is.
    #[must_use]
    pub const fn format(&self) -> ValueFormat {
        self.format
    }

    /// Whether the bytes are packed.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.is_packed
    }

    /// The bytes as they are kept. Not the content, if they are packed.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How long the content is.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        if self.is_packed {
            head(self.bytes).map_or(0, |(raw_len, _)| raw_len)
        } else {
            self.bytes.len()
        }
    }

    /// The content.
    ///
    /// # Errors
    ///
    /// If it is packed and damaged.
    pub fn content(&self) -> Result<Cow<'a, [u8]>, CorruptValue> {
        if self.is_packed {
            unpack(self.format, self.bytes).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(self.bytes))
        }
    }

    /// Whether this is the same value (D-DATA-13): the same format, the same content.
    ///
    /// # Errors
    ///
    /// If it is packed and damaged.
    pub fn is(&self, value: &Value) -> Result<bool, CorruptValue> {
        if self.format != value.format() || self.raw_len() != value.bytes().len() {
            return Ok(false);
        }
        Ok(self.compare(value.bytes())?.is_eq())
    }

    /// How the content is to other bytes. Looks no further than to where they differ.
    ///
    /// # Errors
    ///
    /// If it is packed and damaged before that.
    pub fn compare(&self, other: &[u8]) -> Result<Ordering, CorruptValue> {
        if self.is_packed {
            compare(self.bytes, other)
        } else {
            Ok(self.bytes.cmp(other))
        }
    }
}

/// Checks the head of packed bytes.
pub(crate) fn check_packed(bytes: &[u8]) -> Result<(), CorruptValue> {
    head(bytes).map(drop)
}

/// The size of the content, and the frame.
fn head(bytes: &[u8]) -> Result<(usize, &[u8]), CorruptValue> {
    let malformed = |_: DecodeError| corrupt("malformed head");
    let mut reader = Reader::new(bytes);
    if reader.u8().map_err(malformed)? != ZSTD {
        return Err(corrupt("unknown codec"));
    }
    let raw_len = reader.number().map_err(malformed)?;
    if raw_len > VALUE_BYTES_MAX {
        return Err(corrupt("size out of range"));
    }
    let raw_len = usize::try_from(raw_len).map_err(|_| corrupt("size out of range"))?;
    // What does not shrink is kept as it is, so every value has one form or the other.
    if raw_len <= bytes.len() {
        return Err(corrupt("packed form is not smaller"));
    }
    Ok((raw_len, reader.rest()))
}

const fn corrupt(what: &'static str) -> CorruptValue {
    CorruptValue { what }
}

/// The packed form, if it is smaller.
fn pack(raw: &[u8], level: i32) -> Option<Vec<u8>> {
    let level = level.clamp(*PACKING_LEVELS.start(), *PACKING_LEVELS.end());
    let mut packed = Vec::new();
    packed.push(ZSTD);
    writer::count(raw.len(), &mut packed);
    let start = packed.len();
    // Room for less than the content: a frame that does not fit is not wanted.
    packed.resize(raw.len().saturating_sub(1).max(start), 0);
    let room = packed.get_mut(start..)?;
    let frame_len = zstd_safe::compress(room, raw, level).ok()?;
    packed.truncate(start.saturating_add(frame_len));
    packed.shrink_to_fit();
    Some(packed)
}

/// The content of packed bytes, which is of this format.
fn unpack(format: ValueFormat, bytes: &[u8]) -> Result<Vec<u8>, CorruptValue> {
    let (raw_len, frame) = checked_frame(bytes)?;
    let mut content = vec![0; raw_len];
    let found = zstd_safe::decompress(content.as_mut_slice(), frame);
    if found != Ok(raw_len) {
        return Err(corrupt("frame cannot be unpacked"));
    }
    check_value(format, &content).map_err(|_| corrupt("content is not of its format"))?;
    Ok(content)
}

/// The size and the frame, which is one and says the same: nobody makes room for what another
/// size was claimed for.
fn checked_frame(bytes: &[u8]) -> Result<(usize, &[u8]), CorruptValue> {
    let (raw_len, frame) = head(bytes)?;
    let claimed = zstd_safe::get_frame_content_size(frame).ok().flatten();
    if claimed.and_then(|claimed| usize::try_from(claimed).ok()) != Some(raw_len) {
        return Err(corrupt("frame is of another size"));
    }
    if zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err(corrupt("not one whole frame"));
    }
    Ok((raw_len, frame))
}

/// How the content of packed bytes is to others, block by block.
fn compare(bytes: &[u8], other: &[u8]) -> Result<Ordering, CorruptValue> {
    let (raw_len, frame) = checked_frame(bytes)?;
    let unusable = |_| corrupt("frame cannot be unpacked");
    let mut context = DCtx::create();
    context
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .map_err(unusable)?;
    let mut input = InBuffer::around(frame);
    let mut step = vec![0; COMPARE_STEP.min(raw_len)];
    let (mut seen, mut rest) = (0_usize, other);
    loop {
        let mut output = OutBuffer::around(step.as_mut_slice());
        let hint = context
            .decompress_stream(&mut output, &mut input)
            .map_err(unusable)?;
        let found = output.as_slice();
        seen = seen.saturating_add(found.len());
        let (given, behind) = rest.split_at_checked(found.len()).unwrap_or((rest, &[]));
        match found.cmp(given) {
            Ordering::Equal => rest = behind,
            different @ (Ordering::Less | Ordering::Greater) => return Ok(different),
        }
        if hint == 0 {
            break;
        }
        if found.is_empty() && input.pos() >= frame.len() {
            return Err(corrupt("frame is cut short"));
        }
    }
    if seen != raw_len {
        return Err(corrupt("frame is of another size"));
    }
    Ok(if rest.is_empty() {
        Ordering::Equal
    } else {
        Ordering::Less
    })
}

/// Shows the format and sizes only: values may be secret, and large.
impl fmt::Debug for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for StoredRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredValue({}, {} bytes", self.format, self.raw_len())?;
        if self.is_packed {
            write!(f, " in {}", self.bytes.len())?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests;
