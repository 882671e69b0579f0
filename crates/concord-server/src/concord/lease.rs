//! Leases: what this process keeps alive, with keys that go when it ends.

use std::future::IntoFuture;
use std::time::Duration;

use concord_auth::Read;
use concord_core::command::Command;
use concord_core::ids::{LeaseId, Millis, Revision, Timestamp};
use concord_core::key::Key;
use concord_core::reply::Reply;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Concord;
use super::convert::ttl_millis;
use super::operation::Operation;
use super::read::{read_options, takes_plan};
use super::write::{Write, WriteKind};
use crate::answer::Answer;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::service::{ReadPlan, Seen};
use concord_raft::ReadConsistency;

impl Concord {
    /// Takes a lease and keeps it alive for as long as the answer is held.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// use std::time::Duration;
    ///
    /// let lease = db.lease(Duration::from_secs(10)).await?;
    /// db.put("service:web:1", "10.0.0.7:80").lease(lease.id()).await?;
    /// // Found by others until this process ends or says so:
    /// lease.revoke().await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Concord::lease_grant`]. Safe to cancel: a lease that nobody holds ends by itself.
    pub async fn lease(&self, ttl: Duration) -> Result<HeldLease, Error> {
        let asked = Instant::now();
        let granted = self.lease_grant(ttl).await?;
        Ok(HeldLease::hold(
            self.clone(),
            granted.id,
            ttl,
            asked + certain(ttl),
        ))
    }

    /// Makes a lease, which ends when it was not kept alive for `ttl`. Its keys go with it.
    ///
    /// # Errors
    ///
    /// `invalid_ttl`; `already_exists` with [`Write::id`]; `quota_exceeded`; else as [`Concord::put`].
    pub fn lease_grant(&self, ttl: Duration) -> Write<'_, LeaseGrant> {
        self.draft(LeaseGrant {
            id: LeaseId::new(0),
            ttl: ttl_millis(ttl),
        })
    }

    /// Lets a lease live for its whole time again.
    ///
    /// # Errors
    ///
    /// `lease_not_found` if it has ended; else as [`Concord::put`].
    pub fn lease_keep_alive(&self, id: LeaseId) -> Write<'_, LeaseKeepAlive> {
        self.draft(LeaseKeepAlive { id })
    }

    /// Ends a lease and removes its keys at one revision.
    ///
    /// # Errors
    ///
    /// As [`Concord::lease_keep_alive`].
    pub fn lease_revoke(&self, id: LeaseId) -> Write<'_, LeaseRevoke> {
        self.draft(LeaseRevoke { id })
    }

    /// A lease and the keys that hang on it, up to 10,000 at once. Consistency as [`Concord::get`].
    ///
    /// # Errors
    ///
    /// `lease_not_found`; else as [`Concord::get`].
    pub fn lease_info(&self, id: LeaseId) -> GetLease<'_> {
        GetLease {
            concord: self,
            id,
            after: None,
            limit: limits::SCAN_PAGE_DEFAULT,
            plan: self.read_plan(),
        }
    }

    /// Leases in order of their ids, up to 10,000 at once. Errors and consistency as [`Concord::get`].
    pub fn leases(&self) -> ListLeases<'_> {
        ListLeases {
            concord: self,
            after: None,
            limit: limits::SCAN_PAGE_DEFAULT,
            plan: self.read_plan(),
        }
    }
}

/// A lease that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leased {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives from each time that it is kept alive.
    pub ttl: Duration,
    /// When it ends, by the cluster's clock, unless it is kept alive.
    pub expires_at: Timestamp,
}

impl Leased {
    fn new(id: LeaseId, ttl: Millis, expires_at: Timestamp) -> Self {
        Self {
            id,
            ttl: Duration::from_millis(ttl.get()),
            expires_at,
        }
    }
}

/// The answer to the end of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// The revision of the removal of its keys, or the current one if it had none.
    pub revision: Revision,
    /// How many keys it had.
    pub keys: u64,
}

/// A lease with the keys that hang on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseInfo {
    /// The lease.
    pub lease: Leased,
    /// Its keys, in order: a page of them.
    pub keys: Vec<Key>,
    /// The last one of the page, for [`GetLease::after`]; `None`: there are no more.
    pub next: Option<Key>,
    /// Whether any key hangs on it, shown or not.
    #[cfg(feature = "http")]
    pub(crate) is_used: bool,
}

