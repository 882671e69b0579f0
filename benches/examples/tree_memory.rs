//! Resident bytes a key: a million keys of 32 bytes with cells of 140, in random order and
//! in key order. Linux only. `cargo run --release -p concord-benches --example tree_memory`.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::fs;

use concord_benches::random::key_of;
use concord_core::tree::Tree;

const KEYS: usize = 1_000_000;

fn resident_bytes() -> Option<usize> {
    let pages: usize = fs::read_to_string("/proc/self/statm")
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    pages.checked_mul(4096)
}

fn main() -> Result<(), &'static str> {
    let mut keys: Vec<[u8; 32]> = (0..KEYS).map(key_of).collect();
    // A process that has freed a tree says nothing about the next one: one order a run.
    let in_order = std::env::args().any(|argument| argument == "--in-order");
    if in_order {
        keys.sort_unstable();
    }
    let before = resident_bytes().ok_or("no /proc/self/statm")?;
    let mut tree = Tree::new();
    for key in &keys {
        tree.set(key, &[7; 140]);
    }
    let after = resident_bytes().ok_or("no /proc/self/statm")?;
    tree.check()?;
    let order = if in_order { "key" } else { "random" };
    println!(
        "{} keys in {order} order: {} resident bytes a key",
        tree.len(),
        after.saturating_sub(before) / KEYS
    );
    Ok(())
}
