//! Regular expressions as data: what the `pattern` of a filter has become.
//!
//! A delete by filter is judged inside apply, on every replica and by every later version. So what
//! is in the log is neither text nor an engine's idea of it, but a small program whose
//! instructions have a frozen meaning (D-RAFT-2); `concord-query` makes it from the text.
//!
//! The program is run over characters, all of its threads at once: the work is at most the product of
//! both lengths, whatever the pattern is. A byte that begins no UTF-8 counts as a character of its
//! own, beyond all others. There are no tables of letters: a class lists what it has.

mod codec;

use alloc::vec::Vec;

use crate::limits::{PATTERN_INSTRUCTIONS_MAX, PATTERN_RANGES_MAX};

/// A program within its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Instruction>);

/// A step of a program. Where it does not say otherwise, the next one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Takes a character of these ranges, both ends included.
    Class(Vec<(u32, u32)>),
    /// Goes on at both of these.
    Split(u32, u32),
    /// Goes on there.
    Jump(u32),
    /// Goes on if this holds here.
    Assert(Assertion),
    /// The text matches.
    Match,
}

/// What can hold of a place between characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assertion {
    /// It is the start of the text.
    Start,
    /// It is its end.
    End,
    /// A letter, digit or `_` of ASCII is on one side only.
    WordBoundary,
    /// On both sides or none.
    NotWordBoundary,
}

/// What is no program. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// It has no instruction, or too many.
    #[error("pattern must have 1 to {PATTERN_INSTRUCTIONS_MAX} instructions and {PATTERN_RANGES_MAX} ranges")]
    Size,
    /// It goes on where there is nothing.
    #[error("pattern goes on at no instruction")]
    Target,
}

/// The greatest character: behind those of Unicode, the bytes that are none.
pub const CHARACTER_MAX: u32 = BYTES + 0xff;

const BYTES: u32 = 0x11_0000;

impl Pattern {
    /// Checks a program.
    ///
    /// # Errors
    ///
    /// If it is empty or too long, or a step goes on where there is none.
    pub fn new(program: Vec<Instruction>) -> Result<Self, InvalidPattern> {
        let ranges = program.iter().map(|step| match step {
            Instruction::Class(ranges) => ranges.len(),
            Instruction::Split(..) | Instruction::Jump(_) | Instruction::Assert(_) | Instruction::Match => 0,
        });
        if !(1..=PATTERN_INSTRUCTIONS_MAX).contains(&program.len())
            || ranges.sum::<usize>() > PATTERN_RANGES_MAX
        {
            return Err(InvalidPattern::Size);
        }
        let exists = |target: u32| usize::try_from(target).is_ok_and(|target| target < program.len());
        let is_whole = program.iter().all(|step| match step {
            Instruction::Split(one, other) => exists(*one) && exists(*other),
            Instruction::Jump(target) => exists(*target),
            Instruction::Class(_) | Instruction::Assert(_) | Instruction::Match => true,
        });
        if !is_whole {
            return Err(InvalidPattern::Target);
        }
        Ok(Self(program))
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &[Instruction] {
        &self.0
    }

    /// Whether the text has a part that matches. Adds the steps taken to `work`.
    #[must_use]
    pub fn matches(&self, text: &[u8], work: &mut u64) -> bool {
        let mut run = Run {
            program: &self.0,
            marks: alloc::vec![0; self.0.len()],
            generation: 0,
            waiting: Vec::new(),
            work,
        };
        let is_anchored = matches!(self.0.first(), Some(Instruction::Assert(Assertion::Start)));
        let (mut threads, mut next) = (Vec::new(), Vec::new());
        let (mut before, mut rest) = (None, text);
        let mut is_start = true;
        loop {
            let here = character(rest);
            let place = Place {
                before,
                after: here.map(|(found, _)| found),
            };
            if (is_start || !is_anchored) && run.follow(0, place, &mut threads) {
                return true;
            }
            is_start = false;
            let Some((found, behind)) = here else { return false };
            if is_anchored && threads.is_empty() {
                return false;
            }
            let place = Place {
                before: Some(found),
                after: character(behind).map(|(found, _)| found),
            };
            run.generation += 1;
            next.clear();
            for &thread in &threads {
                *run.work = run.work.saturating_add(1);
                if run.takes(thread, found) && run.follow(thread + 1, place, &mut next) {
                    return true;
                }
            }
            core::mem::swap(&mut threads, &mut next);
            (before, rest) = (Some(found), behind);
        }
    }
}

/// What is on either side of a place.
#[derive(Clone, Copy)]
struct Place {
    before: Option<u32>,
    after: Option<u32>,
}

impl Place {
    fn fulfils(self, assertion: Assertion) -> bool {
        let is_word = |side: Option<u32>| {
            side.and_then(|found| u8::try_from(found).ok())
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let is_boundary = is_word(self.before) != is_word(self.after);
        match assertion {
            Assertion::Start => self.before.is_none(),
            Assertion::End => self.after.is_none(),
            Assertion::WordBoundary => is_boundary,
            Assertion::NotWordBoundary => !is_boundary,
        }
    }
}

struct Run<'p, 'w> {
    program: &'p [Instruction],
    /// In which generation each instruction was last reached.
    marks: Vec<u64>,
    generation: u64,
    waiting: Vec<usize>,
    work: &'w mut u64,
}

impl Run<'_, '_> {
    /// Whether a thread that waits at a class takes this character.
    fn takes(&self, thread: usize, found: u32) -> bool {
        let Some(Instruction::Class(ranges)) = self.program.get(thread) else {
            return false;
        };
        let place = ranges.partition_point(|(_, last)| *last < found);
        ranges.get(place).is_some_and(|(first, _)| *first <= found)
    }

