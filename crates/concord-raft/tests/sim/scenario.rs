//! One run from one seed: form a cluster, let it suffer, heal it, and judge all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use concord_raft::read::ReadConsistency;

use crate::checks::ledger::Ledger;
use crate::checks::{guards, judge, leases, linearizability, locks, replicas, revisions};
use crate::panics;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::workload::StoreLike;
use crate::world::World;

/// A cluster must form within this, and serve again within this after all faults end.
const LIVENESS_BOUND: Duration = Duration::from_secs(30);

/// A run that went well.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) trace: Trace,
    pub(crate) operations: usize,
    pub(crate) answered: usize,
    pub(crate) terms_led: usize,
    pub(crate) states_compared: u64,
    pub(crate) simulated: Duration,
}

/// A run that broke a promise.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) plan: Plan,
    pub(crate) reason: String,
    pub(crate) last_lines: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            plan,
            reason,
            last_lines,
        } = self;
        write!(
            f,
            "seed {:#x}: {reason}\nlast events:\n{last_lines}plan: {plan:?}",
            plan.seed
        )
    }
}

/// Runs a plan.
pub(crate) fn run<M: StoreLike>(plan: Plan) -> Result<Report, Box<Violation>> {
    panics::watch();
    let mut world = World::<M>::new(plan.clone());
    let judged = live(&mut world).and_then(|()| judge(&world));
    match judged {
        Ok(()) => {
            let (operations, answered) = world.clients().history.counted();
            Ok(Report {
                trace: world.trace().clone(),
                operations,
                answered,
                terms_led: world.replicas.terms_led(),
                states_compared: world.replicas.compared,
                simulated: Duration::from_millis(world.now_ms()),
            })
        }
        Err(reason) => Err(Box::new(Violation {
            plan,
            reason,
            last_lines: world.trace().last_lines(),
        })),
    }
}

fn live<M: StoreLike>(world: &mut World<M>) -> Result<(), String> {
    world.start_founders();
    world.run_until("a cluster", LIVENESS_BOUND, |world| {
        world.is_founded() && world.statuses().iter().any(|(_, status)| status.is_ready())
    })?;
    world.suffer()?;
    world.heal();
    world.run_until("all nodes are ready", LIVENESS_BOUND, World::is_whole)?;
    world.run_until("all are the newest machine", LIVENESS_BOUND, |world| {
        world.is_raised()
    })?;
    // A while with clients and without faults, then without clients.
    world.run_for(Duration::from_secs(2))?;
    ask_everything(world)?;
    settle(world)
}

/// Every node writes and reads every key: no excuse is accepted any more.
fn ask_everything<M: StoreLike>(world: &mut World<M>) -> Result<(), String> {
    let before = world.clients().history.answered();
    let mut clients = world.clients().clone();
    clients.workload.patience = Duration::from_secs(20);
    let done = Arc::new(AtomicUsize::new(0));
    // A removal that was asked for may still happen, in the middle of a request.
    let nodes: Vec<_> = world
        .nodes()
        .into_iter()
        .filter(|(number, _)| !world.may_go(*number))
        .collect();
    let expected = nodes.len();
    for (number, node) in nodes {
        let (clients, done) = (clients.clone(), Arc::clone(&done));
        world.spawn_at(number, async move {
            for key in 0..clients.workload.keys {
                let _ = clients.write(&node, number, key, clients.last_write()).await;
                let _ = clients.get(&node, number, key, ReadConsistency::Strong).await;
                let _ = clients.get(&node, number, key, ReadConsistency::Leader).await;
            }
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    world.run_until("every node serves", LIVENESS_BOUND, |_| {
        done.load(Ordering::Relaxed) == expected
    })?;
    let answered = world.clients().history.answered() - before;
    let asked = expected * clients.workload.keys * 3;
    if answered < asked {
        return Err(format!(
            "liveness: {answered} of {asked} last requests were answered; {}",
            world.describe()
        ));
    }
    Ok(())
}

/// Without clients, all replicas come to the same state.
fn settle<M: StoreLike>(world: &mut World<M>) -> Result<(), String> {
    world.stop_clients();
    world.run_until("all replicas have applied the same", LIVENESS_BOUND, |world| {
        let states: Vec<_> = world
            .nodes()
            .iter()
            .filter(|(number, _)| !world.may_go(*number))
            .map(|(_, node)| replicas::fingerprint::<M>(&node.published().view))
            .collect();
        states.windows(2).all(|pair| pair[0] == pair[1])
    })?;
    // Locks and leases may still end by themselves meanwhile.
    let watches = world.clients().watches.clone();
    watches.with(|book| book.hurry = true);
    world.run_until("all watchers have seen everything", LIVENESS_BOUND, |world| {
        let nodes = world.nodes();
        let mut staying = nodes.iter().filter(|(number, _)| !world.may_go(*number));
        staying.all(|(number, node)| watches.have_reached(*number, node.published().view.revision()))
    })
}

fn judge<M: StoreLike>(world: &World<M>) -> Result<(), String> {
    let history = world.clients().history.operations();
    let eventual = world.clients().history.eventual_reads();
    revisions::check(&history)?;
    revisions::check_views(&history, &eventual)?;
    linearizability::check(&history).map_err(|verdict| format!("I5, I6 or I7: {verdict:?}"))?;
    judge_whole(world)
}

/// Judges what is about many keys, against the changes that watchers were told.
fn judge_whole<M: StoreLike>(world: &World<M>) -> Result<(), String> {
    let clients = world.clients();
    clients.watches.check()?;
    let (requests, acquired) = (clients.history.requests(), clients.history.acquired());
    let (ledger, clock) = clients
        .watches
        .with(|book| Ledger::new(book).map(|ledger| (ledger, book.clock.clone())))?;
    let judged = judge::check(&requests, &ledger)?;
    let ended = leases::check(&requests, &ledger, &clock)?;
    let handed_over = locks::check(&acquired, &ledger)?;
    let guarded = guards::check(&requests, &ledger)?;
    let trace = world.trace();
    trace.mark_times("judged: explained", judged.explained);
    trace.mark_times("judged: compacted unseen", judged.unseen);
    trace.mark_times("judged: unknown but done", judged.unknown_but_done);
    trace.mark_times("judged: lease ended by time", ended);
    trace.mark_times("judged: lock handed over", handed_over);
    trace.mark_times("judged: guarded write", guarded);
    let (compared, jumps) = clients.watches.with(|book| (book.compared, book.jumps));
    trace.mark_times("watch: event told again", compared);
    trace.mark_times("watch: behind compaction", jumps);
    trace.mark_times("index compared with all records", world.replicas.indexes_compared);
    trace.mark_times("a backup is seen", world.replicas.backups_seen);
    Ok(())
}
