//! Who is this, and may they?
//!
//! Pure: no clock, no I/O, no state of its own. This crate names every action there is,
//! says which permissions it needs, and is the only maker of [`Authorized`], which is the only
//! thing that a node's service accepts. A request that nobody judged does not compile.
//!
//! Rights come from a [`Policy`]: tokens, of which only a hash is stored, roles, and ACLs that narrow a role to
//! the keys of a pattern. The policy is a set of records that the store replicates without knowing what they
//! mean; this crate reads them and says what to write ([`Edit`]).
//!
//! A node without authentication treats every caller
//! as [`Principal::anonymous`], who may do everything; the process that embeds the store is
//! [`Principal::embedder`].
//!
//! ```text
//!   secret ──> Policy::authenticate ──> Principal
//!   request ──> authorize(principal, request) ──> Authorized<Request> ──> service
//!                        └──> Denied
//! ```

mod action;
mod authorize;
mod name;
mod pattern;
mod permission;
pub mod policy;
mod principal;
mod rights;
mod seal;
mod shared;
pub mod token;

pub use action::{Action, AdminAction, Read, ReadAction, Request};
pub use authorize::{Authorized, Denied, authorize, authorize_or_return};
pub use name::{InvalidName, NAME_BYTES_MAX, Name, TENANT_ROLE_PREFIX};
pub use pattern::{InvalidPattern, Pattern};
pub use permission::{Permission, Permissions};
pub use policy::{Edit, Policy, PolicyError, Records};
pub use principal::{BuiltinRole, Principal};
pub use rights::{Place, Rights};
pub use seal::{SEAL_KEY_BYTES, SealKey};
pub use shared::SharedRights;
pub use token::{Secret, TokenHash, TokenId, Unauthorized};
