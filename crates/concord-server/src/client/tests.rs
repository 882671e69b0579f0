//! The client against servers that answer, refuse, vanish or talk nonsense.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// What a fake node does with every connection.
#[derive(Clone, Copy)]
enum Behaviour {
    /// A status line and a body.
    Answer((&'static str, &'static str)),
    /// Reads the request, then closes.
    Vanish,
    /// The same this many times, then a status line and a body.
    VanishThenAnswer(usize, (&'static str, &'static str)),
    /// Reads the request and never answers.
    Hang,
}

struct Fake {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    /// The idempotency keys that came.
    names: Arc<Mutex<Vec<String>>>,
}

async fn fake(behaviour: Behaviour) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let names = Arc::new(Mutex::new(Vec::new()));
    let named = Arc::clone(&names);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0_u8; 4096];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
            let name = head
                .lines()
                .find_map(|line| line.strip_prefix("idempotency-key: "));
            named.lock().unwrap().extend(name.map(str::to_owned));
            let earlier = seen.fetch_add(1, Ordering::SeqCst);
            match behaviour {
                Behaviour::VanishThenAnswer(times, _) if earlier < times => {}
                Behaviour::Answer((status, body)) | Behaviour::VanishThenAnswer(_, (status, body)) => {
                    let answer = format!(
                        "HTTP/1.1 {status}\r\n{HEADERS}content-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                Behaviour::Vanish => {}
                Behaviour::Hang => held.push(stream),
            }
        }
    });
    Fake {
        address,
        requests,
        names,
    }
}

const HEADERS: &str =
    "content-type: application/json; charset=utf-8\r\nx-concord-revision: 7\r\nconnection: close\r\n";
