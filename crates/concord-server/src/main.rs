//! The `concord` binary: a server and a client on the command line.

fn main() {}
