//! What an expression can cost at least and at most, told from the sizes that a schema allows, before it ever runs.

mod library;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::checker::{Checked, Reference};
use crate::cost::puts_in_order;
use crate::schema::{Schema, Shape};
use crate::syntax::{Comprehension, Entry, Expr, Kind, Literal, NodeId};
use crate::types::Type;

/// A least and a most, of a cost or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The least.
    pub min: u64,
    /// The most; `u64::MAX` where nothing limits it.
    pub max: u64,
}

impl Estimate {
    pub(crate) const ZERO: Self = Self::exactly(0);
    pub(crate) const ONE: Self = Self::exactly(1);
    pub(crate) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    /// What a union with anything is just that.
    const NEUTRAL: Self = Self { min: u64::MAX, max: 0 };

    pub(crate) const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { min: scaled(self.min, factor), max: scaled(self.max, factor) }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

fn scaled(value: u64, factor: f64) -> u64 {
    // A float that is too large becomes the largest integer.
    (value as f64 * factor).ceil() as u64
}

/// The cost of `checked`, whose paths begin at `root`.
pub(crate) fn estimate(checked: &Checked, root: Option<&Schema>) -> Estimate {
    let mut estimator = Estimator {
        checked,
        root,
        sizes: HashMap::new(),
        parts: HashMap::new(),
        places: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(&checked.tree.root)
}

/// Where in the schema an expression's value stands.
#[derive(Debug, Clone, Copy)]
enum Place<'s> {
    /// It comes from no variable.
    Nowhere,
    /// The schema says nothing of it.
    Unknown,
    At(&'s Schema),
}

/// The sizes of the parts of a list or map.
#[derive(Debug, Clone, Copy)]
struct Parts {
    list: bool,
    key: Estimate,
    value: Estimate,
}

#[derive(Debug, Clone)]
struct Local<'s> {
    name: Arc<str>,
    place: Place<'s>,
    size: Option<Estimate>,
    parts: Option<Parts>,
}

/// An argument or target of a call.
#[derive(Debug, Clone, Copy)]
struct Part<'e, 's> {
    expr: Option<&'e Expr>,
    t: &'e Type,
    place: Place<'s>,
    size: Option<Estimate>,
}

/// A call with what is known of its parts.
#[derive(Debug, Clone, Copy)]
struct Site<'x, 'e, 's> {
    expr: &'e Expr,
    name: &'x str,
    overload: &'x str,
    target: Option<Part<'e, 's>>,
    args: &'x [Part<'e, 's>],
    costs: &'x [Estimate],
}

/// The cost of a call and the size of its result.
#[derive(Debug, Clone, Copy)]
struct CallEstimate {
    cost: Estimate,
    size: Option<Estimate>,
}

impl From<Estimate> for CallEstimate {
    fn from(cost: Estimate) -> Self {
        Self { cost, size: None }
    }
}

struct Estimator<'e, 's> {
    checked: &'e Checked,
    root: Option<&'s Schema>,
    sizes: HashMap<NodeId, Estimate>,
    parts: HashMap<NodeId, Parts>,
    places: HashMap<NodeId, Place<'s>>,
    locals: Vec<Local<'s>>,
}

/// What the keys of a map are.
static KEY: LazyLock<Schema> = LazyLock::new(|| Schema::of(Shape::String, 0, 2, Type::String, false));

