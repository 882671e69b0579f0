//! What the door counts of tenants.

use concord_auth::Principal;

use super::{Service, is_refusal};
use crate::error::Error;
#[cfg(feature = "http")]
use crate::judge::Caller;
#[cfg(feature = "http")]
use crate::metrics::TenantRequests;
#[cfg(feature = "http")]
use crate::rates::Allowance;

impl Service {
    /// Counts a request of somebody who may make it, if that is a tenant's token.
    pub(super) fn count_tenant(&self, principal: &Principal, error: Option<&Error>) {
        if let Some(tenant) = principal.tenant()
            && error.is_none_or(|error| !is_refusal(error))
        {
            self.tenants.answered(tenant, error.map(Error::kind));
        }
    }

    /// How often the caller may still ask, if that is limited. Asks for nothing.
    #[cfg(feature = "http")]
    pub(crate) fn allowance(&self, caller: &Caller) -> Option<Allowance> {
        let view = &self.views.load().view;
        let principal = self.judge.principal(caller, view).ok()?;
        self.rates.allowance(&principal, view)
    }

    /// What tenants asked of this node.
    #[cfg(feature = "http")]
    pub(crate) const fn tenant_requests(&self) -> &TenantRequests {
        &self.tenants
    }
}
