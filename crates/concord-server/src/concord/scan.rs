//! Scans: ranges of keys, page by page, all at one revision.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use concord_auth::Read;
use concord_core::ids::{Revision, Timestamp};
use concord_core::key::KeyRange;
use concord_core::record::Record;
use concord_core::view::{Direction, ScanOutput, ScanRequest};
use concord_query::Cursor;
use concord_raft::ReadConsistency;
use futures::Stream;
use futures::stream::{self, TryStreamExt as _};

use super::Concord;
use super::operation::Operation;
use super::read::{read_options, takes_plan};
use crate::compression::off_the_workers;
use crate::error::Error;
use crate::limits;
use crate::service::{ReadPlan, Seen};

impl Concord {
    /// Reads a range of keys: all of them unless narrowed, in ascending order, one page.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = concord_server::Concord::open(concord_server::Config::at(directory.path())).await?;
    /// use futures::TryStreamExt;
    ///
    /// let mut records = std::pin::pin!(db.scan().prefix("user:").records());
    /// while let Some(record) = records.try_next().await? {
    ///     println!("{}", record.key);
    /// }
    /// # db.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Concord::get`]; `invalid_request` for a limit out of range or a foreign cursor.
    ///
    /// # Consistency
    ///
    /// As [`Concord::get`] for the first page. Every further page shows the revision of the
    /// first, so that a scan of any length is a consistent cut, until that revision is
    /// compacted.
    pub fn scan(&self) -> Scan<'_> {
        let mut request = ScanRequest::new(KeyRange::all());
        request.limit = limits::SCAN_PAGE_DEFAULT;
        Scan {
            concord: self,
            request,
            cursor: None,
            plan: self.read_plan(),
        }
    }
}

/// A scan to be awaited for its first page, or turned into a stream: see [`Concord::scan`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Scan<'a> {
    concord: &'a Concord,
    request: ScanRequest,
    cursor: Option<Cursor>,
    plan: ReadPlan,
}

/// One page of a scan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The records, in order. With [`Scan::keys_only`] their values are empty.
    pub records: Vec<Record>,
    /// How many records there are: on this page, or with [`Scan::count`] in the whole range.
    pub count: u64,
    /// Goes on behind this page; `None`: it was the last. A page can be short, or even
    /// empty, without being the last.
    pub cursor: Option<Cursor>,
    /// The revision that was read at: the same on every page of a scan.
    pub revision: Revision,
    /// The cluster's clock when the page was served.
    pub now: Timestamp,
}

impl<'a> Scan<'a> {
    read_options!(plan);
    takes_plan!();

    /// Only keys that start with this.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.request.range = KeyRange::prefix(Bytes::copy_from_slice(prefix.as_ref()));
        self
    }

    /// Only keys from `start`, included, to `end`, excluded.
    pub fn between(mut self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Self {
        let (start, end) = (
            Bytes::copy_from_slice(start.as_ref()),
            Bytes::copy_from_slice(end.as_ref()),
        );
        self.request.range = KeyRange::between(start, end);
        self
    }

    /// Only keys from `start` on, included.
    pub fn from(mut self, start: impl AsRef<[u8]>) -> Self {
        self.request.range = KeyRange::from(Bytes::copy_from_slice(start.as_ref()));
        self
    }

    /// Greatest key first.
    pub fn descending(mut self) -> Self {
        self.request.direction = Direction::Descending;
        self
    }

    /// At most this many records a page: 1,000 if not set, 10,000 at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.request.limit = limit;
        self
    }

    /// Leaves the values empty.
    pub fn keys_only(mut self) -> Self {
        self.request.output = ScanOutput::Keys;
        self
    }

    /// Only counts: [`Page::count`] is then that of the whole range.
    pub fn count(mut self) -> Self {
        self.request.output = ScanOutput::Count;
        self
    }

    /// Reads at this revision.
    pub fn revision(mut self, revision: Revision) -> Self {
        self.request.revision = Some(revision);
        self
    }

    /// Goes on behind an earlier page of the same scan, at its revision.
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// All pages, one after the other, each when it is asked for.
    pub fn pages(self) -> impl Stream<Item = Result<Page, Error>> + Send + 'a {
        stream::try_unfold(Some(self), |scan| async move {
            let Some(scan) = scan else { return Ok(None) };
            let page = scan.clone().await?;
            let next = page.cursor.clone().map(|cursor| scan.cursor(cursor));
            Ok(Some((page, next)))
        })
    }

    /// All records, page by page, each page when its first record is asked for.
    pub fn records(self) -> impl Stream<Item = Result<Record, Error>> + Send + 'a {
        self.pages()
            .map_ok(|page| stream::iter(page.records.into_iter().map(Ok)))
            .try_flatten()
    }

    /// Whether the page may take long enough to hold up other tasks of the runtime.
    fn is_long(&self) -> bool {
        self.request.output == ScanOutput::Count
            || self.request.limit > limits::SCAN_PAGE_DEFAULT
            || self.request.revision.is_some()
            || self.cursor.is_some()
    }

    /// Refuses a cursor that is not of this scan. What is sealed is judged when there is something to open it with.
    fn check(&mut self) -> Result<(), Error> {
        let Some(cursor) = &self.cursor else { return Ok(()) };
        if self.request.output == ScanOutput::Count || self.request.revision.is_some() {
            return Err(Error::invalid_request(
                "a cursor has its own revision and no count",
            ));
        }
        // Whoever served the page before had this revision: this node must have it too.
        if let Some(position) = cursor.position_in(&self.request.range, self.request.direction) {
            self.plan.min_revision = self.plan.min_revision.max(Some(position.revision()));
        }
        Ok(())
    }

    fn prepared(self, seen: &Seen) -> Result<ScanRequest, Error> {
        let mut request = self.request;
        if let Some(cursor) = self.cursor {
            let cursor = match seen.seal() {
                Some(seal) => cursor.opened(&seal)?,
                None => cursor,
            };
            let position = cursor
                .position_in(&request.range, request.direction)
                .ok_or_else(|| Error::invalid_request("cursor is not of this scan"))?;
            request.after = Some(position.clone());
        }
        Ok(request)
    }
}

impl<'a> IntoFuture for Scan<'a> {
    type Output = Result<Page, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(mut self) -> Self::IntoFuture {
        if let Err(error) = self.check() {
            return Operation::ready(Err(error));
        }
        Operation::waiting(async move {
            let is_long = self.is_long();
            let seen = self
                .concord
                .look_at(&self.request.range, |range| Read::Scan(range), &self.plan)
                .await?;
            let unpacks =
                self.request.output == ScanOutput::Records && seen.view().statistics().packed.values > 0;
            let request = self.prepared(&seen)?;
            if !is_long && !unpacks && seen.filter().is_none() {
                return page(&seen, &request);
            }
            off_the_workers(move || page(&seen, &request)).await?
        })
    }
}

fn page(seen: &Seen, request: &ScanRequest) -> Result<Page, Error> {
    let page = seen.view().scan_shown(request, seen.filter())?;
    let next = page
        .next
        .map(|position| Cursor::new(&request.range, request.direction, position));
    Ok(Page {
        records: page.records,
        count: page.count,
        cursor: next.map(|cursor| match seen.seal() {
            Some(seal) => cursor.sealed(&seal),
            None => cursor,
        }),
        revision: page.revision,
        now: seen.view().now(),
    })
}
