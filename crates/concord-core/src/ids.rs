//! The numbers that cross function boundaries: one newtype each, so that none is
//! passed where another belongs. Leaves their meaning to the modules that use them.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw number.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The cluster-wide change counter: 1 when empty, +1 for each request that changed something.
    Revision
}
number! {
    /// A position in the Raft log. Entries apply in this order, without gaps.
    LogIndex
}
number! {
    /// A Raft term. At most one leader exists in each.
    Term
}
number! {
    /// A node's identity, kept with its data. Never reused after removal. 0 is not a valid id.
    NodeId
}
number! {
    /// The id of a client's lease. 0 is not a valid id.
    LeaseId
}
number! {
    /// A length of time in milliseconds.
    Millis
}
number! {
    /// A point in replicated time: milliseconds since the Unix epoch, stamped by a leader.
    Timestamp
}

impl Revision {
    /// The revision of an empty store.
    pub const EMPTY: Self = Self(1);

    /// The revision after this one. Saturates, which no log can reach.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LogIndex {
    /// The index after this one. Saturates, which no log can reach.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Timestamp {
    /// This point plus `length`, saturating at the end of time.
    #[must_use]
    pub const fn plus(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// How long after `earlier` this point is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A proposer's session: the client identity under which retries apply once.
///
/// 128 random bits, drawn by the proposer when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// Wraps raw random bits.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The raw bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}
