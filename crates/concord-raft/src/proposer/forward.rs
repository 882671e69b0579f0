//! The forward stream: groups of another node's proposer come in, replies go out, in order.
//!
//! The stream ends as soon as this node does not lead: the other side keeps its
//! requests, looks for the leader and sends them again there.

use std::fmt;

use bytes::Bytes;
use concord_core::batch::Group;
use concord_core::machine::Machine;
use tokio::sync::mpsc;

use super::frame;
use crate::limits;
use crate::ports::Duplex;

/// The replies to one forwarded group, or `None`: there will be none on this stream.
pub(super) type ForwardedReplies<M> = Option<Vec<<M as Machine>::Reply>>;

/// A group of another node, on its way into an entry.
pub(super) struct ForwardedGroup<M: Machine> {
    pub(super) group: Group,
    /// Its requests' bytes.
    pub(super) request_bytes: usize,
    /// Takes the outcomes of one stream's groups, in the order of the groups.
    pub(super) replies: mpsc::UnboundedSender<ForwardedReplies<M>>,
}

impl<M: Machine> fmt::Debug for ForwardedGroup<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} forwarded requests", self.group.requests.len())
    }
}

/// Serves one stream until it ends. See [`super::Proposer::serve`].
pub(super) async fn serve<M: Machine>(task: mpsc::Sender<ForwardedGroup<M>>, duplex: Duplex) {
    let Duplex { sender, mut receiver } = duplex;
    // Unbounded in itself: it holds one message for each group in flight, and those are counted.
    let (replies_in, mut replies) = mpsc::unbounded_channel::<ForwardedReplies<M>>();
    let mut in_flight = 0_usize;
    loop {
        tokio::select! {
            biased;
            // Answers first: they end work that is under way and make room for more.
            outcome = replies.recv() => {
                let Some(Some(outcome)) = outcome else { return };
                in_flight = in_flight.saturating_sub(1);
                for message in frame::encode_replies::<M>(&outcome) {
                    if sender.send(message).await.is_err() {
                        return;
                    }
                }
            }
            // The task has ended and drops what it had.
            () = task.closed() => return,
            message = receiver.recv(), if in_flight < limits::FORWARDED_GROUPS_PER_PEER_MAX => {
                let Some(message) = message else { return };
                let Some(group) = admit(message, &replies_in) else { return };
                if task.send(group).await.is_err() {
                    return;
                }
                in_flight += 1;
            }
        }
    }
}

fn admit<M: Machine>(
    message: Bytes,
    replies: &mpsc::UnboundedSender<ForwardedReplies<M>>,
) -> Option<ForwardedGroup<M>> {
    match frame::decode_group(message) {
        Ok(group) => Some(ForwardedGroup {
            request_bytes: group.requests.iter().map(Bytes::len).sum(),
            group,
            replies: replies.clone(),
        }),
        Err(error) => {
            tracing::warn!(%error, "forward stream closed");
            None
        }
    }
}
