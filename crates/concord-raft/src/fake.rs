//! A scripted consensus and a tiny machine, so that the client paths are tested without Raft.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use concord_core::batch::Batch;
use concord_core::codec::DecodeError;
use concord_core::ids::{LogIndex, NodeId, Revision, SessionId, Term, Timestamp};
use concord_core::machine::{Machine, Meta, Restorer};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use crate::consensus::{
    AppendError, AppendOutcome, BatchReplies, Consensus, LeaderRef, Leadership, Publisher, ReadIndexError,
    Views,
};
use crate::ports::{
    Clock, Disk, DiskFile, DiskLock, Duplex, Entropy, Lane, OpenMode, PeerAddress, Ports, Transport,
    TransportError,
};
use crate::sole_voter::SoleVoter;

/// What the machine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TallyReply {
    /// The request, applied as the n-th one.
    Applied { nth: u64, request: Bytes },
    /// The session is unknown.
    Expired,
    /// The number is below what was acknowledged: nobody should be waiting for this.
    Stale,
}

/// Lists the requests that it applied, each number of a session once.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) applied: Vec<Bytes>,
    sessions: BTreeMap<SessionId, Remembered>,
    revision: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    acked_below: u64,
    replies: BTreeMap<u64, TallyReply>,
}

impl Tally {
    /// Forgets all sessions, as if they had been idle for long.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }
}

impl Machine for Tally {
    type Reply = TallyReply;
    type View = u64;
    type SnapshotChunks = std::iter::Empty<Bytes>;
    type Restorer = NoRestorer;

    fn empty() -> Self {
        Self::default()
    }

    fn apply(&mut self, _: Meta, batch: &Batch) -> Vec<TallyReply> {
        let mut out = Vec::new();
        for group in &batch.groups {
            if group.opens {
                assert!(group.requests.is_empty(), "an opening group has no requests");
                self.sessions.entry(group.session).or_default();
            }
            let Some(session) = self.sessions.get_mut(&group.session) else {
                out.extend(group.requests.iter().map(|_| TallyReply::Expired));
                continue;
            };
            session.acked_below = session.acked_below.max(group.acked_below);
            session.replies = session.replies.split_off(&session.acked_below);
            for (offset, request) in (0..).zip(&group.requests) {
                let sequence = group.first_sequence + offset;
                if sequence < session.acked_below {
                    out.push(TallyReply::Stale);
                    continue;
                }
                let reply = session.replies.entry(sequence).or_insert_with(|| {
                    self.applied.push(request.clone());
                    self.revision += 1;
                    TallyReply::Applied {
                        nth: self.applied.len() as u64,
                        request: request.clone(),
                    }
                });
                out.push(reply.clone());
            }
        }
        out
    }

    fn view(&self) -> u64 {
        self.revision
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    fn revision_of(view: &u64) -> Revision {
        Revision::new(*view)
    }

    fn snapshot(_: &u64) -> Self::SnapshotChunks {
        std::iter::empty()
    }

    fn restorer() -> NoRestorer {
        NoRestorer
    }

    fn is_session_expired(reply: &TallyReply) -> bool {
        *reply == TallyReply::Expired
    }

    fn encode_reply(reply: &TallyReply, out: &mut Vec<u8>) {
        match reply {
            TallyReply::Applied { nth, request } => {
                out.push(0);
                out.extend(nth.to_le_bytes());
                out.extend(request.iter());
            }
            TallyReply::Expired => out.push(1),
            TallyReply::Stale => out.push(2),
        }
    }

    fn decode_reply(bytes: &Bytes) -> Result<TallyReply, DecodeError> {
        match bytes.first() {
            Some(0) if bytes.len() >= 9 => Ok(TallyReply::Applied {
                nth: u64::from_le_bytes(bytes[1..9].try_into().unwrap()),
                request: bytes.slice(9..),
            }),
            Some(1) => Ok(TallyReply::Expired),
            Some(2) => Ok(TallyReply::Stale),
            _ => Err(DecodeError {
                what: "not a reply",
                offset: 0,
            }),
        }
    }
}

/// A tally is never restored.
#[derive(Debug)]
pub(crate) struct NoRestorer;

impl Restorer for NoRestorer {
    type Machine = Tally;

