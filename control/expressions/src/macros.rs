//! The macros of the language: calls that the parser rewrites into loops, tests and conditions.

use std::sync::Arc;

use crate::parser::Nodes;
use crate::syntax::{ACCUMULATOR, Comprehension, Entry, Expr, Initializer, Kind, Literal, operator};

/// What became of a call.
pub(crate) enum Expansion {
    /// It is no macro: here are its parts back.
    Call(Option<Expr>, Vec<Expr>),
    /// It was a macro.
    Expanded(Expr),
    /// It was a macro with wrong arguments: where and why.
    Wrong(u32, String),
}

/// Where an unused loop variable is called for.
const UNUSED: &str = "#unused";
/// The name under which `sortBy` keeps its list.
const SORTED: &str = "@__sortBy_input__";

/// Expands `function` if it is a macro. `position` is where the call's parenthesis opens.
pub(crate) fn expand(
    nodes: &mut Nodes,
    position: u32,
    function: &str,
    target: Option<Expr>,
    args: Vec<Expr>,
) -> Expansion {
    let mut make = Maker { nodes, position };
    let Some(target) = target else {
        return match (function, args.len()) {
            ("has", 1) => make.has(args),
            _ => Expansion::Call(None, args),
        };
    };
    let expanded = match (function, args.len()) {
        ("all" | "exists" | "exists_one", 2) => make.quantifier(function, target, args, false),
        ("all" | "exists" | "exists_one" | "existsOne", 3) => make.quantifier(function, target, args, true),
        ("map", 2 | 3) | ("filter", 2) => make.map(function, target, args),
        ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
            make.transform(function, target, args)
        }
        ("optMap" | "optFlatMap", 2) => make.optional(function, target, args),
        ("sortBy", 2) => make.sort_by(target, args),
        ("bind", 3)
            if make.nodes.bindings && matches!(&target.kind, Kind::Ident(name) if &**name == "cel") =>
        {
            make.binding(target, args)
        }
        _ => return Expansion::Call(Some(target), args),
    };
    expanded.map_or_else(|(at, message)| Expansion::Wrong(at, message), Expansion::Expanded)
}

type Made = Result<Expr, (u32, String)>;

struct Maker<'n> {
    nodes: &'n mut Nodes,
    position: u32,
}

