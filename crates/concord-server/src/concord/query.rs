//! Queries: filters of keys and records, in any order, page by page, all at one revision.

use std::future::IntoFuture;
use std::time::Duration;

use concord_auth::Read;
use concord_core::command::Command;
use concord_core::ids::{Revision, Timestamp};
use concord_core::key::{Key, KeyRange};
use concord_core::record::Record;
use concord_core::reply::Reply;
use concord_query::query::{
    Explanation, Found, InvalidQuery, Output, Query as Asked, QueryCursor, QueryError, Start, Stop,
};
use concord_raft::ReadConsistency;
use futures::Stream;
use futures::stream::{self, TryStreamExt as _};
use tokio::time::Instant;

use super::Concord;
use super::operation::Operation;
use super::read::{read_options, takes_plan};
use super::write::{Write, WriteKind};
use crate::answer::Answer;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::service::{ReadPlan, Seen};

impl Concord {
    /// Asks for records by what their keys and values are: all of them unless narrowed. Filters add up.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// let page = db
    ///     .query()
    ///     .prefix("user:")
    ///     .filter("value.age >= 30 && value.role == 'admin'")
    ///     .order_by("$.age")
    ///     .limit(10)
    ///     .pairs()
    ///     .await?;
    /// for record in &page.records {
    ///     println!("{}", record.key);
    /// }
    /// db.query().filter("value.left_at < 1700000000").delete_where().await?;
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A query uses the order of keys and indexes that have what it asks for: [`Query::explain`] tells.
    ///
    /// # Errors
    ///
    /// `invalid_request` for a part that makes no sense, with its name in `part` and the place in `offset`, and for a foreign
    /// cursor. `batch_too_large` if it has looked at [`Query::max_scanned`] records, or `timeout` if its time was over, before
    /// it found anything: with a `cursor` to go on from, unless records had to be sorted. Else as [`Concord::get`].
    ///
    /// # Consistency
    ///
    /// As [`Concord::scan`]: every page shows the revision of the first.
    pub fn query(&self) -> Query<'_> {
        Query {
            concord: self,
            asked: Ok(Asked::all(limits::SCAN_PAGE_DEFAULT)),
            limit: None,
            revision: None,
            cursor: None,
            plan: self.read_plan(),
        }
    }
}

/// A query, while it is put together: see [`Concord::query`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is asked for pairs, keys or a count, and awaited"]
pub struct Query<'a> {
    concord: &'a Concord,
    asked: Result<Asked, Error>,
    limit: Option<usize>,
    revision: Option<Revision>,
    cursor: Option<QueryCursor>,
    plan: ReadPlan,
}

/// One page of a query.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueryPage {
    /// The records, in the order asked for. Of [`Query::keys`] their values are empty.
    pub records: Vec<Record>,
    /// Goes on behind this page; `None`: it was the last.
    pub cursor: Option<QueryCursor>,
    /// Why the page is shorter than asked for although there may be more.
    pub stopped: Option<Stop>,
    /// How many records were looked at.
    pub scanned: u64,
    /// The revision that was read at: the same on every page of a query.
    pub revision: Revision,
    /// The cluster's clock by which times to live were judged.
    pub now: Timestamp,
}

impl QueryPage {
    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.records.iter().map(|record| &record.key)
    }
}

impl<'a> Query<'a> {
    read_options!(plan);
    takes_plan!();

    fn with(mut self, set: impl FnOnce(&mut Asked)) -> Self {
        if let Ok(asked) = &mut self.asked {
            set(asked);
        }
        self
    }

    fn with_text(mut self, set: impl FnOnce(&mut Asked) -> Result<(), InvalidQuery>) -> Self {
        self.asked = self.asked.and_then(|mut asked| {
            set(&mut asked)?;
            Ok(asked)
        });
        self
    }

    /// Only keys that start with this.
    pub fn prefix(self, prefix: impl AsRef<[u8]>) -> Self {
        self.with(|asked| asked.prefix(prefix.as_ref()))
    }

