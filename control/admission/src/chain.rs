//! The stages in their order.

use std::collections::BTreeSet;

use serde_json::Value;
use xebec_machinery::status::Status;

use crate::passes::Passes;
use crate::request::Request;
use crate::stage::{Case, Mutation, Validation};
use crate::{
    class, in_use, lifecycle, limit_range, pod_security, policy, priority, quota, runtime_class,
    service_account, toleration, webhook,
};

/// The stages that a request passes, in their order.
#[derive(Default)]
pub struct Chain {
    mutations: Vec<Box<dyn Mutation>>,
    validations: Vec<Box<dyn Validation>>,
}

impl Chain {
    /// No stage at all: everything is let in as it is.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The stages that are on in Kubernetes where nobody says otherwise, in its order.
    pub fn standard() -> Self {
        let mut chain = Self::empty();
        chain.join_mutation(lifecycle::NamespaceLifecycle);
        chain.join_mutation(limit_range::LimitRanger);
        chain.join_mutation(service_account::ServiceAccount);
        chain.join_mutation(priority::Priority);
        chain.join_mutation(toleration::DefaultTolerationSeconds);
        chain.join_mutation(class::DefaultStorageClass);
        chain.join_mutation(in_use::StorageObjectInUseProtection);
        chain.join_mutation(runtime_class::RuntimeClass);
        chain.join_mutation(class::DefaultIngressClass);
        chain.join_mutation(policy::MutatingPolicies::default());
        chain.join_mutation(webhook::MutatingWebhooks::default());
        chain.join_validation(limit_range::LimitRanger);
        chain.join_validation(service_account::ServiceAccount);
        chain.join_validation(pod_security::PodSecurity);
        chain.join_validation(priority::Priority);
        chain.join_validation(class::PersistentVolumeClaimResize);
        chain.join_validation(runtime_class::RuntimeClass);
        chain.join_validation(policy::ValidatingPolicies::default());
        chain.join_validation(webhook::ValidatingWebhooks::default());
        chain.join_validation(quota::ResourceQuota::default());
        chain
    }

    /// The same without the stages of these names.
    #[must_use]
    pub fn without(mut self, names: &[impl AsRef<str>]) -> Self {
        let stays = |name: &str| names.iter().all(|own| own.as_ref() != name);
        self.mutations.retain(|stage| stays(stage.name()));
        self.validations.retain(|stage| stays(stage.name()));
        self
    }

    /// The names of the stages.
    pub fn names(&self) -> BTreeSet<&'static str> {
        let mutations = self.mutations.iter().map(|stage| stage.name());
        mutations.chain(self.validations.iter().map(|stage| stage.name())).collect()
    }

    /// Puts a stage after the other mutating ones.
    pub fn join_mutation(&mut self, stage: impl Mutation + 'static) {
        self.mutations.push(Box::new(stage));
    }

    /// Puts a stage after the other validating ones.
    pub fn join_validation(&mut self, stage: impl Validation + 'static) {
        self.validations.push(Box::new(stage));
    }

    /// Whether any mutating stage minds the request.
    pub fn mutates(&self, request: &Request) -> bool {
        self.mutations.iter().any(|stage| stage.handles(request))
    }

    /// Lets each mutating stage change the object, and all of them once more if one of them asks for it.
    ///
    /// # Errors
    ///
    /// The refusal of the first stage that refuses.
    pub async fn mutate(&self, case: Case<'_>, object: &mut Value) -> Result<(), Status> {
        let passes = Passes::default();
        loop {
            for stage in self.mutations.iter().filter(|stage| stage.handles(case.request)) {
                stage.mutate(case, object, &passes).await?;
            }
            if !passes.again() {
                return Ok(());
            }
        }
    }

    /// Lets each validating stage judge the object.
    ///
    /// # Errors
    ///
    /// The refusal of the first stage that refuses.
    pub async fn validate(&self, case: Case<'_>, object: &Value) -> Result<(), Status> {
        for stage in self.validations.iter().filter(|stage| stage.handles(case.request)) {
            stage.validate(case, object).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mutations: Vec<_> = self.mutations.iter().map(|stage| stage.name()).collect();
        let validations: Vec<_> = self.validations.iter().map(|stage| stage.name()).collect();
        f.debug_struct("Chain").field("mutations", &mutations).field("validations", &validations).finish()
    }
}
