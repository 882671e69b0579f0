//! The `concord` command line: a server (`start`) and a client of a running cluster.
//!
//! Every command talks HTTP to a node that runs already (D-OPS-3), but for `start`, `config`, `context`, `cert`, `audit` with files and
//! those that are about files: `recover`, `doctor`, `backup verify` and `backup restore`. Commands,
//! flags and exit codes are documented in `docs/cli.md`.

mod access;
mod args;
mod audit;
mod backup;
mod bench;
mod bulk;
mod cert;
mod cluster;
mod config;
mod context;
mod doctor;
mod election;
mod error;
mod hold;
mod index;
mod key;
mod keyspace;
mod lease;
mod lock;
mod output;
mod progress;
mod query;
mod recover;
mod registry;
mod start;
mod status;
mod subscription;
mod tenant;
mod top;
mod watch;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use self::args::{BeforeArgs, Cli, ClientArgs, Command, Output};
use self::error::CliError;
use self::output::Out;
use crate::client::Client;

/// A client command at work: whom it asks and where it prints.
#[derive(Debug)]
struct Session {
    client: Client,
    /// As the client has it.
    timeout: std::time::Duration,
    out: Out,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { before, command } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let client = match client_args(&before, &command, &matches) {
        Ok(client) => client,
        Err(error) => return told(&error, false),
    };
    let as_json = client
        .as_ref()
        .is_some_and(|client| client.output == Output::Json);
    match run(command, client) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error, as_json),
    }
}

/// Says what went wrong.
fn told(error: &CliError, as_json: bool) -> ExitCode {
    let (text, code) = error.report(as_json);
    if !text.is_empty() {
        // Nobody is left to tell if standard error is gone too.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    code
}

/// How the command reaches the cluster: its own flags go before those in front of it, these
/// before the environment. `None`: it reaches no cluster.
fn client_args(
    before: &BeforeArgs,
    command: &Command,
    matches: &ArgMatches,
) -> Result<Option<ClientArgs>, CliError> {
    let given = [
        ("--context", before.context.is_some()),
        ("--endpoints", before.endpoints.is_some()),
        ("--timeout", before.timeout.is_some()),
        ("--output", before.output.is_some()),
        ("--ca-cert", before.tls.ca_cert.is_some()),
        ("--client-cert", before.tls.client_cert.is_some()),
        ("--client-key", before.tls.client_key.is_some()),
        ("--token-file", before.token_file.is_some()),
    ];
    let Some(own) = command.client_args() else {
        return match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                let message = format!("`{flag}` is for commands that ask a running cluster");
                Cli::command().error(ErrorKind::UnknownArgument, message).exit()
            }
            None => Ok(None),
        };
    };
    let mut leaf = matches;
    while let Some((_, deeper)) = leaf.subcommand() {
        leaf = deeper;
    }
    let is_own = |name: &str| leaf.value_source(name) == Some(ValueSource::CommandLine);
    let mut client = own.clone();
    if let Some(endpoints) = before.endpoints.as_ref().filter(|_| !is_own("endpoints")) {
        client.endpoints.clone_from(endpoints);
    }
    if let Some(timeout) = before.timeout.filter(|_| !is_own("timeout")) {
        client.timeout = timeout;
    }
    if let Some(output) = before.output.filter(|_| !is_own("output")) {
        client.output = output;
    }
    client.tls.take(&before.tls, is_own);
    if let Some(path) = before.token_file.as_ref().filter(|_| !is_own("token_file")) {
        client.token_file = Some(path.clone());
    }
    let wanted = match &before.context {
        Some(name) if !is_own("context") => Some(name.clone()),
        _ => client.context.clone(),
    };
    let flag = |name: &str| format!("--{}", name.replace('_', "-"));
    let is_said = |name: &str| {
        matches!(
            leaf.value_source(name),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) || given.contains(&(flag(name).as_str(), true))
            || (name == "token_file"
                && std::env::var_os("CONCORD_TOKEN").is_some_and(|token| !token.is_empty()))
    };
    context::fill(&mut client, wanted.as_deref(), is_said)?;
    Ok(Some(client))
}

fn run(command: Command, client: Option<ClientArgs>) -> Result<(), CliError> {
    match command {
        Command::Start(args) => start::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Cert(command) => cert::run(&command),
        Command::Context(command) => context::run(&command),
        Command::Completions { shell } => completions(shell),
        Command::Backup(command) if command.client_args().is_none() => backup::run_here(&command),
        Command::Recover(args) => recover::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(_)
        | Command::Ready(_)
        | Command::Members(_)
        | Command::Top(_)
        | Command::Bench(_)
        | Command::Get(_)
        | Command::Put(_)
        | Command::PutMany(_)
        | Command::Txn(_)
        | Command::Delete(_)
        | Command::Touch(_)
        | Command::Incr(_)
        | Command::Scan(_)
        | Command::Ttl(_)
        | Command::History(_)
        | Command::Watch(_)
        | Command::Lease(_)
        | Command::Index(_)
        | Command::Lock(_)
        | Command::Election(_)
        | Command::Registry(_)
        | Command::Query(_)
        | Command::Subscription(_)
        | Command::Audit(_)
        | Command::Backup(_)
        | Command::Token(_)
        | Command::Role(_)
        | Command::Acl(_)
        | Command::Tenant(_)
        | Command::Whoami(_)
        | Command::CanI(_)
        | Command::ExplainAccess(_)
        | Command::Cluster(_) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| CliError::io("cannot start", e))?;
            runtime.block_on(ask(command, client))
        }
    }
}

