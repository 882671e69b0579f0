//! What the engine can load, and the driver that does nothing.

use std::future::Future;

use super::keys::KeySpace;

/// Something that can be loaded.
pub trait Driver: Send + Sync + 'static {
    /// One caller's connection or handle.
    type Session: Session;

    /// A session for a caller. Connects lazily or now, as it likes.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn session(&self, caller: usize) -> impl Future<Output = Result<Self::Session, String>> + Send;
}

/// Does one operation at a time, and checks its answer.
pub trait Session: Send + 'static {
    /// Stores `value` under key `number`. Succeeds only when the store says that it did.
    ///
    /// # Errors
    ///
    /// What went wrong, in words that are the same for the same cause.
    fn put(
        &mut self,
        keys: &KeySpace,
        number: usize,
        value: &[u8],
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Reads key `number` and checks its value.
    ///
    /// # Errors
    ///
    /// What went wrong, in words that are the same for the same cause.
    fn get(&mut self, keys: &KeySpace, number: usize) -> impl Future<Output = Result<(), String>> + Send;
}

/// Does nothing: what is measured is the generator.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Driver for Nothing {
    type Session = Self;

    async fn session(&self, _: usize) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Session for Nothing {
    async fn put(&mut self, _: &KeySpace, _: usize, value: &[u8]) -> Result<(), String> {
        std::hint::black_box(value);
        Ok(())
    }

    async fn get(&mut self, keys: &KeySpace, number: usize) -> Result<(), String> {
        std::hint::black_box(keys.key(number));
        Ok(())
    }
}