const OK: (&str, &str) = ("200 OK", "{}");
const NOT_READY: (&str, &str) = (
    "503 Service Unavailable",
    r#"{"status":"error","error":{"code":"not_ready","message":"x","details":{}}}"#,
);
const NOT_FOUND: (&str, &str) = (
    "404 Not Found",
    r#"{"status":"error","error":{"code":"not_found","message":"x","details":{}}}"#,
);
const NONSENSE: (&str, &str) = ("502 Bad Gateway", "<html>");

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn client(addresses: &[SocketAddr], timeout: Duration) -> Client {
    Client::new(addresses.iter().map(ToString::to_string), timeout).unwrap()
}

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_next_node_is_asked_when_nothing_was_written() {
    let (away, waiting, good) = (
        nobody().await,
        fake(Behaviour::Answer(NOT_READY)).await,
        fake(Behaviour::Answer(OK)).await,
    );
    let client = client(&[away, waiting.address, good.address], PATIENT);
    let answer = client.send(&Request::put("/x")).await.unwrap();
    assert_eq!(answer.endpoint, format!("http://{}", good.address));
    assert_eq!(answer.media_type(), "application/json");
    assert_eq!(answer.header("x-concord-revision"), Some("7"));

    client.send(&Request::put("/x")).await.unwrap();
    assert_eq!(
        waiting.requests.load(Ordering::SeqCst),
        1,
        "the node that answered is asked first from then on"
    );
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_sent_twice() {
    let (gone, good) = (fake(Behaviour::Vanish).await, fake(Behaviour::Answer(OK)).await);
    let client = client(&[gone.address, good.address], PATIENT);
    let error = client.send(&Request::put("/x")).await.unwrap_err();
    assert_eq!(error.code(), "outcome_unknown");
    assert!(error.may_have_happened());
    assert_eq!(good.requests.load(Ordering::SeqCst), 0);
    assert!(
        client.send(&Request::get("/x")).await.is_ok(),
        "a read can be asked again elsewhere"
    );
}

#[tokio::test]
async fn a_named_write_is_sent_again_under_its_name_until_somebody_answers() {
    let (gone, slow) = (
        fake(Behaviour::Vanish).await,
        fake(Behaviour::VanishThenAnswer(2, OK)).await,
    );
    let client = client(&[gone.address, slow.address], PATIENT);
    client.send(&Request::put("/x").once(None)).await.unwrap();
    assert_eq!(slow.requests.load(Ordering::SeqCst), 3);
    let names = slow.names.lock().unwrap().clone();
    assert_eq!(names.len(), 3);
    assert!(
        names.iter().all(|name| name.len() == 32 && *name == names[0]),
        "{names:?}"
    );

    let given = HeaderValue::from_static("mine");
    client.send(&Request::put("/x").once(Some(&given))).await.unwrap();
    assert_eq!(slow.names.lock().unwrap().last().unwrap(), "mine");
    client.send(&Request::put("/x").once(None)).await.unwrap();
    assert_ne!(
        *slow.names.lock().unwrap().last().unwrap(),
        names[0],
        "each has its own"
    );
}

#[tokio::test]
async fn an_open_outcome_stays_open_whatever_others_say_who_do_not_know() {
    let (gone, waiting) = (
        fake(Behaviour::Vanish).await,
        fake(Behaviour::Answer(NOT_READY)).await,
    );
    for others in [vec![nobody().await], vec![waiting.address], vec![]] {
        let addresses: Vec<_> = [gone.address].into_iter().chain(others).collect();
        let client = client(&addresses, Duration::from_millis(400));
        let error = client.send(&Request::put("/x").once(None)).await.unwrap_err();
        assert_eq!(error.code(), "outcome_unknown", "{addresses:?}");
    }
    // A refusal under its name is what became of it.
    let refusing = fake(Behaviour::VanishThenAnswer(1, NOT_FOUND)).await;
    let client = client(&[refusing.address], PATIENT);
    let error = client.send(&Request::put("/x").once(None)).await.unwrap_err();
    assert_eq!(error.code(), "not_found");
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let silent = fake(Behaviour::Hang).await;
    let client = client(&[silent.address], Duration::from_millis(200));
    let error = client.send(&Request::delete("/x")).await.unwrap_err();
    assert_eq!(error.code(), "outcome_unknown");
    let error = client.send(&Request::get("/x")).await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(!error.may_have_happened());
}

#[tokio::test]
async fn refusals_keep_their_name_and_stop_the_search() {
    let (refusing, good) = (
        fake(Behaviour::Answer(NOT_FOUND)).await,
        fake(Behaviour::Answer(OK)).await,
    );
    let client = client(&[refusing.address, good.address], PATIENT);
    assert_eq!(
        client.send(&Request::get("/x")).await.unwrap_err().code(),
        "not_found"
    );
    assert_eq!(good.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answers_of_others_are_named_as_such() {
    let proxy = fake(Behaviour::Answer(NONSENSE)).await;
    let client = client(&[proxy.address], PATIENT);
    assert_eq!(
        client.send(&Request::put("/x")).await.unwrap_err().code(),
        "garbled_answer"
    );
}

#[tokio::test]
async fn every_node_that_failed_is_named() {
    let (a, b) = (nobody().await, nobody().await);
    let error = client(&[a, b], PATIENT)
        .send(&Request::put("/x"))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert_eq!(error.code(), "unreachable");
    assert!(
        text.contains(&a.to_string()) && text.contains(&b.to_string()),
        "{text}"
    );
}

#[test]
fn endpoints_are_addresses() {
    for good in [
        "http://127.0.0.1:4000",
        "http://127.0.0.1:4000/",
        "127.0.0.1:4000",
        "node-1:4000",
        "[::1]:4000",
    ] {
        assert!(Client::new([good], PATIENT).is_ok(), "{good}");
    }
    for bad in ["", "ftp://a", "http://", "http://a:70000", "http://a/?b=c"] {
        assert!(Client::new([bad], PATIENT).is_err(), "{bad}");
    }
    assert!(Client::new(Vec::<String>::new(), PATIENT).is_err());
}

#[test]
fn queries_are_encoded() {
    let request = Request::get("/kv")
        .query("prefix", Some("a&b=ü"))
        .query("limit", None::<u32>)
        .query("all", Some(true));
    assert_eq!(
        request.url("http://h"),
        "http://h/kv?prefix=a%26b%3D%C3%BC&all=true"
    );
}
