//! What tenants hold, at a scrape: the largest by name, the others together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use concord_auth::Policy;
use concord_auth::policy::PAGE_MAX;
use concord_core::NamespaceQuota;
use concord_core::view::{ReadView, Usage};

use crate::limits::{TENANTS_LOOK_PART, TENANTS_MEASURED};

/// A tenant, with what it holds and may hold.
#[derive(Debug)]
pub(in crate::metrics) struct Stored {
    pub(in crate::metrics) label: String,
    pub(in crate::metrics) usage: Usage,
    pub(in crate::metrics) quota: NamespaceQuota,
}

/// What all tenants hold.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Largest {
    /// How many there are.
    pub(in crate::metrics) count: u64,
    /// Those that hold most.
    pub(in crate::metrics) named: Vec<Stored>,
    /// What the others hold together.
    pub(in crate::metrics) others: Usage,
}

/// What was found, and how long that took.
#[derive(Debug)]
pub(in crate::metrics) struct Found {
    largest: Arc<Largest>,
    at: Instant,
    pub(super) took: Duration,
}

impl Found {
    /// What was found last, or what `look` finds now: not before [`TENANTS_LOOK_PART`] times as long has gone as it took.
    pub(super) fn of(last: &mut Option<Self>, now: Instant, look: impl FnOnce() -> Largest) -> Arc<Largest> {
        if let Some(found) = last
            && now.saturating_duration_since(found.at) < found.took * TENANTS_LOOK_PART
        {
            return Arc::clone(&found.largest);
        }
        let began = Instant::now();
        let largest = Arc::new(look());
        *last = Some(Self {
            largest: Arc::clone(&largest),
            at: now,
            took: began.elapsed(),
        });
        largest
    }
}

impl Largest {
    /// Looks at every tenant. One whose record cannot be read is not counted: it is told where it is asked for.
    pub(in crate::metrics) fn of(view: &ReadView) -> Self {
        let (policy, mut largest) = (Policy::of(view), Self::default());
        let mut after = None;
        loop {
            let page = policy.tenants(after.as_ref(), PAGE_MAX).unwrap_or_default();
            let is_last = page.len() < PAGE_MAX;
            after = page.last().map(|tenant| tenant.id.clone());
            for tenant in page {
                let namespace = tenant.id.namespace();
                largest.add(Stored {
                    usage: view.usage(namespace),
                    quota: view.namespace(namespace).quota,
                    label: tenant.id.to_string(),
                });
            }
            if is_last {
                return largest.finish();
            }
        }
    }

    /// Adds a tenant. The list is cut when it is twice as long as it may be, so that each costs little.
    pub(super) fn add(&mut self, tenant: Stored) {
        self.count += 1;
        self.named.push(tenant);
        if self.named.len() >= 2 * TENANTS_MEASURED {
            self.cut();
        }
    }

    pub(super) fn finish(mut self) -> Self {
        self.cut();
        self
    }

    fn cut(&mut self) {
        // Of two that hold as much the first by id is named, at every scrape.
        self.named.sort_by(|one, other| {
            let by_size = other.usage.bytes.cmp(&one.usage.bytes);
            by_size.then_with(|| one.label.cmp(&other.label))
        });
        let beyond = TENANTS_MEASURED.min(self.named.len());
        for tenant in self.named.drain(beyond..) {
            self.others.keys = self.others.keys.saturating_add(tenant.usage.keys);
            self.others.bytes = self.others.bytes.saturating_add(tenant.usage.bytes);
        }
    }
}
