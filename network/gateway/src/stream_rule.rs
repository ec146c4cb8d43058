//! The rule of a TCPRoute, UDPRoute or TLSRoute in the proxy's words.

use xebec_api::gateway::StreamRule;

use crate::backend::{Asker, Backends};
use crate::condition::Verdict;
use crate::route::{Compiled, Served};

/// Compiles the rule of a route; the error says what the proxy cannot do.
pub(crate) fn compile<'a>(
    rules: &[StreamRule],
    backends: &Backends<'a>,
    asker: Asker<'_, 'a>,
) -> Result<Compiled, String> {
    let mut resolved = Verdict::yes("ResolvedRefs");
    let references = rules.iter().flat_map(|rule| &rule.backend_refs);
    let compiled: Result<Vec<_>, String> = references
        .map(|wanted| backends.backend(asker, &wanted.backend, wanted.weight, &mut resolved))
        .collect();
    Ok(Compiled { served: Served::Streams(compiled?), resolved })
}
