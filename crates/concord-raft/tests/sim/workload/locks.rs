//! Clients that want a lock, as etcd's do: a key under a lease, whose oldest rival goes first,
//! and writes that name the token under which they are made.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use concord_core::ids::{LeaseId, Millis, Revision};
use concord_core::{
    Command, Compare, Direction, Key, KeyRange, Keys, Lifetime, Operation, Operator, PutItem, Reply, Test,
    Txn, Value,
};
use concord_raft::node::Node;
use concord_raft::read::ReadConsistency;
use tokio::time::sleep;

use super::{Clients, StoreLike};
use crate::checks::locks::{FENCED, LOCK};
use crate::history::{Acquired, Said};
use crate::random::Random;

/// How often a client looks whether its turn has come before it gives up.
const LOOKS: u64 = 20;

/// Somebody who waits for a lock or holds it.
struct Locker<'a, M: StoreLike> {
    clients: &'a Clients,
    node: &'a Node<M>,
    lock: KeyRange,
    fenced: Key,
    key: Key,
    lease: LeaseId,
    ttl_ms: u64,
}

impl Clients {
    /// One client that takes and releases locks until its node ends or clients are stopped.
    pub(crate) async fn run_locker<M: StoreLike>(self, node: Node<M>, mut random: Random) {
        while !self.stopped.load(Ordering::Relaxed) {
            sleep(random.millis(0..200)).await;
            if self.take_lock(&node, &mut random).await.is_break() {
                return;
            }
        }
    }

    async fn take_lock<M: StoreLike>(&self, node: &Node<M>, random: &mut Random) -> ControlFlow<()> {
        let ttl_ms = random.within(100..2_000);
        let grant = Command::LeaseGrant {
            lease: LeaseId::default(),
            ttl: Millis::new(ttl_ms),
        };
        let (said, flow) = self.send(node, grant).await;
        let Said::Reply(Reply::LeaseGranted { lease, .. }) = said else {
            return flow;
        };
        let name = random.index(2);
        let prefix = format!("{LOCK}{name}/");
        let locker = Locker {
            clients: self,
            node,
            key: Key::new(format!("{prefix}{lease}")).expect("a short key"),
            lock: KeyRange::prefix(prefix),
            fenced: Key::new(format!("{FENCED}{name}")).expect("a short key"),
            lease,
            ttl_ms,
        };
        locker.queue_up().await?;
        if let Some(token) = locker.wait(random).await? {
            self.trace.mark("lock taken");
            locker.hold(token, random).await?;
        }
        locker.leave(random).await
    }
}

impl<M: StoreLike> Locker<'_, M> {
    async fn queue_up(&self) -> ControlFlow<()> {
        let join = Command::Txn(Txn {
            compares: vec![self.is_created_at(Revision::default())],
            success: vec![Operation::Put {
                item: PutItem {
                    key: self.key.clone(),
                    value: Value::text("").into(),
                    lifetime: Lifetime::Lease(self.lease),
                },
                return_previous: false,
            }],
            failure: Vec::new(),
        });
        self.clients.send(self.node, join).await.1
    }

    fn is_created_at(&self, revision: Revision) -> Compare {
        Compare {
            keys: Keys::One(self.key.clone()),
            test: Test::CreateRevision(Operator::Equal, revision),
        }
    }

    /// Looks until its key is the oldest; gives the token.
    async fn wait(&self, random: &mut Random) -> ControlFlow<(), Option<Revision>> {
        for _ in 0..LOOKS {
            let level = *random.pick(&[ReadConsistency::Strong, ReadConsistency::Leader]);
            let (published, flow) = self
                .clients
                .read_all(self.node, level, vec![self.key.clone()])
                .await;
            flow?;
            if let Some(published) = published {
                let view = &published.view;
                let wanters = view.records(&self.lock, Direction::Ascending);
                let oldest = wanters.min_by_key(|record| record.create_revision());
                if let Some(oldest) = oldest.filter(|oldest| oldest.key() == self.key.as_bytes()) {
                    let token = oldest.create_revision();
                    self.clients.history.acquire(Acquired {
                        lock: self.lock.start().to_vec(),
                        key: self.key.as_bytes().to_vec(),
                        token: token.get(),
                        revision: view.revision().get(),
                    });
                    return ControlFlow::Continue(Some(token));
                }
                // Its lease may have ended meanwhile.
                if view.get(self.key.as_bytes()).is_none() {
                    return ControlFlow::Continue(None);
                }
            }
            self.keep_alive(random).await?;
            sleep(random.millis(1..self.ttl_ms / 2)).await;
        }
        ControlFlow::Continue(None)
    }

    async fn keep_alive(&self, random: &mut Random) -> ControlFlow<()> {
        if random.chance(50) {
            return ControlFlow::Continue(());
        }
        let keep = Command::LeaseKeepAlive { lease: self.lease };
        self.clients.send(self.node, keep).await.1
    }

    /// Writes under its token, and may fall asleep in between for longer than its lease lives.
    async fn hold(&self, token: Revision, random: &mut Random) -> ControlFlow<()> {
        for _ in 0..random.within(1..4) {
            let is_fenced = !self.clients.workload.data.unfenced;
            let write = Command::Txn(Txn {
                compares: is_fenced.then(|| self.is_created_at(token)).into_iter().collect(),
                success: vec![Operation::Put {
                    item: PutItem {
                        key: self.fenced.clone(),
                        value: Value::text(token.to_string()).into(),
                        lifetime: Lifetime::Forever,
                    },
                    return_previous: false,
                }],
                failure: Vec::new(),
            });
            let (said, flow) = self.clients.send(self.node, write).await;
            flow?;
            if let Said::Reply(Reply::Txn { outcome, .. }) = said
                && !outcome.succeeded
            {
                self.clients.trace.mark("lock lost");
                return ControlFlow::Continue(());
            }
            self.keep_alive(random).await?;
            sleep(random.millis(1..self.ttl_ms * 2)).await;
        }
        ControlFlow::Continue(())
    }

    /// Releases the lock, gives up its lease, or leaves both to time.
    async fn leave(&self, random: &mut Random) -> ControlFlow<()> {
        let command = match random.within(0..3) {
            0 => Command::LeaseRevoke { lease: self.lease },
            1 => Command::Delete {
                key: self.key.clone(),
                condition: None,
                return_previous: false,
            },
            _ => return ControlFlow::Continue(()),
        };
        self.clients.send(self.node, command).await.1
    }
}
