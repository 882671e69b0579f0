//! Put, delete, touch and increment: judged first, changed last (I3).

use alloc::string::ToString;

use super::Store;
use super::mutate::{Mutation, bytes};
use crate::document;
use crate::ids::{Millis, Revision, Timestamp};
use crate::key::Key;
use crate::limits::TTL_MS_MAX;
use crate::record::RecordRef;
use crate::record::cell::{Header, Link};
use crate::reply::{InvalidValueReason, Rejection, Reply};
use crate::state::VersionCell;
use crate::value::{Value, ValueFormat};
use crate::view::ChangeKind;

impl Store {
    pub(super) fn put(
        &mut self,
        key: &Key,
        value: &Value,
        ttl: Option<Millis>,
        return_previous: bool,
    ) -> Result<Reply, Rejection> {
        self.check_value_size(value.bytes().len())?;
        // A put without ttl clears it.
        let expires_at = self.deadline(ttl)?;

        let current = self.live(key);
        let lineage = Lineage::of(current.as_ref());
        let previous = current
            .filter(|_| return_previous)
            .map(|(record, _)| record.to_record());
        let revision = self.open_revision();
        let header = Header {
            format: value.format(),
            create_revision: lineage.create_revision.unwrap_or(revision),
            mod_revision: revision,
            version: lineage.version.saturating_add(1),
            expires_at,
            lease: None,
        };
        self.mutate(
            key.as_bytes(),
            Mutation::Put {
                header,
                value: value.bytes(),
                behind: lineage.link,
            },
        );
        Ok(Reply::Written { revision, previous })
    }

    pub(super) fn delete(&mut self, key: &Key, return_previous: bool) -> Reply {
        let Some((current, _)) = self.live(key) else {
            // A delete of nothing succeeds and is no revision.
            return Reply::Deleted {
                revision: self.state.revision,
                existed: false,
                previous: None,
            };
        };
        let previous = return_previous.then(|| current.to_record());
        let revision = self.open_revision();
        self.mutate(
            key.as_bytes(),
            Mutation::Remove {
                kind: ChangeKind::Delete,
            },
        );
        Reply::Deleted {
            revision,
            existed: true,
            previous,
        }
    }

    pub(super) fn touch(&mut self, key: &Key, ttl: Option<Millis>) -> Result<Reply, Rejection> {
        check_ttl(ttl)?;
        let wanted = ttl.map(|ttl| self.state.now.plus(ttl));
        let (current, link) = self.live(key).ok_or(Rejection::NotFound)?;
        if current.expires_at() == wanted {
            // Nothing would change, so it is no revision.
            return Ok(Reply::Touched {
                revision: self.state.revision,
                expires_at: wanted,
            });
        }
        let expires_at = wanted.map(|wanted| self.expiry.place(wanted));
        let value = current.value().to_vec();
        let header = Header {
            format: current.format(),
            create_revision: current.create_revision(),
            mod_revision: self.state.revision.next(),
            version: current.version().saturating_add(1),
            expires_at,
            lease: current.lease(),
        };
        let revision = self.open_revision();
        self.mutate(
            key.as_bytes(),
            Mutation::Put {
                header,
                value: &value,
                behind: Some(link),
            },
        );
        Ok(Reply::Touched { revision, expires_at })
    }

    pub(super) fn increment(
        &mut self,
        key: &Key,
        delta: i64,
        ttl: Option<Millis>,
    ) -> Result<Reply, Rejection> {
        let deadline = self.deadline(ttl)?;
        let current = self.live(key);
        let (format, number) = match &current {
            Some((record, _)) => (record.format(), stored_number(record)?),
            None => (ValueFormat::Document, 0),
        };
        let overflow = Rejection::InvalidValue {
            reason: InvalidValueReason::Overflow,
        };
        let sum = number.checked_add(delta).ok_or(overflow)?;
        let value = match format {
            ValueFormat::Text => sum.to_string().into_bytes(),
            ValueFormat::Document | ValueFormat::Binary => document::encode_integer(sum),
        };
        self.check_value_size(value.len())?;

        let lineage = Lineage::of(current.as_ref());
        // Without a ttl the deadline stays as it is: a counter that is counted does not live on.
        let expires_at = deadline.or(current.and_then(|(record, _)| record.expires_at()));
        let lease = current.and_then(|(record, _)| record.lease());
        let revision = self.open_revision();
        let header = Header {
            format,
            create_revision: lineage.create_revision.unwrap_or(revision),
            mod_revision: revision,
            version: lineage.version.saturating_add(1),
            expires_at,
            lease,
        };
        self.mutate(
            key.as_bytes(),
            Mutation::Put {
                header,
                value: &value,
                behind: lineage.link,
            },
        );
        Ok(Reply::Incremented { revision, value: sum })
    }

    /// Removes a key whose time has come, at the revision that is open.
    pub(super) fn expire(&mut self, key: &[u8]) {
        self.mutate(
            key,
            Mutation::Remove {
                kind: ChangeKind::Expire,
            },
        );
    }

    /// The record of a key, and how it links to the versions before.
    fn live<'a>(&'a self, key: &'a Key) -> Option<(RecordRef<'a>, Link)> {
        // I17: expired keys were removed when the clock moved; what is here exists.
        let cell = self.state.live.get(key.as_bytes())?;
        RecordRef::with_link(key.as_bytes(), VersionCell::alone(cell))
    }

    fn check_value_size(&self, len: usize) -> Result<(), Rejection> {
        let (size_bytes, limit_bytes) = (bytes(len), self.state.settings.value_bytes_max);
        if size_bytes > limit_bytes {
            Err(Rejection::ValueTooLarge {
                size_bytes,
                limit_bytes,
            })
        } else {
            Ok(())
        }
    }

    /// The deadline that a time to live means from now on.
    fn deadline(&self, ttl: Option<Millis>) -> Result<Option<Timestamp>, Rejection> {
        check_ttl(ttl)?;
        Ok(ttl.map(|ttl| self.expiry.place(self.state.now.plus(ttl))))
    }
}

fn check_ttl(ttl: Option<Millis>) -> Result<(), Rejection> {
    match ttl.map(Millis::get) {
        None | Some(1..=TTL_MS_MAX) => Ok(()),
        Some(ttl_ms) => Err(Rejection::InvalidTtl { ttl_ms }),
    }
}

/// What a new version takes over from the one before.
struct Lineage {
    create_revision: Option<Revision>,
    version: u64,
    link: Option<Link>,
}

impl Lineage {
    fn of(current: Option<&(RecordRef<'_>, Link)>) -> Self {
        Self {
            create_revision: current.map(|(record, _)| record.create_revision()),
            version: current.map_or(0, |(record, _)| record.version()),
            link: current.map(|(_, link)| *link),
        }
    }
}

/// The number that a record holds, if it is one.
fn stored_number(record: &RecordRef<'_>) -> Result<i64, Rejection> {
    let number = match record.format() {
        ValueFormat::Text => core::str::from_utf8(record.value())
            .ok()
            .and_then(|text| text.parse().ok()),
        ValueFormat::Document => document::decode_integer(record.value()),
        ValueFormat::Binary => None,
    };
    number.ok_or(Rejection::InvalidValue {
        reason: InvalidValueReason::NotAnInteger,
    })
}
