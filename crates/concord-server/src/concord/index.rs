//! Secondary indexes: made, shown, asked.

use std::future::IntoFuture;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_auth::Read;
use concord_core::command::Command;
use concord_core::document::Finite;
use concord_core::expr::Literal;
use concord_core::ids::Revision;
use concord_core::index::{Extractor, IndexDefinition, IndexName, IndexStatus, InvalidIndex};
use concord_core::record::Record;
use concord_core::reply::Reply;
use concord_core::view::{Direction, IndexRequest, ViewError};
use concord_query::{IndexCursor, extractor};
use concord_raft::ReadConsistency;
use futures::Stream;
use futures::stream::{self, TryStreamExt as _};

use super::Concord;
use super::operation::Operation;
use super::read::{read_options, takes_plan};
use super::write::{Write, WriteKind};
use crate::answer::Answer;
use crate::compression::off_the_workers;
use crate::error::Error;
use crate::limits;
use crate::missing::Named;
use crate::service::{ReadPlan, Seen};

impl Concord {
    /// Makes an index: by a path into documents (`$.email`, `$.tags[*]`) or an expression
    /// (`value.first + value.last`). It is kept exact by every write from then on, and filled with what is
    /// there already, in the background: [`Concord::index`] says how far it is.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// db.create_index("user-by-mail", "$.email").prefix("user:").unique().await?;
    /// let found = db.lookup("user-by-mail").equal("ada@example.org").await?;
    /// assert!(found.records.len() <= 1);
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `already_exists`; `invalid_request` for a name, an extractor or a prefix that is none, with the
    /// place of the fault in `offset`, and when there are as many indexes as may be; `forbidden`; else as [`Concord::put`].
    pub fn create_index(&self, name: impl AsRef<str>, extractor: &str) -> Write<'_, CreateIndex> {
        self.draft(CreateIndex {
            name: name_of(name),
            extractor: extractor_of(extractor),
            prefix: Bytes::new(),
            unique: false,
            fill: true,
        })
    }

    /// Forgets an index.
    ///
    /// # Errors
    ///
    /// `not_found` if there is none of this name; `forbidden`; else as [`Concord::put`].
    pub fn drop_index(&self, name: impl AsRef<str>) -> Write<'_, DropIndex> {
        self.draft(DropIndex { name: name_of(name) })
    }

    /// Empties an index and fills it anew, on every node alike. It cannot be asked until that is done.
    ///
    /// # Errors
    ///
    /// As [`Concord::drop_index`].
    pub fn reindex(&self, name: impl AsRef<str>) -> Write<'_, Reindex> {
        self.draft(Reindex { name: name_of(name) })
    }

    /// Every index with how far it is, in order of names. Errors and consistency as [`Concord::get`]; `forbidden`.
    pub fn indexes(&self) -> ListIndexes<'_> {
        ListIndexes {
            concord: self,
            plan: self.read_plan(),
        }
    }

    /// An index and how far it is. Consistency as [`Concord::get`].
    ///
    /// # Errors
    ///
    /// `not_found` if there is none of this name; `forbidden`; else as [`Concord::get`].
    pub fn index(&self, name: impl AsRef<str>) -> GetIndex<'_> {
        GetIndex {
            concord: self,
            name: name_of(name),
            plan: self.read_plan(),
        }
    }

    /// Looks records up in an index: all of them unless narrowed, in the order of their values, one
    /// page. A record with several values in the range comes once for each.
    ///
    /// # Errors
    ///
    /// `not_found` if there is no such index; `not_ready` while it is being filled; `unique_violation` if that
    /// has failed; `invalid_request` for a limit out of range, a foreign cursor, a float that is not finite;
    /// `batch_too_large` for a revision too many changes back; else as [`Concord::get`].
    ///
    /// # Consistency
    ///
    /// As [`Concord::scan`]: every page shows the revision of the first.
    pub fn lookup(&self, name: impl AsRef<str>) -> Lookup<'_> {
        let request = name_of(name).map(|name| IndexRequest {
            limit: limits::SCAN_PAGE_DEFAULT,
            ..IndexRequest::range(name, Bound::Unbounded, Bound::Unbounded)
        });
        Lookup {
            concord: self,
            request,
            keys_only: false,
            cursor: None,
            plan: self.read_plan(),
        }
    }
}

