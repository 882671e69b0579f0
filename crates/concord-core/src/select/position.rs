//! Where a query stands.

use alloc::vec::Vec;

use crate::codec::reader::Reader;
use crate::codec::writer;
use crate::crc32c;
use crate::ids::{Revision, Timestamp};
use crate::view::ViewError;

/// Where a query stands: behind a record in its order, at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryPosition {
    /// The revision that it reads at.
    pub revision: Revision,
    /// The clock by which it judges what is left of times to live.
    pub now: Timestamp,
    /// What the last record that was looked at is ordered by, and its key.
    pub after: (Vec<u8>, Vec<u8>),
    /// Matching records that are still to be left out.
    pub skip: u64,
    /// Matching records that were counted.
    pub counted: u64,
}

/// The version of a position's byte form.
const VERSION: u8 = 1;

impl QueryPosition {
    /// A byte form with a checksum, for cursors. It guards against accidents, not against
    /// intent; a position reveals nothing that a query would not.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = alloc::vec![VERSION];
        for number in [self.revision.get(), self.now.get(), self.skip, self.counted] {
            writer::number(number, &mut out);
        }
        writer::bytes(&self.after.0, &mut out);
        writer::bytes(&self.after.1, &mut out);
        let sum = crc32c::checksum(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads the byte form back.
    ///
    /// # Errors
    ///
    /// [`ViewError::InvalidPosition`] if the bytes were changed or made elsewhere.
    pub fn decode(bytes: &[u8]) -> Result<Self, ViewError> {
        let invalid = |_| ViewError::InvalidPosition;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(ViewError::InvalidPosition)?;
        if crc32c::checksum(body) != u32::from_be_bytes(*sum) {
            return Err(ViewError::InvalidPosition);
        }
        let mut reader = Reader::new(body);
        if reader.u8().map_err(invalid)? != VERSION {
            return Err(ViewError::InvalidPosition);
        }
        let mut number = || reader.number().map_err(invalid);
        let (revision, now) = (Revision::new(number()?), Timestamp::new(number()?));
        let (skip, counted) = (number()?, number()?);
        let after = (
            reader.bytes().map_err(invalid)?.to_vec(),
            reader.bytes().map_err(invalid)?.to_vec(),
        );
        reader.end().map_err(invalid)?;
        Ok(Self {
            revision,
            now,
            after,
            skip,
            counted,
        })
    }
}
