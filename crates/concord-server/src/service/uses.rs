//! Notes the last day on which each token was shown.
//!
//! ```text
//!   judge ── first use of a token on a day ──> Uses ── gathered for two seconds ──> one command that moves no policy on
//! ```
//!
//! On the path of a request this is one comparison; nobody waits for the note. A token is written once a day at most, or once by each
//! node that it is shown to within the same two seconds. What a node that stops has not written yet is lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use concord_auth::policy::TOKENS_MAX;
use concord_auth::token::TokenId;
use concord_auth::{Edit, Policy, Principal, authorize};
use concord_core::{Command, PolicyChange};
use concord_raft::StopReason;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{Packing, Service};
use crate::concord::WeakConcord;
use crate::error::Error;
use crate::limits::{TOKEN_USES_AT_ONCE, TOKEN_USES_GATHERED, TOKEN_USES_RETRY};

const DAY_SECONDS: u64 = 86_400;

/// Tokens that were shown for the first time on a day.
#[derive(Debug)]
pub(crate) struct Uses {
    /// Days since the Unix epoch. Moved on by [`run`], so that no request has to ask what time it is.
    today: AtomicU32,
    seen: Mutex<HashSet<TokenId>>,
    news: Notify,
}

/// The last day on which somebody was noted here.
#[derive(Debug)]
pub(crate) struct Noted(AtomicU32);

impl Uses {
    pub(crate) fn new() -> Self {
        Self {
            today: AtomicU32::new(since_epoch().0),
            seen: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Nobody that was noted on any day.
    pub(crate) const fn never() -> Noted {
        Noted(AtomicU32::new(0))
    }

    /// Whether this is the first use of the day.
    pub(crate) fn is_first(&self, noted: &Noted) -> bool {
        // A day more or less, or a note more, harms nobody.
        let today = self.today.load(Ordering::Relaxed);
        let is_first = noted.0.load(Ordering::Relaxed) != today;
        if is_first {
            noted.0.store(today, Ordering::Relaxed);
        }
        is_first
    }

    /// Has a use noted by and by.
    pub(crate) fn note(&self, principal: &Principal) {
        let Some(id) = principal.token_id() else { return };
        let mut seen = self.seen.lock();
        if (seen.len() as u64) < TOKENS_MAX && seen.insert(id) {
            self.news.notify_one();
        }
    }

    /// Takes up the present day; says how long it lasts.
    fn turn(&self) -> Duration {
        let (day, left) = since_epoch();
        self.today.store(day, Ordering::Relaxed);
        left
    }
}

/// Days since the Unix epoch, and what is left of this one.
fn since_epoch() -> (u32, Duration) {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let day = u32::try_from(seconds / DAY_SECONDS).unwrap_or(u32::MAX);
    (day, Duration::from_secs(DAY_SECONDS - seconds % DAY_SECONDS))
}

/// Writes down who was seen, until the node stops.
pub(crate) async fn run(
    node: WeakConcord,
    uses: Arc<Uses>,
    mut stopped: watch::Receiver<Option<StopReason>>,
) {
    loop {
        let day_ends = uses.turn();
        let is_news = tokio::select! {
            biased;
            _ = stopped.wait_for(Option::is_some) => return,
            () = uses.news.notified() => true,
            () = tokio::time::sleep(day_ends) => false,
        };
        if !is_news {
            continue;
        }
        let mut pause = TOKEN_USES_GATHERED;
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(Option::is_some) => return,
                () = tokio::time::sleep(pause) => {}
            }
            let Some(concord) = node.upgrade() else { return };
            uses.turn();
            let day = uses.today.load(Ordering::Relaxed);
            let seen: Vec<TokenId> = uses.seen.lock().drain().collect();
            match concord.service().write_down(&seen, day).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, "it is not noted yet which tokens were shown");
                    uses.seen.lock().extend(seen);
                    pause = TOKEN_USES_RETRY;
                }
            }
        }
    }
}

impl Service {
    /// Who notes which tokens are shown.
    pub(crate) fn uses(&self) -> Arc<Uses> {
        self.judge.uses()
    }

    /// Notes that these tokens were shown on a day, a few hundred at a time.
    async fn write_down(&self, tokens: &[TokenId], day: u32) -> Result<(), Error> {
        for some in tokens.chunks(TOKEN_USES_AT_ONCE) {
            let edits = Policy::of(&self.views.load().view).mark_used(some, day);
            self.note_beside_the_policy(edits).await?;
            // Whoever was revoked meanwhile leaves nothing behind.
            let gone = Policy::of(&self.views.load().view).unmark_gone(some);
            self.note_beside_the_policy(gone).await?;
        }
        Ok(())
    }

    async fn note_beside_the_policy(&self, edits: Vec<Edit>) -> Result<(), Error> {
        if edits.is_empty() {
            return Ok(());
        }
        let command = authorize(
            &Principal::embedder(),
            Command::EditPolicy(PolicyChange::unjudged(edits)),
        )?;
        let deadline = Instant::now() + TOKEN_USES_RETRY;
        let applied = self.propose(command, Packing::Skipped, deadline).await?;
        applied.map(drop).map_err(Error::from)
    }
}
