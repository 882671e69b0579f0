//! A place in a line: a key on a lease, kept alive, and given up when nobody wants it any more.
//!
//! Whatever ends the wait for a place, the key does not stay: the lease of a claim that is dropped
//! is revoked in the background, and if even that fails it ends by its time.

use std::collections::HashMap;
use std::time::Duration;

use concord_core::ids::{LeaseId, Revision};
use concord_core::key::Key;
use concord_core::value::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::line::{Freshness, Holder, Line, end, watch_end};
use super::name::Place;
use crate::concord::{Concord, HeldLease};
use crate::error::{Error, ErrorKind};
use crate::limits::{RECIPE_RETRY_PAUSE, RECIPE_TTL_DEFAULT};
use crate::txn::{When, key, prefix};
use crate::watch::Watcher;

/// What somebody wants, before it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) concord: Concord,
    pub(crate) place: Result<Place, Error>,
    /// What kind of holder it wants to be: goes into the key.
    pub(crate) role: String,
    /// What others see.
    pub(crate) value: Result<Value, Error>,
    pub(crate) ttl: Duration,
    /// A lease that the caller keeps alive, instead of one of our own.
    pub(crate) lease: Option<LeaseId>,
}

/// What somebody in line waits for.
#[derive(Debug)]
pub(crate) enum Blocker<'a> {
    /// The end of this one.
    One(&'a Holder),
    /// That of those who hold so many each, so many are given back.
    Some(HashMap<&'a Key, u64>, u64),
}

/// A place in a line.
#[derive(Debug)]
pub(crate) struct Claim {
    concord: Concord,
    place: Place,
    key: Key,
    token: Revision,
    lease: Lease,
}

/// Who looks after the lease.
#[derive(Debug)]
enum Lease {
    /// A task of ours.
    Ours(OwnLease),
    /// The caller: ours neither to keep alive nor to end.
    Theirs(LeaseId),
}

/// A lease that is revoked in the background when nobody wants it any more.
#[derive(Debug)]
struct OwnLease {
    concord: Concord,
    id: LeaseId,
    held: Option<HeldLease>,
    runtime: Handle,
}

impl OwnLease {
    /// Asked for by a task of its own, so that it is revoked also if nobody waits for the
    /// answer any more.
    async fn take(concord: &Concord, ttl: Duration) -> Result<Self, Error> {
        let asking = concord.clone();
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let held = asking.lease(ttl).await;
            let own = held.map(|held| Self {
                concord: asking,
                id: held.id(),
                held: Some(held),
                runtime: Handle::current(),
            });
            // What nobody takes is dropped, and that revokes it.
            drop(sender.send(own));
        });
        let gone = |_| Error::new(ErrorKind::ShuttingDown, "the runtime is shutting down");
        receiver.await.map_err(gone)?
    }

    async fn revoke(mut self) -> Result<(), Error> {
        match self.held.take() {
            Some(held) => held.revoke().await.map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Drop for OwnLease {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let (concord, lease) = (self.concord.clone(), held.id());
        self.runtime.spawn(async move {
            // If this fails the lease ends by its time.
            if let Err(error) = concord.lease_revoke(lease).await {
                tracing::debug!(%error, lease = lease.get(), "lease was left to end by itself");
            }
        });
    }
}

impl Application {
    pub(crate) fn new(concord: &Concord, place: Result<Place, Error>) -> Self {
        Self {
            concord: concord.clone(),
            place,
            role: String::new(),
            value: Ok(Value::text("")),
            ttl: RECIPE_TTL_DEFAULT,
            lease: None,
        }
    }

    pub(crate) async fn line(&self) -> Result<Line, Error> {
        Line::read(&self.concord, &self.place.clone()?, Freshness::Now).await
    }

    /// Takes a place behind all others.
    pub(crate) async fn enter(&self) -> Result<Claim, Error> {
        self.enter_if(Vec::new()).await?.ok_or_else(|| {
            let message = "the place in the line is another's: its key hangs on another lease";
            Error::new(ErrorKind::AlreadyExists, message)
        })
    }

    /// Takes a place if all of this holds.
    pub(crate) async fn enter_if(&self, conditions: Vec<When>) -> Result<Option<Claim>, Error> {
        let (place, value) = (self.place.clone()?, self.value.clone()?);
        let lease = match self.lease {
            Some(lease) => Lease::Theirs(lease),
            None => Lease::Ours(OwnLease::take(&self.concord, self.ttl).await?),
        };
        let name = place.key(&self.role, lease.id());
        let mut claim = Claim {
            concord: self.concord.clone(),
            place,
            key: Key::copy_of(name.as_bytes())
                .map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()))?,
            token: Revision::EMPTY,
            lease,
        };
        Ok(claim.put(&conditions, &value).await?.then_some(claim))
    }
}

/// What is one holder's alone.
impl Application {
    /// Waits until nobody is before.
    pub(crate) async fn wait_alone(&self) -> Result<Claim, Error> {
        let claim = self.enter().await?;
        claim.wait(|earlier| earlier.last().map(Blocker::One)).await?;
        Ok(claim)
    }

