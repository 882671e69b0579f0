//! Expressions as text, in the syntax that `concord-query` reads: reading it gives the same tree.

use core::fmt::{self, Formatter, Write};

use super::{Binary, Evaluated, Expr, Expression, Literal, Unary};

/// How tightly a form holds together; in parentheses where its place needs more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Conditional,
    Any,
    All,
    Relation,
    Sum,
    Product,
    Unary,
    Primary,
}

impl Binding {
    const fn tighter(self) -> Self {
        match self {
            Self::Conditional => Self::Any,
            Self::Any => Self::All,
            Self::All => Self::Relation,
            Self::Relation => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Unary,
            Self::Unary | Self::Primary => Self::Primary,
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        expr(self.root(), Binding::Conditional, f)
    }
}

fn expr(part: &Expr, least: Binding, f: &mut Formatter<'_>) -> fmt::Result {
    if binding(part) < least {
        f.write_char('(')?;
        open(part, f)?;
        return f.write_char(')');
    }
    open(part, f)
}

fn binding(part: &Expr) -> Binding {
    match part {
        Expr::Conditional(_) => Binding::Conditional,
        Expr::Any(_) => Binding::Any,
        Expr::All(_) => Binding::All,
        Expr::Binary(operation, _, _) => match sign(*operation) {
            Sign::Infix(_, binding) => binding,
            Sign::Method(_) => Binding::Primary,
        },
        // Numbers too: `-(5)` is an operation, `-5` a number, and `5.a` begins like a float.
        Expr::Unary(Unary::Not | Unary::Negate, _)
        | Expr::Literal(Literal::Integer(_) | Literal::Float(_)) => Binding::Unary,
        Expr::Unary(Unary::Size, _)
        | Expr::Literal(Literal::Null | Literal::Bool(_) | Literal::String(_) | Literal::Bytes(_))
        | Expr::Variable(_)
        | Expr::List(_)
        | Expr::Index(_, _)
        | Expr::Has(_, _) => Binding::Primary,
    }
}

enum Sign {
    Infix(&'static str, Binding),
    Method(&'static str),
}

const fn sign(operation: Binary) -> Sign {
    match operation {
        Binary::Equal => Sign::Infix("==", Binding::Relation),
        Binary::NotEqual => Sign::Infix("!=", Binding::Relation),
        Binary::Less => Sign::Infix("<", Binding::Relation),
        Binary::LessOrEqual => Sign::Infix("<=", Binding::Relation),
        Binary::Greater => Sign::Infix(">", Binding::Relation),
        Binary::GreaterOrEqual => Sign::Infix(">=", Binding::Relation),
        Binary::In => Sign::Infix("in", Binding::Relation),
        Binary::Add => Sign::Infix("+", Binding::Sum),
        Binary::Subtract => Sign::Infix("-", Binding::Sum),
        Binary::Multiply => Sign::Infix("*", Binding::Product),
        Binary::Divide => Sign::Infix("/", Binding::Product),
        Binary::Remainder => Sign::Infix("%", Binding::Product),
        Binary::StartsWith => Sign::Method("startsWith"),
        Binary::EndsWith => Sign::Method("endsWith"),
        Binary::Contains => Sign::Method("contains"),
    }
}

/// Without parentheses around it.
fn open(part: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    match part {
        Expr::Literal(value) => literal(value, f),
        Expr::Variable(variable) => f.write_str(variable.name()),
        Expr::List(parts) => {
            f.write_char('[')?;
            separated(parts, ", ", Binding::Conditional, f)?;
            f.write_char(']')
        }
        Expr::Index(of, at) => index(of, at, f),
        Expr::Has(of, at) => {
            f.write_str("has(")?;
            index(of, at, f)?;
            f.write_char(')')
        }
        Expr::Unary(Unary::Size, operand) => {
            f.write_str("size(")?;
            expr(operand, Binding::Conditional, f)?;
            f.write_char(')')
        }
        Expr::Unary(Unary::Not, operand) => prefix('!', operand, f),
        Expr::Unary(Unary::Negate, operand) => prefix('-', operand, f),
        Expr::Binary(operation, left, right) => binary(*operation, left, right, f),
        Expr::All(parts) => separated(parts, " && ", Binding::Relation, f),
        Expr::Any(parts) => separated(parts, " || ", Binding::All, f),
        Expr::Conditional(parts) => {
            let [condition, then, otherwise] = &**parts;
            expr(condition, Binding::Any, f)?;
            f.write_str(" ? ")?;
            expr(then, Binding::Any, f)?;
            f.write_str(" : ")?;
            expr(otherwise, Binding::Conditional, f)
        }
    }
}

fn prefix(sign: char, operand: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char(sign)?;
    expr(operand, Binding::Primary, f)
}

fn separated(parts: &[Expr], between: &str, least: Binding, f: &mut Formatter<'_>) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        f.write_str(if place > 0 { between } else { "" })?;
        expr(part, least, f)?;
    }
    Ok(())
}

fn binary(operation: Binary, left: &Expr, right: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    match sign(operation) {
        Sign::Infix(sign, binding) => {
            expr(left, binding, f)?;
            write!(f, " {sign} ")?;
            expr(right, binding.tighter(), f)
        }
        Sign::Method(name) => {
            expr(left, Binding::Primary, f)?;
            write!(f, ".{name}(")?;
            expr(right, Binding::Conditional, f)?;
            f.write_char(')')
        }
    }
}

fn index(of: &Expr, at: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    expr(of, Binding::Primary, f)?;
    if let Expr::Literal(Literal::String(name)) = at
        && is_identifier(name)
    {
        return write!(f, ".{name}");
    }
    f.write_char('[')?;
    expr(at, Binding::Conditional, f)?;
    f.write_char(']')
}

fn is_identifier(name: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.as_bytes().first().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(&byte) || byte.is_ascii_digit())
}

fn literal(value: &Literal, f: &mut Formatter<'_>) -> fmt::Result {
    match value {
        Literal::Null => f.write_str("null"),
        Literal::Bool(value) => write!(f, "{value}"),
        Literal::Integer(value) => write!(f, "{value}"),
        // The shortest digits that read back as the same number, with a point or an exponent.
        Literal::Float(value) => write!(f, "{:?}", value.get()),
        Literal::String(text) => string(text, f),
        Literal::Bytes(bytes) => {
            f.write_str("b\"")?;
            for byte in bytes {
                match byte {
                    b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    b' '..=b'~' => f.write_char(char::from(*byte))?,
                    byte => write!(f, "\\x{byte:02x}")?,
                }
            }
            f.write_char('"')
        }
    }
}

fn string(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            letter if letter.is_control() => write!(f, "\\u{:04x}", u32::from(letter))?,
            letter => f.write_char(letter)?,
        }
    }
    f.write_char('"')
}

impl fmt::Display for Evaluated {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let comma = |place| if place > 0 { ", " } else { "" };
        match self {
            Self::Scalar(value) => literal(value, f),
            Self::List(items) => {
                f.write_char('[')?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", comma(place))?;
                }
                f.write_char(']')
            }
            Self::Map(fields) => {
                f.write_char('{')?;
                for (place, (name, item)) in fields.iter().enumerate() {
                    f.write_str(comma(place))?;
                    string(name, f)?;
                    write!(f, ": {item}")?;
                }
                f.write_char('}')
            }
        }
    }
}
