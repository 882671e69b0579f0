//! Cookies: a node answers only who has shown that it can be reached at the address that it asks from.
//!
//! Nothing is remembered for them: a cookie is made of the address and a key that is renewed every minute and taken for
//! one more, which is also how long a question that somebody wrote down can be asked again, from there alone.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::packet::Cookie;
use crate::limits::GOSSIP_COOKIE_LIFE;

type Key = [u8; 32];

/// The keys of the cookies that this node gives out.
pub(super) struct Cookies {
    newest: Key,
    older: Key,
    since: Instant,
}

// Keys are not for the log.
impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

impl Cookies {
    pub(super) fn new(now: Instant) -> Result<Self, getrandom::Error> {
        Ok(Self {
            newest: draw()?,
            older: draw()?,
            since: now,
        })
    }

    /// Takes a new key when it is time. Without randomness the old one stays.
    pub(super) fn renew(&mut self, now: Instant) {
        if now.duration_since(self.since) < GOSSIP_COOKIE_LIFE {
            return;
        }
        if let Ok(key) = draw() {
            self.older = std::mem::replace(&mut self.newest, key);
            self.since = now;
        }
    }

    pub(super) fn give(&self, to: SocketAddr) -> Cookie {
        cookie(&self.newest, to)
    }

    pub(super) fn accepts(&self, shown: &Cookie, from: SocketAddr) -> bool {
        let is_of = |key: &Key| bool::from(cookie(key, from).ct_eq(shown));
        is_of(&self.newest) || is_of(&self.older)
    }
}

fn draw() -> Result<Key, getrandom::Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(key)
}

fn cookie(key: &Key, address: SocketAddr) -> Cookie {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    // The lengths differ, so no address of one kind is taken for one of the other.
    match address.ip() {
        IpAddr::V4(ip) => mac.update(&ip.octets()),
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&address.port().to_be_bytes());
    let sealed: [u8; 32] = mac.finalize().into_bytes().into();
    let (cookie, _) = sealed.split_first_chunk().expect("a cookie is half of 32 bytes");
    *cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cookie_is_good_for_its_address_and_for_two_minutes_at_most() {
        let mut cookies = Cookies::new(Instant::now()).unwrap();
        let [here, there]: [SocketAddr; 2] = ["10.0.0.1:7", "10.0.0.1:8"].map(|a| a.parse().unwrap());
        let cookie = cookies.give(here);
        assert!(cookies.accepts(&cookie, here));
        assert!(!cookies.accepts(&cookie, there));
        assert!(!cookies.accepts(&[0; 16], here));
        for is_good in [true, false] {
            tokio::time::advance(GOSSIP_COOKIE_LIFE).await;
            cookies.renew(Instant::now());
            assert_eq!(cookies.accepts(&cookie, here), is_good);
        }
    }
}
