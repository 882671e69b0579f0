//! Requests of tenants, as far as they are counted apart: a bounded number of tenants have series of their own.

#[cfg(feature = "http")]
pub(super) mod stored;

use std::collections::BTreeMap;
#[cfg(feature = "http")]
use std::sync::Arc;
#[cfg(feature = "http")]
use std::time::Instant;

#[cfg(feature = "http")]
use concord_core::view::ReadView;
use parking_lot::Mutex;

use crate::error::ErrorKind;
use crate::limits::TENANTS_MEASURED;

/// How requests of tenants end.
const RESULTS: [&str; 4] = ["ok", "quota_exceeded", "rate_limited", "error"];

fn result_of(error: Option<ErrorKind>) -> usize {
    match error {
        None => 0,
        Some(ErrorKind::QuotaExceeded) => 1,
        Some(ErrorKind::RateLimited) => 2,
        Some(_) => 3,
    }
}

/// How often each result came.
type Counts = [u64; RESULTS.len()];

/// The label of all tenants that have none. No tenant has such an id.
#[cfg(feature = "http")]
pub(super) const OTHERS: &str = "_other";

#[derive(Debug, Default)]
struct Counted {
    /// Of those that came first. A counter that moved from one series to another would seem to start again.
    named: BTreeMap<Box<[u8]>, Counts>,
    others: Counts,
}

/// What tenants asked of one node.
#[derive(Debug, Default)]
pub(crate) struct TenantRequests {
    counted: Mutex<Counted>,
    /// What they were found to hold.
    #[cfg(feature = "http")]
    stored: Mutex<Option<stored::Found>>,
}

impl TenantRequests {
    /// Counts a request of a tenant that was answered.
    pub(crate) fn answered(&self, tenant: &[u8], error: Option<ErrorKind>) {
        let mut counted = self.counted.lock();
        let counted = &mut *counted;
        let has_room = counted.named.len() < TENANTS_MEASURED;
        let counts = match counted.named.get_mut(tenant) {
            Some(counts) => counts,
            None if has_room => counted.named.entry(tenant.into()).or_default(),
            None => &mut counted.others,
        };
        if let Some(count) = counts.get_mut(result_of(error)) {
            *count = count.saturating_add(1);
        }
    }

    /// What tenants hold: of a view, or, where it takes long to look through them, of one that is not much older.
    #[cfg(feature = "http")]
    pub(super) fn stored(&self, view: &ReadView) -> Arc<stored::Largest> {
        // Whoever comes meanwhile waits, and gets what was found.
        stored::Found::of(&mut self.stored.lock(), Instant::now(), || {
            stored::Largest::of(view)
        })
    }

    /// Calls `visit` for each tenant and result that there was.
    #[cfg(feature = "http")]
    pub(super) fn each(&self, mut visit: impl FnMut(&str, &'static str, u64)) {
        let counted = self.counted.lock();
        let named = counted.named.iter();
        let named = named.map(|(tenant, counts)| (String::from_utf8_lossy(tenant).into_owned(), counts));
        for (tenant, counts) in named.chain([(OTHERS.to_owned(), &counted.others)]) {
            let results = RESULTS.iter().zip(counts).filter(|(_, count)| **count > 0);
            for (result, count) in results {
                visit(&tenant, result, *count);
            }
        }
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use std::time::Duration;

    use concord_core::NamespaceQuota;
    use concord_core::view::Usage;

    use super::stored::{Largest, Stored};
    use super::*;

    /// The largest are named, whatever the order in which they come, and the others are summed up.
    #[test]
    fn the_largest_tenants_are_named_and_the_rest_is_one() {
        let mut largest = Largest::default();
        let tenants = TENANTS_MEASURED as u64 * 5 + 3;
        for place in 0..tenants {
            // Every residue once: an order that is neither up nor down.
            let bytes = place * 7 % tenants;
            let mut usage = Usage::default();
            (usage.keys, usage.bytes) = (1, bytes);
            largest.add(Stored {
                label: format!("t{bytes}"),
                usage,
                quota: NamespaceQuota::UNLIMITED,
            });
        }
        let shown = largest.finish();
        assert_eq!(shown.count, tenants);
        assert_eq!(shown.named.len(), TENANTS_MEASURED);
        let smallest = tenants - TENANTS_MEASURED as u64;
        assert!(shown.named.iter().all(|tenant| tenant.usage.bytes >= smallest));
        assert_eq!(shown.others.keys, smallest);
        assert_eq!(shown.others.bytes, smallest * (smallest - 1) / 2);
    }

    /// However often somebody scrapes, a hundredth of one core at most looks through the tenants.
    #[test]
    fn looking_through_tenants_is_bounded() {
        let (mut found, mut looks) = (None, 0_u32);
        let began = Instant::now();
        for millis in 0..10_000 {
            let now = began + Duration::from_millis(millis);
            stored::Found::of(&mut found, now, || {
                looks += 1;
                Largest::default()
            });
            if let Some(found) = &mut found {
                found.took = Duration::from_millis(20);
            }
        }
        assert_eq!(looks, 5, "of 20 ms in 10 s");
    }

    #[test]
    fn only_so_many_tenants_have_series_of_their_own() {
        let requests = TenantRequests::default();
        for round in 0..2 {
            for tenant in 0..TENANTS_MEASURED + 7 {
                let error = (round == 1).then_some(ErrorKind::RateLimited);
                requests.answered(format!("t{tenant}").as_bytes(), error);
            }
        }
        let mut series = Vec::new();
        requests.each(|tenant, result, count| series.push((tenant.to_owned(), result, count)));
        assert_eq!(series.len(), (TENANTS_MEASURED + 1) * 2);
        assert!(series.contains(&("t0".to_owned(), "rate_limited", 1)));
        assert!(series.contains(&(OTHERS.to_owned(), "ok", 7)));
    }
}
