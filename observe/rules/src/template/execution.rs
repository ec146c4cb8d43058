//! Expands templates: walks their nodes, evaluates pipelines, and counts what that takes.

use std::fmt::Write as _;
use std::sync::Arc;

use xebec_promql::number::quoted;

use super::builtins;
use super::functions::{self, Function, Param};
use super::methods;
use super::node::{Branch, Command, Node, Number, Operand, Pipe, Term};
use super::value::Value;
use super::world::World;
use super::{MOST_OUTPUT, MOST_STEPS, Surroundings, Template};

/// Templates, control structures and parentheses nest so deep at most while they are expanded.
const MOST_DEPTH: usize = 250;

/// Expands a template.
pub(super) fn execute(
    template: &Template,
    data: &Value,
    surroundings: &mut Surroundings<'_>,
) -> Result<String, String> {
    let Some(tree) = template.trees.get(&template.name) else {
        let name = &template.name;
        return Err(format!("template: {name}: {} is an incomplete or empty template", quoted(name)));
    };
    let world = World::new(surroundings);
    let mut execution = Execution {
        template,
        name: &template.name,
        variables: vec![("$".into(), data.clone())],
        at: None,
        out: String::new(),
        steps: 0,
        depth: 0,
        world,
    };
    execution.list(data, &tree.nodes)?;
    Ok(execution.out)
}

/// What an error points to.
#[derive(Clone, Copy)]
enum Place<'t> {
    Action(&'t Pipe),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Operand(&'t Operand),
    Template(usize, &'t str, Option<&'t Pipe>),
}

impl Place<'_> {
    fn at(self) -> usize {
        match self {
            Self::Action(pipe) | Self::Pipe(pipe) => pipe.at,
            Self::Command(command) => command.at,
            Self::Operand(operand) => operand.at,
            Self::Template(at, ..) => at,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Action(pipe) => format!("{{{{{pipe}}}}}"),
            Self::Pipe(pipe) => pipe.to_string(),
            Self::Command(command) => command.to_string(),
            Self::Operand(operand) => operand.to_string(),
            Self::Template(_, name, pipe) => {
                let pipe = pipe.map(|pipe| format!(" {pipe}")).unwrap_or_default();
                format!("{{{{template {}{pipe}}}}}", quoted(name))
            }
        }
    }
}

/// How to go on after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

type Evaluated<T> = Result<T, String>;

/// What a function or a method is called with.
struct Call<'t> {
    args: &'t [Operand],
    /// What the command before it in the pipeline came to.
    last: Option<Value>,
}

impl Call<'_> {
    const NOTHING: Self = Self { args: &[], last: None };

    fn is_nothing(&self) -> bool {
        self.args.is_empty() && self.last.is_none()
    }
}

struct Execution<'t, 'x, 's> {
    template: &'t Template,
    /// The template that is being expanded.
    name: &'t str,
    variables: Vec<(Arc<str>, Value)>,
    at: Option<Place<'t>>,
    out: String,
    steps: usize,
    depth: usize,
    world: World<'x, 's>,
}

impl<'t> Execution<'t, '_, '_> {
    fn fail<T>(&self, why: impl std::fmt::Display) -> Evaluated<T> {
        let Some(place) = self.at else { return Err(format!("template: {}: {why}", self.name)) };
        let before = &self.template.text[..place.at().min(self.template.text.len())];
        let line = 1 + before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let (of, name) = (&self.template.name, quoted(self.name));
        Err(format!("template: {of}:{line}:{column}: executing {name} at <{}>: {why}", place.shown()))
    }

