//! The shape of `concord tenant`.

use clap::{Args, Subcommand, ValueEnum};

use super::ClientArgs;
use crate::tenants::Limit;

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant: its namespace ID:*, its role `tenant_ID` and its quotas.
    Create(CreateTenantArgs),
    /// List tenants with their quotas and what they take.
    List(ClientArgs),
    /// Show one tenant.
    Show(NamedTenantArgs),
    /// Change quotas; those that are not given stay.
    Update(UpdateTenantArgs),
    /// Remove a tenant with its role and quotas. Its keys stay, unless that is asked for.
    Delete(DeleteTenantArgs),
    /// What a tenant takes, and may take. Tenants may ask it of themselves.
    Usage(NamedTenantArgs),
    /// What all tenants take at one revision, a line each: to be billed by.
    Export {
        /// How the lines are written.
        #[arg(long, value_enum, default_value_t)]
        format: ExportFormat,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A JSON object a line.
    #[default]
    Jsonl,
    /// Comma-separated values under a line with their names.
    Csv,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct QuotaArgs {
    /// How many keys it may have: a number or `unlimited`.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) max_keys: Option<Limit>,
    /// How many bytes its keys and stored values may have: a number or `unlimited`.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) max_storage_bytes: Option<Limit>,
    /// How many requests a second its tokens may make together: a number or `unlimited`.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) max_ops_per_sec: Option<Limit>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateTenantArgs {
    /// Its id. Its keys begin with this and a colon.
    pub(crate) id: String,
    /// What it is called; its id, if this is not given.
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) quota: QuotaArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateTenantArgs {
    /// Its id.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) quota: QuotaArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteTenantArgs {
    /// Its id.
    pub(crate) id: String,
    /// Delete its keys too.
    #[arg(long)]
    pub(crate) delete_keys: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NamedTenantArgs {
    /// Its id.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
