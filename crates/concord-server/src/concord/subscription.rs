//! Durable subscriptions: a place in the change log under a name, from which whoever consumes goes on.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use concord_auth::Read;
use concord_core::command::Command;
use concord_core::ids::{Revision, Timestamp};
use concord_core::reply::Reply;
use concord_core::subscription::{Subscription, SubscriptionName};
use concord_core::view::ReadView;
use concord_query::watch::{self, Filter, Position};
use concord_raft::ReadConsistency;

use super::Concord;
use super::operation::Operation;
use super::read::{read_options, takes_plan};
use super::watch::Watch;
use super::write::{Write, WriteKind};
use crate::answer::Answer;
use crate::error::{Error, ErrorKind};
use crate::missing::Named;
use crate::service::ReadPlan;
use crate::watch::{Plan, Watcher, behind};

impl Concord {
    /// Remembers a place in the change log under a name, together with what is watched from there:
    /// the keys, kinds and predicate of `what`, beginning where it begins.
    ///
    /// The store keeps the revision that was acknowledged last, so a consumer that comes back, or
    /// another one, on any node, goes on behind it: every change comes at least once.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// db.create_subscription("billing", db.watch().prefix("order:")).await?;
    ///
    /// let mut events = db.consume("billing").await?;
    /// db.put("order:1", "three pears").await?;
    /// while let Some(batch) = events.next().await {
    ///     let batch = batch?;
    ///     for event in &batch.events {
    ///         println!("{} {}", event.kind.name(), event.key);
    ///     }
    ///     if batch.is_complete() && !batch.is_progress() {
    ///         db.ack("billing", batch.revision).await?;
    ///     }
    ///     # break;
    /// }
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `already_exists`; `compacted` or `future_revision` for its beginning; `quota_exceeded`; as
    /// [`Concord::watch`] for what is watched, and as [`Concord::put`].
    pub fn create_subscription(
        &self,
        name: impl AsRef<str>,
        what: Watch<'_>,
    ) -> Write<'_, CreateSubscription> {
        self.draft(CreateSubscription {
            name: name_of(name),
            what: what.into_subscription(),
        })
    }

    /// Forgets a subscription.
    ///
    /// # Errors
    ///
    /// `not_found`; else as [`Concord::put`].
    pub fn delete_subscription(&self, name: impl AsRef<str>) -> Write<'_, DeleteSubscription> {
        self.draft(DeleteSubscription { name: name_of(name) })
    }

    /// Notes that a subscription's consumers are done with all up to `revision`, included; answers with
    /// the revision that is acknowledged then. An earlier one than is known changes nothing.
    ///
    /// # Errors
    ///
    /// `not_found`; `future_revision`; else as [`Concord::put`].
    pub fn ack(&self, name: impl AsRef<str>, revision: Revision) -> Write<'_, AckSubscription> {
        self.draft(AckSubscription {
            name: name_of(name),
            revision,
        })
    }

    /// Has a subscription begin anew: from now on, or from [`Write::from_revision`]. For who has
    /// fallen behind compaction, or wants to see the past again.
    ///
    /// # Errors
    ///
    /// `not_found`; `compacted` or `future_revision`; else as [`Concord::put`].
    pub fn reset_subscription(&self, name: impl AsRef<str>) -> Write<'_, ResetSubscription> {
        self.draft(ResetSubscription {
            name: name_of(name),
            from: None,
        })
    }

    /// A subscription: what it is about, and how far its consumers are. Consistency as [`Concord::get`].
    ///
    /// # Errors
    ///
    /// `not_found`; else as [`Concord::get`].
    pub fn subscription(&self, name: impl AsRef<str>) -> GetSubscription<'_> {
        GetSubscription {
            concord: self,
            name: name_of(name),
            plan: self.read_plan(),
        }
    }

    /// All subscriptions, in the order of names. Errors and consistency as [`Concord::get`].
    pub fn subscriptions(&self) -> ListSubscriptions<'_> {
        ListSubscriptions {
            concord: self,
            plan: self.read_plan(),
        }
    }

    /// Watches what a subscription is about, from behind what is acknowledged. Nothing is acknowledged by
    /// itself: that is for [`Concord::ack`].
    ///
    /// Consumers do not share the changes out among themselves: each gets all of them from where
    /// it began, and what any of them acknowledges moves the one place on. A group of which one
    /// at a time is to work holds a [`Concord::lock`].
    ///
    /// # Errors
    ///
    /// `not_found`; `compacted`, with the `restart_revision` for [`Concord::reset_subscription`]; else as
    /// [`Concord::watch`].
    pub fn consume(&self, name: impl AsRef<str>) -> Consume<'_> {
        Consume {
            concord: self,
            name: name_of(name),
            with_previous: false,
            progress: None,
            after: None,
            plan: self.read_plan(),
        }
    }
}

