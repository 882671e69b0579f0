//! Reads against a scripted consensus: fresh enough, shared, and honest about time.

use std::sync::Arc;
use std::time::Duration;

use concord_core::ids::{LogIndex, Revision};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{ReadConsistency, ReadError, ReadRequest, Reads};
use crate::consensus::{LeaderRef, Published, ReadIndexError};
use crate::fake::{FakeConsensus, FakeTransport, ReadRounds, SharedLog, Tally, peer, ports};
use crate::ports::Transport;

type Answer = Result<Arc<Published<u64>>, ReadError>;

/// A node without Raft: reads over a scripted consensus whose rounds the test ends.
struct TestNode {
    consensus: Arc<FakeConsensus>,
    rounds: ReadRounds,
    reads: Reads<Tally>,
    stop: watch::Sender<bool>,
}

impl TestNode {
    fn start(id: u64, transport: &Arc<FakeTransport>) -> Self {
        let (consensus, rounds) = FakeConsensus::new(&SharedLog::new());
        let stop = watch::Sender::new(false);
        let ports = ports(Arc::clone(transport) as Arc<dyn Transport>);
        let (reads, task) = Reads::new(Arc::clone(&consensus), &ports, stop.subscribe());
        let serving = reads.clone();
        transport.on_call(
            id,
            Box::new(move |request| {
                let serving = serving.clone();
                Box::pin(async move { serving.answer(request).await })
            }),
        );
        tokio::spawn(task);
        Self {
            consensus,
            rounds,
            reads,
            stop,
        }
    }

    fn leading() -> Self {
        let node = Self::start(1, &Arc::default());
        node.consensus.leads(1);
        node
    }

    fn read(&self, request: impl Into<ReadRequest>, within: Duration) -> JoinHandle<Answer> {
        let (reads, request) = (self.reads.clone(), request.into());
        tokio::spawn(async move { reads.read(request, Instant::now() + within).await })
    }

    /// The round that began last, to be ended by the test.
    async fn next_round(&mut self) -> oneshot::Sender<Result<LogIndex, ReadIndexError>> {
        timeout(5 * SECOND, self.rounds.recv())
            .await
            .expect("a round begins")
            .unwrap()
    }

    fn publish(&self, applied: u64) {
        self.consensus
            .publisher
            .publish(applied * 10, LogIndex::new(applied));
    }
}

async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

const SECOND: Duration = Duration::from_secs(1);
const STRONG: ReadConsistency = ReadConsistency::Strong;

#[track_caller]
fn applied(answer: Answer) -> u64 {
    answer.expect("a view").applied.get()
}

