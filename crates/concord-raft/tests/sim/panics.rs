//! Panics inside tasks, which a runtime would swallow: the run must end with them.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes panics of this thread from now on. A run is one thread.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.with(|panicked| {
                panicked.borrow_mut().get_or_insert_with(|| panic.to_string());
            });
            usual(panic);
        }));
    });
    PANICKED.with(|panicked| panicked.borrow_mut().take());
}

/// Whether there was one.
pub(crate) fn check() -> Result<(), String> {
    match PANICKED.with(|panicked| panicked.borrow_mut().take()) {
        Some(panic) => Err(format!("a task panicked: {panic}")),
        None => Ok(()),
    }
}
