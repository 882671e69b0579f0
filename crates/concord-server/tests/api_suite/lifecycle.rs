//! Opening, restarting, stopping; readiness; what happens when a directory cannot be used.

use std::time::Duration;

use concord_server::{Concord, Config, OpenError, OpenErrorKind, PeerConfig, Readiness};
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, secret};
use crate::wire::send;

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path()).node_id(7)).await.unwrap();
    let id = db.node_id();
    for number in 0..100 {
        db.put(format!("key:{number:03}"), number.to_string())
            .await
            .unwrap();
    }
    let last = db
        .put("timed", "x")
        .ttl(Duration::from_secs(3_600))
        .await
        .unwrap()
        .revision;
    db.shutdown().await.unwrap();
    assert_eq!(db.put("late", "x").await.unwrap_err().code(), "shutting_down");
    db.shutdown().await.unwrap();
    drop(db);

    let db = Concord::open(Config::at(dir.path())).await.unwrap();
    assert_eq!((db.node_id(), db.revision()), (id, last));
    let records: Vec<_> = db
        .scan()
        .prefix("key:")
        .limit(7)
        .records()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(records.len(), 100);
    assert_eq!(records[42].value.as_text(), Some("42"));
    assert!(db.ttl("timed").await.unwrap().unwrap().duration().is_some());
    assert_eq!(db.put("next", "x").await.unwrap().revision, last.next());
    db.shutdown().await.unwrap();
}

#[tokio::test]
async fn two_nodes_of_one_process_share_nothing() {
    let (first, second) = (Cluster::start(1).await, Cluster::start(1).await);
    first.node(0).put("k", "1").await.unwrap();
    assert!(second.node(0).get("k").await.unwrap().is_none());
    assert_ne!(first.node(0).node_id(), second.node(0).node_id());
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn directories_that_cannot_be_used_are_refused_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path()).node_id(1)).await.unwrap();
    let in_use = Concord::open(Config::at(dir.path())).await.unwrap_err();
    assert_eq!(in_use.kind(), OpenErrorKind::InUse, "{in_use}");
    db.shutdown().await.unwrap();
    drop(db);

    let other = Concord::open(Config::at(dir.path()).node_id(2))
        .await
        .unwrap_err();
    assert_eq!(other.kind(), OpenErrorKind::Refused, "{other}");

    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let no_directory = Concord::open(Config::at(file.join("below"))).await.unwrap_err();
    assert_eq!(
        no_directory.kind(),
        OpenErrorKind::StorageFailed,
        "{no_directory}"
    );

    let identity = dir.path().join("identity");
    let mut bytes = std::fs::read(&identity).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&identity, &bytes).unwrap();
    let corrupt = Concord::open(Config::at(dir.path())).await.unwrap_err();
    assert_eq!(corrupt.kind(), OpenErrorKind::Corrupt, "{corrupt}");
    assert!(corrupt.to_string().contains("identity"), "{corrupt}");
}

#[tokio::test]
async fn an_address_in_use_is_named_and_the_directory_given_back() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let refused = Concord::open(Config::at(dir.path()).http(&address))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, OpenError::Listen { address: found, .. } if *found == address),
        "{refused}"
    );
    let peers = PeerConfig::new(&address, secret());
    let refused = Concord::open(Config::at(dir.path()).peers(peers))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), OpenErrorKind::Address, "{refused}");
    Concord::open(Config::at(dir.path()))
        .await
        .unwrap()
        .shutdown()
        .await
        .unwrap();
}

