//! The peers' Raft messages, handed to this node's Raft. Everything here is called with
//! what a peer sent: it is decoded, bounded and matched with who sent it before openraft
//! sees it.

use std::sync::Arc;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use futures::StreamExt;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    VoteRequest as RaftVoteRequest,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::state_machine::{StateMachine, with_meta};
use crate::blocking::Blocking;
use crate::limits;
use crate::message::raft::{
    AppendAnswer, AppendOutcome, AppendRequest, SnapshotAnswer, SnapshotBegin, SnapshotChunk, TransferAnswer,
    TransferRequest, VoteAnswer, VoteRequest,
};
use crate::message::{self, Kind, Refusal};
use crate::ports::Duplex;
use crate::snapshot_store::{SnapshotFile, SnapshotReceiver, SnapshotStore};
use crate::status::SnapshotProgress;
use crate::types::{Runtime, TypeConfig, Vote};

/// openraft, for a machine.
pub(crate) type Raft<M> = openraft::Raft<TypeConfig<M>, StateMachine<M>>;

fn stopped(error: impl std::fmt::Display) -> Refusal {
    Refusal::for_now(format!("this node has stopped: {error}"))
}

/// A message speaks for a leader or candidate; only that node may send it.
fn check_sender(peer: NodeId, vote: &Vote) -> Result<(), Refusal> {
    if vote.leader_id.voted_for == peer.get() {
        return Ok(());
    }
    let claimed = vote.leader_id.voted_for;
    Err(Refusal::for_good(format!(
        "node {peer} speaks for node {claimed}"
    )))
}

fn raft_request<M: Machine>(request: AppendRequest) -> AppendEntriesRequest<TypeConfig<M>> {
    AppendEntriesRequest {
        vote: request.vote,
        prev_log_id: request.prev,
        leader_commit: request.commit,
        entries: request.entries,
    }
}

fn outcome<M: Machine>(result: StreamAppendResult<TypeConfig<M>>) -> AppendOutcome {
    match result {
        Ok(matched) => AppendOutcome::Matched(matched),
        Err(StreamAppendError::Conflict(at)) => AppendOutcome::Conflict(at),
        Err(StreamAppendError::HigherVote(vote)) => AppendOutcome::HigherVote(vote),
    }
}

/// A heartbeat.
pub(crate) async fn append<M: Machine>(
    raft: &Raft<M>,
    peer: NodeId,
    request: AppendRequest,
) -> Result<AppendAnswer, Refusal> {
    check_sender(peer, &request.vote)?;
    let session = request.session;
    let input = Box::pin(futures::stream::iter([raft_request::<M>(request)]));
    let mut answers = std::pin::pin!(raft.stream_append(input));
    match answers.next().await {
        Some(Ok(result)) => Ok(AppendAnswer {
            session,
            outcome: outcome::<M>(result),
        }),
        Some(Err(error)) => Err(stopped(error)),
        None => Err(stopped("no answer")),
    }
}

/// A vote or, if `pre`, a question how this node would vote.
pub(crate) async fn vote<M: Machine>(
    raft: &Raft<M>,
    peer: NodeId,
    request: VoteRequest,
    pre: bool,
) -> Result<VoteAnswer, Refusal> {
    check_sender(peer, &request.vote)?;
    let mut question = RaftVoteRequest::new(request.vote, request.last);
    question.leadership_transfer = request.transfer;
    let answer = if pre {
        raft.pre_vote(question).await
    } else {
        raft.vote(question).await
    };
    let answer = answer.map_err(stopped)?;
    Ok(VoteAnswer {
        vote: answer.vote,
        granted: answer.vote_granted,
        last: answer.last_log_id,
    })
}

/// The leader asks this node to take over, or tells it that another one will.
pub(crate) async fn transfer<M: Machine>(
    raft: &Raft<M>,
    peer: NodeId,
    request: TransferRequest,
) -> Result<TransferAnswer, Refusal> {
    check_sender(peer, &request.from)?;
    let request = TransferLeaderRequest::new(request.from, request.to, request.last);
    Ok(
        match raft.handle_transfer_leader(request).await.map_err(stopped)? {
            Ok(()) => TransferAnswer::Accepted,
            Err(TransferLeaderError::VoteChanged { actual, .. }) => TransferAnswer::VoteChanged(actual),
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => TransferAnswer::Behind(actual),
        },
    )
}

