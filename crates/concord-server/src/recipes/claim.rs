//! A place in a line: a key on a lease, kept alive, and given up when nobody wants it any more.
//!
//! Whatever ends the wait for a place, the key does not stay: a claim that is dropped revokes
//! its lease in the background, and if even that fails the lease ends by its time.

use std::time::Duration;

use concord_core::ids::{LeaseId, Revision};
use concord_core::key::Key;
use concord_core::value::Value;
use tokio::runtime::Handle;

use super::line::{Freshness, Holder, Line, end, watch_end};
use super::name::Place;
use crate::concord::{Concord, HeldLease};
use crate::error::{Error, ErrorKind};
use crate::limits::{RECIPE_RETRY_PAUSE, RECIPE_TTL_DEFAULT};
use crate::txn::{key, prefix};

/// What somebody wants, before it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) concord: Concord,
    pub(crate) place: Result<Place, Error>,
    pub(crate) ttl: Duration,
    /// A lease that the caller keeps alive, instead of one of our own.
    pub(crate) lease: Option<LeaseId>,
}

/// Whether a place may be taken behind others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// At the end of the line.
    InLine,
    /// Only if nobody is there.
    IfFree,
}

/// A place in a line.
#[derive(Debug)]
pub(crate) struct Claim {
    concord: Concord,
    place: Place,
    key: Key,
    token: Revision,
    lease: Lease,
    runtime: Handle,
}

/// Who looks after the lease.
#[derive(Debug)]
enum Lease {
    /// A task of ours.
    Ours(HeldLease),
    /// The caller: ours neither to keep alive nor to end.
    Theirs(LeaseId),
    /// Nobody any more.
    GivenUp(LeaseId),
}

impl Application {
    pub(crate) fn new(concord: &Concord, place: Result<Place, Error>) -> Self {
        Self {
            concord: concord.clone(),
            place,
            ttl: RECIPE_TTL_DEFAULT,
            lease: None,
        }
    }

    pub(crate) async fn line(&self) -> Result<Line, Error> {
        Line::read(&self.concord, &self.place.clone()?, Freshness::Now).await
    }

    /// Takes a place; `None` if it was to be taken only if nobody is there, and somebody is.
    pub(crate) async fn enter(&self, entry: Entry, value: Value) -> Result<Option<Claim>, Error> {
        let place = self.place.clone()?;
        let lease = match self.lease {
            Some(lease) => Lease::Theirs(lease),
            None => Lease::Ours(self.concord.lease(self.ttl).await?),
        };
        let name = place.key(lease.id());
        let mut claim = Claim {
            concord: self.concord.clone(),
            place,
            key: Key::copy_of(name.as_bytes())
                .map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()))?,
            token: Revision::EMPTY,
            lease,
            runtime: Handle::current(),
        };
        Ok(claim.put(entry, &value).await?.then_some(claim))
    }
}

impl Lease {
    const fn id_of_theirs(&self) -> Option<LeaseId> {
        match self {
            Self::Theirs(id) | Self::GivenUp(id) => Some(*id),
            Self::Ours(_) => None,
        }
    }

    fn id(&self) -> LeaseId {
        match self {
            Self::Ours(held) => held.id(),
            Self::Theirs(id) | Self::GivenUp(id) => *id,
        }
    }
}

