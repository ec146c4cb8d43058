//! What an expression may mention: variables with their types, and Kubernetes' functions.

use std::collections::HashMap;

use crate::declaration::{self, Declaration};
use crate::program::Program;
use crate::source::Issues;
use crate::types::Type;
use crate::{admission, checker, parser};

/// Why an expression has no program.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// It is wrong; the issues say where and how.
    #[error(transparent)]
    Issues(#[from] Issues),
    /// A constant of it can not be what it is used as: change that constant.
    #[error("{reason}")]
    Program {
        /// Why.
        reason: String,
        /// The type that the expression would have had.
        output: Type,
    },
}

/// Variables and functions that expressions are compiled against.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: Vec<(String, Type)>,
    types: HashMap<String, Type>,
    open_types: Vec<String>,
    json_patch: bool,
    bindings: bool,
    uniform_literals: bool,
}

impl Environment {
    /// The environment of Kubernetes 1.36, still without variables.
    pub fn kubernetes() -> Self {
        Self {
            variables: Vec::new(),
            types: HashMap::new(),
            open_types: Vec::new(),
            json_patch: false,
            bindings: false,
            uniform_literals: true,
        }
    }

    /// Declares a variable. Bindings give variables in the order of their declaration.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, t: Type) -> Self {
        self.variables.push((name.into(), t));
        self
    }

    /// Makes an object type known by its name, so that expressions can build its objects.
    #[must_use]
    pub fn object_type(mut self, t: Type) -> Self {
        if let Type::Struct(object) = &t {
            self.types.insert(object.name.clone(), t);
        }
        self
    }

    /// Makes known the object type `name` and all those whose names begin with it and a dot; their fields may be anything.
    #[must_use]
    pub(crate) fn open_type(mut self, name: &str) -> Self {
        self.open_types.push(name.to_owned());
        self
    }

    /// Makes all object types within `t` known by their names.
    #[must_use]
    pub fn object_types_of(mut self, t: &Type) -> Self {
        self.add_types(t);
        self
    }

    fn add_types(&mut self, t: &Type) {
        match t {
            Type::Struct(object) if !self.types.contains_key(&object.name) => {
                self.types.insert(object.name.clone(), t.clone());
                object.fields.values().for_each(|field| self.add_types(field));
            }
            Type::List(item) => self.add_types(item),
            Type::Map(entry) => self.add_types(&entry.1),
            _ => {}
        }
    }

    /// Adds `jsonpatch.escapeKey`, which mutating admission policies have.
    #[must_use]
    pub fn json_patch(mut self) -> Self {
        self.json_patch = true;
        self
    }

    /// Adds `cel.bind`, which selectors of devices have.
    #[must_use]
    pub fn bindings(mut self) -> Self {
        self.bindings = true;
        self
    }

    /// Lets list and map literals hold values of different types, as the language's own definition does.
    #[must_use]
    pub fn mixed_literals(mut self) -> Self {
        self.uniform_literals = false;
        self
    }

    /// Parses, checks and plans `expression`.
    pub fn compile(&self, expression: &str) -> Result<Program, CompileError> {
        let tree = parser::parse(expression, self.bindings)?;
        let checked = checker::check(expression, tree, self)?;
        let variables = self.variables.iter().map(|(name, _)| name.clone()).collect();
        let output = checked.type_of(&checked.tree.root).clone();
        Program::plan(checked, variables).map_err(|reason| CompileError::Program { reason, output })
    }

    pub(crate) fn variable_named(&self, name: &str) -> Option<(usize, &Type)> {
        let number = self.variables.iter().position(|(variable, _)| variable == name)?;
        Some((number, &self.variables[number].1))
    }

    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        let open = || self.open_types.iter().find_map(|open| admission::open_type(open, name));
        self.types.get(name).cloned().or_else(open)
    }

    pub(crate) fn function(&self, name: &str) -> Option<&'static Declaration> {
        if name == "jsonpatch.escapeKey" && !self.json_patch {
            return None;
        }
        declaration::kubernetes().find(name)
    }

    pub(crate) fn uniform_literals(&self) -> bool {
        self.uniform_literals
    }
}
