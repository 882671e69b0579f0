//! How a command is judged and applied.
//!
//! ```text
//!   command ── judged by the view here ──> guarded by its policy's revision ──> encoded ──> log
//!      ^                                                                                     │
//!      └──── judged again, by the policy that apply has found instead, nothing written ──────┘
//! ```

use std::sync::Arc;

use bytes::Bytes;
use concord_auth::{Authorized, Principal, authorize, authorize_or_return};
use concord_core::command::Command;
use concord_core::reply::{Rejection, Reply};
use concord_core::view::ReadView;
use tokio::time::Instant;

use super::{FRESH, Service, is_refusal, number};
use crate::compression::{self, Packing};
use crate::error::{Error, ErrorKind};
use crate::full_disk::gives_space_back;
use crate::judge::{Caller, unauthorized};
use crate::missing::{Named, refusal};

/// A command that may be performed by the policy of a revision.
struct Judged {
    command: Authorized<Command>,
    principal: Arc<Principal>,
    policy_revision: u64,
}

/// One that may not, and why.
type Refused = (Error, Box<Command>);

impl Service {
    pub(super) async fn write(
        &self,
        caller: &Caller,
        command: Command,
        packing: Packing,
        deadline: Instant,
    ) -> Result<Reply, Error> {
        let about = Named::in_command(&command);
        let answered = |outcome: Result<Reply, Rejection>| outcome.map_err(|found| refusal(found, about));
        if let Some(principal) = self.judge.standing(caller) {
            let command = authorize(principal, command)?;
            return answered(self.propose(command, packing, deadline).await?);
        }
        let mut who = None;
        let outcome = self
            .write_guarded(caller, Box::new(command), packing, deadline, &mut who)
            .await
            .and_then(answered);
        if let Some(principal) = who.or_else(|| self.who(caller)) {
            self.count_tenant(&principal, outcome.as_ref().err());
        }
        outcome
    }

    /// The judgement holds for one revision of the policy, by which apply checks it. When that has moved nothing was
    /// written, and it is judged again. Says who asks, if that was known.
    async fn write_guarded(
        &self,
        caller: &Caller,
        command: Box<Command>,
        packing: Packing,
        deadline: Instant,
        who: &mut Option<Arc<Principal>>,
    ) -> Result<Result<Reply, Rejection>, Error> {
        let mut judged = match self
            .views
            .peek(|latest| self.judge_write(caller, command, &latest.view))
        {
            Ok(judged) => judged,
            // Rare, so the room that it takes is not made for every write.
            Err(refused) => Box::pin(self.confirm(caller, refused, deadline)).await?,
        };
        loop {
            let judged_by = judged.policy_revision;
            *who = Some(judged.principal);
            // The command ends here, where it was made: to keep it for another judgement would have another thread free it.
            let request = self.prepare(judged.command, packing).await?;
            match self.send(request.clone(), deadline).await? {
                Err(Rejection::PolicyChanged { policy_revision }) => {
                    self.check_again(judged_by, policy_revision, deadline)?;
                    judged = Box::pin(self.judge_again(caller, &request, policy_revision, deadline)).await?;
                }
                outcome => return Ok(outcome),
            }
        }
    }

    /// Whether a request that met another policy is to be judged again.
    pub(super) fn check_again(&self, judged_by: u64, found: u64, deadline: Instant) -> Result<(), Error> {
        if judged_by == found {
            // Not the policy has changed: the token has ended, by the clock that decides.
            return Err(unauthorized());
        }
        if Instant::now() >= deadline {
            let message = "rights changed faster than the request could be judged";
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        Ok(())
    }

    /// Judges what was sent before once more, by the newest view here that has this revision of the policy.
    async fn judge_again(
        &self,
        caller: &Caller,
        request: &Bytes,
        wanted: u64,
        deadline: Instant,
    ) -> Result<Judged, Error> {
        let command = Command::decode(request).map_err(Rejection::from)?;
        let mut snapshot = self.views.load();
        if snapshot.view.policy_revision() < wanted {
            snapshot = self.node.read(FRESH, deadline).await?;
        }
        match self.judge_write(caller, unguarded(command), &snapshot.view) {
            Ok(judged) => Ok(judged),
            Err(refused) => self.confirm(caller, refused, deadline).await,
        }
    }

    /// Has what was refused by a view that may lag behind judged by one that does not.
    async fn confirm(
        &self,
        caller: &Caller,
        (refused, command): Refused,
        deadline: Instant,
    ) -> Result<Judged, Error> {
        if is_refusal(&refused)
            && let Some(fresh) = self.confirmed(caller, deadline).await
        {
            return self
                .judge_write(caller, command, &fresh.view)
                .map_err(|(refused, _)| refused);
        }
        Err(refused)
    }

    fn judge_write(
        &self,
        caller: &Caller,
        command: Box<Command>,
        view: &ReadView,
    ) -> Result<Judged, Refused> {
        let principal = match self.judge.principal(caller, view) {
            Ok(principal) => principal,
            Err(refused) => return Err((refused, command)),
        };
        let policy_revision = view.policy_revision();
        let command = guarded_by(&principal, policy_revision, command);
        match authorize_or_return(&principal, command) {
            Ok(command) => Ok(Judged {
                command,
                principal,
                policy_revision,
            }),
            Err((denied, command)) => Err((denied.into(), unguarded(command))),
        }
    }

    /// The outer error: there is no reply.
    pub(super) async fn propose(
        &self,
        command: Authorized<Command>,
        packing: Packing,
        deadline: Instant,
    ) -> Result<Result<Reply, Rejection>, Error> {
        let request = self.prepare(command, packing).await?;
        self.send(request, deadline).await
    }

    /// The bytes of a command as the log keeps it.
    async fn prepare(&self, command: Authorized<Command>, packing: Packing) -> Result<Bytes, Error> {
        let command = command.into_request();
        // What apply would refuse is refused before it costs the log its space.
        command.check(number(self.value_bytes_max))?;
        self.check_disk(&command)?;
        compression::encode(self.compression, packing, command).await
    }

    async fn send(&self, request: Bytes, deadline: Instant) -> Result<Result<Reply, Rejection>, Error> {
        let proposed = self.propose_traced(request, deadline).await;
        Ok(compression::unpacked(proposed?).await?.into_result())
    }

    /// With a full disk, what room is left in the log is for votes and for giving space back.
    fn check_disk(&self, command: &Command) -> Result<(), Error> {
        if !self.node.is_disk_full() || gives_space_back(command) {
            return Ok(());
        }
        let message = "this node's disk is full: it takes no new data, only deletes and compaction";
        Err(Error::new(ErrorKind::Overloaded, message).with("reason", "disk_full".to_owned()))
    }
}

/// A command as somebody makes it whose rights the policy at this revision gives.
pub(super) fn guarded_by(principal: &Principal, policy_revision: u64, command: Box<Command>) -> Command {
    match principal.guard(policy_revision) {
        Some(guard) => Command::Guarded { guard, command },
        None => *command,
    }
}

fn unguarded(command: Command) -> Box<Command> {
    if let Command::Guarded { command, .. } = command {
        command
    } else {
        Box::new(command)
    }
}
