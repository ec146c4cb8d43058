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
    /// An object that a controller has to make is not taken.
    #[error("the {what} {name} cannot be made: {why}")]
    Refused {
        /// The kind of the object.
        what: &'static str,
        /// Its name.
        name: String,
        /// Why it is not taken.
        why: String,
    },
    /// An object that a controller makes others by is not there.
    #[error("{what} {name:?}: {why}")]
    Missing {
        /// The kind of the object.
        what: &'static str,
        /// Its name.
        name: String,
        /// What the API says of it.
        why: String,
    },
    /// A pass met a defect of this program.
    #[error(transparent)]
    Defect(#[from] xebec_follow::Defect),
    /// Who holds the key does not sign.
    #[error("a certificate is not signed: {0}")]
    Unsigned(String),
    /// A value could not be written as JSON.
    #[error("an object cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether someone else wrote in between, so that the newer object is to be looked at.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status_is(409, "Conflict")
    }

    /// Whether there is an object of that name.
    pub(crate) fn already_exists(&self) -> bool {
        self.status_is(409, "AlreadyExists")
    }

    /// Whether nothing can be made in a namespace any more, since it is on its way out.
    pub(crate) fn namespace_ends(&self) -> bool {
        let Self::Api(kube::Error::Api(status)) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    fn status_is(&self, code: u16, reason: &str) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == code && status.reason == reason)
    }

    /// The reason in the API's words, for events and conditions.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Api(kube::Error::Api(status)) => status.message.clone(),
            other => other.to_string(),
        }
    }
}
