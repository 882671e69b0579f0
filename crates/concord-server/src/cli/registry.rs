//! `concord registry`: registers an instance of a service for as long as it runs, and finds others.

use std::time::Duration;

use serde_json::{Value, json};

use super::Session;
use super::args::{ClientArgs, RegisterArgs, RegistryCommand};
use super::error::CliError;
use super::hold::{self, Signals};
use super::output::{cell, plain};
use crate::client::{Request, encode};

/// Pause before a registration is made again that no node could take.
const PAUSE: Duration = Duration::from_millis(500);

/// `concord registry ...`
pub(super) async fn run(session: &mut Session, command: &RegistryCommand) -> Result<(), CliError> {
    match command {
        RegistryCommand::Register(args) => register(session, args).await,
        RegistryCommand::List { service, prefix, .. } => match service {
            Some(service) => instances(session, service).await,
            None => services(session, prefix.as_deref()).await,
        },
        RegistryCommand::Watch { service, .. } => watch(session, service).await,
    }
}

impl RegistryCommand {
    pub(super) fn client_args(&self) -> &ClientArgs {
        match self {
            Self::Register(args) => &args.client,
            Self::List { client, .. } | Self::Watch { client, .. } => client,
        }
    }
}

/// Keeps an instance registered until somebody interrupts: if it is lost because the cluster could not
/// be reached it is registered again, if somebody else has taken its place it is over.
async fn register(session: &mut Session, args: &RegisterArgs) -> Result<(), CliError> {
    let path = format!(
        "/api/v1/services/{}/instances/{}",
        encode(&args.service),
        encode(&args.instance)
    );
    let mut signals = Signals::new()?;
    let put = Request::put(&path).json(&json!({"value": args.value, "ttl": args.ttl}));
    let mut registered: Value = session.client.send(&put).await?.data()?;
    if session.out.is_json() {
        session.out.json(&registered)?;
    } else {
        let token = plain(registered.get("token"));
        session
            .out
            .line(format!("{} is registered with token {token}", args.instance))?;
    }
    session.out.flush()?;
    let mut pause = Duration::from_millis(hold::number(&registered, "ttl_ms")) / 3;
    loop {
        tokio::select! {
            biased;
            // Who wants to end does not want to be kept alive.
            _ = signals.next() => break,
            () = tokio::time::sleep(pause) => {}
        }
        let lease = hold::number(&registered, "lease");
        let keep = Request::post(format!("{path}/keep_alive")).json(&json!({ "lease": lease }));
        pause = match session.client.send(&keep).await {
            Ok(_) => Duration::from_millis(hold::number(&registered, "ttl_ms")) / 3,
            Err(error) if error.code() == "lease_not_found" => {
                let found = others(session, args).await?;
                if found.is_some_and(|other| other != lease) {
                    return Err(error.into());
                }
                if let Ok(answer) = session.client.send(&put).await {
                    registered = answer.data()?;
                }
                PAUSE
            }
            Err(_) => PAUSE,
        };
    }
    let lease = hold::number(&registered, "lease");
    session
        .client
        .send(&Request::delete(&path).query("lease", Some(lease)))
        .await?;
    Ok(())
}

/// The lease by which the instance lives now.
async fn others(session: &Session, args: &RegisterArgs) -> Result<Option<u64>, CliError> {
    let request = Request::get(hold::path("services", &args.service));
    let answer: Value = session.client.send(&request).await?.data()?;
    let all = answer.get("instances").and_then(Value::as_array);
    let mut all = all.into_iter().flatten();
    let found = all.find(|one| one.get("instance").and_then(Value::as_str) == Some(&args.instance));
    Ok(found.map(|one| hold::number(one, "lease")))
}

async fn instances(session: &mut Session, service: &str) -> Result<(), CliError> {
    let request = Request::get(hold::path("services", service));
    let answer: Value = session.client.send(&request).await?.data()?;
    print(session, &answer)
}

fn print(session: &mut Session, answer: &Value) -> Result<(), CliError> {
    if session.out.is_json() {
        return session.out.json(answer);
    }
    let instances = answer.get("instances").and_then(Value::as_array);
    let rows = instances.into_iter().flatten().map(|one| {
        let column = |name| cell(&plain(one.get(name)));
        vec![column("instance"), column("token"), column("value")]
    });
    session.out.table(&["INSTANCE", "TOKEN", "VALUE"], rows)
}

async fn services(session: &mut Session, prefix: Option<&str>) -> Result<(), CliError> {
    let answer: Value = session
        .client
        .send(&Request::get("/api/v1/services").query("prefix", prefix))
        .await?
        .data()?;
    if session.out.is_json() {
        return session.out.json(&answer);
    }
    let services = answer.get("services").and_then(Value::as_array);
    let rows = services.into_iter().flatten().map(|one| {
        let column = |name| cell(&plain(one.get(name)));
        vec![column("service"), column("instances")]
    });
    session.out.table(&["SERVICE", "INSTANCES"], rows)
}

async fn watch(session: &mut Session, service: &str) -> Result<(), CliError> {
    let path = format!("{}/observe", hold::path("services", service));
    let mut follow = session
        .client
        .follow(Request::get(path).accept("text/event-stream"));
    loop {
        let event = follow.next().await?;
        if event.name == "instances" {
            print(session, &event.data()?)?;
            if !session.out.is_json() {
                // Between two tables.
                session.out.line("")?;
            }
            session.out.flush()?;
        }
    }
}