/// Serves a leader's append stream until it ends. `seed` is for the tasks that it spawns;
/// `heard` is called at each request.
pub(crate) async fn append_stream<M: Machine>(
    raft: Raft<M>,
    peer: NodeId,
    mut duplex: Duplex,
    seed: u64,
    heard: impl Fn(),
) {
    let mut current: Option<(u64, mpsc::Sender<AppendRequest>)> = None;
    while let Some(bytes) = duplex.receiver.recv().await {
        let request = match decode_append(peer, &bytes) {
            Ok(request) => request,
            Err(refusal) => {
                let answer = message::encode_answer::<AppendAnswer>(&Err(refusal));
                // The stream ends either way; a sender that is gone needs no reason.
                drop(duplex.sender.send(answer).await);
                return;
            }
        };
        heard();
        let queue = match &current {
            Some((session, queue)) if *session == request.session => queue.clone(),
            _ => {
                let (queue, requests) = mpsc::channel(limits::APPEND_IN_FLIGHT);
                let session = answer_session(raft.clone(), request.session, requests, duplex.sender.clone());
                tokio::spawn(Runtime::scope(seed.wrapping_add(request.session), session));
                current = Some((request.session, queue.clone()));
                queue
            }
        };
        // After a refusal the session takes no more, and its sender starts another one.
        drop(queue.send(request).await);
    }
}

fn decode_append(peer: NodeId, bytes: &Bytes) -> Result<AppendRequest, Refusal> {
    let kind = message::kind_of(bytes).map_err(|error| Refusal::for_good(error.to_string()))?;
    if kind != Kind::Append {
        return Err(Refusal::for_good("not an append request"));
    }
    let request: AppendRequest =
        message::decode(bytes).map_err(|error| Refusal::for_good(error.to_string()))?;
    check_sender(peer, &request.vote)?;
    Ok(request)
}

async fn answer_session<M: Machine>(
    raft: Raft<M>,
    session: u64,
    requests: mpsc::Receiver<AppendRequest>,
    answers: mpsc::Sender<Bytes>,
) {
    let input = futures::stream::unfold(requests, |mut requests| async move {
        let request = requests.recv().await?;
        Some((raft_request::<M>(request), requests))
    });
    let mut results = std::pin::pin!(raft.stream_append(input));
    while let Some(result) = results.next().await {
        let answer = match result {
            Ok(result) => Ok(AppendAnswer {
                session,
                outcome: outcome::<M>(result),
            }),
            Err(error) => Err(stopped(error)),
        };
        if answers.send(message::encode_answer(&answer)).await.is_err() {
            return;
        }
    }
}

/// Takes in snapshots, one at a time.
#[derive(Debug)]
pub(crate) struct SnapshotInbox {
    store: SnapshotStore,
    blocking: Blocking,
    progress: Mutex<Option<SnapshotProgress>>,
}

impl SnapshotInbox {
    pub(crate) fn new(store: SnapshotStore, blocking: Blocking) -> Self {
        Self {
            store,
            blocking,
            progress: Mutex::new(None),
        }
    }

    /// How far the snapshot that is coming in has come.
    pub(crate) fn progress(&self) -> Option<SnapshotProgress> {
        *self.progress.lock()
    }

    /// Serves a snapshot stream until it is installed or ends.
    pub(crate) async fn serve<M: Machine>(
        self: Arc<Self>,
        raft: Raft<M>,
        peer: NodeId,
        cluster_id: u128,
        mut duplex: Duplex,
    ) {
        let answer = self.receive(&raft, peer, cluster_id, &mut duplex).await;
        if let Err(refusal) = &answer {
            tracing::warn!(%peer, %refusal, "a snapshot was not taken in");
        }
        // A sender that is gone sees the stream end.
        drop(duplex.sender.send(message::encode_answer(&answer)).await);
    }