    /// Only keys that end with this.
    pub fn suffix(self, suffix: impl AsRef<[u8]>) -> Self {
        self.with(|asked| asked.suffix(suffix.as_ref()))
    }

    /// Only keys that this is in.
    pub fn contains(self, part: impl AsRef<[u8]>) -> Self {
        self.with(|asked| asked.contains(part.as_ref()))
    }

    /// Only keys that match: `*` is any run of characters, `?` one, `\` takes the next as it is.
    pub fn glob(self, glob: &str) -> Self {
        self.with_text(|asked| asked.glob(glob))
    }

    /// Only keys of which a part matches a regular expression; `^` and `$` tie it to the ends. Its work is linear in the
    /// length of a key.
    pub fn pattern(self, pattern: &str) -> Self {
        self.with_text(|asked| asked.pattern(pattern))
    }

    /// Only keys from `first` to `last`, both included.
    pub fn range(self, first: impl AsRef<[u8]>, last: impl AsRef<[u8]>) -> Self {
        self.with(|asked| asked.range(first.as_ref(), last.as_ref()))
    }

    /// Only keys from `start`, included, to `end`, excluded.
    pub fn between(self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Self {
        let range = KeyRange::between(start.as_ref().to_vec(), end.as_ref().to_vec());
        self.with(|asked| asked.within(&range))
    }

    /// Only keys from `start` on, included.
    pub fn from(self, start: impl AsRef<[u8]>) -> Self {
        let range = KeyRange::from(start.as_ref().to_vec());
        self.with(|asked| asked.within(&range))
    }

    /// Only records of which this expression is true, such as `value.age >= 30 && value.role == "admin"`.
    pub fn filter(self, expression: &str) -> Self {
        self.with_text(|asked| asked.filter(expression))
    }

    /// Orders by what a path (`$.age`) or an expression (`value.age`) finds, then by key, instead of by key alone. Records
    /// without such a value come first; of several the smallest counts.
    pub fn order_by(self, extractor: &str) -> Self {
        self.with_text(|asked| asked.order_by(extractor))
    }

    /// Greatest first.
    pub fn descending(self) -> Self {
        self.with(Asked::descending)
    }

    /// Leaves out the first so many that match; up to 100,000.
    pub fn offset(self, offset: u64) -> Self {
        self.with(|asked| asked.offset(offset))
    }

    /// At most this many records a page: 1,000 if not set, 10,000 at most. Of a delete: at most this many keys, the first in order.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self.with(|asked| asked.limit(limit))
    }

    /// Shows a field of records under a name, instead of the value: what an expression comes to. The value is then a document of all
    /// fields that were asked for.
    pub fn select(self, name: &str, expression: &str) -> Self {
        self.with_text(|asked| asked.select(name, expression))
    }

    /// Looks at no more than so many records in one request: 100,000 if not set.
    pub fn max_scanned(self, max_scanned: u64) -> Self {
        self.with(|asked| asked.max_scanned(max_scanned))
    }

    /// Reads at this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Goes on behind an earlier page of the same query, at its revision.
    pub fn cursor(mut self, cursor: QueryCursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Asks for records, a page of them.
    pub fn pairs(self) -> RunQuery<'a> {
        RunQuery {
            query: self,
            output: Output::Pairs,
        }
    }

