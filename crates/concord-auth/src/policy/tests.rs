//! The policy as its users see it: changes in, rights out.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use zeroize::Zeroizing;

use super::*;
use crate::token::{ENTROPY_BYTES, Secret, TokenHash, Unauthorized};
use crate::{Permission, Principal};

const NONE: Permissions = Permissions::NONE;
const READ: Permissions = Permissions::of(&[Permission::Read]);
const WRITE: Permissions = Permissions::of(&[Permission::Write]);
const NOW: Timestamp = Timestamp::new(1_000);

/// What a store does with changes: all of one at once, each under a revision of its own.
#[derive(Clone, Default)]
struct Stored {
    records: BTreeMap<Bytes, Bytes>,
    revision: u64,
}

impl Records for &Stored {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.records.get(key).cloned()
    }

    fn list(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        self.records
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| &key[..] > after))
            .take(limit)
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect()
    }
}

impl Stored {
    fn policy(&self) -> Policy<&Self> {
        Policy::new(self, self.revision)
    }

    fn change(
        &mut self,
        change: impl FnOnce(&Policy<&Self>) -> Result<Vec<Edit>, PolicyError>,
    ) -> Result<(), PolicyError> {
        let edits = change(&self.policy())?;
        for Edit { key, record } in edits {
            match record {
                Some(record) => self.records.insert(key, record),
                None => self.records.remove(&key),
            };
        }
        self.revision += 1;
        Ok(())
    }

    fn token(&mut self, byte: u8, permissions: Permissions, roles: &[&str]) -> TokenId {
        let new = NewToken {
            permissions,
            roles: roles.iter().map(|role| name(role)).collect(),
            ..new_token(byte)
        };
        self.change(|policy| policy.create_token(&new)).unwrap();
        new.hash.id()
    }

