//! `concord backup`: cuts of a running cluster, and files of them.

mod place;
mod restore;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use concord_core::Store;
use concord_core::ids::NodeId;
use concord_raft::StorageError;
use concord_raft::backup::{BackupFile, BackupHeader};
use concord_raft::offline::{self, OfflineError};
use concord_raft::os::{OsClock, OsDisk, OsEntropy};
use concord_raft::ports::{Clock as _, Disk, OpenMode};
use serde_json::{Value, json};

use super::Session;
use super::args::{BackupCommand, CleanupArgs, CreateBackupArgs, LocalArgs, Output, RestoreArgs};
use super::error::CliError;
use super::output::{Out, plain};
use super::progress::Progress;
use crate::OpenError;
use crate::client::Request;
use crate::concord::storage_in_words;
use crate::limits::REQUEST_TIMEOUT_MAX;

const BACKUPS: &str = "/api/v1/backups";

/// The commands that ask a cluster.
pub(super) async fn run(session: &mut Session, command: &BackupCommand) -> Result<(), CliError> {
    match command {
        BackupCommand::Create(args) => create(session, args).await,
        BackupCommand::List(_) => list(session).await,
        BackupCommand::Cleanup(args) => clean_up(session, args).await,
        BackupCommand::Restore(args) => restore::restore(session, args).await,
        BackupCommand::Verify { .. } => Ok(()),
    }
}

/// The commands that work on files of this machine.
pub(super) fn run_here(command: &BackupCommand) -> Result<(), CliError> {
    match command {
        BackupCommand::Verify { file, config, local } => verify(file, config.as_deref(), *local),
        BackupCommand::Restore(args) => match &args.data_dir {
            Some(data_dir) => restore_to(args, data_dir),
            None => Ok(()),
        },
        BackupCommand::Create(_) | BackupCommand::List(_) | BackupCommand::Cleanup(_) => Ok(()),
    }
}

async fn create(session: &mut Session, args: &CreateBackupArgs) -> Result<(), CliError> {
    let consistency = args.consistency.map(|consistency| consistency.name());
    let Some(to) = &args.to else {
        let request = Request::post(BACKUPS).json(&json!({ "consistency": consistency }));
        // It takes as long as there is data.
        let client = session
            .client
            .with_timeout(session.timeout.max(REQUEST_TIMEOUT_MAX));
        let made: Value = client.send(&request).await?.data()?;
        if session.out.is_json() {
            return session.out.json(&made);
        }
        let name = plain(made.get("name"));
        let (revision, bytes) = (plain(made.get("revision")), plain(made.get("file_bytes")));
        return session
            .out
            .line(format!("{name}: revision {revision}, {bytes} bytes"));
    };
    let request = Request::get(format!("{BACKUPS}/now")).query("consistency", consistency);
    place::check_file(to)?;
    let arriving = download(session, &request, to).await?;
    // What arrived is checked before it is called a backup.
    let file = open(&arriving)?;
    file.verify(|_| {}).map_err(storage)?;
    land(&arriving, to)?;
    let file = open(to)?;
    if session.out.is_json() {
        return session.out.json(&described(&file));
    }
    session.out.line(format!(
        "{}: revision {}, {} bytes",
        to.display(),
        file.header().revision,
        file.file_bytes()
    ))
}

/// Takes the answer into a file beside `to`, whose name it has not yet.
async fn download(session: &Session, request: &Request, to: &Path) -> Result<PathBuf, CliError> {
    let mut arriving = to.as_os_str().to_owned();
    arriving.push(".tmp");
    let arriving = PathBuf::from(arriving);
    let failed = |error| CliError::io(format!("cannot write {}", arriving.display()), error);
    let mut download = session.client.download(request).await?;
    // A leftover of an interrupted one.
    if OsDisk.exists(&arriving).map_err(failed)? {
        OsDisk.remove(&arriving).map_err(failed)?;
    }
    let file = OsDisk.open(&arriving, OpenMode::Create).map_err(failed)?;
    let mut progress = Progress::new("receiving", None);
    let mut received = 0_u64;
    while let Some(chunk) = download.chunk().await? {
        file.write_all_at(&chunk, received).map_err(failed)?;
        received = received.saturating_add(chunk.len() as u64);
        progress.show(received);
    }
    file.sync_data().map_err(failed)?;
    progress.end();
    Ok(arriving)
}

/// Gives a file its name, durably.
fn land(arriving: &Path, to: &Path) -> Result<(), CliError> {
    let failed = |error| CliError::io(format!("cannot write {}", to.display()), error);
    OsDisk.rename(arriving, to).map_err(failed)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    OsDisk.sync_dir(parent.unwrap_or(Path::new("."))).map_err(failed)
}

async fn list(session: &mut Session) -> Result<(), CliError> {
    let answer: Value = session.client.send(&Request::get(BACKUPS)).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let backups = answer.get("backups").and_then(Value::as_array);
    let rows = backups.into_iter().flatten().map(|listed| {
        let part = |name: &str| plain(listed.pointer(&format!("/backup/{name}")));
        let damage = listed.get("damage").filter(|damage| !damage.is_null());
        vec![
            plain(listed.get("name")),
            part("revision"),
            part("counts/keys"),
            part("file_bytes"),
            part("product"),
            damage.map_or_else(|| "readable".to_owned(), |damage| plain(Some(damage))),
        ]
    });
    let head = ["NAME", "REVISION", "KEYS", "BYTES", "MADE BY", "STATE"];
    session.out.table(&head, rows)
}

