//! Moves money between accounts: read both, then write both by one transaction that happens only
//! if nobody has changed either in between. Two independent updates would lose or make money
//! when the program dies between them.

use concord_server::txn::{OneKey, key};
use concord_server::{Concord, Config, Error, Revision};

/// Whether the money was moved: not if there is too little.
async fn transfer(db: &Concord, from: &str, to: &str, amount: i64) -> Result<bool, Error> {
    loop {
        let found = db.get_many([from, to]).await?;
        let [Some(source), Some(target)] = found.as_slice() else {
            return Ok(false);
        };
        let (have, has): (i64, i64) = (source.to_doc()?, target.to_doc()?);
        if have < amount {
            return Ok(false);
        }
        let unchanged = |account: OneKey, at: Revision| account.mod_revision().is(at);
        let done = db
            .txn()
            .when(unchanged(key(from), source.mod_revision()))
            .when(unchanged(key(to), target.mod_revision()))
            .then(key(from).put(serde_json::json!(have - amount)))
            .then(key(to).put(serde_json::json!(has + amount)))
            .await?;
        if done.succeeded {
            return Ok(true);
        }
        // Somebody was faster: look again.
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-transfer-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;
    db.put_doc("account:ada", &100).await?;
    db.put_doc("account:bob", &100).await?;

    // At the same time, both ways.
    let (there, back) = tokio::join!(
        transfer(&db, "account:ada", "account:bob", 70),
        transfer(&db, "account:bob", "account:ada", 30),
    );
    assert!(there? && back?, "both have enough");
    let mut total = 0;
    for account in db
        .get_many(["account:ada", "account:bob"])
        .await?
        .iter()
        .flatten()
    {
        total += account.to_doc::<i64>()?;
    }
    assert_eq!(total, 200, "money is neither lost nor made");

    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
