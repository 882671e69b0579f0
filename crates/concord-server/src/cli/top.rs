//! `concord top`: a live picture of a cluster.
//!
//! ```text
//!   endpoints ──/status, /metrics──> samples ── two of them ──> a frame ──> lines ──> the terminal, or standard output
//!   one of them ──/watch──> hot prefixes ────────────────────────┘
//! ```
//!
//! It asks what anybody may ask who is allowed to see the status, with the user's token, and changes nothing. Drawn with the few
//! control sequences that every terminal knows: a library for whole user interfaces would bring 27 crates for one table.

mod frame;
mod hot;
mod lines;
mod metrics;
mod sample;
mod terminal;

use std::io::IsTerminal as _;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use self::frame::Frame;
use self::hot::Hot;
use self::sample::Sample;
use self::terminal::{Key, Terminal};
use super::Session;
use super::args::TopArgs;
use super::error::CliError;
use crate::client::Client;

/// A node that has not answered after so long is shown as silent, even if it is asked less often.
const PATIENCE: Duration = Duration::from_secs(2);
/// The width of a picture that is not for a terminal: wide enough for every column.
const WIDTH: usize = 200;

/// `concord top`
pub(super) async fn top(session: &mut Session, args: &TopArgs) -> Result<(), CliError> {
    let nodes = nodes_of(session, args.interval);
    let hot = args.hot.then(|| Hot::follow(&session.client));
    if args.once || session.out.is_json() || !session.is_watched() {
        return once(session, args, &nodes, hot).await;
    }
    let terminal = Terminal::enter(std::io::stdin().is_terminal())?;
    let ended = live(session, args, &nodes, hot, &terminal).await;
    drop(terminal);
    ended
}

/// A client for each endpoint: what is asked here is how that node is.
fn nodes_of(session: &Session, interval: Duration) -> Vec<Client> {
    let patience = interval.clamp(PATIENCE / 2, PATIENCE).min(session.timeout);
    session
        .client
        .each()
        .into_iter()
        .map(|client| client.with_timeout(patience))
        .collect()
}

async fn look(nodes: &[Client]) -> Vec<Sample> {
    join_all(nodes.iter().map(Sample::take)).await
}

/// Looks when it is time, and says when that was.
async fn look_at(nodes: &[Client], at: Instant) -> (Vec<Sample>, Instant) {
    sleep_until(at).await;
    let began = Instant::now();
    (look(nodes).await, began)
}

async fn once(
    session: &mut Session,
    args: &TopArgs,
    nodes: &[Client],
    hot: Option<Hot>,
) -> Result<(), CliError> {
    let end = Instant::now() + args.interval;
    let before = look(nodes).await;
    // tidy-allow: a rate is what happens in a while.
    sleep_until(end).await;
    let samples = look(nodes).await;
    let frame = Frame::new(&before, &samples, hot.as_ref());
    if session.out.is_json() {
        let value: Value = serde_json::to_value(&frame).map_err(|e| CliError::io("the picture", e.into()))?;
        session.out.json(&value)?;
    } else {
        for line in lines::of(&frame, WIDTH) {
            session.out.line(line.text())?;
        }
    }
    // A picture of nothing is no success.
    match samples
        .into_iter()
        .map(|sample| sample.outcome)
        .collect::<Result<Vec<_>, _>>()
    {
        Err(error) if frame.answered() == 0 => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Draws until somebody has seen enough.
async fn live(
    session: &mut Session,
    args: &TopArgs,
    nodes: &[Client],
    mut hot: Option<Hot>,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let mut events = terminal.events()?;
    let mut looking = Box::pin(look_at(nodes, Instant::now()));
    let mut before: Vec<Sample> = Vec::new();
    let mut frame: Option<Frame> = None;
    loop {
        // Keys first: who wants to leave does not wait for a node.
        let key = tokio::select! {
            biased;
            key = events.next() => Some(key),
            (samples, began) = &mut looking => {
                frame = Some(Frame::new(&before, &samples, hot.as_ref()));
                before = samples;
                looking = Box::pin(look_at(nodes, began + args.interval));
                None
            }
        };
        match key {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Hot) => {
                hot = match hot {
                    Some(_) => None,
                    None => Some(Hot::follow(&session.client)),
                };
            }
            Some(Key::Redraw) | None => {}
        }
        if let Some(frame) = &frame {
            let size = terminal.size();
            let picture = terminal::picture(&lines::of(frame, size.columns), size);
            session.out.bytes(&picture)?;
            session.out.flush()?;
        }
    }
}
