//! The proposer against a scripted consensus: exactly once, in time, in few entries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_core::ids::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{ProposeError, Proposer};
use crate::consensus::{AppendError, LeaderRef};
use crate::error::ErrorKind;
use crate::fake::{FakeConsensus, FakeTransport, Mode, SharedLog, Tally, TallyReply, peer, ports};
use crate::limits;
use crate::ports::Transport;

type Answer = Result<TallyReply, ProposeError>;

/// A node without Raft: a proposer over a scripted consensus.
struct TestNode {
    consensus: Arc<FakeConsensus>,
    proposer: Proposer<Tally>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TestNode {
    fn start(id: u64, log: &Arc<SharedLog>, transport: &Arc<FakeTransport>) -> Self {
        let (consensus, _) = FakeConsensus::new(log);
        let stop = watch::Sender::new(false);
        let ports = ports(Arc::clone(transport) as Arc<dyn Transport>);
        let (proposer, task) = Proposer::new(Arc::clone(&consensus), &ports, stop.subscribe());
        let serving = proposer.clone();
        transport.on_stream(
            id,
            Box::new(move |duplex| {
                let serving = serving.clone();
                Box::pin(async move { serving.serve(duplex).await })
            }),
        );
        let task = tokio::spawn(task);
        Self {
            consensus,
            proposer,
            stop,
            task,
        }
    }

    fn alone() -> Self {
        let node = Self::start(1, &SharedLog::new(), &Arc::default());
        node.consensus.leads(1);
        node
    }

    fn propose(&self, request: impl Into<Bytes>, within: Duration) -> JoinHandle<Answer> {
        let (proposer, request) = (self.proposer.clone(), request.into());
        tokio::spawn(async move { proposer.propose(request, Instant::now() + within).await })
    }

    /// Lets everything that can run without time passing run.
    async fn settle(&self) {
        sleep(Duration::from_nanos(1)).await;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn applied(answer: Answer) -> u64 {
    match answer {
        Ok(TallyReply::Applied { nth, .. }) => nth,
        other => panic!("not applied: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_leader_proposes_at_once_and_answers() {
    let node = TestNode::alone();
    let before = Instant::now();
    let answer = node.propose("a", SECOND).await.unwrap();
    assert_eq!(applied(answer), 1);
    // Paused time moves only when everything waits for it.
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn requests_gather_while_entries_are_in_flight() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Hold);
    let callers: Vec<_> = (0..1_000).map(|n| node.propose(format!("{n}"), SECOND)).collect();
    node.settle().await;
    assert!(node.consensus.held() <= limits::ENTRIES_IN_FLIGHT_MAX);
    node.consensus.set_mode(Mode::Apply);
    node.consensus.release();
    for caller in callers {
        applied(caller.await.unwrap());
    }
    assert!(
        node.consensus.log.filled_entries().len() <= 8,
        "{:?}",
        node.consensus.log.filled_entries()
    );
    node.consensus.log.assert_applied_once();
}

#[tokio::test(start_paused = true)]
async fn entries_are_bounded_in_bytes_but_one_large_request_passes() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Hold);
    let sizes = [
        10,
        10,
        limits::ENTRY_BYTES_MAX / 2,
        limits::ENTRY_BYTES_MAX / 2,
        3 * limits::ENTRY_BYTES_MAX,
        10,
    ];
    let callers: Vec<_> = (0_u8..)
        .zip(sizes)
        .map(|(n, size)| node.propose(vec![n; size], SECOND))
        .collect();
    for _ in 0..sizes.len() {
        node.settle().await;
        node.consensus.release();
    }
    for caller in callers {
        applied(caller.await.unwrap());
    }
    for batch in node.consensus.batches.lock().iter() {
        let requests: Vec<_> = batch
            .groups
            .iter()
            .flat_map(|group| &group.requests)
            .map(Bytes::len)
            .collect();
        let bytes: usize = requests.iter().sum();
        assert!(
            bytes <= limits::ENTRY_BYTES_MAX || requests.len() == 1,
            "{requests:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_answer_was_lost_is_applied_once() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::ApplyAndLose);
    let caller = node.propose("a", SECOND);
    sleep(Duration::from_millis(30)).await;
    node.consensus.set_mode(Mode::Apply);
    assert_eq!(applied(caller.await.unwrap()), 2);
    node.consensus.log.assert_applied_once();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_lost_is_sent_again() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Drop);
    let caller = node.propose("a", SECOND);
    sleep(Duration::from_millis(30)).await;
    node.consensus.set_mode(Mode::Apply);
    assert_eq!(applied(caller.await.unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn everything_outstanding_goes_out_again_in_order_after_a_change_of_leader() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Hold);
    let mut callers = Vec::new();
    for n in 0..10 {
        callers.push(node.propose(format!("{n}"), SECOND));
        node.settle().await;
    }
    node.consensus.sees(2, None);
    node.settle().await;
    node.consensus.set_mode(Mode::Apply);
    node.consensus.leads(3);
    for caller in callers {
        applied(caller.await.unwrap());
    }
    let expected: Vec<Bytes> = std::iter::once("first".into())
        .chain((0..10).map(|n| format!("{n}").into()))
        .collect();
    assert_eq!(node.consensus.log.applied(), expected);
    // The entries of the lost term were committed after all: their numbers are known.
    node.consensus.release();
    node.consensus.log.assert_applied_once();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_says_whether_anything_may_have_been_written() {
    let node = TestNode::start(1, &SharedLog::new(), &Arc::default());
    let within = Duration::from_millis(100);
    // No leader at all.
    let answer = node.propose("a", within).await.unwrap();
    assert!(
        matches!(answer, Err(ProposeError::NoQuorum { waited_ms: 100..=140 })),
        "{answer:?}"
    );
    // A leader that nobody reaches: nothing was handed over.
    node.consensus.sees(1, Some(LeaderRef::Remote(peer(9))));
    let answer = node.propose("b", within).await.unwrap();
    assert!(matches!(answer, Err(ProposeError::Timeout { .. })), "{answer:?}");
    // A leader that provably took nothing in.
    node.consensus.leads(2);
    applied(node.propose("c", within).await.unwrap());
    node.consensus.set_mode(Mode::Hold);
    let caller = node.propose("d", within);
    node.settle().await;
    node.consensus.sees(2, None);
    // A leader that took it in and never answers.
    let answer = caller.await.unwrap();
    assert!(
        matches!(answer, Err(ProposeError::OutcomeUnknown { .. })),
        "{answer:?}"
    );
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_refused_for_certain_does_not_count() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Hold);
    let caller = node.propose("a", Duration::from_millis(100));
    node.settle().await;
    node.consensus.set_mode(Mode::Refuse(AppendError::NotLeader));
    node.consensus.fail_held(AppendError::NotLeader, false);
    let answer = caller.await.unwrap();
    assert!(matches!(answer, Err(ProposeError::Timeout { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_that_gave_up_are_not_proposed() {
    let node = TestNode::start(1, &SharedLog::new(), &Arc::default());
    let caller = node.propose("a", SECOND);
    node.settle().await;
    caller.abort();
    node.settle().await;
    node.consensus.leads(1);
    applied(node.propose("b", SECOND).await.unwrap());
    assert_eq!(node.consensus.log.applied(), [Bytes::from("b")]);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_does_not_hold_up_the_rest() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Drop);
    let short = node.propose("short", Duration::from_millis(50));
    let long = node.propose("long", 10 * SECOND);
    assert!(matches!(
        short.await.unwrap(),
        Err(ProposeError::OutcomeUnknown { .. })
    ));
    node.consensus.set_mode(Mode::Apply);
    applied(long.await.unwrap());
    assert_eq!(
        node.consensus.log.applied(),
        [Bytes::from("first"), Bytes::from("long")]
    );
}

#[tokio::test(start_paused = true)]
async fn overload_is_refused_and_ends() {
    let node = TestNode::start(1, &SharedLog::new(), &Arc::default());
    let callers: Vec<_> = (0..limits::PROPOSALS_MAX)
        .map(|n| node.propose(n.to_le_bytes().to_vec(), SECOND))
        .collect();
    node.settle().await;
    let refused = node.propose("one more", SECOND).await.unwrap();
    assert_eq!(refused, Err(ProposeError::Overloaded));
    node.consensus.leads(1);
    for caller in callers {
        applied(caller.await.unwrap());
    }
    applied(node.propose("one more", SECOND).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too() {
    let node = TestNode::start(1, &SharedLog::new(), &Arc::default());
    let large = Bytes::from(vec![0; limits::REQUEST_BYTES_MAX]);
    let fitting = limits::PROPOSAL_BYTES_MAX / limits::REQUEST_BYTES_MAX as u64;
    let callers: Vec<_> = (0..fitting)
        .map(|_| node.propose(large.clone(), SECOND))
        .collect();
    node.settle().await;
    assert_eq!(
        node.propose("x", SECOND).await.unwrap(),
        Err(ProposeError::Overloaded)
    );
    drop(callers);
    let too_large = node
        .propose(vec![0; limits::REQUEST_BYTES_MAX + 1], SECOND)
        .await
        .unwrap();
    assert!(matches!(too_large, Err(ProposeError::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_once_under_a_lost_session_goes_out_under_another() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.log.machine.lock().forget_sessions();
    let callers: Vec<_> = (0..5).map(|n| node.propose(format!("{n}"), SECOND)).collect();
    for caller in callers {
        applied(caller.await.unwrap());
    }
    let expected = ["first", "0", "1", "2", "3", "4"].map(Bytes::from);
    assert_eq!(node.consensus.log.applied(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_twice_under_a_lost_session_has_an_unknown_outcome() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::ApplyAndLose);
    let caller = node.propose("a", SECOND);
    sleep(Duration::from_millis(30)).await;
    node.consensus.log.machine.lock().forget_sessions();
    node.consensus.set_mode(Mode::Apply);
    assert!(matches!(
        caller.await.unwrap(),
        Err(ProposeError::OutcomeUnknown { .. })
    ));
    // I7: it had been applied; trying again would have applied it twice.
    node.consensus.log.assert_applied_once();
    applied(node.propose("b", SECOND).await.unwrap());
}

/// D-DATA-5: one leader moves the clock, at the interval that the settings say.
#[tokio::test(start_paused = true)]
async fn the_clock_is_moved_on_while_something_can_expire() {
    let node = TestNode::alone();
    sleep(10 * SECOND).await;
    let idle = node.consensus.batches.lock().len();
    assert!(idle <= 1, "nothing can expire: {idle} entries");
    *node.consensus.deadline.lock() = Some(Timestamp::new(u64::MAX));
    // A deadline comes from an entry, which wakes the proposer.
    applied(node.propose("a", SECOND).await.unwrap());
    let before = node.consensus.batches.lock().len();
    sleep(SECOND).await;
    let batches = node.consensus.batches.lock();
    let ticks = batches.get(before..).unwrap();
    assert!((9..=11).contains(&ticks.len()), "{} ticks", ticks.len());
    assert!(ticks.iter().all(|batch| batch.groups.is_empty()));
    assert!(ticks.is_sorted_by_key(|batch| batch.proposed_at));
}

#[tokio::test(start_paused = true)]
async fn entries_make_ticks_needless() {
    let node = TestNode::alone();
    *node.consensus.deadline.lock() = Some(Timestamp::new(u64::MAX));
    for n in 0..100 {
        applied(node.propose(format!("{n}"), SECOND).await.unwrap());
        sleep(Duration::from_millis(50)).await;
    }
    let ticks = node
        .consensus
        .batches
        .lock()
        .iter()
        .filter(|batch| batch.groups.is_empty())
        .count();
    assert_eq!(ticks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_answers_everybody() {
    let node = TestNode::alone();
    applied(node.propose("first", SECOND).await.unwrap());
    node.consensus.set_mode(Mode::Hold);
    let handed_over = node.propose("a", SECOND);
    node.settle().await;
    node.consensus.sees(2, None);
    node.settle().await;
    let waiting = node.propose("b", SECOND);
    node.settle().await;
    node.stop.send_replace(true);
    node.task.await.unwrap();
    assert!(matches!(
        handed_over.await.unwrap(),
        Err(ProposeError::OutcomeUnknown { .. })
    ));
    assert_eq!(waiting.await.unwrap(), Err(ProposeError::ShuttingDown));
    let late = node.proposer.propose("c".into(), Instant::now() + SECOND).await;
    assert_eq!(late, Err(ProposeError::ShuttingDown));
}

/// Two nodes on one log: the first leads, the second forwards.
fn pair() -> (TestNode, TestNode, Arc<FakeTransport>) {
    let log = SharedLog::new();
    let transport = Arc::<FakeTransport>::default();
    let leader = TestNode::start(1, &log, &transport);
    let follower = TestNode::start(2, &log, &transport);
    leader.consensus.leads(1);
    follower.consensus.sees(1, Some(LeaderRef::Remote(peer(1))));
    (leader, follower, transport)
}

#[tokio::test(start_paused = true)]
async fn a_follower_forwards_and_many_proposers_share_entries() {
    let (leader, follower, _) = pair();
    applied(follower.propose("first", SECOND).await.unwrap());
    applied(leader.propose("second", SECOND).await.unwrap());
    leader.consensus.set_mode(Mode::Hold);
    let mut callers = Vec::new();
    // Two entries in flight, and so few requests that no third one is worth its cost.
    for n in ["x", "y"] {
        callers.push(leader.propose(n, SECOND));
        leader.settle().await;
    }
    for n in 0..100 {
        callers.push(follower.propose(format!("f{n}"), SECOND));
        callers.push(leader.propose(format!("l{n}"), SECOND));
    }
    sleep(Duration::from_millis(10)).await;
    leader.consensus.set_mode(Mode::Apply);
    leader.consensus.release();
    for caller in callers {
        applied(caller.await.unwrap());
    }
    let log = &leader.consensus.log;
    log.assert_applied_once();
    assert!(
        log.filled_entries().iter().any(|groups| groups.len() > 1),
        "{:?}",
        log.filled_entries()
    );
    assert!(
        follower.consensus.batches.lock().is_empty(),
        "a follower proposes no entries"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_loses_and_doubles_nothing() {
    let (leader, follower, transport) = pair();
    applied(follower.propose("first", SECOND).await.unwrap());
    let mut callers = Vec::new();
    for n in 0..300 {
        callers.push(follower.propose(format!("{n}"), 5 * SECOND));
        if n % 7 == 0 {
            transport.cut();
        }
        sleep(Duration::from_micros(700)).await;
    }
    for caller in callers {
        applied(caller.await.unwrap());
    }
    assert_eq!(leader.consensus.log.applied().len(), 301);
    leader.consensus.log.assert_applied_once();
    assert!(transport.opened.load(std::sync::atomic::Ordering::Relaxed) > 10);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_lead_ends_the_stream() {
    let (leader, follower, _) = pair();
    applied(follower.propose("first", SECOND).await.unwrap());
    leader.consensus.sees(2, Some(LeaderRef::Remote(peer(2))));
    // The follower has not heard of the change: it is turned away, not left hanging.
    let caller = follower.propose("a", 5 * SECOND);
    sleep(Duration::from_millis(300)).await;
    follower.consensus.leads(2);
    applied(caller.await.unwrap());
    // And the other way round, through the new leader.
    applied(leader.propose("b", SECOND).await.unwrap());
    leader.consensus.log.assert_applied_once();
}

/// Three nodes, leaders that come and go, answers and streams that are lost, sessions
/// that are forgotten: every answer is true, nothing is applied twice.
#[tokio::test(start_paused = true)]
async fn chaos_applies_at_most_once_and_loses_no_acknowledged_request() {
    for seed in 0..40 {
        chaos(seed).await;
    }
}

/// A sequence of numbers from a seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

async fn chaos(seed: u64) {
    let log = SharedLog::new();
    let transport = Arc::<FakeTransport>::default();
    let nodes: Vec<_> = (1..=3).map(|id| TestNode::start(id, &log, &transport)).collect();
    let mut draws = Draws(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut callers = Vec::new();
    for step in 0..300_u64 {
        match draws.below(12) {
            0 => {
                let leader = draws.below(3) + 1;
                let applied = draws.below(2) == 0;
                change_leader(&nodes, step + 1, leader, applied);
            }
            1 => {
                let modes = [
                    Mode::Apply,
                    Mode::Apply,
                    Mode::Hold,
                    Mode::ApplyAndLose,
                    Mode::Drop,
                ];
                let mode = *draws.pick(&modes);
                draws.pick(&nodes).consensus.set_mode(mode);
            }
            2 => draws.pick(&nodes).consensus.release(),
            3 => transport.cut(),
            4 if draws.below(8) == 0 => log.machine.lock().forget_sessions(),
            _ => {
                let name = format!("{seed}-{step}");
                let within = Duration::from_millis(500 + draws.below(2_000));
                callers.push((name.clone(), draws.pick(&nodes).propose(name, within)));
            }
        }
        sleep(Duration::from_micros(draws.below(4_000))).await;
    }
    for node in &nodes {
        node.consensus.set_mode(Mode::Apply);
    }
    change_leader(&nodes, 1_000, 1, true);
    let mut acknowledged = 0;
    for (name, caller) in callers {
        acknowledged += usize::from(is_true(&log, name.into(), caller.await.unwrap()));
    }
    log.assert_applied_once();
    assert!(
        acknowledged > 50,
        "seed {seed}: only {acknowledged} were acknowledged"
    );
}

/// Entries of the term before fail; `applied`: although they were committed.
fn change_leader(nodes: &[TestNode], term: u64, leader: u64, applied: bool) {
    for (id, node) in (1..).zip(nodes) {
        let seen = if id == leader {
            LeaderRef::Local
        } else {
            LeaderRef::Remote(peer(leader))
        };
        node.consensus.sees(term, Some(seen));
        node.consensus.fail_held(AppendError::Unknown, applied);
    }
}

/// Checks an answer against the log. Whether it was an acknowledgement.
#[track_caller]
fn is_true(log: &SharedLog, name: Bytes, answer: Answer) -> bool {
    match answer {
        Ok(TallyReply::Applied { nth, request }) => {
            assert_eq!(request, name, "an answer reached the wrong caller");
            let place = usize::try_from(nth).unwrap() - 1;
            assert_eq!(
                log.applied()[place],
                name,
                "I5: an acknowledged request is not in the log"
            );
            true
        }
        Ok(other) => panic!("{other:?} reached a caller"),
        Err(ProposeError::OutcomeUnknown { .. }) => false,
        Err(_) => {
            assert!(!log.applied().contains(&name), "said to be unwritten");
            false
        }
    }
}
