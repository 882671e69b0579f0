//! What went wrong with a bucket, in words, and what to do.

use std::error::Error as _;
use std::io;
use std::path::Path;

use concord_raft::StorageError;
use object_store::Error;

/// The longest name of an error that is shown.
const CODE_BYTES_MAX: usize = 64;

/// Names of errors that servers give, and what to do.
const KNOWN: [(&str, io::ErrorKind, &str); 15] = {
    use io::ErrorKind::{InvalidData, NotFound, PermissionDenied, ResourceBusy, StorageFull};
    [
        ("PreconditionFailed", InvalidData, REPLACED),
        (
            "NoSuchBucket",
            NotFound,
            "there is no such bucket: make it, or correct backup.s3.url",
        ),
        ("NoSuchKey", NotFound, "there is no such object"),
        ("NoSuchUpload", NotFound, "somebody removed the upload meanwhile"),
        ("AccessDenied", PermissionDenied, DENIED),
        (
            "InvalidAccessKeyId",
            PermissionDenied,
            "the server does not know the access key: correct the credentials",
        ),
        (
            "SignatureDoesNotMatch",
            PermissionDenied,
            "the secret access key is not that of the access key id",
        ),
        ("ExpiredToken", PermissionDenied, EXPIRED),
        ("InvalidToken", PermissionDenied, EXPIRED),
        (
            "RequestTimeTooSkewed",
            PermissionDenied,
            "the clocks of this machine and the server are minutes apart",
        ),
        ("AuthorizationHeaderMalformed", PermissionDenied, REGION),
        ("PermanentRedirect", io::ErrorKind::InvalidInput, REGION),
        ("SlowDown", ResourceBusy, BUSY),
        ("ServiceUnavailable", ResourceBusy, BUSY),
        ("QuotaExceeded", StorageFull, "the bucket is full"),
    ]
};
const DENIED: &str =
    "access is denied: the keys are wrong, or lack the rights to list, read, write and remove objects there";
const EXPIRED: &str = "the session token is not valid, or not any more: the keys must be renewed";
const REGION: &str = "the bucket is in another region: correct backup.s3.region";
const BUSY: &str = "the server has too much to do; it was asked several times";
const REPLACED: &str = "it was replaced while it was read";
const UNREACHABLE: &str =
    "the server cannot be reached, or broke off several times: look at backup.s3.endpoint and at the network";

/// An operation on what is at `path` that failed.
pub(super) fn failed(action: &'static str, path: &Path, offset: u64, error: &Error) -> StorageError {
    StorageError::io(action, path, offset, explained(error))
}

pub(super) fn explained(error: &Error) -> io::Error {
    let told = chain(error);
    if let Some(code) = code(&told) {
        let known = KNOWN.iter().find(|(name, ..)| *name == code);
        let (kind, advice) = known.map_or(
            (io::ErrorKind::Other, "the server refused"),
            |(_, kind, advice)| (*kind, *advice),
        );
        return io::Error::new(kind, format!("{advice} ({code})"));
    }
    let is_denied = matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    );
    let (kind, advice) = if matches!(error, Error::NotFound { .. }) {
        (
            io::ErrorKind::NotFound,
            "there is no such object, or no such bucket",
        )
    } else if is_denied {
        (io::ErrorKind::PermissionDenied, DENIED)
    } else if matches!(error, Error::Precondition { .. }) {
        (io::ErrorKind::InvalidData, REPLACED)
    } else if told.contains("redirect") {
        // An answer without a name.
        (io::ErrorKind::InvalidInput, REGION)
    } else {
        return unreachable(error);
    };
    io::Error::new(kind, advice)
}

/// All that the library says of an error. Never shown: the server's answers are in it.
fn chain(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told.push('\n');
        told.push_str(&cause.to_string());
        source = cause.source();
    }
    told
}

/// The name that the server gave the error.
fn code(told: &str) -> Option<&str> {
    let (_, behind) = told.split_once("<Code>")?;
    let (code, _) = behind.split_once("</Code>")?;
    let is_name = code.len() <= CODE_BYTES_MAX && code.chars().all(|c| c.is_ascii_alphanumeric());
    is_name.then_some(code)
}

/// The first cause is the operating system's or the HTTP library's, and says what happened to the connection.
fn unreachable(error: &Error) -> io::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let told = cause.to_string();
    // What is long or has markup in it is an answer, not a cause.
    let is_cause = told.len() <= 4 * CODE_BYTES_MAX && !told.contains(['<', '{', '\n']);
    let detail = if is_cause {
        format!(" ({told})")
    } else {
        String::new()
    };
    io::Error::new(io::ErrorKind::NotConnected, format!("{UNREACHABLE}{detail}"))
}
