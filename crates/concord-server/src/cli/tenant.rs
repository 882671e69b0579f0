//! `concord tenant`: who shares the store, with how much of it, and what they use.

use serde_json::{Map, Value, json};

use super::Session;
use super::access::{change, pages};
use super::args::{ClientArgs, ExportFormat, QuotaArgs, TenantCommand};
use super::error::CliError;
use super::output::plain;
use crate::client::{Request, encode};
use crate::tenants::Limit;

const TENANTS: &str = "/api/v1/tenants";

/// `concord tenant ...`
pub(super) async fn run(session: &mut Session, command: &TenantCommand) -> Result<(), CliError> {
    match command {
        TenantCommand::Create(args) => {
            let mut body = quota(&args.quota);
            body.insert("id".to_owned(), json!(args.id));
            if let Some(name) = &args.name {
                body.insert("name".to_owned(), json!(name));
            }
            create(session, Request::post(TENANTS).json(&Value::Object(body))).await
        }
        TenantCommand::List(_) => list(session).await,
        TenantCommand::Show(args) => show(session, &Request::get(path(&args.id))).await,
        TenantCommand::Update(args) => {
            let body = Value::Object(quota(&args.quota));
            change(session, Request::patch(path(&args.id)).json(&body), "updated").await
        }
        TenantCommand::Delete(args) => {
            let delete_keys = args.delete_keys.then_some(true);
            let request = Request::delete(path(&args.id)).query("delete_keys", delete_keys);
            change(session, request, "deleted").await
        }
        TenantCommand::Usage(args) => usage(session, &args.id).await,
        TenantCommand::Export { format, .. } => {
            let format = match format {
                ExportFormat::Jsonl => "jsonl",
                ExportFormat::Csv => "csv",
            };
            let request = Request::get("/api/v1/usage").query("format", Some(format));
            let answer = session.client.send(&request).await?;
            session.out.bytes(&answer.body)
        }
    }
}

impl TenantCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Create(args) => &args.client,
            Self::List(client) | Self::Export { client, .. } => client,
            Self::Show(args) | Self::Usage(args) => &args.client,
            Self::Update(args) => &args.client,
            Self::Delete(args) => &args.client,
        }
    }
}

/// The quotas that are given, as the interface wants them.
fn quota(args: &QuotaArgs) -> Map<String, Value> {
    let limits = [
        ("max_keys", args.max_keys),
        ("max_storage_bytes", args.max_storage_bytes),
        ("max_ops_per_sec", args.max_ops_per_sec),
    ];
    let given = limits.into_iter().filter_map(|(name, limit)| {
        let written = match limit? {
            Limit::AtMost(number) => json!(number),
            Limit::Unlimited => json!("unlimited"),
        };
        Some((name.to_owned(), written))
    });
    given.collect()
}

async fn create(session: &mut Session, request: Request) -> Result<(), CliError> {
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    session.out.facts([
        ("id", plain(answer.get("id"))),
        ("namespace", plain(answer.get("namespace"))),
        ("role", plain(answer.get("role"))),
        ("max_keys", plain(answer.pointer("/quota/max_keys"))),
        (
            "max_storage_bytes",
            plain(answer.pointer("/quota/max_storage_bytes")),
        ),
        ("max_ops_per_sec", plain(answer.pointer("/quota/max_ops_per_sec"))),
    ])?;
    let role = plain(answer.get("role"));
    session
        .out
        .line(format!("a token for it: concord token create --role {role}"))
}

async fn list(session: &mut Session) -> Result<(), CliError> {
    let all = pages(session, TENANTS, "tenants").await?;
    if session.out.is_json() {
        return session.out.json(&json!({ "tenants": all }));
    }
    let rows = all.iter().map(|tenant| {
        vec![
            plain(tenant.get("id")),
            plain(tenant.get("name")),
            of(tenant, "/usage/keys", "/quota/max_keys"),
            of(tenant, "/usage/storage_bytes", "/quota/max_storage_bytes"),
            plain(tenant.pointer("/quota/max_ops_per_sec")),
        ]
    });
    session
        .out
        .table(&["ID", "NAME", "KEYS", "STORAGE BYTES", "OPS/S"], rows)
}

/// What is used of what there may be.
fn of(tenant: &Value, used: &str, limit: &str) -> String {
    format!(
        "{} of {}",
        plain(tenant.pointer(used)),
        plain(tenant.pointer(limit))
    )
}

async fn show(session: &mut Session, request: &Request) -> Result<(), CliError> {
    let tenant: Value = session.client.send(request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&tenant);
    }
    session.out.facts([
        ("id", plain(tenant.get("id"))),
        ("name", plain(tenant.get("name"))),
        ("namespace", plain(tenant.get("namespace"))),
        ("role", plain(tenant.get("role"))),
        ("created_at", plain(tenant.get("created_at"))),
        ("updated_at", plain(tenant.get("updated_at"))),
    ])?;
    print_usage(session, &tenant)
}

async fn usage(session: &mut Session, id: &str) -> Result<(), CliError> {
    let request = Request::get(format!("{}/usage", path(id)));
    let answer: Value = session.client.send(&request).await?.data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    print_usage(session, &answer)
}

fn print_usage(session: &mut Session, tenant: &Value) -> Result<(), CliError> {
    session.out.facts([
        ("keys", of(tenant, "/usage/keys", "/quota/max_keys")),
        (
            "storage_bytes",
            of(tenant, "/usage/storage_bytes", "/quota/max_storage_bytes"),
        ),
        ("max_ops_per_sec", plain(tenant.pointer("/quota/max_ops_per_sec"))),
        ("operations_left", plain(tenant.pointer("/usage/operations_left"))),
    ])?;
    if tenant.pointer("/usage/emptying").and_then(Value::as_bool) == Some(true) {
        session.out.facts([("emptying", "true".to_owned())])?;
    }
    Ok(())
}

fn path(id: &str) -> String {
    format!("{TENANTS}/{}", encode(id))
}
