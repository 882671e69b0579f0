//! The guarded door of a node: everything that any interface asks goes through here.
//!
//! It takes only requests that somebody was authorised to make, so that an interface that
//! forgets to ask does not compile. Not here: parsing, which is the interfaces'.

mod refusals;
mod restore;
mod tenants;
mod told;
pub(crate) mod uses;
mod write;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use concord_auth::{AdminAction, Policy, PolicyError, Principal, Read, SealKey, authorize};
use concord_core::command::Command;
use concord_core::ids::{NodeId, Revision, Timestamp};
use concord_core::record::PinnedRecord;
use concord_core::reply::{BatchUnit, Rejection, Reply};
use concord_core::view::{KeyFilter, ReadView};
use concord_core::{PolicyChange, Store, limits as core_limits};
use concord_query::Seal;
use concord_raft::node::Node;
use concord_raft::{NodeStatus, Published, ReadConsistency, ReadRequest, Views};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::told::result_of;
use self::write::guarded_by;
use crate::audit::{AdminRequest, Recorder, revision_of};
use crate::compression::Packing;
use crate::concord::BackupPlace;
use crate::config::{CompressionConfig, Config};
use crate::dead_members::Removals;
use crate::error::{Error, ErrorKind};
use crate::judge::{self, Caller, Identified, Judge, Sight};
use crate::metrics::{Operation, Requests, TenantRequests};
use crate::rates::ReadRates;
use crate::slow::SlowLog;
use crate::telemetry::{Event, Shape, Telemetry};
use crate::trace::{self, Traces};
use crate::watch::{self, Hub, Standing, Watcher, WatcherStatus};

/// A view that a read is answered from.
pub(crate) type Snapshot = Arc<Published<ReadView>>;

/// How a read is to be served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPlan {
    pub(crate) consistency: ReadConsistency,
    pub(crate) min_revision: Option<Revision>,
    pub(crate) timeout: Duration,
}

impl From<&ReadPlan> for ReadRequest {
    fn from(plan: &ReadPlan) -> Self {
        Self {
            consistency: plan.consistency,
            min_revision: plan.min_revision,
        }
    }
}

/// A view that somebody may read for what they asked, with what of it they are shown. Made here alone, by a judgement
/// of that very view.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    snapshot: Snapshot,
    sight: Sight,
}

impl Seen {
    pub(crate) fn view(&self) -> &ReadView {
        &self.snapshot.view
    }

    pub(crate) fn sight(&self) -> &Sight {
        &self.sight
    }

    /// What reads leave keys out by; `None`: nothing is left out.
    pub(crate) fn filter(&self) -> Option<&dyn KeyFilter> {
        self.sight.filter()
    }

    fn revision(&self) -> Revision {
        self.view().revision()
    }

    /// Who asks.
    pub(crate) const fn principal(&self) -> &Arc<Principal> {
        self.sight.principal()
    }

    /// What cursors are sealed with that go to somebody who is not shown everything.
    pub(crate) fn seal(&self) -> Option<CursorSeal> {
        let key = Policy::of(self.view())
            .seal_key()
            .filter(|_| self.sight.is_confined());
        key.map(CursorSeal)
    }
}

/// Seals cursors so that every node can open them.
pub(crate) struct CursorSeal(SealKey);

impl Seal for CursorSeal {
    fn seal(&self, text: &[u8]) -> Vec<u8> {
        self.0.seal(text)
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(sealed)
    }
}

/// One node, guarded.
pub(crate) struct Service {
    node: Node<Store>,
    views: Views<ReadView>,
    value_bytes_max: usize,
    compression: CompressionConfig,
    watches: Hub,
    audit: Recorder,
    requests: Requests,
    backups: BackupPlace,
    /// Held while the directory of backups is changed.
    backup_turn: tokio::sync::Mutex<()>,
    /// Held while a restore is driven from here.
    restore_turn: tokio::sync::Mutex<()>,
    removals: Removals,
    slow: SlowLog,
    judge: Arc<Judge>,
    rates: ReadRates,
    tenants: TenantRequests,
    traces: Traces,
    telemetry: Telemetry,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("views", &self.views)
            .finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(
        node: Node<Store>,
        config: &Config,
        audit: Recorder,
        (traces, telemetry): (Traces, Telemetry),
        backups: BackupPlace,
    ) -> Self {
        let views = node.views();
        let watches = Hub::new(
            views.clone(),
            node.stopped(),
            config.watches_max,
            telemetry.clone(),
        );
        Self {
            node,
            views,
            value_bytes_max: config.value_bytes_max,
            compression: config.compression,
            watches,
            audit,
            requests: Requests::new(),
            backups,
            backup_turn: tokio::sync::Mutex::new(()),
            restore_turn: tokio::sync::Mutex::new(()),
            removals: Removals::default(),
            slow: SlowLog::new(config.slow_request),
            judge: Arc::new(Judge::new()),
            rates: ReadRates::new(),
            tenants: TenantRequests::default(),
            traces,
            telemetry,
        }
    }

