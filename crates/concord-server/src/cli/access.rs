//! Tokens, roles and ACLs, and who may do what.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Session;
use super::args::{
    AclCommand, CanIArgs, ClientArgs, CreateTokenArgs, ExplainAccessArgs, RoleCommand, TokenCommand,
};
use super::error::CliError;
use super::output::{cell, plain};
use crate::client::{Request, encode};

const TOKENS: &str = "/api/v1/tokens";
const ROLES: &str = "/api/v1/roles";
const ACLS: &str = "/api/v1/acls";

/// The token that a command shows: of a file, or of the variable, which a file goes before.
pub(super) fn token(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, CliError> {
    let text = match file {
        Some(path) => {
            let read = fs::read_to_string(path);
            let read =
                read.map_err(|error| CliError::io(format!("cannot read {}", path.display()), error))?;
            Some(Zeroizing::new(read))
        }
        None => std::env::var("CONCORD_TOKEN").ok().map(Zeroizing::new),
    };
    let text = text.map(|text| Zeroizing::new(text.trim().to_owned()));
    Ok(text.filter(|text| !text.is_empty()))
}

/// `concord token ...`
pub(super) async fn tokens(session: &mut Session, command: &TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(args) => issue(session, create(args)).await,
        TokenCommand::Rotate { token, grace, .. } => {
            let grace = grace.map(|grace| format!("{}ms", grace.as_millis()));
            let request = Request::post(format!("{}/rotate", token_path(token)));
            issue(session, request.json(&json!({ "grace": grace }))).await
        }
        TokenCommand::List(_) => list_tokens(session).await,
        TokenCommand::Show(args) => show_token(session, Request::get(token_path(&args.token))).await,
        TokenCommand::Revoke(args) => {
            change(session, Request::delete(token_path(&args.token)), "revoked").await
        }
        TokenCommand::Grant(args) => {
            let path = format!("{}/roles/{}", token_path(&args.token), encode(&args.role));
            change(session, Request::put(path), "granted").await
        }
        TokenCommand::Take(args) => {
            let path = format!("{}/roles/{}", token_path(&args.token), encode(&args.role));
            change(session, Request::delete(path), "taken").await
        }
    }
}

/// `concord role ...`
pub(super) async fn roles(session: &mut Session, command: &RoleCommand) -> Result<(), CliError> {
    match command {
        RoleCommand::Create(args) => {
            let body = json!({"role": args.role, "permissions": args.permissions});
            change(session, Request::post(ROLES).json(&body), "created").await
        }
        RoleCommand::Update(args) => {
            let body = json!({"permissions": args.permissions});
            change(
                session,
                Request::put(role_path(&args.role)).json(&body),
                "updated",
            )
            .await
        }
        RoleCommand::List(_) => list_roles(session).await,
        RoleCommand::Show(args) => {
            let answer: Value = session
                .client
                .send(&Request::get(role_path(&args.role)))
                .await?
                .data()?;
            if session.out.is_json() {
                return session.out.json(&answer);
            }
            session.out.facts([
                ("role", plain(answer.get("role"))),
                ("permissions", list(answer.get("permissions"))),
            ])?;
            print_acls(session, answer.get("acls"))
        }
        RoleCommand::Delete(args) => change(session, Request::delete(role_path(&args.role)), "deleted").await,
    }
}

/// `concord acl ...`
pub(super) async fn acls(session: &mut Session, command: &AclCommand) -> Result<(), CliError> {
    match command {
        AclCommand::Set {
            role,
            pattern,
            permissions,
            ..
        } => {
            let body = json!({"role": role, "pattern": pattern, "permissions": permissions});
            change(session, Request::put(ACLS).json(&body), "set").await
        }
        AclCommand::List(args) => {
            let request = Request::get(ACLS).query("role", Some(&args.role));
            let answer: Value = session.client.send(&request).await?.data()?;
            if session.out.is_json() {
                return session.out.json(&answer);
            }
            print_acls(session, Some(&answer))
        }
        AclCommand::Delete { role, pattern, .. } => {
            let request = Request::delete(ACLS)
                .query("role", Some(role))
                .query("pattern", Some(pattern));
            change(session, request, "deleted").await
        }
    }
}

/// `concord whoami`
pub(super) async fn whoami(session: &mut Session) -> Result<(), CliError> {
    let answer: Value = session
        .client
        .send(&Request::get("/api/v1/whoami"))
        .await?
        .data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let token = answer.get("token");
    let of = |name| token.and_then(|token| token.get(name));
    session.out.facts([
        ("principal", plain(answer.get("principal"))),
        ("id", plain(of("id"))),
        ("roles", list(of("roles"))),
        ("tenant", plain(answer.get("tenant"))),
        ("everywhere", list(answer.get("everywhere"))),
    ])
}