impl Claim {
    /// Puts the key, once, however often it takes to be sure of it.
    async fn put(&mut self, entry: Entry, value: &Value) -> Result<bool, Error> {
        loop {
            let condition = match entry {
                Entry::InLine => key(&self.key).is_absent(),
                Entry::IfFree => prefix(self.place.prefix()).is_absent(),
            };
            let put = self
                .concord
                .txn()
                .when(condition)
                .then(key(&self.key).put(value.clone()).lease(self.lease()))
                .otherwise(key(&self.key).get());
            match put.await {
                Ok(done) if done.succeeded => {
                    self.token = done.revision;
                    return Ok(true);
                }
                // It is there already: put by an attempt whose answer was lost, or by who has
                // the lease. The key has its id in it.
                Ok(done) => {
                    let found = done.records(0).first();
                    let mine = found.filter(|record| record.lease == Some(self.lease()));
                    self.token = mine.map_or(self.token, |record| record.create_revision);
                    return Ok(mine.is_some());
                }
                Err(error) if is_passing(&error) && self.is_alive() => {
                    tracing::debug!(%error, key = %self.key, "place in line was not taken, trying again");
                    tokio::time::sleep(RECIPE_RETRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until `blocker` finds nobody among those who came before, first come first.
    pub(crate) async fn wait(&self, blocker: impl Fn(&[Holder]) -> Option<&Holder>) -> Result<(), Error> {
        // News of the own key are waited for as well: an operator may remove it.
        loop {
            let fresh = Freshness::Since(self.token);
            let line = Line::read(&self.concord, &self.place, fresh).await?;
            let mine = |holder: &Holder| holder.key == self.key && holder.token == self.token;
            // The lease is judged behind the view: to be first in line is nothing without it.
            let Some(before) = line.holders.iter().position(mine).filter(|_| self.is_alive()) else {
                return Err(self.lost_error());
            };
            let earlier = line.holders.get(..before).unwrap_or_default();
            let Some(blocker) = blocker(earlier) else {
                return Ok(());
            };
            let next = line.revision.next();
            let (blocker, own) = (
                watch_end(&self.concord, &blocker.key, next).await?,
                watch_end(&self.concord, &self.key, next).await?,
            );
            let (Some(mut blocker), Some(mut own)) = (blocker, own) else {
                continue;
            };
            tokio::select! {
                biased;
                // Losing the place goes before getting on in the line.
                () = self.lease_lost() => return Err(self.lost_error()),
                ended = end(&mut own) => ended?,
                ended = end(&mut blocker) => ended?,
            }
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn token(&self) -> Revision {
        self.token
    }

    pub(crate) fn concord(&self) -> &Concord {
        &self.concord
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn lease(&self) -> LeaseId {
        self.lease.id()
    }

    /// Whether the lease lives as far as is known here.
    fn is_alive(&self) -> bool {
        match &self.lease {
            Lease::Ours(held) => held.is_alive(),
            Lease::Theirs(_) => true,
            Lease::GivenUp(_) => false,
        }
    }

    /// Whether the place is held for certain: the lease lives by this process's clock, and
    /// this node knows of no end of the key.
    pub(crate) fn is_held(&self) -> bool {
        self.is_alive() && self.is_in_view().is_none_or(|(is_there, _)| is_there)
    }

    /// Whether the key is there, and the revision that says so; `None` where this node has not
    /// come so far that it could know.
    fn is_in_view(&self) -> Option<(bool, Revision)> {
        let snapshot = self.concord.service().latest();
        let view = &snapshot.view;
        (view.revision() >= self.token).then(|| {
            let record = view.get_pinned(self.key.as_bytes());
            let is_mine = record.is_some_and(|record| record.create_revision() == self.token);
            (is_mine, view.revision())
        })
    }

    async fn lease_lost(&self) {
        match &self.lease {
            Lease::Ours(held) => held.lost().await,
            Lease::Theirs(_) => std::future::pending().await,
            Lease::GivenUp(_) => {}
        }
    }

    /// Waits until the place is not held for certain any more.
    pub(crate) async fn lost(&self) {
        loop {
            let from = match self.is_in_view() {
                Some((false, _)) => return,
                Some((true, revision)) => revision.next(),
                None => self.token.next(),
            };
            match watch_end(&self.concord, &self.key, from).await {
                Ok(None) => {}
                Ok(Some(mut watcher)) => tokio::select! {
                    biased;
                    // The lease has the last word.
                    () = self.lease_lost() => return,
                    ended = end(&mut watcher) => if ended.is_err() {
                        return;
                    },
                },
                // No room for another watch: the keeper of the lease will learn it as well.
                Err(error) if error.kind() == ErrorKind::Overloaded => return self.lease_lost().await,
                Err(_) => return,
            }
        }
    }

    pub(crate) fn lost_error(&self) -> Error {
        let message = format!("{} is not held any more: its lease has ended", self.place.name());
        Error::new(ErrorKind::LeaseNotFound, message).with("lease", self.lease().get())
    }

    /// Ends the lease, and the key with it.
    pub(crate) async fn release(mut self) -> Result<(), Error> {
        let id = self.lease.id();
        match std::mem::replace(&mut self.lease, Lease::GivenUp(id)) {
            Lease::Ours(held) => held.revoke().await.map(|_| ()),
            Lease::Theirs(_) | Lease::GivenUp(_) => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.lease.id_of_theirs().is_some() {
            return;
        }
        let (concord, lease) = (self.concord.clone(), self.lease.id());
        self.runtime.spawn(async move {
            // If this fails the lease ends by its time.
            if let Err(error) = concord.lease_revoke(lease).await {
                tracing::debug!(%error, lease = lease.get(), "lease was left to end by itself");
            }
        });
    }
}

/// Whether another try may succeed, which is safe for a put that knows its own.
pub(super) fn is_passing(error: &Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown
        || (error.kind().is_retryable() && error.kind() != ErrorKind::ShuttingDown)
}
