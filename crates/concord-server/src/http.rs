//! The HTTP interface.
//!
//! ```text
//!   listener ─ connection ─▶ gate ─▶ router ─▶ handler ─▶ Concord (of the caller) ─▶ service
//!                             │ host, who asks, revision    │ parse strictly, answer in one shape
//! ```
//!
//! Handlers turn a request into an operation of the embedded handle and its answer into
//! JSON; they decide nothing themselves. Routes and statuses: `docs/http-api.md`.

mod access;
mod answer;
mod app;
mod audit;
mod backup;
mod body;
mod bulk;
mod cluster;
mod condition;
mod console;
mod cors;
mod courtesy;
mod decode;
mod docs;
mod door;
mod election;
mod error;
mod gate;
mod health;
mod hold;
mod index;
mod kv;
mod lease;
mod listener;
mod lock;
mod metrics;
mod once;
mod queries;
mod query;
mod rate;
mod record;
mod registry;
mod restore;
mod router;
mod routes;
mod scan;
mod secure;
mod settings;
mod tenants;
mod traced;
mod ttl;
mod txn;
mod value;
mod watch;

use std::io;
use std::sync::Arc;

use concord_net::tls::Tls;
use tokio::net::TcpListener;

use self::app::Common;
use self::door::Door;
pub(crate) use self::door::Proofs;
use self::gate::{Gate, Hosts};
pub(crate) use self::listener::HttpServer;
pub(crate) use self::routes::Routes;
use self::traced::Tracer;
use crate::concord::Concord;
use crate::config::{self, HttpConfig};
use crate::metrics::HttpStats;

/// Starts to serve `concord`.
pub(crate) async fn serve(
    concord: &Concord,
    config: &HttpConfig,
    proofs: Proofs,
    tls: Option<Arc<Tls>>,
) -> io::Result<HttpServer> {
    let socket = TcpListener::bind(&config.listen).await?;
    let local_addr = socket.local_addr()?;
    let common = Arc::new(Common {
        body_bytes_max: config.body_bytes_max,
    });
    let (router, table) = router::build(common, config).map_err(io::Error::other)?;
    let routes = Arc::new(Routes::new(
        table.iter().map(|(route, _)| route.clone()).collect(),
    ));
    let stats = Arc::new(HttpStats::new(Arc::clone(&routes), &table));
    let hosts = match &config.allowed_hosts {
        Some(names) => Hosts::Only(names.clone()),
        None => hosts_of(&config.listen),
    };
    let pages = cors::layer(&config.allowed_origins).map_err(io::Error::other)?;
    let door = Door::new(concord, proofs, config.body_bytes_max).showing(pages);
    let tracer = Tracer::new(concord.service().traces(), routes, tls.is_some());
    let gate = Gate::new(router, door, hosts, tracer).counted(stats);
    Ok(HttpServer::start(socket, local_addr, gate, config, tls))
}

/// Starts to serve the metrics of `concord`, and nothing else. No listener is laxer than the other, so it has the same
/// TLS and asks for the same tokens.
pub(crate) async fn serve_metrics(
    concord: &Concord,
    listen: &str,
    proofs: Proofs,
    tls: Option<Arc<Tls>>,
) -> io::Result<HttpServer> {
    let socket = TcpListener::bind(listen).await?;
    let local_addr = socket.local_addr()?;
    let config = HttpConfig::new(listen);
    let common = Arc::new(Common {
        body_bytes_max: config.body_bytes_max,
    });
    let door = Door::new(concord, proofs, config.body_bytes_max);
    let gate = Gate::new(
        router::only_metrics(common),
        door,
        hosts_of(listen),
        Tracer::off(),
    );
    Ok(HttpServer::start(socket, local_addr, gate, &config, tls))
}

/// Under which names a listener may be addressed that says nothing of it.
fn hosts_of(listen: &str) -> Hosts {
    if config::is_loopback(listen) {
        Hosts::Only(Vec::new())
    } else {
        Hosts::Any
    }
}

/// The OpenAPI document of this version, as JSON.
///
/// # Errors
///
/// None in practice: the document is made of text only.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    router::documented().1.to_pretty_json()
}