    fn feed(&mut self, _: &Bytes) -> Result<(), DecodeError> {
        unreachable!("a tally is never restored")
    }

    fn finish(self) -> Result<Tally, DecodeError> {
        unreachable!("a tally is never restored")
    }
}

/// What the fake does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Apply and answer.
    Apply,
    /// Keep it until released.
    Hold,
    /// Refuse it: not in the log.
    Refuse(AppendError),
    /// Apply it, and lose the answer.
    ApplyAndLose,
    /// Take it in and lose it.
    Drop,
}

type HeldEntry = (Batch, oneshot::Sender<Result<BatchReplies<Tally>, AppendError>>);

/// One log for all nodes of a test: whoever is told to lead appends to it.
#[derive(Debug)]
pub(crate) struct SharedLog {
    pub(crate) machine: Mutex<Tally>,
    index: AtomicU64,
    /// The shape of each applied entry: requests by group.
    pub(crate) entries: Mutex<Vec<Vec<usize>>>,
}

impl SharedLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            machine: Mutex::default(),
            index: AtomicU64::new(0),
            entries: Mutex::default(),
        })
    }

    fn apply(&self, batch: &Batch) -> BatchReplies<Tally> {
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        self.entries
            .lock()
            .push(batch.groups.iter().map(|group| group.requests.len()).collect());
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        self.machine.lock().apply(meta, batch)
    }

    /// The requests applied so far, in order.
    pub(crate) fn applied(&self) -> Vec<Bytes> {
        self.machine.lock().applied.clone()
    }

    /// The shapes of the applied entries that had requests.
    pub(crate) fn filled_entries(&self) -> Vec<Vec<usize>> {
        let entries = self.entries.lock();
        entries
            .iter()
            .filter(|groups| groups.iter().any(|requests| *requests > 0))
            .cloned()
            .collect()
    }

    /// No number appears twice: nothing was applied twice.
    pub(crate) fn assert_applied_once(&self) {
        let applied = self.applied();
        let distinct: BTreeSet<_> = applied.iter().collect();
        assert_eq!(distinct.len(), applied.len(), "I7: a request was applied twice");
    }
}

/// Consensus as one node of a test sees it.
pub(crate) struct FakeConsensus {
    pub(crate) log: Arc<SharedLog>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) mode: Mutex<Mode>,
    held: Mutex<VecDeque<HeldEntry>>,
    pub(crate) publisher: Publisher<u64>,
    /// Shut: the paths that ask are what is tested here.
    sole_voter: Arc<SoleVoter>,
    pub(crate) deadline: Mutex<Option<Timestamp>>,
    /// Scripted answers to `read_index`; the calls wait for them.
    pub(crate) read_rounds: mpsc::UnboundedSender<oneshot::Sender<Result<LogIndex, ReadIndexError>>>,
    pub(crate) batches: Mutex<Vec<Batch>>,
}

impl fmt::Debug for FakeConsensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeConsensus")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The other end of `FakeConsensus::read_rounds`.
pub(crate) type ReadRounds = mpsc::UnboundedReceiver<oneshot::Sender<Result<LogIndex, ReadIndexError>>>;

impl FakeConsensus {
    pub(crate) fn new(log: &Arc<SharedLog>) -> (Arc<Self>, ReadRounds) {
        let (read_rounds, rounds) = mpsc::unbounded_channel();
        let fake = Arc::new(Self {
            log: Arc::clone(log),
            leadership: watch::Sender::new(Leadership::default()),
            mode: Mutex::new(Mode::Apply),
            held: Mutex::default(),
            publisher: Publisher::new(0, LogIndex::new(0)),
            sole_voter: Arc::new(SoleVoter::new(NodeId::new(1))),
            deadline: Mutex::default(),
            read_rounds,
            batches: Mutex::default(),
        });
        (fake, rounds)
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }

