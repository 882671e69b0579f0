//! Reading the audit log of a node through its handle.

use std::fmt;
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use concord_auth::Read;
use futures::Stream;
use tokio::sync::mpsc;

use super::chain::Keys;
use super::filter::Filter;
use super::read::{self, Place};
use super::status::AuditStatus;
use super::verify::{AuditHead, AuditReport};
use crate::compression::off_the_workers;
use crate::concord::{Concord, Operation};
use crate::config::Secret;
use crate::error::{Error, ErrorKind};
use crate::limits::{AUDIT_PAGE_DEFAULT, AUDIT_PAGE_MAX};

/// The audit log of the node that is asked: see [`Concord::audit`].
#[derive(Debug)]
pub struct AuditLog<'a> {
    concord: &'a Concord,
}

impl<'a> AuditLog<'a> {
    pub(crate) const fn new(concord: &'a Concord) -> Self {
        Self { concord }
    }

    /// How the log is doing. No wait.
    ///
    /// # Errors
    ///
    /// `forbidden`.
    pub fn status(&self) -> Result<AuditStatus, Error> {
        self.concord.service().look(self.concord.caller(), &Read::Audit)?;
        Ok(self.concord.service().audit().status())
    }

    /// Finds lines, the newest first unless asked otherwise.
    pub fn query(&self) -> AuditQuery<'a> {
        AuditQuery {
            concord: self.concord,
            filter: Filter::default(),
            oldest_first: false,
            limit: AUDIT_PAGE_DEFAULT,
            cursor: None,
        }
    }

    /// Checks every line that is kept, and that the log ends as this node remembers.
    ///
    /// # Errors
    ///
    /// `forbidden`; `unsupported` on a node without an audit log; `storage_failed`. What is wrong with the log
    /// is in the answer.
    pub async fn verify(&self) -> Result<AuditReport, Error> {
        let (dir, keys) = self.place()?;
        let audit = self.concord.service().audit();
        audit.flush().await;
        let status = audit.status();
        let expected = AuditHead {
            seq: status.last_seq,
            hash: status.last_hash,
        };
        let shared = audit.shared().cloned();
        let check = move || {
            let _reading = shared.as_ref().map(|shared| shared.begin_reading());
            read::verify(&dir, keys.into_iter().collect(), vec![expected], false)
        };
        off_the_workers(check).await?.map_err(unreadable)
    }

    fn place(&self) -> Result<(PathBuf, Option<Keys>), Error> {
        self.concord.service().look(self.concord.caller(), &Read::Audit)?;
        let place = self.concord.service().audit().place();
        let (dir, keys) =
            place.ok_or_else(|| Error::new(ErrorKind::Unsupported, "this node keeps no audit log"))?;
        Ok((dir.to_owned(), keys.cloned()))
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::AuditFailed,
        format!("the audit log cannot be read: {error}"),
    )
}

/// A query of the audit log, to be awaited or exported.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct AuditQuery<'a> {
    concord: &'a Concord,
    filter: Filter,
    oldest_first: bool,
    limit: usize,
    cursor: Option<AuditCursor>,
}

impl AuditQuery<'_> {
    /// Lines from this time on.
    pub fn from(mut self, time: SystemTime) -> Self {
        self.filter.from = Some(micros(time));
        self
    }

    /// Lines up to this time, included.
    pub fn upto(mut self, time: SystemTime) -> Self {
        self.filter.upto = Some(micros(time));
        self
    }

    /// Requests of a token, by its id or name, or of a kind of caller: `token`, `embedder`, `anonymous`.
    pub fn principal(mut self, name: impl Into<String>) -> Self {
        self.filter.principal = Some(name.into());
        self
    }

    /// Requests of one kind, such as `put`.
    pub fn operation(mut self, name: impl Into<String>) -> Self {
        self.filter.operation = Some(name.into());
        self
    }

    /// Requests that came to this: `ok`, the name of an error, `error` for all of these, `denied`.
    pub fn result(mut self, name: impl Into<String>) -> Self {
        self.filter.result = Some(name.into());
        self
    }

    /// Requests about this key. Of requests about many keys only the first sixteen are known.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.filter.key = Some(key.as_ref().to_vec());
        self
    }

    /// Requests about keys that begin so. Finds nothing where keys are written as hashes.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.filter.prefix = Some(prefix.as_ref().to_vec());
        self
    }

    /// Requests of a tenant.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.filter.tenant = Some(tenant.into());
        self
    }

    /// The oldest lines first.
    pub fn oldest_first(mut self) -> Self {
        self.oldest_first = true;
        self
    }

    /// At most this many lines: 100 if not set, 1,000 at most.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on behind the page that this came with.
    pub fn cursor(mut self, cursor: AuditCursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    #[cfg(feature = "http")]
    pub(crate) fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// All lines that match, oldest first, without limit (D-AUD-4).
    ///
    /// # Errors
    ///
    /// `forbidden`; `unsupported` on a node without an audit log.
    pub async fn export(self) -> Result<AuditExport, Error> {
        let (dir, keys) = self.concord.audit().place()?;
        self.concord.service().audit().flush().await;
        let (sender, chunks) = mpsc::channel(4);
        let filter = self.filter;
        // Ends with the last line, or when nobody takes what it reads.
        drop(tokio::task::spawn_blocking(move || {
            let exported = read::export(&dir, &filter, keys.as_ref(), |chunk| {
                sender.blocking_send(Ok(chunk.into())).is_ok()
            });
            if let Err(error) = exported {
                let _ = sender.blocking_send(Err(unreadable(error)));
            }
        }));
        Ok(AuditExport { chunks })
    }
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl<'a> IntoFuture for AuditQuery<'a> {
    type Output = Result<AuditPage, Error>;
    type IntoFuture = Operation<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Operation::waiting(async move {
            let (dir, keys) = self.concord.audit().place()?;
            if !(1..=AUDIT_PAGE_MAX).contains(&self.limit) {
                return Err(Error::invalid_request(format!(
                    "a page has 1 to {AUDIT_PAGE_MAX} lines"
                )));
            }
            if self
                .cursor
                .is_some_and(|cursor| cursor.oldest_first != self.oldest_first)
            {
                return Err(Error::invalid_request(
                    "the cursor is of a query in the other order",
                ));
            }
            self.concord.service().audit().flush().await;
            let oldest_first = self.oldest_first;
            let read = move || {
                let after = self.cursor.map(|cursor| cursor.place);
                read::page(
                    &dir,
                    &self.filter,
                    keys.as_ref(),
                    !oldest_first,
                    self.limit,
                    after,
                )
            };
            let page = off_the_workers(read).await?.map_err(unreadable)?;
            Ok(AuditPage::new(page, oldest_first))
        })
    }
}

