/// Why a pass over an object did not end well. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused or could not be reached.
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    /// An object lacks what every object of its kind has.
    #[error("{kind} has no {field}; the API server should not have let it in")]
    Incomplete {
        /// The kind.
        kind: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// A value could not be written as JSON.
    #[error("an object cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}