fn name_of(name: impl AsRef<str>) -> Result<SubscriptionName, Error> {
    SubscriptionName::new(name.as_ref()).map_err(|error| Error::invalid_request(error.to_string()))
}

fn found(view: &ReadView, name: &SubscriptionName) -> Result<Subscription, Error> {
    let found = view.subscription(name);
    found.ok_or_else(|| Named::Subscription(name.as_str().to_owned()).not_found())
}

fn filter_of(subscription: &Subscription) -> Result<Filter, Error> {
    Filter::from_bytes(&subscription.filter)
        .map_err(|error| Error::new(ErrorKind::Unsupported, error.to_string()))
}

/// A subscription as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Its name.
    pub name: String,
    /// What it is about, in words.
    pub selector: String,
    /// What must be true of a record, as text, if anything.
    pub predicate: Option<String>,
    /// Its consumers are done with all up to here.
    pub acked: Revision,
    /// Revisions since, whether they concern it or not.
    pub lag: u64,
    /// When it was made, by the cluster's clock.
    pub created_at: Timestamp,
    /// When it last moved.
    pub acked_at: Timestamp,
}

impl SubscriptionInfo {
    fn new(subscription: &Subscription, now: Revision) -> Result<Self, Error> {
        let filter = filter_of(subscription)?;
        Ok(Self {
            name: subscription.name.to_string(),
            selector: filter.selector.to_string(),
            predicate: filter.predicate.as_ref().map(ToString::to_string),
            acked: subscription.acked,
            lag: now.get().saturating_sub(subscription.acked.get()),
            created_at: subscription.created_at,
            acked_at: subscription.acked_at,
        })
    }
}

/// Up to where a subscription is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acked {
    /// The cluster's revision.
    pub revision: Revision,
    /// Consumers go on behind this one.
    pub acked: Revision,
}

fn acked(reply: &Reply) -> Option<Acked> {
    let Reply::SubscriptionChanged { revision, acked } = *reply else {
        return None;
    };
    Some(Acked { revision, acked })
}

/// See [`Concord::create_subscription`].
#[derive(Debug)]
pub struct CreateSubscription {
    name: Result<SubscriptionName, Error>,
    what: Result<(Bytes, Option<Revision>), Error>,
}

impl WriteKind for CreateSubscription {
    type Answer = Acked;

    fn command(self) -> Result<Command, Error> {
        let (filter, after) = self.what?;
        Ok(Command::CreateSubscription {
            name: self.name?,
            filter,
            after,
        })
    }

    fn answer(reply: Reply) -> Option<Acked> {
        acked(&reply)
    }
}

/// See [`Concord::delete_subscription`].
#[derive(Debug)]
pub struct DeleteSubscription {
    name: Result<SubscriptionName, Error>,
}

impl WriteKind for DeleteSubscription {
    type Answer = Acked;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::DeleteSubscription { name: self.name? })
    }

    fn answer(reply: Reply) -> Option<Acked> {
        acked(&reply)
    }
}

/// See [`Concord::ack`].
#[derive(Debug)]
pub struct AckSubscription {
    name: Result<SubscriptionName, Error>,
    revision: Revision,
}

