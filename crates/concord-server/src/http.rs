//! The HTTP interface.
//!
//! ```text
//!   listener ─ connection ─▶ gate ─▶ router ─▶ handler ─▶ Concord (anonymous) ─▶ service
//!                             │ host, revision     │ parse strictly, answer in one shape
//! ```
//!
//! Handlers turn a request into an operation of the embedded handle and its answer into
//! JSON; they decide nothing themselves. Routes and statuses: `docs/http-api.md`.

mod answer;
mod app;
mod audit;
mod body;
mod bulk;
mod cluster;
mod condition;
mod courtesy;
mod decode;
mod docs;
mod election;
mod error;
mod gate;
mod health;
mod hold;
mod index;
mod kv;
mod later;
mod lease;
mod listener;
mod lock;
mod queries;
mod query;
mod record;
mod registry;
mod router;
mod scan;
mod settings;
mod ttl;
mod txn;
mod value;
mod watch;

use std::io;
use std::sync::Arc;

use concord_auth::Principal;
use tokio::net::TcpListener;

use self::app::App;
use self::gate::{Gate, Hosts};
pub(crate) use self::listener::HttpServer;
use crate::concord::Concord;
use crate::config::{self, HttpConfig};

/// Starts to serve `concord`.
pub(crate) async fn serve(concord: &Concord, config: &HttpConfig) -> io::Result<HttpServer> {
    let socket = TcpListener::bind(&config.listen).await?;
    let local_addr = socket.local_addr()?;
    // Nobody proves who they are yet, and everybody may do everything.
    let concord = concord.on_behalf_of(Principal::anonymous());
    let app = Arc::new(App {
        concord: concord.clone(),
        body_bytes_max: config.body_bytes_max,
    });
    let router = router::build(app, config.docs).map_err(io::Error::other)?;
    let hosts = match &config.allowed_hosts {
        Some(names) => Hosts::Only(names.clone()),
        None if config::is_loopback(&config.listen) => Hosts::Only(Vec::new()),
        None => Hosts::Any,
    };
    Ok(HttpServer::start(
        socket,
        local_addr,
        Gate::new(router, concord, hosts),
        config,
    ))
}

/// The OpenAPI document of this version, as JSON.
///
/// # Errors
///
/// None in practice: the document is made of text only.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    router::documented().1.to_pretty_json()
}
