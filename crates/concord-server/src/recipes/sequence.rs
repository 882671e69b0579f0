//! The sequence: numbers that nobody gets twice.

use concord_core::ids::Revision;

use super::name::{Kind, Place};
use crate::concord::Concord;
use crate::error::Error;

impl Concord {
    /// A sequence of this name: numbers from 1 on.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let orders = db.sequence("orders");
    /// let first = orders.next().await?.number;
    /// let block = orders.take(100).await?;
    /// assert!(block.first > first);
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// - No number is given out twice, and who asks after an answer gets a greater one.
    /// - There are gaps: of a call whose outcome is unknown, and of numbers of a block that were
    ///   not used. Numbers without gaps are written by the same transaction that uses them.
    /// - To delete the key `sequence:NAME` begins again at 1.
    pub fn sequence(&self, name: impl Into<String>) -> Sequence {
        Sequence {
            concord: self.clone(),
            place: Place::new(Kind::Sequence, name),
        }
    }
}

/// A sequence: see [`Concord::sequence`].
#[derive(Clone, Debug)]
pub struct Sequence {
    concord: Concord,
    place: Result<Place, Error>,
}

/// A number of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The number.
    pub number: u64,
    /// The revision at which it was given out.
    pub token: Revision,
}

/// Consecutive numbers of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// The least of them.
    pub first: u64,
    /// The greatest of them.
    pub last: u64,
    /// The revision at which they were given out.
    pub token: Revision,
}

impl Sequence {
    /// The next number: one round of consensus.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name; `invalid_value` if the key holds something else or the numbers are
    /// used up; else as [`Concord::put`]. After `outcome_unknown` a number may be missing.
    pub async fn next(&self) -> Result<Issued, Error> {
        let block = self.take(1).await?;
        Ok(Issued {
            number: block.last,
            token: block.token,
        })
    }

    /// So many numbers at once, for who uses many and does not mind gaps.
    ///
    /// # Errors
    ///
    /// As [`Sequence::next`]; `invalid_request` for none.
    pub async fn take(&self, count: u32) -> Result<Block, Error> {
        if count == 0 {
            return Err(Error::invalid_request("at least one number must be asked for"));
        }
        let key = self.place.clone()?.shared();
        let done = self.concord.increment(key, i64::from(count)).await?;
        let last = u64::try_from(done.value).unwrap_or_default();
        if last < u64::from(count) {
            let message = "the key of the sequence holds a number that is not of one";
            return Err(Error::new(crate::error::ErrorKind::InvalidValue, message));
        }
        Ok(Block {
            first: last - u64::from(count) + 1,
            last,
            token: done.revision,
        })
    }
}
