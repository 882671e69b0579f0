//! An answer of any size, taken piece by piece.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Client;
use super::error::ClientError;
use super::request::{Effect, Request};

/// A node that sends nothing for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A body on its way in.
#[derive(Debug)]
pub struct Download {
    endpoint: String,
    response: reqwest::Response,
}

impl Client {
    /// Asks for something large, of the first node that begins to give it. The client's
    /// timeout is for the beginning; what follows may take as long as it comes.
    ///
    /// # Errors
    ///
    /// What the nodes say, or that none can be reached.
    pub async fn download(&self, request: &Request) -> Result<Download, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut failure: Option<ClientError> = None;
        for endpoint in &self.endpoints {
            match self.begin(endpoint, request, deadline).await {
                Ok(download) => return Ok(download),
                Err(error) if error.is_safe_elsewhere(Effect::Reads) && Instant::now() < deadline => {
                    failure = Some(match failure {
                        Some(earlier) => earlier.and(error),
                        None => error,
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(ClientError::no_endpoint))
    }

    async fn begin(
        &self,
        endpoint: &str,
        request: &Request,
        deadline: Instant,
    ) -> Result<Download, ClientError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let sent = tokio::time::timeout(patience, request.build(&self.http, endpoint).send());
        let sent = sent.await.map_err(|_| ClientError::Unreachable {
            tried: vec![format!("{endpoint}: timed out")],
        })?;
        let failed = |error| ClientError::transport(endpoint, &error, Effect::Reads);
        let response = sent.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            let endpoint = endpoint.to_owned();
            return Ok(Download { endpoint, response });
        }
        let body = response.bytes().await.map_err(failed)?;
        Err(ClientError::from_answer(endpoint, status.as_u16(), &body))
    }
}

impl Download {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or nothing comes for a minute.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| ClientError::transport(&self.endpoint, &error, Effect::Reads)),
            Err(_) => Err(ClientError::Unreachable {
                tried: vec![format!("{}: stopped sending", self.endpoint)],
            }),
        }
    }
}
