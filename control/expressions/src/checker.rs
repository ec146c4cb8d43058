//! Gives every node of an expression its type, resolves names, and reports what can never work.

mod literals;

use std::sync::Arc;

use crate::declaration::{self, Declaration};
use crate::environment::Environment;
use crate::source::Issues;
use crate::syntax::{Comprehension, Entry, Expr, Initializer, Kind, Literal, NodeId, Tree, operator};
use crate::types::{FieldKnowledge, StructType, Substitution, Type, most_general};
use crate::wellknown;

/// What a name or call means.
#[derive(Debug, Clone)]
pub(crate) enum Reference {
    /// A declared variable, by its number in the environment.
    Variable(usize),
    /// A loop variable or accumulator, by its name.
    Local(Arc<str>),
    /// The name of a type.
    Type(Type),
    /// A function with the overloads that can be meant.
    Function { declaration: &'static Declaration, overloads: Vec<&'static str>, with_target: bool },
}

/// An expression whose types are known.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) tree: Tree,
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
}

impl Checked {
    pub(crate) fn type_of(&self, expr: &Expr) -> &Type {
        self.types.get(expr.id.index()).and_then(Option::as_ref).unwrap_or(&Type::Dyn)
    }

    pub(crate) fn reference(&self, expr: &Expr) -> Option<&Reference> {
        self.references.get(expr.id.index())?.as_ref()
    }

    /// The overloads that a call can mean.
    pub(crate) fn overloads(&self, expr: &Expr) -> &[&'static str] {
        match self.reference(expr) {
            Some(Reference::Function { overloads, .. }) => overloads,
            _ => &[],
        }
    }

    /// Whether the variable of that number is read anywhere.
    pub(crate) fn reads(&self, variable: usize) -> bool {
        self.references
            .iter()
            .flatten()
            .any(|reference| matches!(reference, Reference::Variable(number) if *number == variable))
    }
}

/// Checks `tree`, which `source` was parsed to.
pub(crate) fn check(source: &str, tree: Tree, environment: &Environment) -> Result<Checked, Issues> {
    let count = tree.positions.len();
    let mut checker = Checker {
        environment,
        positions: &tree.positions,
        issues: Issues::new(source),
        types: vec![None; count],
        references: vec![None; count],
        locals: Vec::new(),
        substitution: Substitution::default(),
        open_types: 0,
    };
    checker.check(&tree.root);
    let Checker { issues, mut types, references, substitution, .. } = checker;
    for t in types.iter_mut().flatten() {
        *t = substitution.apply(t, true);
    }
    if !issues.is_empty() {
        return Err(issues);
    }
    let checked = Checked { tree, types, references };
    let issues = literals::validate(source, &checked, environment.uniform_literals());
    if issues.is_empty() { Ok(checked) } else { Err(issues) }
}

struct Checker<'c> {
    environment: &'c Environment,
    positions: &'c [u32],
    issues: Issues,
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
    locals: Vec<(Arc<str>, Type)>,
    substitution: Substitution,
    open_types: usize,
}

