//! Watches: what happens to keys, as it happens or from any revision on.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_auth::{Place, Read};
use concord_core::expr::Expression;
use concord_core::ids::Revision;
use concord_core::key::{Key, KeyRange};
use concord_core::view::ChangeKind;
use concord_query::Glob;
use concord_query::watch::{self, Filter, KeyPattern, Kinds, Position, Selector};
use concord_raft::ReadConsistency;

use super::Concord;
use super::condition::predicate;
use super::operation::Operation;
use super::read::{read_options, takes_plan};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::service::ReadPlan;
use crate::watch::{Plan, Watcher, WatcherStatus, behind};

impl Concord {
    /// Watches keys: all of them unless narrowed, from now on unless told where to begin.
    ///
    /// Every committed change of those keys comes exactly once and in order of its revision, on any
    /// node: puts, deletes, expiries, whoever caused them. All changes of one revision come in
    /// one [`WatchBatch`](crate::WatchBatch), unless they do not fit on a page.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let mut watcher = db.watch().prefix("config:").with_previous().await?;
    /// db.put("config:colour", "red").await?;
    /// while let Some(batch) = watcher.next().await {
    ///     for event in batch?.events {
    ///         println!("{} {} at {}", event.kind.name(), event.key, event.revision);
    ///     }
    ///     # break;
    /// }
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A watcher holds one page of events, however slow it is taken from: the rest waits in the
    /// history of the store. Who falls so far behind that this is compacted gets `compacted`.
    /// Dropping the watcher ends it.
    ///
    /// # Errors
    ///
    /// `invalid_key`, `invalid_request`; `compacted`, with the `restart_revision` to watch from after
    /// reading the current state; `overloaded` if the node has too many watches; to find out where
    /// now is, as [`Concord::get`]. Later, from the watcher: `compacted`; why the node stopped.
    ///
    /// # Consistency
    ///
    /// From now on: every change that is acknowledged after this call began. `eventual`: from
    /// what this node has applied. A node that is cut off from its cluster tells nothing until it
    /// is back, and then everything.
    pub fn watch(&self) -> Watch<'_> {
        Watch {
            concord: self,
            selector: Ok(Selector::all()),
            kinds: Kinds::ALL,
            predicate: Ok(None),
            with_previous: false,
            after: None,
            progress: None,
            plan: self.read_plan(),
        }
    }

    /// The watches that are open on this node, oldest first.
    ///
    /// # Errors
    ///
    /// `forbidden`, where authentication says so.
    pub fn watchers(&self) -> Result<Vec<WatcherStatus>, Error> {
        self.service().watchers(self.caller())
    }
}

/// A watch to be opened by awaiting it: see [`Concord::watch`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Watch<'a> {
    concord: &'a Concord,
    selector: Result<Selector, Error>,
    kinds: Kinds,
    predicate: Result<Option<Expression>, Error>,
    with_previous: bool,
    after: Option<Position>,
    progress: Option<Duration>,
    plan: ReadPlan,
}