    /// Adds the classes that are reached from an instruction without taking a character; says whether
    /// the match is.
    fn follow(&mut self, from: usize, place: Place, threads: &mut Vec<usize>) -> bool {
        let target = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        self.waiting.push(from);
        while let Some(at) = self.waiting.pop() {
            *self.work = self.work.saturating_add(1);
            // Marks of a generation begin at 1, so that a new one is no generation's.
            match self.marks.get_mut(at) {
                Some(mark) if *mark <= self.generation => *mark = self.generation + 1,
                Some(_) | None => continue,
            }
            match self.program.get(at) {
                Some(Instruction::Class(_)) => threads.push(at),
                Some(Instruction::Jump(to)) => self.waiting.push(target(*to)),
                Some(Instruction::Split(one, other)) => {
                    self.waiting.push(target(*one));
                    self.waiting.push(target(*other));
                }
                Some(Instruction::Assert(assertion)) if place.fulfils(*assertion) => {
                    self.waiting.push(at + 1);
                }
                Some(Instruction::Match) => {
                    self.waiting.clear();
                    return true;
                }
                Some(Instruction::Assert(_)) | None => {}
            }
        }
        false
    }
}

/// The first character of a text and what follows it.
fn character(text: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = text.split_first()?;
    if first.is_ascii() {
        return Some((u32::from(*first), rest));
    }
    let start = text.get(..4).unwrap_or(text);
    let whole = match core::str::from_utf8(start) {
        Ok(whole) => whole,
        Err(error) => core::str::from_utf8(start.get(..error.valid_up_to())?).ok()?,
    };
    match whole.chars().next() {
        Some(found) => Some((u32::from(found), text.get(found.len_utf8()..)?)),
        None => Some((BYTES + u32::from(*first), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn class(text: &str) -> Instruction {
        Instruction::Class(
            text.chars()
                .map(|letter| (u32::from(letter), u32::from(letter)))
                .collect(),
        )
    }

    fn matches(program: &Pattern, text: &[u8]) -> bool {
        program.matches(text, &mut 0)
    }

    /// `^(a|b)*c$`
    fn program() -> Pattern {
        Pattern::new(vec![
            Instruction::Assert(Assertion::Start),
            Instruction::Split(2, 4),
            class("ab"),
            Instruction::Jump(1),
            class("c"),
            Instruction::Assert(Assertion::End),
            Instruction::Match,
        ])
        .unwrap()
    }

    #[test]
    fn threads_run_side_by_side() {
        for (text, expected) in [
            ("c", true),
            ("abac", true),
            ("", false),
            ("abca", false),
            ("xc", false),
        ] {
            assert_eq!(matches(&program(), text.as_bytes()), expected, "{text}");
        }
        let anywhere = Pattern::new(vec![class("b"), Instruction::Match]).unwrap();
        assert!(matches(&anywhere, b"aab"));
        assert!(!matches(&anywhere, b"aac"));
    }

    #[test]
    fn the_work_is_at_most_the_product_of_both_lengths() {
        // (a?){n}a{n}, on which engines that try one way after the other take exponential time.
        let n = 500_u32;
        let mut steps = Vec::new();
        for place in 0..n {
            steps.push(Instruction::Split(2 * place + 1, 2 * place + 2));
            steps.push(class("a"));
        }
        steps.extend((0..n).map(|_| class("a")));
        steps.push(Instruction::Match);
        let pattern = Pattern::new(steps).unwrap();
        let mut work = 0;
        let text = vec![b'a'; 499];
        assert!(!pattern.matches(&text, &mut work));
        let (program, length) = (pattern.program().len() as u64, text.len() as u64 + 1);
        assert!(work <= 4 * program * length, "{work}");
        assert!(matches(&pattern, &vec![b'a'; 500]));
    }

    #[test]
    fn programs_that_lead_nowhere_are_refused() {
        let new = Pattern::new;
        assert_eq!(new(vec![]), Err(InvalidPattern::Size));
        assert_eq!(new(vec![Instruction::Jump(1)]), Err(InvalidPattern::Target));
        assert_eq!(new(vec![Instruction::Split(0, 9)]), Err(InvalidPattern::Target));
        let long = vec![Instruction::Match; PATTERN_INSTRUCTIONS_MAX + 1];
        assert_eq!(new(long), Err(InvalidPattern::Size));
        // One that goes round, or off its end, ends all the same.
        let round = new(vec![Instruction::Split(0, 1), Instruction::Jump(0)]).unwrap();
        assert!(!matches(&round, b"aaa"));
        assert!(!matches(&new(vec![class("a")]).unwrap(), b"aaa"));
    }

    #[test]
    fn bytes_that_are_no_text_are_characters_of_their_own() {
        let any = Pattern::new(vec![
            Instruction::Assert(Assertion::Start),
            Instruction::Class(vec![(0, CHARACTER_MAX)]),
            Instruction::Assert(Assertion::End),
            Instruction::Match,
        ])
        .unwrap();
        for text in [
            &b"a"[..],
            "é".as_bytes(),
            "\u{10ffff}".as_bytes(),
            b"\xff",
            b"\xc3",
        ] {
            assert!(matches(&any, text), "{text:?}");
        }
        for text in [&b""[..], b"\xff\xff", "éa".as_bytes(), b"\xc3a"] {
            assert!(!matches(&any, text), "{text:?}");
        }
    }
}
