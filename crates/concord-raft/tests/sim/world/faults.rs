//! What goes wrong, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use concord_raft::status::Role;

use super::{Later, World};
use crate::plan::Fault;
use crate::workload::StoreLike;

impl<M: StoreLike> World<M> {
    /// Lets faults happen for as long as the plan says.
    pub(crate) fn suffer(&mut self) -> Result<(), String> {
        let end = self.now_ms + u64::try_from(self.plan.unsafe_for.as_millis()).expect("seconds");
        self.network.set_latency(1..self.plan.latency_ms_max, 0);
        self.upgrade_soon(end - self.now_ms);
        while self.now_ms < end {
            let pause = self.random.within(20..self.plan.fault_every_ms);
            self.run_for(Duration::from_millis(pause))?;
            let fault = *self.random.pick(&self.plan.faults);
            self.inflict(fault);
        }
        Ok(())
    }

    fn inflict(&mut self, fault: Fault) {
        let victim = self.random.index(self.seats.len());
        let is_up = self.seats[victim].runtime.is_some();
        let happened = match fault {
            Fault::Kill | Fault::PowerCut if is_up => {
                self.crash(victim, fault == Fault::PowerCut);
                let delay = self.random.within(50..3_000);
                self.at(delay, Later::Restart(victim));
                true
            }
            Fault::PowerCutOfAll => {
                for number in 0..self.seats.len() {
                    if self.seats[number].life == 0 {
                        continue;
                    }
                    self.crash(number, true);
                    let delay = self.random.within(50..1_000);
                    self.at(delay, Later::Restart(number));
                }
                true
            }
            Fault::DiskStop if is_up && !self.seats[victim].disk_stopped => {
                self.seats[victim].disk_stopped = true;
                let changes = self.random.within(0..20);
                self.seats[victim].disk.stop_after(changes);
                let delay = self.random.within(100..1_500);
                self.at(delay, Later::CrashStopped(victim));
                true
            }
            Fault::Pause if is_up && self.seats[victim].paused_until.is_none() => {
                let length = self.random.within(10..5_000);
                self.seats[victim].paused_since = self.now_ms;
                self.seats[victim].paused_until = Some(self.now_ms + length);
                self.trace.note(format_args!(
                    "{} ms: node {victim} pauses for {length} ms",
                    self.now_ms
                ));
                true
            }
            Fault::Kill | Fault::PowerCut | Fault::DiskStop | Fault::Pause => false,
            Fault::Partition | Fault::OneWay | Fault::IsolateLeader => self.cut(fault, victim),
            Fault::Resets => {
                self.network.reset_some(50);
                true
            }
            Fault::Turbulence => {
                self.network.set_latency(1..80, 100);
                let length = self.random.within(100..2_000);
                self.at(length, Later::Calm);
                true
            }
            Fault::ClockJump => {
                let by = i64::try_from(self.random.within(0..7_200_000)).expect("small") - 3_600_000;
                self.seats[victim].clock.jump(by);
                true
            }
            Fault::Transfer | Fault::Snapshot => self.ask(fault, victim),
            Fault::Join => self.join(),
            Fault::Remove => self.remove(victim),
        };
        if happened {
            self.trace.mark(fault.name());
            self.trace.note(format_args!(
                "{} ms: {} (node {victim})",
                self.now_ms,
                fault.name()
            ));
        }
    }

    fn cut(&mut self, fault: Fault, victim: usize) -> bool {
        let seats = self.seats.len();
        if seats < 2 {
            return false;
        }
        let side: BTreeSet<usize> = if fault == Fault::IsolateLeader {
            let Some((leader, _)) = self
                .statuses()
                .into_iter()
                .find(|(_, status)| status.role == Role::Leader)
            else {
                return false;
            };
            BTreeSet::from([leader])
        } else if fault == Fault::OneWay {
            BTreeSet::from([victim])
        } else {
            (0..seats).filter(|_| self.random.chance(50)).collect()
        };
        let both_ways = fault != Fault::OneWay;
        let outwards = self.random.chance(50);
        let mut links = Vec::new();
        for from in 0..seats {
            for to in 0..seats {
                let crosses = side.contains(&from) != side.contains(&to);
                if crosses && (both_ways || side.contains(&from) == outwards) {
                    self.network.block(from, to, true);
                    links.push((from, to));
                }
            }
        }
        let happened = !links.is_empty();
        let length = self.random.within(200..5_000);
        self.at(length, Later::Unblock(links));
        happened
    }

    /// Asks a node to do something by hand.
    fn ask(&mut self, fault: Fault, victim: usize) -> bool {
        let Some((number, node)) = self.nodes().into_iter().find(|(number, _)| *number == victim) else {
            return false;
        };
        self.spawn_at(number, async move {
            // Either may fail in these circumstances; what must hold, holds without them.
            if fault == Fault::Transfer {
                let _ = node.transfer_leadership(None).await;
            } else {
                let _ = node.snapshot_now().await;
            }
        });
        true
    }

    /// Starts a node that was never there before.
    fn join(&mut self) -> bool {
        let Some(spare) = self.seats.iter().position(|seat| seat.life == 0) else {
            return false;
        };
        self.start(spare);
        true
    }

    /// Has a member removed by any other one, as long as two stay.
    fn remove(&mut self, victim: usize) -> bool {
        let stays = |seat: &&super::Seat<M>| seat.life > 0 && !seat.removal_asked;
        let staying = self.seats.iter().filter(stays).count();
        let Some(id) = self.seats[victim].node_id.filter(|_| staying > 2) else {
            return false;
        };
        if self.seats[victim].removal_asked || !self.seats[victim].is_formed() {
            return false;
        }
        let others: Vec<_> = self
            .nodes()
            .into_iter()
            .filter(|(number, _)| *number != victim)
            .collect();
        if others.is_empty() {
            return false;
        }
        let (number, node) = self.random.pick(&others).clone();
        self.seats[victim].removal_asked = true;
        self.spawn_at(number, async move {
            // It may fail in these circumstances; what must hold, holds without it.
            let _ = node.remove(id).await;
        });
        true
    }
}
