//! Reads templates. Three items are looked ahead at most, and errors name the line of the one read last.

use std::collections::BTreeMap;
use std::sync::Arc;

use xebec_promql::number::{self, quoted};
use xebec_promql::parser::unquote;

use super::builtins;
use super::functions;
use super::lexer::{Item, Kind, Lexer};
use super::node::{Branch, Command, Node, Number, Operand, Pipe, Term, Tree};

/// Control structures and parentheses nest so deep at most.
const MOST_DEPTH: usize = 100;

/// Reads a template and those that it defines, by name.
pub(super) fn parse(name: &str, text: &str) -> Result<BTreeMap<String, Tree>, String> {
    let mut source = Source { name, lexer: Lexer::new(text), trees: BTreeMap::new(), depth: 0 };
    let mut parser = Parser::of(&mut source, name);
    let tree = parser.whole()?;
    parser.add(tree)?;
    Ok(source.trees)
}

/// What the readers of all templates of one text share.
struct Source<'t> {
    name: &'t str,
    lexer: Lexer<'t>,
    trees: BTreeMap<String, Tree>,
    depth: usize,
}

/// Reads one template.
struct Parser<'s, 't> {
    source: &'s mut Source<'t>,
    name: String,
    items: [Item; 3],
    /// How many of the items are to be read again.
    ahead: usize,
    /// Where the action began that is being read; zero outside.
    action_line: usize,
    variables: Vec<Arc<str>>,
    ranges: usize,
}

type Parsed<T> = Result<T, String>;

/// What a list of nodes ended with.
enum Ending {
    End,
    Else,
}

enum Read {
    Node(Node),
    Ending(Ending),
}