impl Checker<'_> {
    fn report(&mut self, id: NodeId, message: impl Into<String>) {
        let position = self.positions.get(id.index()).copied().unwrap_or_default();
        self.issues.report_at(position, message);
    }

    fn set(&mut self, expr: &Expr, t: Type) {
        if let Some(slot) = self.types.get_mut(expr.id.index()) {
            *slot = Some(t);
        }
    }

    fn refer(&mut self, expr: &Expr, reference: Reference) {
        if let Some(slot) = self.references.get_mut(expr.id.index()) {
            *slot = Some(reference);
        }
    }

    fn get(&self, expr: &Expr) -> Type {
        self.types.get(expr.id.index()).cloned().flatten().unwrap_or(Type::Error)
    }

    fn open_type(&mut self) -> Type {
        self.open_types += 1;
        Type::Param(format!("_var{}", self.open_types - 1).into())
    }

    fn undeclared(&mut self, expr: &Expr, name: &str) {
        self.set(expr, Type::Error);
        self.report(expr.id, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn mismatch(&mut self, expr: &Expr, expected: &Type, actual: &Type) {
        self.report(expr.id, format!("expected type '{expected}' but found '{actual}'"));
    }

    fn check(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Wrong => self.set(expr, Type::Error),
            Kind::Literal(literal) => self.set(expr, literal_type(literal)),
            Kind::Ident(name) => match self.lookup(name) {
                Some((t, reference)) => {
                    self.set(expr, t);
                    self.refer(expr, reference);
                }
                None => self.undeclared(expr, name),
            },
            Kind::Select { operand, field, test } => self.check_select(expr, operand, field, *test),
            Kind::Call { function, target, args } => self.check_call(expr, function, target.as_deref(), args),
            Kind::List { elements, optional } => self.check_list(expr, elements, optional),
            Kind::Map { entries } => self.check_map(expr, entries),
            Kind::Struct { name, fields } => self.check_struct(expr, name, fields),
            Kind::Comprehension(comprehension) => self.check_comprehension(expr, comprehension),
        }
    }

    fn lookup(&self, name: &str) -> Option<(Type, Reference)> {
        if !name.starts_with('.')
            && let Some((local, t)) = self.locals.iter().rev().find(|(local, _)| &**local == name)
        {
            return Some((t.clone(), Reference::Local(local.clone())));
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((number, t)) = self.environment.variable_named(name) {
            return Some((t.clone(), Reference::Variable(number)));
        }
        let t = declaration::named_type(name).or_else(|| self.environment.type_named(name))?;
        Some((Type::type_of(t.clone()), Reference::Type(t)))
    }

    fn check_select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) {
        if let Some((t, reference)) = expr.qualified_name().and_then(|name| self.lookup(&name)) {
            self.set(expr, t);
            self.refer(expr, reference);
            return;
        }
        let found = self.check_field(expr, operand, field, false);
        let t = if test { Type::Bool } else { self.substitution.apply(&found, false) };
        self.set(expr, t);
    }

    fn check_field(&mut self, expr: &Expr, operand: &Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand_type = self.substitution.apply(&self.get(operand), false);
        let (target, is_optional) = operand_type.unwrap_optional();
        let result = match target {
            Type::Map(entry) => entry.1.clone(),
            Type::Struct(object) => match object.fields.get(field) {
                Some(t) => t.clone(),
                None if object.known == FieldKnowledge::Any => Type::Dyn,
                None => {
                    self.report(expr.id, no_field(object, field));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.substitution.assign(&Type::Dyn, target);
                Type::Dyn
            }
            _ => {
                if !target.is_dyn_or_error() {
                    self.report(expr.id, format!("type '{target}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if is_optional || optional { Type::optional(result) } else { result }
    }

    fn check_call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) {
        if function == operator::OPTIONAL_SELECT {
            self.check_optional_select(expr, args);
            return;
        }
        for arg in args {
            self.check(arg);
        }
        let Some(target) = target else {
            match self.environment.function(function) {
                Some(declaration) => self.resolve(expr, declaration, None, args),
                None => self.undeclared(expr, function),
            }
            return;
        };
        if let Some(prefix) = target.qualified_name()
            && let Some(declaration) = self.environment.function(&format!("{prefix}.{function}"))
        {
            self.resolve(expr, declaration, None, args);
            return;
        }
        self.check(target);
        match self.environment.function(function) {
            Some(declaration) => self.resolve(expr, declaration, Some(target), args),
            None => self.undeclared(expr, function),
        }
    }

    fn check_optional_select(&mut self, expr: &Expr, args: &[Expr]) {
        let [operand, Expr { kind: Kind::Literal(Literal::String(field)), .. }] = args else { return };
        let found = self.check_field(expr, operand, field, true);
        let t = self.substitution.apply(&found, false);
        self.set(expr, t);
        if let Some(declaration) = self.environment.function(operator::OPTIONAL_SELECT) {
            let overloads = vec!["select_optional_field"];
            self.refer(expr, Reference::Function { declaration, overloads, with_target: false });
        }
        // The field's name is a constant whose type costs ask for.
        self.set(&args[1], Type::String);
    }

    fn resolve(
        &mut self,
        expr: &Expr,
        declaration: &'static Declaration,
        target: Option<&Expr>,
        args: &[Expr],
    ) {
        let arg_types: Vec<Type> = target.into_iter().chain(args).map(|arg| self.get(arg)).collect();
        if matches!(declaration.name, operator::AND | operator::OR) {
            self.resolve_junction(expr, declaration, args, &arg_types);
            return;
        }
        let mut result: Option<Type> = None;
        let mut overloads = Vec::new();
        for overload in declaration.overloads.iter().filter(|overload| overload.member == target.is_some()) {
            let (fits, overload_result) = if overload.generic {
                let mut fresh = Fresh { checker: self, named: Vec::new() };
                let params: Vec<Type> = overload.params.iter().map(|param| fresh.rename(param)).collect();
                let overload_result = fresh.rename(&overload.result);
                let fits = self.substitution.assign_all(&arg_types, &params);
                (fits, if fits { self.substitution.apply(&overload_result, false) } else { overload_result })
            } else {
                (self.substitution.assign_all(&arg_types, &overload.params), overload.result.clone())
            };
            if !fits {
                continue;
            }
            overloads.push(overload.id);
            result = Some(match result {
                None => overload_result,
                Some(before) if before.is_dyn() || before == overload_result => before,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            self.no_overload(expr, declaration.name, target.is_some(), &arg_types);
            return;
        };
        self.set(expr, result);
        self.refer(expr, Reference::Function { declaration, overloads, with_target: target.is_some() });
    }

    fn resolve_junction(
        &mut self,
        expr: &Expr,
        declaration: &'static Declaration,
        args: &[Expr],
        types: &[Type],
    ) {
        let mut right = true;
        for (arg, t) in args.iter().zip(types) {
            if !self.substitution.assign(t, &Type::Bool) {
                self.mismatch(arg, &Type::Bool, t);
                right = false;
            }
        }
        if !right {
            self.set(expr, Type::Error);
            return;
        }
        self.set(expr, Type::Bool);
        let overloads = declaration.overloads.iter().map(|overload| overload.id).collect();
        self.refer(expr, Reference::Function { declaration, overloads, with_target: false });
    }

    fn no_overload(&mut self, expr: &Expr, name: &str, member: bool, arg_types: &[Type]) {
        let mut shown: Vec<String> =
            arg_types.iter().map(|t| self.substitution.apply(t, true).to_string()).collect();
        let target = if member { format!("{}.", shown.remove(0)) } else { String::new() };
        self.report(
            expr.id,
            format!("found no matching overload for '{name}' applied to '{target}({})'", shown.join(", ")),
        );
        self.set(expr, Type::Error);
    }

    /// The type of a value that may be left out if it is optional.
    fn given_type(&mut self, expr: &Expr, optional: bool) -> Type {
        let t = self.get(expr);
        if !optional {
            return t;
        }
        let (inner, is_optional) = t.unwrap_optional();
        if !is_optional && !t.is_dyn() {
            self.mismatch(expr, &Type::optional(t.clone()), &t);
        }
        inner.clone()
    }

    fn check_list(&mut self, expr: &Expr, elements: &[Expr], optional: &[usize]) {
        let mut joined = None;
        for (i, element) in elements.iter().enumerate() {
            self.check(element);
            let t = self.given_type(element, optional.contains(&i));
            joined = Some(self.join(joined, t));
        }
        let item = joined.unwrap_or_else(|| self.open_type());
        self.set(expr, Type::list(item));
    }

    fn check_map(&mut self, expr: &Expr, entries: &[Entry]) {
        let (mut key, mut value) = (None, None);
        for entry in entries {
            self.check(&entry.key);
            let t = self.get(&entry.key);
            key = Some(self.join(key, t));
            self.check(&entry.value);
            let t = self.given_type(&entry.value, entry.optional);
            value = Some(self.join(value, t));
        }
        let key = key.unwrap_or_else(|| self.open_type());
        let value = value.unwrap_or_else(|| self.open_type());
        self.set(expr, Type::map(key, value));
    }

    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.substitution.assign(&previous, &current) {
            return most_general(&previous, &current);
        }
        Type::Dyn
    }

    fn check_struct(&mut self, expr: &Expr, name: &str, fields: &[Initializer]) {
        if let Some(known) = wellknown::fields(name.strip_prefix('.').unwrap_or(name)) {
            let known = known.into_iter().map(|(field, t)| (field.to_owned(), t)).collect();
            // Such a message is the plain value that it holds, or null.
            self.check_fields(
                fields,
                Some(&StructType { name: name.to_owned(), fields: known, known: FieldKnowledge::All }),
            );
            self.set(expr, Type::Dyn);
            return;
        }
        let found = match self.lookup(name) {
            None => {
                self.undeclared(expr, name);
                return;
            }
            Some((Type::Type(Some(t)), _)) => match &*t {
                Type::Struct(object) => Some(object.clone()),
                other => {
                    self.report(expr.id, format!("'{}' is not a message type", other.name()));
                    None
                }
            },
            Some((t, _)) => {
                self.report(expr.id, format!("'{t}' is not a type"));
                None
            }
        };
        self.set(expr, found.clone().map_or(Type::Error, Type::Struct));
        self.check_fields(fields, found.as_deref());
    }

    fn check_fields(&mut self, fields: &[Initializer], object: Option<&StructType>) {
        for initializer in fields {
            self.check(&initializer.value);
            let Some(object) = object else { continue };
            let expected = match object.fields.get(&*initializer.field) {
                Some(t) => t.clone(),
                None if object.known == FieldKnowledge::Any => Type::Dyn,
                None => {
                    self.report(initializer.id, format!("undefined field '{}'", initializer.field));
                    Type::Error
                }
            };
            let given = self.given_type(&initializer.value, initializer.optional);
            if !self.substitution.assign(&expected, &given) {
                self.report(
                    initializer.id,
                    format!(
                        "expected type of field '{}' is '{expected}' but provided type is '{given}'",
                        initializer.field
                    ),
                );
            }
        }
    }

    fn check_comprehension(&mut self, expr: &Expr, c: &Comprehension) {
        self.check(&c.range);
        self.check(&c.initial);
        let range = self.substitution.apply(&self.get(&c.range), false);
        let accumulated = self.get(&c.initial);
        let two = c.second.is_some();
        let (first, second) = match &range {
            Type::List(item) if two => (Type::Int, (**item).clone()),
            Type::List(item) => ((**item).clone(), Type::Dyn),
            Type::Map(entry) => (entry.0.clone(), entry.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.substitution.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            _ => {
                self.report(
                    c.range.id,
                    format!("expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"),
                );
                (Type::Error, Type::Error)
            }
        };
        let depth = self.locals.len();
        self.locals.push((c.accumulator.clone(), accumulated.clone()));
        self.locals.push((c.variable.clone(), first));
        if let Some(name) = &c.second {
            self.locals.push((name.clone(), second));
        }
        self.check(&c.condition);
        self.assert(&c.condition, &Type::Bool);
        self.check(&c.step);
        self.assert(&c.step, &accumulated);
        self.locals.truncate(depth + 1);
        self.check(&c.result);
        self.locals.truncate(depth);
        let t = self.substitution.apply(&self.get(&c.result), false);
        self.set(expr, t);
    }

    fn assert(&mut self, expr: &Expr, expected: &Type) {
        let actual = self.get(expr);
        if !self.substitution.assign(expected, &actual) {
            self.mismatch(expr, expected, &actual);
        }
    }
}

fn no_field(object: &StructType, field: &str) -> String {
    if object.known == FieldKnowledge::None {
        return format!("unexpected failed resolution of '{}'", object.name);
    }
    format!("undefined field '{field}'")
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// Gives the open types of one overload new names.
struct Fresh<'f, 'c> {
    checker: &'f mut Checker<'c>,
    named: Vec<(Arc<str>, Type)>,
}

impl Fresh<'_, '_> {
    fn rename(&mut self, t: &Type) -> Type {
        match t {
            Type::Param(name) => {
                if let Some((_, fresh)) = self.named.iter().find(|(known, _)| known == name) {
                    return fresh.clone();
                }
                let fresh = self.checker.open_type();
                self.named.push((name.clone(), fresh.clone()));
                fresh
            }
            Type::List(item) => Type::list(self.rename(item)),
            Type::Map(entry) => Type::map(self.rename(&entry.0), self.rename(&entry.1)),
            Type::Opaque(name, params) => {
                Type::Opaque(name.clone(), params.iter().map(|param| self.rename(param)).collect())
            }
            Type::Type(Some(inner)) => Type::type_of(self.rename(inner)),
            _ => t.clone(),
        }
    }
}
