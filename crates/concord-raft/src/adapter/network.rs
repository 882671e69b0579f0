//! The way from this node's Raft to its peers: one [`PeerClient`] for each peer and use.
//!
//! ```text
//!   openraft asks for        lane       how
//!   heartbeat, vote, ...     Control    a call each
//!   replication              Append     a stream of requests and answers, pipelined
//!   snapshot                 Snapshot   a stream for each snapshot
//! ```
//!
//! A peer is found by its id in the [`AddressBook`] each time a connection is wanted, so
//! that a member that moved is found at its new address.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::NodeId;
use concord_core::machine::Machine;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2, Snapshot};
use parking_lot::RwLock;

use super::append_stream::{self, AppendLink};
use super::snapshot_stream;
use crate::blocking::Blocking;
use crate::message::raft::{
    AppendAnswer, AppendOutcome, AppendRequest, TransferAnswer, TransferRequest, VoteAnswer,
    VoteRequest as VoteMessage,
};
use crate::message::{self, Body, Kind};
use crate::ports::{Lane, PeerAddress, Transport, TransportError};
use crate::snapshot_store::SnapshotFile;
use crate::types::{CommittedLeaderId, Peer, TypeConfig, Vote};

/// Where members are, by id: the effective membership, kept up by the engine.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    peers: RwLock<BTreeMap<u64, Peer>>,
}

impl AddressBook {
    /// Replaces all entries.
    pub(crate) fn replace(&self, peers: BTreeMap<u64, Peer>) {
        *self.peers.write() = peers;
    }

    /// A member, if it is one.
    pub(crate) fn get(&self, id: u64) -> Option<Peer> {
        self.peers.read().get(&id).cloned()
    }
}

/// Makes a client for each peer that openraft names.
#[derive(Debug)]
pub(crate) struct Network<M> {
    transport: Arc<dyn Transport>,
    book: Arc<AddressBook>,
    blocking: Blocking,
    machine: PhantomData<fn() -> M>,
}

impl<M> Network<M> {
    pub(crate) fn new(transport: Arc<dyn Transport>, book: Arc<AddressBook>, blocking: Blocking) -> Self {
        Self {
            transport,
            book,
            blocking,
            machine: PhantomData,
        }
    }

    fn client(&self, target: u64, peer: &Peer, lane: Lane) -> PeerClient<M> {
        PeerClient {
            target,
            known: peer.clone(),
            lane,
            transport: Arc::clone(&self.transport),
            book: Arc::clone(&self.book),
            blocking: self.blocking,
            link: None,
            machine: PhantomData,
        }
    }
}

impl<M: Machine> RaftNetworkFactory<TypeConfig<M>> for Network<M> {
    type Network = PeerClient<M>;