/// A page of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditPage {
    /// The lines as they are in the file: one JSON object each.
    pub lines: Vec<String>,
    /// Where to go on; `None`: there are no more. A page that is not full may have one: a query looks at a
    /// million lines at most before it answers.
    pub cursor: Option<AuditCursor>,
}

impl AuditPage {
    fn new(lines: read::Lines, oldest_first: bool) -> Self {
        Self {
            lines: lines.lines,
            cursor: lines.next.map(|place| AuditCursor { place, oldest_first }),
        }
    }
}

/// A place in the audit log of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    place: Place,
    oldest_first: bool,
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.oldest_first { 'o' } else { 'n' };
        write!(f, "{order}{}-{}", self.place.file, self.place.offset)
    }
}

impl FromStr for AuditCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (oldest_first, rest) = match text.split_at_checked(1)? {
                ("o", rest) => (true, rest),
                ("n", rest) => (false, rest),
                _ => return None,
            };
            let (file, offset) = rest.split_once('-')?;
            let place = Place {
                file: file.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            Some(Self { place, oldest_first })
        };
        parse().ok_or_else(|| Error::invalid_request("this is no cursor of an audit query"))
    }
}

/// All lines of an export, in chunks of whole lines. Dropping it ends it.
#[derive(Debug)]
pub struct AuditExport {
    chunks: mpsc::Receiver<Result<Bytes, Error>>,
}

impl AuditExport {
    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.chunks.recv().await
    }
}

impl Stream for AuditExport {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(context)
    }
}

/// A log in a directory, without its node: for the command line.
#[derive(Debug)]
pub struct AuditDirectory {
    dir: PathBuf,
    keys: Vec<Keys>,
}

impl AuditDirectory {
    /// The log in `dir`, whose lines may be sealed with these secrets.
    pub fn new(dir: impl AsRef<Path>, secrets: &[Secret]) -> Self {
        Self {
            dir: dir.as_ref().to_owned(),
            keys: secrets
                .iter()
                .map(|secret| Keys::derive(secret.expose().as_bytes()))
                .collect(),
        }
    }

    /// Checks every line. `noted`: lines that somebody noted and that must be there. `is_copy`: there is no
    /// `head.json` to say where the log ended.
    ///
    /// # Errors
    ///
    /// If a file cannot be read. What is wrong with the log is in the answer.
    pub fn verify(&self, noted: Vec<AuditHead>, is_copy: bool) -> std::io::Result<AuditReport> {
        read::verify(&self.dir, self.keys.clone(), noted, is_copy)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn page(
        &self,
        filter: &Filter,
        oldest_first: bool,
        limit: usize,
        cursor: Option<AuditCursor>,
    ) -> std::io::Result<AuditPage> {
        let after = cursor.map(|cursor| cursor.place);
        let page = read::page(&self.dir, filter, self.keys.first(), !oldest_first, limit, after)?;
        Ok(AuditPage::new(page, oldest_first))
    }

    #[cfg(feature = "cli")]
    pub(crate) fn export(&self, filter: &Filter, take: impl FnMut(Vec<u8>) -> bool) -> std::io::Result<()> {
        read::export(&self.dir, filter, self.keys.first(), take)
    }
}
