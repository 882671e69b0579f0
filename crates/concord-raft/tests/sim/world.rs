//! The world of one run: nodes with their disks and clocks, time, and what goes wrong.
//!
//! Each node has a runtime of its own with paused time, so that it can be ended at any
//! point as a process is: by dropping all of it. The world lets the runtimes run in turns,
//! one simulated millisecond each, and moves the network's messages in between. All of it
//! is one thread, and every choice comes from the seed.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concord_core::ids::{LogIndex, NodeId};
use concord_core::version::MachineVersion;
use concord_raft::config::{NodeConfig, StartMode};
use concord_raft::error::StopReason;
use concord_raft::identity::DataDirectory;
use concord_raft::log::Host;
use concord_raft::node::Node;
use concord_raft::ports::{Disk, Ports};
use concord_raft::sim_disk::SimDisk;
use concord_raft::status::{NodeStatus, Role};
use tokio::runtime::{Builder, Runtime};

use crate::checks::replicas::Replicas;
use crate::checks::watches::Watches;
use crate::history::History;
use crate::machines;
use crate::network::{Network, address_of};
use crate::panics;
use crate::plan::Plan;
use crate::random::Random;
use crate::surroundings::{LyingDisk, SimClock, SimEntropy};
use crate::trace::Trace;
use crate::watchers;
use crate::workload::{Clients, StoreLike};

/// How often the replicas are looked at.
const LOOK_EVERY_MS: u64 = 50;

/// What a node's own task tells the world.
struct Slot<M: StoreLike> {
    node: Option<Node<M>>,
    formed: bool,
    failure: Option<String>,
}

/// A seat in the cluster: what outlives the process in it.
struct Seat<M: StoreLike> {
    disk: SimDisk,
    clock: Arc<SimClock>,
    random: Random,
    runtime: Option<Runtime>,
    slot: Arc<Mutex<Slot<M>>>,
    life: u64,
    /// A pause ends then.
    paused_until: Option<u64>,
    paused_since: u64,
    /// Its disk was told to stop: so may the node.
    disk_stopped: bool,
    /// As the node said when it was last looked at.
    node_id: Option<NodeId>,
    /// Somebody was asked to remove it from the cluster.
    removal_asked: bool,
    /// It was removed, and never comes back.
    retired: bool,
    /// Its program is of the release before.
    is_old: bool,
}

impl<M: StoreLike> Seat<M> {
    fn is_formed(&self) -> bool {
        self.slot
            .lock()
            .expect("no task panics while it holds its slot")
            .formed
    }
}

/// What is to happen later.
#[derive(Clone, Debug)]
enum Later {
    Restart(usize),
    Upgrade(usize),
    CrashStopped(usize),
    Unblock(Vec<(usize, usize)>),
    Calm,
}

/// A run.
pub(crate) struct World<M: StoreLike> {
    plan: Plan,
    random: Random,
    now_ms: u64,
    time_ms: Arc<AtomicU64>,
    network: Network,
    seats: Vec<Seat<M>>,
    clients: Clients,
    later: BTreeMap<(u64, u64), Later>,
    later_number: u64,
    pub(crate) replicas: Replicas,
    trace: Trace,
    machine: PhantomData<fn() -> M>,
}

