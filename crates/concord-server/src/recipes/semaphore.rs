//! The semaphore: so many permits, taken in the order in which they were asked for.

use std::collections::HashMap;
use std::time::Duration;

use super::claim::{Application, Blocker, Claim};
use super::guard::{Guard, applies, within};
use super::line::Holder;
use super::name::{Kind, Place};
use crate::concord::Concord;
use crate::error::{Error, ErrorKind};
use crate::txn::key;

impl Concord {
    /// A semaphore of this name with so many permits, all of which may be held at once. The
    /// number is kept by the store from the first use on, and must be the same for everybody.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let exports = db.semaphore("exports", 3);
    /// let one = exports.acquire(1).await?;
    /// let two = exports.acquire(2).await?;
    /// assert!(exports.try_acquire(1).await?.is_none());
    /// one.release().await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Who asks for many is not passed by those who ask for few behind it.
    pub fn semaphore(&self, name: impl Into<String>, permits: u64) -> Semaphore {
        Semaphore {
            application: Application::new(self, Place::new(Kind::Semaphore, name)),
            permits,
        }
    }
}

/// A semaphore: see [`Concord::semaphore`].
#[derive(Clone, Debug)]
pub struct Semaphore {
    application: Application,
    permits: u64,
}

impl Semaphore {
    applies!();

    /// Waits until so many permits are free and nobody waits before.
    ///
    /// # Errors
    ///
    /// `invalid_request` for no permits, or more than there are; `condition_failed` if the semaphore
    /// has another number of permits, which is in the detail `permits`; else as
    /// [`Lock::acquire`](super::Lock::acquire).
    pub async fn acquire(&self, count: u64) -> Result<Guard, Error> {
        let claim = self.enter(count).await?;
        claim.wait(|earlier| self.blocker(earlier, count)).await?;
        Ok(Guard::new(claim))
    }

    /// As [`Semaphore::acquire`], at most this long; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::acquire`].
    pub async fn acquire_within(&self, patience: Duration, count: u64) -> Result<Option<Guard>, Error> {
        within(patience, self.acquire(count)).await
    }

    /// Takes so many permits if they are free now and nobody waits.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::acquire`].
    pub async fn try_acquire(&self, count: u64) -> Result<Option<Guard>, Error> {
        // A look costs less than a place in the line that would be given up.
        if self.blocker(&self.line().await?, count).is_some() {
            self.check(count)?;
            return Ok(None);
        }
        let claim = self.enter(count).await?;
        let earlier = claim.earlier().await?;
        if self.blocker(&earlier, count).is_some() {
            claim.release().await?;
            return Ok(None);
        }
        Ok(Some(Guard::new(claim)))
    }

    async fn enter(&self, count: u64) -> Result<Claim, Error> {
        self.check(count)?;
        let shared = self.application.place.clone()?.shared();
        let application = Application {
            role: count.to_string(),
            ..self.application.clone()
        };
        loop {
            self.agree(&shared).await?;
            // Judged again where the place is taken: the number may have been changed since.
            let is_agreed = key(&shared).value().is(self.permits.to_string());
            if let Some(claim) = application.enter_if(vec![is_agreed]).await? {
                return Ok(claim);
            }
        }
    }

    /// Sees to it that the store knows the number of permits, and no other.
    async fn agree(&self, shared: &str) -> Result<(), Error> {
        let concord = &self.application.concord;
        let mut found = concord.get(shared).await?.data;
        if found.is_none() {
            let put = key(shared).put(self.permits.to_string());
            concord.txn().when(key(shared).is_absent()).then(put).await?;
            found = concord.get(shared).await?.data;
        }
        let permits = found.as_ref().and_then(|entry| entry.text()?.parse::<u64>().ok());
        match permits {
            Some(permits) if permits != self.permits => {
                let message = format!("the semaphore has {permits} permits, not {}", self.permits);
                Err(Error::new(ErrorKind::ConditionFailed, message).with("permits", permits))
            }
            Some(_) => Ok(()),
            None if found.is_none() => Ok(()),
            None => {
                let message = format!("`{shared}` does not hold a number of permits");
                Err(Error::new(ErrorKind::InvalidValue, message))
            }
        }
    }

    fn check(&self, count: u64) -> Result<(), Error> {
        if count == 0 || count > self.permits {
            let message = format!("{count} permits are asked for, of {}", self.permits);
            return Err(Error::invalid_request(message));
        }
        Ok(())
    }

    /// What must be given back by those who came before, until `count` permits are left.
    fn blocker<'a>(&self, earlier: &'a [Holder], count: u64) -> Option<Blocker<'a>> {
        let held: HashMap<_, _> = earlier
            .iter()
            .map(|holder| (&holder.key, permits_of(holder)))
            .collect();
        let taken = held
            .values()
            .fold(count, |sum, permits| sum.saturating_add(*permits));
        let missing = taken.saturating_sub(self.permits);
        (missing > 0).then_some(Blocker::Some(held, missing))
    }
}

fn permits_of(holder: &Holder) -> u64 {
    let permits = holder.role().and_then(|role| role.parse().ok());
    // A key that somebody put by hand holds one.
    permits.unwrap_or(1)
}
