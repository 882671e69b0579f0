//! The shapes of `concord cert`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make an authority: a certificate that signs others, and its key.
    Ca(CaArgs),
    /// Make the certificate of a node, for its peers and for its clients.
    Node(NodeCertArgs),
    /// Make the certificate of a client.
    Client(ClientCertArgs),
    /// What certificates say, and how long they last.
    Show {
        /// A PEM file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Where files go.
#[derive(Clone, Debug, Args)]
pub(crate) struct CertOutArgs {
    /// The directory to write to; made if it is not there.
    #[arg(long, default_value = "certs", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Who signs.
#[derive(Clone, Debug, Args)]
pub(crate) struct SignerArgs {
    /// The certificate of the authority [default: ca.pem in --out].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// Its key [default: ca-key.pem in --out].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_key: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CaArgs {
    /// What it is called.
    #[arg(long, default_value = "concord CA", value_parser = common_name)]
    pub(crate) name: String,
    /// How many days it lasts.
    #[arg(long, default_value_t = 3650, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) out: CertOutArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NodeCertArgs {
    /// The node that it is for; peers hold the node to it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) node_id: u64,
    /// A name under which clients reach the node; several: several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// An address under which clients reach the node; several: several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Vec<IpAddr>,
    /// Hold the node to this cluster too: its id, 32 hexadecimal digits, as `concord status` prints it.
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub(crate) cluster: Option<u128>,
    /// How many days it lasts.
    #[arg(long, default_value_t = 365, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    #[command(flatten)]
    pub(crate) out: CertOutArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ClientCertArgs {
    /// The name of the client.
    #[arg(value_parser = common_name)]
    pub(crate) name: String,
    /// How many days it lasts.
    #[arg(long, default_value_t = 365, value_parser = days())]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    #[command(flatten)]
    pub(crate) out: CertOutArgs,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

fn common_name(text: &str) -> Result<String, String> {
    // 64 characters: RFC 5280, ub-common-name.
    if text.is_empty() || text.chars().count() > 64 || text.contains(char::is_control) {
        return Err("must be 1 to 64 characters, none of them a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn cluster_id(text: &str) -> Result<u128, String> {
    let id = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    id.ok_or_else(|| "must be 32 hexadecimal digits".to_owned())
}
