//! A stream of server-sent events that outlives its connection.
//!
//! Each event has an id, and who reconnects with the last one goes on behind it, on any node:
//! nothing is missed and nothing comes twice, however often the connection breaks.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::request::{Effect, Request};
use super::{ANSWER_BYTES_MAX, Client};

/// A stream that says nothing for so long is dead: nodes give a sign of life every ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// The first pause before all endpoints are tried again; doubled up to the last one.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(1);

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is: `changes`, `progress`.
    pub name: String,
    /// Where to go on behind it.
    pub id: Option<String>,
    /// JSON.
    pub data: String,
}

/// A stream of events from whichever node gives it. See the [`Client::follow`].
#[derive(Debug)]
pub struct Follow {
    client: Client,
    request: Request,
    /// The endpoint to try first, by its place.
    place: usize,
    last_id: Option<String>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    endpoint: String,
    response: reqwest::Response,
    received: Vec<u8>,
    /// How many of them were looked at for an end of an event.
    searched: usize,
}

impl Client {
    /// Follows a stream of events. Connects when the first is asked for.
    pub fn follow(&self, request: Request) -> Follow {
        Follow {
            client: self.clone(),
            request,
            place: 0,
            last_id: None,
            connection: None,
        }
    }
}

impl Follow {
    /// The next event. A stream that breaks, or whose node stops or loses its cluster, is taken up
    /// again from the next node, for as long as the client's timeout.
    ///
    /// # Errors
    ///
    /// What the nodes say, or that none can be reached.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        let deadline = Instant::now() + self.client.timeout;
        let mut lost_at: Option<Instant> = None;
        loop {
            let Some(connection) = &mut self.connection else {
                // Once lost it may take a while until a node serves again; a first try that
                // reaches nobody is told at once, like that of any other request.
                let until = lost_at.map_or(deadline, |at| at + self.client.timeout);
                let is_first = lost_at.is_none() && self.last_id.is_none();
                self.connection = Some(self.connect(until, is_first).await?);
                continue;
            };
            match connection.event().await {
                Ok(Some(event)) if event.name == "error" => {
                    let body = Bytes::from(event.data);
                    let error = ClientError::from_answer(&connection.endpoint, 200, &body);
                    if !error.is_safe_elsewhere(Effect::Reads) {
                        return Err(error);
                    }
                }
                Ok(Some(event)) => {
                    if event.id.is_some() {
                        self.last_id.clone_from(&event.id);
                    }
                    return Ok(event);
                }
                Ok(None) => {}
                Err(error @ ClientError::Garbled { .. }) => return Err(error),
                Err(_) => {}
            }
            self.connection = None;
            self.place = self.place.wrapping_add(1);
            lost_at.get_or_insert_with(Instant::now);
        }
    }

    async fn connect(&mut self, until: Instant, is_first: bool) -> Result<Connection, ClientError> {
        let mut pause = PAUSE_FIRST;
        loop {
            let mut failure: Option<ClientError> = None;
            for _ in 0..self.client.endpoints.len() {
                match self.attempt(until).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) if error.is_safe_elsewhere(Effect::Reads) => {
                        self.place = self.place.wrapping_add(1);
                        failure = Some(match failure {
                            Some(earlier) => earlier.and(error),
                            None => error,
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = failure
                && (is_first || Instant::now() + pause >= until)
            {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    async fn attempt(&self, until: Instant) -> Result<Connection, ClientError> {
        let endpoints = &self.client.endpoints;
        let at = self.place.checked_rem(endpoints.len()).unwrap_or_default();
        let endpoint = endpoints.get(at).cloned().unwrap_or_default();
        let mut request = self.request.build(&self.client.http, &endpoint);
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let silent = |reason: &str| ClientError::Unreachable {
            tried: vec![format!("{endpoint}: {reason}")],
        };
        let sent = tokio::time::timeout(until.saturating_duration_since(Instant::now()), request.send())
            .await
            .map_err(|_| silent("timed out"))?;
        let response = sent.map_err(|error| ClientError::transport(&endpoint, &error, Effect::Reads))?;
        let status = response.status();
        if !status.is_success() {
            let body = response
                .bytes()
                .await
                .map_err(|error| ClientError::transport(&endpoint, &error, Effect::Reads))?;
            return Err(ClientError::from_answer(&endpoint, status.as_u16(), &body));
        }
        Ok(Connection {
            endpoint,
            response,
            received: Vec::new(),
            searched: 0,
        })
    }
}

impl Connection {
    /// The next event; `None` when the stream has ended.
    async fn event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            if self.received.len() > ANSWER_BYTES_MAX {
                return Err(self.garbled(format!("an event is over {ANSWER_BYTES_MAX} bytes")));
            }
            let chunk = match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) | Err(_) => return Ok(None),
                Ok(Err(error)) => {
                    return Err(ClientError::transport(&self.endpoint, &error, Effect::Reads));
                }
            };
            self.received.extend_from_slice(&chunk);
        }
    }

    /// An event that was received as a whole. Comments and unknown fields are passed over.
    fn take(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            let from = self.searched.saturating_sub(1);
            let searched = self.received.get(from..).unwrap_or_default();
            let Some(found) = searched.windows(2).position(|pair| pair == b"\n\n") else {
                self.searched = self.received.len();
                return Ok(None);
            };
            let rest = self
                .received
                .split_off(from.saturating_add(found).saturating_add(2));
            let message = std::mem::replace(&mut self.received, rest);
            self.searched = 0;
            let text = String::from_utf8(message).map_err(|error| self.garbled(error.to_string()))?;
            if let Some(event) = parse(&text) {
                return Ok(Some(event));
            }
        }
    }

    fn garbled(&self, reason: String) -> ClientError {
        ClientError::Garbled {
            endpoint: self.endpoint.clone(),
            status: 200,
            reason,
        }
    }
}

fn parse(message: &str) -> Option<Event> {
    let mut event = Event {
        name: String::new(),
        id: None,
        data: String::new(),
    };
    for line in message.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" => event.id = Some(value.to_owned()),
            "data" => event.data.push_str(value),
            _ => {}
        }
    }
    (!event.data.is_empty()).then_some(event)
}

impl Event {
    /// Its data.
    ///
    /// # Errors
    ///
    /// If it is not what is expected: the node is one of another version.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.data).map_err(|error| ClientError::Garbled {
            endpoint: String::new(),
            status: 200,
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_event_are_read_and_comments_passed_over() {
        let event = parse(": hello\nevent: changes\nid: 41\nretry: 5\ndata: {\"a\":\ndata: 1}\n\n").unwrap();
        assert_eq!(
            (event.name.as_str(), event.id.as_deref()),
            ("changes", Some("41"))
        );
        assert_eq!(event.data, "{\"a\":1}");
        assert_eq!(parse(": keep-alive\n\n"), None);
    }
}
