//! Developer commands: `cargo xtask COMMAND`, one file a command.
//!
//! Depends on no Concord crate, so that it still builds when one of them does not.
//! Every command prints the command lines that it runs; only `golden --update`
//! writes to the tree.

mod args;
mod bench;
mod check;
mod ci;
mod cluster;
mod console;
mod deps;
mod golden;
mod shell;
mod sim;
mod tidy;

use std::process::ExitCode;

use args::Args;

/// Why a command failed, in words for the developer.
type Failure = String;

const HELP: &str = "\
Developer commands of Concord. Usage: cargo xtask COMMAND

  ci                        every gate, in order: what CI runs
  check                     the fast half: tidy, deps, fmt, clippy
  tidy                      house rules that the compiler cannot hold
  deps                      which crate may use what, licences, sources
  sim [--seed N | --seeds N | --minutes M]
                            the simulated cluster: the seeds of CI, one seed, or fresh ones
  golden [--update] [--hashes]
                            the hashes of formats in documents, and golden files
  bench [CRITERION ARGS]    the criterion benches
  bench load ARGS           the load generator; `bench load --help` lists its flags
  cluster [--nodes 3] [--base-port 4001] [--dir DIR] [--release] [--restart]
                            a cluster of real processes on this machine, until Ctrl-C
  console [--chromium PATH] [--pictures DIR]
                            the web console, used in headless Chromium as somebody would use it
";

#[expect(
    clippy::print_stderr,
    reason = "a developer's terminal is where this program reports"
)]
fn main() -> ExitCode {
    match run(Args::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result<(), Failure> {
    let Some(command) = args.command() else {
        shell::say(HELP);
        return Err("which command?".to_owned());
    };
    match command.as_str() {
        "ci" => args.finish().and_then(|()| ci::run()),
        "check" => args.finish().and_then(|()| check::run()),
        "tidy" => args.finish().and_then(|()| tidy::run()),
        "deps" => args.finish().and_then(|()| deps::run()),
        "sim" => sim::run(args),
        "golden" => golden::run(args),
        "bench" => bench::run(args),
        "cluster" => cluster::run(args),
        "console" => console::run(args),
        "help" | "--help" | "-h" => {
            shell::say(HELP);
            Ok(())
        }
        other => Err(format!("unknown command `{other}`; see `cargo xtask help`")),
    }
}
