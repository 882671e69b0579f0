//! One peer and lane: its call connection, and when to dial again.
//!
//! Callers that need a connection share one dial. After a failure the next dial waits,
//! twice as long each time, with jitter; a caller whose deadline comes before it is told
//! at once what went wrong last, others get the outcome of that dial.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use concord_raft::ports::{Duplex, Lane, PeerAddress, TransportError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::calls::{self, CallConnection, CallFailure};
use crate::dialer::{Dialer, closed};
use crate::hello::Mode;
use crate::stats::{OpenGuard, add};
use crate::stream;

/// Connections that one call may try: a request that was certainly not sent goes down the
/// next, but not for ever.
const ATTEMPTS: usize = 3;

/// The way to one peer on one lane.
#[derive(Debug)]
pub(crate) struct Link {
    peer: PeerAddress,
    lane: Lane,
    dialer: Arc<Dialer>,
    state: watch::Sender<LinkState>,
    backoff: Mutex<Backoff>,
}

#[derive(Clone, Debug)]
enum LinkState {
    Idle,
    Dialing,
    Up(Arc<CallConnection>),
    Failed(TransportError),
}

#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    retry_at: Option<Instant>,
    last: Option<TransportError>,
}

/// What a caller finds.
enum Way {
    Up(Arc<CallConnection>),
    Wait(watch::Receiver<LinkState>),
    /// The next dial comes after the caller's deadline.
    TooLate(TransportError),
}

impl Link {
    pub(crate) fn new(peer: PeerAddress, lane: Lane, dialer: Arc<Dialer>) -> Arc<Self> {
        let (state, _) = watch::channel(LinkState::Idle);
        Arc::new(Self {
            peer,
            lane,
            dialer,
            state,
            backoff: Mutex::default(),
        })
    }

    pub(crate) fn leads_to(&self, peer: &PeerAddress, lane: Lane) -> bool {
        self.lane == lane && self.peer == *peer
    }

    /// Whether forgetting it loses nothing.
    pub(crate) fn is_idle(&self) -> bool {
        let own = (self.dialer.identity)();
        match &*self.state.borrow() {
            LinkState::Idle | LinkState::Failed(_) => true,
            LinkState::Dialing => false,
            LinkState::Up(connection) => !connection.is_usable(&own),
        }
    }

    /// Sends a request and waits for its answer until `timeout` has passed.
    pub(crate) async fn call(
        self: Arc<Self>,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let size_bytes = request.len();
        let limit_bytes = self.dialer.config.payload_limit();
        if size_bytes > limit_bytes {
            return Err(TransportError::TooLarge {
                size_bytes,
                limit_bytes,
            });
        }
        add(&self.dialer.counters.calls, 1);
        let began = Instant::now();
        let deadline = began + timeout;
        let address = || self.peer.address.clone();
        for _ in 0..ATTEMPTS {
            let connection = self.connection(began, deadline).await?;
            let failure = match connection.call(request.clone(), deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                CallFailure::NotSent => {}
                CallFailure::Interrupted => return Err(TransportError::Interrupted { address: address() }),
                CallFailure::LateNotSent => {
                    return Err(self.unreachable(format!(
                        "the request could not be sent within {} ms",
                        timeout.as_millis()
                    )));
                }
                CallFailure::LateSent => {
                    let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    return Err(TransportError::Timeout {
                        address: address(),
                        waited_ms,
                    });
                }
            }
        }
        Err(self.unreachable(format!(
            "{ATTEMPTS} connections ended before the request could be sent"
        )))
    }

    /// Opens a stream on a connection of its own.
    pub(crate) async fn open(self: Arc<Self>) -> Result<Duplex, TransportError> {
        let dialled = match self.dial(Mode::Stream).await {
            Ok(dialled) => dialled,
            Err(error) => return Err(error),
        };
        let (duplex, ends) = stream::stream_ends();
        let open = OpenGuard::new(&self.dialer.counters);
        tokio::spawn(async move {
            let end = stream::run(ends, dialled.wire, || true).await;
            drop(open);
            self.dialer.note_end(&self.peer.address, self.lane, &end);
        });
        Ok(duplex)
    }

