//! Which parts make a node?
