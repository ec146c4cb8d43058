//! Whole expressions and rules against what Kubernetes says of them.

mod hostile;
mod rendering;
mod rules;
mod upstream;
