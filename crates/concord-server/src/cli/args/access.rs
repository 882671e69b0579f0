//! The shapes of `concord token`, `role`, `acl`, `whoami`, `can-i` and `explain-access`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ClientArgs, any_duration};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print its secret: this once.
    Create(CreateTokenArgs),
    /// List tokens, without their secrets.
    List(ClientArgs),
    /// Show one token.
    Show(NamedTokenArgs),
    /// End a token for good.
    Revoke(NamedTokenArgs),
    /// Give a token another secret, and print that: this once.
    Rotate {
        /// Its id or name.
        token: String,
        /// How long the old secret stays good.
        #[arg(long, value_parser = any_duration, value_name = "TIME")]
        grace: Option<Duration>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a token a role.
    Grant(TokenRoleArgs),
    /// Take a role from a token.
    Take(TokenRoleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateTokenArgs {
    /// What it is called; no two tokens have one name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A role that it has; may be given several times. Without roles and permissions it allows nothing.
    #[arg(long = "role")]
    pub(crate) roles: Vec<String>,
    /// What it allows by itself, at every key: read, write, delete, admin or *, comma-separated.
    #[arg(long, value_delimiter = ',')]
    pub(crate) permissions: Vec<String>,
    /// How long it is good, such as 12h or 30d; without it until it is revoked.
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NamedTokenArgs {
    /// Its id or name.
    pub(crate) token: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRoleArgs {
    /// The token's id or name.
    pub(crate) token: String,
    /// The role.
    pub(crate) role: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a role, which holds at every key until it has an ACL.
    Create(RoleArgs),
    /// Change what a role allows, for all who have it.
    Update(RoleArgs),
    /// List roles.
    List(ClientArgs),
    /// Show a role with its ACLs.
    Show(NamedRoleArgs),
    /// Remove a role with its ACLs, from all who have it.
    Delete(NamedRoleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// What it is called.
    pub(crate) role: String,
    /// read, write, delete, admin or *, comma-separated.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) permissions: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NamedRoleArgs {
    /// What it is called.
    pub(crate) role: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AclCommand {
    /// Let a role hold where a pattern matches; its first ACL narrows a role to that.
    Set {
        /// The role.
        role: String,
        /// The keys: * is any run of characters, everything else is as it is.
        pattern: String,
        /// What is allowed there at most: read, write, delete, admin or *, comma-separated.
        #[arg(long, value_delimiter = ',', required = true)]
        permissions: Vec<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the ACLs of a role.
    List(NamedRoleArgs),
    /// Remove an ACL of a role, unless it is the last.
    Delete {
        /// The role.
        role: String,
        /// The pattern.
        pattern: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CanIArgs {
    /// read, write, delete or admin.
    pub(crate) action: String,
    /// The key.
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainAccessArgs {
    /// The token's id or name.
    pub(crate) token: String,
    /// The key.
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
