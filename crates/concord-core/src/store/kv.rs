//! Put, delete, touch and increment: judged first, changed last (I3).

use alloc::boxed::Box;
use alloc::string::ToString;

use super::Store;
use super::mutate::Mutation;
use crate::check::{check_lifetime, check_value_size};
use crate::command::{Condition, Lifetime};
use crate::document;
use crate::expr::Scope;
use crate::ids::{LeaseId, Millis, Revision, Timestamp};
use crate::key::Key;
use crate::record::RecordRef;
use crate::record::cell::{Header, Link};
use crate::reply::{InvalidValueReason, Rejection, Reply};
use crate::state::VersionCell;
use crate::value::{StoredValue, Value, ValueFormat};
use crate::view::ChangeKind;

impl Store {
    pub(super) fn put(
        &mut self,
        key: &Key,
        value: &StoredValue,
        lifetime: Lifetime,
        condition: Option<&Condition>,
        return_previous: bool,
    ) -> Result<Reply, Rejection> {
        self.check_value(value)?;
        // A put replaces the lifetime as well: without a ttl there is none any more.
        let (expires_at, lease) = self.lifetime(lifetime)?;

        let current = self.live(key);
        self.check_condition(condition, current.as_ref().map(|(record, _)| record))?;
        self.check_attach(lease, current.as_ref())?;
        let lineage = Lineage::of(current.as_ref());
        let before = stored_bytes(current.as_ref());
        let previous = current
            .filter(|_| return_previous)
            .map(|(record, _)| record.to_stored_record());
        let revision = self.state.revision.next();
        let header = Header {
            format: value.format(),
            is_packed: value.is_packed(),
            create_revision: lineage.create_revision.unwrap_or(revision),
            mod_revision: revision,
            version: lineage.version.saturating_add(1),
            expires_at,
            lease,
        };
        self.check_write(key, header, value.bytes(), before)?;
        self.open_revision();
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

    pub(super) fn delete(
        &mut self,
        key: &Key,
        condition: Option<&Condition>,
        return_previous: bool,
    ) -> Result<Reply, Rejection> {
        let current = self.live(key).map(|(record, _)| record);
        self.check_condition(condition, current.as_ref())?;
        let Some(current) = current else {
            // A delete of nothing succeeds and is no revision.
            return Ok(Reply::Deleted {
                revision: self.state.revision,
                existed: false,
                previous: None,
            });
        };
        let previous = return_previous.then(|| current.to_stored_record());
        let revision = self.open_revision();
        self.mutate(
            key.as_bytes(),
            Mutation::Remove {
                kind: ChangeKind::Delete,
            },
        );
        Ok(Reply::Deleted {
            revision,
            existed: true,
            previous,
        })
    }

    pub(super) fn touch(&mut self, key: &Key, lifetime: Lifetime) -> Result<Reply, Rejection> {
        let wanted = self.wanted(lifetime)?;
        let (current, link) = self.live(key).ok_or(Rejection::NotFound)?;
        if (current.expires_at(), current.lease()) == wanted {
            // Nothing would change, so it is no revision.
            return Ok(Reply::Touched {
                revision: self.state.revision,
                expires_at: wanted.0,
            });
        }
        let (expires_at, lease) = self.placed(wanted);
        if let Some(lease) = lease {
            self.check_room(lease, 0)?;
        }
        let value = current.stored().bytes().to_vec();
        let header = Header {
            mod_revision: self.state.revision.next(),
            version: current.version().saturating_add(1),
            expires_at,
            lease,
            ..current.header()
        };
        let before = Some(value.len());
        self.check_write(key, header, &value, before)?;
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
        let new_lifetime = match ttl {
            Some(ttl) => Some(self.lifetime(Lifetime::Ttl(ttl))?),
            None => None,
        };
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
            ValueFormat::Text => Value::text(sum.to_string()),
            ValueFormat::Document | ValueFormat::Binary => Value::integer(sum),
        };
        let value = StoredValue::from(value);
        self.check_value(&value)?;

        let lineage = Lineage::of(current.as_ref());
        let before = stored_bytes(current.as_ref());
        // Without a ttl the lifetime stays as it is: a counter that is counted does not live on.
        let (expires_at, lease) = new_lifetime.unwrap_or_else(|| {
            current.map_or((None, None), |(record, _)| (record.expires_at(), record.lease()))
        });
        let revision = self.state.revision.next();
        let header = Header {
            format,
            is_packed: false,
            create_revision: lineage.create_revision.unwrap_or(revision),
            mod_revision: revision,
            version: lineage.version.saturating_add(1),
            expires_at,
            lease,
        };
        self.check_write(key, header, value.bytes(), before)?;
        self.open_revision();
        self.mutate(
            key.as_bytes(),
            Mutation::Put {
                header,
                value: value.bytes(),
                behind: lineage.link,
            },
        );
        Ok(Reply::Incremented { revision, value: sum })
    }