    /// Asks for keys, a page of them.
    pub fn keys(self) -> RunQuery<'a> {
        RunQuery {
            query: self,
            output: Output::Keys,
        }
    }

    /// Asks how many records match, whatever limit and offset are.
    pub fn count(self) -> CountQuery<'a> {
        CountQuery(self)
    }

    /// Asks how the query would be answered.
    pub fn explain(self) -> ExplainQuery<'a> {
        ExplainQuery(self)
    }

    /// Removes all records that match at one revision, decided where it is applied: whatever else is written meanwhile
    /// comes before or after. More than 10,000 are refused as `batch_too_large`, and nothing is removed, unless
    /// [`Query::limit`] asks for the first ones only.
    pub fn delete_where(self) -> Write<'a, DeleteWhere> {
        let (concord, timeout) = (self.concord, self.plan.timeout);
        concord
            .draft(DeleteWhere {
                is_more: self.cursor.is_some() || self.revision.is_some(),
                asked: self.asked,
                limit: self.limit,
            })
            .timeout(timeout)
    }

    /// All pages, one after the other, each when it is asked for, however many records have to be looked at.
    pub fn pages(self) -> impl Stream<Item = Result<QueryPage, Error>> + Send + 'a {
        stream::try_unfold(Some(self), |query| async move {
            let Some(mut query) = query else { return Ok(None) };
            loop {
                let (page, next) = match query.clone().found(Output::Pairs).await? {
                    Ok(found) => {
                        let next = found.cursor.clone();
                        (Some(page(found)), next)
                    }
                    // Nothing so far; the next request goes on.
                    Err(QueryError::Stopped {
                        cursor: Some(cursor), ..
                    }) => (None, Some(cursor)),
                    Err(error) => return Err(query.refusal(error)),
                };
                let next = next.map(|cursor| Self {
                    revision: None,
                    cursor: Some(cursor),
                    ..query.clone()
                });
                match (page, next) {
                    (Some(page), next) => return Ok(Some((page, next))),
                    (None, Some(next)) => query = next,
                    (None, None) => return Ok(None),
                }
            }
        })
    }

    /// All records, page by page, each page when its first record is asked for.
    pub fn records(self) -> impl Stream<Item = Result<Record, Error>> + Send + 'a {
        self.pages()
            .map_ok(|page| stream::iter(page.records.into_iter().map(Ok)))
            .try_flatten()
    }

    fn start(&self) -> Result<Start, Error> {
        match (&self.cursor, self.revision) {
            (Some(_), Some(_)) => Err(Error::invalid_request("a cursor has its own revision")),
            (Some(cursor), None) => Ok(Start::Behind(cursor.clone())),
            (None, Some(revision)) => Ok(Start::At(revision)),
            (None, None) => Ok(Start::Now),
        }
    }

    /// The outer error: it could not be asked.
    async fn found(self, output: Output) -> Result<Result<Found, QueryError>, Error> {
        let start = self.start()?;
        let asked = self.asked?;
        let deadline = Instant::now() + self.plan.timeout;
        let seen = self
            .concord
            .look_at(asked.key_range(), |range| Read::Query(range), &self.plan)
            .await?;
        let start = match (start, seen.seal()) {
            (Start::Behind(cursor), Some(seal)) => Start::Behind(cursor.opened(&seal)?),
            (start, _) => start,
        };
        // It may take long enough to hold up other tasks of the runtime.
        let running = tokio::task::spawn_blocking(move || {
            let is_over = || Instant::now() >= deadline;
            let found = asked.run_shown(seen.view(), seen.filter(), output, &start, is_over);
            sealed(found, &seen)
        });
        running
            .await
            .map_err(|_| Error::new(ErrorKind::ShuttingDown, "the runtime is shutting down"))
    }

    fn refusal(&self, error: QueryError) -> Error {
        let message = error.to_string();
        match error {
            QueryError::Invalid(invalid) => invalid.into(),
            QueryError::View(error) => error.into(),
            QueryError::ForeignCursor => Error::invalid_request(message),
            QueryError::Stopped {
                stopped,
                scanned,
                cursor,
            } => {
                let advice = match &cursor {
                    Some(_) => "go on with the cursor, or narrow it, or make an index",
                    None => "it has to sort what it finds: narrow it, make an index, or allow more",
                };
                let (kind, message) = match stopped {
                    Stop::MaxScanned => (ErrorKind::BatchTooLarge, format!("{message}; {advice}")),
                    Stop::Deadline => (ErrorKind::Timeout, format!("{message}; {advice}")),
                };
                let error = Error::new(kind, message)
                    .with("stopped", stopped.name().to_owned())
                    .with("scanned", scanned);
                match cursor {
                    Some(cursor) => error.with("cursor", cursor.to_string()),
                    None => error,
                }
            }
        }
    }
}

