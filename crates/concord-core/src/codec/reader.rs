//! A cursor over bytes that cannot be trusted.

use bytes::Bytes;

use super::DecodeError;

/// Takes parts off the front of a byte slice; never reads past its end.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are taken.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// An error at this place.
    pub(crate) const fn error(&self, what: &'static str) -> DecodeError {
        DecodeError {
            what,
            offset: self.at,
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let byte = *self
            .bytes
            .get(self.at)
            .ok_or_else(|| self.error("unexpected end"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (taken, _) = rest
            .split_at_checked(count)
            .ok_or_else(|| self.error("unexpected end"))?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.error("unexpected end"))
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    /// An unsigned LEB128 number in its shortest form.
    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let start = self.at;
        let mut value = u64::from(first & 0x7f);
        for shift in (7..=63).step_by(7) {
            let byte = self.u8()?;
            // The tenth byte has room for one bit; a last byte of zero is not the shortest form.
            if (shift == 63 && byte > 1) || byte == 0 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError {
            what: "malformed number",
            offset: start.saturating_sub(1),
        })
    }

    /// A number that may be absent: see `writer::optional`.
    pub(crate) fn optional(&mut self) -> Result<Option<u64>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(self.number()?)),
            _ => Err(DecodeError {
                what: "malformed option",
                offset: self.at.saturating_sub(1),
            }),
        }
    }

    /// A signed number in zigzag form.
    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let raw = self.number()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A count of things that take at least `bytes_each`: more than what is left cannot be there.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Result<usize, DecodeError> {
        let start = self.at;
        let count = self.number()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.left() / bytes_each.max(1) => Ok(count),
            Ok(_) | Err(_) => Err(DecodeError {
                what: "count beyond the input",
                offset: start,
            }),
        }
    }

    /// A byte string behind its length.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.count(1)?;
        self.take(count)
    }

    /// A byte string behind its length, as a slice of `whole`, which this reader reads.
    pub(crate) fn shared(&mut self, whole: &Bytes) -> Result<Bytes, DecodeError> {
        Ok(whole.slice_ref(self.bytes()?))
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.left() == 0 {
            Ok(())
        } else {
            Err(self.error("bytes after the end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::writer;
    use alloc::vec::Vec;

    #[test]
    fn numbers_read_back_and_have_one_form() {
        for value in (0..64)
            .flat_map(|bit| [1_u64 << bit, (1 << bit) - 1])
            .chain([u64::MAX])
        {
            let mut out = Vec::new();
            writer::number(value, &mut out);
            assert_eq!(out.len(), writer::number_len(value));
            let mut reader = Reader::new(&out);
            assert_eq!(reader.number(), Ok(value));
            assert_eq!(reader.left(), 0);
            for cut in 0..out.len() {
                assert!(Reader::new(&out[..cut]).number().is_err());
            }
            // One zero more would say the same at greater length.
            *out.last_mut().unwrap() |= 0x80;
            out.push(0);
            assert!(Reader::new(&out).number().is_err());
        }
        assert!(Reader::new(&[0xff; 10]).number().is_err(), "beyond 64 bits");
        assert!(Reader::new(&[0xff; 20]).number().is_err());
    }

    #[test]
    fn signed_numbers_read_back() {
        for value in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            writer::signed(value, &mut out);
            assert_eq!(Reader::new(&out).signed(), Ok(value));
        }
    }

    #[test]
    fn counts_are_bounded_by_the_input() {
        assert!(Reader::new(&[3, 0, 0]).count(1).is_err());
        assert_eq!(Reader::new(&[2, 0, 0]).count(1), Ok(2));
        assert!(Reader::new(&[2, 0, 0]).count(2).is_err());
    }
}
