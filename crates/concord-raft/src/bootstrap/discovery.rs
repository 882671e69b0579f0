//! Joining a cluster through members that somebody tells of.
//!
//! A suggestion costs a question and decides nothing: whoever answers at the address must prove to be the node that was
//! named, and say itself that it belongs to the cluster that was named. Then it is asked as an operator would have this
//! node ask it, and the cluster's log decides (I14).

use concord_core::machine::Machine;

use super::{Formation, Setback};
use crate::limits::SUGGESTIONS_ASKED_MAX;
use crate::message::admin::{Describe, Description};
use crate::message::{self, Kind};
use crate::ports::Suggestion;

impl<M: Machine> Formation<M> {
    /// One round over what was suggested: asks until one lets this node in.
    pub(super) async fn try_discover(&self, suggestions: &[Suggestion]) -> Result<(), Setback> {
        let Some(first) = suggestions.first() else {
            return Err(Setback::Wait("nobody tells of a member yet".to_owned()));
        };
        // I14: which of them is meant only an operator can say.
        if let Some(other) = suggestions
            .iter()
            .find(|other| other.cluster_id != first.cluster_id)
        {
            // The same words whichever was heard of first: they are logged once.
            let [one, two] = [first, other].map(|member| member.cluster_id);
            return Err(Setback::Wait(format!(
                "told of clusters {:032x} and {:032x}: start this node with --join and a member of the one that it is \
                 to belong to, and give each cluster its own secret",
                one.min(two),
                one.max(two)
            )));
        }
        let (mut waiting, mut refused) = (None, None);
        for suggestion in suggestions.iter().take(SUGGESTIONS_ASKED_MAX) {
            match self.try_suggestion(suggestion).await {
                Ok(()) => return Ok(()),
                Err(wait @ Setback::Wait(_)) => waiting = waiting.or(Some(wait)),
                Err(no @ Setback::Refused(_)) => refused = refused.or(Some(no)),
            }
        }
        // As long as one may still say yes, there is something to wait for.
        let setback = waiting.or(refused);
        Err(setback.unwrap_or_else(|| Setback::Wait("nobody was asked".to_owned())))
    }

    async fn try_suggestion(&self, suggestion: &Suggestion) -> Result<(), Setback> {
        let Suggestion {
            cluster_id,
            node_id,
            address,
        } = suggestion;
        let request = message::encode(Kind::Describe, &Describe { asker: self.seat() });
        let found: Description = self.ask(address, Some(*node_id), request).await?;
        if found.cluster_id != Some(*cluster_id) {
            return Err(Setback::Wait(format!(
                "{address} does not belong to cluster {cluster_id:032x}, as was told of it"
            )));
        }
        self.try_join(address, Some(*node_id)).await
    }
}