impl<M: StoreLike> World<M> {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed ^ 0x5EED);
        let trace = Trace::default();
        let time_ms = Arc::new(AtomicU64::new(0));
        let network = Network::new(plan.nodes + plan.spares, random.fork(), trace.clone());
        let seats = (0..plan.nodes + plan.spares)
            .map(|number| {
                let drift_per_mille = i64::try_from(random.within(0..11)).expect("small") - 5;
                Seat {
                    disk: SimDisk::new(random.next()),
                    clock: SimClock::new(&time_ms, drift_per_mille),
                    random: random.fork(),
                    runtime: None,
                    slot: new_slot(),
                    life: 0,
                    paused_until: None,
                    paused_since: 0,
                    disk_stopped: false,
                    node_id: None,
                    removal_asked: false,
                    retired: false,
                    is_old: plan.rolling && number < plan.nodes,
                }
            })
            .collect();
        let clients = Clients {
            workload: plan.workload.clone(),
            history: History::default(),
            trace: trace.clone(),
            next_value: Arc::new(AtomicI64::new(1_000)),
            stopped: Arc::default(),
            leases: Arc::default(),
            watches: Watches::default(),
        };
        let replicas = Replicas::new(clients.watches.clone(), plan.workload.restorers > 0);
        Self {
            plan,
            random,
            now_ms: 0,
            time_ms,
            network,
            seats,
            clients,
            later: BTreeMap::new(),
            later_number: 0,
            replicas,
            trace,
            machine: PhantomData,
        }
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Starts the nodes that form the cluster.
    pub(crate) fn start_founders(&mut self) {
        for number in 0..self.plan.nodes {
            self.start(number);
        }
    }

    fn mode_of(&mut self, number: usize) -> StartMode {
        let founders = self.plan.nodes;
        if number >= founders {
            // Whoever lets a node join names a member that is there to stay. If every member
            // is asked to go, none of those removals can happen before somebody has joined.
            let is_member = |other: &usize| {
                let seat = &self.seats[*other];
                *other != number && !seat.retired && (*other < founders || seat.is_formed())
            };
            let present: Vec<_> = (0..self.seats.len()).filter(is_member).collect();
            let staying: Vec<_> = present
                .iter()
                .copied()
                .filter(|other| !self.may_go(*other))
                .collect();
            let members = if staying.is_empty() { present } else { staying };
            // Nobody else belongs only if this node is all that is left of the cluster: it has
            // its place, and never asks the address that it is told.
            let through = if members.is_empty() {
                0
            } else {
                *self.random.pick(&members)
            };
            StartMode::Join(address_of(through))
        } else if founders == 1 {
            StartMode::Alone
        } else {
            StartMode::Seeds((0..founders).map(address_of).collect())
        }
    }

    fn start(&mut self, number: usize) {
        if self.seats[number].runtime.is_some() || self.seats[number].retired {
            return;
        }
        let mode = self.mode_of(number);
        let seat = &mut self.seats[number];
        seat.life += 1;
        seat.is_old &= seat.life == 1;
        seat.slot = new_slot();
        seat.disk_stopped = false;
        self.trace.note(format_args!(
            "{} ms: node {number} starts, life {}",
            self.now_ms, seat.life
        ));
        let mut config = NodeConfig::new("/data");
        config.peer_address = Some(address_of(number));
        config.log.segment_bytes = self.plan.segment_bytes;
        config.snapshot.after_entries = self.plan.snapshot_after_entries;
        config.snapshot.log_entries_kept = self.plan.snapshot_after_entries / 4;
        config.host = Host::Task;
        config.machine_upto = seat.is_old.then_some(MachineVersion::BASE);
        let disk: Arc<dyn Disk> = if self.plan.disks_lie {
            Arc::new(LyingDisk(seat.disk.clone()))
        } else {
            Arc::new(seat.disk.clone())
        };
        let life = Life {
            number,
            life: seat.life,
            config,
            ports: Ports {
                disk,
                transport: self.network.transport(number),
                clock: Arc::clone(&seat.clock) as _,
                entropy: SimEntropy::new(seat.random.fork()),
            },
            mode,
            network: self.network.clone(),
            slot: Arc::clone(&seat.slot),
            clients: (0..self.plan.clients_per_node)
                .map(|_| (self.clients.clone(), seat.random.fork()))
                .collect(),
            lockers: (0..self.plan.workload.data.lockers)
                .map(|_| (self.clients.clone(), seat.random.fork()))
                .collect(),
            watchers: (self.clients.watches.clone(), seat.random.fork()),
            guarded: (0..self.plan.workload.data.guarded)
                .map(|_| (self.clients.clone(), seat.random.fork()))
                .collect(),
            restorers: (0..self.plan.workload.restorers)
                .map(|_| (self.clients.clone(), seat.random.fork()))
                .collect(),
        };
        let runtime = new_runtime(seat.random.next());
        runtime.spawn(life.live());
        seat.runtime = Some(runtime);
    }

    /// Ends a process. `powerless`: its machine too, so that what was not synced is lost.
    fn crash(&mut self, number: usize, powerless: bool) {
        let seat = &mut self.seats[number];
        let Some(runtime) = seat.runtime.take() else {
            return;
        };
        self.trace.note(format_args!(
            "{} ms: node {number} dies, powerless: {powerless}",
            self.now_ms
        ));
        self.network.detach(number);
        // First the disk: what ends with the process must not write any more.
        if powerless {
            seat.disk.power_cut();
        } else {
            seat.disk.kill();
        }
        seat.slot = new_slot();
        seat.paused_until = None;
        drop(runtime);
    }

    fn at(&mut self, delay_ms: u64, later: Later) {
        self.later_number += 1;
        self.later
            .insert((self.now_ms + delay_ms, self.later_number), later);
    }

    /// Lets a millisecond pass.
    pub(crate) fn tick(&mut self) -> Result<(), String> {
        self.now_ms += 1;
        self.time_ms.store(self.now_ms, Ordering::Relaxed);
        while let Some(entry) = self
            .later
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now_ms)
        {
            let later = entry.remove();
            self.perform(later);
        }
        self.network.step(self.now_ms);
        for number in 0..self.seats.len() {
            self.run_seat(number);
        }
        panics::check()?;
        if self.now_ms.is_multiple_of(LOOK_EVERY_MS) {
            self.look()?;
        }
        if self.now_ms.is_multiple_of(1_000) {
            self.trace.note(format_args!("{}", self.describe()));
        }
        Ok(())
    }

    fn run_seat(&mut self, number: usize) {
        let seat = &mut self.seats[number];
        let Some(runtime) = &seat.runtime else { return };
        machines::run_as(seat.is_old);
        match seat.paused_until {
            Some(until) if self.now_ms < until => return,
            Some(_) => {
                seat.paused_until = None;
                let missed = Duration::from_millis(self.now_ms - seat.paused_since);
                // Its monotonic clock went on while it stood still.
                runtime.block_on(tokio::time::advance(missed));
            }
            None => {}
        }
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    pub(crate) fn run_for(&mut self, length: Duration) -> Result<(), String> {
        for _ in 0..length.as_millis() {
            self.tick()?;
        }
        Ok(())
    }

    /// Runs until `done`, and fails if that takes longer than `bound`.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        bound: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), String> {
        for _ in 0..bound.as_millis() {
            if done(self) {
                return Ok(());
            }
            self.tick()?;
        }
        Err(format!(
            "liveness: not within {bound:?}: {what}; {}",
            self.describe()
        ))
    }

    /// Looks at every running replica: I8, I9, I16, and that none has stopped by itself.
    fn look(&mut self) -> Result<(), String> {
        let mut removed = Vec::new();
        let is_old = |seat: &Seat<M>| seat.is_old && !seat.removal_asked;
        let old = self.seats.iter().position(is_old);
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if seat.runtime.is_none() {
                continue;
            }
            let slot = seat.slot.lock().expect("no task panics while it holds its slot");
            if let Some(failure) = &slot.failure
                && !seat.disk_stopped
                && !seat.removal_asked
            {
                return Err(format!("node {number} failed: {failure}"));
            }
            let Some(node) = &slot.node else { continue };
            let status = status_of(seat.runtime.as_ref(), node);
            seat.node_id = Some(status.node_id);
            if status.purged_index > LogIndex::new(0) {
                self.trace.mark("look: log purged");
            }
            if status.receiving_snapshot.is_some() {
                self.trace.mark("look: snapshot coming in");
            }
            if seat.removal_asked && status.stopped == Some(StopReason::Removed) {
                removed.push(number);
            } else if let Some(reason) = &status.stopped
                && !seat.disk_stopped
            {
                return Err(format!("node {number} stopped by itself: {reason}"));
            }
            if status.machine.version > MachineVersion::BASE
                && let Some(old) = old
            {
                return Err(format!("I24: node {number} is raised while node {old} is old"));
            }
            self.replicas
                .look::<M>(number, seat.life, &status, &node.published())?;
        }
        for number in removed {
            self.retire(number);
        }
        Ok(())
    }

    /// A removed node ends for good.
    fn retire(&mut self, number: usize) {
        self.trace.mark("removed node ended");
        self.seats[number].retired = true;
        self.crash(number, false);
    }

    pub(crate) fn describe(&self) -> String {
        let mut lines = vec![format!("at {} ms", self.now_ms)];
        for (number, seat) in self.seats.iter().enumerate() {
            let slot = seat.slot.lock().expect("no task panics while it holds its slot");
            lines.push(match (&seat.runtime, &slot.node) {
                (None, _) => format!("node {number}: down"),
                (Some(_), None) => format!("node {number}: starting"),
                (Some(_), Some(node)) => {
                    let status = status_of(seat.runtime.as_ref(), node);
                    format!(
                        "node {number}: {} term {} leader {:?} last {} committed {} applied {} formed {}",
                        status.role.name(),
                        status.term,
                        status.leader,
                        status.last_index,
                        status.commit_index,
                        status.applied_index,
                        slot.formed,
                    )
                }
            });
        }
        lines.join("\n    ")
    }

    /// The running nodes, with their seats.
    pub(crate) fn nodes(&self) -> Vec<(usize, Node<M>)> {
        let running = |(number, seat): (usize, &Seat<M>)| {
            let slot = seat.slot.lock().expect("no task panics while it holds its slot");
            Some((number, slot.node.clone()?))
        };
        self.seats.iter().enumerate().filter_map(running).collect()
    }

    /// What the running nodes say of themselves, with their seats.
    pub(crate) fn statuses(&self) -> Vec<(usize, NodeStatus)> {
        let status = |(number, node): (usize, Node<M>)| {
            let runtime = self.seats[number].runtime.as_ref();
            (number, status_of(runtime, &node))
        };
        self.nodes().into_iter().map(status).collect()
    }

    /// Whether all founders belong to the cluster.
    pub(crate) fn is_founded(&self) -> bool {
        self.seats.iter().take(self.plan.nodes).all(Seat::is_formed)
    }

    /// Whether everybody serves who belongs to the cluster, and nobody is on the way into it
    /// or out of it. Ends those who are out and do not know it.
    pub(crate) fn is_whole(&mut self) -> bool {
        let statuses: Vec<_> = self.statuses().into_iter().map(|(_, status)| status).collect();
        let leader = statuses
            .iter()
            .filter(|status| status.role == Role::Leader && status.is_ready());
        let Some(leader) = leader.max_by_key(|status| status.term) else {
            return false;
        };
        let voters: BTreeSet<_> = leader.voters().map(|member| member.node_id).collect();
        if leader.changing_members || leader.learners().next().is_some() {
            return false;
        }
        let out = |seat: &Seat<M>| {
            seat.removal_asked
                && seat.runtime.is_some()
                && seat.node_id.is_none_or(|id| !voters.contains(&id))
        };
        let out: Vec<_> = (0..self.seats.len())
            .filter(|number| out(&self.seats[*number]))
            .collect();
        for number in out {
            self.retire(number);
        }
        let taking_part = |seat: &&Seat<M>| seat.life > 0 && !seat.retired;
        self.seats.iter().filter(taking_part).all(|seat| {
            seat.is_formed()
                && seat.node_id.is_some_and(|id| voters.contains(&id))
                && statuses
                    .iter()
                    .any(|status| Some(status.node_id) == seat.node_id && status.is_ready())
        })
    }

    /// Whether everybody who stays has become the newest machine.
    pub(crate) fn is_raised(&self) -> bool {
        let statuses = self.statuses();
        let mut staying = statuses.iter().filter(|(number, _)| !self.may_go(*number));
        staying.all(|(_, status)| status.machine.version == MachineVersion::NEWEST)
    }

    /// Each old node is ended some day, to come back as a new one.
    pub(crate) fn upgrade_soon(&mut self, within_ms: u64) {
        for number in 0..self.seats.len() {
            if self.seats[number].is_old {
                let delay = self.random.within(0..within_ms);
                self.at(delay, Later::Upgrade(number));
            }
        }
    }

    /// Whether somebody was asked to remove this seat's node.
    pub(crate) fn may_go(&self, number: usize) -> bool {
        self.seats[number].removal_asked
    }

    /// Runs something inside a node's runtime; its effects are seen as ticks go by.
    pub(crate) fn spawn_at(&self, number: usize, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.seats[number].runtime {
            runtime.spawn(task);
        }
    }

    /// Ends all faults and starts what is down.
    pub(crate) fn heal(&mut self) {
        self.trace.note(format_args!("{} ms: all is healed", self.now_ms));
        self.later.clear();
        self.network.heal();
        for number in 0..self.seats.len() {
            self.seats[number].paused_until = self.seats[number].paused_until.map(|_| self.now_ms);
            // Who has not joined yet may be asking a member that has left.
            let lost = number >= self.plan.nodes && !self.seats[number].is_formed();
            if self.seats[number].disk_stopped || lost || self.seats[number].is_old {
                self.crash(number, false);
            }
            if self.seats[number].life > 0 {
                self.start(number);
            }
        }
    }

    /// Clients end after what they are asking now.
    pub(crate) fn stop_clients(&self) {
        self.clients.stopped.store(true, Ordering::Relaxed);
    }

    fn perform(&mut self, later: Later) {
        match later {
            Later::Restart(number) => self.start(number),
            Later::Upgrade(number) => {
                if self.seats[number].is_old && self.seats[number].runtime.is_some() {
                    self.trace.mark("node upgraded");
                    self.crash(number, false);
                    let delay = self.random.within(50..1_000);
                    self.at(delay, Later::Restart(number));
                }
            }
            Later::CrashStopped(number) => {
                self.crash(number, self.now_ms.is_multiple_of(2));
                let delay = self.random.within(50..2_000);
                self.at(delay, Later::Restart(number));
            }
            Later::Unblock(links) => {
                self.trace
                    .note(format_args!("{} ms: links are back", self.now_ms));
                for (from, to) in links {
                    self.network.block(from, to, false);
                }
            }
            Later::Calm => self.network.set_latency(1..self.plan.latency_ms_max, 0),
        }
    }
}