    /// Makes this node see a leader.
    pub(crate) fn sees(&self, term: u64, leader: Option<LeaderRef>) {
        self.leadership.send_replace(Leadership {
            term: Term::new(term),
            leader,
        });
    }

    pub(crate) fn leads(&self, term: u64) {
        self.sees(term, Some(LeaderRef::Local));
    }

    pub(crate) fn held(&self) -> usize {
        self.held.lock().len()
    }

    /// Applies and answers what is held.
    pub(crate) fn release(&self) {
        let held: Vec<_> = self.held.lock().drain(..).collect();
        for (batch, outcome) in held {
            let _ = outcome.send(Ok(self.log.apply(&batch)));
        }
    }

    /// Fails what is held, after applying it or without.
    pub(crate) fn fail_held(&self, error: AppendError, applied: bool) {
        let held: Vec<_> = self.held.lock().drain(..).collect();
        for (batch, outcome) in held {
            if applied {
                self.log.apply(&batch);
            }
            let _ = outcome.send(Err(error));
        }
    }

    fn take_in(&self, batch: Batch) -> Result<AppendOutcome<Tally>, AppendError> {
        self.batches.lock().push(batch.clone());
        let mode = *self.mode.lock();
        Ok(match mode {
            Mode::Apply => {
                let replies = self.log.apply(&batch);
                async { Ok(replies) }.boxed()
            }
            Mode::Hold => {
                let (outcome, held) = oneshot::channel();
                self.held.lock().push_back((batch, outcome));
                async { held.await.unwrap_or(Err(AppendError::Unknown)) }.boxed()
            }
            Mode::Refuse(error) => return Err(error),
            Mode::ApplyAndLose => {
                self.log.apply(&batch);
                async { Err(AppendError::Unknown) }.boxed()
            }
            Mode::Drop => async { Err(AppendError::Unknown) }.boxed(),
        })
    }
}

impl Consensus<Tally> for FakeConsensus {
    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<AppendOutcome<Tally>, AppendError>> {
        async move { self.take_in(batch) }.boxed()
    }

    fn read_index(&self) -> BoxFuture<'static, Result<LogIndex, ReadIndexError>> {
        let (answer, round) = oneshot::channel();
        let _ = self.read_rounds.send(answer);
        async { round.await.unwrap_or(Err(ReadIndexError::Stopped)) }.boxed()
    }

    fn views(&self) -> Views<u64> {
        self.publisher.views()
    }

    fn sole_voter(&self) -> Arc<SoleVoter> {
        Arc::clone(&self.sole_voter)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        *self.deadline.lock()
    }
}

/// Ports without a disk: a counting entropy, a clock on tokio's time, a scripted transport.
pub(crate) fn ports(transport: Arc<dyn Transport>) -> Ports {
    Ports {
        disk: Arc::new(NoDisk),
        transport,
        clock: Arc::new(TokioClock(tokio::time::Instant::now())),
        entropy: Arc::new(Counting),
    }
}

#[derive(Debug)]
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::new(1_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// Different bytes at each call, across all instances.
#[derive(Debug)]
struct Counting;

static DRAWS: AtomicU64 = AtomicU64::new(1);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let draw = DRAWS.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (byte, drawn) in bytes.iter_mut().zip(draw.iter().cycle()) {
            *byte = *drawn;
        }
    }
}

#[derive(Debug)]
struct NoDisk;

impl Disk for NoDisk {
    fn create_dir_all(&self, _: &std::path::Path) -> std::io::Result<()> {
        unreachable!("client paths have no files")
    }
    fn list(&self, _: &std::path::Path) -> std::io::Result<Vec<String>> {
        unreachable!("client paths have no files")
    }
    fn open(&self, _: &std::path::Path, _: OpenMode) -> std::io::Result<Box<dyn DiskFile>> {
        unreachable!("client paths have no files")
    }
    fn exists(&self, _: &std::path::Path) -> std::io::Result<bool> {
        unreachable!("client paths have no files")
    }
    fn rename(&self, _: &std::path::Path, _: &std::path::Path) -> std::io::Result<()> {
        unreachable!("client paths have no files")
    }
    fn remove(&self, _: &std::path::Path) -> std::io::Result<()> {
        unreachable!("client paths have no files")
    }
    fn sync_dir(&self, _: &std::path::Path) -> std::io::Result<()> {
        unreachable!("client paths have no files")
    }
    fn lock(&self, _: &std::path::Path) -> std::io::Result<Box<dyn DiskLock>> {
        unreachable!("client paths have no files")
    }
}

