//! Peers behind TLS: who gets in, who does not, and what each side is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_net::tls::{Reloaded, Tls, TlsPurpose, TlsSettings};
use concord_net::{NetConfig, RefusalReason, TcpTransport};
use concord_raft::ports::{Lane, PeerIdentity, Transport, TransportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls;

use crate::certificates::{Authority, Holder};
use crate::support::{self, Node, PATIENCE, config, identity, secret, wait_until};

fn transport(id: u64, tls: Arc<Tls>) -> TcpTransport {
    TcpTransport::secured(Arc::new(move || identity(id)), secret(1), config(), tls)
}

async fn ask(transport: &TcpTransport, node: &Node) -> Result<Bytes, TransportError> {
    transport
        .call(&node.peer(), Lane::Control, Bytes::from("x"), PATIENCE)
        .await
}

/// What a dialer is told that does not get in.
async fn reason_of(transport: &TcpTransport, node: &Node) -> String {
    match ask(transport, node).await {
        Err(TransportError::Unreachable { reason, .. } | TransportError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_of_one_authority_talk_on_every_lane() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let transport = transport(1, authority.peer(1));
    for lane in [Lane::Control, Lane::Append, Lane::Forward] {
        let big = Bytes::from(vec![7; 3 << 20]);
        let answer = transport
            .call(&node.peer(), lane, big.clone(), PATIENCE)
            .await
            .unwrap();
        assert_eq!(answer, big);
    }
    let mut stream = transport.open(&node.peer(), Lane::Snapshot).await.unwrap();
    for _ in 0..10 {
        stream.sender.send(Bytes::from(vec![1; 100_000])).await.unwrap();
    }
    drop(stream.sender);
    assert_eq!(stream.receiver.recv().await.unwrap(), "1000000 bytes");
    assert_eq!(node.serving.stats().refused(RefusalReason::Tls), 0);
}

/// D-SEC-13: whoever listens on the path reads nothing, neither the hello nor what follows.
#[tokio::test]
async fn d_sec_13_traffic_between_nodes_is_encrypted() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let tap = Tap::start(node.serving.local_addr()).await;
    let transport = transport(1, authority.peer(1));
    let mut peer = node.peer();
    peer.address.clone_from(&tap.address);
    let secret = Bytes::from("what nobody but the two may read");
    let answer = transport
        .call(&peer, Lane::Control, secret.clone(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(answer, secret);
    let seen = tap.seen.lock().clone();
    assert!(seen.len() > 1000, "{} bytes were seen", seen.len());
    for clear in [secret.as_ref(), b"CONCORD".as_slice()] {
        assert!(!seen.windows(clear.len()).any(|window| window == clear));
    }
}

/// D-SEC-13: the cluster secret alone, as whoever has the file of one node has it, is not enough.
#[tokio::test]
async fn d_sec_13_node_of_another_authority_is_refused_though_it_has_the_secret() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let node = Node::start_secured(2, ours.peer(2)).await;
    // It trusts our authority, so that it is our side that refuses.
    let settings = theirs.write("peer", &Holder::node(1)).ca(ours.path("ca.pem"));
    let stranger = Arc::new(Tls::open(TlsPurpose::Peers, settings).unwrap());
    let reason = reason_of(&transport(1, stranger), &node).await;
    assert!(reason.contains("its log says why"), "{reason}");
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) >= 1).await;
    assert!(node.engine.seen.lock().is_empty());
    // And the other way round: whoever answers must be of our authority.
    let reason = reason_of(&transport(1, theirs.peer(1)), &node).await;
    assert!(reason.contains("certificate is not accepted"), "{reason}");
}

#[tokio::test]
async fn certificate_of_another_node_is_refused_on_both_sides() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let reason = reason_of(&transport(1, authority.peer(3)), &node).await;
    assert_eq!(
        reason, "the certificate is not accepted",
        "the log says more than the wire"
    );
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
    let impostor = Node::start_secured(2, authority.peer(3)).await;
    let reason = reason_of(&transport(1, authority.peer(1)), &impostor).await;
    assert!(
        reason.contains("names node 3, it says that it is node 2"),
        "{reason}"
    );
    assert!(impostor.engine.seen.lock().is_empty(), "nothing was sent to it");
}

