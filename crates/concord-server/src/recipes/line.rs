//! Who stands in line for a name, first come first served.

use std::collections::BTreeMap;

use concord_core::ids::{LeaseId, Revision};
use concord_core::key::Key;
use concord_core::record::Record;
use concord_core::value::Value;
use concord_core::view::ChangeKind;
use concord_raft::ReadConsistency;
use futures::Stream;
use futures::stream::{self, TryStreamExt as _};

use super::name::Place;
use crate::concord::{Concord, Watch};
use crate::error::{Error, ErrorKind};
use crate::watch::Watcher;

/// Who holds something, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its key.
    pub key: Key,
    /// The lease that the key hangs on.
    pub lease: LeaseId,
    /// Its fencing token: the revision at which its key came into being.
    pub token: Revision,
    /// What it says about itself.
    pub value: Value,
}

impl Holder {
    pub(crate) fn new(record: Record) -> Self {
        Self {
            key: record.key,
            lease: record.lease.unwrap_or(LeaseId::new(0)),
            token: record.create_revision,
            value: record.value,
        }
    }

    /// What kind of holder it is, where there are several.
    pub(super) fn role(&self) -> Option<&str> {
        let key = std::str::from_utf8(self.key.as_bytes()).ok()?;
        let (_, holder) = key.rsplit_once('#')?;
        holder.rsplit_once('-').map(|(role, _)| role)
    }

    /// What it says about itself, if that is text.
    pub fn text(&self) -> Option<&str> {
        self.value.as_text()
    }
}

/// A line as it was at a revision.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// In the order of their tokens: the first has waited for longest.
    pub(crate) holders: Vec<Holder>,
    pub(crate) revision: Revision,
}

/// How a line is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freshness {
    /// As it is now.
    Now,
    /// As this node knows it, at this revision or later.
    Since(Revision),
    /// As it was.
    At(Revision),
}

impl Line {
    pub(crate) async fn read(concord: &Concord, place: &Place, fresh: Freshness) -> Result<Self, Error> {
        let scan = concord.scan().prefix(place.prefix());
        let scan = match fresh {
            Freshness::Now => scan,
            Freshness::Since(revision) => scan.consistency(ReadConsistency::Eventual).min_revision(revision),
            Freshness::At(revision) => scan
                .consistency(ReadConsistency::Eventual)
                .revision(revision)
                .min_revision(revision),
        };
        let pages: Vec<_> = scan.pages().try_collect().await?;
        let revision = pages.first().map_or(Revision::EMPTY, |page| page.revision);
        let records = pages.into_iter().flat_map(|page| page.records);
        let mut holders: Vec<Holder> = records.map(Holder::new).collect();
        holders.sort_by_key(|holder| holder.token);
        Ok(Self { holders, revision })
    }

    pub(crate) fn into_first(self) -> Option<Holder> {
        self.holders.into_iter().next()
    }
}

/// Watches for ends from a revision on. `None`: too much has happened since to tell.
pub(crate) async fn watch_end(watch: Watch<'_>, from: Revision) -> Result<Option<Watcher>, Error> {
    let watch = watch.kinds(&[ChangeKind::Delete, ChangeKind::Expire]);
    match watch.from_revision(from).await {
        Ok(watcher) => Ok(Some(watcher)),
        Err(error) if error.kind() == ErrorKind::Compacted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for what a watch says: that something ended, or that it has to be looked at again.
pub(crate) async fn end(watcher: &mut Watcher) -> Result<(), Error> {
    match watcher.next().await {
        Some(Err(error)) if error.kind() != ErrorKind::Compacted => Err(error),
        Some(_) | None => Ok(()),
    }
}

/// What `look` sees in the keys of a name now, and whenever that is something else.
pub(crate) fn observe<T: Clone + PartialEq + Send + 'static>(
    concord: Concord,
    place: Place,
    look: fn(&BTreeMap<Key, Holder>) -> T,
) -> impl Stream<Item = Result<T, Error>> + Send + 'static {
    let observer = Observer {
        concord,
        place,
        following: None,
        look,
        told: None,
    };
    stream::try_unfold(observer, |mut observer| async move {
        let seen = observer.next().await?;
        Ok(Some((seen, observer)))
    })
}

struct Observer<T> {
    concord: Concord,
    place: Place,
    following: Option<(BTreeMap<Key, Holder>, Watcher)>,
    look: fn(&BTreeMap<Key, Holder>) -> T,
    told: Option<T>,
}

impl<T: Clone + PartialEq> Observer<T> {
    async fn next(&mut self) -> Result<T, Error> {
        loop {
            match &mut self.following {
                None => self.following = begin(&self.concord, &self.place).await?,
                Some((line, watcher)) => match watcher.next().await {
                    Some(Ok(batch)) => {
                        for event in batch.events {
                            match event.record {
                                Some(record) => line.insert(event.key, Holder::new(record)),
                                None => line.remove(&event.key),
                            };
                        }
                    }
                    Some(Err(error)) if error.kind() != ErrorKind::Compacted => return Err(error),
                    Some(Err(_)) | None => self.following = None,
                },
            }
            let Some((line, _)) = &self.following else {
                continue;
            };
            let seen = (self.look)(line);
            if self.told.as_ref() != Some(&seen) {
                self.told = Some(seen.clone());
                return Ok(seen);
            }
        }
    }
}

async fn begin(concord: &Concord, place: &Place) -> Result<Option<(BTreeMap<Key, Holder>, Watcher)>, Error> {
    let line = Line::read(concord, place, Freshness::Now).await?;
    let watch = concord.watch().prefix(place.prefix());
    match watch.from_revision(line.revision.next()).await {
        Ok(watcher) => {
            let holders = line.holders.into_iter();
            let by_key = holders.map(|holder| (holder.key.clone(), holder)).collect();
            Ok(Some((by_key, watcher)))
        }
        Err(error) if error.kind() == ErrorKind::Compacted => Ok(None),
        Err(error) => Err(error),
    }
}
