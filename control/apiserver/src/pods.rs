//! The seam to whoever runs the pods: the API itself only knows what is written about them.

use std::future::Future;
use std::pin::Pin;

use http::Response;
use serde_json::Value;
use xebec_machinery::status::Status;

use crate::service::ResponseBody;

/// What the node is asked for on behalf of clients.
pub trait Pods: Send + Sync {
    /// The output of one of a pod's containers, as the query of `pods/log` asks (`container`, `follow`, `tailLines`,
    /// `sinceSeconds`, `timestamps`, `previous`, `limitBytes`).
    fn logs<'a>(
        &'a self,
        pod: &'a Value,
        query: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Status>> + Send + 'a>>;
}

/// No node is part of this process.
#[derive(Debug, Clone, Copy)]
pub struct NoPods;

impl Pods for NoPods {
    fn logs<'a>(
        &'a self,
        _pod: &'a Value,
        _query: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Status>> + Send + 'a>> {
        Box::pin(async {
            Err(Status::unavailable(
                "no node runs in this process, so there are no logs; start one with `up`",
            ))
        })
    }
}
