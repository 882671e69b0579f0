//! Tenants in a real store: through its commands, by its view.

use concord_core::{
    Batch, Command, Group, Key, LogIndex, Machine, Meta, PolicyEdit, ReadView, Rejection, Reply, SessionId,
    Store, Term, Value, invariants,
};
use zeroize::Zeroizing;

use super::*;
use crate::policy::{Lifetime, NewToken};
use crate::token::{ENTROPY_BYTES, Secret, TokenId};
use crate::{Permission, Permissions, Principal, authorize};

const ALL_KEYS: Permissions = Permissions::of(&[Permission::Read, Permission::Write, Permission::Delete]);

/// A store behind a log of its own.
struct Log {
    store: Store,
    index: u64,
    now: u64,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            store: Store::empty(),
            index: 0,
            now: 1_000,
        };
        log.apply(true, Vec::new());
        log
    }

    fn apply(&mut self, opens: bool, requests: Vec<bytes::Bytes>) -> Vec<Reply> {
        self.index += 1;
        let group = Group {
            session: SessionId::new(1),
            opens,
            acked_below: 1,
            first_sequence: self.index * 100,
            requests,
        };
        let meta = Meta {
            index: LogIndex::new(self.index),
            term: Term::new(1),
        };
        let batch = Batch {
            proposed_at: Timestamp::new(self.now),
            groups: vec![group],
        };
        let replies = self.store.apply(meta, &batch);
        assert_eq!(invariants::check(&self.store), Ok(()));
        replies
    }

    fn run(&mut self, command: &Command) -> Reply {
        self.apply(false, vec![command.to_bytes()]).pop().unwrap()
    }

    fn view(&self) -> ReadView {
        self.store.view()
    }

    fn change(
        &mut self,
        change: impl FnOnce(&Policy<&ReadView>) -> Result<PolicyChange, PolicyError>,
    ) -> Result<(), PolicyError> {
        let view = self.view();
        let change = change(&Policy::of(&view))?;
        let reply = self.run(&Command::EditPolicy(change));
        assert!(matches!(reply, Reply::PolicyEdited { .. }), "{reply:?}");
        Ok(())
    }

    fn edit(&mut self, edits: impl FnOnce(&Policy<&ReadView>) -> Result<Vec<PolicyEdit>, PolicyError>) {
        self.change(|policy| Ok(PolicyChange::new(policy.revision(), edits(policy)?)))
            .unwrap();
    }

    fn create(&mut self, text: &str, quota: NamespaceQuota) -> Result<(), PolicyError> {
        let new = NewTenant {
            id: id(text),
            name: None,
            quota,
            now: Timestamp::new(self.now),
        };
        self.change(|policy| policy.create_tenant(&new))
    }

    fn token(&mut self, byte: u8, permissions: Permissions, roles: &[&str]) -> TokenId {
        let new = NewToken {
            hash: secret(byte).hash(),
            name: None,
            lifetime: Lifetime {
                now: Timestamp::new(self.now),
                expires_at: None,
            },
            permissions,
            roles: roles.iter().map(|role| Name::new(*role).unwrap()).collect(),
        };
        self.edit(|policy| policy.create_token(&new));
        new.hash.id()
    }

    fn who(&self, byte: u8) -> Principal {
        let view = self.view();
        Policy::of(&view).authenticate(&secret(byte), view.now()).unwrap()
    }

    /// A put by a token, as the service makes it: judged, then guarded.
    fn put_by(&mut self, byte: u8, key: &str) -> Reply {
        let principal = self.who(byte);
        let command = authorize(&principal, put(key)).unwrap().into_request();
        let guard = principal.guard(self.view().policy_revision()).unwrap();
        let command = Box::new(command);
        self.run(&Command::Guarded { guard, command })
    }
}

fn id(text: &str) -> TenantId {
    TenantId::new(text).unwrap()
}

fn secret(byte: u8) -> Secret {
    Secret::from_entropy(&Zeroizing::new([byte; ENTROPY_BYTES]))
}

