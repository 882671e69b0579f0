//! HTTP by hand: bytes out, bytes in. What a well-behaved client cannot send, this can.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error's name; checks that the error has the one shape.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert_eq!(json["status"], "error", "{json}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-concord-revision").is_some(), "{}", self.head);
        let error = &json["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{json}"
        );
        assert!(error["details"]["may_have_written"].is_boolean(), "{json}");
        assert!(error["details"]["advice"].is_string(), "{json}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Sends a request with these header lines and this body on a connection of its own.
pub(crate) async fn send(url: &str, method: &str, target: &str, headers: &str, body: &[u8]) -> Reply {
    let host = url.strip_prefix("http://").unwrap();
    let host_line = if headers.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("host: {host}\r\n")
    };
    let length = if headers.to_ascii_lowercase().contains("content-length:") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let separator = if headers.is_empty() { "" } else { "\r\n" };
    let head = format!(
        "{method} {target} HTTP/1.1\r\n{host_line}{length}connection: close\r\n{headers}{separator}\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    exchange(host, &bytes).await
}

/// Sends exactly these bytes and reads until the other side closes.
pub(crate) async fn exchange(host: &str, bytes: &[u8]) -> Reply {
    let answered = async {
        let mut stream = TcpStream::connect(host).await.unwrap();
        // A server that refuses early may close before all is sent; the answer counts.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), answered)
        .await
        .expect("the server answers");
    let split = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = answer.get(split + 4..).unwrap_or_default().to_vec();
    Reply { status, head, body }
}
