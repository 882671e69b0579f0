//! `concord start`: a node as a process.
//!
//! The first Ctrl-C or SIGTERM stops it in order: requests in flight are answered,
//! leadership is handed over, the log is closed. The second one stops it at once, which
//! loses nothing that was acknowledged.

use std::io::IsTerminal;

use concord_raft::StopReason;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::args::{Output, StartArgs};
use super::config;
use super::error::CliError;
use super::output::Out;
use crate::config::LoggingConfig;
use crate::{Concord, Config, Error, LogFormat};

/// The exit code after a second Ctrl-C: 128 + SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Runs a node until it is told to stop or cannot go on.
pub(super) fn run(args: &StartArgs) -> Result<(), CliError> {
    let config = config::load(args)?.config;
    start_logging(&config.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("concord")
        .build()
        .map_err(|e| CliError::io("cannot start", e))?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), CliError> {
    let mut stop = StopSignals::new()?;
    let data_dir = config.data_dir.display().to_string();
    let concord = tokio::select! {
        biased;
        // Asked to stop before there is anything to stop.
        () = stop.next() => return Ok(()),
        opened = Concord::open(config) => opened?,
    };
    announce(&concord, &data_dir)?;
    let renewing = tokio::spawn(renew_when_told(concord.clone()));
    tokio::spawn(announce_root(concord.clone()));
    let failure = tokio::select! {
        biased;
        // A node that has failed is reported even if it is told to stop at the same time.
        failure = failed(&concord) => Some(failure),
        () = stop.next() => None,
    };
    renewing.abort();
    tracing::info!("stopping; a second Ctrl-C stops at once");
    tokio::select! {
        biased;
        () = stop.next() => {
            tracing::warn!("stopping at once");
            // What was acknowledged is on the disk already.
            std::process::exit(INTERRUPTED);
        }
        stopped = concord.shutdown() => match failure {
            Some(failure) => return Err(failure.into()),
            None => stopped?,
        },
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until the node stops by itself, and says why.
async fn failed(concord: &Concord) -> Error {
    let mut stopped = concord.service().node().stopped();
    let reason = stopped
        .wait_for(Option::is_some)
        .await
        .map(|reason| reason.clone());
    // A closed channel means that the node is gone altogether.
    reason.ok().flatten().unwrap_or(StopReason::Shutdown).into()
}

/// Looks at the files of certificates at once when told to (SIGHUP), besides doing so at intervals.
async fn renew_when_told(concord: Concord) {
    let mut told = match signal(SignalKind::hangup()) {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGHUP");
            return;
        }
    };
    while told.recv().await.is_some() {
        let certificates = std::sync::Arc::clone(concord.running().certificates());
        let changed = tokio::task::spawn_blocking(move || certificates.reload()).await;
        tracing::info!(changed = changed.unwrap_or(false), "looked for new certificates");
    }
}

/// Says where the node can be found, one address a line, for people and for programs.
fn announce(concord: &Concord, data_dir: &str) -> Result<(), CliError> {
    let mut out = Out::new(Output::Table);
    out.line(format!(
        "concord {} runs as node {} on {data_dir}",
        env!("CARGO_PKG_VERSION"),
        concord.node_id()
    ))?;
    if let Some(address) = concord.peer_address() {
        out.line(format!("peers listening on {address}"))?;
    }
    if let Some(address) = concord.gossip_address() {
        out.line(format!("gossip listening on {address}"))?;
    }
    if let Some(address) = concord.http_address() {
        out.line(format!("http listening on {address}"))?;
    }
    out.flush()
}

/// Shows the first token, if this node has made it just now: to whoever started it, and nowhere else.
async fn announce_root(concord: Concord) {
    let Some(secret) = concord.root_token().await else {
        return;
    };
    let mut out = Out::new(Output::Table);
    let shown = out
        .line(format!("root token, shown this once: {}", secret.expose()))
        .and_then(|()| out.flush());
    if let Err(error) = shown {
        tracing::error!(%error, "the root token could not be shown: start with auth.root_token_file on a new directory");
    }
}

/// Logs go to standard error, so that standard output has the addresses only.
fn start_logging(config: &LoggingConfig) -> Result<(), CliError> {
    // openraft tells of every step it takes and of every attempt to reach a peer that is down, rustls warns of
    // what strangers try: only who asks for the former by name gets either.
    let filter = match config.filter.contains("openraft") {
        true => config.filter.clone(),
        false => format!("openraft=error,rustls=error,{}", config.filter),
    };
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| CliError::Usage(format!("log filter `{}`: {e}", config.filter)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Human => {
            let in_colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(in_colour).init();
        }
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Ctrl-C and the service manager's request to stop.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|e| CliError::io("cannot listen for signals", e));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            // Either means the same.
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
