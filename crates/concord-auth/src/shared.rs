//! Rights that many have, kept once.
//!
//! Thousands of tokens hold a few hundred sets of roles. What is judged by stays in the processor's caches only if it is
//! not there once for each token.

use std::collections::HashSet;
use std::sync::Arc;

use crate::principal::Principal;
use crate::rights::Rights;

/// The rights of those who were recognised of late. Grows with every set of rights that it has not met: whoever holds it
/// clears it together with the principals.
#[derive(Debug, Default)]
pub struct SharedRights(HashSet<Arc<Rights>>);

impl SharedRights {
    /// Lets somebody have the rights that somebody else has, if they are the same.
    pub fn share(&mut self, principal: &mut Principal) {
        let own = principal.shared_rights();
        if let Some(known) = self.0.get(own) {
            *own = Arc::clone(known);
        } else {
            self.0.insert(Arc::clone(own));
        }
    }

    /// Forgets all of them; whoever has them keeps them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pattern, Permissions};

    fn holding(pattern: &'static str) -> Principal {
        let scoped = [(Pattern::new(pattern).unwrap(), Permissions::ALL)];
        Principal::holding(Rights::new(Permissions::NONE, scoped))
    }

    #[test]
    fn the_same_rights_are_kept_once_and_others_stay_their_own() {
        let mut shared = SharedRights::default();
        let [mut one, mut same, mut other] = ["a:*", "a:*", "b:*"].map(holding);
        for principal in [&mut one, &mut same, &mut other] {
            let before = principal.clone();
            shared.share(principal);
            assert_eq!(*principal, before, "nobody gets other rights");
        }
        assert!(std::ptr::eq(one.rights(), same.rights()));
        assert!(!std::ptr::eq(one.rights(), other.rights()));
        shared.clear();
        let mut later = holding("a:*");
        shared.share(&mut later);
        assert!(!std::ptr::eq(one.rights(), later.rights()));
        assert_eq!(one.rights(), later.rights());
    }
}
