//! The types of every object kind that xebec defines or adopts, and their CustomResourceDefinitions.
//!
//! Values only: what an object may hold, how it is written, and the definition by which an API server learns of it.
//! What a kind means is the business of the controller that watches it.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a `type_` and a `json_path` of its own"
)]
#![expect(unreachable_pub, reason = "to make a schema with rules, kube copies the type into a function")]

pub mod gateway;