/// D-RAFT-13: it asks nobody, and says at which revision it was served.
#[tokio::test(start_paused = true)]
async fn an_eventual_read_does_not_wait() {
    let mut node = TestNode::start(1, &Arc::default());
    node.publish(3);
    assert_eq!(
        applied(node.read(ReadConsistency::Eventual, SECOND).await.unwrap()),
        3
    );
    assert_eq!(node.reads.published().view, 30);
    assert!(node.rounds.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn many_reads_share_a_round() {
    let mut node = TestNode::leading();
    node.publish(7);
    let readers: Vec<_> = (0..100).map(|_| node.read(STRONG, SECOND)).collect();
    let mut rounds = 0;
    settle().await;
    while let Ok(round) = node.rounds.try_recv() {
        rounds += 1;
        round.send(Ok(LogIndex::new(7))).unwrap();
        settle().await;
    }
    for reader in readers {
        assert_eq!(applied(reader.await.unwrap()), 7);
    }
    assert!(rounds <= 2, "{rounds} rounds");
}

#[tokio::test(start_paused = true)]
async fn a_round_that_began_before_a_read_does_not_serve_it() {
    let mut node = TestNode::leading();
    node.publish(1);
    let early = node.read(ReadConsistency::Leader, SECOND);
    let first_round = node.next_round().await;
    let late = node.read(STRONG, SECOND);
    settle().await;
    // A write was acknowledged at index 2 before `late` began.
    first_round.send(Ok(LogIndex::new(1))).unwrap();
    assert_eq!(applied(early.await.unwrap()), 1);
    let second_round = node.next_round().await;
    assert!(!late.is_finished(), "I6: it joined a round that began before it");
    node.publish(2);
    second_round.send(Ok(LogIndex::new(2))).unwrap();
    assert_eq!(applied(late.await.unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_until_the_index_is_applied_here() {
    let mut node = TestNode::leading();
    node.publish(1);
    let reader = node.read(STRONG, SECOND);
    node.next_round().await.send(Ok(LogIndex::new(3))).unwrap();
    settle().await;
    node.publish(2);
    settle().await;
    assert!(!reader.is_finished(), "I6: index 3 is not applied");
    node.publish(4);
    assert_eq!(applied(reader.await.unwrap()), 4);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_what_was_missing() {
    let within = Duration::from_millis(100);
    let mut node = TestNode::start(1, &Arc::default());
    node.publish(1);
    let answer = node.read(STRONG, within).await.unwrap();
    assert!(
        matches!(answer, Err(ReadError::NotReady { waited_ms: 100..=140 })),
        "{answer:?}"
    );

    node.consensus.leads(1);
    let reader = node.read(STRONG, within);
    let never_ends = node.next_round().await;
    assert!(matches!(reader.await.unwrap(), Err(ReadError::NoQuorum { .. })));
    never_ends.send(Err(ReadIndexError::NoQuorum)).unwrap();

    let reader = node.read(STRONG, within);
    node.next_round().await.send(Ok(LogIndex::new(9))).unwrap();
    assert!(matches!(reader.await.unwrap(), Err(ReadError::Timeout { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_failed_round_is_tried_again() {
    let mut node = TestNode::leading();
    node.publish(1);
    let reader = node.read(STRONG, SECOND);
    for _ in 0..3 {
        node.next_round()
            .await
            .send(Err(ReadIndexError::NoQuorum))
            .unwrap();
    }
    node.next_round().await.send(Ok(LogIndex::new(1))).unwrap();
    assert_eq!(applied(reader.await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_begins_another_round() {
    let mut node = TestNode::leading();
    node.publish(1);
    let reader = node.read(STRONG, SECOND);
    let lost = node.next_round().await;
    node.consensus.sees(2, None);
    settle().await;
    node.consensus.leads(3);
    node.next_round().await.send(Ok(LogIndex::new(1))).unwrap();
    assert_eq!(applied(reader.await.unwrap()), 1);
    drop(lost);
}

#[tokio::test(start_paused = true)]
async fn a_least_revision_is_waited_for() {
    let mut node = TestNode::leading();
    node.publish(1);
    let least = |consistency, revision| ReadRequest {
        consistency,
        min_revision: Some(Revision::new(revision)),
    };
    assert_eq!(
        applied(
            node.read(least(ReadConsistency::Eventual, 10), SECOND)
                .await
                .unwrap()
        ),
        1
    );
    let eventual = node.read(least(ReadConsistency::Eventual, 30), SECOND);
    let strong = node.read(least(STRONG, 30), SECOND);
    node.next_round().await.send(Ok(LogIndex::new(1))).unwrap();
    settle().await;
    node.publish(2);
    settle().await;
    assert!(!eventual.is_finished() && !strong.is_finished());
    node.publish(3);
    assert_eq!(applied(eventual.await.unwrap()), 3);
    assert_eq!(applied(strong.await.unwrap()), 3);
    let never = node
        .read(least(ReadConsistency::Eventual, 99), SECOND)
        .await
        .unwrap();
    assert!(matches!(never, Err(ReadError::Timeout { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_follower_asks_the_leader_once_for_many_and_reads_itself() {
    let transport = Arc::<FakeTransport>::default();
    let mut leader = TestNode::start(1, &transport);
    leader.consensus.leads(1);
    let follower = TestNode::start(2, &transport);
    follower.consensus.sees(1, Some(LeaderRef::Remote(peer(1))));
    follower.publish(4);
    let readers: Vec<_> = (0..50).map(|_| follower.read(STRONG, SECOND)).collect();
    leader.next_round().await.send(Ok(LogIndex::new(5))).unwrap();
    sleep(Duration::from_millis(10)).await;
    assert!(
        readers.iter().all(|reader| !reader.is_finished()),
        "I6: index 5 is not applied here"
    );
    follower.publish(5);
    for reader in readers {
        assert_eq!(applied(reader.await.unwrap()), 5);
    }
    assert!(leader.rounds.try_recv().is_err(), "one round served all");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_lead_does_not_ask_on_for_others() {
    let transport = Arc::<FakeTransport>::default();
    let nodes = [TestNode::start(1, &transport), TestNode::start(2, &transport)];
    // Each believes that the other one leads.
    nodes[0].consensus.sees(1, Some(LeaderRef::Remote(peer(2))));
    nodes[1].consensus.sees(1, Some(LeaderRef::Remote(peer(1))));
    let answer = nodes[0].read(STRONG, Duration::from_millis(200)).await.unwrap();
    assert!(matches!(answer, Err(ReadError::NoQuorum { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_answers_everybody() {
    let mut node = TestNode::leading();
    let in_round = node.read(STRONG, SECOND);
    let round = node.next_round().await;
    let gathering = node.read(STRONG, SECOND);
    settle().await;
    node.stop.send_replace(true);
    for reader in [in_round, gathering, node.read(STRONG, SECOND)] {
        assert_eq!(reader.await.unwrap().unwrap_err(), ReadError::ShuttingDown);
    }
    drop(round);
}