    async fn connection(
        self: &Arc<Self>,
        began: Instant,
        deadline: Instant,
    ) -> Result<Arc<CallConnection>, TransportError> {
        let mut changes = match self.find_way(deadline) {
            Way::Up(connection) => return Ok(connection),
            Way::TooLate(error) => return Err(error),
            Way::Wait(changes) => changes,
        };
        let settled = changes.wait_for(|state| !matches!(state, LinkState::Dialing | LinkState::Idle));
        match tokio::time::timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                LinkState::Up(connection) => Ok(Arc::clone(connection)),
                LinkState::Failed(error) => Err(error.clone()),
                LinkState::Idle | LinkState::Dialing => Err(closed(&self.peer.address)),
            },
            Ok(Err(_)) => Err(closed(&self.peer.address)),
            Err(_) => {
                Err(self.unreachable(format!("no connection within {} ms", began.elapsed().as_millis())))
            }
        }
    }

    /// Finds the connection, or has one dialled.
    fn find_way(self: &Arc<Self>, deadline: Instant) -> Way {
        let own = (self.dialer.identity)();
        if let LinkState::Up(connection) = &*self.state.borrow()
            && connection.is_usable(&own)
        {
            return Way::Up(Arc::clone(connection));
        }
        if self.dialer.cancel.is_cancelled() {
            return Way::TooLate(closed(&self.peer.address));
        }
        if let Some(error) = self.backoff.lock().failure_until_after(deadline) {
            return Way::TooLate(error);
        }
        let mut begun = false;
        let mut found = None;
        self.state.send_if_modified(|state| {
            match state {
                LinkState::Dialing => return false,
                LinkState::Up(connection) if connection.is_usable(&own) => {
                    found = Some(Arc::clone(connection));
                    return false;
                }
                // It may still wait for answers; it closes after the last.
                LinkState::Up(connection) => connection.retire(),
                LinkState::Idle | LinkState::Failed(_) => {}
            }
            *state = LinkState::Dialing;
            begun = true;
            true
        });
        if let Some(connection) = found {
            return Way::Up(connection);
        }
        let changes = self.state.subscribe();
        if begun {
            tokio::spawn(Arc::clone(self).dial_for_calls());
        }
        Way::Wait(changes)
    }

    async fn dial_for_calls(self: Arc<Self>) {
        let dialled = match self.dial(Mode::Call).await {
            Ok(dialled) => dialled,
            Err(error) => {
                self.state.send_replace(LinkState::Failed(error));
                return;
            }
        };
        let (connection, outbox) = CallConnection::new(dialled.own, &self.dialer.config);
        let _open = OpenGuard::new(&self.dialer.counters);
        self.state.send_replace(LinkState::Up(Arc::clone(&connection)));
        let end = calls::run(&connection, outbox, dialled.wire).await;
        // A peer that admits and closes at once is not dialled in a tight loop either.
        self.backoff.lock().retry_at = Some(Instant::now() + self.dialer.config.backoff_min);
        self.dialer.note_end(&self.peer.address, self.lane, &end);
    }

    /// Dials when the backoff allows, and keeps the backoff.
    async fn dial(&self, mode: Mode) -> Result<crate::dialer::Dialled, TransportError> {
        let retry_at = self.backoff.lock().retry_at;
        if let Some(retry_at) = retry_at {
            let waited = self
                .dialer
                .cancel
                .run_until_cancelled(tokio::time::sleep_until(retry_at))
                .await;
            if waited.is_none() {
                return Err(closed(&self.peer.address));
            }
        }
        let dialled = self.dialer.dial(&self.peer, self.lane, mode).await;
        let config = &self.dialer.config;
        let mut backoff = self.backoff.lock();
        match &dialled {
            Ok(_) => *backoff = Backoff::default(),
            Err(error) => backoff.fail(error, config.backoff_min, config.backoff_max),
        }
        dialled
    }

    fn unreachable(&self, reason: String) -> TransportError {
        let reason = match &self.backoff.lock().last {
            Some(last) => format!("{reason}; before: {last}"),
            None => reason,
        };
        TransportError::Unreachable {
            address: self.peer.address.clone(),
            reason,
        }
    }
}

impl Backoff {
    /// The last failure, if nothing will be dialled before `deadline`.
    fn failure_until_after(&self, deadline: Instant) -> Option<TransportError> {
        let retry_at = self.retry_at?;
        (retry_at >= deadline).then(|| self.last.clone()).flatten()
    }

    fn fail(&mut self, error: &TransportError, least: Duration, most: Duration) {
        let wait = least.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + jittered(wait));
        self.last = Some(error.clone());
    }
}

/// Between half of `wait` and all of it: nodes that lost the same peer do not return as one.
fn jittered(wait: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without randomness there is no jitter, and that is all.
    let _ = getrandom::fill(&mut bytes);
    wait / 2 + (wait / 2).saturating_mul(u32::from(u16::from_be_bytes(bytes))) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> TransportError {
        TransportError::Unreachable {
            address: "there".into(),
            reason: "gone".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::default();
        let (least, most) = (Duration::from_millis(20), Duration::from_millis(500));
        let mut waits = Vec::new();
        for _ in 0..8 {
            backoff.fail(&failure(), least, most);
            waits.push(backoff.retry_at.unwrap() - Instant::now());
        }
        for (wait, whole) in waits.iter().zip([20, 40, 80, 160, 320, 500, 500, 500]) {
            let whole = Duration::from_millis(whole);
            assert!(*wait >= whole / 2 && *wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff = Backoff::default();
        backoff.fail(&failure(), least, most);
        assert!(backoff.retry_at.unwrap() - Instant::now() <= least);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_before_the_next_dial_fails_with_the_last_reason() {
        let mut backoff = Backoff::default();
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(backoff.failure_until_after(soon), None);
        backoff.fail(&failure(), Duration::from_millis(20), Duration::from_millis(500));
        assert_eq!(backoff.failure_until_after(soon), Some(failure()));
        assert_eq!(
            backoff.failure_until_after(soon + Duration::from_millis(20)),
            None
        );
    }
}
