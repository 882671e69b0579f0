//! HTTPS and mutual TLS between nodes, on nodes of this process.

mod clients;

use std::time::Duration;

use concord_net::tls::{TlsSettings, Trust, client_config};
use concord_server::{Concord, Config, HttpConfig, OpenErrorKind, PeerConfig};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::{Authority, Holder};
use crate::cluster::secret;
use crate::patience::{PATIENCE, eventually};

struct Node {
    concord: Concord,
    _dir: TempDir,
}

impl Node {
    async fn start(tls: TlsSettings) -> Self {
        Self::start_as(HttpConfig::new("127.0.0.1:0").tls(tls)).await
    }

    async fn start_as(http: HttpConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::at(dir.path()).http_config(http);
        config.tls_reload_interval = Duration::from_millis(100);
        let concord = Concord::open(config).await.unwrap();
        concord.wait_until_ready(PATIENCE).await.unwrap();
        Self { concord, _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        let port = self.concord.http_address().unwrap().port();
        format!("https://localhost:{port}{path}")
    }

    async fn get(&self, client: &reqwest::Client, path: &str) -> Result<reqwest::Response, String> {
        client
            .get(self.url(path))
            .send()
            .await
            .map_err(|error| concord_net::tls::words(&error).unwrap_or_else(|| format!("{error:?}")))
    }
}

/// A client that trusts an authority, and shows a certificate if it has one.
fn client(trusted: &Authority, shown: Option<&TlsSettings>) -> reqwest::Client {
    let identity = shown.map(|shown| (shown.certificate.as_path(), shown.key.as_path()));
    let config = client_config(Trust::File(&trusted.path("ca.pem")), identity).unwrap();
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .build()
        .unwrap()
}

fn server(authority: &Authority) -> TlsSettings {
    TlsSettings {
        ca: None,
        ..authority.write("server", &Holder::default())
    }
}

#[tokio::test]
async fn https_serves_clients_that_verify_and_turns_plaintext_away() {
    let authority = Authority::new();
    let node = Node::start(server(&authority)).await;
    let client = client(&authority, None);
    let put = client
        .put(node.url("/api/v1/kv/k"))
        .json(&serde_json::json!({"value": "v"}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    let got = node.get(&client, "/api/v1/kv/k").await.unwrap();
    assert!(got.text().await.unwrap().contains("\"v\""));
    let metrics = node.get(&client, "/metrics").await.unwrap().text().await.unwrap();
    let ends = "concord_certificate_expiry_timestamp_seconds{listener=\"http\",role=\"certificate\"} ";
    assert!(metrics.contains(ends), "{metrics}");
    let stranger = Authority::new();
    let error = node
        .get(&self::client(&stranger, None), "/health")
        .await
        .unwrap_err();
    assert!(error.contains("certificate is not accepted"), "{error}");
    let plain = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut stream = TcpStream::connect(node.concord.http_address().unwrap())
        .await
        .unwrap();
    stream.write_all(plain.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("use https://"),
        "{answer}"
    );
    node.concord.shutdown().await.unwrap();
}

/// D-SEC-10: authorities for clients mean that each client shows a certificate of theirs.
#[tokio::test]
async fn d_sec_10_client_certificates_are_required_where_they_are_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let node = Node::start(server(&authority).ca(authority.path("ca.pem"))).await;
    let named = |name| Holder {
        common_name: Some(name),
        ..Holder::default()
    };
    let good = authority.write("alice", &named("alice"));
    let answer = node.get(&client(&authority, Some(&good)), "/api/v1/status").await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    let error = node.get(&client(&authority, None), "/health").await.unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
    let foreign = stranger.write("alice", &named("alice"));
    let error = node
        .get(&client(&authority, Some(&foreign)), "/health")
        .await
        .unwrap_err();
    assert!(error.contains("refused the TLS handshake"), "{error}");
    let expired = authority.write(
        "late",
        &Holder {
            expired: true,
            ..named("alice")
        },
    );
    let error = node
        .get(&client(&authority, Some(&expired)), "/health")
        .await
        .unwrap_err();
    assert!(error.contains("refused the TLS handshake"), "{error}");
    node.concord.shutdown().await.unwrap();
}

/// Handshakes have tasks of their own and end in time; a stop does not wait for them.
#[tokio::test]
async fn silent_and_slow_handshakes_keep_nobody_waiting() {
    let authority = Authority::new();
    let mut http = HttpConfig::new("127.0.0.1:0").tls(server(&authority));
    http.header_timeout = Duration::from_millis(500);
    let node = Node::start_as(http).await;
    let address = node.concord.http_address().unwrap();
    let mut silent = Vec::new();
    for start in [&[][..], &[0x16], &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start).await.unwrap();
        silent.push(stream);
    }
    assert!(node.get(&client(&authority, None), "/health").await.is_ok());
    for stream in &mut silent {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection was left open");
    }
    let _waits = TcpStream::connect(address).await.unwrap();
    let stopped = tokio::time::timeout(PATIENCE, node.concord.shutdown()).await;
    stopped.expect("the stop waits for a handshake").unwrap();
}

#[tokio::test]
async fn tls_1_1_is_refused_by_an_alert() {
    let authority = Authority::new();
    let node = Node::start(server(&authority)).await;
    let mut stream = TcpStream::connect(node.concord.http_address().unwrap())
        .await
        .unwrap();
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.first(), answer.len()), (Some(&0x15), 7), "{answer:?}");
    node.concord.shutdown().await.unwrap();
}