async fn clean_up(session: &mut Session, args: &CleanupArgs) -> Result<(), CliError> {
    let body = json!({
        "keep_count": args.keep_count,
        "keep_days": args.keep_days,
        "dry_run": args.dry_run,
    });
    let request = Request::post(format!("{BACKUPS}/cleanup")).json(&body);
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let went = if args.dry_run { "would go" } else { "removed" };
    for (field, state) in [
        ("removed", went),
        ("kept", "stays"),
        ("damaged", "damaged, stays"),
    ] {
        for name in answer.get(field).and_then(Value::as_array).into_iter().flatten() {
            session.out.line(format!("{}  {state}", plain(Some(name))))?;
        }
    }
    Ok(())
}

fn verify(path: &Path, config: Option<&Path>, local: LocalArgs) -> Result<(), CliError> {
    let file = place::open(path, config)?;
    let mut progress = Progress::new("checking", Some(file.file_bytes()));
    let verified = file.verify(|done| progress.show(done));
    progress.end();
    let verified = verified.map_err(storage)?;
    let sha256: String = verified.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut out = Out::new(local.output);
    if local.output == Output::Json {
        let mut described = described(&file);
        if let Some(described) = described.as_object_mut() {
            described.insert("sha256".to_owned(), json!(sha256));
            described.insert("chunks".to_owned(), json!(verified.chunks));
            described.insert("raw_bytes".to_owned(), json!(verified.raw_bytes));
        }
        out.json(&described)?;
        return out.flush();
    }
    let header = file.header();
    out.line(format!("{} is a whole backup", path.display()))?;
    out.facts([
        ("cluster", format!("{:032x}", header.cluster_id)),
        (
            "made by",
            format!("node {}, concord {}", header.node_id, header.product),
        ),
        ("made at", time(header)),
        ("revision", header.revision.to_string()),
        ("log index", format!("{} (term {})", header.applied, header.term)),
        ("sha256", sha256),
    ])?;
    for (name, count) in &header.counts {
        out.line(format!("{:<18} {count}", name.replace('_', " ")))?;
    }
    out.flush()
}

fn restore_to(args: &RestoreArgs, data_dir: &Path) -> Result<(), CliError> {
    let file = place::open(&args.file, args.config.as_deref())?;
    let mut progress = Progress::new("checking", Some(file.file_bytes()));
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let restored = offline::restore::<Store>(
        &file,
        data_dir,
        args.node_id.map(NodeId::new),
        OsClock.now(),
        &disk,
        &OsEntropy,
        |done| progress.show(done),
    );
    progress.end();
    let restored = restored.map_err(refused)?;
    let cluster_id = format!("{:032x}", restored.identity.cluster_id.unwrap_or_default());
    let node_id = restored.identity.node_id;
    let mut out = Out::new(args.client.output);
    if args.client.output == Output::Json {
        out.json(&json!({
            "data_dir": data_dir.to_string_lossy(),
            "cluster_id": cluster_id,
            "node_id": node_id.get(),
            "revision": restored.revision.get(),
        }))?;
        return out.flush();
    }
    let directory = data_dir.display();
    out.line(format!(
        "{directory} is the data directory of node {node_id}, a new cluster of one"
    ))?;
    out.facts([
        ("cluster", cluster_id),
        ("revision", restored.revision.to_string()),
    ])?;
    out.line(format!("start it with: concord start --data-dir {directory}"))?;
    out.flush()
}

fn open(path: &Path) -> Result<BackupFile, CliError> {
    BackupFile::open(Arc::new(OsDisk), path).map_err(storage)
}

fn described(file: &BackupFile) -> Value {
    let header = file.header();
    let counts: serde_json::Map<String, Value> = header
        .counts
        .iter()
        .map(|(name, count)| (name.clone(), json!(count)))
        .collect();
    json!({
        "file": file.path().to_string_lossy(),
        "file_bytes": file.file_bytes(),
        "format_version": BackupHeader::FORMAT_VERSION,
        "cluster_id": format!("{:032x}", header.cluster_id),
        "node_id": header.node_id.get(),
        "revision": header.revision.get(),
        "log_index": header.applied.get(),
        "term": header.term.get(),
        "created_at": header.created_at.get(),
        "product": header.product,
        "counts": counts,
    })
}

fn time(header: &BackupHeader) -> String {
    let millis = i64::try_from(header.created_at.get()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

/// A file that cannot be read or believed.
pub(super) fn storage(error: StorageError) -> CliError {
    let message = storage_in_words(&error);
    if let StorageError::Version { .. } | StorageError::NewerMachine { .. } = error {
        let code = "unsupported";
        return CliError::Request { code, message };
    }
    if let StorageError::Io { source, .. } = &error
        && source.kind() == std::io::ErrorKind::NotFound
    {
        let code = "not_found";
        return CliError::Request { code, message };
    }
    OpenError::from(error).into()
}

/// A directory that nothing was done to.
pub(super) fn refused(error: OfflineError) -> CliError {
    let code = match error {
        OfflineError::Storage(error) => return storage(error),
        OfflineError::NotEmpty { .. } => "already_exists",
        // Also what a later engine may add.
        OfflineError::NoMember { .. } | _ => "not_found",
    };
    CliError::Request {
        code,
        message: error.to_string(),
    }
}
