//! What each operation does, one fact a test.

use concord_core::Reply;

use crate::support::{Log, rev, text};

#[test]
fn a_key_is_there_from_put_to_delete() {
    let mut log = Log::new();
    assert_eq!(
        log.put("a", "1"),
        Reply::Written {
            revision: rev(2),
            previous: None
        }
    );
    assert_eq!(text(&log.view(), "a"), Some("1".into()));
    assert_eq!(
        log.delete("a"),
        Reply::Deleted {
            revision: rev(3),
            existed: true,
            previous: None
        }
    );
    assert_eq!(text(&log.view(), "a"), None);
    assert_eq!(
        log.delete("a"),
        Reply::Deleted {
            revision: rev(3),
            existed: false,
            previous: None
        }
    );
}
