//! Turns a checked expression into the form that is run.

use std::sync::Arc;

use super::{Attribute, Call, Fold, Index, Node, Qualifier, Root};
use crate::checker::{Checked, Reference};
use crate::cost;
use crate::declaration::Declaration;
use crate::function::Function;
use crate::interpreter::{functions, is_index, native_name};
use crate::regular;
use crate::syntax::{ACCUMULATOR, Comprehension, Entry, Expr, Kind, Literal};
use crate::value::{Entries, Map, Text, Value, double_to_int};

/// The root step and how many loop variables there are.
pub(super) fn plan(checked: &Checked) -> Result<(Node, usize), String> {
    let mut planner = Planner { checked, locals: Vec::new(), slots: 0 };
    let root = planner.plan(&checked.tree.root)?;
    Ok((root, planner.slots))
}

struct Planner<'p> {
    checked: &'p Checked,
    locals: Vec<(Arc<str>, usize)>,
    slots: usize,
}

type Planned<T> = Result<T, String>;

impl Planner<'_> {
    fn plan(&mut self, expr: &Expr) -> Planned<Node> {
        if let Some(root) = self.named(expr) {
            return Ok(root);
        }
        match &expr.kind {
            Kind::Wrong | Kind::Ident(_) => Err("reference to undefined name".to_owned()),
            Kind::Literal(literal) => Ok(Node::Constant(constant(literal))),
            Kind::Select { operand, field, test } => {
                let qualifier = Qualifier { index: Index::Field(field.clone()), optional: false };
                self.qualified(operand, qualifier, *test)
            }
            Kind::Call { function, target, args } => self.plan_call(expr, function, target.as_deref(), args),
            Kind::List { elements, optional } => self.plan_list(elements, optional),
            Kind::Map { entries } => self.plan_map(entries),
            Kind::Struct { name, fields } => {
                let fields = fields
                    .iter()
                    .map(|field| Ok((field.field.clone(), self.plan(&field.value)?, field.optional)))
                    .collect::<Planned<_>>()?;
                let name = name.strip_prefix('.').map_or_else(|| name.clone(), Arc::from);
                Ok(Node::Struct { name, fields })
            }
            Kind::Comprehension(comprehension) => self.plan_fold(comprehension),
        }
    }

    /// A name, also one of several parts.
    fn named(&self, expr: &Expr) -> Option<Node> {
        let root = match self.checked.reference(expr)? {
            Reference::Variable(number) => Root::Variable(*number),
            Reference::Local(name) => {
                let (_, slot) = self.locals.iter().rev().find(|(local, _)| local == name)?;
                Root::Local(*slot)
            }
            Reference::Type(t) => return Some(Node::Constant(Value::Type(Arc::new(t.clone())))),
            Reference::Function { .. } => return None,
        };
        Some(Node::Attribute(Box::new(Attribute { root, qualifiers: Vec::new(), test: false })))
    }

    fn qualified(&mut self, operand: &Expr, qualifier: Qualifier, test: bool) -> Planned<Node> {
        let mut attribute = attribute_of(self.plan(operand)?);
        attribute.qualifiers.push(qualifier);
        attribute.test |= test;
        Ok(Node::Attribute(Box::new(attribute)))
    }

    fn plan_call(
        &mut self,
        expr: &Expr,
        function: &str,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Planned<Node> {
        let Some(Reference::Function { declaration, overloads, with_target }) = self.checked.reference(expr)
        else {
            return Err(format!("no such overload: {function}"));
        };
        if let Some(node) = self.plan_pick(declaration.function, args)? {
            return Ok(node);
        }
        let mut planned = Vec::with_capacity(args.len() + 1);
        for arg in target.filter(|_| *with_target).into_iter().chain(args) {
            planned.push(self.plan(arg)?);
        }
        self.call_of(declaration, overloads, planned)
    }

    /// The operators that pick a field or element.
    fn plan_pick(&mut self, kind: Function, args: &[Expr]) -> Planned<Option<Node>> {
        match (kind, args) {
            (
                Function::OptionalSelect,
                [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }],
            ) => {
                let qualifier = Qualifier { index: Index::Field(field.clone()), optional: true };
                self.qualified(operand, qualifier, false).map(Some)
            }
            (Function::Index | Function::OptionalIndex, [operand, index]) => {
                let optional = kind == Function::OptionalIndex;
                let attribute = self.plan(operand)?;
                let index = match self.plan(index)? {
                    Node::Constant(Value::String(Text::Shared(name))) => Index::Field(name),
                    Node::Constant(value) if is_index(&value) => Index::Constant(value),
                    Node::Constant(value) => {
                        return Err(format!("invalid qualifier type: {}", native_name(&value)));
                    }
                    Node::Attribute(attribute) => Index::Attribute(attribute),
                    other => Index::Computed(other),
                };
                let mut attribute = attribute_of(attribute);
                attribute.qualifiers.push(Qualifier { index, optional });
                Ok(Some(Node::Attribute(Box::new(attribute))))
            }
            _ => Ok(None),
        }
    }

    fn call_of(
        &self,
        declaration: &'static Declaration,
        overloads: &[&'static str],
        mut planned: Vec<Node>,
    ) -> Planned<Node> {
        let kind = declaration.function;
        match kind {
            Function::And => return Ok(Node::And(planned)),
            Function::Or => return Ok(Node::Or(planned)),
            Function::Conditional => return conditional(planned),
            Function::OptionalOr => return pair(planned).map(|pair| Node::OptionalOr(Box::new(pair))),
            Function::OptionalOrValue => {
                return pair(planned).map(|pair| Node::OptionalOrValue(Box::new(pair)));
            }
            _ => {}
        }
        let overload = match overloads[..] {
            [overload] => Some(overload),
            _ => None,
        };
        if kind == Function::In && overload == Some("in_list") {
            match in_constant(planned) {
                Ok(node) => return Ok(node),
                Err(args) => planned = args,
            }
        }
        if matches!(kind, Function::Add | Function::MapInsert) {
            self.take_accumulator(&mut planned);
        }
        let mut call = Call {
            function: kind,
            declaration,
            overload,
            args: planned,
            cost: cost::of(kind, overload),
            pattern: None,
            one_by_one: kind == Function::Format || overload.is_none() && !functions::is_open(kind),
        };
        if matches!(kind, Function::Matches | Function::Find | Function::FindAll)
            && let Some(Node::Constant(Value::String(pattern))) = call.args.get(1)
        {
            call.pattern = Some(regular::compile(pattern.as_str())?);
            call.one_by_one = true;
        }
        fold_conversion(call)
    }

    /// Lets `accumulator + […]` change the list in place: its loop sets the accumulator anew after every step.
    fn take_accumulator(&self, args: &mut [Node]) {
        let Some(Node::Attribute(attribute)) = args.first() else { return };
        let Root::Local(slot) = attribute.root else { return };
        let is_accumulator = self.locals.iter().any(|(name, s)| *s == slot && &**name == ACCUMULATOR);
        if is_accumulator && attribute.qualifiers.is_empty() {
            args[0] = Node::Take(slot);
        }
    }

    fn plan_list(&mut self, elements: &[Expr], optional: &[usize]) -> Planned<Node> {
        let mut planned = Vec::with_capacity(elements.len());
        for element in elements {
            planned.push(self.plan(element)?);
        }
        let elements = planned;
        if optional.is_empty() && elements.iter().all(|element| matches!(element, Node::Constant(_))) {
            let values = elements.into_iter().filter_map(constant_of).collect();
            return Ok(Node::Constant(Value::list(values)));
        }
        let optional = (0..elements.len()).map(|i| optional.contains(&i)).collect();
        Ok(Node::List { elements, optional })
    }

    fn plan_map(&mut self, entries: &[Entry]) -> Planned<Node> {
        let mut planned = Vec::with_capacity(entries.len());
        for entry in entries {
            planned.push((self.plan(&entry.key)?, self.plan(&entry.value)?, entry.optional));
        }
        let constant = |(key, value, optional): &(Node, Node, bool)| {
            !optional && matches!(key, Node::Constant(_)) && matches!(value, Node::Constant(_))
        };
        if !planned.iter().all(constant) {
            return Ok(Node::Map { entries: planned });
        }
        let mut entries = Entries::default();
        for (key, value, _) in planned {
            if let (Some(key), Some(value)) = (constant_of(key), constant_of(value)) {
                entries.set(key, value);
            }
        }
        Ok(Node::Constant(Value::Map(Map::Entries(entries.into()))))
    }

    fn slot(&mut self, name: &Arc<str>) -> usize {
        self.slots += 1;
        self.locals.push((name.clone(), self.slots - 1));
        self.slots - 1
    }

    fn plan_fold(&mut self, c: &Comprehension) -> Planned<Node> {
        let range = self.plan(&c.range)?;
        let initial = self.plan(&c.initial)?;
        let depth = self.locals.len();
        let accumulator = self.slot(&c.accumulator);
        let variable = self.slot(&c.variable);
        let second = c.second.as_ref().map(|name| self.slot(name));
        let condition = self.plan(&c.condition)?;
        let step = self.plan(&c.step)?;
        self.locals.truncate(depth + 1);
        let result = self.plan(&c.result)?;
        self.locals.truncate(depth);
        Ok(Node::Fold(Box::new(Fold {
            range,
            initial,
            condition,
            step,
            result,
            accumulator,
            variable,
            second,
        })))
    }
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Shared(text.clone())),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