impl WriteKind for AckSubscription {
    type Answer = Acked;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::AckSubscription {
            name: self.name?,
            upto: self.revision,
        })
    }

    fn answer(reply: Reply) -> Option<Acked> {
        acked(&reply)
    }
}

/// See [`Concord::reset_subscription`].
#[derive(Debug)]
pub struct ResetSubscription {
    name: Result<SubscriptionName, Error>,
    from: Option<Revision>,
}

impl Write<'_, ResetSubscription> {
    /// From this revision on, included.
    pub fn from_revision(mut self, revision: Revision) -> Self {
        self.kind.from = Some(revision);
        self
    }
}

impl WriteKind for ResetSubscription {
    type Answer = Acked;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::ResetSubscription {
            name: self.name?,
            after: self.from.map(|from| Position::before(from).revision()),
        })
    }

    fn answer(reply: Reply) -> Option<Acked> {
        acked(&reply)
    }
}

/// A question about a subscription, to be awaited: see [`Concord::subscription`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetSubscription<'a> {
    concord: &'a Concord,
    name: Result<SubscriptionName, Error>,
    plan: ReadPlan,
}

impl GetSubscription<'_> {
    read_options!(plan);
    takes_plan!();
}

impl<'a> IntoFuture for GetSubscription<'a> {
    type Output = Result<Answer<SubscriptionInfo>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { concord, name, plan } = self;
        match name {
            Ok(name) => concord.read(
                name,
                |_| Read::Subscriptions,
                plan,
                |name, seen| {
                    let view = seen.view();
                    SubscriptionInfo::new(&found(view, &name)?, view.revision())
                },
            ),
            Err(invalid) => Operation::ready(Err(invalid)),
        }
    }
}

/// A question for all subscriptions, to be awaited: see [`Concord::subscriptions`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct ListSubscriptions<'a> {
    concord: &'a Concord,
    plan: ReadPlan,
}

impl ListSubscriptions<'_> {
    read_options!(plan);
    takes_plan!();
}

impl<'a> IntoFuture for ListSubscriptions<'a> {
    type Output = Result<Answer<Vec<SubscriptionInfo>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.concord.read(
            (),
            |()| Read::ListSubscriptions,
            self.plan,
            |(), seen| {
                let view = seen.view();
                let shown = |subscription| SubscriptionInfo::new(&subscription, view.revision());
                view.subscriptions().map(shown).collect()
            },
        )
    }
}

/// A consumer to be opened by awaiting it: see [`Concord::consume`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Consume<'a> {
    concord: &'a Concord,
    name: Result<SubscriptionName, Error>,
    with_previous: bool,
    progress: Option<Duration>,
    after: Option<Position>,
    plan: ReadPlan,
}

impl Consume<'_> {
    read_options!(plan);
    takes_plan!();

    /// Each event brings the record that was there before.
    pub fn with_previous(mut self) -> Self {
        self.with_previous = true;
        self
    }

    /// As [`Watch::progress`].
    pub fn progress(mut self, interval: Duration) -> Self {
        self.progress = Some(interval);
        self
    }

    /// Goes on behind this position instead of what is acknowledged: for a consumer whose stream broke,
    /// and that knows what it has.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }
}

impl<'a> IntoFuture for Consume<'a> {
    type Output = Result<Watcher, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(async move {
            super::watch::check_progress(self.progress)?;
            let name = self.name?;
            let (concord, service) = (self.concord, self.concord.service());
            // What it is about is told to those alone who may know of any subscription.
            let seen = concord.look(|()| Read::Subscriptions, &self.plan).await?;
            let subscription = found(seen.view(), &name)?;
            let after = self.after.unwrap_or(Position::behind(subscription.acked));
            watch::check(seen.view(), after).map_err(|error| behind(after, error))?;
            let plan = Plan {
                filter: filter_of(&subscription)?,
                with_previous: self.with_previous,
                after,
                progress: self.progress,
            };
            service.watch(&seen, concord.caller().clone(), plan)
        })
    }
}