/// See [`Concord::lease_grant`].
#[derive(Debug)]
pub struct LeaseGrant {
    id: LeaseId,
    ttl: Result<Millis, Error>,
}

impl Write<'_, LeaseGrant> {
    /// Asks for this id, instead of one that the cluster chooses.
    pub fn id(mut self, id: LeaseId) -> Self {
        self.kind.id = id;
        self
    }
}

impl WriteKind for LeaseGrant {
    type Answer = Leased;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::LeaseGrant {
            lease: self.id,
            ttl: self.ttl?,
        })
    }

    fn answer(reply: Reply) -> Option<Leased> {
        let Reply::LeaseGranted {
            lease,
            ttl,
            expires_at,
            ..
        } = reply
        else {
            return None;
        };
        Some(Leased::new(lease, ttl, expires_at))
    }
}

/// See [`Concord::lease_keep_alive`].
#[derive(Debug)]
pub struct LeaseKeepAlive {
    id: LeaseId,
}

impl WriteKind for LeaseKeepAlive {
    type Answer = Leased;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::LeaseKeepAlive { lease: self.id })
    }

    fn answer(reply: Reply) -> Option<Leased> {
        let Reply::LeaseKept {
            lease,
            ttl,
            expires_at,
            ..
        } = reply
        else {
            return None;
        };
        Some(Leased::new(lease, ttl, expires_at))
    }
}

/// See [`Concord::lease_revoke`].
#[derive(Debug)]
pub struct LeaseRevoke {
    id: LeaseId,
}

impl WriteKind for LeaseRevoke {
    type Answer = Revoked;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::LeaseRevoke { lease: self.id })
    }

    fn answer(reply: Reply) -> Option<Revoked> {
        let Reply::LeaseRevoked { revision, keys } = reply else {
            return None;
        };
        Some(Revoked { revision, keys })
    }
}

/// A question about a lease, to be awaited: see [`Concord::lease_info`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetLease<'a> {
    concord: &'a Concord,
    id: LeaseId,
    after: Option<Key>,
    limit: usize,
    plan: ReadPlan,
}

impl GetLease<'_> {
    read_options!(plan);
    takes_plan!();

    /// Goes on behind this key: [`LeaseInfo::next`] of the page before.
    pub fn after(mut self, key: Key) -> Self {
        self.after = Some(key);
        self
    }

    /// At most this many keys: 1,000 if not set, 10,000 at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl<'a> IntoFuture for GetLease<'a> {
    type Output = Result<Answer<LeaseInfo>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            concord,
            id,
            after,
            limit,
            plan,
        } = self;
        concord.read(
            (),
            |()| Read::Lease,
            plan,
            move |(), seen| {
                let view = seen.view();
                let shown = view.lease(id).filter(|lease| is_shown(lease, seen));
                let lease = shown.ok_or_else(|| {
                    Error::new(ErrorKind::LeaseNotFound, format!("lease {id} not found"))
                        .with("lease", id.get())
                })?;
                let keys = view.lease_keys(id, after.as_ref().map(Key::as_bytes));
                let (keys, next) = page(keys.filter(|key| seen.sight().shows(key)), limit);
                Ok(LeaseInfo {
                    lease: Leased::new(lease.id, lease.ttl, lease.expires_at),
                    keys,
                    next,
                    #[cfg(feature = "http")]
                    is_used: lease.keys > 0,
                })
            },
        )
    }
}

/// The first of these keys, and the last one of them if there are more.
fn page<'a>(keys: impl Iterator<Item = &'a [u8]>, limit: usize) -> (Vec<Key>, Option<Key>) {
    let limit = limit.clamp(1, concord_core::limits::SCAN_PAGE_RECORDS_MAX);
    let (mut page, mut bytes) = (Vec::new(), 0);
    // Keys in the store are keys.
    for key in keys.filter_map(|key| Key::copy_of(key).ok()) {
        if page.len() == limit || bytes >= concord_core::limits::SCAN_PAGE_BYTES {
            let next = page.last().cloned();
            return (page, next);
        }
        bytes += key.as_bytes().len();
        page.push(key);
    }
    (page, None)
}

/// Who is not shown every key is shown no leases but their own: what hangs on others' is others' concern.
fn is_shown(lease: &concord_core::Lease, seen: &Seen) -> bool {
    !seen.sight().is_confined() || lease.owner == seen.principal().id()
}

/// A list of leases, to be awaited: see [`Concord::leases`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct ListLeases<'a> {
    concord: &'a Concord,
    after: Option<LeaseId>,
    limit: usize,
    plan: ReadPlan,
}