fn name_of(name: impl AsRef<str>) -> Result<IndexName, Error> {
    IndexName::new(name.as_ref()).map_err(Error::from)
}

fn extractor_of(text: &str) -> Result<Extractor, Error> {
    extractor::parse(text).map_err(|error| {
        let message = format!("extractor is wrong: {}", error.explain(text));
        let offset = u64::try_from(error.offset()).unwrap_or(u64::MAX);
        Error::invalid_request(message).with("offset", offset)
    })
}

impl From<InvalidIndex> for Error {
    fn from(invalid: InvalidIndex) -> Self {
        Self::invalid_request(invalid.to_string())
    }
}

/// See [`Concord::create_index`].
#[derive(Debug)]
pub struct CreateIndex {
    name: Result<IndexName, Error>,
    extractor: Result<Extractor, Error>,
    prefix: Bytes,
    unique: bool,
    fill: bool,
}

impl Write<'_, CreateIndex> {
    /// Only of keys that start with this.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.kind.prefix = Bytes::copy_from_slice(prefix.as_ref());
        self
    }

    /// Refuses a write that would give two records a value in common: `unique_violation`.
    pub fn unique(mut self) -> Self {
        self.kind.unique = true;
        self
    }

    /// Only of what is written from now on: what is there already is not filled in.
    pub fn without_existing(mut self) -> Self {
        self.kind.fill = false;
        self
    }
}

impl WriteKind for CreateIndex {
    type Answer = Revision;

    fn command(self) -> Result<Command, Error> {
        let definition = IndexDefinition::new(self.name?, self.prefix, self.extractor?, self.unique)?;
        Ok(Command::CreateIndex {
            definition: Arc::new(definition),
            fill: self.fill,
        })
    }

    fn answer(reply: Reply) -> Option<Revision> {
        index_changed(&reply)
    }
}

/// See [`Concord::drop_index`].
#[derive(Debug)]
pub struct DropIndex {
    name: Result<IndexName, Error>,
}

impl WriteKind for DropIndex {
    type Answer = Revision;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::DropIndex { name: self.name? })
    }

    fn answer(reply: Reply) -> Option<Revision> {
        index_changed(&reply)
    }
}

/// See [`Concord::reindex`].
#[derive(Debug)]
pub struct Reindex {
    name: Result<IndexName, Error>,
}

impl WriteKind for Reindex {
    type Answer = Revision;

    fn command(self) -> Result<Command, Error> {
        Ok(Command::Reindex { name: self.name? })
    }

    fn answer(reply: Reply) -> Option<Revision> {
        index_changed(&reply)
    }
}

fn index_changed(reply: &Reply) -> Option<Revision> {
    let Reply::IndexChanged { revision } = reply else {
        return None;
    };
    Some(*revision)
}

/// A list of indexes, to be awaited: see [`Concord::indexes`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct ListIndexes<'a> {
    concord: &'a Concord,
    plan: ReadPlan,
}

impl ListIndexes<'_> {
    read_options!(plan);
    takes_plan!();
}

impl<'a> IntoFuture for ListIndexes<'a> {
    type Output = Result<Answer<Vec<IndexStatus>>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let listed = |(), seen: &Seen| Ok(seen.view().indexes().collect());
        self.concord.read((), |()| Read::ListIndexes, self.plan, listed)
    }
}

/// A question about an index, to be awaited: see [`Concord::index`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetIndex<'a> {
    concord: &'a Concord,
    name: Result<IndexName, Error>,
    plan: ReadPlan,
}

impl GetIndex<'_> {
    read_options!(plan);
    takes_plan!();
}

impl<'a> IntoFuture for GetIndex<'a> {
    type Output = Result<Answer<IndexStatus>, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { concord, name, plan } = self;
        let name = match name {
            Ok(name) => name,
            Err(invalid) => return Operation::ready(Err(invalid)),
        };
        concord.read(
            name,
            |_| Read::ListIndexes,
            plan,
            |name, seen| {
                let found = seen.view().index(&name);
                found.ok_or_else(|| Named::index(name.as_str()).not_found())
            },
        )
    }
}