#[tokio::test]
async fn new_certificates_are_taken_up_while_connections_stay_open() {
    let (old, new) = (Authority::new(), Authority::new());
    let settings = server(&old);
    let node = Node::start(settings.clone()).await;
    let early = client(&old, None);
    assert!(node.get(&early, "/health").await.is_ok());
    let expires = || node.concord.certificates().unwrap()[0].days_left;
    assert!(expires() > 30);
    // Half a set: nothing changes but the warnings.
    let (certificate, key) = new.sign(&Holder::default());
    std::fs::write(&settings.certificate, certificate).unwrap();
    eventually("half a set is told", async || {
        let warnings = node.concord.status().unwrap().warnings;
        let mut warnings = warnings.iter();
        warnings
            .any(|warning| warning.contains("http: new certificates are not used"))
            .then_some(())
    })
    .await;
    assert!(
        node.get(&client(&old, None), "/health").await.is_ok(),
        "the old one is in use"
    );
    std::fs::write(&settings.key, key).unwrap();
    let late = client(&new, None);
    eventually("the new one is in use", async || {
        node.get(&late, "/health").await.ok()
    })
    .await;
    let warnings = node.concord.status().unwrap().warnings;
    assert!(
        warnings.iter().all(|warning| !warning.contains("certificates")),
        "{warnings:?}"
    );
    // It would not trust the certificate that a new connection gets.
    assert!(
        node.get(&early, "/health").await.is_ok(),
        "its connection is open still"
    );
    assert!(node.get(&client(&old, None), "/health").await.is_err());
    node.concord.shutdown().await.unwrap();
}

#[tokio::test]
async fn expired_certificate_is_warned_of() {
    let authority = Authority::new();
    let settings = authority.write(
        "server",
        &Holder {
            expired: true,
            ..Holder::default()
        },
    );
    let node = Node::start(TlsSettings { ca: None, ..settings }).await;
    let warnings = node.concord.status().unwrap().warnings;
    assert!(
        warnings.contains(&"http: the certificate has expired".to_owned()),
        "{warnings:?}"
    );
    assert!(node.concord.certificates().unwrap()[0].days_left < 0);
    node.concord.shutdown().await.unwrap();
}

async fn peer(id: u64, tls: Option<TlsSettings>, member: Option<&Concord>) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let mut peers = PeerConfig::new("127.0.0.1:0", secret());
    peers.tls = tls;
    if let Some(member) = member {
        peers = peers.join(member.peer_address().unwrap());
    }
    let concord = Concord::open(Config::at(dir.path()).node_id(id).peers(peers))
        .await
        .unwrap();
    Node { concord, _dir: dir }
}

/// D-SEC-13: three nodes form a cluster through mutual TLS and replicate; a node without gets nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_sec_13_three_nodes_replicate_through_mutual_tls_and_others_stay_outside() {
    let authority = Authority::new();
    let certificate = |id| authority.write(&format!("node-{id}"), &Holder::node(id));
    let first = peer(1, Some(certificate(1)), None).await;
    let second = peer(2, Some(certificate(2)), Some(&first.concord)).await;
    let third = peer(3, Some(certificate(3)), Some(&first.concord)).await;
    for node in [&first, &second, &third] {
        node.concord.wait_until_ready(PATIENCE).await.unwrap();
    }
    let written = third.concord.put("k", "v").await.unwrap().revision;
    let read = second.concord.get("k").min_revision(written).await.unwrap();
    assert_eq!(read.as_ref().and_then(|entry| entry.text()), Some("v"));
    let plain = peer(4, None, Some(&first.concord)).await;
    let stranger = Authority::new();
    let foreign = stranger.write("node-5", &Holder::node(5));
    let foreign = peer(5, Some(foreign), Some(&first.concord)).await;
    for outside in [&plain, &foreign] {
        let refused = outside.concord.wait_until_ready(Duration::from_secs(2)).await;
        assert_eq!(refused.unwrap_err().code(), "not_ready");
    }
    assert_eq!(first.concord.status().unwrap().members.len(), 3);
    for node in [plain, foreign, third, second, first] {
        node.concord.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn certificate_of_another_node_or_a_missing_file_stops_the_start() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let tls = authority.write("node-3", &Holder::node(3));
    let config = |tls: TlsSettings| {
        let peers = PeerConfig::new("127.0.0.1:0", secret()).tls(tls);
        Config::at(dir.path()).node_id(2).peers(peers)
    };
    let error = Concord::open(config(tls.clone())).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config);
    assert!(
        error.to_string().contains("is of node 3, and this is node 2"),
        "{error}"
    );
    std::fs::remove_file(&tls.key).unwrap();
    let error = Concord::open(config(tls)).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains("`peers.tls.key` cannot be used: cannot read"),
        "{error}"
    );
}