type StreamServer = Box<dyn Fn(Duplex) -> BoxFuture<'static, ()> + Send + Sync>;
type CallServer = Box<dyn Fn(Bytes) -> BoxFuture<'static, Bytes> + Send + Sync>;

/// Connects nodes of a test by id.
#[derive(Default)]
pub(crate) struct FakeTransport {
    streams: Mutex<BTreeMap<NodeId, StreamServer>>,
    calls: Mutex<BTreeMap<NodeId, CallServer>>,
    /// Cutting these ends the streams in use.
    cuts: Mutex<Vec<watch::Sender<bool>>>,
    pub(crate) opened: AtomicU64,
}

impl fmt::Debug for FakeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeTransport").finish_non_exhaustive()
    }
}

impl FakeTransport {
    pub(crate) fn on_stream(&self, node: u64, server: StreamServer) {
        self.streams.lock().insert(NodeId::new(node), server);
    }

    pub(crate) fn on_call(&self, node: u64, server: CallServer) {
        self.calls.lock().insert(NodeId::new(node), server);
    }

    /// Ends all streams; messages on their way are lost.
    pub(crate) fn cut(&self) {
        for cut in self.cuts.lock().drain(..) {
            cut.send_replace(true);
        }
    }
}

/// A peer of a test.
pub(crate) fn peer(node: u64) -> PeerAddress {
    PeerAddress {
        node_id: Some(NodeId::new(node)),
        address: format!("node-{node}:1"),
    }
}

fn unreachable_peer(peer: &PeerAddress) -> TransportError {
    TransportError::Unreachable {
        address: peer.address.clone(),
        reason: "nobody there".to_owned(),
    }
}

impl Transport for FakeTransport {
    fn call(
        &self,
        peer: &PeerAddress,
        _: Lane,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let calls = self.calls.lock();
        let Some(server) = peer.node_id.and_then(|id| calls.get(&id)) else {
            return futures::future::err(unreachable_peer(peer)).boxed();
        };
        let answer = server(request);
        let address = peer.address.clone();
        async move {
            tokio::time::timeout(timeout, answer)
                .await
                .map_err(|_| TransportError::Timeout {
                    address,
                    waited_ms: u64::try_from(timeout.as_millis()).unwrap(),
                })
        }
        .boxed()
    }

    fn open(&self, peer: &PeerAddress, _: Lane) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let streams = self.streams.lock();
        let Some(server) = peer.node_id.and_then(|id| streams.get(&id)) else {
            return futures::future::err(unreachable_peer(peer)).boxed();
        };
        self.opened.fetch_add(1, Ordering::Relaxed);
        let cut = watch::Sender::new(false);
        let (near_out, far_in) = pipe(cut.subscribe());
        let (far_out, near_in) = pipe(cut.subscribe());
        self.cuts.lock().push(cut);
        tokio::spawn(server(Duplex {
            sender: far_out,
            receiver: far_in,
        }));
        async {
            Ok(Duplex {
                sender: near_out,
                receiver: near_in,
            })
        }
        .boxed()
    }
}

fn pipe(mut cut: watch::Receiver<bool>) -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    let (sender, mut from) = mpsc::channel::<Bytes>(2);
    let (to, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                biased;
                _ = cut.wait_for(|cut| *cut) => return,
                message = from.recv() => message,
            };
            let Some(message) = message else { return };
            tokio::time::sleep(Duration::from_millis(1)).await;
            if to.send(message).await.is_err() {
                return;
            }
        }
    });
    (sender, receiver)
}
