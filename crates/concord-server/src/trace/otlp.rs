//! OTLP over HTTP, in its JSON form.

use std::time::Duration;

use concord_core::ids::NodeId;
use concord_net::tls::{Trust, client_config};
use reqwest::header::CONTENT_TYPE;

use super::export::ExportError;
use super::json;
use super::span::Span;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A collector.
#[derive(Debug)]
pub(super) struct Otlp {
    http: reqwest::Client,
    url: String,
    service: String,
    node_id: NodeId,
}

impl Otlp {
    /// Connects to nothing yet. Servers of `https://` are verified against the authorities of the system.
    pub(super) fn new(endpoint: &str, service: String, node_id: NodeId) -> Result<Self, ExportError> {
        let authorities = match endpoint.starts_with("https://") {
            true => rustls_native_certs::load_native_certs().certs,
            // The library wants a configuration, and nothing will use it.
            false => Vec::new(),
        };
        let tls = client_config(Trust::Authorities(authorities), None)
            .map_err(|error| ExportError(error.to_string()))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| ExportError(error.to_string()))?;
        Ok(Self {
            http,
            url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            service,
            node_id,
        })
    }

    pub(super) async fn send(&self, spans: &[Span]) -> Result<(), ExportError> {
        let body = json::request(&self.service, self.node_id, spans).to_string();
        let request = self.http.post(&self.url).header(CONTENT_TYPE, "application/json");
        let answer = request
            .body(body)
            .send()
            .await
            .map_err(|error| ExportError(error.to_string()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(ExportError(format!("the collector answered {status}"))),
        }
    }
}
