//! The service registry: who serves what, for as long as it lives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::{LeaseId, Revision};
use concord_core::key::Key;
use concord_core::value::Value;
use concord_core::view::ChangeKind;
use futures::stream::TryStreamExt as _;
use futures::{Stream, pin_mut};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::claim::is_passing;
use super::guard::Fence;
use super::line::{self, Freshness, Holder, Line};
use super::name::{Home, Kind, Place, check_name};
use crate::concord::{Concord, HeldLease, IntoValue};
use crate::error::{Error, ErrorKind};
use crate::limits::{RECIPE_RETRY_PAUSE, RECIPE_TTL_DEFAULT};
use crate::txn::{Transacted, key};

impl Concord {
    /// The service registry: instances of services, each found for as long as it lives.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let registration = db.registry().register("web", "host-7", "10.0.0.7:80").await?;
    /// for instance in db.registry().instances("web").await? {
    ///     println!("{} at {:?}", instance.instance, instance.value.as_text());
    /// }
    /// registration.deregister().await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn registry(&self) -> Registry {
        Registry {
            concord: self.clone(),
            ttl: RECIPE_TTL_DEFAULT,
        }
    }
}

/// The service registry: see [`Concord::registry`].
#[derive(Clone, Debug)]
pub struct Registry {
    concord: Concord,
    ttl: Duration,
}

/// An instance of a service, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Its name among the instances of the service.
    pub instance: String,
    /// What it says about itself, such as its address.
    pub value: Value,
    /// The lease that it lives by.
    pub lease: LeaseId,
    /// Its fencing token: greater than that of every earlier instance of this name.
    pub token: Revision,
}

impl Instance {
    fn new(holder: &Holder) -> Option<Self> {
        let key = std::str::from_utf8(holder.key.as_bytes()).ok()?;
        let (_, instance) = key.rsplit_once('#')?;
        Some(Self {
            instance: instance.to_owned(),
            value: holder.value.clone(),
            lease: holder.lease,
            token: holder.token,
        })
    }
}

impl Registry {
    /// How long an instance is still found after its process is gone. 10 seconds if not set.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Registers an instance until the answer is dropped or its process ends. Heartbeats are sent in
    /// the background; if they could not be for too long, it is registered again as soon as they can.
    ///
    /// An instance that is registered already is replaced: its process has been started
    /// again, and the registration before is [over](Registration::ended).
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name, `invalid_ttl`, `invalid_value`, `value_too_large`; else as
    /// [`Concord::put`].
    pub async fn register(
        &self,
        service: impl Into<String>,
        instance: impl Into<String>,
        value: impl IntoValue,
    ) -> Result<Registration, Error> {
        let entry = Entry::new(&self.concord, service.into(), instance.into(), self.ttl)?;
        let value = value.into_value()?;
        let (held, token) = entry.replace(&value).await?;
        Ok(Registration::hold(entry, value, held, token))
    }

    /// The instances of a service that live, in order of their names.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name; else as [`Concord::get`].
    pub async fn instances(&self, service: impl Into<String>) -> Result<Vec<Instance>, Error> {
        let place = Place::new(Kind::Service, service)?;
        let line = Line::read(&self.concord, &place, Freshness::Now).await?;
        let mut instances: Vec<_> = line.holders.iter().filter_map(Instance::new).collect();
        instances.sort_by(|one, other| one.instance.cmp(&other.instance));
        Ok(instances)
    }

    /// The instances of a service now, and again whenever that changes. Ends after its first error.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a bad name. Later, from the stream: as [`Concord::get`] and [`Concord::watch`].
    pub fn observe(
        &self,
        service: impl Into<String>,
    ) -> Result<impl Stream<Item = Result<Vec<Instance>, Error>> + Send + 'static, Error> {
        let place = Place::new(Kind::Service, service)?;
        let all = |holders: &BTreeMap<Key, Holder>| holders.values().filter_map(Instance::new).collect();
        Ok(line::observe(self.concord.clone(), place, all))
    }

    /// The services that have instances, in order, with the number of these.
    ///
    /// # Errors
    ///
    /// As [`Concord::get`].
    pub async fn services(&self) -> Result<Vec<(String, usize)>, Error> {
        self.services_named("").await
    }

    /// Those whose names begin with `prefix`; of a tenant with `ID#`.
    ///
    /// # Errors
    ///
    /// `invalid_request` for no id of a tenant; else as [`Concord::get`].
    pub async fn services_named(&self, prefix: &str) -> Result<Vec<(String, usize)>, Error> {
        let (home, beginning) = Home::of(Kind::Service, prefix)?;
        let scan = self.concord.scan().prefix(home.root() + beginning).keys_only();
        let records = scan.records();
        pin_mut!(records);
        let mut services: Vec<(String, usize)> = Vec::new();
        while let Some(record) = records.try_next().await? {
            let Some((name, _)) = home.split(&record.key) else {
                continue;
            };
            match services.last_mut() {
                Some((last, count)) if *last == name => *count += 1,
                Some(_) | None => services.push((name, 1)),
            }
        }
        Ok(services)
    }
}

