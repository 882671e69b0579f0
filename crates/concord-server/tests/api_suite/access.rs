//! Who may do what: every path, every kind of token, and what filtered reads show.

mod advisories;
pub(crate) mod paths;
mod races;
mod reads;

use std::time::Duration;

use concord_server::access::{Permission, Permissions};
use concord_server::{Concord, ErrorKind, LeaseId};

use crate::cluster::Cluster;
use crate::patience::eventually;

pub(crate) const READ: Permissions = Permissions::of(&[Permission::Read]);
pub(crate) const EDIT: Permissions =
    Permissions::of(&[Permission::Read, Permission::Write, Permission::Delete]);

/// A handle of a token with one role that allows everything but administration where the patterns match.
pub(crate) async fn confined(db: &Concord, role: &str, patterns: &[&str]) -> Concord {
    db.create_role(role, EDIT).await.unwrap();
    for pattern in patterns {
        db.set_acl(role, pattern, EDIT).await.unwrap();
    }
    let token = db.create_token().name(role).role(role).await.unwrap();
    db.as_principal(token.secret.expose())
}

/// D-SEC-2, D-SEC-3: without rights nothing is read, written or administered through the embedded handle.
#[tokio::test]
async fn a_token_may_do_what_its_roles_allow_and_nothing_else() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    db.put("a:1", "x").await.unwrap();
    db.put("b:1", "secret").await.unwrap();
    let a = confined(db, "team-a", &["a:*"]).await;

    assert_eq!(a.get("a:1").await.unwrap().as_ref().unwrap().text(), Some("x"));
    a.put("a:2", "y").await.unwrap();
    a.delete("a:2").await.unwrap();
    let refused = [
        a.get("b:1").await.map(drop).unwrap_err(),
        a.get("b:none").await.map(drop).unwrap_err(),
        a.exists("b:1").await.map(drop).unwrap_err(),
        a.ttl("b:1").await.map(drop).unwrap_err(),
        a.history("b:1").await.map(drop).unwrap_err(),
        a.get_many(["a:1", "b:1"]).await.map(drop).unwrap_err(),
        a.put("b:1", "z").await.map(drop).unwrap_err(),
        a.put_many([("a:1", "x"), ("b:1", "z")])
            .await
            .map(drop)
            .unwrap_err(),
        a.delete("b:1").await.map(drop).unwrap_err(),
        a.query().prefix("a:").explain().await.map(drop).unwrap_err(),
        a.query().delete_where().await.map(drop).unwrap_err(),
        a.compact(db.revision()).await.map(drop).unwrap_err(),
        a.settings().await.map(drop).unwrap_err(),
        a.indexes().await.map(drop).unwrap_err(),
        a.subscriptions().await.map(drop).unwrap_err(),
        a.consume("none").await.map(drop).unwrap_err(),
        a.watchers().map(drop).unwrap_err(),
        a.status().map(drop).unwrap_err(),
        a.statistics().map(drop).unwrap_err(),
        a.snapshot().await.map(drop).unwrap_err(),
        a.transfer_leadership(None).await.map(drop).unwrap_err(),
        a.add_learner("127.0.0.1:1").await.map(drop).unwrap_err(),
        a.tokens(None).await.map(drop).unwrap_err(),
        a.create_token().role("admin").await.map(drop).unwrap_err(),
        a.create_role("mine", EDIT).await.map(drop).unwrap_err(),
        a.set_acl("team-a", "*", EDIT).await.map(drop).unwrap_err(),
    ];
    for (place, error) in refused.iter().enumerate() {
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{place}: {error}");
        assert!(!error.to_string().contains("b:1"), "{error}");
    }
    // The same words, whether the key exists or not.
    assert_eq!(refused[0].to_string(), refused[1].to_string());
    assert_eq!(
        db.get("b:1").await.unwrap().as_ref().unwrap().text(),
        Some("secret")
    );
    cluster.stop().await;
}

/// One answer to everybody who may not come in.
#[tokio::test]
async fn unknown_revoked_expired_and_malformed_tokens_are_told_the_same() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let revoked = db.create_token().role("admin").await.unwrap();
    db.revoke_token(&revoked.id.to_string()).await.unwrap();
    let short = db
        .create_token()
        .role("admin")
        .ttl(Duration::from_millis(1))
        .await
        .unwrap();
    // tidy-allow(sleep): the end of a token is a matter of time.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let unknown = "sk_concord_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let mut told = Vec::new();
    for token in [
        revoked.secret.expose(),
        short.secret.expose(),
        unknown,
        "",
        "x",
        "sk_concord_",
    ] {
        let nobody = db.as_principal(token);
        for error in [
            nobody.get("k").await.map(drop).unwrap_err(),
            nobody.get("k").eventual().await.map(drop).unwrap_err(),
            nobody.put("k", "v").await.map(drop).unwrap_err(),
            nobody.watch().await.map(drop).unwrap_err(),
            nobody.whoami().await.map(drop).unwrap_err(),
            nobody.status().map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            told.push(format!("{error:?}"));
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!db.exists("k").await.unwrap().data);
    cluster.stop().await;
}

