//! Clients that say who they are by a certificate.

use reqwest::StatusCode;

use super::*;

const ROOT: &str = crate::cluster::ROOT;

impl Node {
    /// With authentication, and certificates of this authority required of clients.
    async fn start_with_auth(authority: &Authority, by_certificate: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tls = server(authority).ca(authority.path("ca.pem"));
        let mut config = Config::at(dir.path())
            .http_config(HttpConfig::new("127.0.0.1:0").tls(tls))
            .with_auth()
            .root_token(concord_server::RootToken::Given(concord_server::Secret::new(
                ROOT,
            )));
        config.auth_by_certificate = by_certificate;
        let concord = Concord::open(config).await.unwrap();
        assert!(concord.root_token().await.is_none());
        Self { concord, _dir: dir }
    }
}

fn certified(authority: &Authority, holder: &Holder) -> reqwest::Client {
    let name = format!("client-{}", holder.common_name.unwrap_or("none"));
    client(authority, Some(&authority.write(&name, holder)))
}

fn named(name: &'static str) -> Holder {
    Holder {
        common_name: Some(name),
        ..Holder::default()
    }
}

/// Status and body of a read, with these headers.
async fn ask(node: &Node, client: &reqwest::Client, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = client.get(node.url("/api/v1/kv/k"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, answer.text().await.unwrap())
}

/// The common name of a verified certificate names a token; whatever is wrong with that gets the one answer.
#[tokio::test]
async fn a_certificate_stands_for_the_token_of_its_name() {
    let authority = Authority::new();
    let node = Node::start_with_auth(&authority, true).await;
    let db = &node.concord;
    db.put("k", "v").await.unwrap();
    db.create_token().name("ada").role("viewer").await.unwrap();
    db.create_token().name("bob").await.unwrap();
    db.create_token()
        .name("late")
        .role("admin")
        .ttl(Duration::from_millis(1))
        .await
        .unwrap();
    db.create_token().name("7").role("admin").await.unwrap();
    let ada = certified(&authority, &named("ada"));
    assert_eq!(ask(&node, &ada, &[]).await.0, StatusCode::OK);
    let put = ada
        .put(node.url("/api/v1/kv/k"))
        .json(&serde_json::json!({"value": 1}));
    assert_eq!(put.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let bob = certified(&authority, &named("bob"));
    assert_eq!(ask(&node, &bob, &[]).await.0, StatusCode::FORBIDDEN);

    // tidy-allow(sleep): the end of a token is a matter of time.
    tokio::time::sleep(Duration::from_millis(20)).await;
    // The certificate of a node is no client's, whatever it is called.
    let of_a_node = Holder {
        common_name: Some("7"),
        ..Holder::node(7)
    };
    let mut told = Vec::new();
    for holder in [
        named("nobody"),
        named("late"),
        named("two words"),
        Holder::default(),
        of_a_node,
    ] {
        let (status, body) = ask(&node, &certified(&authority, &holder), &[]).await;
        assert_eq!(
            status,
            StatusCode::UNAUTHORIZED,
            "{:?} {body}",
            holder.common_name
        );
        told.push(body);
    }
    db.revoke_token("ada").await.unwrap();
    // Over the connection that it had before.
    told.push(ask(&node, &ada, &[]).await.1);
    told.push(ask(&node, &ada, &[("authorization", "Bearer nonsense")]).await.1);
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    db.create_token().name("ada").role("editor").await.unwrap();
    assert_eq!(
        ask(&node, &ada, &[]).await.0,
        StatusCode::OK,
        "the name is somebody again"
    );
    node.concord.shutdown().await.unwrap();
}

/// A token wins over a certificate, also one that is no good; and no header makes anybody somebody (CVE-2024-51504 of
/// `ZooKeeper`, CVE-2018-16886 of etcd).
#[tokio::test]
async fn a_token_wins_over_a_certificate_and_headers_are_nobody() {
    let authority = Authority::new();
    let node = Node::start_with_auth(&authority, true).await;
    let db = &node.concord;
    db.create_token().name("ada").role("viewer").await.unwrap();
    let none = db.create_token().await.unwrap();
    let (ada, bare) = (
        certified(&authority, &named("ada")),
        certified(&authority, &Holder::default()),
    );
    let bearer = |token: &str| format!("Bearer {token}");
    let (root, none) = (bearer(ROOT), bearer(none.secret.expose()));
    let whoami = ada.get(node.url("/api/v1/whoami")).header("authorization", &root);
    let whoami = whoami.send().await.unwrap().text().await.unwrap();
    assert!(
        whoami.contains("token root") || whoami.contains("\"root\""),
        "{whoami}"
    );
    assert_eq!(
        ask(&node, &ada, &[("authorization", &none)]).await.0,
        StatusCode::FORBIDDEN
    );
    for wrong in ["Bearer sk_concord_", "Basic YWRhOmFkYQ==", "Bearer"] {
        let (status, _) = ask(&node, &ada, &[("authorization", wrong)]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let (status, _) = ask(&node, &ada, &[("x-api-key", "")]).await;
    assert_eq!(
        status,
        StatusCode::UNAUTHORIZED,
        "an empty token is one that is no good"
    );
    let told = ask(&node, &bare, &[]).await;
    for header in [
        "x-forwarded-for",
        "x-ssl-client-cn",
        "x-forwarded-client-cert",
        "remote-user",
        "x-client-dn",
    ] {
        assert_eq!(ask(&node, &bare, &[(header, "CN=ada")]).await, told, "{header}");
        assert_eq!(ask(&node, &bare, &[(header, "ada")]).await, told, "{header}");
    }
    assert_eq!(told.0, StatusCode::UNAUTHORIZED);
    node.concord.shutdown().await.unwrap();
}

/// Off unless somebody says so: a certificate opens the connection, and a token is needed all the same.
#[tokio::test]
async fn a_certificate_stands_for_nobody_unless_the_setting_says_so() {
    let authority = Authority::new();
    let node = Node::start_with_auth(&authority, false).await;
    let root = certified(&authority, &named("root"));
    assert_eq!(ask(&node, &root, &[]).await.0, StatusCode::UNAUTHORIZED);
    let bearer = format!("Bearer {ROOT}");
    let (status, _) = ask(&node, &root, &[("authorization", &bearer)]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    node.concord.shutdown().await.unwrap();
}

/// GHSA-3wh4-j44w-pg92 of etcd: a second listener checked less. The one for metrics has the same certificates, asks for the same, and for
/// the same tokens.
#[tokio::test]
async fn ghsa_3wh4_the_listener_for_metrics_is_no_laxer() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let tls = server(&authority).ca(authority.path("ca.pem"));
    let config = Config::at(dir.path())
        .http_config(HttpConfig::new("127.0.0.1:0").tls(tls))
        .metrics("127.0.0.1:0")
        .with_auth()
        .auth_by_certificate()
        .root_token(concord_server::RootToken::Given(concord_server::Secret::new(
            ROOT,
        )));
    let db = Concord::open(config).await.unwrap();
    assert!(db.root_token().await.is_none());
    db.create_token().name("scraper").role("viewer").await.unwrap();
    let (http, metrics) = (db.http_address().unwrap(), db.metrics_address().unwrap());
    let stranger = Authority::new();
    for port in [http.port(), metrics.port()] {
        let url = format!("https://localhost:{port}/metrics");
        let status =
            async |client: reqwest::Client| client.get(&url).send().await.map(|answer| answer.status());
        assert!(status(client(&authority, None)).await.is_err(), "no certificate");
        let foreign = stranger.write("scraper", &named("scraper"));
        assert!(
            status(client(&authority, Some(&foreign))).await.is_err(),
            "of another authority"
        );
        let nobody = status(certified(&authority, &named("nobody"))).await.unwrap();
        assert_eq!(nobody, StatusCode::UNAUTHORIZED);
        let known = status(certified(&authority, &named("scraper"))).await.unwrap();
        assert_eq!(known, StatusCode::OK);
        let plain = crate::http_client()
            .get(format!("http://127.0.0.1:{port}/metrics"))
            .send();
        assert!(plain.await.unwrap().status().is_client_error());
    }
    db.shutdown().await.unwrap();
}