/// `concord can-i`: also says so by its exit code.
pub(super) async fn can_i(session: &mut Session, args: &CanIArgs) -> Result<(), CliError> {
    let request = Request::get("/api/v1/can-i")
        .query("action", Some(&args.action))
        .query("key", Some(&args.key));
    let answer: Value = session.client.send(&request).await?.data()?;
    let allowed = answer.get("allowed").and_then(Value::as_bool) == Some(true);
    if session.out.is_json() {
        session.out.json(&answer)?;
    } else {
        session.out.line(if allowed { "yes" } else { "no" })?;
    }
    if allowed {
        return Ok(());
    }
    session.out.flush()?;
    Err(CliError::Request {
        code: "forbidden",
        message: format!("no {} at this key", args.action),
    })
}

/// `concord explain-access`
pub(super) async fn explain(session: &mut Session, args: &ExplainAccessArgs) -> Result<(), CliError> {
    let request = Request::get(format!("{}/access", token_path(&args.token))).query("key", Some(&args.key));
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session
        .out
        .facts([("permissions", list(answer.get("permissions")))])?;
    let because = answer.get("because").and_then(Value::as_array);
    let rows = because.into_iter().flatten().map(|one| {
        vec![
            plain(one.get("source")),
            plain(one.get("role")),
            cell(&plain(one.get("pattern"))),
            list(one.get("permissions")),
        ]
    });
    session
        .out
        .table(&["SOURCE", "ROLE", "PATTERN", "PERMISSIONS"], rows)
}

fn create(args: &CreateTokenArgs) -> Request {
    let body = json!({
        "name": args.name,
        "roles": args.roles,
        "permissions": args.permissions,
        "ttl": args.ttl,
    });
    Request::post(TOKENS).json(&body)
}

/// Prints the secret alone, so that it can be put where it belongs: `concord token create > file`.
async fn issue(session: &mut Session, request: Request) -> Result<(), CliError> {
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session.out.line(plain(answer.get("token")))
}

pub(super) async fn change(session: &mut Session, request: Request, done: &str) -> Result<(), CliError> {
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session.out.line(done)
}

async fn list_tokens(session: &mut Session) -> Result<(), CliError> {
    let all = pages(session, TOKENS, "tokens").await?;
    if session.out.is_json() {
        return session.out.json(&json!({ "tokens": all }));
    }
    let rows = all.iter().map(|token| {
        vec![
            plain(token.get("id")),
            plain(token.get("name")),
            list(token.get("roles")),
            list(token.get("permissions")),
            plain(token.get("expires_at")),
            plain(token.get("last_used")),
        ]
    });
    session.out.table(
        &["ID", "NAME", "ROLES", "PERMISSIONS", "EXPIRES", "LAST USED"],
        rows,
    )
}

async fn list_roles(session: &mut Session) -> Result<(), CliError> {
    let all = pages(session, ROLES, "roles").await?;
    if session.out.is_json() {
        return session.out.json(&json!({ "roles": all }));
    }
    let rows = all.iter().map(|role| {
        let acls = role.get("acls").and_then(Value::as_array);
        vec![
            plain(role.get("role")),
            list(role.get("permissions")),
            acls.map_or(0, Vec::len).to_string(),
        ]
    });
    session.out.table(&["ROLE", "PERMISSIONS", "ACLS"], rows)
}

/// All pages of a list.
pub(super) async fn pages(session: &Session, path: &str, field: &str) -> Result<Vec<Value>, CliError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let request = Request::get(path).query("after", after.as_deref());
        let answer: Value = session.client.send(&request).await?.data()?;
        all.extend(
            answer
                .get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .cloned(),
        );
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(all),
        }
    }
}

async fn show_token(session: &mut Session, request: Request) -> Result<(), CliError> {
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session.out.facts([
        ("id", plain(answer.get("id"))),
        ("name", plain(answer.get("name"))),
        ("roles", list(answer.get("roles"))),
        ("permissions", list(answer.get("permissions"))),
        ("created_at", plain(answer.get("created_at"))),
        ("expires_at", plain(answer.get("expires_at"))),
        ("last_used", plain(answer.get("last_used"))),
    ])
}

fn print_acls(session: &mut Session, acls: Option<&Value>) -> Result<(), CliError> {
    let found = acls.and_then(Value::as_array);
    let rows = found
        .into_iter()
        .flatten()
        .map(|acl| vec![cell(&plain(acl.get("pattern"))), list(acl.get("permissions"))]);
    session.out.table(&["PATTERN", "PERMISSIONS"], rows)
}

/// Words, comma-separated.
fn list(words: Option<&Value>) -> String {
    let words = words.and_then(Value::as_array).into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    words.join(",")
}

fn token_path(token: &str) -> String {
    format!("{TOKENS}/{}", encode(token))
}

fn role_path(role: &str) -> String {
    format!("{ROLES}/{}", encode(role))
}

impl TokenCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Create(args) => &args.client,
            Self::List(client) | Self::Rotate { client, .. } => client,
            Self::Show(args) | Self::Revoke(args) => &args.client,
            Self::Grant(args) | Self::Take(args) => &args.client,
        }
    }
}

impl RoleCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Create(args) | Self::Update(args) => &args.client,
            Self::List(client) => client,
            Self::Show(args) | Self::Delete(args) => &args.client,
        }
    }
}

impl AclCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Set { client, .. } | Self::Delete { client, .. } => client,
            Self::List(args) => &args.client,
        }
    }
}
