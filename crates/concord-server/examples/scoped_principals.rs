//! One node, and parts of a program that may do different things: each gets a handle that can do no more than its token,
//! so that a fault in one of them reaches no further.
//! Run it: `cargo run -p concord-server --example scoped_principals`.

use concord_server::access::{Permission, Permissions};
use concord_server::{Concord, Config, Error, ErrorKind};

const READ: Permissions = Permissions::of(&[Permission::Read]);
const WORK: Permissions = Permissions::of(&[Permission::Read, Permission::Write]);

/// Takes orders. It knows nothing of tokens: it is given a handle that was narrowed for it.
async fn take_order(db: &Concord, number: u32, item: &str) -> Result<(), Error> {
    db.put(format!("orders:{number}"), item).if_absent().await?;
    Ok(())
}

/// Counts what it may see.
async fn report(db: &Concord) -> Result<u64, Error> {
    Ok(db.scan().count().await?.count)
}

/// A handle for whoever has this one role, at these keys.
async fn narrowed(db: &Concord, role: &str, pattern: &str, may: Permissions) -> Result<Concord, Error> {
    db.create_role(role, may).await?;
    db.set_acl(role, pattern, may).await?;
    let token = db.create_token().name(role).role(role).await?;
    // A program of its own would be handed the secret; a part of this one, the handle.
    Ok(db.as_principal(token.secret.expose()))
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-principals-{}", std::process::id()));
    // This handle may do everything: keep it where the program is put together.
    let db = Concord::open(Config::at(&directory)).await?;
    db.put("payroll:ada", "4200").await?;

    let shop = narrowed(&db, "shop", "orders:*", WORK).await?;
    let auditor = narrowed(&db, "auditor", "*:ada", READ).await?;

    take_order(&shop, 1, "a lamp").await?;
    take_order(&shop, 2, "a book").await?;
    // Whether there is such a key is not told.
    for key in ["payroll:ada", "payroll:nobody"] {
        let refused = shop.get(key).await.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::Forbidden));
    }
    println!(
        "the shop sees {} keys, this program {}",
        report(&shop).await?,
        report(&db).await?
    );
    assert_eq!((report(&shop).await?, report(&auditor).await?), (2, 1));

    // Who may do what, and why not.
    assert!(!shop.can_i(Permission::Delete, "orders:1").await?);
    let why = db.explain_access("auditor", "orders:1").await?;
    println!(
        "auditor at orders:1: {:?}, because {:?}",
        why.permissions, why.because
    );

    // What is taken away is gone at once, also for handles that are in use.
    db.revoke_token("shop").await?;
    let refused = take_order(&shop, 3, "a pen").await.map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::Unauthorized));
    println!("the shop is closed");

    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
