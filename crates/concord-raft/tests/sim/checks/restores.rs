//! What is being restored is shown whole or never (I23): see `workload/restores.rs`.

use concord_core::{Direction, KeyRange, ReadView};

use crate::workload::{number, number_in};

/// Keys that have one value, all of them.
pub(crate) const WHOLE: &str = "whole:";
/// How many of them are always there.
pub(crate) const PARTS: usize = 5;
/// One more that writers put and no backup has, and one that only backups have and writers delete.
pub(crate) const LIVE: &str = "live";
pub(crate) const RESTORED: &str = "restored";

/// Whether a view shows a backup; an error if it shows a part of one. Only of runs with restores.
pub(crate) fn look(view: &ReadView) -> Result<bool, String> {
    let register = number_in(view, 0);
    let keys = KeyRange::prefix(WHOLE);
    let (mut count, mut live, mut restored) = (0, 0, 0);
    for record in view.records(&keys, Direction::Ascending) {
        let record = record.to_record().expect("no value is damaged here");
        let name = record
            .key
            .as_bytes()
            .strip_prefix(WHOLE.as_bytes())
            .unwrap_or_default();
        if number(&record.value) != register {
            return Err(format!(
                "I23: at revision {} the store is {register:?}, but has {record:?}",
                view.revision()
            ));
        }
        count += 1;
        live += usize::from(name == LIVE.as_bytes());
        restored += usize::from(name == RESTORED.as_bytes());
    }
    let expected = if register.is_some() { PARTS + 1 } else { 0 };
    if count != expected || live + restored != usize::from(register.is_some()) {
        return Err(format!(
            "I23: at revision {} the store is {register:?} with {count} keys, {live} of a write and {restored} of a backup",
            view.revision()
        ));
    }
    Ok(restored == 1)
}
