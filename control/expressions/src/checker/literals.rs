//! What can be told wrong of constants before an expression ever runs.

use super::Checked;
use crate::function::Function;
use crate::library::formatting;
use crate::regular;
use crate::source::Issues;
use crate::syntax::{Expr, Kind, Literal};
use crate::types::Type;
use crate::{duration, timestamp};

/// Judges the constants of `checked`; lists and maps may hold but one type if `uniform`.
pub(super) fn validate(source: &str, checked: &Checked, uniform: bool) -> Issues {
    let mut issues = Issues::new(source);
    let mut judge = Judge { checked, issues: &mut issues, uniform };
    judge.walk(&checked.tree.root, false);
    issues
}

struct Judge<'j> {
    checked: &'j Checked,
    issues: &'j mut Issues,
    uniform: bool,
}

impl Judge<'_> {
    fn report(&mut self, expr: &Expr, message: impl Into<String>) {
        let position = self.checked.tree.positions.get(expr.id.index()).copied().unwrap_or_default();
        self.issues.report_at(position, message);
    }

    fn walk(&mut self, expr: &Expr, formatted: bool) {
        let mut below = formatted;
        match &expr.kind {
            Kind::Call { function, target, args } => {
                self.conversion(function, args);
                if &**function == "format" {
                    below = true;
                    self.format(expr, target.as_deref(), args);
                }
            }
            Kind::List { elements, optional } if !formatted => self.uniform_list(elements, optional),
            Kind::Map { entries } if !formatted => {
                let keys = entries.iter().map(|entry| (&entry.key, false)).collect::<Vec<_>>();
                let values = entries.iter().map(|entry| (&entry.value, entry.optional)).collect::<Vec<_>>();
                self.uniform(&keys, false);
                self.uniform(&values, false);
            }
            _ => {}
        }
        let mut children = Vec::new();
        expr.children(&mut |child| children.push(child));
        for child in children {
            self.walk(child, below);
        }
    }

    fn conversion(&mut self, function: &str, args: &[Expr]) {
        let Some(arg) = args.first() else { return };
        let Kind::Literal(literal) = &arg.kind else { return };
        let right = match (function, literal) {
            ("duration", Literal::String(text)) => duration::parse(text).is_ok(),
            ("timestamp", Literal::String(text)) => timestamp::parse(text).is_ok(),
            ("timestamp", Literal::Int(seconds)) => timestamp::from_seconds(*seconds).is_ok(),
            ("matches", Literal::String(pattern)) => regular::compile(pattern).is_ok(),
            _ => return,
        };
        if !right {
            self.report(arg, format!("invalid {function} argument"));
        }
    }

    fn format(&mut self, expr: &Expr, target: Option<&Expr>, args: &[Expr]) {
        let (
            Some(Expr { kind: Kind::Literal(Literal::String(text)), .. }),
            [Expr { kind: Kind::List { elements, .. }, .. }],
        ) = (target, args)
        else {
            return;
        };
        if !matches!(self.checked.reference(expr), Some(super::Reference::Function { declaration, .. }) if declaration.function == Function::Format)
        {
            return;
        }
        let types: Vec<&Type> = elements.iter().map(|element| self.checked.type_of(element)).collect();
        let part = |i: usize| {
            let bad = elements.get(i).and_then(|element| self.without_text(element))?;
            Some(self.checked.type_of(bad).name().to_owned())
        };
        if let Err(wrong) = formatting::check(text, &types, part) {
            let value = wrong.value.and_then(|i| elements.get(i));
            let part = value.filter(|_| wrong.of_text).and_then(|value| self.without_text(value));
            self.report(part.or(value).unwrap_or(expr), wrong.message);
        }
    }

    /// The part of a literal that `%s` can not show.
    fn without_text<'e>(&self, expr: &'e Expr) -> Option<&'e Expr> {
        let t = self.checked.type_of(expr);
        if !t.is_dyn() && !formatting::has_text(t) {
            return Some(expr);
        }
        match &expr.kind {
            Kind::List { elements, .. } => elements.iter().find_map(|element| self.without_text(element)),
            Kind::Map { entries } => entries
                .iter()
                .find_map(|entry| self.without_text(&entry.key).or_else(|| self.without_text(&entry.value))),
            _ => None,
        }
    }

    fn uniform_list(&mut self, elements: &[Expr], optional: &[usize]) {
        let elements: Vec<(&Expr, bool)> =
            elements.iter().enumerate().map(|(i, element)| (element, optional.contains(&i))).collect();
        self.uniform(&elements, true);
    }

    /// Reports elements whose type differs from the first one's; only the first such if `once`.
    fn uniform(&mut self, elements: &[(&Expr, bool)], once: bool) {
        if !self.uniform {
            return;
        }
        let checked = self.checked;
        let type_of = |(expr, optional): &(&Expr, bool)| {
            let t = checked.type_of(expr);
            if *optional { t.unwrap_optional().0.clone() } else { t.clone() }
        };
        let Some(expected) = elements.first().map(type_of) else { return };
        for element in &elements[1..] {
            let actual = type_of(element);
            if !equivalent(&expected, &actual) {
                self.report(element.0, format!("expected type '{expected}' but found '{actual}'"));
                if once {
                    return;
                }
            }
        }
    }
}

fn equivalent(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::List(a), Type::List(b)) => equivalent(a, b),
        (Type::Map(a), Type::Map(b)) => equivalent(&a.0, &b.0) && equivalent(&a.1, &b.1),
        (Type::Type(_), Type::Type(_)) | (Type::Param(_), Type::Param(_)) => true,
        _ => a == b,
    }
}