impl<M: StoreLike> Drop for World<M> {
    fn drop(&mut self) {
        for number in 0..self.seats.len() {
            self.crash(number, false);
        }
    }
}

/// A node's status, by the clock of its own runtime: outside of it, tokio tells real time.
fn status_of<M: StoreLike>(runtime: Option<&Runtime>, node: &Node<M>) -> NodeStatus {
    let _clock = runtime.map(Runtime::enter);
    node.status()
}

/// A runtime with paused time. Tokio's own choices (who of several waiters is woken first)
/// come from the seed only in a build with `--cfg tokio_unstable`, as `cargo xtask sim` makes it.
fn new_runtime(seed: u64) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[cfg(not(tokio_unstable))]
    let _ = seed;
    builder.build().expect("a runtime")
}

fn new_slot<M: StoreLike>() -> Arc<Mutex<Slot<M>>> {
    Arc::new(Mutex::new(Slot {
        node: None,
        formed: false,
        failure: None,
    }))
}

/// One life of a node's process.
struct Life<M: StoreLike> {
    number: usize,
    life: u64,
    config: NodeConfig,
    ports: Ports,
    mode: StartMode,
    network: Network,
    slot: Arc<Mutex<Slot<M>>>,
    clients: Vec<(Clients, Random)>,
    lockers: Vec<(Clients, Random)>,
    watchers: (Watches, Random),
    guarded: Vec<(Clients, Random)>,
    restorers: Vec<(Clients, Random)>,
}

