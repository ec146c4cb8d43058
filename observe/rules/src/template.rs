//! Templates of alerts' labels and annotations: Go's text/template with the functions that Prometheus adds to it.
//!
//! A template is read once and expanded for each alert. What it may do is bounded: steps, text made, queries, nesting.
//! Errors are told as upstream tells them, with the place in the template. There are no HTML templates, hence no `tmpl`.

mod builtins;
mod execution;
mod functions;
mod lexer;
mod methods;
mod node;
mod parser;
mod printf;
mod value;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use xebec_promql::histogram::Histogram;
use xebec_promql::labels::Labels;
use xebec_promql::value::VectorSample;

pub use functions::table_link;

use node::Tree;
use value::Value;

/// A longer template is refused.
pub const MOST_BYTES: usize = 1 << 20;
/// An expansion may take so many steps.
pub const MOST_STEPS: usize = 1_000_000;
/// An expansion may write so many bytes.
pub const MOST_OUTPUT: usize = 1 << 20;
/// Functions may make texts of so many bytes in one expansion.
pub const MOST_TEXT: usize = 16 << 20;
/// An expansion may ask so many queries.
pub const MOST_QUERIES: usize = 1000;

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: Arc<str>,
    trees: Arc<BTreeMap<String, Tree>>,
}

/// Asks a query at the time of the evaluation. The error is that of the query.
pub type Query<'q> = dyn FnMut(&str) -> Result<Vec<VectorSample>, String> + 'q;

/// What an expansion knows of the world.
pub struct Surroundings<'s> {
    /// Asks a query.
    pub query: &'s mut Query<'s>,
    /// Where this instance is reached, which links begin with.
    pub external_url: &'s str,
    /// The time of the evaluation, in milliseconds since 1970.
    pub time: i64,
}

/// What a template is expanded with.
#[derive(Debug, Clone, Default)]
pub struct Data(Value);

impl Data {
    /// The data of an alert: what the sample that raised it says, and what is the same everywhere.
    pub fn of_alert(
        labels: &Labels,
        external_labels: &BTreeMap<String, String>,
        external_url: &str,
        value: f64,
        histogram: Option<&Arc<Histogram>>,
    ) -> Self {
        let value =
            histogram.map_or(Value::Float(value), |histogram| Value::Histogram(Arc::clone(histogram)));
        Self(Value::Data(Arc::new(value::Data {
            labels: Arc::new(value::texts(labels)),
            external_labels: Arc::new(external_labels.clone()),
            external_url: external_url.into(),
            value,
        })))
    }
}

impl Template {
    /// Reads a template, or says why it is none.
    ///
    /// ```
    /// use xebec_rules::template::Template;
    ///
    /// assert!(Template::parse("t", "{{ range query \"up\" }}{{ .Value }}{{ end }}").is_ok());
    /// let error = Template::parse("t", "{{ .Value ").unwrap_err();
    /// assert_eq!(error, "template: t:1: unclosed action");
    /// ```
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!(
                "template: {name}: {} bytes are over the limit of {MOST_BYTES}: shorten it",
                text.len()
            ));
        }
        let trees = parser::parse(name, text)?;
        Ok(Self { name: name.to_owned(), text: text.into(), trees: Arc::new(trees) })
    }

    /// Expands it.
    pub fn expand(&self, data: &Data, surroundings: &mut Surroundings<'_>) -> Result<String, String> {
        execution::execute(self, &data.0, surroundings)
            .map_err(|why| format!("error executing template {}: {why}", self.name))
    }
}

#[cfg(test)]
mod tests;