    fn role(&mut self, role: &str, permissions: Permissions, acls: &[(&'static str, Permissions)]) {
        self.change(|policy| policy.create_role(&name(role), permissions))
            .unwrap();
        for (pattern, allowed) in acls {
            let pattern = Pattern::new(*pattern).unwrap();
            self.change(|policy| policy.set_acl(&name(role), &pattern, *allowed))
                .unwrap();
        }
    }

    fn authenticate(&self, byte: u8, now: u64) -> Result<Principal, Unauthorized> {
        self.policy().authenticate(&secret(byte), Timestamp::new(now))
    }

    /// What the token of this secret may do at a key; both ways to ask must agree.
    fn at(&self, byte: u8, key: &str) -> Permissions {
        let rights = self
            .authenticate(byte, NOW.get())
            .unwrap()
            .rights()
            .at(key.as_bytes());
        let explained = self
            .policy()
            .explain(secret(byte).hash().id(), key.as_bytes(), NOW)
            .unwrap();
        assert_eq!(explained.permissions, rights, "{key} {explained:?}");
        rights
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn secret(byte: u8) -> Secret {
    Secret::from_entropy(&Zeroizing::new([byte; ENTROPY_BYTES]))
}

fn new_token(byte: u8) -> NewToken {
    NewToken {
        hash: secret(byte).hash(),
        name: None,
        lifetime: Lifetime {
            now: NOW,
            expires_at: None,
        },
        permissions: NONE,
        roles: Vec::new(),
    }
}

/// A day is noted once, of tokens that there are, and goes with its token; the revision of the policy stays.
#[test]
fn the_last_day_of_a_token_is_noted_once_and_goes_with_it() {
    let mut stored = Stored::default();
    let id = stored.token(1, READ, &[]);
    let other = stored.token(2, READ, &[]);
    let nobody = secret(3).hash().id();
    let day_of = |stored: &Stored, id| stored.policy().token(id).unwrap().last_used_day;
    let apply = |stored: &mut Stored, edits: Vec<Edit>| {
        for Edit { key, record } in edits {
            match record {
                Some(record) => stored.records.insert(key, record),
                None => stored.records.remove(&key),
            };
        }
    };
    assert_eq!(day_of(&stored, id), None);
    let edits = stored.policy().mark_used(&[id, nobody], 20_000);
    assert_eq!(edits.len(), 1, "of nobody nothing is noted");
    apply(&mut stored, edits);
    assert_eq!(day_of(&stored, id), Some(20_000));
    assert_eq!(day_of(&stored, other), None);
    assert_eq!(stored.policy().mark_used(&[id], 20_000), []);
    assert_eq!(
        stored.policy().mark_used(&[id], 19_999),
        [],
        "a clock that is behind changes nothing"
    );
    let late = stored.policy().mark_used(&[id, other], 20_001);
    assert_eq!(late.len(), 2);
    stored.change(|policy| policy.revoke_token(id)).unwrap();
    let records = stored.records.len();
    // What was drafted before the revocation arrives behind it.
    apply(&mut stored, late);
    assert_eq!(stored.records.len(), records + 2);
    let gone = stored.policy().unmark_gone(&[id, other]);
    assert_eq!(gone.len(), 1);
    apply(&mut stored, gone);
    assert_eq!(stored.records.len(), records + 1);
    // Rotated without grace, nothing stays of the old secret.
    let rotate = |policy: &Policy<&Stored>| policy.rotate_token(other, secret(4).hash(), NOW, NOW);
    stored.change(rotate).unwrap();
    assert!(stored.records.keys().all(|key| !key.starts_with(b"u")));
    let fresh = secret(4).hash().id();
    stored.change(|policy| policy.revoke_token(fresh)).unwrap();
}

/// Whoever is known by a certificate is who the token of that name is of, as long as it is good, and nobody else.
#[test]
fn a_name_is_recognized_as_long_as_its_token_is_good() {
    let mut stored = Stored::default();
    let end = Timestamp::new(2_000);
    let new = NewToken {
        name: Some(name("ada")),
        lifetime: Lifetime {
            now: NOW,
            expires_at: Some(end),
        },
        permissions: READ,
        ..new_token(1)
    };
    stored.change(|policy| policy.create_token(&new)).unwrap();
    stored.token(2, WRITE, &[]);
    let known = |stored: &Stored, text: &str, now| stored.policy().recognize_named(&name(text), now);
    let ada = known(&stored, "ada", NOW).unwrap();
    assert_eq!(Ok(ada), stored.authenticate(1, NOW.get()));
    assert_eq!(known(&stored, "ada", end), Err(Unauthorized));
    for unknown in ["Ada", "ad", "ada2", "root"] {
        assert_eq!(known(&stored, unknown, NOW), Err(Unauthorized), "{unknown}");
    }
    // The id of a token is no name, although it is written like one.
    let id = secret(2).hash().id().to_string();
    assert_eq!(known(&stored, &id, NOW), Err(Unauthorized));
    // Rotated, the name goes to the new secret, and stays the same principal.
    let (before, later) = (secret(1).hash().id(), Timestamp::new(1_500));
    let rotate = |policy: &Policy<&Stored>| policy.rotate_token(before, secret(3).hash(), NOW, later);
    stored.change(rotate).unwrap();
    let rotated = known(&stored, "ada", NOW).unwrap();
    assert_eq!(rotated.token_id(), Some(secret(3).hash().id()));
    let fresh = secret(3).hash().id();
    stored.change(|policy| policy.revoke_token(fresh)).unwrap();
    assert_eq!(known(&stored, "ada", NOW), Err(Unauthorized));
}

/// Deny is the default: a token that was given nothing is known, and may do nothing.
#[test]
fn a_token_without_rights_may_do_nothing() {
    let mut stored = Stored::default();
    stored.token(1, NONE, &[]);
    assert_eq!(stored.at(1, "a"), NONE);
    assert_eq!(stored.authenticate(2, 0).unwrap_err(), Unauthorized);
}

#[test]
fn rights_are_the_union_of_roles_and_own_permissions() {
    let mut stored = Stored::default();
    stored.role("scribe", WRITE, &[("log:*", Permissions::ALL)]);
    stored.token(1, READ, &["scribe"]);
    stored.token(2, NONE, &["viewer", "scribe"]);
    for token in [1, 2] {
        assert_eq!(
            stored.at(token, "log:1"),
            READ.union(WRITE),
            "an ACL gives no more than its role"
        );
        assert_eq!(stored.at(token, "other"), READ);
    }
}

/// D-SEC-5: an ACL of one role takes nothing from another.
#[test]
fn an_acl_never_touches_what_another_role_gives() {
    let mut stored = Stored::default();
    stored.role("narrow", Permissions::ALL, &[("a:*", READ)]);
    stored.token(1, NONE, &["admin", "narrow"]);
    stored.token(2, NONE, &["narrow"]);
    assert_eq!(stored.at(1, "b"), Permissions::ALL);
    assert_eq!(stored.at(1, "a:1"), Permissions::ALL);
    assert_eq!(stored.at(2, "b"), NONE);
    assert_eq!(stored.at(2, "a:1"), READ);
}

/// D-SEC-4: to take something away never gives more.
#[test]
fn losing_a_role_or_an_acl_never_widens() {
    let mut stored = Stored::default();
    stored.role("narrow", Permissions::ALL, &[("a:*", READ)]);
    let id = stored.token(1, NONE, &["narrow"]);
    let pattern = Pattern::new("a:*").unwrap();
    let refused = stored
        .change(|policy| policy.delete_acl(&name("narrow"), &pattern))
        .unwrap_err();
    assert!(matches!(refused, PolicyError::Protected { .. }), "{refused}");
    stored
        .change(|policy| policy.set_acl(&name("narrow"), &pattern, NONE))
        .unwrap();
    assert_eq!(stored.at(1, "a:1"), NONE);
    stored
        .change(|policy| policy.take_role(id, &name("narrow")))
        .unwrap();
    assert_eq!(stored.at(1, "a:1"), NONE);
    assert_eq!(stored.at(1, "b"), NONE);
}

/// D-SEC-7: a role that is made anew gives nothing to those who had the old one.
#[test]
fn a_removed_role_stays_removed() {
    let mut stored = Stored::default();
    stored.role("team", READ, &[("a:*", READ)]);
    let id = stored.token(1, NONE, &["team"]);
    stored.change(|policy| policy.delete_role(&name("team"))).unwrap();
    assert_eq!(stored.at(1, "a:1"), NONE);
    assert_eq!(stored.policy().token(id).unwrap().roles, []);
    stored.role("team", Permissions::ALL, &[]);
    assert_eq!(stored.at(1, "a:1"), NONE);
    stored
        .change(|policy| policy.grant_role(id, &name("team")))
        .unwrap();
    assert_eq!(stored.at(1, "a:1"), Permissions::ALL);
}

/// D-SEC-1, D-SEC-11: revoked is gone, under its secret, its id and its name; nothing of the secret is stored.
#[test]
fn a_revoked_token_is_nobody() {
    let mut stored = Stored::default();
    let new = NewToken {
        name: Some(name("ci")),
        ..new_token(1)
    };
    stored.change(|policy| policy.create_token(&new)).unwrap();
    let id = new.hash.id();
    assert_eq!(stored.policy().token_named(&name("ci")).unwrap().id, id);
    let text = secret(1);
    let random = text
        .expose()
        .strip_prefix(crate::token::PREFIX)
        .unwrap()
        .as_bytes();
    for record in stored.records.values() {
        assert!(
            !record
                .windows(8)
                .any(|some| random.windows(8).any(|part| part == some))
        );
    }
    stored.change(|policy| policy.revoke_token(id)).unwrap();
    assert_eq!(stored.authenticate(1, 0).unwrap_err(), Unauthorized);
    assert!(stored.policy().token(id).is_err());
    assert!(stored.policy().token_named(&name("ci")).is_err());
    let totals = stored.policy().totals().unwrap();
    assert_eq!(totals, Totals::default());
    assert_eq!(stored.records.len(), 1, "only the totals are left");
}

#[test]
fn a_token_ends_at_its_end() {
    let mut stored = Stored::default();
    let lifetime = |end| Lifetime {
        now: NOW,
        expires_at: Some(Timestamp::new(end)),
    };
    let token = |end| NewToken {
        lifetime: lifetime(end),
        ..new_token(1)
    };
    for end in [0, 1_000] {
        let refused = stored
            .change(|policy| policy.create_token(&token(end)))
            .unwrap_err();
        assert!(matches!(refused, PolicyError::Expired { .. }), "{refused}");
    }
    stored
        .change(|policy| policy.create_token(&token(2_000)))
        .unwrap();
    assert!(stored.authenticate(1, 1_999).is_ok());
    assert_eq!(stored.authenticate(1, 2_000).unwrap_err(), Unauthorized);
}

#[test]
fn a_rotated_token_has_what_it_had_and_the_old_secret_ends() {
    let mut stored = Stored::default();
    let new = NewToken {
        name: Some(name("ci")),
        permissions: WRITE,
        roles: vec![name("viewer")],
        ..new_token(1)
    };
    stored.change(|policy| policy.create_token(&new)).unwrap();
    let (old, fresh) = (new.hash.id(), secret(2).hash());
    let until = Timestamp::new(5_000);
    stored
        .change(|policy| policy.rotate_token(old, fresh, NOW, until))
        .unwrap();
    assert_eq!(stored.at(2, "a"), READ.union(WRITE));
    assert_eq!(stored.policy().token_named(&name("ci")).unwrap().id, fresh.id());
    assert!(stored.authenticate(1, 4_999).is_ok());
    assert_eq!(stored.authenticate(1, 5_000).unwrap_err(), Unauthorized);
    assert_eq!(stored.policy().totals().unwrap().tokens, 2);

    let third = secret(3).hash();
    stored
        .change(|policy| policy.rotate_token(fresh.id(), third, NOW, NOW))
        .unwrap();
    assert_eq!(stored.authenticate(2, 1_000).unwrap_err(), Unauthorized);
    assert_eq!(stored.policy().token_named(&name("ci")).unwrap().id, third.id());
    assert_eq!(stored.policy().totals().unwrap().tokens, 2);
}

#[test]
fn names_and_protected_roles_are_guarded() {
    let mut stored = Stored::default();
    for role in BuiltinRole::ALL {
        let role = name(role.name());
        for refused in [
            stored.change(|policy| policy.create_role(&role, READ)),
            stored.change(|policy| policy.update_role(&role, READ)),
            stored.change(|policy| policy.delete_role(&role)),
            stored.change(|policy| policy.set_acl(&role, &Pattern::new("*").unwrap(), READ)),
        ] {
            assert!(
                matches!(refused, Err(PolicyError::Protected { .. })),
                "{role} {refused:?}"
            );
        }
    }
    let tenant = stored.change(|policy| policy.create_role(&name("tenant_a"), READ));
    assert!(matches!(tenant, Err(PolicyError::Protected { .. })));
    stored.role("team", READ, &[]);
    let again = stored.change(|policy| policy.create_role(&name("team"), READ));
    assert!(matches!(again, Err(PolicyError::Exists { .. })));
    let id = stored.token(1, NONE, &["team"]);
    let absent = stored.change(|policy| policy.grant_role(id, &name("nobody")));
    assert_eq!(absent.unwrap_err().to_string(), "there is no role nobody");
    let twice = stored.change(|policy| policy.create_token(&new_token(1)));
    assert!(matches!(twice, Err(PolicyError::Exists { .. })));
}

#[test]
fn limits_are_kept() {
    let mut stored = Stored::default();
    stored.role("wide", READ, &[]);
    for number in 0..ACLS_PER_ROLE_MAX {
        let pattern = Pattern::new(format!("{number}:*")).unwrap();
        stored
            .change(|policy| policy.set_acl(&name("wide"), &pattern, READ))
            .unwrap();
    }
    let more = stored.change(|policy| policy.set_acl(&name("wide"), &Pattern::new("more").unwrap(), READ));
    assert!(matches!(more, Err(PolicyError::Limit { .. })), "{more:?}");
    let same = stored.change(|policy| policy.set_acl(&name("wide"), &Pattern::new("7:*").unwrap(), WRITE));
    assert_eq!(same, Ok(()));
    for number in 0..ROLES_PER_TOKEN_MAX {
        stored.role(&format!("r{number}"), READ, &[]);
    }
    let id = stored.token(1, NONE, &[]);
    for number in 0..ROLES_PER_TOKEN_MAX {
        stored
            .change(|policy| policy.grant_role(id, &name(&format!("r{number}"))))
            .unwrap();
    }
    let more = stored.change(|policy| policy.grant_role(id, &name("wide")));
    assert!(matches!(more, Err(PolicyError::Limit { .. })), "{more:?}");
    stored.records.insert(
        Bytes::from_static(stored::TOTALS),
        Totals {
            tokens: TOKENS_MAX,
            roles: ROLES_MAX,
            acls: ACLS_MAX,
            tenants: 0,
        }
        .encode(),
    );
    for refused in [
        stored.change(|policy| policy.create_token(&new_token(2))),
        stored.change(|policy| policy.create_role(&name("one-more"), READ)),
        stored.change(|policy| policy.set_acl(&name("r1"), &Pattern::new("a").unwrap(), READ)),
    ] {
        assert!(matches!(refused, Err(PolicyError::Limit { .. })), "{refused:?}");
    }
}

/// A record that cannot be read gives nothing, and says so to who asks for it.
#[test]
fn damaged_records_fail_closed() {
    let mut stored = Stored::default();
    stored.role("team", Permissions::ALL, &[]);
    let id = stored.token(1, NONE, &["team"]);
    for (key, record) in stored.records.clone() {
        if key[..] == *stored::TOTALS {
            continue;
        }
        for cut in 0..record.len() {
            let mut damaged = stored.clone();
            damaged.records.insert(key.clone(), record.slice(..cut));
            assert_eq!(
                damaged.authenticate(1, 1_000).unwrap_err(),
                Unauthorized,
                "{key:?} {cut}"
            );
            let refused = damaged.policy().explain(id, b"a", NOW).unwrap_err();
            assert!(matches!(refused, PolicyError::Unreadable(_)), "{refused}");
        }
        let mut newer = stored.clone();
        let mut bytes = record.to_vec();
        bytes[1] = 9;
        newer.records.insert(key.clone(), bytes.into());
        let refused = newer.policy().explain(id, b"a", NOW).unwrap_err();
        assert!(refused.to_string().contains("version 9"), "{refused}");
    }
}

#[test]
fn lists_go_on_where_they_stopped() {
    let mut stored = Stored::default();
    for byte in 0..7 {
        stored.token(byte, NONE, &["viewer"]);
        stored.role(&format!("r{byte}"), READ, &[]);
    }
    let (mut tokens, mut roles) = (Vec::new(), Vec::new());
    loop {
        let page = stored
            .policy()
            .tokens(tokens.last().map(|token: &TokenInfo| token.id), 3)
            .unwrap();
        if page.is_empty() {
            break;
        }
        tokens.extend(page);
    }
    loop {
        let page = stored
            .policy()
            .roles(roles.last().map(|role: &RoleInfo| &role.name), 3)
            .unwrap();
        if page.is_empty() {
            break;
        }
        roles.extend(page);
    }
    assert_eq!((tokens.len(), roles.len()), (7, 7));
    assert!(tokens.is_sorted_by_key(|token| token.id));
    assert!(tokens.iter().all(|token| token.roles == [name("viewer")]));
}

/// Edits are printed without what they write: a record can hold a verifier.
#[test]
fn edits_show_no_records() {
    let stored = Stored::default();
    let edits = stored.policy().create_token(&new_token(1)).unwrap();
    let shown = format!("{edits:?}");
    assert!(
        shown.starts_with("[PolicyEdit(write c), PolicyEdit(write t"),
        "{shown}"
    );
}

/// The rule of section 7 of the contract, word for word, over a handful of roles and keys.
fn expected(
    own: Permissions,
    roles: &[(Permissions, Vec<(&'static str, Permissions)>)],
    key: &str,
) -> Permissions {
    let mut sum = own;
    for (permissions, acls) in roles {
        if acls.is_empty() {
            sum = sum.union(*permissions);
        }
        for (pattern, allowed) in acls {
            let matches = match pattern.strip_suffix('*') {
                Some(prefix) => key.starts_with(prefix),
                None => key == *pattern,
            };
            if matches {
                sum = sum.union(permissions.intersection(*allowed));
            }
        }
    }
    sum
}

fn arb_permissions() -> impl Strategy<Value = Permissions> {
    (0..16_u8).prop_map(|bits| Permissions::from_bits(bits).unwrap())
}

fn arb_acls() -> impl Strategy<Value = Vec<(&'static str, Permissions)>> {
    let pattern = select(vec!["a*", "a:*", "a:b*", "b:*", "a:b", "*"]);
    vec((pattern, arb_permissions()), 0..4).prop_map(|acls| {
        let unique: BTreeMap<_, _> = acls.into_iter().collect();
        unique.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn rights_are_what_the_contract_says(
        own in arb_permissions(),
        roles in vec((arb_permissions(), arb_acls()), 0..4),
    ) {
        let mut stored = Stored::default();
        let names: Vec<String> = (0..roles.len()).map(|number| format!("r{number}")).collect();
        for (name, (permissions, acls)) in names.iter().zip(&roles) {
            stored.role(name, *permissions, acls);
        }
        let held: Vec<&str> = names.iter().map(String::as_str).collect();
        stored.token(1, own, &held);
        for key in ["a", "a:", "a:b", "a:bc", "b:1", "c"] {
            prop_assert_eq!(stored.at(1, key), expected(own, &roles, key), "{}", key);
        }
    }

    #[test]
    fn any_bytes_as_records_never_panic(record in vec(any::<u8>(), 0..80)) {
        let mut stored = Stored::default();
        stored.role("team", READ, &[]);
        stored.token(1, NONE, &["team"]);
        for key in stored.records.clone().into_keys() {
            let mut odd = stored.clone();
            odd.records.insert(key, record.clone().into());
            let policy = odd.policy();
            let _ = (policy.tokens(None, 9), policy.roles(None, 9), odd.authenticate(1, 1_000));
            let _ = policy.create_token(&new_token(2));
        }
    }
}

#[test]
fn hashes_are_equal_only_as_a_whole() {
    let hash = *secret(1).hash().as_bytes();
    for place in 0..hash.len() {
        let mut other = hash;
        other[place] ^= 1;
        assert_ne!(TokenHash::from_bytes(hash), TokenHash::from_bytes(other));
    }
}

/// What a token made stays its own when its secret is rotated, however often, and a new token is somebody else.
#[test]
fn a_rotated_token_is_the_same_principal() {
    let mut stored = Stored::default();
    let first = stored.token(1, WRITE, &[]);
    let id = |stored: &Stored, byte| stored.authenticate(byte, NOW.get()).unwrap().id();
    let principal = id(&stored, 1);
    assert_eq!(principal.as_bytes(), first.as_bytes());
    let (mut current, later) = (first, Timestamp::new(NOW.get() + 10));
    for byte in 2..5 {
        let hash = secret(byte).hash();
        stored
            .change(|policy| policy.rotate_token(current, hash, NOW, later))
            .unwrap();
        current = hash.id();
        assert_eq!(id(&stored, byte), principal);
        assert_eq!(id(&stored, byte - 1), principal, "during its grace, too");
        assert_eq!(stored.policy().token(current).unwrap().principal, principal);
    }
    stored.token(9, WRITE, &[]);
    assert_ne!(id(&stored, 9), principal);
}

/// Requests of tokens are guarded by what they were judged by; whoever embeds the store needs no policy.
#[test]
fn a_guard_says_whose_request_it_is_and_until_when() {
    let mut stored = Stored::default();
    let new = NewToken {
        permissions: NONE,
        lifetime: Lifetime {
            now: NOW,
            expires_at: Some(Timestamp::new(2_000)),
        },
        roles: vec![name("editor")],
        ..new_token(1)
    };
    stored.change(|policy| policy.create_token(&new)).unwrap();
    stored.role("narrow", WRITE, &[("a:*", WRITE)]);
    stored.token(2, READ, &["narrow"]);
    let guard = |byte| stored.authenticate(byte, NOW.get()).unwrap().guard(7).unwrap();
    assert_eq!(guard(1).policy_revision, 7);
    assert_eq!(guard(1).expires_at, Some(Timestamp::new(2_000)));
    assert_eq!(guard(1).principal.as_bytes(), new.hash.id().as_bytes());
    assert!(!guard(1).is_confined, "an editor is one at every key");
    assert!(guard(2).is_confined);
    assert_eq!(guard(2).expires_at, None);
    assert_eq!(Principal::embedder().guard(7), None);
    assert_eq!(Principal::anonymous().guard(7), None);
}

/// The policy in a real store, through its commands and its view.
#[test]
fn the_store_keeps_the_policy() {
    use concord_core::{
        Batch, Command, Group, LogIndex, Machine, Meta, PolicyChange, Reply, SessionId, Store, Term,
    };
    let mut store = Store::empty();
    let mut index = 0;
    let mut apply = |store: &mut Store, opens, requests: Vec<Bytes>| {
        index += 1;
        let group = Group {
            session: SessionId::new(1),
            opens,
            acked_below: 1,
            first_sequence: index,
            requests,
        };
        let meta = Meta {
            index: LogIndex::new(index),
            term: Term::new(1),
        };
        let batch = Batch {
            proposed_at: NOW,
            groups: vec![group],
        };
        store.apply(meta, &batch)
    };
    apply(&mut store, true, Vec::new());
    let edits = Policy::of(&store.view()).create_token(&new_token(1)).unwrap();
    let edit = Command::EditPolicy(PolicyChange::new(0, edits)).to_bytes();
    let reply = apply(&mut store, false, vec![edit]);
    assert!(matches!(
        reply.as_slice(),
        [Reply::PolicyEdited {
            policy_revision: 1,
            ..
        }]
    ));
    let view = store.view();
    let policy = Policy::of(&view);
    assert_eq!(policy.revision(), 1);
    assert!(policy.authenticate(&secret(1), NOW).is_ok());
    assert!(policy.authenticate(&secret(2), NOW).is_err());
    assert_eq!(policy.tokens(None, 10).unwrap().len(), 1);
}