#[tokio::test]
async fn certificate_for_another_cluster_is_refused() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let holder = |cluster: u128| Holder {
        uris: vec![
            "concord://node/1".to_owned(),
            format!("concord://cluster/{cluster:032x}"),
        ],
        ..Holder::default()
    };
    assert!(
        ask(&transport(1, authority.peer_as(&holder(7))), &node)
            .await
            .is_ok()
    );
    let reason = reason_of(&transport(1, authority.peer_as(&holder(8))), &node).await;
    assert_eq!(reason, "the certificate is not accepted");
}

/// A client's certificate is of the same authority, and opens no door for nodes.
#[tokio::test]
async fn client_certificate_is_no_nodes() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let client = authority.write(
        "client",
        &Holder {
            common_name: Some("concord://node/1"),
            ..Holder::default()
        },
    );
    let error = Tls::open(TlsPurpose::Peers, client.clone()).unwrap_err();
    assert!(error.to_string().contains("names no node"), "{error}");
    // By hand, as our own code does not even try.
    let mut stream = by_hand(&node, Some(&client)).await.unwrap();
    let mut byte = [0];
    let error = stream.read(&mut byte).await.unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
}

#[tokio::test]
async fn dialer_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let mut stream = by_hand(&node, None).await.unwrap();
    let mut byte = [0];
    let error = stream.read(&mut byte).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
}

#[tokio::test]
async fn expired_certificate_is_refused_on_both_sides() {
    let authority = Authority::new();
    let expired = |id| Holder {
        expired: true,
        ..Holder::node(id)
    };
    let node = Node::start_secured(2, authority.peer(2)).await;
    reason_of(&transport(1, authority.peer_as(&expired(1))), &node).await;
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
    let late = Node::start_secured(3, authority.peer_as(&expired(3))).await;
    let reason = reason_of(&transport(1, authority.peer(1)), &late).await;
    assert!(reason.contains("expired"), "{reason}");
}

#[tokio::test]
async fn plaintext_dialer_and_tls_listener_both_say_so() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let reason = reason_of(&support::transport(1, 1), &node).await;
    assert_eq!(reason, "the other side uses TLS and this node does not");
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
}

#[tokio::test]
async fn tls_dialer_and_plaintext_listener_both_say_so() {
    let authority = Authority::new();
    let node = Node::start(2).await;
    let reason = reason_of(&transport(1, authority.peer(1)), &node).await;
    assert!(
        reason.contains("may not use TLS") || reason.contains("does not use TLS"),
        "{reason}"
    );
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
}

#[tokio::test]
async fn slow_handshake_is_dropped_at_its_deadline() {
    let authority = Authority::new();
    let brief = NetConfig {
        handshake_timeout: Duration::from_millis(100),
        ..config()
    };
    let node = Node::start_secured_with(2, authority.peer(2), brief).await;
    let mut stream = TcpStream::connect(node.serving.local_addr()).await.unwrap();
    // The head of a record that promises more.
    stream.write_all(&[0x16, 3, 1, 1, 0]).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection was left open");
    wait_until(|| node.serving.stats().open == 0).await;
    assert_eq!(node.serving.stats().refused(RefusalReason::Tls), 1);
}

/// A handshake message that says it has 16 MiB, and keeps coming: it is refused by what it says, not gathered.
#[tokio::test]
async fn huge_handshake_is_refused_early() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let mut stream = TcpStream::connect(node.serving.local_addr()).await.unwrap();
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    let mut sent = 0;
    while stream.write_all(&record).await.is_ok() {
        sent += record.len();
        assert!(sent < 8 << 20, "{sent} bytes were taken");
    }
    wait_until(|| node.serving.stats().refused(RefusalReason::Tls) == 1).await;
    wait_until(|| node.serving.stats().open == 0).await;
}

/// Connections that say nothing take every unproven place; an honest peer gets in all the same.
#[tokio::test]
async fn flood_of_silent_connections_locks_no_tls_peer_out() {
    let authority = Authority::new();
    let few = NetConfig {
        unproven_max: 8,
        ..config()
    };
    let node = Node::start_secured_with(2, authority.peer(2), few).await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(TcpStream::connect(node.serving.local_addr()).await.unwrap());
    }
    assert!(ask(&transport(1, authority.peer(1)), &node).await.is_ok());
    wait_until(|| node.serving.stats().open <= 9).await;
}

