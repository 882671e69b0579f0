//! Tokens to a tree, by recursive descent. Every recursion passes [`Parser::nested`], which bounds it.

use concord_core::expr::{Binary, Expr, Literal, Unary, Variable};
use concord_core::limits::EXPRESSION_DEPTH_MAX;

use super::lexer::{Lexer, Token};
use super::{Fault, SyntaxError};

/// Brackets, signs and branches within one another. The text of any tree within its own
/// limit has at most two for each level.
const NESTING_MAX: usize = 2 * EXPRESSION_DEPTH_MAX;

pub(super) fn parse(text: &str) -> Result<Expr, SyntaxError> {
    let mut lexer = Lexer::new(text);
    let (token, offset) = lexer.next()?;
    let mut parser = Parser {
        lexer,
        token,
        offset,
        nesting: 0,
    };
    let root = parser.conditional()?;
    if parser.token == Token::End {
        Ok(root)
    } else {
        Err(parser.unexpected("an operator or the end"))
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token that is looked at, and where it begins.
    token: Token,
    offset: usize,
    nesting: usize,
}

type Parsed = Result<Expr, SyntaxError>;

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, SyntaxError> {
        let (token, offset) = self.lexer.next()?;
        self.offset = offset;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn unexpected(&self, expected: &'static str) -> SyntaxError {
        let found = match &self.token {
            Token::Name(name) => format!("`{name}`"),
            Token::Integer(number) => format!("`{number}`"),
            Token::Float(number) => format!("`{:?}`", number.get()),
            Token::String(_) => "a string".to_owned(),
            Token::Bytes(_) => "bytes".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        };
        SyntaxError::new(self.offset, Fault::Unexpected { expected, found })
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token, Token::Sign(found) if found == sign)
    }

    /// The sign or word that is looked at.
    fn operator(&self) -> &str {
        match &self.token {
            Token::Sign(sign) => sign,
            Token::Name(name) => name,
            Token::Integer(_) | Token::Float(_) | Token::String(_) | Token::Bytes(_) | Token::End => "",
        }
    }

    fn accept(&mut self, sign: &str) -> Result<bool, SyntaxError> {
        let is = self.is(sign);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), SyntaxError> {
        if self.accept(sign)? {
            Ok(())
        } else {
            Err(self.unexpected(match sign {
                ")" => "`)`",
                "]" => "`]`",
                "(" => "`(`",
                _ => "`:`",
            }))
        }
    }

    /// One level further in.
    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.nesting == NESTING_MAX {
            return Err(SyntaxError::new(self.offset, Fault::TooDeep));
        }
        self.nesting += 1;
        let parsed = parse(self)?;
        self.nesting -= 1;
        Ok(parsed)
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.any()?;
        if !self.accept("?")? {
            return Ok(condition);
        }
        let then = self.nested(Self::any)?;
        self.expect(":")?;
        let otherwise = self.nested(Self::conditional)?;
        Ok(Expr::Conditional(Box::new([condition, then, otherwise])))
    }

    fn any(&mut self) -> Parsed {
        let mut parts = vec![self.all()?];
        while self.accept("||")? {
            parts.push(self.all()?);
        }
        Ok(joined(parts, Expr::Any))
    }

    fn all(&mut self) -> Parsed {
        let mut parts = vec![self.relation()?];
        while self.accept("&&")? {
            parts.push(self.relation()?);
        }
        Ok(joined(parts, Expr::All))
    }

    fn relation(&mut self) -> Parsed {
        let operation = |operator: &str| match operator {
            "==" => Some(Binary::Equal),
            "!=" => Some(Binary::NotEqual),
            "<" => Some(Binary::Less),
            "<=" => Some(Binary::LessOrEqual),
            ">" => Some(Binary::Greater),
            ">=" => Some(Binary::GreaterOrEqual),
            "in" => Some(Binary::In),
            _ => None,
        };
        self.left_to_right(operation, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        let operation = |operator: &str| match operator {
            "+" => Some(Binary::Add),
            "-" => Some(Binary::Subtract),
            _ => None,
        };
        self.left_to_right(operation, Self::product)
    }

    fn product(&mut self) -> Parsed {
        let operation = |operator: &str| match operator {
            "*" => Some(Binary::Multiply),
            "/" => Some(Binary::Divide),
            "%" => Some(Binary::Remainder),
            _ => None,
        };
        self.left_to_right(operation, Self::unary)
    }

    fn left_to_right(
        &mut self,
        operation: impl Fn(&str) -> Option<Binary>,
        operand: impl Fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut left = operand(self)?;
        let mut levels = 0;
        while let Some(operation) = operation(self.operator()) {
            // Each adds a level on the left: stopped here, so that dropping the tree stays shallow too.
            levels += 1;
            if levels > EXPRESSION_DEPTH_MAX {
                return Err(SyntaxError::new(self.offset, Fault::TooDeep));
            }
            self.advance()?;
            left = left.with(operation, operand(self)?);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        if self.accept("!")? {
            let operand = self.nested(Self::unary)?;
            return Ok(Expr::Unary(Unary::Not, Box::new(operand)));
        }
        let start = self.offset;
        if self.accept("-")? {
            if let Token::Integer(_) | Token::Float(_) = &self.token {
                let literal = self.negative_number(start)?;
                return self.member(Expr::Literal(literal));
            }
            let operand = self.nested(Self::unary)?;
            return Ok(Expr::Unary(Unary::Negate, Box::new(operand)));
        }
        let primary = self.primary()?;
        self.member(primary)
    }

    /// A number behind its sign: the smallest integer has no positive counterpart.
    fn negative_number(&mut self, start: usize) -> Result<Literal, SyntaxError> {
        let out_of_range = || SyntaxError::new(start, Fault::Token("number out of range"));
        match self.advance()? {
            Token::Integer(number) => {
                let number = number
                    .as_u64()
                    .and_then(|number| 0_i64.checked_sub_unsigned(number));
                Ok(Literal::Integer(number.ok_or_else(out_of_range)?.into()))
            }
            Token::Float(number) => {
                let number = concord_core::document::Finite::new(-number.get());
                Ok(Literal::Float(number.ok_or_else(out_of_range)?))
            }
            Token::Name(_) | Token::String(_) | Token::Bytes(_) | Token::Sign(_) | Token::End => {
                Err(out_of_range())
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let start = self.offset;
        match &self.token {
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.nested(Self::conditional)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.advance()?;
                self.list()
            }
            Token::Sign(_) | Token::End => Err(self.unexpected("a value")),
            Token::Name(_) | Token::Integer(_) | Token::Float(_) | Token::String(_) | Token::Bytes(_) => {
                match self.advance()? {
                    Token::Name(name) => self.named(name, start),
                    Token::Integer(number) => Ok(Expr::Literal(Literal::Integer(number))),
                    Token::Float(number) => Ok(Expr::Literal(Literal::Float(number))),
                    Token::String(text) => Ok(Expr::Literal(Literal::String(text))),
                    Token::Bytes(bytes) => Ok(Expr::Literal(Literal::Bytes(bytes))),
                    Token::Sign(_) | Token::End => Err(self.unexpected("a value")),
                }
            }
        }
    }

    fn list(&mut self) -> Parsed {
        let mut items = Vec::new();
        while !self.is("]") {
            items.push(self.nested(Self::conditional)?);
            if !self.accept(",")? {
                break;
            }
        }
        self.expect("]")?;
        Ok(Expr::List(items))
    }

    fn named(&mut self, name: String, start: usize) -> Parsed {
        if self.is("(") {
            return self.function(name, start);
        }
        let literal = match name.as_str() {
            "null" => Literal::Null,
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            _ => {
                let variable = Variable::ALL.into_iter().find(|variable| variable.name() == name);
                let unknown = || SyntaxError::new(start, Fault::UnknownName(name));
                return variable.map(Expr::Variable).ok_or_else(unknown);
            }
        };
        Ok(Expr::Literal(literal))
    }

    fn function(&mut self, name: String, start: usize) -> Parsed {
        if !matches!(name.as_str(), "size" | "has") {
            return Err(unknown_function(name, start));
        }
        let argument_start = self.offset.saturating_add(1);
        let argument = self.argument()?;
        match (name.as_str(), argument) {
            ("size", operand) => Ok(Expr::Unary(Unary::Size, Box::new(operand))),
            (_, Expr::Index(of, at)) => Ok(Expr::Has(of, at)),
            (_, _) => Err(SyntaxError::new(
                argument_start,
                Fault::Token("`has` asks for a field or an item, as in `has(value.name)`"),
            )),
        }
    }

    /// The one argument of a call.
    fn argument(&mut self) -> Parsed {
        self.expect("(")?;
        let argument = self.nested(Self::conditional)?;
        self.expect(")")?;
        Ok(argument)
    }

    /// What follows a value: fields, items and methods.
    fn member(&mut self, mut of: Expr) -> Parsed {
        let mut levels = 0;
        loop {
            levels += 1;
            if levels > EXPRESSION_DEPTH_MAX {
                return Err(SyntaxError::new(self.offset, Fault::TooDeep));
            }
            if self.accept("[")? {
                let at = self.nested(Self::conditional)?;
                self.expect("]")?;
                of = Expr::Index(Box::new(of), Box::new(at));
            } else if self.accept(".")? {
                let start = self.offset;
                let Token::Name(_) = &self.token else {
                    return Err(self.unexpected("the name of a field"));
                };
                let Token::Name(name) = self.advance()? else {
                    return Err(self.unexpected("the name of a field"));
                };
                of = if self.is("(") {
                    self.method(of, name, start)?
                } else {
                    of.field(name)
                };
            } else {
                return Ok(of);
            }
        }
    }

    fn method(&mut self, of: Expr, name: String, start: usize) -> Parsed {
        let operation = match name.as_str() {
            "startsWith" => Binary::StartsWith,
            "endsWith" => Binary::EndsWith,
            "contains" => Binary::Contains,
            "size" => {
                self.expect("(")?;
                self.expect(")")?;
                return Ok(Expr::Unary(Unary::Size, Box::new(of)));
            }
            _ => return Err(unknown_function(name, start)),
        };
        let argument = self.argument()?;
        Ok(of.with(operation, argument))
    }
}

fn unknown_function(name: String, start: usize) -> SyntaxError {
    let fault = if name == "matches" {
        Fault::Matches
    } else {
        Fault::UnknownFunction(name)
    };
    SyntaxError::new(start, fault)
}

fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => Expr::Literal(Literal::Null),
    }
}
