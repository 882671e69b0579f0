//! A server whose every answer is the same: the ceiling of the HTTP driver here.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::driver::{Driver, Session};
use super::http::{Http, HttpSession};
use super::keys::KeySpace;
use super::options::Consistency;
use super::wire::find;

/// Serves `body` to every request, on a free loopback port, until the process ends.
///
/// # Errors
///
/// When no port can be had.
pub async fn serve(body: &[u8]) -> io::Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(serve_one(stream, answer.clone()));
        }
    });
    Ok(address)
}

/// Answers each request head, and what body it says it has.
async fn serve_one(mut stream: TcpStream, answer: Vec<u8>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(buffer.get(..head_end).unwrap_or_default());
        let length = head
            .split("Content-Length: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next());
        let whole = head_end
            + length
                .and_then(|digits| digits.parse::<usize>().ok())
                .unwrap_or(0);
        while buffer.len() < whole {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..whole);
        stream.write_all(&answer).await?;
    }
}

/// Loads [`serve`] with the requests of the HTTP driver; only the status of an answer is checked.
#[derive(Debug)]
pub struct Constant(Http);

impl Constant {
    /// Requests as the HTTP driver would send them to this address.
    pub fn new(address: SocketAddr, consistency: Consistency) -> Self {
        Self(Http::new(vec![address.to_string()], consistency))
    }
}

/// One connection.
#[derive(Debug)]
pub struct ConstantSession(HttpSession);

impl Driver for Constant {
    type Session = ConstantSession;

    async fn session(&self, caller: usize) -> Result<ConstantSession, String> {
        self.0.session(caller).await.map(ConstantSession)
    }
}

impl Session for ConstantSession {
    async fn put(&mut self, keys: &KeySpace, number: usize, value: &[u8]) -> Result<(), String> {
        self.0.put(keys, number, value).await
    }

    async fn get(&mut self, keys: &KeySpace, number: usize) -> Result<(), String> {
        self.0.read(keys, number).await.map(|_| ())
    }
}
