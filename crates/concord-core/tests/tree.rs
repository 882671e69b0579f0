//! The tree against the standard map, with the node sizes of production.

#[cfg(test)]
#[path = "tree/model.rs"]
mod model;
