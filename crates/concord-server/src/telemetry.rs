//! Events for the program that embeds a node: everything that it does, told to one function.
//!
//! ```text
//!   request answered, entry applied, role changed, ... ──try_send──> a bounded queue ──> one thread ──> the program's function
//! ```
//!
//! The function cannot hold the node up: it runs on a thread of its own, and what finds no room while it is slow is lost and counted. It
//! cannot stop the node either: if it panics, the event is lost, and nothing else. Without a function nothing is
//! counted or copied. Events hold no key, no value and no secret.
//!
//! ```no_run
//! use concord_server::telemetry::Event;
//! use concord_server::{Concord, Config};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::at("./data").on_event(|node, event| match event {
//!     Event::Write { operation, result, duration, .. } => {
//!         println!("node {node}: {operation} {result} in {duration:?}");
//!     }
//!     Event::Standing { role, .. } => println!("node {node}: {}", role.name()),
//!     _ => {}
//! });
//! let db = Concord::open(config).await?;
//! # Ok(())
//! # }
//! ```

mod watchman;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use concord_core::command::{Command, Lifetime};
use concord_core::ids::{LogIndex, NodeId, Revision, Term};
use concord_raft::{ReadConsistency, Role};

pub(crate) use self::watchman::{Watchman, watch_state};
use crate::limits;

/// Something that a node has done. More are added.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A write that came in through this node was answered, refused ones too.
    Write {
        /// What it was: `put`, `txn`, `lease_grant`, as in the metrics.
        operation: &'static str,
        /// `ok`, or the stable name of the error.
        result: &'static str,
        /// Keys that it names; of a transaction 0.
        items: usize,
        /// Whether anything that it writes runs out by itself.
        has_ttl: bool,
        /// Whether it was to happen only if something holds.
        has_condition: bool,
        /// From when it came in.
        duration: Duration,
    },
    /// A read that this node served, or refused.
    Read {
        /// What it was: `get`, `scan`, `query`, as in audit lines.
        operation: &'static str,
        /// `ok`, or the stable name of the error.
        result: &'static str,
        /// The promise that it was read with.
        consistency: ReadConsistency,
        /// Until it had a view to read from.
        duration: Duration,
    },
    /// A change of the cluster, or a backup, that somebody asked this node for.
    Administered {
        /// What it was: `change_members`, `backup`, as in audit lines.
        action: &'static str,
        /// `ok`, or the stable name of the error.
        result: &'static str,
        /// How long it took.
        duration: Duration,
    },
    /// A request of a kind that the cluster does not know was refused: a newer program made it.
    UnknownCommand {
        /// What this node takes it for.
        operation: &'static str,
    },
    /// An entry of the log was applied on this node.
    Applied {
        /// Where it is in the log.
        index: LogIndex,
        /// The term that it was proposed in.
        term: Term,
        /// Requests in it.
        requests: usize,
        /// Whether this node proposed it as the leader.
        is_own: bool,
        /// Until its effect could be read.
        duration: Duration,
    },
    /// Keys ran out at this revision.
    Expired {
        /// The revision.
        revision: Revision,
        /// How many.
        keys: usize,
    },
    /// The node has another role, term or leader.
    Standing {
        /// What it is.
        role: Role,
        /// The term that it knows.
        term: Term,
        /// Who leads, if that is known.
        leader: Option<NodeId>,
    },
    /// A snapshot was written.
    SnapshotCreated {
        /// The last entry in it.
        index: LogIndex,
        /// Its size on disk.
        file_bytes: u64,
        /// How long it took.
        duration: Duration,
    },
    /// A snapshot was taken over from the leader.
    SnapshotInstalled {
        /// The last entry in it.
        index: LogIndex,
        /// Its size on disk.
        file_bytes: u64,
    },
    /// This node made a backup.
    BackupCreated {
        /// The revision that it shows.
        revision: Revision,
        /// Its size where it is kept.
        file_bytes: u64,
        /// How long it took.
        duration: Duration,
    },
    /// This node was to make a backup, and there is none.
    BackupFailed {
        /// The stable name of the error.
        result: &'static str,
        /// After which time.
        duration: Duration,
    },
    /// A backup was restored into the running cluster, through this node.
    BackupRestored {
        /// The revision at which that happened.
        revision: Revision,
        /// Keys that there are now.
        keys: u64,
    },
    /// How the node is; every ten seconds.
    Status {
        /// What it is.
        role: Role,
        /// The term that it knows.
        term: Term,
        /// Members of the cluster.
        members: usize,
        /// The last entry known to be committed.
        commit_index: LogIndex,
        /// The last entry applied.
        applied_index: LogIndex,
        /// The revision that it shows.
        revision: Revision,
        /// Keys.
        keys: u64,
        /// Bytes of keys and values as they are kept.
        stored_bytes: u64,
        /// Watches that are open on this node.
        watches: usize,
    },
    /// A watch was opened on this node.
    WatchOpened,
    /// A watch on this node has ended.
    WatchClosed,
    /// The function was too slow: so many events before this one are lost.
    Lost {
        /// How many.
        events: u64,
    },
    /// The node stops: the last event.
    Stopping,
}