fn constant_of(node: Node) -> Option<Value<'static>> {
    match node {
        Node::Constant(value) => Some(value),
        _ => None,
    }
}

fn attribute_of(node: Node) -> Attribute {
    match node {
        Node::Attribute(attribute) => *attribute,
        other => Attribute { root: Root::Relative(other), qualifiers: Vec::new(), test: false },
    }
}

fn pair(args: Vec<Node>) -> Planned<(Node, Node)> {
    let mut args = args.into_iter();
    args.next().zip(args.next()).ok_or_else(|| "no such overload".to_owned())
}

fn conditional(args: Vec<Node>) -> Planned<Node> {
    let mut args = args.into_iter();
    let (Some(condition), Some(yes), Some(no)) = (args.next(), args.next(), args.next()) else {
        return Err("no such overload".to_owned());
    };
    let root = Root::Conditional(Box::new((condition, attribute_of(yes), attribute_of(no))));
    Ok(Node::Attribute(Box::new(Attribute { root, qualifiers: Vec::new(), test: false })))
}

/// `value in [constants]` is looked up at no cost of its own, as the reference implementation has it.
fn in_constant(mut args: Vec<Node>) -> Result<Node, Vec<Node>> {
    let Some(Node::Constant(list @ Value::List(values))) = args.get(1) else { return Err(args) };
    if values.is_empty() {
        return Ok(Node::Constant(Value::Bool(false)));
    }
    let primitive = |value: &Value<'_>| {
        matches!(value, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_))
    };
    if !values.iter().all(|value| value.is_ok_and(|value| primitive(&value))) {
        return Err(args);
    }
    let list = list.clone();
    Ok(Node::InSet(Box::new(args.swap_remove(0)), list))
}