fn put(key: &str) -> Command {
    Command::Put {
        key: Key::try_from(key).unwrap(),
        value: Value::binary("v").into(),
        lifetime: concord_core::Lifetime::Forever,
        condition: None,
        return_previous: false,
    }
}

fn quota(max_keys: u64) -> NamespaceQuota {
    NamespaceQuota {
        max_keys: Some(max_keys),
        ..NamespaceQuota::UNLIMITED
    }
}

#[test]
fn ids_are_names_that_nobody_else_uses() {
    for text in ["a", "acme", "7", "a_b.c@d", &"x".repeat(TENANT_ID_BYTES_MAX)] {
        let id = id(text);
        assert_eq!(id.as_str(), text);
        assert_eq!(TenantId::of_role(id.role()), Some(id.clone()));
        let key = format!("{text}:k:2");
        assert_eq!(concord_core::key::namespace_of(key.as_bytes()), id.namespace());
    }
    for text in ["", "a:b", "a*", "_a", "a b", "ä"] {
        let refused = TenantId::new(text);
        assert!(matches!(refused, Err(InvalidTenantId::Name(_))), "{text}");
    }
    assert!(matches!(
        TenantId::new("x".repeat(TENANT_ID_BYTES_MAX + 1)),
        Err(InvalidTenantId::TooLong { size_bytes: 122 })
    ));
    for text in RESERVED_TENANT_IDS {
        assert!(matches!(
            TenantId::new(text),
            Err(InvalidTenantId::Reserved { .. })
        ));
    }
    assert_eq!(TenantId::of_role(&Name::new("editor").unwrap()), None);
}

/// D-SEC-9: all of a tenant comes by one command, and goes by one; a token loses nothing else.
#[test]
fn a_tenant_comes_and_goes_as_a_whole() {
    let mut log = Log::new();
    log.create("acme", quota(2)).unwrap();
    let revision = log.view().policy_revision();
    assert_eq!(revision, 1, "one command");
    let view = log.view();
    let role = Policy::of(&view).role(id("acme").role()).unwrap();
    assert_eq!(role.permissions, ALL_KEYS);
    assert_eq!(role.acls, [(Pattern::new("acme:*").unwrap(), ALL_KEYS)]);
    assert_eq!(view.namespace(b"acme").quota, quota(2));
    let info = Policy::of(&view).tenant(&id("acme")).unwrap();
    assert_eq!(
        (info.name.as_str(), info.created_at),
        ("acme", Timestamp::new(1_000))
    );
    assert!(matches!(
        log.create("acme", quota(9)),
        Err(PolicyError::Exists { .. })
    ));

    let token = log.token(1, Permissions::NONE, &["tenant_acme", "viewer"]);
    assert_eq!(log.who(1).tenant(), Some(&b"acme"[..]));
    assert_eq!(log.who(1).rights().at(b"acme:1"), ALL_KEYS);
    for other in ["acme", "acmes:1", "other:1"] {
        assert!(authorize(&log.who(1), put(other)).is_err(), "{other}");
    }
    assert!(matches!(log.put_by(1, "acme:1"), Reply::Written { .. }));
    assert!(matches!(log.put_by(1, "acme:2"), Reply::Written { .. }));
    assert!(matches!(
        log.put_by(1, "acme:3"),
        Reply::Rejected(Rejection::QuotaExceeded { limit: 2, .. })
    ));

    log.change(|policy| policy.delete_tenant(&id("acme"), false))
        .unwrap();
    let view = log.view();
    assert!(Policy::of(&view).role(id("acme").role()).is_err());
    assert!(Policy::of(&view).tenants(None, 10).unwrap().is_empty());
    assert_eq!(view.namespace(b"acme").quota, NamespaceQuota::UNLIMITED);
    assert_eq!(view.usage(b"acme").keys, 2, "keys stay unless asked for");
    assert_eq!(log.who(1).tenant(), None);
    let viewer = BuiltinRole::Viewer.permissions();
    assert_eq!(log.who(1).rights().at(b"acme:1"), viewer);
    assert_eq!(Policy::of(&view).token(token).unwrap().roles.len(), 1);

    // D-SEC-7: a tenant of the same id is another one.
    log.create("acme", quota(5)).unwrap();
    assert_eq!(log.who(1).tenant(), None);
    assert_eq!(log.who(1).rights().at(b"acme:1"), viewer);
    log.change(|policy| policy.delete_tenant(&id("acme"), true))
        .unwrap();
    assert_eq!(log.view().usage(b"acme").keys, 0);
    assert!(matches!(
        log.change(|policy| policy.delete_tenant(&id("acme"), true)),
        Err(PolicyError::NotFound { .. })
    ));
}