impl<'e, 's> Estimator<'e, 's> {
    fn cost(&mut self, expr: &'e Expr) -> Estimate {
        match &expr.kind {
            Kind::Wrong | Kind::Literal(_) => Estimate::ZERO,
            Kind::Ident(name) => {
                let place = self.local(name).map(|local| local.place);
                let place = place.unwrap_or_else(|| self.root.map_or(Place::Unknown, Place::At));
                self.places.insert(expr.id, place);
                Estimate::ONE
            }
            Kind::Select { operand, test: true, .. } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                if self.checked.reference(expr).is_some() {
                    return Estimate::ONE;
                }
                let mut cost = self.cost(operand);
                if matches!(self.checked.type_of(operand), Type::Map(_) | Type::Struct(_) | Type::Param(_)) {
                    cost = cost.plus(Estimate::ONE);
                }
                let place = self.step(self.place(operand), field);
                self.places.insert(expr.id, place);
                cost
            }
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, .. } => self.list(expr, elements),
            Kind::Map { entries } => self.map(expr, entries),
            Kind::Struct { fields, .. } => {
                let parts =
                    fields.iter().fold(Estimate::ZERO, |sum, field| sum.plus(self.cost(&field.value)));
                parts.plus(Estimate::exactly(40))
            }
            Kind::Comprehension(comprehension) => self.comprehension(expr, comprehension),
        }
    }

    fn local(&self, name: &str) -> Option<&Local<'s>> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    fn place(&self, expr: &Expr) -> Place<'s> {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.place;
        }
        self.places.get(&expr.id).copied().unwrap_or(Place::Nowhere)
    }

    fn step(&self, place: Place<'s>, name: &str) -> Place<'s> {
        let schema = match place {
            // The first name of a path is not looked up: the root stands for it.
            Place::Nowhere => return self.root.map_or(Place::Unknown, Place::At),
            Place::Unknown => return Place::Unknown,
            Place::At(schema) => schema,
        };
        match (name, &schema.shape) {
            ("@items" | "@values", Shape::List(item, _) | Shape::Map(item)) => Place::At(item),
            ("@keys", Shape::Map(_)) => Place::At(schema.keys.as_deref().unwrap_or(&KEY)),
            // Whatever its name, such a value is no larger than all others.
            (_, Shape::Map(value)) if matches!(value.shape, Shape::Any) => Place::At(value),
            (_, Shape::Object(fields)) => {
                fields.get(name).map_or(Place::Unknown, |field| Place::At(&field.schema))
            }
            _ => Place::Unknown,
        }
    }

    /// The size that the schema allows.
    fn allowed(&self, place: Place<'s>) -> Option<Estimate> {
        match place {
            Place::At(schema) => Some(Estimate { min: 0, max: schema.most }),
            _ => None,
        }
    }

    fn size(&mut self, expr: &Expr) -> Option<Estimate> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        match &expr.kind {
            Kind::Literal(Literal::String(text)) => {
                return Some(Estimate::exactly(text.chars().count() as u64));
            }
            Kind::Literal(Literal::Bytes(bytes)) => return Some(Estimate::exactly(bytes.len() as u64)),
            Kind::Literal(_) => return Some(Estimate::ONE),
            Kind::List { elements, .. } => return Some(Estimate::exactly(elements.len() as u64)),
            Kind::Map { entries } => return Some(Estimate::exactly(entries.len() as u64)),
            _ => {}
        }
        if let Some(size) = self.allowed(self.place(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.checked.type_of(expr).is_scalar() {
            return Some(Estimate::ONE);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(Estimate::UNKNOWN)
    }

    fn parts(&self, expr: &Expr) -> Option<Parts> {
        self.parts.get(&expr.id).copied().or_else(|| match &expr.kind {
            Kind::Ident(name) => self.local(name)?.parts,
            _ => None,
        })
    }

    fn part(&mut self, expr: &'e Expr) -> Part<'e, 's> {
        Part {
            expr: Some(expr),
            t: self.checked.type_of(expr),
            place: self.place(expr),
            size: self.size(expr),
        }
    }

    fn list(&mut self, expr: &Expr, elements: &'e [Expr]) -> Estimate {
        let mut cost = Estimate::exactly(10);
        let mut item = if elements.is_empty() { Estimate::ZERO } else { Estimate::NEUTRAL };
        for element in elements {
            cost = cost.plus(self.cost(element));
            item = item.union(self.size_or_unknown(element));
        }
        self.parts.insert(expr.id, Parts { list: true, key: Estimate::ONE, value: item });
        cost
    }

    fn map(&mut self, expr: &Expr, entries: &'e [Entry]) -> Estimate {
        let mut cost = Estimate::exactly(30);
        let start = if entries.is_empty() { Estimate::ZERO } else { Estimate::NEUTRAL };
        let (mut key, mut value) = (start, start);
        for entry in entries {
            cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
            key = key.union(self.size_or_unknown(&entry.key));
            value = value.union(self.size_or_unknown(&entry.value));
        }
        self.parts.insert(expr.id, Parts { list: false, key, value });
        cost
    }

    fn call(&mut self, expr: &'e Expr, name: &str, target: Option<&'e Expr>, args: &'e [Expr]) -> Estimate {
        if name == "dyn"
            && let [arg] = args
        {
            let cost = self.cost(arg);
            self.copy_sizes(expr, arg);
            return cost.plus(Estimate::ONE);
        }
        let mut parts = Vec::with_capacity(args.len());
        let mut costs = Vec::with_capacity(args.len());
        for arg in args {
            costs.push(self.cost(arg));
            parts.push(self.part(arg));
        }
        let checked = self.checked;
        let overloads = checked.overloads(expr);
        if overloads.is_empty() {
            return Estimate::ZERO;
        }
        let (name, with_target) = match checked.reference(expr) {
            Some(Reference::Function { declaration, with_target, .. }) => (declaration.name, *with_target),
            _ => (name, false),
        };
        let mut before = Estimate::ZERO;
        let target = target.filter(|_| with_target).map(|target| {
            before = self.cost(target);
            self.part(target)
        });
        let mut cost = Estimate::NEUTRAL;
        let mut size: Option<Estimate> = None;
        for overload in overloads {
            let estimate = self.function(&Site { expr, name, overload, target, args: &parts, costs: &costs });
            cost = cost.union(estimate.cost);
            if let Some(result) = estimate.size {
                size = Some(size.map_or(result, |size| size.union(result)));
            }
            if let ("index_list" | "index_map", Some(operand)) = (*overload, args.first()) {
                size = self.parts(operand).map(|parts| parts.value);
                let step = if *overload == "index_list" { "@items" } else { "@values" };
                let place = self.step(self.place(operand), step);
                self.places.insert(expr.id, place);
            }
            if size.is_none() {
                size = self.size(expr);
            }
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        before.plus(cost)
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to.id, size);
        }
        if let Some(parts) = self.parts(from) {
            self.parts.insert(to.id, parts);
        }
    }

    fn function(&mut self, site: &Site<'_, 'e, 's>) -> CallEstimate {
        let Site { expr, overload, target, args, costs, .. } = *site;
        let sum = costs.iter().fold(Estimate::ZERO, |sum, cost| sum.plus(*cost));
        let with_args = |mut estimate: CallEstimate| {
            estimate.cost = estimate.cost.plus(sum);
            estimate
        };
        if let Some(estimate) = self.collection_call(site) {
            return with_args(estimate);
        }
        if let Some(estimate) = self.library_call(site) {
            return with_args(estimate);
        }
        let size = |place: usize| args.get(place).and_then(|arg| arg.size).unwrap_or(Estimate::UNKNOWN);
        let target_size = target.and_then(|target| target.size).unwrap_or(Estimate::UNKNOWN);
        let estimate = match overload {
            "string_format" if target.is_some() => target_size.scaled(0.1).into(),
            "string_to_bytes" => {
                let sz = size(0);
                // The reference implementation lets this product wrap.
                let most = Estimate { min: sz.min, max: sz.max.wrapping_mul(4) };
                CallEstimate { cost: sz.scaled(0.1), size: Some(most) }
            }
            "bytes_to_string" => {
                let sz = size(0);
                CallEstimate { cost: sz.scaled(0.1), size: Some(Estimate { min: sz.min / 4, max: sz.max }) }
            }
            "strings_quote" => {
                let sz = size(0);
                let most = sz.max.wrapping_mul(2).wrapping_add(2);
                CallEstimate {
                    cost: sz.scaled(0.1),
                    size: Some(Estimate { min: sz.min.wrapping_add(2), max: most }),
                }
            }
            "starts_with_string" | "ends_with_string" => size(0).scaled(0.1).into(),
            "in_list" => size(1).into(),
            "matches_string" => {
                let text = target_size.plus(Estimate::ONE).scaled(0.1);
                text.times(size(0).scaled(0.25)).into()
            }
            "contains_string" => target_size.scaled(0.1).times(size(0).scaled(0.1)).into(),
            "logical_or" | "logical_and" => {
                let least = costs.first().map_or(0, |cost| cost.min);
                return Estimate { min: least, max: sum.max }.into();
            }
            "conditional" => return self.conditional(expr, args, costs),
            "add_string" | "add_bytes" | "add_list" => self.addition(expr, overload, args),
            _ if matches!(overload, "equals" | "not_equals") || puts_in_order(overload) => {
                let most = size(0).max.min(size(1).max);
                Estimate { min: u64::from(most > 0), max: most }.scaled(0.1).into()
            }
            _ => Estimate::ONE.into(),
        };
        with_args(estimate)
    }

    fn conditional(&mut self, expr: &Expr, args: &[Part<'e, 's>], costs: &[Estimate]) -> CallEstimate {
        let ([_, yes, no], [condition, yes_cost, no_cost]) = (args, costs) else {
            return Estimate::ONE.into();
        };
        let size = yes.size.unwrap_or(Estimate::UNKNOWN).union(no.size.unwrap_or(Estimate::UNKNOWN));
        let parts = yes.expr.and_then(|yes| self.parts(yes)).zip(no.expr.and_then(|no| self.parts(no)));
        self.join_parts(expr, parts);
        CallEstimate { cost: condition.plus(yes_cost.union(*no_cost)), size: Some(size) }
    }

    fn join_parts(&mut self, expr: &Expr, parts: Option<(Parts, Parts)>) {
        if let Some((a, b)) = parts {
            let joined = Parts { list: a.list, key: a.key.union(b.key), value: a.value.union(b.value) };
            self.parts.insert(expr.id, joined);
        }
    }

    fn addition(&mut self, expr: &Expr, overload: &str, args: &[Part<'e, 's>]) -> CallEstimate {
        let [a, b] = args else { return Estimate::ONE.into() };
        let size = a.size.unwrap_or(Estimate::UNKNOWN).plus(b.size.unwrap_or(Estimate::UNKNOWN));
        let parts = a.expr.and_then(|a| self.parts(a)).zip(b.expr.and_then(|b| self.parts(b)));
        self.join_parts(expr, parts);
        let cost = if overload == "add_list" { Estimate::ONE } else { size.scaled(0.1) };
        CallEstimate { cost, size: Some(size) }
    }

    fn push(&mut self, name: &Arc<str>, place: Place<'s>, size: Option<Estimate>, parts: Option<Parts>) {
        self.locals.push(Local { name: name.clone(), place, size, parts });
    }

    fn pop(&mut self, name: &str) {
        if let Some(at) = self.locals.iter().rposition(|local| &*local.name == name) {
            self.locals.remove(at);
        }
    }

    fn comprehension(&mut self, expr: &Expr, c: &'e Comprehension) -> Estimate {
        let mut cost = self.cost(&c.range).plus(self.cost(&c.initial));
        let binds = matches!(&c.range.kind, Kind::List { elements, .. } if elements.is_empty())
            && matches!(c.condition.kind, Kind::Literal(Literal::Bool(false)))
            && &*c.accumulator != "__result__";
        let (place, size, parts) = (self.place(&c.initial), self.size(&c.initial), self.parts(&c.initial));
        self.push(&c.accumulator, place, size, parts);
        if binds {
            cost = cost.plus(self.cost(&c.result));
            self.pop(&c.accumulator);
            self.copy_sizes(expr, &c.result);
            return cost;
        }
        self.push_variables(c);
        let turn = self.cost(&c.condition).plus(self.cost(&c.step));
        self.pop(&c.variable);
        if let Some(second) = &c.second {
            self.pop(second);
        }
        cost = cost.plus(self.cost(&c.result));
        self.pop(&c.accumulator);
        let count = self.size_or_unknown(&c.range);
        cost = cost.plus(count.times(turn));
        match &c.initial.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&c.initial) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List { .. } | Kind::Map { .. } => {
                self.sizes.insert(expr.id, count);
                if let Some(parts) = self.parts(&c.step) {
                    self.parts.insert(expr.id, parts);
                }
            }
            _ => {}
        }
        cost
    }

    fn push_variables(&mut self, c: &'e Comprehension) {
        let parts = self.parts(&c.range);
        let is_list =
            parts.map_or_else(|| matches!(self.checked.type_of(&c.range), Type::List(_)), |parts| parts.list);
        let range = self.place(&c.range);
        let (key, value) = if is_list { ("@indices", "@items") } else { ("@keys", "@values") };
        let key_size = parts.map(|parts| parts.key);
        let value_size = parts.map(|parts| parts.value);
        match &c.second {
            Some(second) => {
                self.push(&c.variable, self.step(range, key), key_size, None);
                self.push(second, self.step(range, value), value_size, None);
            }
            None if is_list => self.push(&c.variable, self.step(range, value), value_size, None),
            None => self.push(&c.variable, self.step(range, key), key_size, None),
        }
    }
}
