//! What a seed means: the cluster, its settings, the faults and the workload.

use std::time::Duration;

use crate::random::Random;
use crate::workload::Workload;
use crate::workload::data::Data;

/// Of so many seeds one is of a run in which backups are restored, and which.
const RESTORES_EVERY: u64 = 8;
const RESTORES_AT: u64 = 2;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A process dies; what it wrote is there when it comes back.
    Kill,
    /// A machine loses power; what was not synced is lost or torn.
    PowerCut,
    /// All machines lose power at once.
    PowerCutOfAll,
    /// The disk stops answering in the middle of something, then the process dies.
    DiskStop,
    /// A process stands still, then goes on as if nothing had happened.
    Pause,
    /// Two parts of the cluster do not hear each other.
    Partition,
    /// One node is heard but does not hear, or the other way round.
    OneWay,
    /// The leader is cut off from the others, but not from its clients.
    IsolateLeader,
    /// Connections break.
    Resets,
    /// Messages take long or are lost.
    Turbulence,
    /// A wall clock jumps, by up to an hour in either direction.
    ClockJump,
    /// Leadership is moved by hand.
    Transfer,
    /// A snapshot is taken now.
    Snapshot,
    /// A new node joins.
    Join,
    /// A member is removed.
    Remove,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::Kill,
        Self::PowerCut,
        Self::PowerCutOfAll,
        Self::DiskStop,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::IsolateLeader,
        Self::Resets,
        Self::Turbulence,
        Self::ClockJump,
        Self::Transfer,
        Self::Snapshot,
        Self::Join,
        Self::Remove,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "fault: kill",
            Self::PowerCut => "fault: power cut",
            Self::PowerCutOfAll => "fault: power cut of all",
            Self::DiskStop => "fault: disk stop",
            Self::Pause => "fault: pause",
            Self::Partition => "fault: partition",
            Self::OneWay => "fault: one-way link",
            Self::IsolateLeader => "fault: leader isolated",
            Self::Resets => "fault: connections reset",
            Self::Turbulence => "fault: turbulence",
            Self::ClockJump => "fault: clock jump",
            Self::Transfer => "fault: leadership moved",
            Self::Snapshot => "fault: snapshot now",
            Self::Join => "fault: node joins",
            Self::Remove => "fault: member removed",
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Nodes that may join later.
    pub(crate) spares: usize,
    pub(crate) clients_per_node: usize,
    /// How long faults happen.
    pub(crate) unsafe_for: Duration,
    pub(crate) faults: Vec<Fault>,
    /// The longest time between two faults.
    pub(crate) fault_every_ms: u64,
    pub(crate) latency_ms_max: u64,
    pub(crate) snapshot_after_entries: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) workload: Workload,
    /// Disks acknowledge syncs without doing them: a planted bug.
    pub(crate) disks_lie: bool,
    /// The founders are of the release before, and each comes back from its first end as one of this.
    pub(crate) rolling: bool,
}

impl Plan {
    /// What `seed` means. Draws in a fixed order.
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = *random.pick(&[1, 3, 3, 3, 5]);
        let mut faults: Vec<_> = Fault::ALL.into_iter().filter(|_| random.chance(50)).collect();
        if faults.is_empty() {
            faults.push(*random.pick(&Fault::ALL));
        }
        let mut plan = Self {
            seed,
            nodes,
            spares: random.index(3),
            clients_per_node: random.index(3) + 1,
            unsafe_for: random.millis(3_000..10_000),
            faults,
            fault_every_ms: *random.pick(&[400, 1_000, 2_500]),
            latency_ms_max: *random.pick(&[2, 4, 30]),
            snapshot_after_entries: *random.pick(&[20, 100, 100_000]),
            segment_bytes: *random.pick(&[8 << 10, 64 << 10, 1 << 20]),
            workload: Workload::draw(&mut random),
            disks_lie: false,
            rolling: seed.is_multiple_of(2),
        };
        plan.workload.featured = plan.rolling;
        plan.workload.data = Data::draw(&mut random);
        if seed % RESTORES_EVERY == RESTORES_AT {
            plan.workload.data = Data::none();
            plan.workload.restore();
        }
        plan
    }
}
