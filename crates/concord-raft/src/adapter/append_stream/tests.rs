//! A session against a peer that is played by the test.

use concord_core::store::Store;
use futures::stream::BoxStream;
use openraft::raft::StreamAppendError;

use super::*;
use crate::message::raft::{AppendOutcome, AppendRequest};
use crate::message::{self, decode};
use crate::types::{Entry, LogId, Payload, Vote, log_id};

type Request = AppendEntriesRequest<TypeConfig<Store>>;
type Answer = Result<StreamAppendResult<TypeConfig<Store>>, RPCError<TypeConfig<Store>>>;

/// The far side of a link.
struct Peer {
    requests: tokio::sync::mpsc::Receiver<Bytes>,
    answers: tokio::sync::mpsc::Sender<Bytes>,
}

impl Peer {
    fn next(&mut self) -> Option<AppendRequest> {
        self.requests.try_recv().ok().map(|bytes| decode(&bytes).unwrap())
    }

    fn answer(&self, session: u64, outcome: AppendOutcome) {
        let answer = message::encode_answer(&Ok(AppendAnswer { session, outcome }));
        self.answers.try_send(answer).unwrap();
    }
}

impl Peer {
    /// Waits for `count` requests.
    async fn take(&mut self, count: usize) {
        for _ in 0..count {
            self.requests.recv().await.expect("the link is open");
        }
    }
}

fn link(session: u64) -> (AppendLink, Peer) {
    let (sender, requests) = tokio::sync::mpsc::channel(64);
    let (answers, receiver) = tokio::sync::mpsc::channel(64);
    let duplex = Duplex { sender, receiver };
    (
        AppendLink {
            duplex,
            session,
            broken: false,
        },
        Peer { requests, answers },
    )
}

fn request(index: u64) -> Request {
    let entry = Entry {
        log_id: log_id(1, index),
        payload: Payload::Blank,
    };
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: index.checked_sub(1).map(|prev| log_id(1, prev)),
        leader_commit: None,
        entries: vec![entry],
    }
}

fn requests(count: u64) -> BoxStream<'static, Request> {
    futures::stream::iter(0..count).map(request).boxed()
}

fn matched(index: u64) -> AppendOutcome {
    AppendOutcome::Matched(Some(log_id(1, index)))
}

/// Polls until nothing more happens by itself.
async fn settle<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> Option<Option<T>> {
    tokio::select! {
        biased;
        item = stream.next() => Some(item),
        () = tokio::time::sleep(Duration::from_millis(1)) => None,
    }
}

fn acked(item: Option<Answer>) -> Option<LogId> {
    item.expect("the session goes on")
        .expect("no error")
        .expect("no refusal")
}

#[tokio::test(start_paused = true)]
async fn several_requests_are_under_way_but_never_too_many() {
    let (mut link, mut peer) = link(1);
    let mut session = Box::pin(session::<Store, _>(&mut link, requests(100)));
    assert!(settle(&mut session).await.is_none(), "nothing was answered");
    let sent = std::iter::from_fn(|| peer.next()).count();
    assert_eq!(sent, limits::APPEND_IN_FLIGHT);
    peer.answer(1, matched(0));
    assert_eq!(acked(session.next().await), Some(log_id(1, 0)));
    assert!(settle(&mut session).await.is_none());
    assert_eq!(
        std::iter::from_fn(|| peer.next()).count(),
        1,
        "an answer makes room for one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_all_is_answered_and_the_link_stays() {
    let (mut link, mut peer) = link(1);
    let answering = async {
        for index in 0..3 {
            peer.take(1).await;
            peer.answer(1, matched(index));
        }
    };
    let session = session::<Store, _>(&mut link, requests(3)).collect::<Vec<_>>();
    let (answers, ()) = tokio::join!(session, answering);
    assert_eq!(answers.len(), 3);
    assert!(!link.broken);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_session_and_its_late_answers_are_ignored() {
    let (mut slot, mut peer) = link(1);
    let answering = async {
        peer.take(3).await;
        peer.answer(1, AppendOutcome::Conflict(log_id(1, 4)));
        // The peer was still busy with the rest of the first session.
        peer.answer(1, matched(90));
        peer.answer(1, matched(91));
    };
    let session = session::<Store, _>(&mut slot, requests(3)).collect::<Vec<_>>();
    let (first, ()) = tokio::join!(session, answering);
    assert!(
        matches!(first.as_slice(), [Ok(Err(StreamAppendError::Conflict(_)))]),
        "{first:?}"
    );
    slot.session = 2;
    let answering = async {
        peer.take(1).await;
        peer.answer(2, matched(0));
    };
    let session = super::session::<Store, _>(&mut slot, requests(1)).collect::<Vec<_>>();
    let (second, ()) = tokio::join!(session, answering);
    assert!(
        matches!(second.as_slice(), [Ok(Ok(Some(id)))] if *id == log_id(1, 0)),
        "{second:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_asked_for_breaks_the_link() {
    let (mut link, peer) = link(1);
    peer.answer(1, matched(0));
    peer.answer(1, matched(1));
    let pending = futures::stream::iter([request(0)]).chain(futures::stream::pending());
    let mut session = Box::pin(session::<Store, _>(&mut link, pending));
    // The first answer may be taken before its request was sent: that is an error, too.
    let mut failed = false;
    while let Some(answer) = session.next().await {
        failed |= answer.is_err();
    }
    drop(session);
    assert!(failed && link.broken);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_nothing_is_given_up() {
    let (mut link, _peer) = link(1);
    let began = Instant::now();
    let answers: Vec<_> = session::<Store, _>(&mut link, requests(1)).collect().await;
    assert!(
        matches!(answers.as_slice(), [Err(RPCError::Unreachable(_))]),
        "{answers:?}"
    );
    assert!(began.elapsed() >= STALL);
    assert!(link.broken);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_waits_for_ever() {
    let (mut link, _peer) = link(1);
    let mut session = Box::pin(session::<Store, _>(
        &mut link,
        futures::stream::pending::<Request>().boxed(),
    ));
    let waited = tokio::time::timeout(STALL * 10, session.next()).await;
    assert!(waited.is_err(), "{waited:?}");
}
