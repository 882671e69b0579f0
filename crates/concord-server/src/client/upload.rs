//! A request whose body is larger than what is held in memory.

use std::time::Duration;

use reqwest::Body;
use reqwest::header::CONTENT_TYPE;

use super::error::ClientError;
use super::request::{Effect, Request};
use super::{Answer, BodyError, Client, read_body};

impl Client {
    /// Sends a body of any size to the first node that takes it, and waits for the answer for as long as `patience`.
    /// `body` makes it anew for each node that is tried.
    pub(crate) async fn upload(
        &self,
        request: &Request,
        body: impl Fn() -> Body,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let mut failure: Option<ClientError> = None;
        for endpoint in &self.endpoints {
            let error = match self.upload_to(endpoint, request, body(), patience).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_safe_elsewhere(Effect::Writes) {
                return Err(error);
            }
            failure = Some(match failure {
                Some(earlier) => earlier.and(error),
                None => error,
            });
        }
        Err(failure.unwrap_or_else(ClientError::no_endpoint))
    }

    async fn upload_to(
        &self,
        endpoint: &str,
        request: &Request,
        body: Body,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let request = request.build(&self.http, endpoint).timeout(patience);
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body);
        let failed = |error| ClientError::transport(endpoint, &error, Effect::Writes);
        let response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response).await.map_err(|error| match error {
            BodyError::Transport(error) => failed(error),
            BodyError::TooLarge => ClientError::Garbled {
                endpoint: endpoint.to_owned(),
                status: status.as_u16(),
                reason: "the answer is too large".to_owned(),
            },
        })?;
        if !status.is_success() {
            return Err(ClientError::from_answer(endpoint, status.as_u16(), &body));
        }
        Ok(Answer {
            endpoint: endpoint.to_owned(),
            status: status.as_u16(),
            headers,
            body,
        })
    }
}