/// D-SEC-9: another quota resets nothing.
#[test]
fn another_quota_is_about_what_comes() {
    let mut log = Log::new();
    log.create("acme", quota(1)).unwrap();
    log.token(1, Permissions::NONE, &["tenant_acme"]);
    log.put_by(1, "acme:1");
    log.now = 2_000;
    let now = Timestamp::new(2_000);
    log.change(|policy| policy.update_tenant(&id("acme"), quota(2), now))
        .unwrap();
    let view = log.view();
    assert_eq!(
        (view.usage(b"acme").keys, view.namespace(b"acme").quota),
        (1, quota(2))
    );
    let info = Policy::of(&view).tenant(&id("acme")).unwrap();
    assert_eq!((info.created_at.get(), info.updated_at.get()), (1_000, 2_000));
    assert!(matches!(log.put_by(1, "acme:2"), Reply::Written { .. }));
    assert!(matches!(log.put_by(1, "acme:3"), Reply::Rejected(_)));
    let missing = log.change(|policy| policy.update_tenant(&id("other"), quota(1), now));
    assert!(matches!(missing, Err(PolicyError::NotFound { .. })));
}

/// D-SEC-8: requests of a tenant's tokens count together, and those of others do not.
#[test]
fn the_tokens_of_a_tenant_share_its_rate() {
    let mut log = Log::new();
    let twice = NamespaceQuota {
        max_ops_per_sec: Some(2),
        ..NamespaceQuota::UNLIMITED
    };
    log.create("acme", twice).unwrap();
    log.create("other", NamespaceQuota::UNLIMITED).unwrap();
    log.token(1, Permissions::NONE, &["tenant_acme"]);
    log.token(2, Permissions::NONE, &["tenant_acme"]);
    log.token(3, Permissions::NONE, &["tenant_other"]);
    assert!(matches!(log.put_by(1, "acme:1"), Reply::Written { .. }));
    assert!(matches!(log.put_by(2, "acme:2"), Reply::Written { .. }));
    for byte in [1, 2] {
        assert_eq!(
            log.put_by(byte, "acme:3"),
            Reply::Rejected(Rejection::RateLimited { retry_after_ms: 500 })
        );
    }
    assert!(matches!(log.put_by(3, "other:1"), Reply::Written { .. }));
}

/// The role of a tenant is its own affair, and tenants are listed in the order of their ids.
#[test]
fn a_tenants_role_changes_with_it_alone() {
    let mut log = Log::new();
    for text in ["b", "a", "c"] {
        log.create(text, NamespaceQuota::UNLIMITED).unwrap();
    }
    let view = log.view();
    let policy = Policy::of(&view);
    let ids = |after: Option<&TenantId>, limit| -> Vec<String> {
        let found = policy.tenants(after, limit).unwrap();
        found.iter().map(|tenant| tenant.id.to_string()).collect()
    };
    assert_eq!(ids(None, 10), ["a", "b", "c"]);
    assert_eq!(ids(Some(&id("a")), 1), ["b"]);
    let role = id("a").role().clone();
    let pattern = Pattern::new("*").unwrap();
    assert!(matches!(
        policy.set_acl(&role, &pattern, ALL_KEYS),
        Err(PolicyError::Protected { .. })
    ));
    assert!(matches!(
        policy.delete_role(&role),
        Err(PolicyError::Protected { .. })
    ));
    assert_eq!(policy.totals().unwrap().tenants, 3);
}