async fn ask(command: Command, client: Option<ClientArgs>) -> Result<(), CliError> {
    let Some(client) = client else {
        return Ok(());
    };
    let mut session = Session::new(&client)?;
    let s = &mut session;
    match command {
        Command::Status(_) => status::status(s).await,
        Command::Ready(args) => status::ready(s, args.wait).await,
        Command::Members(_) => status::members(s).await,
        Command::Top(args) => top::top(s, &args).await,
        Command::Bench(args) => bench::bench(s, &args).await,
        Command::Get(args) => key::get(s, &args).await,
        Command::Put(args) => key::put(s, &args).await,
        Command::PutMany(args) => bulk::put(s, &args).await,
        Command::Txn(args) => bulk::txn(s, &args).await,
        Command::Delete(args) => key::delete(s, &args).await,
        Command::Touch(args) => key::touch(s, &args).await,
        Command::Incr(args) => key::increment(s, &args).await,
        Command::Ttl(args) => key::ttl(s, &args).await,
        Command::Scan(args) => keyspace::scan(s, &args).await,
        Command::History(args) => keyspace::history(s, &args).await,
        Command::Watch(args) => watch::watch(s, &args).await,
        Command::Lease(command) => lease::run(s, &command).await,
        Command::Query(args) => query::query(s, &args).await,
        Command::Index(command) => index::run(s, &command).await,
        Command::Lock(args) => lock::lock(s, &args).await,
        Command::Election(command) => election::run(s, &command).await,
        Command::Registry(command) => registry::run(s, &command).await,
        Command::Subscription(command) => subscription::run(s, &command).await,
        Command::Audit(command) => audit::run(s, &command).await,
        Command::Token(command) => access::tokens(s, &command).await,
        Command::Role(command) => access::roles(s, &command).await,
        Command::Acl(command) => access::acls(s, &command).await,
        Command::Tenant(command) => tenant::run(s, &command).await,
        Command::Whoami(_) => access::whoami(s).await,
        Command::CanI(args) => access::can_i(s, &args).await,
        Command::ExplainAccess(args) => access::explain(s, &args).await,
        Command::Cluster(command) => cluster::run(s, &command).await,
        Command::Backup(command) => backup::run(s, &command).await,
        Command::Start(_)
        | Command::Config(_)
        | Command::Cert(_)
        | Command::Recover(_)
        | Command::Doctor(_)
        | Command::Context(_)
        | Command::Completions { .. } => Ok(()),
    }?;
    session.out.flush()
}

fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "concord", &mut script);
    let mut out = Out::new(Output::Table);
    out.bytes(&script)?;
    out.flush()
}

impl Session {
    fn new(args: &ClientArgs) -> Result<Self, CliError> {
        Ok(Self {
            client: Client::secured(
                &args.endpoints,
                args.timeout,
                &args.tls.client_tls().map_err(CliError::Usage)?,
                access::token(args.token_file.as_deref())?
                    .as_deref()
                    .map(String::as_str),
            )?,
            timeout: args.timeout,
            out: Out::new(args.output),
        })
    }

    /// Whether a person looks at the output right now.
    fn is_watched(&self) -> bool {
        std::io::stdout().is_terminal()
    }
}

impl Command {
    fn client_args(&self) -> Option<&ClientArgs> {
        match self {
            Self::Start(_)
            | Self::Config(_)
            | Self::Cert(_)
            | Self::Recover(_)
            | Self::Doctor(_)
            | Self::Context(_)
            | Self::Completions { .. } => None,
            Self::Backup(command) => command.client_args(),
            Self::Ready(args) => Some(&args.client),
            Self::Top(args) => Some(&args.client),
            Self::Bench(args) => Some(&args.client),
            Self::Status(client) | Self::Members(client) | Self::Whoami(client) => Some(client),
            Self::Token(command) => Some(command.client_args()),
            Self::Role(command) => Some(command.client_args()),
            Self::Acl(command) => Some(command.client_args()),
            Self::Tenant(command) => Some(command.client_args()),
            Self::CanI(args) => Some(&args.client),
            Self::ExplainAccess(args) => Some(&args.client),
            Self::Get(args) => Some(&args.client),
            Self::Put(args) => Some(&args.client),
            Self::PutMany(args) => Some(&args.client),
            Self::Txn(args) => Some(&args.client),
            Self::Delete(args) => Some(&args.client),
            Self::Touch(args) => Some(&args.client),
            Self::Incr(args) => Some(&args.client),
            Self::Ttl(args) => Some(&args.client),
            Self::Scan(args) => Some(&args.client),
            Self::History(args) => Some(&args.client),
            Self::Watch(args) => Some(&args.client),
            Self::Lease(command) => Some(command.client_args()),
            Self::Query(args) => Some(&args.client),
            Self::Index(command) => Some(command.client_args()),
            Self::Lock(args) => Some(&args.client),
            Self::Election(command) => Some(command.client_args()),
            Self::Registry(command) => Some(command.client_args()),
            Self::Subscription(command) => Some(command.client_args()),
            Self::Audit(command) => Some(command.client_args()),
            Self::Cluster(command) => Some(command.client_args()),
        }
    }
}
