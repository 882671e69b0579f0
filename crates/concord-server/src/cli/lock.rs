//! `concord lock`: runs a command while it holds a lock.

use serde_json::json;

use super::Session;
use super::args::LockArgs;
use super::error::CliError;
use super::hold::{self, Ended, Lease};

/// `concord lock`
pub(super) async fn lock(session: &Session, args: &LockArgs) -> Result<(), CliError> {
    let lease = Lease::take(session, &args.hold).await?;
    let outcome = run(session, &lease, args).await;
    lease.revoke().await;
    match outcome? {
        0 => Ok(()),
        code => Err(CliError::Exited(code)),
    }
}

async fn run(session: &Session, lease: &Lease, args: &LockArgs) -> Result<u8, CliError> {
    let path = hold::path("locks", &args.name);
    let owner = args.owner.clone().unwrap_or_default();
    match hold::acquire(session, lease, &path, json!({ "owner": owner }), &args.hold).await? {
        Ended::Done(held) => hold::run(lease, held, &args.command, "LOCK", args.hold.grace).await,
        Ended::Interrupted(kind) => Err(hold::interrupted(kind)),
        Ended::Lost => Err(CliError::Request {
            code: "lease_not_found",
            message: format!(
                "the cluster could not be reached for too long while waiting for {}",
                args.name
            ),
        }),
    }
}
