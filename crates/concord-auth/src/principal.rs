//! Who asks.

use std::fmt;

use crate::permission::{Permission, Permissions};

/// The roles that always exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltinRole {
    /// Everything.
    Admin,
    /// Read, write and delete.
    Editor,
    /// Read.
    Viewer,
    /// Nothing.
    None,
}

impl BuiltinRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Editor, Self::Viewer, Self::None];

    /// Its name in every interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::None => "none",
        }
    }

    /// What it allows.
    #[must_use]
    pub const fn permissions(self) -> Permissions {
        match self {
            Self::Admin => Permissions::ALL,
            Self::Editor => Permissions::of(&[Permission::Read, Permission::Write, Permission::Delete]),
            Self::Viewer => Permissions::of(&[Permission::Read]),
            Self::None => Permissions::NONE,
        }
    }
}

/// Who asks, and the union of what their roles allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    name: &'static str,
    permissions: Permissions,
}

impl Principal {
    /// The process that embeds the store: it holds the data anyway, so it may do everything.
    #[must_use]
    pub const fn embedder() -> Self {
        Self {
            name: "embedder",
            permissions: Permissions::ALL,
        }
    }

    /// Whoever reaches a node that runs without authentication: may do everything. That such a
    /// node listens on the loopback address unless told otherwise is the server's concern.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self {
            name: "anonymous",
            permissions: Permissions::ALL,
        }
    }

    /// Somebody with one role.
    #[must_use]
    pub const fn with_role(role: BuiltinRole) -> Self {
        Self {
            name: role.name(),
            permissions: role.permissions(),
        }
    }

    /// What they may do.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