    /// Takes it if nobody is there.
    pub(crate) async fn try_alone(&self) -> Result<Option<Claim>, Error> {
        // A look costs less than a lease that would not be used.
        let first = self.line().await?.into_first();
        if first.is_some_and(|first| Some(first.lease) != self.lease) {
            return Ok(None);
        }
        let everybody = prefix(self.place.clone()?.prefix());
        self.enter_if(vec![everybody.is_absent()]).await
    }
}

impl Lease {
    fn id(&self) -> LeaseId {
        match self {
            Self::Ours(own) => own.id,
            Self::Theirs(id) => *id,
        }
    }
}

impl Claim {
    /// Puts the key, once, however often it takes to be sure of it.
    async fn put(&mut self, conditions: &[When], value: &Value) -> Result<bool, Error> {
        loop {
            let absent = self.concord.txn().when(key(&self.key).is_absent());
            let put = conditions
                .iter()
                .fold(absent, |txn, condition| txn.when(condition.clone()))
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

    /// Waits until `blocker` finds nothing to wait for among those who came before, in their order.
    pub(crate) async fn wait(&self, blocker: impl Fn(&[Holder]) -> Option<Blocker<'_>>) -> Result<(), Error> {
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
            let watched = match blocker {
                Blocker::One(holder) => self.watch(Some(&holder.key), next).await?,
                Blocker::Some(..) => self.watch(None, next).await?,
            };
            let Some((mut own, mut others)) = watched else {
                continue;
            };
            tokio::select! {
                biased;
                // Losing the place goes before getting on in the line.
                () = self.lease_lost() => return Err(self.lost_error()),
                ended = end(&mut own) => ended?,
                ended = freed(&mut others, blocker) => ended?,
            }
        }
    }

    /// Who came before and is still there.
    pub(crate) async fn earlier(&self) -> Result<Vec<Holder>, Error> {
        let fresh = Freshness::Since(self.token);
        let mut line = Line::read(&self.concord, &self.place, fresh).await?.holders;
        line.retain(|holder| holder.token < self.token);
        Ok(line)
    }

    /// Watches for the end of the own key, which an operator may remove, and of another one or
    /// all of the name. `None`: too much has happened, look again.
    async fn watch(&self, other: Option<&Key>, from: Revision) -> Result<Option<(Watcher, Watcher)>, Error> {
        let own = watch_end(self.concord.watch().key(&self.key), from).await?;
        let others = match other {
            Some(key) => self.concord.watch().key(key),
            None => self.concord.watch().prefix(self.place.prefix()),
        };
        Ok(own.zip(watch_end(others, from).await?))
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
            Lease::Ours(own) => own.held.as_ref().is_some_and(HeldLease::is_alive),
            Lease::Theirs(_) => true,
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
        let (record, revision) = self.concord.service().own_key(self.key.as_bytes());
        (revision >= self.token).then(|| {
            let is_mine = record.is_some_and(|record| record.create_revision() == self.token);
            (is_mine, revision)
        })
    }

    pub(crate) async fn lease_lost(&self) {
        match &self.lease {
            Lease::Ours(OwnLease { held: Some(held), .. }) => held.lost().await,
            Lease::Ours(_) => {}
            Lease::Theirs(_) => std::future::pending().await,
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
            match watch_end(self.concord.watch().key(&self.key), from).await {
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

    /// Leaves the lease to the caller, who has to keep it alive from here on.
    #[cfg(feature = "http")]
    pub(crate) fn hand_over(mut self) {
        if let Lease::Ours(own) = &mut self.lease {
            // Dropped, a held lease is not kept alive any more, but not revoked either.
            drop(own.held.take());
        }
    }

    /// Ends the lease, and the key with it.
    pub(crate) async fn release(self) -> Result<(), Error> {
        match self.lease {
            Lease::Ours(own) => own.revoke().await,
            Lease::Theirs(_) => Ok(()),
        }
    }
}

/// Waits until what is watched has ended, or must be looked at again.
async fn freed(watcher: &mut Watcher, blocker: Blocker<'_>) -> Result<(), Error> {
    let Blocker::Some(mut held, mut missing) = blocker else {
        return end(watcher).await;
    };
    while missing > 0 {
        match watcher.next().await {
            Some(Ok(batch)) => {
                for event in batch.events {
                    let given_back = held.remove(&event.key).unwrap_or_default();
                    missing = missing.saturating_sub(given_back);
                }
            }
            Some(Err(error)) if error.kind() != ErrorKind::Compacted => return Err(error),
            Some(Err(_)) | None => return Ok(()),
        }
    }
    Ok(())
}

/// Whether another try may succeed, which is safe for a put that knows its own.
pub(super) fn is_passing(error: &Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown
        || (error.kind().is_retryable() && error.kind() != ErrorKind::ShuttingDown)
}