    /// The members that this node has removed by itself.
    pub(crate) const fn removals(&self) -> &Removals {
        &self.removals
    }

    /// The requests that took long.
    #[cfg(feature = "http")]
    pub(crate) const fn slow(&self) -> &SlowLog {
        &self.slow
    }

    /// Where this node's backups are.
    pub(crate) const fn backups(&self) -> &BackupPlace {
        &self.backups
    }

    /// Waits until nobody else changes the directory of backups.
    pub(crate) async fn backup_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.backup_turn.lock().await
    }

    pub(crate) fn node(&self) -> &Node<Store> {
        &self.node
    }

    /// The revision that this node has applied, which every answer tells.
    pub(crate) fn revision(&self) -> Revision {
        self.views.load().view.revision()
    }

    /// What this node has applied, for a recipe to look for the key that it has put itself.
    pub(crate) fn own_key(&self, key: &[u8]) -> (Option<PinnedRecord>, Revision) {
        let latest = self.views.load();
        (latest.view.get_pinned(key), latest.view.revision())
    }

    fn judged(&self, caller: &Caller, request: &Read<'_>, snapshot: Snapshot) -> Result<Seen, Error> {
        let principal = self.judge.judge(caller, request, &snapshot.view)?;
        let admitted = self.rates.admit(&principal, &snapshot.view);
        self.count_tenant(&principal, admitted.as_ref().err());
        admitted?;
        Ok(Seen {
            sight: Sight::of(principal),
            snapshot,
        })
    }

    /// What this node has applied, for this request of this caller. No wait.
    pub(crate) fn look(&self, caller: &Caller, request: &Read<'_>) -> Result<Seen, Error> {
        let judged = self.judged(caller, request, self.views.load());
        let line = self.audit.read(|| self.identified(caller), request, &judged)?;
        line.finish_now(&judged, Seen::revision);
        judged
    }

    /// The view for a plan that needs no wait; `None` if it does.
    pub(crate) fn read_now(
        &self,
        caller: &Caller,
        request: &Read<'_>,
        plan: &ReadPlan,
    ) -> Option<Result<Seen, Error>> {
        if self.audit.logs_reads() {
            return None;
        }
        let snapshot = self.node.read_now(plan)?;
        let span = self.traces.child("concord.read");
        match self.judged(caller, request, snapshot) {
            // It may be known elsewhere already what allows it.
            Err(refused) if caller.is_judged() && is_refusal(&refused) => None,
            judged => {
                self.requests.read(plan.consistency);
                self.told_read(span, request, plan, Duration::ZERO, &judged);
                Some(judged)
            }
        }
    }

    /// The view for a plan, if the caller may make the `request` for the subject there. A refusal by a view that may lag
    /// behind is confirmed once by one that does not: a token that was made a moment ago works on every node.
    pub(crate) async fn read<S>(
        &self,
        caller: &Caller,
        subject: S,
        request: fn(&S) -> Read<'_>,
        plan: &ReadPlan,
    ) -> Result<(S, Seen), Error> {
        let (began, span) = (Instant::now(), self.traces.begin("concord.read"));
        let outcome = self.read_once(caller, &request(&subject), plan, began).await;
        self.told_read(span, &request(&subject), plan, began.elapsed(), &outcome);
        Ok((subject, outcome?))
    }

    async fn read_once(
        &self,
        caller: &Caller,
        request: &Read<'_>,
        plan: &ReadPlan,
        began: Instant,
    ) -> Result<Seen, Error> {
        let deadline = began + plan.timeout;
        let read = self.node.read(plan, deadline).await.map_err(Error::from);
        self.requests.waited(plan.consistency, began.elapsed(), &read);
        let code = read.as_ref().err().map(Error::kind);
        self.slow.look("read", began.elapsed(), code, || self.who(caller));
        let mut judged = read.and_then(|read| self.judged(caller, request, read));
        if plan.consistency == ReadConsistency::Eventual
            && judged.as_ref().is_err_and(is_refusal)
            && let Some(snapshot) = self.confirmed(caller, deadline).await
        {
            judged = self.judged(caller, request, snapshot);
        }
        let line = self.audit.read(|| self.identified(caller), request, &judged)?;
        line.finish(judged, |seen| Some(seen.revision())).await
    }

    /// A view that lags behind nobody, to judge by once more; `None` if that changes nothing or cannot be had.
    async fn confirmed(&self, caller: &Caller, deadline: Instant) -> Option<Snapshot> {
        // Nothing will ever make these somebody else.
        if !caller.may_become_known() {
            return None;
        }
        self.node.read(FRESH, deadline).await.ok()
    }

    /// Who the caller is, asked before anything of the request is looked at.
    #[cfg(feature = "http")]
    pub(crate) async fn authenticate(&self, caller: &Caller, timeout: Duration) -> Result<(), Error> {
        let latest = self.views.load();
        let Err(refused) = self.judge.principal(caller, &latest.view) else {
            return Ok(());
        };
        drop(latest);
        let known = match self.confirmed(caller, Instant::now() + timeout).await {
            Some(snapshot) => self.judge.principal(caller, &snapshot.view).map(|_| ()),
            None => Err(refused),
        };
        known.inspect_err(|refused| self.audit.turned_away(refused))
    }

    /// Where requests leave their lines.
    pub(crate) const fn audit(&self) -> &Recorder {
        &self.audit
    }

    /// Judges a command, has it applied, once, and records what came of it: there is no other way to write.
    pub(crate) async fn perform(
        &self,
        caller: &Caller,
        command: Command,
        packing: Packing,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let (began, operation) = (Instant::now(), Operation::of(&command));
        let line = self
            .audit
            .begin_at(began.into_std(), || self.identified(caller), &command)?;
        let shape = self.telemetry.is_on().then(|| Shape::of(&command));
        let span = self.traces.begin("concord.write");
        let writing = pin!(self.write(caller, command, packing, began + timeout));
        let outcome = trace::within(span.as_ref(), writing).await;
        let took = began.elapsed();
        self.requests.wrote(operation, took, &outcome);
        let code = outcome.as_ref().err().map(Error::kind);
        self.slow.look(operation.name(), took, code, || self.who(caller));
        if let Some(mut span) = span {
            span.set("concord.operation", operation.name());
            span.finish_with(&outcome);
        }
        if let Some(shape) = shape {
            self.told_write(shape, operation, took, &outcome);
        }
        line.took(took).finish(outcome, revision_of).await
    }

    /// Judges a change of the cluster by the policy that the whole cluster has now, makes it, and records what came
    /// of it: there is no other way.
    pub(crate) async fn administer<T>(
        &self,
        caller: &Caller,
        request: AdminRequest,
        timeout: Duration,
        change: impl AsyncFnOnce(Node<Store>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let line = self.audit.begin(|| self.identified(caller), &request)?;
        let (began, action) = (Instant::now(), request.action);
        let outcome = match self.permit(caller, action, timeout).await {
            Ok(()) => change(self.node.clone()).await,
            Err(refused) => Err(refused),
        };
        self.telemetry.tell(|| Event::Administered {
            action: action.name(),
            result: result_of(&outcome),
            duration: began.elapsed(),
        });
        line.finish(outcome, |_| None).await
    }

    /// Judges a change of the cluster.
    pub(crate) async fn permit(
        &self,
        caller: &Caller,
        action: AdminAction,
        timeout: Duration,
    ) -> Result<(), Error> {
        let snapshot = if caller.is_judged() {
            self.node.read(FRESH, Instant::now() + timeout).await?
        } else {
            self.views.load()
        };
        self.judge.judge(caller, action, &snapshot.view)?;
        Ok(())
    }

    /// Whom a line names; nobody, if nobody knows who it is.
    fn who(&self, caller: &Caller) -> Option<Arc<Principal>> {
        self.views
            .peek(|latest| self.judge.principal(caller, &latest.view))
            .ok()
    }

    /// The same, for an audit line: for a moment only.
    fn identified(&self, caller: &Caller) -> Option<Identified<'_>> {
        match self.judge.standing(caller) {
            Some(principal) => Some(Identified::Standing(principal)),
            None => self.who(caller).map(Identified::Known),
        }
    }

    /// Changes the policy: asks `change` what to write, by a policy that nobody has changed when it is applied.
    /// Records what came of it, as [`Service::perform`] does.
    pub(crate) async fn change_policy<T>(
        &self,
        caller: &Caller,
        draft: impl Fn(&Policy<&ReadView>, Timestamp) -> Result<(PolicyChange, T), PolicyError>,
        timeout: Duration,
    ) -> Result<(T, Revision), Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let snapshot = self.node.read(FRESH, deadline).await?;
            let (change, outcome) = match self.edits(caller, &draft, &snapshot.view) {
                Ok(drafted) => drafted,
                Err(refused) => {
                    let nothing = Command::EditPolicy(PolicyChange::unjudged(Vec::new()));
                    let line = self.audit.begin(|| self.identified(caller), &nothing)?;
                    return line.finish(Err(refused), |_| None).await;
                }
            };
            if change.edits.is_empty() {
                return Ok((outcome, snapshot.view.revision()));
            }
            let judged_by = snapshot.view.policy_revision();
            let command = Command::EditPolicy(change);
            let line = self.audit.begin(|| self.identified(caller), &command)?;
            let principal = self.judge.principal(caller, &snapshot.view)?;
            let command = authorize(&principal, guarded_by(&principal, judged_by, Box::new(command)))?;
            let applied = match self.propose(command, Packing::Skipped, deadline).await {
                Ok(Err(Rejection::PolicyChanged { policy_revision })) => {
                    line.withdraw();
                    self.check_again(judged_by, policy_revision, deadline)?;
                    continue;
                }
                Ok(Err(refused)) => Err(refused.into()),
                Ok(Ok(_)) => Ok((outcome, self.revision())),
                Err(failed) => Err(failed),
            };
            return line.finish(applied, |(_, revision)| Some(*revision)).await;
        }
    }

    /// What a change of the policy writes, if the caller may change it.
    fn edits<T>(
        &self,
        caller: &Caller,
        change: impl Fn(&Policy<&ReadView>, Timestamp) -> Result<(PolicyChange, T), PolicyError>,
        view: &ReadView,
    ) -> Result<(PolicyChange, T), Error> {
        self.judge.judge(caller, Read::Policy, view)?;
        let policy = Policy::of(view);
        let (mut change, outcome) = change(&policy, judge::present(view))?;
        if !change.edits.is_empty() {
            change.edits.extend(policy.add_seal_key(&SealKey::new(random()?)));
        }
        Ok((change, outcome))
    }

    /// Opens a watch, for somebody whose right to one was judged.
    pub(crate) fn watch(&self, seen: &Seen, caller: Caller, plan: watch::Plan) -> Result<Watcher, Error> {
        Watcher::open(&self.watches, plan, Standing::new(&self.judge, caller, seen))
    }

    /// What was asked of this node.
    #[cfg(feature = "http")]
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The open watches, to be counted.
    #[cfg(feature = "http")]
    pub(crate) fn open_watches(&self) -> Vec<WatcherStatus> {
        self.watches.list()
    }

    /// The open watches, for somebody who may see what others watch.
    pub(crate) fn watchers(&self, caller: &Caller) -> Result<Vec<WatcherStatus>, Error> {
        self.look(caller, &Read::ListWatches)?;
        Ok(self.watches.list())
    }

    #[cfg(test)]
    pub(crate) fn is_routing(&self) -> bool {
        self.watches.is_routing()
    }

    /// Ends every watch, so that nobody waits for a node that stops.
    pub(crate) fn end_watches(&self) {
        self.watches.close();
    }

    pub(crate) fn status(&self, caller: &Caller) -> Result<(NodeStatus, Seen), Error> {
        let seen = self.look(caller, &Read::Status)?;
        let mut status = self.node.status();
        status.warnings.extend(self.audit.warning());
        Ok((status, seen))
    }
}

/// A view that lags behind nobody.
const FRESH: ReadRequest = ReadRequest {
    consistency: ReadConsistency::Leader,
    min_revision: None,
};

/// Whether the policy says no, so that another policy could say yes.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Forbidden)
}

/// Bytes from the system's source of randomness.
pub(crate) fn random<const SIZE: usize>() -> Result<Zeroizing<[u8; SIZE]>, Error> {
    let mut bytes = Zeroizing::new([0; SIZE]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|_| Error::new(ErrorKind::Unsupported, "the system gives no random bytes"))?;
    Ok(bytes)
}

/// The refusal that apply would give.
pub(crate) fn batch_too_large(count: usize) -> Error {
    Error::from(Rejection::BatchTooLarge {
        unit: BatchUnit::Items,
        count: number(count),
        limit: number(core_limits::BATCH_ITEMS_MAX),
    })
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A node id from outside.
pub(crate) fn node_id(id: u64) -> Result<NodeId, Error> {
    if id == 0 {
        return Err(Error::invalid_request("node id must be 1 or more"));
    }
    Ok(NodeId::new(id))
}
