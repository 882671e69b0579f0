//! Which backups stay.

use concord_core::ids::{Millis, Timestamp};

/// Which backups stay when a directory is cleaned up. With both bounds a backup must
/// satisfy both to stay (D-BAK-5); without any, all stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Only so many of the newest stay.
    pub keep_count: Option<usize>,
    /// Older ones go.
    pub keep_for: Option<Millis>,
}

impl Retention {
    /// Whether the backup that so many are newer than stays at `now`.
    pub(super) fn keeps(&self, newer: usize, created_at: Timestamp, now: Timestamp) -> bool {
        let is_among_newest = self.keep_count.is_none_or(|count| newer < count);
        let is_young = self.keep_for.is_none_or(|age| now.since(created_at) <= age);
        is_among_newest && is_young
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: Option<usize>, age: Option<u64>, created: &[u64]) -> Vec<u64> {
        let retention = Retention {
            keep_count: count,
            keep_for: age.map(Millis::new),
        };
        let mut newest_first = created.to_vec();
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        let numbered = newest_first.into_iter().enumerate();
        numbered
            .filter(|(newer, at)| retention.keeps(*newer, Timestamp::new(*at), Timestamp::new(100)))
            .map(|(_, at)| at)
            .collect()
    }

    /// D-BAK-5: few but ancient files go by age alone, many young ones by count alone.
    #[test]
    fn d_bak_5_each_bound_binds_by_itself() {
        let (ancient, young) = (&[1, 2][..], &[95, 96, 97, 98, 99][..]);
        assert_eq!(kept(Some(5), Some(10), ancient), [0_u64; 0]);
        assert_eq!(kept(Some(2), Some(10), young), [99, 98]);
        assert_eq!(kept(None, Some(10), ancient), [0_u64; 0]);
        assert_eq!(kept(Some(1), None, ancient), [2]);
        assert_eq!(kept(None, None, ancient), [2, 1]);
        assert_eq!(
            kept(None, Some(10), &[89, 90]),
            [90],
            "as old as the bound is not older"
        );
        assert_eq!(
            kept(None, Some(0), &[100, 200]),
            [200, 100],
            "a clock that ran ahead"
        );
    }
}