/// For somebody who is not shown everything, a cursor tells nothing.
fn sealed(found: Result<Found, QueryError>, seen: &Seen) -> Result<Found, QueryError> {
    let Some(seal) = seen.seal() else { return found };
    match found {
        Ok(mut found) => {
            found.cursor = found.cursor.map(|cursor| cursor.sealed(&seal));
            Ok(found)
        }
        Err(QueryError::Stopped {
            stopped,
            scanned,
            cursor,
        }) => Err(QueryError::Stopped {
            stopped,
            scanned,
            cursor: cursor.map(|cursor| cursor.sealed(&seal)),
        }),
        Err(error) => Err(error),
    }
}

fn page(found: Found) -> QueryPage {
    QueryPage {
        records: found.records,
        cursor: found.cursor,
        stopped: found.stopped,
        scanned: found.scanned,
        revision: found.revision,
        now: found.now,
    }
}

impl From<InvalidQuery> for Error {
    fn from(invalid: InvalidQuery) -> Self {
        let error = Self::invalid_request(invalid.to_string()).with("part", invalid.part().to_owned());
        match invalid.offset() {
            Some(offset) => error.with("offset", u64::try_from(offset).unwrap_or(u64::MAX)),
            None => error,
        }
    }
}

/// A page of a query to be awaited: see [`Query::pairs`] and [`Query::keys`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct RunQuery<'a> {
    query: Query<'a>,
    output: Output,
}

impl<'a> IntoFuture for RunQuery<'a> {
    type Output = Result<QueryPage, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(async move {
            let query = self.query.clone();
            let found = self.query.found(self.output).await?;
            found.map(page).map_err(|error| query.refusal(error))
        })
    }
}

/// A count to be awaited: see [`Query::count`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct CountQuery<'a>(Query<'a>);

impl<'a> IntoFuture for CountQuery<'a> {
    type Output = Result<Answer<u64>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(async move {
            let query = self.0.clone();
            let found = self.0.found(Output::Count).await?;
            let found = found.map_err(|error| query.refusal(error))?;
            Ok(Answer::new(found.count, found.revision, found.now))
        })
    }
}

/// A question for the plan, to be awaited: see [`Query::explain`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct ExplainQuery<'a>(Query<'a>);

impl<'a> IntoFuture for ExplainQuery<'a> {
    type Output = Result<Answer<Explanation>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let query = self.0;
        let (concord, plan) = (query.concord, query.plan);
        let asked = match query.asked.clone() {
            Ok(asked) => asked,
            Err(invalid) => return Operation::ready(Err(invalid)),
        };
        // It tells how many records there are, so it is for those who are shown all of them.
        concord.read(
            asked,
            |asked| Read::Explain(asked.key_range()),
            plan,
            move |asked, seen| asked.explain(seen.view()).map_err(|error| query.refusal(error)),
        )
    }
}

/// See [`Query::delete_where`].
#[derive(Debug)]
pub struct DeleteWhere {
    asked: Result<Asked, Error>,
    limit: Option<usize>,
    /// Whether there is a cursor or a revision, which have no meaning here.
    is_more: bool,
}

/// The answer to a delete by filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedWhere {
    /// The revision of the removals, or the current one if nothing matched.
    pub revision: Revision,
    /// How many keys were removed.
    pub count: u64,
    /// Whether there are others that match, beyond the limit.
    pub more: bool,
}

impl WriteKind for DeleteWhere {
    type Answer = DeletedWhere;

    fn command(self) -> Result<Command, Error> {
        let asked = self.asked?;
        if self.is_more || !asked.is_filter_only() {
            return Err(Error::invalid_request(
                "a delete takes filters and a limit, and nothing else of a query",
            ));
        }
        Ok(Command::DeleteWhere {
            filter: asked.to_filter()?,
            limit: self.limit.map(|limit| u64::try_from(limit).unwrap_or(u64::MAX)),
        })
    }

    fn answer(reply: Reply) -> Option<DeletedWhere> {
        let Reply::DeletedWhere {
            revision,
            count,
            more,
        } = reply
        else {
            return None;
        };
        Some(DeletedWhere {
            revision,
            count,
            more,
        })
    }
}