    /// Removes a key that exists, at the revision that is open.
    pub(super) fn remove_key(&mut self, key: &[u8], kind: ChangeKind) {
        self.mutate(key, Mutation::Remove { kind });
    }

    /// Whether a key can come to a lease.
    fn check_attach(
        &self,
        lease: Option<LeaseId>,
        current: Option<&(RecordRef<'_>, Link)>,
    ) -> Result<(), Rejection> {
        match lease {
            Some(new) if current.and_then(|(record, _)| record.lease()) != Some(new) => {
                self.check_room(new, 0)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The record of a key, and how it links to the versions before.
    pub(super) fn live<'a>(&'a self, key: &'a Key) -> Option<(RecordRef<'a>, Link)> {
        // I17: expired keys were removed when the clock moved; what is here exists.
        let cell = self.state.live.get(key.as_bytes())?;
        RecordRef::with_link(key.as_bytes(), VersionCell::alone(cell))
    }

    /// Whether a condition holds of what is stored.
    fn check_condition(
        &self,
        condition: Option<&Condition>,
        current: Option<&RecordRef<'_>>,
    ) -> Result<(), Rejection> {
        let Some(condition) = condition else {
            return Ok(());
        };
        let holds = match (condition, current) {
            (Condition::Absent, current) => current.is_none(),
            (_, None) => false,
            (Condition::Present, Some(_)) => true,
            // What is damaged is no value at all, so it is none that is asked for.
            (Condition::ValueIs(value), Some(current)) => current.stored().is(value) == Ok(true),
            (Condition::ModRevisionIs(revision), Some(current)) => *revision == current.mod_revision(),
            (Condition::VersionIs(version), Some(current)) => *version == current.version(),
            (Condition::Predicate(expression), Some(current)) => {
                expression.holds(&Scope::of(current, self.state.now))
            }
        };
        if holds {
            Ok(())
        } else {
            Err(Rejection::ConditionFailed {
                current: current.map(|current| Box::new(current.to_stored_record())),
            })
        }
    }

    pub(super) fn check_value(&self, value: &StoredValue) -> Result<(), Rejection> {
        check_value_size(value, self.state.settings.value_bytes_max)
    }

    /// What a lifetime means from now on.
    pub(super) fn lifetime(&self, lifetime: Lifetime) -> Result<Ends, Rejection> {
        Ok(self.placed(self.wanted(lifetime)?))
    }

    /// What a lifetime asks for.
    pub(super) fn wanted(&self, lifetime: Lifetime) -> Result<Ends, Rejection> {
        match lifetime {
            Lifetime::Forever => Ok((None, None)),
            Lifetime::Ttl(ttl) => {
                check_lifetime(lifetime)?;
                Ok((Some(self.state.now.plus(ttl)), None))
            }
            Lifetime::Lease(lease) => self.usable_lease(lease).map(|_| (None, Some(lease))),
        }
    }

    /// What it gets: a deadline with room.
    pub(super) fn placed(&self, (wanted, lease): Ends) -> Ends {
        (wanted.map(|wanted| self.expiry.place(wanted)), lease)
    }
}

/// When a key ends: at a deadline or with a lease.
pub(super) type Ends = (Option<Timestamp>, Option<LeaseId>);

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

/// How many bytes the value of a record takes, if there is one.
fn stored_bytes(current: Option<&(RecordRef<'_>, Link)>) -> Option<usize> {
    current.map(|(record, _)| record.stored().bytes().len())
}

/// The number that a record holds, if it is one.
fn stored_number(record: &RecordRef<'_>) -> Result<i64, Rejection> {
    let content = record.value().ok();
    let number = content.and_then(|content| match record.format() {
        ValueFormat::Text => core::str::from_utf8(&content).ok()?.parse().ok(),
        ValueFormat::Document => document::decode_integer(&content),
        ValueFormat::Binary => None,
    });
    number.ok_or(Rejection::InvalidValue {
        reason: InvalidValueReason::NotAnInteger,
    })
}