/// D-SEC-1: what was made on one node holds on every node at once, and after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_on_every_node_as_soon_as_it_is_made() {
    let cluster = Cluster::start(3).await;
    for round in 0..20 {
        let token = cluster
            .node(round % 3)
            .create_token()
            .role("editor")
            .await
            .unwrap();
        for node in 0..3 {
            let other = cluster.node(node).as_principal(token.secret.expose());
            other.get("k").eventual().await.unwrap();
            other.put("k", "v").await.unwrap();
        }
    }
    cluster.stop().await;
}

/// The day on which a token was last shown is known a little later, on every node, without the policy moving on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_day_of_a_token_is_noted_and_changes_no_rights() {
    let cluster = Cluster::start(3).await;
    let db = cluster.node(0);
    let shown = db.create_token().name("shown").role("viewer").await.unwrap();
    db.create_token().name("idle").role("viewer").await.unwrap();
    let reader = cluster.node(1).as_principal(shown.secret.expose());
    let mut watcher = reader.watch().await.unwrap();
    let revision = db.revision();
    reader.get("k").await.unwrap();
    eventually("it is noted", async || {
        db.token("shown").await.unwrap().last_used_day
    })
    .await;
    let days = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    for node in 0..3 {
        let listed = cluster.node(node).tokens(None).await.unwrap();
        let day_of = |name: &str| {
            let is_wanted = |token: &&concord_server::access::TokenInfo| {
                token.name.as_ref().is_some_and(|found| found.as_str() == name)
            };
            listed.iter().find(is_wanted).unwrap().last_used_day
        };
        let day = u64::from(day_of("shown").unwrap());
        assert!(day == days || day + 1 == days, "{day} beside {days}");
        assert_eq!(day_of("idle"), None);
    }
    assert_eq!(db.revision(), revision, "no revision is taken for it");
    db.put("k", "v").await.unwrap();
    assert!(watcher.next().await.unwrap().is_ok(), "the watch goes on");
    db.revoke_token("shown").await.unwrap();
    assert_eq!(reader.get("k").await.unwrap_err().kind(), ErrorKind::Unauthorized);
    cluster.stop().await;
}

/// D-SEC-4, D-SEC-5, D-SEC-7: rights add up over roles, and what is taken away is gone.
#[tokio::test]
async fn taking_roles_away_never_gives_more() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let token = db.create_token().name("t").role("editor").await.unwrap();
    let t = db.as_principal(token.secret.expose());
    t.put("a", "1").await.unwrap();
    db.take_role("t", "editor").await.unwrap();
    assert_eq!(t.get("a").await.unwrap_err().kind(), ErrorKind::Forbidden);
    db.create_role("r", EDIT).await.unwrap();
    db.set_acl("r", "a*", READ).await.unwrap();
    db.grant_role("t", "r").await.unwrap();
    db.grant_role("t", "viewer").await.unwrap();
    // The ACL of one role takes nothing from another.
    assert!(t.can_i(Permission::Read, "b").await.unwrap());
    assert!(!t.can_i(Permission::Write, "a").await.unwrap());
    db.delete_role("r").await.unwrap();
    db.create_role("r", EDIT).await.unwrap();
    assert_eq!(t.put("a", "2").await.unwrap_err().kind(), ErrorKind::Forbidden);
    let why = db.explain_access("t", "a").await.unwrap();
    assert_eq!(why.permissions, READ);
    assert_eq!(t.whoami().await.unwrap().principal, "token t");
    cluster.stop().await;
}

