//! A cluster is taken to the next release, a node after the other, while programs use it: D-OPS-4, I24.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use concord_core::key::Key;
use concord_core::machine::Machine;
use concord_core::reply::Reply;
use concord_core::store::Store;
use concord_core::version::MachineVersion;
use concord_core::{Command, IdempotencyKey};
use concord_raft::{ErrorKind, Node, ReadConsistency};
use tokio::time::Instant;

use crate::cluster::{Cluster, PATIENCE};
use crate::network::pass;

const OLD: MachineVersion = MachineVersion::BASE;
const NEW: MachineVersion = Store::NEWEST;
const PROGRAMS: usize = 3;
/// Between two rounds of a program.
const THINKS: Duration = Duration::from_millis(10);
/// What a client tries before it calls a request failed.
const TRIES_FOR: Duration = Duration::from_secs(10);

/// The nodes that run, as clients know them: by place.
type Doors = Arc<Mutex<Vec<Option<Node<Store>>>>>;

/// A program with one counter. What is not answered it asks the next node, under the same name, as the client does
/// that the command line is built on; nothing else is done again.
struct Program {
    number: usize,
    doors: Doors,
    stopped: Arc<AtomicBool>,
}

impl Program {
    /// Gives what the counter must be.
    async fn run(self) -> Result<i64, String> {
        for count in 1.. {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(count - 1);
            }
            let bytes = self.increment(count);
            let reply = self.ask(count, |node| {
                let bytes = bytes.clone();
                async move { node.propose(bytes, soon()).await }
            });
            let reply = reply.await?;
            if !matches!(reply, Reply::Incremented { value, .. } if value == count) {
                return Err(format!("increment {count}: {reply:?}"));
            }
            let read = self.ask(count, |node| async move {
                node.read(ReadConsistency::Strong, soon()).await
            });
            let found = read
                .await?
                .view
                .get_pinned(&self.key())
                .map(|record| record.version());
            if found != u64::try_from(count).ok() {
                return Err(format!("read {found:?} behind {count}"));
            }
            pass(THINKS).await;
        }
        unreachable!("there is no last number")
    }

    fn key(&self) -> Vec<u8> {
        format!("count/{}", self.number).into_bytes()
    }

    fn increment(&self, count: i64) -> Bytes {
        let command = Command::Increment {
            key: Key::copy_of(&self.key()).unwrap(),
            delta: 1,
            ttl: None,
        };
        let key = IdempotencyKey::new(format!("{}/{count}", self.number)).unwrap();
        let command = Box::new(command);
        Command::Idempotent { key, command }.to_bytes()
    }

    async fn ask<T, E: Kinded, F: Future<Output = Result<T, E>>>(
        &self,
        count: i64,
        ask: impl Fn(Node<Store>) -> F,
    ) -> Result<T, String> {
        let (began, first) = (Instant::now(), self.number + usize::try_from(count).unwrap());
        for attempt in 0.. {
            let door = self.doors.lock().unwrap()[(first + attempt) % 3].clone();
            let error = match door {
                Some(node) => match ask(node).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error.kind(),
                },
                None => ErrorKind::Retry,
            };
            let may_try = matches!(
                error,
                ErrorKind::Retry | ErrorKind::Timeout | ErrorKind::OutcomeUnknown | ErrorKind::ShuttingDown
            );
            if !may_try || began.elapsed() > TRIES_FOR {
                return Err(format!(
                    "request {count} failed after {:?}: {error:?}",
                    began.elapsed()
                ));
            }
            pass(Duration::from_millis(1)).await;
        }
        unreachable!("time passes")
    }
}

trait Kinded {
    fn kind(&self) -> ErrorKind;
}

impl Kinded for concord_raft::ProposeError {
    fn kind(&self) -> ErrorKind {
        Self::kind(self)
    }
}

impl Kinded for concord_raft::ReadError {
    fn kind(&self) -> ErrorKind {
        Self::kind(self)
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

/// A request that needs the newest machine, of a kind that it does not know: it is let in from that version on.
async fn new_requests_are_taken(cluster: &Cluster, n: usize) -> bool {
    let request = Bytes::from(vec![NEW.get(), 250]);
    let answer = cluster.node(n).propose(request, Instant::now() + PATIENCE).await;
    answer
        .inspect_err(|error| assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"))
        .is_ok()
}

#[tokio::test(start_paused = true)]
async fn d_ops_4_a_rolling_upgrade_fails_no_request_and_ends_in_the_newest_machine() {
    let mut cluster = Cluster::new(3);
    for place in &mut cluster.places {
        place.config.machine_upto = Some(OLD);
        place.config.snapshot.after_entries = 50;
        place.config.snapshot.log_entries_kept = 10;
    }
    cluster.form_all().await;
    let running = (0..3).map(|n| Some(cluster.node(n).clone())).collect();
    let doors: Doors = Arc::new(Mutex::new(running));
    let stopped = Arc::new(AtomicBool::new(false));
    let programs: Vec<_> = (0..PROGRAMS)
        .map(|number| {
            let (doors, stopped) = (Arc::clone(&doors), Arc::clone(&stopped));
            tokio::spawn(
                Program {
                    number,
                    doors,
                    stopped,
                }
                .run(),
            )
        })
        .collect();
    pass(Duration::from_secs(1)).await;
    // The leader last, as docs/operations.md says: leadership moves once.
    let leader = cluster.leader().await;
    for n in [(leader + 1) % 3, (leader + 2) % 3, leader] {
        for (of, place) in cluster.places.iter().enumerate() {
            let is_new = place.config.machine_upto.is_none();
            assert!(!new_requests_are_taken(&cluster, of).await, "{of}, new: {is_new}");
        }
        doors.lock().unwrap()[n] = None;
        cluster.stop(n).await;
        cluster.places[n].config.machine_upto = None;
        cluster.start(n).await.unwrap();
        cluster.until(n, "ready", |status| status.is_ready()).await;
        doors.lock().unwrap()[n] = Some(cluster.node(n).clone());
        pass(Duration::from_secs(1)).await;
    }
    for n in 0..3 {
        let is_raised = |status: &concord_raft::NodeStatus| status.machine.version == NEW;
        cluster.until(n, "raised", is_raised).await;
        assert!(new_requests_are_taken(&cluster, n).await, "{n}");
    }
    pass(Duration::from_secs(1)).await;
    stopped.store(true, Ordering::Relaxed);
    for (number, program) in programs.into_iter().enumerate() {
        let counted = program.await.unwrap().unwrap();
        assert!(counted > 100, "program {number} did {counted} requests");
        // It has compared each answer: nothing was done twice, and nothing left out.
    }
    let snapshots = (0..3).map(|n| cluster.node(n).status().snapshot_index);
    assert!(
        snapshots.into_iter().all(|index| index.get() > 0),
        "snapshots of both kinds were taken"
    );
    cluster.converge().await;
}
