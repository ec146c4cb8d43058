//! Runs programs and counts what they cost, step for step as the reference implementation does.

pub(crate) mod functions;

use std::sync::Arc;

use crate::cost::{self, Cost};
use crate::effort;
use crate::function::Function;
use crate::library::collections;
use crate::names;
use crate::program::{Attribute, Call, Evaluation, Fold, Index, Node, Program, Qualifier, Root, list_index};
use crate::schema::{ListKind, Shape};
use crate::value::{Entries, Evaluated, EvaluationError, List, Map, Text, Value, equal, fail};
use crate::wellknown;

/// Runs `program`.
pub(crate) fn evaluate<'a>(program: &Program, bindings: &[Option<Value<'a>>], limit: u64) -> Evaluation<'a> {
    let mut run = Run {
        program,
        bindings,
        slots: (0..program.slots).map(|_| Slot::Empty).collect(),
        cost: 0,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
    };
    let result = effort::bounded(|| run.eval(&program.root));
    Evaluation { result, cost: u64::try_from(run.cost).unwrap_or(0) }
}

/// A loop variable or accumulator.
enum Slot<'p, 'a> {
    Empty,
    /// Worked out when it is first read.
    Waiting(&'p Node),
    Ready(Evaluated<Value<'a>>),
}

struct Run<'p, 'b, 'a> {
    program: &'p Program,
    bindings: &'b [Option<Value<'a>>],
    slots: Vec<Slot<'p, 'a>>,
    cost: i64,
    limit: i64,
}