/// Whoever is confined has leases of their own, so that locks and elections work, and no others.
#[tokio::test]
async fn a_confined_token_uses_its_own_leases_and_sees_no_others() {
    let cluster = Cluster::start(1).await;
    let db = cluster.node(0);
    let a = confined(db, "team-a", &["a:*", "lock:a*"]).await;
    let foreign = db.lease_grant(Duration::from_secs(60)).await.unwrap();
    db.put("b:1", "x").lease(foreign.id).await.unwrap();
    let own = a.lease_grant(Duration::from_secs(60)).await.unwrap();
    a.put("a:1", "x").lease(own.id).await.unwrap();
    // The embedder hangs a key on it that its owner may not see.
    db.put("b:2", "x").lease(own.id).await.unwrap();
    let ids: Vec<_> = a
        .leases()
        .await
        .unwrap()
        .data
        .iter()
        .map(|(lease, keys)| (lease.id, *keys))
        .collect();
    assert_eq!(ids, [(own.id, 1)]);
    let info = a.lease_info(own.id).await.unwrap().into_inner();
    assert_eq!(
        info.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a:1"]
    );
    for error in [
        a.lease_info(foreign.id).await.map(drop).unwrap_err(),
        a.lease_keep_alive(foreign.id).await.map(drop).unwrap_err(),
        a.lease_revoke(foreign.id).await.map(drop).unwrap_err(),
        a.put("a:2", "x").lease(foreign.id).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error}");
    }
    a.lease_keep_alive(own.id).await.unwrap();
    let guard = a.lock("a").acquire().await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
    a.lease_revoke(own.id).await.unwrap();
    cluster.stop().await;
}

/// A lock that is released ends its lease, but not where a key hangs on it that its holder may not see.
#[tokio::test]
async fn a_release_ends_no_lease_that_carries_a_key_unseen() {
    let cluster = Cluster::start_with_auth(1).await;
    let url = &cluster.url(0);
    let db = cluster.node(0).as_principal(super::cluster::ROOT);
    drop(confined(&db, "team-a", &["lock:a*"]).await);
    let token = db.rotate_token("team-a", Duration::ZERO).await.unwrap();
    for (name, carries) in [("a1", false), ("a2", true)] {
        let ask = async |method, target: String| {
            let reply = paths::ask(url, token.secret.expose(), method, &target, "{}").await;
            assert_eq!(reply.status, 200, "{target}: {}", reply.code());
            reply.json()["data"].clone()
        };
        let held = ask("POST", format!("/locks/{name}")).await;
        let lease = LeaseId::new(held["lease"].as_u64().unwrap());
        if carries {
            db.put("b:1", "x").lease(lease).await.unwrap();
        }
        ask("DELETE", format!("/locks/{name}?lease={}", lease.get())).await;
        assert_eq!(db.lease_info(lease).await.is_ok(), carries, "{name}");
        assert_eq!(db.exists("b:1").await.unwrap().into_inner(), carries, "{name}");
    }
    cluster.stop().await;
}

/// The first start makes the root token once, and says it once.
#[tokio::test]
async fn the_first_start_makes_a_root_token_once() {
    use concord_server::Config;
    let dir = tempfile::tempdir().unwrap();
    let db = Concord::open(Config::at(dir.path()).with_auth()).await.unwrap();
    let secret = db.root_token().await.expect("it is made now");
    assert!(db.root_token().await.is_none(), "it is given once");
    let root = db.as_principal(secret.expose());
    assert_eq!(root.whoami().await.unwrap().everywhere, Permissions::ALL);
    db.shutdown().await.unwrap();
    let db = Concord::open(Config::at(dir.path()).with_auth()).await.unwrap();
    assert!(db.root_token().await.is_none(), "there are tokens already");
    assert!(db.as_principal(secret.expose()).put("k", "v").await.is_ok());
    db.shutdown().await.unwrap();
}

/// A node is ready when somebody can be let in, and not before.
#[tokio::test]
async fn a_node_that_is_ready_knows_its_first_token() {
    use concord_server::{Config, RootToken, Secret};
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let given = RootToken::Given(Secret::new(super::cluster::ROOT));
        let config = Config::at(dir.path()).with_auth().root_token(given);
        let db = Concord::open(config).await.unwrap();
        db.wait_until_ready(Duration::from_secs(30)).await.unwrap();
        assert!(db.as_principal(super::cluster::ROOT).whoami().await.is_ok());
        db.shutdown().await.unwrap();
    }
}

/// A file for the root token is written for its owner alone, before the token is made, and read again.
#[tokio::test]
async fn the_root_token_can_come_from_a_file() {
    use concord_server::{Config, RootToken};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root");
    let config = || {
        let file = RootToken::File(path.clone());
        Config::at(dir.path().join("data")).with_auth().root_token(file)
    };
    let db = Concord::open(config()).await.unwrap();
    assert!(db.root_token().await.is_none(), "it is in the file, and not told");
    let text = std::fs::read_to_string(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(db.as_principal(text.trim_end()).whoami().await.is_ok());
    db.shutdown().await.unwrap();
    std::fs::write(&path, "nonsense").unwrap();
    let error = Concord::open(config()).await.unwrap_err().to_string();
    assert!(
        error.contains("root_token_file") && !error.contains("nonsense"),
        "{error}"
    );
}
