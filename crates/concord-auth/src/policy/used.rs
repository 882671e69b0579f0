//! The last day on which a token was shown. No judgement depends on it, so it is written without moving the policy on,
//! once a day for each token.

use bytes::Bytes;

use super::change::{remove, write};
use super::stored::{self, Unreadable};
use super::{Edit, Policy, Records};
use crate::token::TokenId;

impl<R: Records> Policy<R> {
    /// The last day on which a token was shown, in days since the Unix epoch; `None`: it never was.
    ///
    /// # Errors
    ///
    /// If its record cannot be read.
    pub fn last_used_day(&self, id: TokenId) -> Result<Option<u32>, Unreadable> {
        let key = stored::used_key(id);
        let record = self.records.get(&key);
        record.map(|record| stored::decode_day(&key, &record)).transpose()
    }

    /// Notes that tokens were shown on a day: only what is not noted yet, and only of tokens that there are. To be applied
    /// whatever the revision of the policy is.
    #[must_use]
    pub fn mark_used(&self, tokens: &[TokenId], day: u32) -> Vec<Edit> {
        let is_news = |id: &&TokenId| {
            let known = self.last_used_day(**id).ok().flatten();
            known.is_none_or(|known| known < day) && self.is_token(**id)
        };
        let news = tokens.iter().filter(is_news);
        news.map(|id| write(stored::used_key(*id), stored::encode_day(day)))
            .collect()
    }

    /// Forgets what was noted of those tokens that are gone: one can be revoked while it is noted that it was shown.
    #[must_use]
    pub fn unmark_gone(&self, tokens: &[TokenId]) -> Vec<Edit> {
        let is_left = |id: &&TokenId| {
            let key = stored::used_key(**id);
            self.records.get(&key).is_some() && !self.is_token(**id)
        };
        let left = tokens.iter().filter(is_left);
        left.map(|id| remove(stored::used_key(*id))).collect()
    }

    /// What of it goes together with the token.
    pub(super) fn unmark(&self, id: TokenId) -> Option<Edit> {
        let key: Bytes = stored::used_key(id);
        self.records.get(&key).map(|_| remove(key))
    }

    fn is_token(&self, id: TokenId) -> bool {
        self.records.get(&stored::token_key(id)).is_some()
    }
}
