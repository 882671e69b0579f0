//! A node's configuration: from file, environment and flags, without starting anything.

use super::args::{ConfigCommand, Output, StartArgs};
use super::error::CliError;
use super::output::Out;
use crate::{Loaded, Loader, Overrides};

/// `concord config ...`
pub(super) fn run(command: &ConfigCommand) -> Result<(), CliError> {
    let mut out = Out::new(Output::Table);
    match command {
        ConfigCommand::Check(args) => {
            let loaded = load(args)?;
            for warning in loaded.config.warnings() {
                out.line(format!("warning: {warning}"))?;
            }
            out.line("the configuration is valid")?;
        }
        ConfigCommand::Show(args) => out.bytes(load(args)?.show().as_bytes())?,
        ConfigCommand::Reference => out.bytes(crate::config::reference().as_bytes())?,
    }
    out.flush()
}

/// Lays the flags over the environment over the file.
pub(super) fn load(args: &StartArgs) -> Result<Loaded, CliError> {
    let mut flags = Overrides::new();
    flags.set("--profile", "profile", args.profile.as_deref());
    flags.set("--data-dir", "data_dir", args.data_dir.as_deref());
    flags.set("--node-id", "node_id", args.node_id.as_deref());
    flags.set("--http", "http.listen", args.http.as_deref());
    flags.set("--peer", "peers.listen", args.peer.as_deref());
    flags.set_list("--seeds", "peers.seeds", &args.seeds);
    flags.set("--join", "peers.join", args.join.as_deref());
    flags.set("--gossip", "peers.gossip.listen", args.gossip.as_deref());
    flags.set_list("--gossip-seeds", "peers.gossip.seeds", &args.gossip_seeds);
    flags.set("--discover", "peers.discover", args.discover.then_some("true"));
    flags.set(
        "--cluster-secret-file",
        "peers.secret_file",
        args.cluster_secret_file.as_deref(),
    );
    flags.set(
        "--compression",
        "compression.enabled",
        args.compression.as_deref(),
    );
    flags.set("--log-format", "logging.format", args.log_format.as_deref());
    flags.set("--log", "logging.filter", args.log.as_deref());
    let mut loader = Loader::new().environment(environment()).overrides(flags);
    if let Some(path) = &args.config {
        loader = loader.file(path);
    }
    Ok(loader.load()?)
}

/// The variables that can be settings. One that is not UTF-8 is kept, so that it is refused
/// instead of overlooked.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}