    async fn receive<M: Machine>(
        &self,
        raft: &Raft<M>,
        peer: NodeId,
        cluster_id: u128,
        duplex: &mut Duplex,
    ) -> Result<SnapshotAnswer, Refusal> {
        let first = next(duplex).await?;
        if message::kind_of(&first).map_err(malformed)? != Kind::SnapshotBegin {
            return Err(Refusal::for_good("a snapshot stream begins with what it is of"));
        }
        let begin: SnapshotBegin = message::decode(&first).map_err(malformed)?;
        check_sender(peer, &begin.vote)?;
        let _busy = Busy::enter(self, begin.total_bytes)?;
        let file = self.receive_file(&begin, cluster_id, duplex).await?;
        if with_meta(file.clone()).meta != begin.meta {
            return Err(Refusal::for_good("the snapshot is not of what was announced"));
        }
        let installed = raft.install_full_snapshot(begin.vote, with_meta(file)).await;
        Ok(SnapshotAnswer {
            vote: installed.map_err(stopped)?.vote,
        })
    }

    async fn receive_file(
        &self,
        begin: &SnapshotBegin,
        cluster_id: u128,
        duplex: &mut Duplex,
    ) -> Result<SnapshotFile, Refusal> {
        let store = self.store.clone();
        let mut draft = self
            .blocking
            .run(move || store.receive())
            .await
            .map_err(storage)?;
        loop {
            let bytes = next(duplex).await?;
            let kind = message::kind_of(&bytes).map_err(malformed)?;
            if kind == Kind::SnapshotEnd {
                break;
            }
            if kind != Kind::SnapshotChunk {
                return Err(Refusal::for_good("not a part of a snapshot"));
            }
            let chunk: SnapshotChunk = message::decode(&bytes).map_err(malformed)?;
            draft = self.append(draft, chunk, begin.total_bytes).await?;
        }
        if draft.received_bytes() != begin.total_bytes {
            return Err(Refusal::for_now("the snapshot ended early"));
        }
        self.blocking
            .run(move || draft.finish(cluster_id))
            .await
            .map_err(storage)
    }

    async fn append(
        &self,
        mut draft: SnapshotReceiver,
        chunk: SnapshotChunk,
        total_bytes: u64,
    ) -> Result<SnapshotReceiver, Refusal> {
        let size = u64::try_from(chunk.0.len()).unwrap_or(u64::MAX);
        if draft.received_bytes().saturating_add(size) > total_bytes {
            return Err(Refusal::for_good("the snapshot is larger than announced"));
        }
        let draft = self
            .blocking
            .run(move || draft.write(&chunk.0).map(|()| draft))
            .await
            .map_err(storage)?;
        *self.progress.lock() = Some(SnapshotProgress {
            received_bytes: draft.received_bytes(),
            total_bytes,
        });
        Ok(draft)
    }
}

/// Marks the inbox as busy until dropped.
struct Busy<'a>(&'a SnapshotInbox);

impl<'a> Busy<'a> {
    fn enter(inbox: &'a SnapshotInbox, total_bytes: u64) -> Result<Self, Refusal> {
        let mut progress = inbox.progress.lock();
        if progress.is_some() {
            return Err(Refusal::for_now("another snapshot is coming in"));
        }
        *progress = Some(SnapshotProgress {
            received_bytes: 0,
            total_bytes,
        });
        Ok(Self(inbox))
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.progress.lock() = None;
    }
}

async fn next(duplex: &mut Duplex) -> Result<Bytes, Refusal> {
    match duplex.receiver.recv().await {
        Some(bytes) => Ok(bytes),
        None => Err(Refusal::for_now("the snapshot stream ended")),
    }
}

fn malformed(error: concord_core::codec::DecodeError) -> Refusal {
    Refusal::for_good(error.to_string())
}

// A full or failing disk while receiving stops nothing here: the leader tries again, and
// what the node holds is untouched.
fn storage(error: crate::storage_error::StorageError) -> Refusal {
    Refusal::for_now(error.to_string())
}
