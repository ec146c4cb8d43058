//! The Kubernetes object model as pure functions of values.
//!
//! What comes in: bytes and JSON trees that clients sent, and the tables and schemas that say what they mean. What goes
//! out: decoded, defaulted, validated, patched, applied and printed objects, or an error that names the field. There is
//! no I/O here, no clock, no client and no global state that changes; the API server owns all of that.

mod address;
pub mod apply;
pub mod builtin;
pub mod canonical;
pub mod crd;
pub mod decoding;
pub mod defaults;
pub mod discovery;
pub mod field;
mod findings;
pub mod flow;
pub mod go_text;
pub mod label;
pub mod metadata;
pub mod negotiation;
pub mod openapi;
pub mod patch;
pub mod pod_part;
pub mod preparation;
pub mod protobuf;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod structural;
pub mod table;
pub mod timestamp;
pub mod validation;

#[cfg(test)]
mod sample;
