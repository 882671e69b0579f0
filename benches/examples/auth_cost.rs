//! What judging costs reads and writes: one node in this process with 10,000 tokens, 1,000 roles and 10,000 ACLs. The
//! same reads and writes, in turns, of the embedder, whom nobody judges, and of ten thousand tokens one after the other.
//!
//! `cargo run --release -p concord-benches --example auth_cost`. Linux only.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::time::Instant;

use concord_benches::random::Random;
use concord_server::access::{Permission, Permissions};
use concord_server::{Concord, Config};

const ROLES: usize = 1_000;
const ACLS_A_ROLE: usize = 10;
const TOKENS: usize = 10_000;
const READS: usize = 200_000;
const CALLERS: usize = 256;
const WRITES_A_CALLER: usize = 200;
const ROUNDS: usize = 9;
const EDIT: Permissions = Permissions::of(&[Permission::Read, Permission::Write, Permission::Delete]);

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A handle, and a key that it may read and write.
type Holder = (Concord, String);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::Builder::new().prefix("concord-bench-").tempdir()?;
    let db = Concord::open(Config::at(directory.path())).await?;
    let judged = holders(&db).await?;
    let unjudged: Vec<Holder> = judged.iter().map(|(_, key)| (db.clone(), key.clone())).collect();
    for (db, key) in &judged {
        db.put(key, "a value of some length").await?;
    }
    report(
        "read, ns each",
        READS,
        &mut [reads(&unjudged).await?, reads(&judged).await?],
    );
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut used_without, mut used_with) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Neither always has the other's writes behind it.
        for is_judged in [round % 2 == 0, round % 2 != 0] {
            let holders = if is_judged { &judged } else { &unjudged };
            let (took, used) = writes(holders).await?;
            let (all, all_used) = if is_judged {
                (&mut with, &mut used_with)
            } else {
                (&mut without, &mut used_without)
            };
            all.push(took);
            all_used.push(used);
        }
    }
    report(
        "write of 256 callers, ns each",
        CALLERS * WRITES_A_CALLER,
        &mut [without, with],
    );
    report(
        "write, ns of processor each",
        CALLERS * WRITES_A_CALLER,
        &mut [used_without, used_with],
    );
    db.shutdown().await?;
    Ok(())
}

/// Roles with their ACLs, and tokens that have one of them each.
async fn holders(db: &Concord) -> Result<Vec<Holder>, Failure> {
    for role in 0..ROLES {
        let name = format!("role-{role}");
        db.create_role(&name, EDIT).await?;
        for acl in 0..ACLS_A_ROLE {
            db.set_acl(&name, &format!("team-{role}:{acl}:*"), EDIT).await?;
        }
    }
    let mut holders = Vec::with_capacity(TOKENS);
    for number in 0..TOKENS {
        let role = number % ROLES;
        let token = db.create_token().role(format!("role-{role}")).await?;
        let key = format!("team-{role}:{}:{number:08}", number / ROLES);
        holders.push((db.as_principal(token.secret.expose()), key));
    }
    Ok(holders)
}

/// Seconds of each round of reads, without a wait for anything, in random order.
async fn reads(holders: &[Holder]) -> Result<Vec<f64>, Failure> {
    let mut random = Random::new(3);
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..READS {
            let (db, key) = holders.get(random.below(holders.len())).ok_or("no holders")?;
            let found = db.get(key).eventual().await?;
            assert!(found.is_some(), "the key was written");
        }
        rounds.push(began.elapsed().as_secs_f64());
    }
    Ok(rounds)
}

/// Seconds that many callers take to write at once, and seconds of processor.
async fn writes(holders: &[Holder]) -> Result<(f64, f64), Failure> {
    let (began, used) = (Instant::now(), processor_seconds()?);
    let share = holders.len() / CALLERS;
    let callers: Vec<_> = holders
        .chunks(share)
        .take(CALLERS)
        .map(|own| {
            let own = own.to_vec();
            tokio::spawn(async move {
                for (db, key) in own.iter().cycle().take(WRITES_A_CALLER) {
                    db.put(key, "another value of some length").await?;
                }
                Ok::<_, concord_server::Error>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok((began.elapsed().as_secs_f64(), processor_seconds()? - used))
}

/// Time of this process on all processors, from `/proc/self/stat`, in ticks of 10 ms.
fn processor_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("short stat")?;
    let mut ticks = 0.0;
    // utime and stime, the 14th and 15th of all.
    for field in fields.split(' ').skip(11).take(2) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / 100.0)
}

/// The medians of both, and what they differ by.
fn report(what: &str, count: usize, rounds: &mut [Vec<f64>; 2]) {
    let [without, with] = rounds.each_mut().map(|seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or_default() * 1e9 / count as f64
    });
    println!(
        "{what}: {without:.0} of the embedder, {with:.0} of tokens, {:+.0}",
        with - without
    );
}