    async fn new_client(&mut self, target: u64, node: &Peer) -> PeerClient<M> {
        self.client(target, node, Lane::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> PeerClient<M> {
        self.client(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Peer) -> PeerClient<M> {
        self.client(target, node, Lane::Snapshot)
    }
}

/// Talks to one peer for one use.
#[derive(Debug)]
pub(crate) struct PeerClient<M> {
    target: u64,
    /// Where it was when this client was made; the book knows better once it knows it.
    known: Peer,
    lane: Lane,
    transport: Arc<dyn Transport>,
    book: Arc<AddressBook>,
    blocking: Blocking,
    /// The open append stream, kept from one session to the next.
    link: Option<AppendLink>,
    machine: PhantomData<fn() -> M>,
}

type Rpc<M, T> = Result<T, RPCError<TypeConfig<M>>>;

/// What a failure to reach a peer is to openraft: always `Unreachable`, because only that
/// makes it back off.
pub(crate) fn unreachable<M: Machine>(error: impl ToString) -> RPCError<TypeConfig<M>> {
    RPCError::Unreachable(Unreachable::from_string(error))
}

/// An answer that makes no sense, or a connection that broke: worth another try at once.
pub(crate) fn broken<M: Machine>(error: impl ToString) -> RPCError<TypeConfig<M>> {
    RPCError::Network(NetworkError::from_string(error))
}

impl<M: Machine> PeerClient<M> {
    fn address(&self) -> PeerAddress {
        let peer = self.book.get(self.target);
        PeerAddress {
            node_id: Some(NodeId::new(self.target)),
            address: peer.map_or_else(|| self.known.address.clone(), |peer| peer.address),
        }
    }

    /// One call on the control lane, whatever this client is for: calls are small.
    fn call<T: Body>(
        &self,
        request: Bytes,
        timeout: Duration,
    ) -> impl Future<Output = Rpc<M, T>> + Send + use<M, T> {
        let answer = self
            .transport
            .call(&self.address(), Lane::Control, request, timeout);
        async move {
            let answer = answer.await.map_err(|error| match error {
                TransportError::Interrupted { .. } => broken::<M>(error),
                TransportError::Unreachable { .. }
                | TransportError::Refused { .. }
                | TransportError::Timeout { .. }
                | TransportError::TooLarge { .. } => unreachable::<M>(error),
            })?;
            match message::decode_answer::<T>(&answer) {
                Ok(Ok(body)) => Ok(body),
                Ok(Err(refusal)) => Err(unreachable::<M>(refusal)),
                Err(error) => Err(broken::<M>(error)),
            }
        }
    }

    fn heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig<M>>,
        timeout: Duration,
    ) -> impl Future<Output = Rpc<M, StreamAppendResult<TypeConfig<M>>>> + Send + use<M> {
        let answer = self.call::<AppendAnswer>(append_message(0, request).encode(), timeout);
        async move { Ok(append_result::<M>(answer.await?.outcome)) }
    }

    async fn ask_vote(
        &self,
        kind: Kind,
        request: VoteRequest<TypeConfig<M>>,
        option: RPCOption,
    ) -> Rpc<M, VoteResponse<TypeConfig<M>>> {
        let request = VoteMessage {
            vote: request.vote,
            last: request.last_log_id,
            transfer: request.leadership_transfer,
        };
        let answer: VoteAnswer = self
            .call(message::encode(kind, &request), option.soft_ttl())
            .await?;
        Ok(VoteResponse::new(answer.vote, answer.last, answer.granted))
    }
}

/// An append request as it travels.
pub(crate) fn append_message<M: Machine>(
    session: u64,
    request: AppendEntriesRequest<TypeConfig<M>>,
) -> AppendRequest {
    AppendRequest {
        session,
        vote: request.vote,
        prev: request.prev_log_id,
        commit: request.leader_commit,
        entries: request.entries,
    }
}

/// What openraft makes of an answer.
pub(crate) fn append_result<M: Machine>(outcome: AppendOutcome) -> StreamAppendResult<TypeConfig<M>> {
    match outcome {
        AppendOutcome::Matched(matched) => Ok(matched),
        AppendOutcome::Conflict(at) => Err(StreamAppendError::Conflict(at)),
        AppendOutcome::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
    }
}

impl<M: Machine> RaftNetworkV2<TypeConfig<M>> for PeerClient<M> {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig<M>>,
        option: RPCOption,
    ) -> Rpc<M, AppendEntriesResponse<TypeConfig<M>>> {
        Ok(self.heartbeat(request, option.soft_ttl()).await?.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<M, BoxStream<'s, Rpc<M, StreamAppendResult<TypeConfig<M>>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig<M>>> + OptionalSend + Unpin + 'static,
    {
        if self.lane != Lane::Append {
            // Heartbeats: one request, one call; nothing to pipeline.
            let answers = input.then(move |request| self.heartbeat(request, option.soft_ttl()));
            return async move { Ok(answers.boxed()) }.boxed();
        }
        async move {
            let mut input = input;
            // openraft waits out its back-off inside the first request: connecting before
            // asking for it would spin while the peer is down.
            let Some(first) = input.next().await else {
                return Ok(futures::stream::empty().boxed());
            };
            let address = self.address();
            let link = append_stream::connect(&mut self.link, &*self.transport, &address)
                .await
                .map_err(unreachable::<M>)?;
            let input = futures::stream::iter([first]).chain(input);
            Ok(append_stream::session::<M, _>(link, input).boxed())
        }
        .boxed()
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<CommittedLeaderId, u64, Peer, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<M>>, StreamingError<TypeConfig<M>>> {
        let address = self.address();
        let Snapshot { meta, snapshot: file } = snapshot;
        let sending = snapshot_stream::send(&*self.transport, &address, self.blocking, vote, meta, file);
        tokio::select! {
            biased;
            // Cancelled first: the receiver sees the stream end and drops what it got.
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => Err(StreamingError::from(unreachable::<M>(error))),
            },
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig<M>>,
        option: RPCOption,
    ) -> Rpc<M, VoteResponse<TypeConfig<M>>> {
        self.ask_vote(Kind::Vote, request, option).await
    }

    // The default grants without asking, which would defeat the pre-vote.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig<M>>,
        option: RPCOption,
    ) -> Rpc<M, VoteResponse<TypeConfig<M>>> {
        self.ask_vote(Kind::PreVote, request, option).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig<M>>,
        option: RPCOption,
    ) -> Rpc<M, TransferLeaderResponse<TypeConfig<M>>> {
        let message = TransferRequest {
            from: *request.from_leader(),
            to: *request.to_node_id(),
            last: request.last_log_id().copied(),
        };
        let bytes = message::encode(Kind::Transfer, &message);
        let answer: TransferAnswer = self.call(bytes, option.soft_ttl()).await?;
        Ok(match answer {
            TransferAnswer::Accepted => Ok(()),
            TransferAnswer::VoteChanged(actual) => Err(TransferLeaderError::VoteChanged {
                expected: message.from,
                actual,
            }),
            TransferAnswer::Behind(actual) => Err(TransferLeaderError::LogNotFlushed {
                expected: message.last,
                actual,
            }),
        })
    }

    fn backoff(&self) -> Option<Backoff> {
        // The transport has its own back-off between connection attempts; here it is
        // enough not to spin while it refuses at once.
        let first = [50, 100, 200, 400].into_iter();
        let delays = first.chain(std::iter::repeat(500)).map(Duration::from_millis);
        Some(Backoff::new(delays))
    }
}