impl<M: StoreLike> Life<M> {
    async fn live(self) {
        let slot = Arc::clone(&self.slot);
        if let Err(failure) = self.start().await {
            slot.lock().expect("nobody panics while holding a slot").failure = Some(failure);
        }
    }

    async fn start(self) -> Result<(), String> {
        let directory = DataDirectory::open(
            Path::new("/data"),
            None,
            Arc::clone(&self.ports.disk),
            &*self.ports.entropy,
        )
        .map_err(|error| format!("data directory: {error}"))?;
        let node = Node::<M>::start(self.config, directory, self.ports)
            .await
            .map_err(|error| format!("start: {error}"))?;
        self.network.attach(self.number, node.inbound());
        self.slot.lock().expect("nobody panics while holding a slot").node = Some(node.clone());
        let (watches, random) = self.watchers;
        watchers::start(&watches, self.number, &node, random);
        for (clients, random) in self.clients {
            tokio::spawn(clients.run(node.clone(), self.number, self.life, random));
        }
        for (clients, random) in self.lockers {
            tokio::spawn(clients.run_locker(node.clone(), random));
        }
        for (clients, random) in self.guarded {
            tokio::spawn(clients.run_guarded(node.clone(), random));
        }
        for (clients, random) in self.restorers {
            tokio::spawn(clients.run_restorer(node.clone(), self.number, random));
        }
        node.form(self.mode)
            .await
            .map_err(|error| format!("form: {error}"))?;
        self.slot
            .lock()
            .expect("nobody panics while holding a slot")
            .formed = true;
        Ok(())
    }
}
