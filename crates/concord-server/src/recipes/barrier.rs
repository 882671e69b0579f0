//! Barriers: a gate that all wait at, and a meeting of so many.

use std::ops::Deref;
use std::time::Duration;

use concord_core::ids::Revision;
use concord_core::view::ChangeKind;

use super::claim::{Application, Claim};
use super::guard::{Guard, applies, within};
use super::line::{Freshness, Holder, Line, end, watch_end};
use super::name::{Kind, Place};
use crate::concord::Concord;
use crate::error::{Error, ErrorKind};

impl Concord {
    /// A gate of this name. It is open unless somebody has closed it; whoever waits goes on when
    /// it is opened, all at once.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let migration = db.barrier("migration");
    /// migration.close().await?;
    /// // Elsewhere: db.barrier("migration").wait().await?
    /// migration.open().await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn barrier(&self, name: impl Into<String>) -> Barrier {
        Barrier {
            concord: self.clone(),
            place: Place::new(Kind::Barrier, name),
        }
    }

    /// A meeting of so many of this name: all go on when that many have come, and may wait for each
    /// other again when they leave.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let shuffle = db.double_barrier("shuffle", 2);
    /// let (one, other) = tokio::try_join!(shuffle.enter(), shuffle.enter())?;
    /// // Both work now.
    /// tokio::try_join!(one.leave(), other.leave())?;
    /// // Both have finished.
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn double_barrier(&self, name: impl Into<String>, count: usize) -> DoubleBarrier {
        DoubleBarrier {
            application: Application::new(self, Place::new(Kind::DoubleBarrier, name)),
            count,
        }
    }
}

/// A gate: see [`Concord::barrier`].
#[derive(Clone, Debug)]
pub struct Barrier {
    concord: Concord,
    place: Result<Place, Error>,
}

impl Barrier {
    /// Closes it until it is opened, also if this process ends. Answers with the revision at which
    /// it was closed, by whomever.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name; else as [`Concord::put`].
    pub async fn close(&self) -> Result<Revision, Error> {
        let key = self.place.clone()?.shared();
        match self.concord.put(&key, "").if_absent().await {
            Ok(written) => Ok(written.revision),
            Err(error) if error.kind() == ErrorKind::ConditionFailed => {
                let current = error.current_record().map(|record| record.create_revision);
                current.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens it. Whether it was closed.
    ///
    /// # Errors
    ///
    /// As [`Barrier::close`].
    pub async fn open(&self) -> Result<bool, Error> {
        let key = self.place.clone()?.shared();
        Ok(self.concord.delete(key).await?.existed)
    }

    /// Whether it is closed now.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name; else as [`Concord::get`].
    pub async fn is_closed(&self) -> Result<bool, Error> {
        let key = self.place.clone()?.shared();
        Ok(self.concord.exists(key).await?.into_inner())
    }

    /// Waits until it is open.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name; else as [`Concord::get`] and [`Concord::watch`].
    pub async fn wait(&self) -> Result<(), Error> {
        let key = self.place.clone()?.shared();
        loop {
            let closed = self.concord.exists(&key).await?;
            if !closed.data {
                return Ok(());
            }
            let watch = self.concord.watch().key(&key);
            if let Some(mut watcher) = watch_end(watch, closed.revision.next()).await? {
                end(&mut watcher).await?;
            }
        }
    }

    /// Waits until it is open, at most this long. Whether it is.
    ///
    /// # Errors
    ///
    /// As [`Barrier::wait`].
    pub async fn wait_within(&self, patience: Duration) -> Result<bool, Error> {
        Ok(within(patience, self.wait()).await?.is_some())
    }
}

/// A meeting: see [`Concord::double_barrier`].
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    application: Application,
    count: usize,
}

/// One who has come to a meeting where all have come. It is a [`Guard`].
#[derive(Debug)]
#[must_use = "who does not hold on to it has left"]
pub struct Arrived {
    guard: Guard,
    place: Place,
    /// Who was there, by their tokens.
    all: Vec<Revision>,
}

impl DoubleBarrier {
    applies!();

    /// Waits until so many have come, this one among them. To drop the future is to go again.
    ///
    /// # Errors
    ///
    /// `compacted` if this node was so far behind that it cannot tell whether they were there together; else
    /// as [`Lock::acquire`](super::Lock::acquire).
    pub async fn enter(&self) -> Result<Arrived, Error> {
        if self.count == 0 {
            return Err(Error::invalid_request("a meeting is one of at least 1"));
        }
        let claim = self.application.enter().await?;
        let all = self.gather(&claim).await?;
        Ok(Arrived {
            place: claim.place().clone(),
            all,
            guard: Guard::new(claim),
        })
    }

    /// As [`DoubleBarrier::enter`], at most this long; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`DoubleBarrier::enter`].
    pub async fn enter_within(&self, patience: Duration) -> Result<Option<Arrived>, Error> {
        within(patience, self.enter()).await
    }

    /// Follows who comes and goes, change by change from the own coming on: all who were there at
    /// the revision that made them enough find the same, however late they look, and also if
    /// the first has left again by then.
    async fn gather(&self, claim: &Claim) -> Result<Vec<Revision>, Error> {
        let (concord, place) = (claim.concord(), claim.place());
        let line = Line::read(concord, place, Freshness::At(claim.token())).await?;
        let mut present: Vec<(_, Revision)> = line.holders.into_iter().map(known).collect();
        let watch = concord.watch().prefix(place.prefix());
        let mut watcher = watch.from_revision(claim.token().next()).await?;
        while present.len() < self.count {
            let batch = tokio::select! {
                biased;
                // The lease has the last word.
                () = claim.lease_lost() => return Err(claim.lost_error()),
                batch = watcher.next() => batch,
            };
            let Some(batch) = batch.transpose()? else {
                return Err(claim.lost_error());
            };
            for event in batch.events {
                match event.kind {
                    ChangeKind::Put => {
                        if let Some(record) = event.record.filter(|record| record.version == 1) {
                            present.push(known(Holder::new(record)));
                        }
                    }
                    ChangeKind::Delete | ChangeKind::Expire => {
                        if event.key == *claim.key() {
                            return Err(claim.lost_error());
                        }
                        present.retain(|(key, _)| *key != event.key);
                    }
                }
            }
        }
        Ok(present.into_iter().map(|(_, token)| token).collect())
    }
}

fn known(holder: Holder) -> (concord_core::key::Key, Revision) {
    (holder.key, holder.token)
}

impl Arrived {
    /// Leaves, and waits until all have left that were there.
    ///
    /// # Errors
    ///
    /// `lease_not_found` if this one had been lost before; else as [`Concord::lease_revoke`], [`Concord::get`]
    /// and [`Concord::watch`].
    pub async fn leave(self) -> Result<(), Error> {
        let concord = self.guard.concord().clone();
        self.guard.release().await?;
        loop {
            let line = Line::read(&concord, &self.place, Freshness::Now).await?;
            let mut others = line.holders.iter();
            let Some(other) = others.find(|holder| self.all.contains(&holder.token)) else {
                return Ok(());
            };
            let watch = concord.watch().key(&other.key);
            if let Some(mut watcher) = watch_end(watch, line.revision.next()).await? {
                end(&mut watcher).await?;
            }
        }
    }
}

impl Deref for Arrived {
    type Target = Guard;

    fn deref(&self) -> &Guard {
        &self.guard
    }
}