impl Watch<'_> {
    read_options!(plan);
    takes_plan!();

    /// Only this key.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.selector = Key::copy_of(key.as_ref())
            .map(Selector::Key)
            .map_err(|error| Error::new(ErrorKind::InvalidKey, error.to_string()));
        self
    }

    /// Only keys that start with this.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.selector = Ok(Selector::Prefix(Bytes::copy_from_slice(prefix.as_ref())));
        self
    }

    /// Only keys from `start`, included, to `end`, excluded.
    pub fn between(mut self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Self {
        let (start, end) = (
            Bytes::copy_from_slice(start.as_ref()),
            Bytes::copy_from_slice(end.as_ref()),
        );
        let range = KeyRange::between(start, end);
        self.selector = if range.is_empty() {
            Err(Error::invalid_request(
                "no key lies between these bounds: the end must come after the start",
            ))
        } else {
            Ok(Selector::Range(range))
        };
        self
    }

    /// Only keys from `start` on, included.
    pub fn from(mut self, start: impl AsRef<[u8]>) -> Self {
        let start = Bytes::copy_from_slice(start.as_ref());
        self.selector = Ok(Selector::Range(KeyRange::from(start)));
        self
    }

    /// Only keys that match this pattern: `*` is any run of characters, `?` one, `\` takes the next
    /// as it is.
    pub fn glob(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.selector = Glob::new(Bytes::copy_from_slice(pattern.as_ref()))
            .map(Selector::Glob)
            .map_err(|error| Error::invalid_request(error.to_string()));
        self
    }

    /// Only keys in which this regular expression is found: see
    /// [the query language](concord_query::pattern) for what one is.
    pub fn pattern(mut self, pattern: &str) -> Self {
        self.selector = KeyPattern::new(pattern)
            .map(|pattern| Selector::Pattern(Arc::new(pattern)))
            .map_err(|error| Error::invalid_request(format!("pattern: {error}")));
        self
    }

    /// Only these kinds of change.
    pub fn kinds(mut self, kinds: &[ChangeKind]) -> Self {
        self.kinds = Kinds::of(kinds);
        self
    }

    /// Only changes of which this expression is true: of the record that was written, or of the one that
    /// was removed. By an error it is not. It cannot read `ttl`, which changes without a write.
    pub fn only_if(mut self, expression: &str) -> Self {
        self.predicate = predicate(expression).map(Some);
        self
    }

    /// Each event brings the record that was there before.
    pub fn with_previous(mut self) -> Self {
        self.with_previous = true;
        self
    }

    /// From this revision on, included: the past as far as it is kept, then what comes. If it
    /// is still to come, nothing before it is delivered.
    pub fn from_revision(self, revision: Revision) -> Self {
        self.after(Position::before(revision))
    }

    /// Goes on behind the [`position`](crate::WatchBatch::position) of a batch that came from the
    /// same question, on any node.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// Says how far it has come after each such time without an event: a batch without
    /// events, up to whose position nothing was left out.
    pub fn progress(mut self, interval: Duration) -> Self {
        self.progress = Some(interval);
        self
    }

    fn check(&self) -> Result<Filter, Error> {
        let selector = self.selector.clone()?;
        if self.after.is_some() && self.plan.min_revision.is_some() {
            return Err(Error::invalid_request(
                "min_revision is for watches from now on: the beginning is given",
            ));
        }
        if self.kinds.is_empty() {
            return Err(Error::invalid_request("no kind of change is asked for"));
        }
        check_progress(self.progress)?;
        let filter = Filter {
            selector,
            kinds: self.kinds,
            predicate: self.predicate.clone()?,
        };
        filter
            .check()
            .map_err(|error| Error::invalid_request(error.to_string()))?;
        Ok(filter)
    }

    /// What a subscription keeps of it: the filter, and behind which revision it begins.
    pub(super) fn into_subscription(self) -> Result<(Bytes, Option<Revision>), Error> {
        let filter = self.check()?;
        if self.with_previous || self.progress.is_some() {
            return Err(Error::invalid_request(
                "how events are told is for who consumes them, not for the subscription",
            ));
        }
        let after = match self.after {
            Some(position) if position.order().is_some() => {
                return Err(Error::invalid_request(
                    "a subscription begins behind a whole revision",
                ));
            }
            after => after.map(Position::revision),
        };
        Ok((filter.to_bytes(), after))
    }
}

/// Where all keys are that are watched: so much of it is recorded.
enum Watched {
    Key(Key),
    Range(KeyRange),
}

impl Watched {
    fn by(selector: &Selector) -> Self {
        let prefix = |prefix: &Bytes| Self::Range(KeyRange::prefix(prefix.clone()));
        match selector {
            Selector::Key(key) => Self::Key(key.clone()),
            Selector::Range(range) => Self::Range(range.clone()),
            Selector::Prefix(begins) => prefix(begins),
            Selector::Glob(glob) => prefix(glob.literal_prefix()),
            Selector::Pattern(pattern) => prefix(pattern.literal_prefix()),
        }
    }

    fn read(&self) -> Read<'_> {
        Read::Watch(match self {
            Self::Key(key) => Place::Key(key.as_bytes()),
            Self::Range(range) => Place::Range(range),
        })
    }
}

pub(super) fn check_progress(progress: Option<Duration>) -> Result<(), Error> {
    let least = limits::WATCH_PROGRESS_MIN;
    if progress.is_some_and(|interval| interval < least) {
        return Err(Error::invalid_request(format!(
            "progress interval must be {} ms or more",
            least.as_millis()
        )));
    }
    Ok(())
}

impl<'a> IntoFuture for Watch<'a> {
    type Output = Result<Watcher, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let filter = match self.check() {
            Ok(filter) => filter,
            Err(error) => return Operation::ready(Err(error)),
        };
        Operation::waiting(async move {
            let (concord, service) = (self.concord, self.concord.service());
            let watched = Watched::by(&filter.selector);
            let seen = match self.after {
                Some(_) => service.look(concord.caller(), &watched.read())?,
                None => concord.look_at(watched, Watched::read, &self.plan).await?,
            };
            let after = match self.after {
                Some(after) => {
                    watch::check(seen.view(), after).map_err(|error| behind(after, error))?;
                    after
                }
                None => Position::behind(seen.view().revision()),
            };
            let plan = Plan {
                filter,
                with_previous: self.with_previous,
                after,
                progress: self.progress,
            };
            service.watch(&seen, concord.caller().clone(), plan)
        })
    }
}