impl<'p, 'a> Run<'p, '_, 'a> {
    /// Upstream counts without a sign: a sum below nothing, as `flatten` of a negative level makes it, is above
    /// every limit.
    fn charge(&mut self, cost: i64) -> Evaluated<()> {
        self.cost = self.cost.saturating_add(cost);
        if (0..=self.limit).contains(&self.cost) { Ok(()) } else { Err(EvaluationError::over_limit()) }
    }

    fn eval(&mut self, node: &'p Node) -> Evaluated<Value<'a>> {
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Attribute(attribute) => self.attribute(attribute),
            Node::Take(slot) => self.take(*slot),
            Node::And(terms) => self.junction(terms, false),
            Node::Or(terms) => self.junction(terms, true),
            Node::Call(call) => self.call(call),
            Node::InSet(value, list) => {
                let value = self.eval(value)?;
                let Value::List(list) = list else { return Ok(Value::Bool(false)) };
                collections::contains(list, &value).map(Value::Bool)
            }
            Node::OptionalOr(pair) => match self.eval(&pair.0)? {
                Value::Optional(None) => self.eval(&pair.1),
                found => Ok(found),
            },
            Node::OptionalOrValue(pair) => match self.eval(&pair.0)? {
                Value::Optional(None) => self.eval(&pair.1),
                Value::Optional(Some(value)) => Ok(Arc::unwrap_or_clone(value)),
                other => Ok(other),
            },
            Node::List { elements, optional } => self.list(elements, optional),
            Node::Map { entries } => self.map(entries),
            Node::Struct { name, fields } => self.structure(name, fields),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    /// `&&` (which one false decides) and `||` (which one true decides); an error counts only if nothing decides.
    fn junction(&mut self, terms: &'p [Node], decisive: bool) -> Evaluated<Value<'a>> {
        let mut error = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Err(err) if err.is_cancelled() => return Err(err),
                Ok(_) => error = error.or_else(|| Some(EvaluationError::no_such_overload())),
                Err(err) => error = error.or(Some(err)),
            }
        }
        error.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn local(&mut self, slot: usize) -> Evaluated<Value<'a>> {
        match &self.slots[slot] {
            Slot::Ready(value) => value.clone(),
            Slot::Empty => Err(EvaluationError::new("no such attribute(s)")),
            Slot::Waiting(node) => {
                let node = *node;
                let value = self.eval(node);
                self.slots[slot] = Slot::Ready(value.clone());
                value
            }
        }
    }

    fn take(&mut self, slot: usize) -> Evaluated<Value<'a>> {
        if let Slot::Waiting(_) = self.slots[slot] {
            self.local(slot)?;
        }
        let value = match std::mem::replace(&mut self.slots[slot], Slot::Empty) {
            Slot::Ready(value) => value,
            _ => Err(EvaluationError::new("no such attribute(s)")),
        };
        self.charge(1)?;
        value
    }

    /// The value of an attribute in its own right, which costs, unlike one that another step resolves.
    fn attribute(&mut self, attribute: &'p Attribute) -> Evaluated<Value<'a>> {
        let value = self.resolve(attribute);
        if value.as_ref().is_err_and(EvaluationError::is_cancelled) {
            return value;
        }
        let own = i64::from(!matches!(attribute.root, Root::Conditional(_)));
        self.charge(own - i64::from(attribute.test))?;
        value
    }

    fn resolve(&mut self, attribute: &'p Attribute) -> Evaluated<Value<'a>> {
        let root = match &attribute.root {
            Root::Variable(number) => match self.bindings.get(*number).and_then(Option::as_ref) {
                Some(value) => value.clone(),
                None => {
                    let name = self.program.variables.get(*number).map_or("", String::as_str);
                    fail!("no such attribute(s): {name}")
                }
            },
            Root::Local(slot) => self.local(*slot)?,
            Root::Relative(node) => self.eval(node)?,
            Root::Conditional(parts) => match self.eval(&parts.0)? {
                Value::Bool(true) => self.resolve(&parts.1)?,
                Value::Bool(false) => self.resolve(&parts.2)?,
                _ => return Err(EvaluationError::no_such_overload()),
            },
        };
        if attribute.qualifiers.is_empty() {
            return Ok(root);
        }
        self.qualify(root, &attribute.qualifiers, attribute.test)
    }

    fn qualify(&mut self, root: Value<'a>, qualifiers: &'p [Qualifier], test: bool) -> Evaluated<Value<'a>> {
        let (mut value, mut optional) = match root {
            Value::Optional(None) => {
                return Ok(if test { Value::Bool(false) } else { Value::Optional(None) });
            }
            Value::Optional(Some(value)) => (Arc::unwrap_or_clone(value), true),
            other => (other, false),
        };
        for (i, qualifier) in qualifiers.iter().enumerate() {
            let tested = test && i + 1 == qualifiers.len();
            optional |= qualifier.optional;
            let found = self.pick(&value, qualifier, optional || tested);
            if tested {
                let found = match found {
                    Err(err) if err.is_cancelled() => return Err(err),
                    other => other,
                };
                if !optional || matches!(found, Ok(Some(_))) {
                    self.charge(1)?;
                }
                return Ok(Value::Bool(found?.is_some()));
            }
            match found {
                Ok(Some(next)) => {
                    self.charge(1)?;
                    value = next;
                }
                Ok(None) => return Ok(if test { Value::Bool(false) } else { Value::Optional(None) }),
                Err(err) => {
                    if !optional && !err.is_cancelled() {
                        self.charge(1)?;
                    }
                    return Err(err);
                }
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    /// The field or element of `value`; none if it is not there and `lenient`, else an error.
    fn pick(
        &mut self,
        value: &Value<'a>,
        qualifier: &'p Qualifier,
        lenient: bool,
    ) -> Evaluated<Option<Value<'a>>> {
        match &qualifier.index {
            Index::Field(name) => pick_field(value, name, lenient),
            Index::Constant(index) => pick_value(value, index, lenient),
            Index::Attribute(attribute) => {
                let index = self.resolve(attribute)?;
                if !is_index(&index) {
                    fail!("invalid qualifier type: {}", raw_name(&index));
                }
                pick_value(value, &index, lenient)
            }
            Index::Computed(node) => {
                let index = self.eval(node)?;
                pick_value(value, &index, lenient)
            }
        }
    }

    fn call(&mut self, call: &'p Call) -> Evaluated<Value<'a>> {
        if call.function == Function::NotStrictlyFalse {
            return self.not_strictly_false(call);
        }
        match &call.args[..] {
            [] => self.invoke(call, &mut []),
            args if call.one_by_one => self.one_by_one(call, args),
            [one] => match self.eval(one) {
                Ok(value) => self.invoke(call, &mut [value]),
                Err(err) => self.failed(call, &[None], err),
            },
            [left, right] => {
                let left = self.eval(left);
                if left.as_ref().is_err_and(EvaluationError::is_cancelled) {
                    return left;
                }
                match (left, self.eval(right)) {
                    (Ok(left), Ok(right)) => self.invoke(call, &mut [left, right]),
                    (_, Err(err)) if err.is_cancelled() => Err(err),
                    (Err(err), Ok(right)) => self.failed(call, &[None, Some(&right)], err),
                    (Ok(left), Err(err)) => self.failed(call, &[Some(&left), None], err),
                    (Err(err), Err(_)) => self.failed(call, &[None, None], err),
                }
            }
            args => self.one_by_one(call, args),
        }
    }

    /// Calls with arguments of which the first without a value ends the call, at no cost unless it is the last.
    fn one_by_one(&mut self, call: &'p Call, args: &'p [Node]) -> Evaluated<Value<'a>> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            match self.eval(arg) {
                Ok(value) => values.push(value),
                Err(err) if values.len() + 1 == args.len() => {
                    let known: Vec<Option<&Value<'a>>> = values.iter().map(Some).chain([None]).collect();
                    return self.failed(call, &known, err);
                }
                Err(err) => return Err(err),
            }
        }
        self.invoke(call, &mut values)
    }

    fn invoke(&mut self, call: &'p Call, args: &mut [Value<'a>]) -> Evaluated<Value<'a>> {
        let before = match &*args {
            [] => cost::before(call.cost, &[]),
            [a] => cost::before(call.cost, &[Some(a)]),
            [a, b] => cost::before(call.cost, &[Some(a), Some(b)]),
            args => cost::before(call.cost, &args.iter().map(Some).collect::<Vec<_>>()),
        };
        if call.cost == Cost::Counted {
            // What would be too long is not even made.
            self.charge(before)?;
            return functions::invoke(call, args);
        }
        let result = functions::invoke(call, args);
        self.charge(before.saturating_add(cost::after(call.cost, &result)))?;
        result
    }

    /// A call one of whose arguments has no value costs what it would have cost.
    fn failed(
        &mut self,
        call: &'p Call,
        args: &[Option<&Value<'a>>],
        err: EvaluationError,
    ) -> Evaluated<Value<'a>> {
        if err.is_cancelled() {
            return Err(err);
        }
        let cost = cost::before(call.cost, args);
        let failed = Err(err);
        self.charge(cost.saturating_add(cost::after(call.cost, &failed)))?;
        failed
    }

    fn not_strictly_false(&mut self, call: &'p Call) -> Evaluated<Value<'a>> {
        let Some(arg) = call.args.first() else { return Ok(Value::Bool(true)) };
        // The condition of `exists` negates; that must not hide an error either.
        let value = match self.eval(arg) {
            Err(err) if err.is_cancelled() => return Err(err),
            Ok(Value::Bool(value)) => value,
            _ => true,
        };
        self.charge(1)?;
        Ok(Value::Bool(value))
    }

    fn list(&mut self, elements: &'p [Node], optional: &[bool]) -> Evaluated<Value<'a>> {
        let mut values = Vec::with_capacity(elements.len());
        let made: Evaluated<()> = elements.iter().zip(optional).try_for_each(|(element, optional)| {
            match self.eval(element)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => values.push(Arc::unwrap_or_clone(value)),
                value if *optional => {
                    fail!("cannot initialize optional list element from non-optional value {value}")
                }
                value => values.push(value),
            }
            Ok(())
        });
        self.constructed(made, 10)?;
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'p [(Node, Node, bool)]) -> Evaluated<Value<'a>> {
        let mut map = Entries::default();
        let made: Evaluated<()> = entries.iter().try_for_each(|(key, value, optional)| {
            let key = self.eval(key)?;
            match self.eval(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => map.set(key, Arc::unwrap_or_clone(value)),
                value if *optional => {
                    fail!("cannot initialize optional entry '{key}' from non-optional value {value}")
                }
                value => map.set(key, value),
            }
            Ok(())
        });
        self.constructed(made, 30)?;
        Ok(Value::Map(Map::Entries(map.into())))
    }

    fn structure(&mut self, name: &Arc<str>, fields: &'p [(Arc<str>, Node, bool)]) -> Evaluated<Value<'a>> {
        let mut map = Entries::default();
        let made: Evaluated<()> = fields.iter().try_for_each(|(field, value, optional)| {
            let key = Value::String(Text::Shared(field.clone()));
            match self.eval(value)? {
                Value::Optional(None) if *optional => {}
                Value::Optional(Some(value)) if *optional => map.set(key, Arc::unwrap_or_clone(value)),
                value if *optional => {
                    fail!("cannot initialize optional entry '{field}' from non-optional value {value}")
                }
                value => map.set(key, value),
            }
            Ok(())
        });
        self.constructed(made, 40)?;
        if wellknown::fields(name).is_some() {
            return wellknown::build(name, &map);
        }
        Ok(Value::Map(Map::Object(name.clone(), map.into())))
    }

    /// What was put together costs even where a part has no value.
    fn constructed(&mut self, made: Evaluated<()>, cost: i64) -> Evaluated<()> {
        if made.as_ref().is_err_and(EvaluationError::is_cancelled) {
            return made;
        }
        self.charge(cost)?;
        made
    }

    fn fold(&mut self, fold: &'p Fold) -> Evaluated<Value<'a>> {
        let range = self.eval(&fold.range)?;
        self.slots[fold.accumulator] = Slot::Waiting(&fold.initial);
        match (&range, fold.second) {
            (Value::List(list), None) => {
                for item in list.iter() {
                    if !self.turn(fold, item, None)? {
                        break;
                    }
                }
            }
            (Value::Map(map), None) => {
                for key in map.keys() {
                    if !self.turn(fold, Ok(key), None)? {
                        break;
                    }
                }
            }
            (Value::List(list), Some(_)) => {
                for (place, item) in list.iter().enumerate() {
                    if !self.turn(fold, Ok(Value::Int(place as i64)), Some(item))? {
                        break;
                    }
                }
            }
            (Value::Map(map), Some(_)) => {
                for key in map.keys() {
                    let value = map.find(&key).map(|value| value.unwrap_or(Value::Null));
                    if !self.turn(fold, Ok(key), Some(value))? {
                        break;
                    }
                }
            }
            (other, None) => fail!("got '{}', expected iterable type", native_name(other)),
            (other, Some(_)) => fail!("unsupported comprehension range type: {}", native_name(other)),
        }
        self.eval(&fold.result)
    }

    /// One turn of a loop; false once the loop is over.
    fn turn(
        &mut self,
        fold: &'p Fold,
        first: Evaluated<Value<'a>>,
        second: Option<Evaluated<Value<'a>>>,
    ) -> Evaluated<bool> {
        self.slots[fold.variable] = Slot::Ready(first);
        if let (Some(slot), Some(value)) = (fold.second, second) {
            self.slots[slot] = Slot::Ready(value);
        }
        match self.eval(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(err) if err.is_cancelled() => return Err(err),
            _ => {}
        }
        let next = self.eval(&fold.step);
        if let Err(err) = &next
            && err.is_cancelled()
        {
            return Err(err.clone());
        }
        self.slots[fold.accumulator] = Slot::Ready(next);
        Ok(true)
    }
}

fn pick_field<'a>(value: &Value<'a>, name: &str, lenient: bool) -> Evaluated<Option<Value<'a>>> {
    let found = match value {
        Value::Map(map) => map.field(name)?,
        Value::Fields(fields) => fields.field(name).transpose()?,
        Value::List(_) => fail!("unsupported index type 'string' in list"),
        _ => None,
    };
    if found.is_none() && !lenient {
        fail!("no such key: {name}");
    }
    Ok(found)
}

fn pick_value<'a>(value: &Value<'a>, index: &Value<'a>, lenient: bool) -> Evaluated<Option<Value<'a>>> {
    if !is_index(index) {
        fail!("invalid qualifier type: {}", native_name(index));
    }
    match value {
        Value::Map(map) => {
            let found = map.find(index)?;
            if found.is_none() && !lenient {
                fail!("no such key: {index}");
            }
            Ok(found)
        }
        Value::List(list) => {
            let place = list_index(index).map_err(EvaluationError::new)?;
            let found = usize::try_from(place).ok().and_then(|place| list.get(place)).transpose()?;
            if found.is_none() && !lenient {
                fail!("index out of bounds: {index}");
            }
            Ok(found)
        }
        _ => match index {
            Value::String(name) => pick_field(value, name.as_str(), lenient),
            _ if lenient => Ok(None),
            _ => fail!("no such key: {index}"),
        },
    }
}

/// Whether such a value can pick something.
pub(crate) fn is_index(value: &Value<'_>) -> bool {
    matches!(value, Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Bool(_))
}

/// What the reference implementation calls the kind of a value in a few errors.
pub(crate) fn native_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Duration(_) => "types.Duration",
        Value::Type(_) => "*types.Type",
        Value::Optional(_) => "*types.Optional",
        Value::List(List::Typed(..)) => "*common.unstructuredList",
        Value::List(_) => "*types.baseList",
        Value::Map(Map::Typed(..)) => "*common.unstructuredMap",
        Value::Map(_) => "*types.baseMap",
        _ => "ref.Val",
    }
}

