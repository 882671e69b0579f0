//! Sessions of a web application: they expire when they are not used, one user can be signed out
//! everywhere at once, and two requests of one session do not undo each other's changes.
//! Run it: `cargo run -p concord-server --example sessions`.

use std::time::Duration;

use concord_server::txn::prefix;
use concord_server::{Concord, Config, Error, ErrorKind};
use serde::{Deserialize, Serialize};

const IDLE: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    user: String,
    cart: Vec<String>,
}

fn key(user: &str, id: &str) -> String {
    format!("session:{user}:{id}")
}

async fn sign_in(db: &Concord, user: &str, id: &str) -> Result<(), Error> {
    let session = Session {
        user: user.to_owned(),
        cart: Vec::new(),
    };
    // An id that exists is not given to somebody else.
    db.put_doc(key(user, id), &session).ttl(IDLE).if_absent().await?;
    Ok(())
}

/// Changes a session, and lets it live on. Who was faster is not undone.
async fn add_to_cart(db: &Concord, user: &str, id: &str, item: &str) -> Result<bool, Error> {
    loop {
        let found = db.get(key(user, id)).await?;
        let Some(entry) = found.as_ref() else {
            return Ok(false);
        };
        let mut session: Session = entry.to_doc()?;
        session.cart.push(item.to_owned());
        let put = db.put_doc(key(user, id), &session).ttl(IDLE);
        match put.if_mod_revision(entry.mod_revision()).await {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::ConditionFailed => {}
            Err(error) => return Err(error),
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("concord-sessions-{}", std::process::id()));
    let db = Concord::open(Config::at(&directory)).await?;
    sign_in(&db, "ada", "phone").await?;
    sign_in(&db, "ada", "laptop").await?;
    assert!(sign_in(&db, "ada", "phone").await.is_err(), "the id is taken");

    // Two requests at once: both items are in the cart.
    let (book, pen) = tokio::join!(
        add_to_cart(&db, "ada", "phone", "book"),
        add_to_cart(&db, "ada", "phone", "pen"),
    );
    assert!(book? && pen?);
    let session: Option<Session> = db.get_doc(key("ada", "phone")).await?.into_inner();
    let cart = session.map(|session| session.cart).unwrap_or_default();
    println!("in the cart: {cart:?}");
    assert_eq!(cart.len(), 2);

    // A request that changes nothing lets the session live on, too.
    db.touch(key("ada", "laptop"), IDLE).await?;
    println!(
        "idle for at most {:?}",
        db.ttl(key("ada", "laptop")).await?.into_inner()
    );

    // Signed out everywhere, at one revision.
    let done = db.txn().then(prefix("session:ada:").delete()).await?;
    println!("signed out everywhere at revision {}", done.revision);
    assert!(!add_to_cart(&db, "ada", "phone", "lamp").await?);

    db.shutdown().await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