/// Converts constants once.
fn fold_conversion(call: Call) -> Planned<Node> {
    let converts = matches!(
        call.function,
        Function::ToBool
            | Function::ToBytes
            | Function::ToDouble
            | Function::ToDuration
            | Function::ToInt
            | Function::ToString
            | Function::ToTimestamp
            | Function::ToUint
            | Function::Dyn
            | Function::TypeOf
    );
    let [Node::Constant(value)] = &call.args[..] else { return Ok(Node::Call(Box::new(call))) };
    if !converts {
        return Ok(Node::Call(Box::new(call)));
    }
    let folded = functions::invoke(&call, &mut [value.clone()]).map_err(|err| err.message().to_owned())?;
    Ok(Node::Constant(folded))
}

/// The place in a list that a number means.
pub(crate) fn list_index(index: &Value<'_>) -> Result<i64, String> {
    let unsupported = || format!("unsupported index value {index} in list");
    match index {
        Value::Int(place) => Ok(*place),
        Value::Uint(place) => i64::try_from(*place).map_err(|_| unsupported()),
        Value::Double(place) => {
            let whole = double_to_int(*place).map_err(|_| unsupported())?;
            if whole as f64 == *place { Ok(whole) } else { Err(unsupported()) }
        }
        _ => Err(format!("unsupported index type '{}' in list", index.type_name())),
    }
}
