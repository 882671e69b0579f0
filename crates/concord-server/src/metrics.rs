//! What a node tells Prometheus.
//!
//! ```text
//!   service ──> Requests ─┐
//!   raft ─────> its stats ┼──> Reading ──> families ──> text
//!   views ────────────────┘    one a scrape
//! ```
//!
//! Counting is done where the work is, by relaxed additions; everything else is read when somebody asks. There is one
//! table of families: what is served, `docs/metrics.md`, the dashboard and the alerts all go by it. Nothing of it is global:
//! two nodes in one process count apart. Labels have few values that are known beforehand, but for the ids of members and
//! of a bounded number of tenants.

#[cfg(feature = "http")]
mod families;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod reading;
mod requests;
mod tenants;
#[cfg(feature = "http")]
mod text;

#[cfg(feature = "http")]
pub use families::{Family, Kind, families};
#[cfg(feature = "http")]
pub(crate) use http::HttpStats;
#[cfg(feature = "http")]
pub(crate) use reading::Reading;
pub(crate) use requests::{Operation, Requests};
pub(crate) use tenants::TenantRequests;
#[cfg(feature = "http")]
pub(crate) use text::{CONTENT_TYPE, render};
