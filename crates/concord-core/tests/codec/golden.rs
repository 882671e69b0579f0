//! Files of committed bytes: a line of hexadecimal for each name.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Reads a file of `testdata/`, after writing it anew if that is asked for.
pub(crate) fn committed(
    file: &str,
    title: &str,
    written: impl FnOnce() -> BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CONCORD_GOLDEN_UPDATE").is_some() {
        let mut text = format!("{title}\n");
        for (name, bytes) in written() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{name}: {hex}").unwrap();
        }
        std::fs::write(&path, text).unwrap();
    }
    read(file)
}

/// Reads a file of `testdata/`.
pub(crate) fn read(file: &str) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read_to_string(&path).unwrap();
    let lines = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap());
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    lines.map(|(name, hex)| (name.to_string(), bytes(hex))).collect()
}
