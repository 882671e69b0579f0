//! A small HTTP/1.1 client: one keep-alive connection, one request at a time.
//!
//! A general client costs more than the servers that are measured with it; this one
//! writes prepared bytes and parses only what answers need. Not for anything else.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest head and largest body that an answer may have.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A connection that is made when it is needed.
#[derive(Debug)]
pub(crate) struct Wire {
    endpoint: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            stream: None,
            buffer: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends a whole request and gives back the status and the body of the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, &[u8]), String> {
        let outcome = self.try_exchange(request).await;
        match outcome {
            Ok((status, keep)) => {
                if !keep {
                    self.stream = None;
                }
                Ok((status, &self.body))
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    async fn try_exchange(&mut self, request: &[u8]) -> Result<(u16, bool), String> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.endpoint)
                .await
                .map_err(|error| format!("connect: {error}"))?;
            stream
                .set_nodelay(true)
                .map_err(|error| format!("connect: {error}"))?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().ok_or("no connection")?;
        stream
            .write_all(request)
            .await
            .map_err(|error| format!("send: {error}"))?;
        self.buffer.clear();
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            fill(stream, &mut self.buffer).await?;
        };
        let (head, rest) = self.buffer.split_at(head_end);
        let head = Head::parse(head)?;
        self.body.clear();
        self.body.extend_from_slice(rest);
        if head.chunked {
            while !unchunk(&mut self.body)? {
                fill(stream, &mut self.body).await?;
            }
        } else {
            while self.body.len() < head.length {
                fill(stream, &mut self.body).await?;
            }
        }
        Ok((head.status, head.keep))
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), String> {
    if buffer.len() > ANSWER_BYTES_MAX {
        return Err("answer is too long".to_owned());
    }
    match stream.read_buf(buffer).await {
        Ok(0) => Err("the server ended the connection".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("receive: {error}")),
    }
}

/// Where `needle` begins.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

struct Head {
    status: u16,
    length: usize,
    chunked: bool,
    keep: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "head is not text")?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|code| code.parse().ok());
        let mut head = Self {
            status: status.ok_or("head has no status")?,
            length: 0,
            chunked: false,
            keep: true,
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse().map_err(|_| "content-length is no number")?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                head.keep = !value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

/// Takes the chunk marks out of a whole chunked body; false when it is not whole yet.
fn unchunk(body: &mut Vec<u8>) -> Result<bool, String> {
    let mut plain = Vec::new();
    let mut rest = body.as_slice();
    loop {
        let Some(line_end) = find(rest, b"\r\n") else {
            return Ok(false);
        };
        let (line, after) = rest.split_at(line_end);
        let size = std::str::from_utf8(line)
            .ok()
            .and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
        let size = size.ok_or("chunk has no size")?;
        let Some(chunk) = after.get(2..2 + size) else {
            return Ok(false);
        };
        let Some(next) = after.get(2 + size + 2..) else {
            return Ok(false);
        };
        if size == 0 {
            *body = plain;
            return Ok(true);
        }
        plain.extend_from_slice(chunk);
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_when_all_are_there() {
        let whole = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            let mut body = whole[..cut].to_vec();
            assert_eq!(unchunk(&mut body), Ok(false), "{cut}");
        }
        let mut body = whole.to_vec();
        assert_eq!(unchunk(&mut body), Ok(true));
        assert_eq!(body, b"hello world");
    }

    #[test]
    fn head_is_read() {
        let head =
            Head::parse(b"HTTP/1.1 503 Busy\r\nContent-Length: 12\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(
            (head.status, head.length, head.chunked, head.keep),
            (503, 12, false, false)
        );
        assert!(Head::parse(b"nonsense\r\n\r\n").is_err());
    }
}
