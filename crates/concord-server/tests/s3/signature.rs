//! Signatures of requests, version 4: computed again as Amazon documents them, and compared.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::http::request::Parts;
use sha2::{Digest as _, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// What a request says of who signed it.
struct Claim {
    credential: String,
    headers: String,
    signature: String,
    date: String,
    payload: String,
    /// The query without the signature itself.
    query: String,
}

impl Claim {
    fn of(head: &Parts) -> Option<Self> {
        let header = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
        let mut query: Vec<&str> = head.uri.query().unwrap_or("").split('&').collect();
        query.retain(|pair| !pair.is_empty());
        query.sort_unstable();
        let asked = |name: &str| {
            let value = query
                .iter()
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
            Some(value.replace("%2F", "/").replace("%3B", ";"))
        };
        if let Some(signature) = asked("X-Amz-Signature") {
            let claim = (
                asked("X-Amz-Credential")?,
                asked("X-Amz-SignedHeaders")?,
                asked("X-Amz-Date")?,
            );
            query.retain(|pair| !pair.starts_with("X-Amz-Signature="));
            return Some(Self {
                credential: claim.0,
                headers: claim.1,
                signature,
                date: claim.2,
                payload: "UNSIGNED-PAYLOAD".to_owned(),
                query: query.join("&"),
            });
        }
        let authorization = header("authorization")?;
        let part = |name: &str| {
            let parts = authorization.split([' ', ',']);
            parts
                .into_iter()
                .find_map(|part| part.strip_prefix(name))
                .map(str::to_owned)
        };
        Some(Self {
            credential: part("Credential=")?,
            headers: part("SignedHeaders=")?,
            signature: part("Signature=")?,
            date: header("x-amz-date")?,
            payload: header("x-amz-content-sha256")?,
            query: query.join("&"),
        })
    }
}

/// The name of what is wrong with a request's signature; `None`: nothing.
pub(crate) fn fault(
    head: &Parts,
    body: &[u8],
    (id, secret): (&str, &str),
    region: &str,
) -> Option<&'static str> {
    let Some(claim) = Claim::of(head) else {
        return Some("AccessDenied");
    };
    let Some((claimed, scope)) = claim.credential.split_once('/') else {
        return Some("AuthorizationHeaderMalformed");
    };
    let day = claim.date.get(..8).unwrap_or("");
    if claimed != id {
        return Some("InvalidAccessKeyId");
    }
    if scope != format!("{day}/{region}/s3/aws4_request") {
        return Some("AuthorizationHeaderMalformed");
    }
    if claim.payload != "UNSIGNED-PAYLOAD" && claim.payload != hex(&Sha256::digest(body)) {
        return Some("XAmzContentSHA256Mismatch");
    }
    let mut request = format!("{}\n{}\n{}\n", head.method, head.uri.path(), claim.query);
    for name in claim.headers.split(';') {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        writeln!(request, "{name}:{}", value.unwrap_or("").trim()).unwrap();
    }
    write!(request, "\n{}\n{}", claim.headers, claim.payload).unwrap();
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        claim.date,
        hex(&Sha256::digest(request.as_bytes()))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, region, "s3", "aws4_request"] {
        key = keyed(&key, part);
    }
    (hex(&keyed(&key, &to_sign)) != claim.signature).then_some("SignatureDoesNotMatch")
}
