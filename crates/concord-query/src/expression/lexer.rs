//! Text to tokens.

use concord_core::document::{Finite, Integer};

use super::{Fault, SyntaxError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Integer(Integer),
    Float(Finite),
    String(String),
    Bytes(Vec<u8>),
    /// One of the signs.
    Sign(&'static str),
    End,
}

/// Two letters before one: the first that fits is taken.
const SIGNS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")",
    "[", "]", "=",
];

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(offset: usize, what: &'static str) -> SyntaxError {
        SyntaxError::new(offset, Fault::Token(what))
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token, usize), SyntaxError> {
        self.space();
        let start = self.at;
        let rest = self.rest();
        let token = match rest.as_bytes() {
            [] => Token::End,
            [b'"' | b'\'', ..] => Token::String(self.string(false)?),
            [b'r' | b'R', b'"' | b'\'', ..] => {
                self.at += 1;
                Token::String(self.string(true)?)
            }
            [b'b' | b'B', b'"' | b'\'', ..] => {
                self.at += 1;
                Token::Bytes(self.bytes()?)
            }
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => self.number()?,
            [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                Token::Name(self.take(rest.bytes().take_while(is_part).count()).to_owned())
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| Self::fault(start, "unexpected character"))?;
                if sign == "=" {
                    return Err(Self::fault(start, "`=` is no operator, use `==`"));
                }
                self.at += sign.len();
                Token::Sign(sign)
            }
        };
        Ok((token, start))
    }

    /// White space, and comments up to the end of the line.
    fn space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_ascii_start();
            let comment = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else {
                0
            };
            let skipped = rest.len() - trimmed.len() + comment;
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn digits(&mut self) -> &'a str {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.take(count)
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        let too_large = || Self::fault(start, "number out of range");
        let token = if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.take(2);
            let count = self.rest().bytes().take_while(u8::is_ascii_hexdigit).count();
            let digits = self.take(count);
            if digits.is_empty() {
                return Err(Self::fault(start, "malformed number"));
            }
            let value = u64::from_str_radix(digits, 16).map_err(|_| too_large())?;
            Token::Integer(value.into())
        } else {
            self.digits();
            let mut is_float = false;
            if let [b'.', b'0'..=b'9', ..] = self.rest().as_bytes() {
                is_float = true;
                self.take(1);
                self.digits();
            }
            if let [b'e' | b'E', b'0'..=b'9', ..] | [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..] =
                self.rest().as_bytes()
            {
                is_float = true;
                self.take(2);
                self.digits();
            }
            let text = self.text.get(start..self.at).unwrap_or_default();
            if is_float {
                let value = text.parse().ok().and_then(Finite::new);
                Token::Float(value.ok_or_else(too_large)?)
            } else {
                Token::Integer(text.parse::<u64>().map_err(|_| too_large())?.into())
            }
        };
        match self.rest().bytes().next() {
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => {
                Err(Self::fault(start, "malformed number"))
            }
            _ => Ok(token),
        }
    }

    fn string(&mut self, is_raw: bool) -> Result<String, SyntaxError> {
        let mut text = String::new();
        self.quoted(is_raw, |letter, offset| {
            let letter = match letter {
                Letter::Plain(letter) => letter,
                Letter::Octet(code) => char::from(code),
                Letter::Point(code) => {
                    char::from_u32(code).ok_or_else(|| Self::fault(offset, "no such character"))?
                }
            };
            text.push(letter);
            Ok(())
        })?;
        Ok(text)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, SyntaxError> {
        let mut bytes = Vec::new();
        self.quoted(false, |letter, offset| {
            match letter {
                Letter::Plain(letter) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                Letter::Octet(byte) => bytes.push(byte),
                Letter::Point(_) => return Err(Self::fault(offset, "no such escape in bytes")),
            }
            Ok(())
        })?;
        Ok(bytes)
    }

    /// The letters between two quotes.
    fn quoted(
        &mut self,
        is_raw: bool,
        mut take: impl FnMut(Letter, usize) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        let start = self.at;
        let quote = self.letter();
        loop {
            let offset = self.at;
            match self.letter() {
                None | Some('\n' | '\r') => return Err(Self::fault(start, "string without an end")),
                letter if letter == quote => return Ok(()),
                Some('\\') if !is_raw => take(self.escape(offset)?, offset)?,
                Some(letter) => take(Letter::Plain(letter), offset)?,
            }
        }
    }

    fn letter(&mut self) -> Option<char> {
        let letter = self.rest().chars().next()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn escape(&mut self, offset: usize) -> Result<Letter, SyntaxError> {
        let unknown = || Self::fault(offset, "unknown escape");
        Ok(match self.letter().ok_or_else(unknown)? {
            letter @ ('\\' | '"' | '\'' | '`' | '?') => Letter::Plain(letter),
            'n' => Letter::Plain('\n'),
            'r' => Letter::Plain('\r'),
            't' => Letter::Plain('\t'),
            'a' => Letter::Plain('\u{7}'),
            'b' => Letter::Plain('\u{8}'),
            'f' => Letter::Plain('\u{c}'),
            'v' => Letter::Plain('\u{b}'),
            'x' | 'X' => Letter::Octet(u8::try_from(self.code(2, 16, offset)?).map_err(|_| unknown())?),
            'u' => Letter::Point(self.code(4, 16, offset)?),
            'U' => Letter::Point(self.code(8, 16, offset)?),
            '0'..='3' => {
                self.at -= 1;
                Letter::Octet(u8::try_from(self.code(3, 8, offset)?).map_err(|_| unknown())?)
            }
            _ => return Err(unknown()),
        })
    }

    fn code(&mut self, digits: usize, radix: u32, offset: usize) -> Result<u32, SyntaxError> {
        let text = self.take(digits);
        let is_whole = text.len() == digits && text.chars().all(|digit| digit.is_digit(radix));
        u32::from_str_radix(text, radix)
            .ok()
            .filter(|_| is_whole)
            .ok_or_else(|| Self::fault(offset, "malformed escape"))
    }
}

/// What stands in a string.
enum Letter {
    Plain(char),
    /// `\xhh`, `\ooo`: a byte in bytes, a character below 256 in a string.
    Octet(u8),
    /// `\uhhhh`
    Point(u32),
}
