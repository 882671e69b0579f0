//! What an edit of the policy is about, for those who keep a record of who changed what.

use std::str;

use super::stored::{NAMES, ROLES, TENANTS, TOKENS};
use crate::token::TokenId;

/// Whom or what the record under `key` is about: `token <id>`, `token name <name>`, `role <name>`, `tenant <id>`. `None`: nobody
/// in particular. Says nothing of what is in the record.
#[must_use]
pub fn subject_of(key: &[u8]) -> Option<String> {
    let named = |kind: &[u8]| str::from_utf8(key.strip_prefix(kind)?).ok();
    if let Some(id) = key.strip_prefix(TOKENS) {
        return Some(format!("token {}", TokenId::from_bytes(id.try_into().ok()?)));
    }
    let name = named(NAMES).map(|name| format!("token name {name}"));
    let role = || named(ROLES).map(|name| format!("role {name}"));
    name.or_else(role)
        .or_else(|| named(TENANTS).map(|name| format!("tenant {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::policy::stored;

    #[test]
    fn records_are_named_by_what_everybody_knows() {
        let name = Name::new("ada").unwrap();
        let id = TokenId::from_bytes([0xab; TokenId::BYTES]);
        let token = subject_of(&stored::token_key(id));
        assert_eq!(token, Some(format!("token {id}")));
        assert_eq!(
            subject_of(&stored::name_key(&name)).as_deref(),
            Some("token name ada")
        );
        assert_eq!(subject_of(&stored::role_key(&name)).as_deref(), Some("role ada"));
        assert_eq!(subject_of(b"oacme").as_deref(), Some("tenant acme"));
        assert_eq!(subject_of(b"c"), None);
        assert_eq!(subject_of(b"t short"), None);
    }
}