impl ListLeases<'_> {
    read_options!(plan);
    takes_plan!();

    /// Goes on behind this one.
    pub fn after(mut self, id: LeaseId) -> Self {
        self.after = Some(id);
        self
    }

    /// At most this many: 1,000 if not set, 10,000 at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl<'a> IntoFuture for ListLeases<'a> {
    /// The leases, with how many keys hang on each.
    type Output = Result<Answer<Vec<(Leased, u64)>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            concord,
            after,
            limit,
            plan,
        } = self;
        let limit = limit.min(concord_core::limits::SCAN_PAGE_RECORDS_MAX);
        concord.read(
            (),
            |()| Read::Lease,
            plan,
            move |(), seen| {
                let view = seen.view();
                let found = view.leases(after).filter(|lease| is_shown(lease, seen));
                let shown = found.take(limit).map(|lease| {
                    let leased = Leased::new(lease.id, lease.ttl, lease.expires_at);
                    let keys = if seen.sight().is_confined() {
                        let shown = view
                            .lease_keys(lease.id, None)
                            .filter(|key| seen.sight().shows(key));
                        u64::try_from(shown.count()).unwrap_or(u64::MAX)
                    } else {
                        lease.keys
                    };
                    (leased, keys)
                });
                Ok(shown.collect())
            },
        )
    }
}

/// A lease that a task of this process keeps alive: see [`Concord::lease`].
///
/// Dropping it stops that, and the lease ends after its time. [`HeldLease::revoke`] ends it at
/// once. It counts as a handle to the node.
#[derive(Debug)]
pub struct HeldLease {
    concord: Concord,
    id: LeaseId,
    keeper: JoinHandle<()>,
    /// Until when the lease lives for certain, by this process's clock; `None`: it has ended.
    held: watch::Receiver<Option<Instant>>,
}

impl HeldLease {
    fn hold(concord: Concord, id: LeaseId, ttl: Duration, until: Instant) -> Self {
        let (sender, held) = watch::channel(Some(until));
        let keeper = tokio::spawn(keep(concord.clone(), id, ttl, sender));
        Self {
            concord,
            id,
            keeper,
            held,
        }
    }

    /// Its id, to hang keys on it.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Whether the lease lives for certain. Judged by this process's clock from when it last asked
    /// for more time, less a tenth, so that a process that was cut off knows by itself, and before
    /// the cluster ends the lease.
    pub fn is_alive(&self) -> bool {
        self.held.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until the lease does not live for certain any more.
    pub async fn lost(&self) {
        let mut held = self.held.clone();
        loop {
            let until = *held.borrow_and_update();
            match until {
                Some(until) if Instant::now() < until => {
                    tokio::select! {
                        biased;
                        // News goes before the deadline that it may move.
                        changed = held.changed() => if changed.is_err() {
                            return;
                        },
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                Some(_) | None => return,
            }
        }
    }

    /// Ends the lease and removes its keys.
    ///
    /// # Errors
    ///
    /// As [`Concord::lease_revoke`]. It is not kept alive any more in any case.
    pub async fn revoke(self) -> Result<Revoked, Error> {
        self.keeper.abort();
        self.concord.lease_revoke(self.id).await
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// How much of a lease's time its holder counts on: clocks do not run alike.
fn certain(ttl: Duration) -> Duration {
    ttl - ttl / limits::LEASE_MARGIN
}

/// Asks for more time, three times in each, until the lease has ended.
async fn keep(concord: Concord, id: LeaseId, ttl: Duration, held: watch::Sender<Option<Instant>>) {
    let pause = ttl / 3;
    let mut next = Instant::now() + pause;
    loop {
        tokio::time::sleep_until(next).await;
        let asked = Instant::now();
        // An answer that takes longer than that is not worth waiting for.
        let patience = pause.max(limits::LEASE_PATIENCE_MIN);
        match concord.lease_keep_alive(id).timeout(patience).await {
            Ok(_) => {
                held.send_replace(Some(asked + certain(ttl)));
                next = asked + pause;
            }
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                held.send_replace(None);
                return;
            }
            // Nobody answers just now: the lease may still live for the rest of its time, and a
            // cluster without a leader lets none end.
            Err(error) => {
                tracing::debug!(%error, lease = id.get(), "lease was not kept alive, trying again");
                next = Instant::now() + pause / 4;
            }
        }
        if concord.running().is_stopped() {
            held.send_replace(None);
            return;
        }
    }
}