/// What records are looked up by: bools, numbers, text, bytes. Numbers are compared by their
/// exact value, and nothing is converted: `"1"` is not `1`.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexValue(Option<Literal>);

impl IndexValue {
    fn literal(self) -> Result<Literal, Error> {
        self.0
            .ok_or_else(|| Error::invalid_request("a float must be finite to be looked up"))
    }
}

impl From<Literal> for IndexValue {
    fn from(literal: Literal) -> Self {
        Self(Some(literal))
    }
}

impl From<bool> for IndexValue {
    fn from(value: bool) -> Self {
        Literal::Bool(value).into()
    }
}

impl From<i64> for IndexValue {
    fn from(value: i64) -> Self {
        Literal::Integer(value.into()).into()
    }
}

impl From<u64> for IndexValue {
    fn from(value: u64) -> Self {
        Literal::Integer(value.into()).into()
    }
}

impl From<i32> for IndexValue {
    fn from(value: i32) -> Self {
        i64::from(value).into()
    }
}

impl From<u32> for IndexValue {
    fn from(value: u32) -> Self {
        u64::from(value).into()
    }
}

impl From<f64> for IndexValue {
    /// A float that is not finite is refused when the lookup is made.
    fn from(value: f64) -> Self {
        Self(Finite::new(value).map(Literal::Float))
    }
}

impl From<&str> for IndexValue {
    fn from(value: &str) -> Self {
        Literal::String(value.to_owned()).into()
    }
}

impl From<String> for IndexValue {
    fn from(value: String) -> Self {
        Literal::String(value).into()
    }
}

impl From<&[u8]> for IndexValue {
    fn from(value: &[u8]) -> Self {
        Literal::Bytes(value.to_vec()).into()
    }
}

/// A lookup to be awaited for its first page, or turned into a stream: see [`Concord::lookup`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Lookup<'a> {
    concord: &'a Concord,
    request: Result<IndexRequest, Error>,
    keys_only: bool,
    cursor: Option<IndexCursor>,
    plan: ReadPlan,
}

/// One page of a lookup.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LookupPage {
    /// The records, in the order of their values. With [`Lookup::keys_only`] their own values are empty.
    pub records: Vec<Record>,
    /// Goes on behind this page; `None`: it was the last. A page can be short without being the last.
    pub cursor: Option<IndexCursor>,
    /// The revision that was read at: the same on every page of a lookup.
    pub revision: Revision,
    /// The cluster's clock when the page was served.
    pub now: concord_core::Timestamp,
}

impl<'a> Lookup<'a> {
    read_options!(plan);
    takes_plan!();

    /// Only records with this value, in the order of their keys.
    pub fn equal(self, value: impl Into<IndexValue>) -> Self {
        let value = value.into();
        self.from(value.clone()).upto(value)
    }

    /// Only values from this one on, included.
    pub fn from(self, value: impl Into<IndexValue>) -> Self {
        self.bounded(value, |request, value| request.from = Bound::Included(value))
    }

    /// Only values after this one.
    pub fn after(self, value: impl Into<IndexValue>) -> Self {
        self.bounded(value, |request, value| request.from = Bound::Excluded(value))
    }

    /// Only values up to this one, included.
    pub fn upto(self, value: impl Into<IndexValue>) -> Self {
        self.bounded(value, |request, value| request.to = Bound::Included(value))
    }

    /// Only values before this one.
    pub fn before(self, value: impl Into<IndexValue>) -> Self {
        self.bounded(value, |request, value| request.to = Bound::Excluded(value))
    }

    fn bounded(mut self, value: impl Into<IndexValue>, set: impl FnOnce(&mut IndexRequest, Literal)) -> Self {
        self.request = self.request.and_then(|mut request| {
            set(&mut request, value.into().literal()?);
            Ok(request)
        });
        self
    }

    fn with(mut self, set: impl FnOnce(&mut IndexRequest)) -> Self {
        if let Ok(request) = &mut self.request {
            set(request);
        }
        self
    }

    /// Greatest value first, and of one value the greatest key.
    pub fn descending(self) -> Self {
        self.with(|request| request.direction = Direction::Descending)
    }

