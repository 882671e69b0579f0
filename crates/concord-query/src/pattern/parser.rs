//! Text to the tree of a pattern.

use concord_core::pattern::Assertion;

use super::{CHARACTER_MAX, InvalidPattern, NESTING_MAX, Node};

type Parsed<T = Node> = Result<T, InvalidPattern>;
type Ranges = Vec<(u32, u32)>;

/// The most that a repetition can ask for.
const REPEAT_MAX: u32 = 1_000;

pub(super) fn parse(text: &str) -> Parsed {
    let mut parser = Parser {
        text,
        at: 0,
        nesting: 0,
        ignores_case: false,
    };
    let node = parser.either()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.fault("`)` that closes nothing")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nesting: usize,
    ignores_case: bool,
}

impl Parser<'_> {
    const fn fault(&self, what: &'static str) -> InvalidPattern {
        InvalidPattern {
            what,
            offset: self.at,
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn accept(&mut self, text: &str) -> bool {
        let is = self.rest().starts_with(text);
        if is {
            self.at += text.len();
        }
        is
    }

    fn either(&mut self) -> Parsed {
        let mut parts = vec![self.sequence()?];
        while self.accept("|") {
            parts.push(self.sequence()?);
        }
        Ok(match parts.len() {
            1 => parts.swap_remove(0),
            _several => Node::Either(parts),
        })
    }

    fn sequence(&mut self) -> Parsed {
        // A flag within a group holds to its end.
        let mut parts = Vec::new();
        while self.peek().is_some_and(|found| found != '|' && found != ')') {
            if self.accept("(?i)") {
                self.ignores_case = true;
                continue;
            }
            let part = self.atom()?;
            parts.push(self.repeated(part)?);
        }
        Ok(Node::Sequence(parts))
    }

    fn repeated(&mut self, mut node: Node) -> Parsed {
        loop {
            let (least, most) = if self.accept("*") {
                (0, None)
            } else if self.accept("+") {
                (1, None)
            } else if self.accept("?") {
                (0, Some(1))
            } else if self.peek() == Some('{') {
                self.counts()?
            } else {
                return Ok(node);
            };
            // Whether as many or as few as possible are taken makes no difference to whether it matches.
            self.accept("?");
            node = Node::Repeat {
                of: Box::new(node),
                least,
                most,
            };
        }
    }

    /// `{n}`, `{n,}` or `{n,m}`.
    fn counts(&mut self) -> Parsed<(u32, Option<u32>)> {
        self.accept("{");
        let least = self.number()?;
        let most = if !self.accept(",") {
            Some(least)
        } else if self.peek() == Some('}') {
            None
        } else {
            Some(self.number()?)
        };
        if !self.accept("}") {
            return Err(self.fault("expected `}`"));
        }
        if most.is_some_and(|most| most < least) {
            return Err(self.fault("repetition of at most fewer than at least"));
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Parsed<u32> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest().get(..digits).and_then(|digits| digits.parse().ok());
        match number {
            Some(number) if number <= REPEAT_MAX => {
                self.at += digits;
                Ok(number)
            }
            Some(_) => Err(self.fault("repetition of more than 1000")),
            None => Err(self.fault("expected a number of times")),
        }
    }

    fn atom(&mut self) -> Parsed {
        let start = self.at;
        let Some(found) = self.next() else {
            return Err(self.fault("expected a character"));
        };
        match found {
            '(' => self.group(),
            '[' => self.class(),
            '.' => Ok(Node::Class(without(&[(10, 10)]))),
            '^' => Ok(Node::Assert(Assertion::Start)),
            '$' => Ok(Node::Assert(Assertion::End)),
            '\\' => self.escape(),
            '*' | '+' | '?' | '{' => {
                self.at = start;
                Err(self.fault("nothing to repeat"))
            }
            letter => Ok(self.letter(letter)),
        }
    }

    fn letter(&self, letter: char) -> Node {
        let letter = u32::from(letter);
        Node::Class(self.folded(vec![(letter, letter)]))
    }

    /// The ranges with the other case of their ASCII letters, if that is asked for.
    fn folded(&self, mut ranges: Ranges) -> Ranges {
        if self.ignores_case {
            for (first, last) in ranges.clone() {
                for (from, to, other) in [(65, 90, 97), (97, 122, 65)] {
                    let (low, high) = (first.max(from), last.min(to));
                    if low <= high {
                        ranges.push((low - from + other, high - from + other));
                    }
                }
            }
        }
        merged(ranges)
    }

    fn group(&mut self) -> Parsed {
        let is_nested_too_deep = self.nesting == NESTING_MAX;
        if is_nested_too_deep {
            return Err(self.fault("groups are nested too deeply"));
        }
        self.nesting += 1;
        let before = self.ignores_case;
        if self.accept("?i:") {
            self.ignores_case = true;
        } else if !self.accept("?:") && self.peek() == Some('?') {
            return Err(self.fault("kind of group that there is not: there is (?:..), (?i:..) and (?i)"));
        }
        let node = self.either()?;
        if !self.accept(")") {
            return Err(self.fault("expected `)`"));
        }
        self.ignores_case = before;
        self.nesting -= 1;
        Ok(node)
    }

    fn escape(&mut self) -> Parsed {
        if self.accept("b") {
            return Ok(Node::Assert(Assertion::WordBoundary));
        }
        if self.accept("B") {
            return Ok(Node::Assert(Assertion::NotWordBoundary));
        }
        if self.accept("A") {
            return Ok(Node::Assert(Assertion::Start));
        }
        if self.accept("z") {
            return Ok(Node::Assert(Assertion::End));
        }
        let ranges = self.escaped()?;
        Ok(Node::Class(self.folded(ranges)))
    }

    /// What a `\` and what follows it stand for, in a class or outside.
    fn escaped(&mut self) -> Parsed<Ranges> {
        let start = self.at;
        let Some(found) = self.next() else {
            return Err(self.fault("`\\` that escapes nothing"));
        };
        let one = |letter: char| vec![(u32::from(letter), u32::from(letter))];
        Ok(match found {
            'd' => digits(),
            'D' => without(&digits()),
            'w' => words(),
            'W' => without(&words()),
            's' => spaces(),
            'S' => without(&spaces()),
            'n' => one('\n'),
            't' => one('\t'),
            'r' => one('\r'),
            'x' => {
                let code = self
                    .rest()
                    .get(..2)
                    .and_then(|code| u32::from_str_radix(code, 16).ok());
                let Some(code) = code.filter(|code| *code < 0x80) else {
                    return Err(self.fault("expected two hexadecimal digits, up to 7f"));
                };
                self.at += 2;
                vec![(code, code)]
            }
            letter if letter.is_ascii_punctuation() => one(letter),
            _letter => {
                self.at = start;
                return Err(self.fault("escape that there is not"));
            }
        })
    }

    fn class(&mut self) -> Parsed {
        let is_without = self.accept("^");
        let mut ranges = Ranges::new();
        let mut is_first = true;
        loop {
            let start = self.at;
            let Some(found) = self.next() else {
                return Err(self.fault("class without an end"));
            };
            let item = match found {
                ']' if !is_first => break,
                '[' => {
                    self.at = start;
                    return Err(self.fault("`[` in a class must be escaped"));
                }
                '&' | '~' | '-' if self.peek() == Some(found) => {
                    self.at = start;
                    return Err(self.fault("sets of classes there are not: escape these characters"));
                }
                '\\' => self.escaped()?,
                letter => vec![(u32::from(letter), u32::from(letter))],
            };
            is_first = false;
            let item = self.range_from(item)?;
            ranges.extend(item);
        }
        let ranges = self.folded(ranges);
        Ok(Node::Class(if is_without { without(&ranges) } else { ranges }))
    }

    /// The range that begins with an item of a class, or the item.
    fn range_from(&mut self, item: Ranges) -> Parsed<Ranges> {
        let mut ahead = self.rest().chars();
        let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|behind| behind != ']');
        let [(first, last)] = item.as_slice() else {
            return Ok(item);
        };
        if !is_range || first != last {
            return Ok(item);
        }
        let first = *first;
        self.accept("-");
        let end = match self.next() {
            Some('\\') => self.escaped()?,
            Some('[') | None => return Err(self.fault("range without an end")),
            Some(letter) => vec![(u32::from(letter), u32::from(letter))],
        };
        match end.as_slice() {
            [(end, same)] if end == same && first <= *end => Ok(vec![(first, *end)]),
            _other => Err(self.fault("range that ends before it begins")),
        }
    }
}

fn digits() -> Ranges {
    vec![(48, 57)]
}

fn words() -> Ranges {
    vec![(48, 57), (65, 90), (95, 95), (97, 122)]
}

fn spaces() -> Ranges {
    vec![(9, 13), (32, 32)]
}

/// In order, without gaps or overlaps between neighbours.
fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut merged = Ranges::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}

/// Every character but these, which are in order.
fn without(ranges: &[(u32, u32)]) -> Ranges {
    let mut others = Ranges::new();
    let mut next = 0;
    for (first, last) in ranges {
        if *first > next {
            others.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= CHARACTER_MAX {
        others.push((next, CHARACTER_MAX));
    }
    others
}
