//! `componentstatuses`: how the parts are that the API cannot do without. Upstream deprecates them, and old clients ask.
//! Nothing of it is stored: each is looked at when it is asked for.

use serde_json::{Value, json};
use xebec_machinery::status::{Qualified, Status};

use crate::api::Api;
use crate::call::Call;
use crate::object;
use crate::read::Listed;
use crate::select::Selection;

/// The name of the store that upstream has, which clients look for.
const STORE: &str = "etcd-0";

/// Whether the call is for components.
pub(crate) fn is_component(call: &Call) -> bool {
    (&*call.resource.group, &*call.resource.plural) == ("", "componentstatuses")
}

impl Api {
    /// One component.
    pub(crate) fn component(&self, call: &Call) -> Result<Value, Status> {
        let found = self.all_components(call).into_iter().find(|one| object::name(one) == call.name());
        // Upstream names them without their plural here.
        found.ok_or_else(|| Status::not_found(Qualified::new("", "componentstatus"), call.name()))
    }

    /// The components that the call selects.
    pub(crate) fn components(&self, call: &Call) -> Result<Listed, Status> {
        let selection = Selection::of(call)?;
        let mut items = self.all_components(call);
        items.retain(|one| selection.matches(one));
        Ok(Listed { items, metadata: json!({}) })
    }

    fn all_components(&self, call: &Call) -> Vec<Value> {
        let (status, message) = match self.storage().check() {
            Ok(()) => ("True", "ok".to_owned()),
            Err(error) => ("False", error.to_string()),
        };
        vec![json!({
            "kind": "ComponentStatus",
            "apiVersion": call.api_version(),
            "metadata": {"name": STORE},
            "conditions": [{"type": "Healthy", "status": status, "message": message}],
        })]
    }
}