    /// At most this many records a page: 1,000 if not set, 10,000 at most.
    pub fn limit(self, limit: usize) -> Self {
        self.with(|request| request.limit = limit)
    }

    /// Leaves the records' own values empty.
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Reads at this revision.
    pub fn revision(self, revision: Revision) -> Self {
        self.with(|request| request.revision = Some(revision))
    }

    /// Goes on behind an earlier page of the same lookup, at its revision.
    pub fn cursor(mut self, cursor: IndexCursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// All pages, one after the other, each when it is asked for.
    pub fn pages(self) -> impl Stream<Item = Result<LookupPage, Error>> + Send + 'a {
        stream::try_unfold(Some(self), |lookup| async move {
            let Some(lookup) = lookup else { return Ok(None) };
            let page = lookup.clone().await?;
            // The first page may have been asked for at a revision; the others have it.
            let next = page
                .cursor
                .clone()
                .map(|cursor| lookup.with(|request| request.revision = None).cursor(cursor));
            Ok(Some((page, next)))
        })
    }

    /// All records, page by page, each page when its first record is asked for.
    pub fn records(self) -> impl Stream<Item = Result<Record, Error>> + Send + 'a {
        self.pages()
            .map_ok(|page| stream::iter(page.records.into_iter().map(Ok)))
            .try_flatten()
    }

    fn prepared(&self, seen: &Seen) -> Result<IndexRequest, Error> {
        let mut request = self.request.clone()?;
        if let Some(cursor) = self.cursor.clone() {
            if request.revision.is_some() {
                return Err(Error::invalid_request("a cursor has its own revision"));
            }
            let cursor = match seen.seal() {
                Some(seal) => cursor.opened(&seal)?,
                None => cursor,
            };
            let position = cursor
                .position_in(&request)
                .ok_or_else(|| Error::invalid_request("cursor is not of this lookup"))?;
            request.after = Some(position.clone());
        }
        Ok(request)
    }
}

impl<'a> IntoFuture for Lookup<'a> {
    type Output = Result<LookupPage, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let request = match &self.request {
            Ok(request) => request,
            Err(invalid) => return Operation::ready(Err(invalid.clone())),
        };
        // The past, and many records, may take long enough to hold up other tasks of the runtime.
        let is_long =
            request.limit > limits::SCAN_PAGE_DEFAULT || request.revision.is_some() || self.cursor.is_some();
        let service = self.concord.service();
        if !is_long
            && let Some(seen) = service.read_now(self.concord.caller(), &of_index(&request.name), &self.plan)
        {
            return Operation::ready(seen.and_then(|seen| self.page(&seen)));
        }
        let name = request.name.clone();
        Operation::waiting(async move {
            let seen = self.concord.look_at(name, of_index, &self.plan).await?;
            if !is_long && seen.filter().is_none() {
                return self.page(&seen);
            }
            let (request, keys_only) = (self.prepared(&seen)?, self.keys_only);
            off_the_workers(move || page(&seen, &request, keys_only)).await?
        })
    }
}

fn of_index(name: &IndexName) -> Read<'_> {
    Read::Lookup(name.as_str())
}

impl Lookup<'_> {
    fn page(&self, seen: &Seen) -> Result<LookupPage, Error> {
        page(seen, &self.prepared(seen)?, self.keys_only)
    }
}

fn page(seen: &Seen, request: &IndexRequest, keys_only: bool) -> Result<LookupPage, Error> {
    let page = seen
        .view()
        .lookup_shown(request, seen.filter())
        .map_err(|error| {
            if error == ViewError::IndexNotFound {
                Named::index(request.name.as_str()).not_found()
            } else {
                error.into()
            }
        })?;
    let mut records = page.records;
    if keys_only {
        for record in &mut records {
            record.value = concord_core::Value::binary(Bytes::new());
        }
    }
    let next = page.next.map(|position| IndexCursor::new(request, position));
    Ok(LookupPage {
        records,
        cursor: next.map(|cursor| match seen.seal() {
            Some(seal) => cursor.sealed(&seal),
            None => cursor,
        }),
        revision: page.revision,
        now: seen.view().now(),
    })
}
