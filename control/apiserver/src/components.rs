//! `componentstatuses`: how the parts are that a cluster cannot do without. Upstream deprecates them, and old clients ask.
//! Nothing of it is stored: each is looked at when it is asked for. Like upstream's API, this one knows of the parts that
//! stand beside it alone.

use std::sync::{PoisonError, RwLock};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use xebec_machinery::status::{Qualified, Status};

use crate::api::Api;
use crate::call::Call;
use crate::object;
use crate::read::Listed;
use crate::select::Selection;

/// The name of the store that upstream has, which clients look for.
const STORE: &str = "etcd-0";

/// A part that works through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// What keeps the built-in kinds in step.
    ControllerManager,
    /// What finds places for pods.
    Scheduler,
}

impl Component {
    const ALL: [Self; 2] = [Self::ControllerManager, Self::Scheduler];

    fn name(self) -> &'static str {
        match self {
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
        }
    }
}

/// The parts that run beside the API, each with what is cancelled when it ends.
#[derive(Debug, Default)]
pub(crate) struct Components(RwLock<Vec<(Component, CancellationToken)>>);

impl Components {
    fn runs(&self, component: Component) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|(own, ended)| *own == component && !ended.is_cancelled())
    }
}

/// Whether the call is for components.
pub(crate) fn is_component(call: &Call) -> bool {
    (&*call.resource.group, &*call.resource.plural) == ("", "componentstatuses")
}

impl Api {
    /// From now on, clients are told that the component is well, until `ended` is cancelled.
    pub fn has_component(&self, component: Component, ended: CancellationToken) {
        let mut known = self.known_components().0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(own, _)| *own != component);
        known.push((component, ended));
    }

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
        let condition = |component: Component| match self.known_components().runs(component) {
            true => json!({"type": "Healthy", "status": "True", "message": "ok"}),
            false => {
                let name = component.name();
                let message = format!("no {name} runs in this process; start one with `up`");
                json!({"type": "Healthy", "status": "False", "message": message})
            }
        };
        let store = match self.storage().check() {
            Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
            Err(error) => json!({"type": "Healthy", "status": "False", "error": error.to_string()}),
        };
        let parts = Component::ALL.map(|component| (component.name(), condition(component)));
        let all = parts.into_iter().chain([(STORE, store)]);
        let status = |(name, condition): (&str, Value)| {
            json!({
                "kind": "ComponentStatus",
                "apiVersion": call.api_version(),
                "metadata": {"name": name},
                "conditions": [condition],
            })
        };
        all.map(status).collect()
    }
}
