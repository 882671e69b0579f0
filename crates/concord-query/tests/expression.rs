//! What expressions mean: from text to the result on a record.

#[cfg(test)]
#[path = "expression/meaning.rs"]
mod meaning;
#[cfg(test)]
#[path = "expression/oracle.rs"]
mod oracle;
