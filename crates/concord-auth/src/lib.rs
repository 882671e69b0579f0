//! Who is this, and may they?
//!
//! Pure: no clock, no I/O, no state of its own. This crate names every action there is,
//! says which permissions it needs, and is the only maker of [`Authorized`], which is the only
//! thing that a node's service accepts. A request that nobody judged does not compile.
//!
//! Not here yet: tokens, custom roles, scopes and tenants. A node without authentication
//! treats every caller as [`Principal::anonymous`], who may do everything; the process that
//! embeds the store is [`Principal::embedder`].
//!
//! ```text
//!   request ──> authorize(principal, request) ──> Authorized<Request> ──> service
//!                        └──> Denied
//! ```

mod action;
mod authorize;
mod permission;
mod principal;

pub use action::{Action, AdminAction, ReadAction, Request};
pub use authorize::{Authorized, Denied, authorize};
pub use permission::{Permission, Permissions};
pub use principal::{BuiltinRole, Principal};
