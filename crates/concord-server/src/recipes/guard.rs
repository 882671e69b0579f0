//! What a holder has in its hands.

use std::time::Duration;

use concord_core::ids::{LeaseId, Revision};
use concord_core::key::Key;

use super::claim::Claim;
use crate::concord::{Concord, IntoValue, Write};
use crate::error::{Error, ErrorKind};
use crate::txn::{self, Transaction, When};

/// Something that this process holds: a lock, permits, a leadership.
///
/// It is kept by a lease that a task in the background keeps alive, through changes of the leader
/// too. Dropping it gives it up in the background, [`Guard::release`] at once. It counts as a handle
/// to the node.
#[derive(Debug)]
#[must_use = "what is not held on to is given up at once"]
pub struct Guard {
    claim: Claim,
}

impl Guard {
    pub(super) fn new(claim: Claim) -> Self {
        Self { claim }
    }

    pub(super) fn concord(&self) -> &Concord {
        self.claim.concord()
    }

    /// The name that is held.
    pub fn name(&self) -> &str {
        self.claim.place().name()
    }

    /// The fencing token: greater than that of every holder before. A resource outside of the
    /// store is protected by refusing every token that is less than the greatest it has seen.
    pub fn token(&self) -> Revision {
        self.claim.token()
    }

    /// The key that stands for this holder. It came into being at [`Guard::token`].
    pub fn key(&self) -> &Key {
        self.claim.key()
    }

    /// The lease that the key hangs on. Further keys may be hung on it, and go with it.
    pub fn lease(&self) -> LeaseId {
        self.claim.lease()
    }

    /// Whether it is held for certain. Errs on the side of no: a process that is cut off from
    /// its cluster stops believing before the cluster ends its lease.
    ///
    /// An answer is true when it is given, not later. What must not happen after the loss is
    /// [fenced](Guard::txn).
    pub fn is_held(&self) -> bool {
        self.claim.is_held()
    }

    /// Waits until it is not held for certain any more: the lease may have ended, somebody has
    /// removed the key, or the node has stopped. To drop the future loses nothing.
    pub async fn lost(&self) {
        self.claim.lost().await;
    }

    /// The condition that this is held, for transactions here or in another process.
    pub fn fence(&self) -> Fence {
        Fence {
            key: self.claim.key().clone(),
            token: self.claim.token(),
        }
    }

    /// A transaction that happens only if this is still held where it is applied. If it is not,
    /// the answer has `succeeded: false`, and nothing was written.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// use concord_server::txn::key;
    ///
    /// let lock = db.lock("ledger").acquire().await?;
    /// let done = lock.txn().then(key("balance").put("70")).then(key("audit").put("paid 30")).await?;
    /// assert!(done.succeeded, "somebody else has the lock by now");
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn txn(&self) -> Write<'_, Transaction> {
        self.concord().txn().when(self.fence())
    }

    /// Stores a value only if this is still held where the put is applied.
    ///
    /// # Errors
    ///
    /// `condition_failed` if it is not held any more; else as [`Concord::put`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl IntoValue) -> Result<Revision, Error> {
        let done = self.txn().then(txn::key(key).put(value)).await?;
        if done.succeeded {
            return Ok(done.revision);
        }
        let message = format!("{} is not held any more, nothing was written", self.name());
        Err(Error::new(ErrorKind::ConditionFailed, message).with("token", self.token().get()))
    }

    /// Gives it up, at once.
    ///
    /// # Errors
    ///
    /// `lease_not_found` if it was lost before; else as [`Concord::lease_revoke`], and then it ends
    /// by the time of its lease.
    pub async fn release(self) -> Result<(), Error> {
        self.claim.release().await
    }
}

/// The condition that somebody still holds something: see [`Guard::fence`]. A part of a
/// transaction, also in a process that has key and token by message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The key of the holder.
    pub key: Key,
    /// Its fencing token.
    pub token: Revision,
}

impl From<Fence> for When {
    fn from(fence: Fence) -> Self {
        Self::from(&fence)
    }
}

impl From<&Fence> for When {
    fn from(fence: &Fence) -> Self {
        txn::key(&fence.key).create_revision().is(fence.token)
    }
}

/// Waits for something at most so long. Nothing of it stays behind when the time is over.
pub(crate) async fn within<T>(
    patience: Duration,
    wait: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    match tokio::time::timeout(patience, wait).await {
        Ok(done) => done.map(Some),
        Err(_) => Ok(None),
    }
}

macro_rules! applies {
    () => {
        /// How long the lease lives without being kept alive: how long others wait for a process
        /// that is gone. 10 seconds if not set.
        #[must_use]
        pub fn ttl(mut self, ttl: std::time::Duration) -> Self {
            self.application.ttl = ttl;
            self
        }

        /// What others see of who holds it or waits for it.
        #[must_use]
        pub fn owner(mut self, owner: impl Into<String>) -> Self {
            self.application.value = Ok(concord_core::value::Value::text(owner.into()));
            self
        }

        /// Who holds it and who waits for it, in order. Errors as [`Concord::get`](crate::Concord::get).
        pub async fn line(&self) -> Result<Vec<super::line::Holder>, crate::error::Error> {
            Ok(self.application.line().await?.holders)
        }
    };
}
pub(super) use applies;
