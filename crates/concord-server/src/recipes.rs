//! Recipes: what several processes agree on by the store, made of its leases, transactions and
//! watches alone.
//!
//! ```text
//!   lock.acquire() ─▶ grant a lease ─▶ put `lock:NAME#LEASE` on it ─▶ nobody before me? ─▶ Guard
//!                     kept alive        its create_revision is         else watch the one
//!                     in background     the fencing token              before me, look again
//! ```
//!
//! Whoever wants something puts a key of its own on a lease of its own; the order in which the
//! keys came into being decides. A process that ends leaves nothing behind, because its keys go with
//! its lease. Every holder gets a **fencing token**: the revision at which its key came into
//! being, greater than that of every holder before it.
//!
//! No lock service can promise that a holder that was paused for longer than its lease has stopped
//! working. So writes that must not come too late are [fenced](Guard::txn): they happen only if the
//! holder still holds. Resources outside of the store compare tokens instead.
//!
//! A name `acme#deploy` is one of the tenant `acme`: its keys are in that tenant's namespace, so that its tokens reach them, and
//! nobody else's name is the same.
//!
//! Keys and what may be done about them by hand are in `docs/recipes.md`.

mod barrier;
mod claim;
mod election;
mod guard;
mod line;
mod lock;
mod name;
mod rate;
mod registry;
mod rwlock;
mod semaphore;
mod sequence;

#[cfg(feature = "http")]
pub(crate) use self::claim::Application;
#[cfg(feature = "http")]
pub(crate) use self::guard::within;
#[cfg(feature = "http")]
pub(crate) use self::name::{Home, Kind, Place};

pub use self::barrier::{Arrived, Barrier, DoubleBarrier};
pub use self::election::{Election, Leadership};
pub use self::guard::{Fence, Guard};
pub use self::line::Holder;
pub use self::lock::Lock;
pub use self::rate::{Decision, Rate, RateLimiter};
pub use self::registry::{Instance, Registration, Registry};
pub use self::rwlock::RwLock;
pub use self::semaphore::Semaphore;
pub use self::sequence::{Block, Issued, Sequence};