#[cfg(feature = "http")]
impl Registry {
    /// Registers an instance by a lease that the caller keeps alive: its own, or one that is made.
    pub(crate) async fn register_by(
        &self,
        service: &str,
        instance: &str,
        value: Value,
        lease: Option<LeaseId>,
    ) -> Result<(LeaseId, Revision), Error> {
        let entry = Entry::new(&self.concord, service.to_owned(), instance.to_owned(), self.ttl)?;
        let Some(lease) = lease else {
            let lease = self.concord.lease_grant(self.ttl).await?.id;
            return Ok((lease, entry.replace_by(lease, &value).await?));
        };
        let mine = entry.replace_by(lease, &value).await?;
        // Registered by it before: only what it says is changed.
        let fence = Fence {
            key: entry.key.clone(),
            token: mine,
        };
        let put = key(&entry.key).put(value.clone()).lease(lease);
        let is_other = key(&entry.key).value().is_not(value);
        self.concord.txn().when(fence).when(is_other).then(put).await?;
        Ok((lease, mine))
    }

    pub(crate) fn key(&self, service: &str, instance: &str) -> Result<Key, Error> {
        Entry::new(&self.concord, service.to_owned(), instance.to_owned(), self.ttl).map(|entry| entry.key)
    }
}

/// What is to be registered.
#[derive(Clone, Debug)]
struct Entry {
    concord: Concord,
    service: String,
    instance: String,
    key: Key,
    ttl: Duration,
}

impl Entry {
    fn new(concord: &Concord, service: String, instance: String, ttl: Duration) -> Result<Self, Error> {
        check_name(&instance)?;
        let name = format!(
            "{}{instance}",
            Place::new(Kind::Service, service.clone())?.prefix()
        );
        let key = Key::copy_of(name.as_bytes())
            .map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()))?;
        Ok(Self {
            concord: concord.clone(),
            service,
            instance,
            key,
            ttl,
        })
    }

    /// Registers it in place of whatever there is. That goes at a revision of its own: others
    /// see it leave, and the token of who comes is greater.
    async fn replace(&self, value: &Value) -> Result<(HeldLease, Revision), Error> {
        let held = self.concord.lease(self.ttl).await?;
        let token = self.replace_by(held.id(), value).await?;
        Ok((held, token))
    }

    async fn replace_by(&self, lease: LeaseId, value: &Value) -> Result<Revision, Error> {
        loop {
            let done = self.put(lease, value).await?;
            if let Some(token) = token_of(&done, lease) {
                return Ok(token);
            }
            let found = done.records(0).first().map(|record| record.create_revision);
            let unchanged = key(&self.key).create_revision().is(found.unwrap_or_default());
            let removal = self.concord.txn().when(unchanged).then(key(&self.key).delete());
            removal.await?;
        }
    }

    /// Registers it again, unless somebody else has.
    async fn renew(&self, value: &Value) -> Result<Option<(HeldLease, Revision)>, Error> {
        let held = self.concord.lease(self.ttl).await?;
        let done = self.put(held.id(), value).await?;
        Ok(token_of(&done, held.id()).map(|token| (held, token)))
    }

    async fn put(&self, lease: LeaseId, value: &Value) -> Result<Transacted, Error> {
        self.concord
            .txn()
            .when(key(&self.key).is_absent())
            .then(key(&self.key).put(value.clone()).lease(lease))
            .otherwise(key(&self.key).get())
            .await
    }

    /// Waits until the entry is not there any more, or is another's. Says whether it ended by
    /// its time, so that nobody has meant it to.
    async fn ended(&self, held: &HeldLease, token: Revision) -> Result<bool, Error> {
        let mut from = token.next();
        loop {
            let mut watcher = match self.concord.watch().key(&self.key).from_revision(from).await {
                Ok(watcher) => watcher,
                Err(error) if error.kind() == ErrorKind::Compacted => {
                    let found = self.concord.get(&self.key).await?;
                    match found.as_ref() {
                        // Nobody can tell any more why.
                        None => return Ok(true),
                        Some(entry) if entry.lease() != Some(held.id()) => return Ok(false),
                        Some(_) => from = found.revision.next(),
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            while let Some(batch) = watcher.next().await {
                let events = match batch {
                    Ok(batch) => batch.events,
                    Err(error) if error.kind() == ErrorKind::Compacted => break,
                    Err(error) => return Err(error),
                };
                for event in events {
                    match event.kind {
                        ChangeKind::Expire => return Ok(true),
                        ChangeKind::Delete => return Ok(false),
                        ChangeKind::Put => {
                            if event.record.is_some_and(|record| record.lease != Some(held.id())) {
                                return Ok(false);
                            }
                        }
                    }
                }
            }
            from = watcher.position().revision().next();
        }
    }
}

/// The token of an entry that was put by this lease, in this attempt or one before.
fn token_of(done: &Transacted, lease: LeaseId) -> Option<Revision> {
    if done.succeeded {
        return Some(done.revision);
    }
    let found = done.records(0).first();
    let mine = found.filter(|record| record.lease == Some(lease));
    mine.map(|record| record.create_revision)
}

/// How a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Registered {
        lease: LeaseId,
        token: Revision,
    },
    /// It has expired, and is to be registered again.
    Again,
    /// Somebody has removed or replaced it.
    Over,
}