impl Maker<'_> {
    fn make(&mut self, kind: Kind) -> Expr {
        self.nodes.make(self.position, kind)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.make(Kind::Literal(literal))
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.make(Kind::Ident(name.into()))
    }

    fn accumulator(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.make(Kind::Call { function: function.into(), target: None, args })
    }

    fn member_call(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.make(Kind::Call { function: function.into(), target: Some(Box::new(target)), args })
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expr {
        self.make(Kind::List { elements, optional: Vec::new() })
    }

    fn place(&self, expr: &Expr) -> u32 {
        self.nodes.positions.get(expr.id.index()).copied().unwrap_or_default()
    }

    fn has(&mut self, mut args: Vec<Expr>) -> Expansion {
        let Some(arg) = args.pop() else { return Expansion::Call(None, args) };
        let at = self.place(&arg);
        match arg.kind {
            Kind::Select { operand, field, .. } => {
                Expansion::Expanded(self.make(Kind::Select { operand, field, test: true }))
            }
            _ => Expansion::Wrong(at, "invalid argument to has() macro".to_owned()),
        }
    }

    /// The loop variable that `expr` names.
    fn variable(&self, expr: &Expr, otherwise: &str) -> Result<Arc<str>, (u32, String)> {
        match &expr.kind {
            Kind::Ident(name) if matches!(&**name, ACCUMULATOR | "__result__") => {
                Err((self.place(expr), "iteration variable overwrites accumulator variable".to_owned()))
            }
            Kind::Ident(name) => Ok(name.clone()),
            _ => Err((self.place(expr), otherwise.to_owned())),
        }
    }

    fn two_variables(&self, args: &[Expr]) -> Result<(Arc<str>, Arc<str>), (u32, String)> {
        let first = self.variable(&args[0], "argument must be a simple name")?;
        let second = self.variable(&args[1], "argument must be a simple name")?;
        if first == second {
            return Err((self.place(&args[1]), format!("duplicate variable name: {first}")));
        }
        Ok((first, second))
    }

    fn quantifier(&mut self, function: &str, target: Expr, mut args: Vec<Expr>, two: bool) -> Made {
        let (variable, second) = if two {
            let (first, second) = self.two_variables(&args)?;
            (first, Some(second))
        } else {
            (self.variable(&args[0], "argument must be a simple name")?, None)
        };
        let Some(predicate) = args.pop() else { return Ok(target) };
        let accumulator = self.accumulator();
        let (initial, condition, step, result) = match function {
            "all" => {
                let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![accumulator]);
                let accumulator = self.accumulator();
                let step = self.call(operator::AND, vec![accumulator, predicate]);
                (Literal::Bool(true), condition, step, self.accumulator())
            }
            "exists" => {
                let negated = self.call(operator::NOT, vec![accumulator]);
                let condition = self.call(operator::NOT_STRICTLY_FALSE, vec![negated]);
                let accumulator = self.accumulator();
                let step = self.call(operator::OR, vec![accumulator, predicate]);
                (Literal::Bool(false), condition, step, self.accumulator())
            }
            _ => {
                let condition = self.literal(Literal::Bool(true));
                let one = self.literal(Literal::Int(1));
                let more = self.call(operator::ADD, vec![accumulator, one]);
                let same = self.accumulator();
                let step = self.call(operator::CONDITIONAL, vec![predicate, more, same]);
                let one = self.literal(Literal::Int(1));
                let accumulator = self.accumulator();
                (Literal::Int(0), condition, step, self.call(operator::EQUALS, vec![accumulator, one]))
            }
        };
        let initial = self.literal(initial);
        Ok(self.comprehension(Comprehension {
            variable,
            second,
            range: target,
            accumulator: ACCUMULATOR.into(),
            initial,
            condition,
            step,
            result,
        }))
    }

    fn comprehension(&mut self, comprehension: Comprehension) -> Expr {
        self.make(Kind::Comprehension(Box::new(comprehension)))
    }

    /// `accumulator = filter ? step : accumulator` over `range`.
    fn collect(
        &mut self,
        variables: (Arc<str>, Option<Arc<str>>),
        range: Expr,
        initial: Expr,
        step: Expr,
        filter: Option<Expr>,
    ) -> Expr {
        let step = match filter {
            Some(filter) => {
                let same = self.accumulator();
                self.call(operator::CONDITIONAL, vec![filter, step, same])
            }
            None => step,
        };
        let condition = self.literal(Literal::Bool(true));
        let result = self.accumulator();
        self.comprehension(Comprehension {
            variable: variables.0,
            second: variables.1,
            range,
            accumulator: ACCUMULATOR.into(),
            initial,
            condition,
            step,
            result,
        })
    }

    fn map(&mut self, function: &str, target: Expr, mut args: Vec<Expr>) -> Made {
        let variable = self.variable(&args[0], "argument is not an identifier")?;
        let Some(last) = args.pop() else { return Ok(target) };
        let (element, filter) = if function == "filter" {
            let at = self.place(&args[0]);
            (self.nodes.make(at, Kind::Ident(variable.clone())), Some(last))
        } else {
            (last, (args.len() == 2).then(|| args.remove(1)))
        };
        let initial = self.list(Vec::new());
        let accumulator = self.accumulator();
        let one = self.list(vec![element]);
        let step = self.call(operator::ADD, vec![accumulator, one]);
        Ok(self.collect((variable, None), target, initial, step, filter))
    }

    fn transform(&mut self, function: &str, target: Expr, mut args: Vec<Expr>) -> Made {
        let (first, second) = self.two_variables(&args)?;
        let Some(transform) = args.pop() else { return Ok(target) };
        let filter = (args.len() == 3).then(|| args.remove(2));
        let accumulator = self.accumulator();
        let (initial, step) = match function {
            "transformList" => {
                let one = self.list(vec![transform]);
                (
                    Kind::List { elements: Vec::new(), optional: Vec::new() },
                    self.call(operator::ADD, vec![accumulator, one]),
                )
            }
            "transformMap" => {
                let key = self.ident(&first);
                let step = self.call("cel.@mapInsert", vec![accumulator, key, transform]);
                (Kind::Map { entries: Vec::new() }, step)
            }
            _ => {
                let step = self.call("cel.@mapInsert", vec![accumulator, transform]);
                (Kind::Map { entries: Vec::new() }, step)
            }
        };
        let initial = self.make(initial);
        Ok(self.collect((first, Some(second)), target, initial, step, filter))
    }

    /// `name` bound to `value` within `result`: a loop over nothing.
    fn bind(&mut self, name: Arc<str>, value: Expr, result: Expr) -> Expr {
        let range = self.list(Vec::new());
        let condition = self.literal(Literal::Bool(false));
        let step = self.ident(&name);
        self.comprehension(Comprehension {
            variable: UNUSED.into(),
            second: None,
            range,
            accumulator: name,
            initial: value,
            condition,
            step,
            result,
        })
    }

    /// `cel.bind(name, value, result)`.
    fn binding(&mut self, target: Expr, mut args: Vec<Expr>) -> Made {
        let Kind::Ident(name) = &args[0].kind else {
            return Err((
                self.place(&args[0]),
                "cel.bind() variable names must be simple identifiers".to_owned(),
            ));
        };
        let name = name.clone();
        let (Some(result), Some(value)) = (args.pop(), args.pop()) else { return Ok(target) };
        Ok(self.bind(name, value, result))
    }

    fn optional(&mut self, function: &str, target: Expr, mut args: Vec<Expr>) -> Made {
        let Kind::Ident(name) = &args[0].kind else {
            let message = format!("{function}() variable name must be a simple identifier");
            return Err((self.place(&args[0]), message));
        };
        let name = name.clone();
        let Some(mapped) = args.pop() else { return Ok(target) };
        let again = self.copy(&target);
        let present = self.member_call("hasValue", target, Vec::new());
        let value = self.member_call("value", again, Vec::new());
        let bound = self.bind(name, value, mapped);
        let some = if function == "optMap" { self.call("optional.of", vec![bound]) } else { bound };
        let none = self.call("optional.none", Vec::new());
        Ok(self.call(operator::CONDITIONAL, vec![present, some, none]))
    }

    fn sort_by(&mut self, target: Expr, mut args: Vec<Expr>) -> Made {
        if !matches!(
            target.kind,
            Kind::List { .. }
                | Kind::Select { .. }
                | Kind::Ident(_)
                | Kind::Comprehension(_)
                | Kind::Call { .. }
        ) {
            let message =
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Err((self.place(&target), message.to_owned()));
        }
        let sorted = self.ident(SORTED);
        args.truncate(2);
        let keys = self.map("map", sorted, args)?;
        let list = self.ident(SORTED);
        let call = self.member_call("@sortByAssociatedKeys", list, vec![keys]);
        Ok(self.bind(SORTED.into(), target, call))
    }

    /// The same expression as new nodes, so that each can have its own type and cost.
    fn copy(&mut self, expr: &Expr) -> Expr {
        let position = self.place(expr);
        let kind = match &expr.kind {
            _ if self.nodes.full => Kind::Wrong,
            Kind::Wrong => Kind::Wrong,
            Kind::Literal(literal) => Kind::Literal(literal.clone()),
            Kind::Ident(name) => Kind::Ident(name.clone()),
            Kind::Select { operand, field, test } => {
                Kind::Select { operand: Box::new(self.copy(operand)), field: field.clone(), test: *test }
            }
            Kind::Call { function, target, args } => Kind::Call {
                function: function.clone(),
                target: target.as_ref().map(|target| Box::new(self.copy(target))),
                args: args.iter().map(|arg| self.copy(arg)).collect(),
            },
            Kind::List { elements, optional } => Kind::List {
                elements: elements.iter().map(|element| self.copy(element)).collect(),
                optional: optional.clone(),
            },
            Kind::Map { entries } => {
                Kind::Map { entries: entries.iter().map(|entry| self.copy_entry(entry)).collect() }
            }
            Kind::Struct { name, fields } => Kind::Struct {
                name: name.clone(),
                fields: fields.iter().map(|field| self.copy_field(field)).collect(),
            },
            Kind::Comprehension(c) => Kind::Comprehension(Box::new(Comprehension {
                variable: c.variable.clone(),
                second: c.second.clone(),
                range: self.copy(&c.range),
                accumulator: c.accumulator.clone(),
                initial: self.copy(&c.initial),
                condition: self.copy(&c.condition),
                step: self.copy(&c.step),
                result: self.copy(&c.result),
            })),
        };
        self.nodes.make(position, kind)
    }

    fn copy_entry(&mut self, entry: &Entry) -> Entry {
        Entry { key: self.copy(&entry.key), value: self.copy(&entry.value), optional: entry.optional }
    }

    fn copy_field(&mut self, field: &Initializer) -> Initializer {
        let position = self.nodes.positions.get(field.id.index()).copied().unwrap_or_default();
        Initializer {
            id: self.nodes.id(position),
            field: field.field.clone(),
            value: self.copy(&field.value),
            optional: field.optional,
        }
    }
}