/// What is told of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    items: usize,
    has_ttl: bool,
    has_condition: bool,
}

impl Shape {
    /// A write of this shape.
    pub(crate) const fn write(
        self,
        operation: &'static str,
        result: &'static str,
        duration: Duration,
    ) -> Event {
        Event::Write {
            operation,
            result,
            items: self.items,
            has_ttl: self.has_ttl,
            has_condition: self.has_condition,
            duration,
        }
    }

    pub(crate) fn of(command: &Command) -> Self {
        let one = |lifetime: &Lifetime, has_condition: bool| Self {
            items: 1,
            has_ttl: is_limited(lifetime),
            has_condition,
        };
        match command {
            Command::Put {
                lifetime, condition, ..
            } => one(lifetime, condition.is_some()),
            Command::Delete { condition, .. } => one(&Lifetime::Forever, condition.is_some()),
            Command::Touch { lifetime, .. } => one(lifetime, false),
            Command::Increment { ttl, .. } => Self {
                items: 1,
                has_ttl: ttl.is_some(),
                has_condition: false,
            },
            Command::PutMany { items } => Self {
                items: items.len(),
                has_ttl: items.iter().any(|item| is_limited(&item.lifetime)),
                has_condition: false,
            },
            Command::TouchMany { items } => Self {
                items: items.len(),
                has_ttl: items.iter().any(|item| is_limited(&item.lifetime)),
                has_condition: false,
            },
            Command::DeleteMany { keys } => Self {
                items: keys.len(),
                ..Self::default()
            },
            Command::Txn(_) => Self {
                has_condition: true,
                ..Self::default()
            },
            Command::Idempotent { command, .. } | Command::Guarded { command, .. } => Self::of(command),
            Command::DeleteWhere { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseKeepAlive { .. }
            | Command::LeaseRevoke { .. }
            | Command::CreateIndex { .. }
            | Command::DropIndex { .. }
            | Command::Reindex { .. }
            | Command::CreateSubscription { .. }
            | Command::DeleteSubscription { .. }
            | Command::AckSubscription { .. }
            | Command::ResetSubscription { .. }
            | Command::Compact { .. }
            | Command::Configure(_)
            | Command::EditPolicy(_)
            | Command::Restore { .. } => Self::default(),
        }
    }
}

const fn is_limited(lifetime: &Lifetime) -> bool {
    !matches!(lifetime, Lifetime::Forever)
}

/// The function of a program that wants events: [`Config::on_event`](crate::Config::on_event).
#[derive(Clone)]
pub struct EventHook(Arc<Hook>);

type Hook = dyn Fn(NodeId, &Event) + Send + Sync;

impl EventHook {
    /// Calls this function.
    pub fn new(hook: impl Fn(NodeId, &Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl fmt::Debug for EventHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventHook")
    }
}

/// Where the events of a node go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    /// `None`: nobody wants any.
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Event>,
    lost: AtomicU64,
}

impl Telemetry {
    /// Nobody wants any.
    pub(crate) const fn off() -> Self {
        Self { shared: None }
    }

    /// Starts the thread that calls the function.
    pub(crate) fn start(hook: EventHook, node_id: NodeId) -> std::io::Result<Self> {
        let (queue, events) = sync_channel(limits::TELEMETRY_QUEUE_EVENTS);
        let name = "concord-telemetry".to_owned();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || tell(&hook, node_id, &events))?;
        let shared = Shared {
            queue,
            lost: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Some(Arc::new(shared)),
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Tells it, if anybody listens. Never waits.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(shared) = &self.shared {
            shared.send(event());
        }
    }
}

impl Shared {
    fn send(&self, event: Event) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && self.queue.try_send(Event::Lost { events: lost }).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs until nobody can send any more.
fn tell(hook: &EventHook, node_id: NodeId, events: &Receiver<Event>) {
    let mut has_panicked = false;
    while let Ok(event) = events.recv() {
        // Nothing of ours is in its hands but the event, which is thrown away.
        let called = catch_unwind(AssertUnwindSafe(|| (hook.0)(node_id, &event)));
        if called.is_err() && !has_panicked {
            has_panicked = true;
            tracing::error!(
                "the program's event function panicked; it is called for further events nevertheless"
            );
        }
    }
}

#[cfg(test)]
mod tests;
