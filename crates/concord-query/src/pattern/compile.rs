//! Patterns to programs.

use concord_core::pattern::{Instruction, Pattern};

use super::{Node, PATTERN_INSTRUCTIONS_MAX};

/// Parts that are gone through: repeated ones count as often as they are repeated, also where they add
/// no instruction.
const PARTS_MAX: usize = 1 << 16;

/// The program of a pattern, unless it is too long.
pub(super) fn compile(node: &Node) -> Option<Pattern> {
    let mut program = Program {
        steps: Vec::new(),
        parts: 0,
    };
    program.add(node)?;
    program.push(Instruction::Match)?;
    Pattern::new(program.steps).ok()
}

struct Program {
    steps: Vec<Instruction>,
    parts: usize,
}

impl Program {
    fn push(&mut self, step: Instruction) -> Option<usize> {
        if self.steps.len() >= PATTERN_INSTRUCTIONS_MAX {
            return None;
        }
        self.steps.push(step);
        Some(self.steps.len() - 1)
    }

    /// The next instruction's place.
    fn here(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    fn set(&mut self, place: usize, step: Instruction) {
        if let Some(found) = self.steps.get_mut(place) {
            *found = step;
        }
    }

    fn add(&mut self, node: &Node) -> Option<()> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return None;
        }
        match node {
            Node::Class(ranges) => self.push(Instruction::Class(ranges.clone())).map(|_| ()),
            Node::Assert(assertion) => self.push(Instruction::Assert(*assertion)).map(|_| ()),
            Node::Sequence(parts) => parts.iter().try_for_each(|part| self.add(part)),
            Node::Either(parts) => self.either(parts),
            Node::Repeat { of, least, most } => {
                for _ in 0..*least {
                    self.add(of)?;
                }
                match most {
                    None => self.any_number(of),
                    Some(most) => self.up_to(of, most.saturating_sub(*least)),
                }
            }
        }
    }

    fn either(&mut self, parts: &[Node]) -> Option<()> {
        let Some((last, others)) = parts.split_last() else {
            return Some(());
        };
        let mut jumps = Vec::new();
        for part in others {
            let split = self.push(Instruction::Split(0, 0))?;
            let first = self.here();
            self.add(part)?;
            jumps.push(self.push(Instruction::Jump(0))?);
            let second = self.here();
            self.set(split, Instruction::Split(first, second));
        }
        self.add(last)?;
        let end = self.here();
        for jump in jumps {
            self.set(jump, Instruction::Jump(end));
        }
        Some(())
    }

    fn any_number(&mut self, of: &Node) -> Option<()> {
        let start = self.here();
        let split = self.push(Instruction::Split(0, 0))?;
        let body = self.here();
        self.add(of)?;
        self.push(Instruction::Jump(start))?;
        let end = self.here();
        self.set(split, Instruction::Split(body, end));
        Some(())
    }

    fn up_to(&mut self, of: &Node, most: u32) -> Option<()> {
        let mut splits = Vec::new();
        for _ in 0..most {
            splits.push((self.push(Instruction::Split(0, 0))?, self.here()));
            self.add(of)?;
        }
        let end = self.here();
        for (split, body) in splits {
            self.set(split, Instruction::Split(body, end));
        }
        Some(())
    }
}