/// The same of a value that comes from a variable as it is.
fn raw_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::List(List::Json(_)) => "[]interface {}",
        Value::Map(Map::Json(_)) => "map[string]interface {}",
        _ => native_name(value),
    }
}

/// `a + b` of lists; the first list is changed in place if nobody else has it. A list that its schema says is a set, or
/// keyed, keeps each element but once.
pub(crate) fn concatenate<'a>(a: Value<'a>, b: &List<'a>) -> Evaluated<Value<'a>> {
    let Value::List(a) = a else { return Err(EvaluationError::no_such_overload()) };
    effort::make_list(b.len())?;
    if let List::Typed(_, schema) = &a
        && let Shape::List(_, kind) = &schema.shape
        && *kind != ListKind::Atomic
    {
        return unite(a.values()?, kind, b);
    }
    let mut values = match a {
        List::Values(mut values) => {
            if let Some(owned) = Arc::get_mut(&mut values) {
                extend(owned, b)?;
                return Ok(Value::List(List::Values(values)));
            }
            effort::make_list(values.len())?;
            Vec::clone(&values)
        }
        other => other.values()?,
    };
    extend(&mut values, b)?;
    Ok(Value::list(values))
}

fn extend<'a>(values: &mut Vec<Value<'a>>, more: &List<'a>) -> Evaluated<()> {
    for item in more.iter() {
        values.push(item?);
    }
    Ok(())
}

fn unite<'a>(mut values: Vec<Value<'a>>, kind: &ListKind, more: &List<'a>) -> Evaluated<Value<'a>> {
    let same = |a: &Value<'a>, b: &Value<'a>| match (kind, a, b) {
        (ListKind::Map(keys), Value::Map(a), Value::Map(b)) => keys.iter().all(|key| {
            let name = names::escape(key).unwrap_or_else(|| key.clone());
            match (a.field(&name), b.field(&name)) {
                (Ok(Some(a)), Ok(Some(b))) => equal(&a, &b).unwrap_or(false),
                (Ok(None), Ok(None)) => true,
                _ => false,
            }
        }),
        _ => equal(a, b).unwrap_or(false),
    };
    for item in more.iter() {
        let item = item?;
        match values.iter().position(|have| same(have, &item)) {
            Some(place) => values[place] = item,
            None => values.push(item),
        }
    }
    Ok(Value::list(values))
}
