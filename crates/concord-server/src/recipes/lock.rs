//! The lock: one holder at a time, in the order in which they came.

use std::time::Duration;

use super::claim::Application;
use super::guard::{Guard, applies, within};
use super::line::Holder;
use super::name::{Kind, Place};
use crate::concord::Concord;
use crate::error::Error;

impl Concord {
    /// A lock of this name. Nothing happens before it is asked for.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use concord_server::{Concord, Config, Error};
    /// # async fn example(db: &Concord) -> Result<(), Error> {
    /// let lock = db.lock("reports").ttl(Duration::from_secs(5));
    /// let guard = lock.acquire().await?;
    /// assert!(guard.is_held());
    /// assert!(lock.try_acquire().await?.is_none(), "somebody has it");
    /// // Happens only if the lock is still held when it is applied:
    /// guard.put("report", "finished").await?;
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// # let directory = std::env::temp_dir().join(format!("concord-doc-lock-{}", std::process::id()));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// #     let db = Concord::open(Config::at(&directory)).await.unwrap();
    /// #     example(&db).await.unwrap();
    /// #     db.shutdown().await.unwrap();
    /// # });
    /// # std::fs::remove_dir_all(directory).unwrap();
    /// ```
    ///
    /// Whoever waits watches only the one before it, so that the end of a holder wakes one other,
    /// not all of them.
    pub fn lock(&self, name: impl Into<String>) -> Lock {
        Lock {
            application: Application::new(self, Place::new(Kind::Lock, name)),
        }
    }
}

/// A lock to be taken: see [`Concord::lock`].
#[derive(Clone, Debug)]
pub struct Lock {
    application: Application,
}

impl Lock {
    applies!();

    /// Waits for the lock. To drop the future gives up the place in the line.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name, `invalid_ttl`; `lease_not_found` if the cluster could not
    /// be reached for so long that the place in the line was lost; else as [`Concord::put`] and
    /// [`Concord::watch`].
    pub async fn acquire(&self) -> Result<Guard, Error> {
        self.application.wait_alone().await.map(Guard::new)
    }

    /// Waits for the lock at most this long; `None` if that was not enough. Errors as
    /// [`Lock::acquire`].
    pub async fn acquire_within(&self, patience: Duration) -> Result<Option<Guard>, Error> {
        within(patience, self.acquire()).await
    }

    /// Takes the lock if nobody has it or waits for it. Errors as [`Lock::acquire`].
    pub async fn try_acquire(&self) -> Result<Option<Guard>, Error> {
        Ok(self.application.try_alone().await?.map(Guard::new))
    }

    /// Who holds it now. Errors as [`Concord::get`].
    pub async fn holder(&self) -> Result<Option<Holder>, Error> {
        Ok(self.application.line().await?.into_first())
    }
}
