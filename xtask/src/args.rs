//! The few flags of the commands. An unknown one is an error, never ignored.

use std::str::FromStr;

use crate::Failure;

/// What is left of the command line.
#[derive(Debug)]
pub(crate) struct Args {
    rest: Vec<String>,
}

impl Args {
    /// The process's own arguments.
    pub(crate) fn from_env() -> Self {
        Self {
            rest: std::env::args().skip(1).collect(),
        }
    }

    /// Takes the first word, the command.
    pub(crate) fn command(&mut self) -> Option<String> {
        (!self.rest.is_empty()).then(|| self.rest.remove(0))
    }

    /// Takes `--name` if it is there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|word| word != name);
        self.rest.len() != before
    }

    /// Takes `--name VALUE` or `--name=VALUE`.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(at) = self
            .rest
            .iter()
            .position(|word| word == name || is_assignment(word, name))
        else {
            return Ok(None);
        };
        let word = self.rest.remove(at);
        let text = match word.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None if at < self.rest.len() => self.rest.remove(at),
            None => return Err(format!("{name} needs a value")),
        };
        text.parse()
            .map(Some)
            .map_err(|_| format!("{name}: `{text}` is not a valid value"))
    }

    /// Everything not taken yet, for a program that parses it itself.
    pub(crate) fn into_rest(self) -> Vec<String> {
        self.rest
    }

    /// Refuses what no command took.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.rest.first() {
            None => Ok(()),
            Some(word) => Err(format!("unexpected argument `{word}`; see `cargo xtask help`")),
        }
    }
}

fn is_assignment(word: &str, name: &str) -> bool {
    word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args {
            rest: words.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    #[test]
    fn values_are_taken_in_both_spellings() {
        let mut args = args(&["cluster", "--nodes", "5", "--base-port=7001", "--release"]);
        assert_eq!(args.command().as_deref(), Some("cluster"));
        assert_eq!(args.value::<u64>("--nodes"), Ok(Some(5)));
        assert_eq!(args.value::<u16>("--base-port"), Ok(Some(7001)));
        assert!(args.flag("--release"));
        assert!(!args.flag("--restart"));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn unknown_flags_and_bad_values_are_refused() {
        assert!(args(&["--nodez"]).finish().is_err());
        assert!(args(&["--nodes", "many"]).value::<u64>("--nodes").is_err());
        assert!(args(&["--nodes"]).value::<u64>("--nodes").is_err());
    }
}