/// An instance that this process has registered: see [`Registry::register`].
///
/// Dropping it deregisters it in the background, [`Registration::deregister`] at once.
#[must_use = "what is not held on to is deregistered at once"]
pub struct Registration {
    entry: Entry,
    value: Arc<Mutex<Value>>,
    standing: watch::Receiver<Standing>,
    keeper: JoinHandle<()>,
    runtime: Handle,
    is_removed: bool,
}

impl Registration {
    fn hold(entry: Entry, value: Value, held: HeldLease, token: Revision) -> Self {
        let lease = held.id();
        let (sender, standing) = watch::channel(Standing::Registered { lease, token });
        let value = Arc::new(Mutex::new(value));
        let keeper = keep(entry.clone(), Arc::clone(&value), held, token, sender);
        Self {
            entry,
            value,
            standing,
            keeper: tokio::spawn(keeper),
            runtime: Handle::current(),
            is_removed: false,
        }
    }

    /// The service.
    pub fn service(&self) -> &str {
        &self.entry.service
    }

    /// The name of the instance.
    pub fn instance(&self) -> &str {
        &self.entry.instance
    }

    /// The condition that the instance is registered by this process, for transactions; `None` if it
    /// is not just now. Another one after it was registered again.
    pub fn fence(&self) -> Option<Fence> {
        let Standing::Registered { token, .. } = *self.standing.borrow() else {
            return None;
        };
        Some(Fence {
            key: self.entry.key.clone(),
            token,
        })
    }

    /// Changes what others see of the instance.
    ///
    /// # Errors
    ///
    /// `condition_failed` if it is not registered just now: another one is, or it will be again and then
    /// with the value before; else as [`Concord::put`].
    pub async fn update(&self, value: impl IntoValue) -> Result<Revision, Error> {
        let value = value.into_value()?;
        let Standing::Registered { lease, token } = *self.standing.borrow() else {
            return Err(self.not_registered());
        };
        let fence = Fence {
            key: self.entry.key.clone(),
            token,
        };
        let put = key(&self.entry.key).put(value.clone()).lease(lease);
        let done = self.entry.concord.txn().when(fence).then(put).await?;
        if !done.succeeded {
            return Err(self.not_registered());
        }
        *self.value.lock() = value;
        Ok(done.revision)
    }

    fn not_registered(&self) -> Error {
        let message = format!("{} is not registered by this process just now", self.instance());
        Error::new(ErrorKind::ConditionFailed, message)
    }

    /// Waits until the registration is over for good: somebody has removed the instance, or registered it
    /// anew, or this node has stopped.
    pub async fn ended(&self) {
        let mut standing = self.standing.clone();
        // An error says that nobody looks after it any more.
        let _ = standing.wait_for(|standing| *standing == Standing::Over).await;
    }

    /// Removes the instance, at once.
    ///
    /// # Errors
    ///
    /// As [`Concord::lease_revoke`]; then it goes by its time. What is over already is no error.
    pub async fn deregister(mut self) -> Result<(), Error> {
        self.keeper.abort();
        let Standing::Registered { lease, .. } = *self.standing.borrow() else {
            return Ok(());
        };
        let done = self.entry.concord.lease_revoke(lease).await;
        self.is_removed = true;
        match done {
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => Ok(()),
            done => done.map(|_| ()),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let is_deregistered = self.keeper.is_finished();
        self.keeper.abort();
        let Standing::Registered { lease, .. } = *self.standing.borrow() else {
            return;
        };
        if !is_deregistered {
            let concord = self.entry.concord.clone();
            // If this fails the lease ends by its time.
            self.runtime
                .spawn(async move { concord.lease_revoke(lease).await.ok() });
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.entry.key)
            .field("standing", &*self.standing.borrow())
            .finish_non_exhaustive()
    }
}

/// Keeps an entry registered, through ends of its lease that nobody has meant.
async fn keep(
    entry: Entry,
    value: Arc<Mutex<Value>>,
    mut held: HeldLease,
    mut token: Revision,
    standing: watch::Sender<Standing>,
) {
    loop {
        let has_expired = entry.ended(&held, token).await.unwrap_or_default();
        // It has no key any more, and what nobody needs does not stay for its time.
        held.revoke().await.ok();
        if !has_expired {
            standing.send_replace(Standing::Over);
            return;
        }
        standing.send_replace(Standing::Again);
        (held, token) = loop {
            let value = value.lock().clone();
            match entry.renew(&value).await {
                Ok(Some(renewed)) => break renewed,
                Err(error) if is_passing(&error) => {
                    tracing::debug!(%error, key = %entry.key, "not registered again, trying again");
                    tokio::time::sleep(RECIPE_RETRY_PAUSE).await;
                }
                // Somebody else is registered, or nothing can be any more.
                Ok(None) | Err(_) => {
                    standing.send_replace(Standing::Over);
                    return;
                }
            }
        };
        let lease = held.id();
        standing.send_replace(Standing::Registered { lease, token });
    }
}