#[tokio::test]
async fn older_versions_of_tls_are_refused() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let mut stream = TcpStream::connect(node.serving.local_addr()).await.unwrap();
    // A hello of TLS 1.1 with one cipher suite.
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
    assert_eq!(answer.len(), 7);
    let error = by_hand_in(&node, None, &[&rustls::version::TLS12])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

/// Connections stay open across a reload; later ones get the new certificate and are judged by the new authority.
#[tokio::test]
async fn reload_changes_new_connections_and_keeps_those_that_are_open() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = old.peer(2);
    let node = Node::start_secured(2, Arc::clone(&tls)).await;
    let early = transport(1, old.peer(1));
    ask(&early, &node).await.unwrap();
    let (certificate, key) = new.sign(&Holder::node(2));
    std::fs::write(&tls.settings().certificate, certificate).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(
        error.to_string().contains("not the key of the certificate"),
        "{error}"
    );
    assert!(tls.status().problem.is_some());
    assert!(
        ask(&transport(1, old.peer(1)), &node).await.is_ok(),
        "the old one is still in use"
    );
    std::fs::write(&tls.settings().key, key).unwrap();
    std::fs::write(old.path("ca.pem"), &new.certificate).unwrap();
    assert_eq!(tls.reload().unwrap(), Reloaded::Changed);
    assert_eq!(tls.reload().unwrap(), Reloaded::Unchanged);
    assert_eq!(tls.status().problem, None);
    ask(&early, &node).await.unwrap();
    assert_eq!(early.stats().established, 1, "on the same connection");
    assert!(ask(&transport(1, new.peer(1)), &node).await.is_ok());
}

#[tokio::test]
async fn reload_never_turns_a_node_into_another() {
    let authority = Authority::new();
    let settings = authority.write("two", &Holder::node(2));
    let tls = Tls::open(TlsPurpose::Peers, settings).unwrap();
    authority.write("two", &Holder::node(3));
    let error = tls.reload().unwrap_err();
    assert!(error.to_string().contains("another node"), "{error}");
    authority.write("two", &Holder::node(2));
    assert_eq!(tls.reload().unwrap(), Reloaded::Changed);
}

/// Whether a node that proves the secret and holds a certificate is admitted is still the engine's to say.
#[tokio::test]
async fn admission_is_judged_inside_tls_too() {
    let authority = Authority::new();
    let node = Node::start_secured(2, authority.peer(2)).await;
    let foreign = move || PeerIdentity {
        cluster_id: Some(8),
        ..identity(1)
    };
    let transport = TcpTransport::secured(Arc::new(foreign), secret(1), config(), authority.peer(1));
    assert_eq!(reason_of(&transport, &node).await, "node 1 is of another cluster");
    let wrong = TcpTransport::secured(Arc::new(|| identity(1)), secret(9), config(), authority.peer(1));
    assert!(reason_of(&wrong, &node).await.contains("secrets differ"));
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// A handshake without any of our checks.
async fn by_hand(node: &Node, shown: Option<&TlsSettings>) -> std::io::Result<Stream> {
    by_hand_in(node, shown, rustls::ALL_VERSIONS).await
}

async fn by_hand_in(
    node: &Node,
    shown: Option<&TlsSettings>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<Stream> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let settings = node.tls.as_ref().unwrap().settings();
    let ca = CertificateDer::from_pem_file(settings.ca.as_ref().unwrap()).unwrap();
    roots.add(ca).unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match shown {
        Some(shown) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&shown.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&shown.key).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(node.serving.local_addr()).await.unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
}

/// Passes on what two sides say, and keeps a copy.
struct Tap {
    address: String,
    seen: Arc<parking_lot::Mutex<Vec<u8>>>,
}

impl Tap {
    async fn start(target: std::net::SocketAddr) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let seen = Arc::new(parking_lot::Mutex::default());
        let copy = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((here, _)) = socket.accept().await {
                let there = TcpStream::connect(target).await.unwrap();
                let (from_dialer, to_dialer) = here.into_split();
                let (from_node, to_node) = there.into_split();
                tokio::spawn(pass(from_dialer, to_node, Arc::clone(&copy)));
                tokio::spawn(pass(from_node, to_dialer, Arc::clone(&copy)));
            }
        });
        Self { address, seen }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    seen: Arc<parking_lot::Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        seen.lock().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
