//! The read-write lock: many readers or one writer, in the order in which they came.

use std::time::Duration;

use super::claim::{Application, Blocker};
use super::guard::{Guard, applies, within};
use super::line::Holder;
use super::name::{Kind, Place};
use crate::concord::Concord;
use crate::error::Error;
use crate::txn::prefix;

const READER: &str = "r";
const WRITER: &str = "w";

impl Concord {
    /// A read-write lock of this name: held by any number of readers, or by one writer. Whoever
    /// comes waits behind those that came before and exclude it, so that no writer starves.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let lock = db.rw_lock("catalogue");
    /// let (one, other) = (lock.read().await?, lock.read().await?);
    /// assert!(lock.try_write().await?.is_none());
    /// one.release().await?;
    /// other.release().await?;
    /// let writing = lock.write().await?;
    /// writing.put("catalogue", "new").await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rw_lock(&self, name: impl Into<String>) -> RwLock {
        RwLock {
            application: Application::new(self, Place::new(Kind::RwLock, name)),
        }
    }
}

/// A read-write lock: see [`Concord::rw_lock`].
#[derive(Clone, Debug)]
pub struct RwLock {
    application: Application,
}

impl RwLock {
    applies!();

    /// Waits until no writer has it or waits before. Errors and dropping as
    /// [`Lock::acquire`](super::Lock::acquire).
    ///
    /// # Errors
    ///
    /// As [`Lock::acquire`](super::Lock::acquire).
    pub async fn read(&self) -> Result<Guard, Error> {
        let claim = self.in_role(READER).enter().await?;
        let last_writer = |earlier: &[Holder]| earlier.iter().rposition(is_writer);
        claim
            .wait(|earlier| {
                let writer = earlier.get(last_writer(earlier)?)?;
                Some(Blocker::One(writer))
            })
            .await?;
        Ok(Guard::new(claim))
    }

    /// Waits until nobody else has it. Errors as [`RwLock::read`].
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    pub async fn write(&self) -> Result<Guard, Error> {
        let claim = self.in_role(WRITER).enter().await?;
        claim.wait(|earlier| earlier.last().map(Blocker::One)).await?;
        Ok(Guard::new(claim))
    }

    /// As [`RwLock::read`], at most this long; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    pub async fn read_within(&self, patience: Duration) -> Result<Option<Guard>, Error> {
        within(patience, self.read()).await
    }

    /// As [`RwLock::write`], at most this long; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    pub async fn write_within(&self, patience: Duration) -> Result<Option<Guard>, Error> {
        within(patience, self.write()).await
    }

    /// Reads if no writer has it or waits for it.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    pub async fn try_read(&self) -> Result<Option<Guard>, Error> {
        let writers = format!("{}{WRITER}-", self.application.place.clone()?.prefix());
        self.enter_if_free(READER, writers, is_writer).await
    }

    /// Writes if nobody has it or waits for it.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    pub async fn try_write(&self) -> Result<Option<Guard>, Error> {
        let everybody = self.application.place.clone()?.prefix();
        self.enter_if_free(WRITER, everybody, |_| true).await
    }

    async fn enter_if_free(
        &self,
        role: &str,
        keys: String,
        excludes: impl Fn(&Holder) -> bool,
    ) -> Result<Option<Guard>, Error> {
        // A look costs less than a lease that would not be used.
        if self.application.line().await?.holders.iter().any(excludes) {
            return Ok(None);
        }
        let conditions = vec![prefix(keys).is_absent()];
        let claim = self.in_role(role).enter_if(conditions).await?;
        Ok(claim.map(Guard::new))
    }

    fn in_role(&self, role: &str) -> Application {
        Application {
            role: role.to_owned(),
            ..self.application.clone()
        }
    }
}

fn is_writer(holder: &Holder) -> bool {
    holder.role() == Some(WRITER)
}