impl Ending {
    fn shown(&self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

impl<'s, 't> Parser<'s, 't> {
    fn of(source: &'s mut Source<'t>, name: &str) -> Self {
        let none = Item { kind: Kind::Error, at: 0, text: String::new(), line: 0 };
        Self {
            source,
            name: name.to_owned(),
            items: [none.clone(), none.clone(), none],
            ahead: 0,
            action_line: 0,
            variables: vec!["$".into()],
            ranges: 0,
        }
    }

    fn next(&mut self) -> Item {
        if self.ahead > 0 {
            self.ahead -= 1;
        } else {
            self.items[0] = self.source.lexer.next_item();
        }
        self.items[self.ahead].clone()
    }

    fn back(&mut self) {
        self.ahead += 1;
    }

    fn back_before(&mut self, first: Item) {
        self.items[1] = first;
        self.ahead = 2;
    }

    fn back_before_both(&mut self, first: Item, second: Item) {
        self.items[1] = second;
        self.items[2] = first;
        self.ahead = 3;
    }

    fn peek(&mut self) -> Item {
        if self.ahead > 0 {
            return self.items[self.ahead - 1].clone();
        }
        self.ahead = 1;
        self.items[0] = self.source.lexer.next_item();
        self.items[0].clone()
    }

    fn next_word(&mut self) -> Item {
        loop {
            let item = self.next();
            if item.kind != Kind::Space {
                return item;
            }
        }
    }

    fn peek_word(&mut self) -> Item {
        let item = self.next_word();
        self.back();
        item
    }

    fn fail<T>(&self, why: impl std::fmt::Display) -> Parsed<T> {
        Err(format!("template: {}:{}: {why}", self.source.name, self.items[0].line))
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Parsed<T> {
        if item.kind != Kind::Error {
            return self.fail(format!("unexpected {} in {context}", item.shown()));
        }
        let mut place = String::new();
        if self.action_line != 0 && self.action_line != item.line {
            let action = if item.text.ends_with(" action") { "" } else { " in action" };
            place = format!("{action} started at {}:{}", self.source.name, self.action_line);
        }
        self.fail(format!("{}{place}", item.text))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Item> {
        let item = self.next_word();
        if item.kind == kind { Ok(item) } else { self.unexpected(&item, context) }
    }

    /// Runs `read` one level deeper.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.source.depth >= MOST_DEPTH {
            return self.fail("max expression depth exceeded");
        }
        self.source.depth += 1;
        let read = read(self);
        self.source.depth -= 1;
        read
    }

    fn add(&mut self, tree: Tree) -> Parsed<()> {
        match self.source.trees.get(&self.name) {
            Some(known) if !known.is_empty() => {
                if !tree.is_empty() {
                    let name = quoted(&self.name);
                    return self.fail(format!("template: multiple definition of template {name}"));
                }
            }
            _ => {
                self.source.trees.insert(self.name.clone(), tree);
            }
        }
        Ok(())
    }

    /// A whole text, with definitions of others between its nodes.
    fn whole(&mut self) -> Parsed<Tree> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::End {
            if self.peek().kind == Kind::LeftDelim {
                let delimiter = self.next();
                if self.next_word().kind == Kind::Define {
                    let mut inner = Parser::of(self.source, "definition");
                    inner.definition()?;
                    continue;
                }
                self.back_before(delimiter);
            }
            match self.text_or_action()? {
                Read::Ending(ending) => return self.fail(format!("unexpected {}", ending.shown())),
                Read::Node(node) => nodes.push(node),
            }
        }
        Ok(Tree { nodes })
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let name = self.next_word();
        if !matches!(name.kind, Kind::String | Kind::RawString) {
            return self.unexpected(&name, CONTEXT);
        }
        self.name = self.unquoted(&name.text)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        self.rest_of_definition(CONTEXT)
    }

    fn rest_of_definition(&mut self, context: &str) -> Parsed<()> {
        let (nodes, ending) = self.nested(Self::list)?;
        if let Ending::Else = ending {
            return self.fail(format!("unexpected {} in {context}", ending.shown()));
        }
        self.add(Tree { nodes })
    }

    /// Nodes until an `end` or an `else`.
    fn list(&mut self) -> Parsed<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        while self.peek_word().kind != Kind::End {
            match self.text_or_action()? {
                Read::Ending(ending) => return Ok((nodes, ending)),
                Read::Node(node) => nodes.push(node),
            }
        }
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Read> {
        let item = self.next_word();
        match item.kind {
            Kind::Text => Ok(Read::Node(Node::Text(item.text.into()))),
            Kind::LeftDelim => {
                self.action_line = item.line;
                let read = self.action()?;
                self.action_line = 0;
                Ok(read)
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Read> {
        let item = self.next_word();
        let node = match item.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => {
                let next = self.next_word();
                let (name, node) = match item.kind {
                    Kind::Break => ("{{break}}", Node::Break),
                    _ => ("{{continue}}", Node::Continue),
                };
                if next.kind != Kind::RightDelim {
                    return self.unexpected(&next, name);
                }
                if self.ranges == 0 {
                    return self.fail(format!("{name} outside {{{{range}}}}"));
                }
                node
            }
            Kind::Else => {
                if !matches!(self.peek_word().kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Read::Ending(Ending::Else));
            }
            Kind::EndWord => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Read::Ending(Ending::End));
            }
            Kind::If => Node::If(self.nested(|parser| parser.branch("if"))?),
            Kind::Range => Node::Range(self.nested(|parser| parser.branch("range"))?),
            Kind::With => Node::With(self.nested(|parser| parser.branch("with"))?),
            Kind::Template => self.template()?,
            _ => {
                self.back();
                Node::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Read::Node(node))
    }

    fn branch(&mut self, context: &str) -> Parsed<Branch> {
        let known = self.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let is_range = usize::from(context == "range");
        self.ranges += is_range;
        let (list, ending) = self.list()?;
        self.ranges -= is_range;
        let otherwise = match ending {
            Ending::End => None,
            Ending::Else => Some(self.otherwise(context)?),
        };
        self.variables.truncate(known);
        Ok(Branch { pipe, list, otherwise })
    }

    fn otherwise(&mut self, context: &str) -> Parsed<Vec<Node>> {
        let next = self.peek().kind;
        if context == "if" && next == Kind::If {
            self.next();
            return Ok(vec![Node::If(self.nested(|parser| parser.branch("if"))?)]);
        }
        if context == "with" && next == Kind::With {
            self.next();
            return Ok(vec![Node::With(self.nested(|parser| parser.branch("with"))?)]);
        }
        let (list, ending) = self.list()?;
        match ending {
            Ending::End => Ok(list),
            Ending::Else => self.fail(format!("expected end; found {}", ending.shown())),
        }
    }

    fn template_name(&mut self, item: &Item, context: &str) -> Parsed<String> {
        match item.kind {
            Kind::String | Kind::RawString => self.unquoted(&item.text),
            _ => self.unexpected(item, context),
        }
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let item = self.next_word();
        let name = self.template_name(&item, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let mut inner = Parser::of(self.source, &name);
        inner.rest_of_definition(CONTEXT)?;
        Ok(Node::Template { at: item.at, name, pipe: Some(pipe) })
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let item = self.next_word();
        let name = self.template_name(&item, CONTEXT)?;
        let mut pipe = None;
        if self.next_word().kind != Kind::RightDelim {
            self.back();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(Node::Template { at: item.at, name, pipe })
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let mut pipe =
            Pipe { at: self.peek_word().at, assigns: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let item = self.next_word();
            match item.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&item, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (at, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.operands.first().map(|operand| &operand.term);
            if let Some(Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text(..)) = first {
                return self.fail(format!("non executable command in pipeline stage {}", at + 1));
            }
        }
        Ok(pipe)
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            let variable = self.peek_word();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next();
            let after = self.peek();
            let next = self.peek_word();
            let is_comma = next.kind == Kind::Char && next.text == ",";
            if !is_comma && !matches!(next.kind, Kind::Assign | Kind::Declare) {
                match after.kind {
                    Kind::Space => self.back_before_both(variable, after),
                    _ => self.back_before(variable),
                }
                return Ok(());
            }
            self.next_word();
            let name: Arc<str> = variable.text.into();
            pipe.variables.push(Arc::clone(&name));
            self.variables.push(name);
            if !is_comma {
                pipe.assigns = next.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return self.fail(format!("too many declarations in {context}"));
            }
            if !matches!(self.peek_word().kind, Kind::Variable | Kind::RightDelim | Kind::RightParen) {
                return self.fail("range can only initialize variables");
            }
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut command = Command { at: self.peek_word().at, operands: Vec::new() };
        loop {
            self.peek_word();
            command.operands.extend(self.operand()?);
            let item = self.next();
            match item.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.back(),
                Kind::Pipe => {}
                _ => return self.unexpected(&item, "operand"),
            }
            break;
        }
        if command.operands.is_empty() {
            return self.fail("empty command");
        }
        Ok(command)
    }

    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(operand) = self.term()? else { return Ok(None) };
        let next = self.peek();
        if next.kind != Kind::Field {
            return Ok(Some(operand));
        }
        let mut names: Vec<Arc<str>> = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].into());
        }
        let term = match operand.term {
            Term::Field(mut own) => {
                own.extend(names);
                Term::Field(own)
            }
            Term::Variable(mut own) => {
                own.extend(names);
                Term::Variable(own)
            }
            Term::Bool(_) | Term::Text(..) | Term::Number(_) | Term::Nil | Term::Dot => {
                return self.fail(format!("unexpected . after term {}", quoted(&operand.to_string())));
            }
            Term::Function(_) | Term::Chain(..) | Term::Pipe(_) => Term::Chain(Box::new(operand), names),
        };
        Ok(Some(Operand { at: next.at, term }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let item = self.next_word();
        let term = match item.kind {
            Kind::Identifier => {
                if !builtins::is_builtin(&item.text) && functions::function(&item.text).is_none() {
                    return self.fail(format!("function {} not defined", quoted(&item.text)));
                }
                Term::Function(item.text.into())
            }
            Kind::Dot => Term::Dot,
            Kind::Nil => Term::Nil,
            Kind::Variable => {
                if !self.variables.iter().any(|known| **known == *item.text) {
                    return self.fail(format!("undefined variable {}", quoted(&item.text)));
                }
                Term::Variable(vec![item.text.into()])
            }
            Kind::Field => Term::Field(vec![item.text[1..].into()]),
            Kind::Bool => Term::Bool(item.text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match number(&item) {
                Ok(number) => Term::Number(number),
                Err(why) => return self.fail(why),
            },
            Kind::LeftParen => {
                let pipe =
                    self.nested(|parser| parser.pipeline("parenthesized pipeline", Kind::RightParen))?;
                return Ok(Some(Operand { at: pipe.at, term: Term::Pipe(Box::new(pipe)) }));
            }
            Kind::String | Kind::RawString => {
                let text = self.unquoted(&item.text)?;
                Term::Text(item.text, text.into())
            }
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: item.at, term }))
    }

    fn unquoted(&self, text: &str) -> Parsed<String> {
        match unquote(text) {
            Some(text) => Ok(text),
            None => self.fail("invalid syntax"),
        }
    }
}

fn number(item: &Item) -> Result<Number, String> {
    let text = item.text.clone();
    let mut number = Number { text, int: None, is_uint: false, float: None };
    if item.kind == Kind::CharConstant {
        let letter = unquote(&item.text).and_then(|text| text.chars().next());
        let letter = letter.ok_or_else(|| format!("malformed character constant: {}", item.text))?;
        let code = u32::from(letter);
        return Ok(Number { int: Some(code.into()), is_uint: true, float: Some(code.into()), ..number });
    }
    let illegal = || format!("illegal number syntax: {}", quoted(&item.text));
    if let Some(value) = integer(&item.text) {
        number.int = i64::try_from(value).ok();
        number.is_uint = value >= 0;
        number.float = Some(value as f64);
        return Ok(number);
    }
    let value = number::parse(&item.text).map_err(|_| illegal())?;
    if !item.text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {}", quoted(&item.text)));
    }
    number.float = Some(value);
    number.int = (value as i64 as f64 == value).then_some(value as i64);
    number.is_uint = value as u64 as f64 == value;
    Ok(number)
}

/// An integer as Go writes it, with `_` between digits; what 64 bits cannot hold is none.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (rest, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if rest.ends_with('_') || rest.contains("__") || (radix == 10 && rest.starts_with('_')) {
        return None;
    }
    let plain = rest.replace('_', "");
    if !plain.starts_with(|letter: char| letter.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(&plain, radix).ok()?;
    let value = if negative { -value } else { value };
    let fits = value <= i128::from(u64::MAX)
        && value >= i128::from(i64::MIN)
        && !(text.starts_with('+') && value > i128::from(i64::MAX));
    fits.then_some(value)
}
