//! The `concord` binary: a server and a client on the command line.

use std::process::ExitCode;

/// Of the binary only: a library leaves the choice to the program that embeds it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    concord_server::cli::main()
}
