//! Versions of the machine among members of different releases: where a node must stop, which member knows what, and
//! when the cluster goes on to a newer one.
//!
//! ```text
//!   an entry or a snapshot is of a newer machine ──> the node stops before anything of it is shown
//! ```

use std::path::Path;

use concord_core::machine::{Machine, Restorer};
use concord_core::version::{ClusterVersion, MachineVersion};

use crate::storage_error::StorageError;

/// What to do about a node that is older than what it reads.
pub(crate) fn too_old(what: &str, needs: ClusterVersion, known: MachineVersion) -> String {
    format!(
        "{what} is of machine version {}, and this program knows versions up to {known}: use Concord {} or newer. \
         Nothing was changed",
        needs.version, needs.release
    )
}

/// The version of a machine, if it is newer than what is known here.
// I24: such a machine is not driven on: from here on this replica would differ from the others.
pub(crate) fn newer<M: Machine>(machine: &M, known: MachineVersion) -> Option<ClusterVersion> {
    let version = machine.version();
    (version.version > known).then_some(version)
}

/// Refuses a snapshot of a newer machine, whether or not its form was understood.
pub(crate) fn check_restored<R: Restorer>(
    restorer: &R,
    file: &Path,
    known: MachineVersion,
) -> Result<(), StorageError> {
    let needs = restorer.version();
    if needs.version <= known {
        return Ok(());
    }
    Err(StorageError::NewerMachine {
        file: file.to_path_buf(),
        what: "the state".to_owned(),
        needs,
        known,
    })
}