/// D-HTTP-3, D-HTTP-6: readiness says what is missing, and a read that cannot be answered does not say that the key is absent.
#[tokio::test]
async fn a_node_without_its_cluster_is_alive_but_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there: the port was free a moment ago and is ours to give back.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let config = Config::at(dir.path())
        .http("127.0.0.1:0")
        .request_timeout(Duration::from_millis(100))
        .peers(PeerConfig::new("127.0.0.1:0", secret()).join(nobody));
    let db = Concord::open(config).await.unwrap();
    let url = format!("http://{}", db.http_address().unwrap());
    assert!(matches!(db.readiness(), Readiness::NotReady { .. }));
    for path in ["/health", "/api/v1/health"] {
        assert_eq!(send(&url, "GET", path, "", b"").await.status, 200);
    }
    for path in ["/ready", "/api/v1/ready"] {
        let reply = send(&url, "GET", path, "", b"").await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready"));
        assert!(
            reply.json()["error"]["details"]["reason"]
                .as_str()
                .unwrap()
                .contains("no cluster"),
            "{:?}",
            reply.json()
        );
        assert!(reply.header("retry-after").is_some());
    }
    let read = send(&url, "GET", "/api/v1/kv/k", "", b"").await;
    assert_eq!((read.status, read.code().as_str()), (503, "not_ready"));
    let message = read.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        !message.contains("not found") && !message.contains("no such key"),
        "{message}"
    );
    let write = send(&url, "PUT", "/api/v1/kv/k", "content-type: text/plain", b"x").await;
    assert_eq!((write.status, write.code().as_str()), (503, "no_quorum"));
    assert_eq!(
        send(&url, "GET", "/api/v1/status", "", b"").await.json()["data"]["ready"],
        false
    );
    db.shutdown().await.unwrap();
}

/// A request whose body is still on its way when the stop begins is answered all the same.
#[tokio::test]
async fn a_stopped_listener_lets_its_requests_finish() {
    let cluster = Cluster::start(1).await;
    let host = cluster.url(0)[7..].to_owned();
    let mut stream = TcpStream::connect(&host).await.unwrap();
    let head = format!(
        "PUT /api/v1/kv/k HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server says this when the handler asks for the body.
    let mut started = [0; 25];
    stream.read_exact(&mut started).await.unwrap();
    assert_eq!(&started, b"HTTP/1.1 100 Continue\r\n\r\n");

    let db = cluster.node(0).clone();
    let stopping = tokio::spawn(async move { db.shutdown().await });
    while TcpStream::connect(&host).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"x").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    stopping.await.unwrap().unwrap();
}

#[tokio::test]
async fn typed_documents_read_back() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Flag {
        name: String,
        share: f64,
        ids: Vec<u64>,
    }
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let flag = Flag {
        name: "é".to_owned(),
        share: 0.1,
        ids: vec![u64::MAX, 0],
    };
    db.put_doc("flag", &flag)
        .ttl(Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(db.get_doc::<Flag>("flag").await.unwrap().into_inner(), Some(flag));
    assert_eq!(
        db.get_doc::<Flag>("none").eventual().await.unwrap().into_inner(),
        None
    );
    assert_eq!(
        db.get_doc::<u64>("flag").await.unwrap_err().code(),
        "invalid_value"
    );
    db.put("text", "x").await.unwrap();
    assert_eq!(
        db.get_doc::<String>("text").await.unwrap_err().code(),
        "invalid_value"
    );
    assert_eq!(
        db.put_doc("wide", &u128::MAX).await.unwrap_err().code(),
        "invalid_value"
    );
    let left = db
        .get("flag")
        .await
        .unwrap()
        .remaining()
        .and_then(|left| left.duration())
        .unwrap();
    assert!(left <= Duration::from_secs(60), "{left:?}");
    cluster.stop().await;
}

/// Who only drops the handle gets the directory back, if not at once.
#[tokio::test]
async fn a_dropped_node_gives_its_directory_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path())).await.unwrap();
    db.put("k", "v").await.unwrap();
    drop(db);
    let reopened = async {
        loop {
            match Concord::open(Config::at(dir.path())).await {
                Ok(db) => return db,
                Err(error) => assert_eq!(error.kind(), OpenErrorKind::InUse, "{error}"),
            }
        }
    };
    let db = tokio::time::timeout(Duration::from_secs(30), reopened)
        .await
        .unwrap();
    assert_eq!(
        db.get("k").await.unwrap().as_ref().and_then(|entry| entry.text()),
        Some("v")
    );
    db.shutdown().await.unwrap();
}