    fn step(&mut self) -> Evaluated<()> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return self.fail(format!("it takes over {MOST_STEPS} steps: make the template simpler"));
        }
        Ok(())
    }

    /// Runs `run` one level deeper.
    fn nested<T>(&mut self, run: impl FnOnce(&mut Self) -> Evaluated<T>) -> Evaluated<T> {
        if self.depth >= MOST_DEPTH {
            return self.fail(format!("exceeded maximum template depth ({MOST_DEPTH})"));
        }
        self.depth += 1;
        let ran = run(self);
        self.depth -= 1;
        ran
    }

    fn write(&mut self, text: &str) -> Evaluated<()> {
        if self.out.len() + text.len() > MOST_OUTPUT {
            return self.fail(format!("it writes over {MOST_OUTPUT} bytes: make the template shorter"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, dot: &Value, nodes: &'t [Node]) -> Evaluated<Flow> {
        for node in nodes {
            self.step()?;
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'t Node) -> Evaluated<Flow> {
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Action(pipe) => {
                self.at = Some(Place::Action(pipe));
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.at = Some(Place::Action(pipe));
                    if let Value::Text(text) = &value {
                        self.write(text)?;
                    } else {
                        self.write(&value.printed())?;
                    }
                }
            }
            Node::If(branch) => return self.nested(|execution| execution.choice(dot, branch, false)),
            Node::With(branch) => return self.nested(|execution| execution.choice(dot, branch, true)),
            Node::Range(branch) => return self.nested(|execution| execution.range(dot, branch)),
            Node::Template { at, name, pipe } => {
                self.at = Some(Place::Template(*at, name, pipe.as_ref()));
                self.nested(|execution| execution.template(dot, name, pipe.as_ref()))?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn choice(&mut self, dot: &Value, branch: &'t Branch, is_with: bool) -> Evaluated<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = if value.truth() {
            self.list(if is_with { &value } else { dot }, &branch.list)
        } else {
            branch.otherwise.as_ref().map_or(Ok(Flow::Next), |list| self.list(dot, list))
        };
        self.variables.truncate(mark);
        flow
    }

    fn range(&mut self, dot: &Value, branch: &'t Branch) -> Evaluated<Flow> {
        let before = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let mark = self.variables.len();
        let mut is_empty = true;
        let mut run = |execution: &mut Self, index: Value, element: Value| {
            is_empty = false;
            execution.step()?;
            execution.iteration(branch, mark, index, element)
        };
        match &value {
            Value::Int(most) | Value::Named(_, most, _) => {
                if branch.pipe.variables.len() > 1 {
                    return self.fail(format!("can't use {most} to iterate over more than one variable"));
                }
                for number in 0..*most {
                    if !run(self, Value::Invalid, Value::Int(number))? {
                        break;
                    }
                }
            }
            Value::Duration(_) => {
                return self.fail("a duration is too long a range of numbers");
            }
            Value::Samples(samples) => {
                for (index, sample) in samples.iter().enumerate() {
                    if !run(self, Value::Int(index as i64), Value::Sample(Arc::clone(sample)))? {
                        break;
                    }
                }
            }
            Value::Texts(map) => {
                for (name, value) in map.iter() {
                    if !run(self, Value::text(name.as_str()), Value::text(value.as_str()))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (name, value) in map.iter() {
                    if !run(self, Value::text(name.as_str()), value.clone())? {
                        break;
                    }
                }
            }
            Value::Invalid => {}
            other => return self.fail(format!("range can't iterate over {}", other.shown())),
        }
        let flow = match &branch.otherwise {
            Some(list) if is_empty => self.list(dot, list),
            _ => Ok(Flow::Next),
        };
        self.variables.truncate(before);
        flow
    }

    /// One round of a range; false ends it.
    fn iteration(
        &mut self,
        branch: &'t Branch,
        mark: usize,
        index: Value,
        element: Value,
    ) -> Evaluated<bool> {
        let names = &branch.pipe.variables;
        match (names.as_slice(), branch.pipe.assigns) {
            ([], _) => {}
            ([name], true) => self.assign(name, element.clone())?,
            ([first, second, ..], true) => {
                self.assign(first, index)?;
                self.assign(second, element.clone())?;
            }
            (names, false) => {
                self.variables[mark - 1].1 = element.clone();
                if names.len() > 1 {
                    self.variables[mark - 2].1 = index;
                }
            }
        }
        let flow = self.list(&element, &branch.list)?;
        self.variables.truncate(mark);
        Ok(flow != Flow::Break)
    }

    fn template(&mut self, dot: &Value, name: &'t str, pipe: Option<&'t Pipe>) -> Evaluated<()> {
        let Some((own_name, tree)) = self.template.trees.get_key_value(name) else {
            return self.fail(format!("template {} not defined", quoted(name)));
        };
        let dot = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Invalid,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$".into(), dot.clone())]);
        let outer = std::mem::replace(&mut self.name, own_name);
        let at = self.at;
        self.list(&dot, &tree.nodes)?;
        (self.variables, self.name, self.at) = (variables, outer, at);
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value) -> Evaluated<()> {
        match self.variables.iter_mut().rev().find(|(own, _)| **own == *name) {
            Some((_, own)) => *own = value,
            None => return self.fail(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn pipe(&mut self, dot: &Value, pipe: &'t Pipe) -> Evaluated<Value> {
        self.at = Some(Place::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            self.step()?;
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((Arc::clone(name), value.clone()));
            }
        }
        Ok(value)
    }

    /// A command; `last` is what the one before it in the pipeline came to.
    fn command(&mut self, dot: &Value, command: &'t Command, last: Option<Value>) -> Evaluated<Value> {
        let Some(first) = command.operands.first() else { return Ok(Value::Invalid) };
        let call = Call { args: &command.operands[1..], last };
        match &first.term {
            Term::Field(names) => {
                self.at = Some(Place::Operand(first));
                return self.chain(dot, dot.clone(), names, first, call);
            }
            Term::Chain(inner, names) => {
                self.at = Some(Place::Operand(first));
                let value = self.chained(dot, first, inner)?;
                return self.chain(dot, value, names, first, call);
            }
            Term::Function(name) => {
                self.at = Some(Place::Operand(first));
                return self.function(dot, name, Place::Command(command), call);
            }
            Term::Pipe(pipe) => {
                self.no_function(first, &call)?;
                return self.nested(|execution| execution.pipe(dot, pipe));
            }
            Term::Variable(names) => {
                self.at = Some(Place::Operand(first));
                return self.variable(dot, names, first, call);
            }
            _ => {}
        }
        self.at = Some(Place::Operand(first));
        self.no_function(first, &call)?;
        match &first.term {
            Term::Bool(value) => Ok(Value::Bool(*value)),
            Term::Dot => Ok(dot.clone()),
            Term::Number(number) => self.constant(number),
            Term::Text(_, text) => Ok(Value::Text(Arc::clone(text))),
            _ => self.fail("nil is not a command"),
        }
    }

    fn no_function(&self, first: &Operand, call: &Call<'_>) -> Evaluated<()> {
        if call.is_nothing() {
            return Ok(());
        }
        self.fail(format!("can't give argument to non-function {first}"))
    }

    fn constant(&self, number: &Number) -> Evaluated<Value> {
        let text = &number.text;
        let is_hex = text.starts_with("0x") || text.starts_with("0X");
        let is_plain = text.starts_with('\'') || (is_hex && !text.contains(['p', 'P']));
        match (number.float, number.int) {
            (Some(float), _) if !is_plain && text.contains(['.', 'e', 'E', 'p', 'P']) => {
                Ok(Value::Float(float))
            }
            (_, Some(int)) => Ok(Value::Int(int)),
            _ => self.fail(format!("{text} overflows int")),
        }
    }

    fn variable(
        &mut self,
        dot: &Value,
        names: &'t [Arc<str>],
        operand: &'t Operand,
        call: Call<'t>,
    ) -> Evaluated<Value> {
        let name = &names[0];
        let Some((_, value)) = self.variables.iter().rev().find(|(own, _)| own == name) else {
            return self.fail(format!("undefined variable: {name}"));
        };
        let value = value.clone();
        if names.len() == 1 {
            self.no_function(operand, &call)?;
            return Ok(value);
        }
        self.chain(dot, value, &names[1..], operand, call)
    }

    /// What stands before the fields of a chain.
    fn chained(&mut self, dot: &Value, chain: &'t Operand, inner: &'t Operand) -> Evaluated<Value> {
        self.at = Some(Place::Operand(inner));
        match &inner.term {
            Term::Nil => {
                self.at = Some(Place::Operand(chain));
                self.fail(format!("indirection through explicit nil in {chain}"))
            }
            Term::Pipe(pipe) => self.nested(|execution| execution.pipe(dot, pipe)),
            Term::Function(name) => self.function(dot, name, Place::Operand(inner), Call::NOTHING),
            _ => self.fail(format!("can't handle {inner}")),
        }
    }

    /// Fields, one of the other; the last may be a method with arguments.
    fn chain(
        &mut self,
        dot: &Value,
        mut value: Value,
        names: &'t [Arc<str>],
        operand: &'t Operand,
        call: Call<'t>,
    ) -> Evaluated<Value> {
        let Some((method, fields)) = names.split_last() else { return Ok(value) };
        for name in fields {
            value = self.field(dot, value, name, operand, Call::NOTHING)?;
        }
        self.field(dot, value, method, operand, call)
    }

    fn field(
        &mut self,
        dot: &Value,
        receiver: Value,
        name: &str,
        operand: &'t Operand,
        call: Call<'t>,
    ) -> Evaluated<Value> {
        self.step()?;
        if !receiver.is_valid() {
            return Ok(Value::Invalid);
        }
        if let Some(method) = methods::method(&receiver, name) {
            let args = self.arguments(dot, name, method.params, None, call)?;
            return (method.call)(&receiver, &args).or_else(|why| {
                self.at = Some(Place::Operand(operand));
                self.fail(format!("error calling {name}: {why}"))
            });
        }
        let has_args = !call.is_nothing();
        let of_map = |found: Option<Value>| {
            if has_args { Err(format!("{name} is not a method but has arguments")) } else { Ok(found) }
        };
        let found = match &receiver {
            // A key that is missing has the zero value, which of these maps is the empty text.
            Value::Texts(map) => {
                of_map(Some(map.get(name).map_or_else(|| Value::text(""), |text| Value::text(text.as_str()))))
            }
            Value::Map(map) => of_map(Some(map.get(name).cloned().unwrap_or_default())),
            other => match methods::member(other, name) {
                Some(_) if has_args => Err(format!("{name} has arguments but cannot be invoked as function")),
                found => Ok(found),
            },
        };
        match found {
            Ok(Some(value)) => Ok(value),
            Ok(None) => self.fail(format!("can't evaluate field {name} in type {}", receiver.type_name())),
            Err(why) => self.fail(why),
        }
    }

    fn function(&mut self, dot: &Value, name: &str, place: Place<'t>, call: Call<'t>) -> Evaluated<Value> {
        if matches!(name, "and" | "or") {
            return self.short_circuit(dot, name == "or", name, call);
        }
        let Some(Function { params, rest, call: run }) =
            functions::function(name).or_else(|| builtins::builtin(name))
        else {
            return self.fail(format!("{} is not a defined function", quoted(name)));
        };
        let values = self.arguments(dot, name, params, rest, call)?;
        run(&mut self.world, &values).or_else(|why| {
            self.at = Some(place);
            self.fail(format!("error calling {name}: {why}"))
        })
    }

    /// `and` and `or`, which do not look at arguments that change nothing.
    fn short_circuit(&mut self, dot: &Value, until: bool, name: &str, call: Call<'t>) -> Evaluated<Value> {
        if call.is_nothing() {
            return self.fail(format!("wrong number of args for {name}: want at least 1 got 0"));
        }
        let mut value = Value::Invalid;
        for arg in call.args {
            value = self.argument(dot, Param::Any, arg)?;
            if value.truth() == until {
                return Ok(value);
            }
        }
        Ok(call.last.unwrap_or(value))
    }

    /// The arguments of a function, each of the type that it must have.
    fn arguments(
        &mut self,
        dot: &Value,
        name: &str,
        params: &'static [Param],
        rest: Option<Param>,
        call: Call<'t>,
    ) -> Evaluated<Vec<Value>> {
        let Call { args, last } = call;
        let given = args.len() + usize::from(last.is_some());
        match rest {
            Some(_) if given < params.len() => {
                let (want, got) = (params.len(), args.len());
                return self.fail(format!("wrong number of args for {name}: want at least {want} got {got}"));
            }
            None if given != params.len() => {
                let want = params.len();
                return self.fail(format!("wrong number of args for {name}: want {want} got {given}"));
            }
            _ => {}
        }
        let param = |at: usize| params.get(at).copied().or(rest).unwrap_or(Param::Any);
        let mut values = Vec::with_capacity(given);
        for (at, arg) in args.iter().enumerate() {
            values.push(self.argument(dot, param(at), arg)?);
        }
        if let Some(last) = last {
            let last = self.fitting(last, param(args.len()))?;
            values.push(last);
        }
        Ok(values)
    }

    fn argument(&mut self, dot: &Value, param: Param, arg: &'t Operand) -> Evaluated<Value> {
        self.step()?;
        self.at = Some(Place::Operand(arg));
        let value = match &arg.term {
            Term::Dot => dot.clone(),
            Term::Nil if param.takes_nil() => return Ok(Value::Invalid),
            Term::Nil => return self.fail(format!("cannot assign nil to {}", param.name())),
            Term::Field(names) => self.chain(dot, dot.clone(), names, arg, Call::NOTHING)?,
            Term::Variable(names) => self.variable(dot, names, arg, Call::NOTHING)?,
            Term::Pipe(pipe) => self.nested(|execution| execution.pipe(dot, pipe))?,
            Term::Function(name) => self.function(dot, name, Place::Operand(arg), Call::NOTHING)?,
            Term::Chain(inner, names) => {
                let value = self.chained(dot, arg, inner)?;
                self.chain(dot, value, names, arg, Call::NOTHING)?
            }
            Term::Bool(_) | Term::Number(_) | Term::Text(..) => return self.literal(param, arg),
        };
        self.fitting(value, param)
    }

    fn literal(&self, param: Param, arg: &Operand) -> Evaluated<Value> {
        match (param, &arg.term) {
            (Param::Any, Term::Bool(value)) => Ok(Value::Bool(*value)),
            (Param::Any, Term::Number(number)) => self.constant(number),
            (Param::Any | Param::Text, Term::Text(_, text)) => Ok(Value::Text(Arc::clone(text))),
            (Param::Text, _) => self.fail(format!("expected string; found {arg}")),
            (Param::Duration, Term::Number(Number { int: Some(int), .. })) => Ok(Value::Int(*int)),
            (Param::Duration, _) => self.fail(format!("expected integer; found {arg}")),
            (Param::Sample | Param::Samples | Param::Time, _) => {
                self.fail(format!("can't handle {arg} for arg of type {}", param.name()))
            }
            _ => self.fail(format!("can't handle {arg}")),
        }
    }

    /// The value, if it may stand where a parameter of this type is.
    fn fitting(&self, value: Value, param: Param) -> Evaluated<Value> {
        let fits = match (&value, param) {
            (Value::Invalid, _) if param.takes_nil() => true,
            (Value::Invalid, _) => return self.fail(format!("invalid value; expected {}", param.name())),
            (_, Param::Any)
            | (Value::Text(_), Param::Text)
            | (Value::Sample(_), Param::Sample)
            | (Value::Samples(_), Param::Samples)
            | (Value::Time(_), Param::Time)
            | (Value::Duration(_), Param::Duration) => true,
            _ => false,
        };
        if fits {
            return Ok(value);
        }
        let mut why = String::new();
        // Writing to a string does not fail.
        let _ = write!(why, "wrong type for value; expected {}; got {}", param.name(), value.type_name());
        self.fail(why)
    }
}
