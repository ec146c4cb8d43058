//! `/livez`, `/readyz` and `/healthz`: whether the API works, one check at a time and all together.

use http::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::reply::text;
use crate::service::ResponseBody;

/// One thing that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The server answers.
    Ping,
    /// The store takes writes. Clients know it by the name of the store that upstream has.
    Store,
    /// The server was not told to stop.
    Shutdown,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Store => "etcd",
            Self::Shutdown => "shutdown",
        }
    }

    fn run(self, api: &Api) -> Result<(), String> {
        match self {
            Self::Ping => Ok(()),
            Self::Store => api.storage().check().map_err(|error| error.to_string()),
            Self::Shutdown if api.shutdown().is_cancelled() => Err("the server is shutting down".to_owned()),
            Self::Shutdown => Ok(()),
        }
    }
}

/// The checks that an endpoint comes to. Who is stopping lives on, and should get no more work.
fn checks(of: &str) -> &'static [Check] {
    if of == "readyz" { &[Check::Ping, Check::Store, Check::Shutdown] } else { &[Check::Ping, Check::Store] }
}

/// Answers for all checks of an endpoint, or for one of them. The query may ask for each result (`verbose`) and leave
/// some out (`exclude`).
pub(crate) fn answer(
    api: &Api,
    of: &str,
    check: Option<&str>,
    query: &str,
) -> Result<Response<ResponseBody>, Status> {
    if let Some(name) = check {
        let found = checks(of).iter().find(|check| check.name() == name);
        let found = found.ok_or_else(Status::page_not_found)?;
        return Ok(match found.run(api) {
            Ok(()) => text(StatusCode::OK, "ok".to_owned()),
            Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
        });
    }
    let mut excluded: Vec<String> = values(query, "exclude").collect();
    let (mut lines, mut failed) = (String::new(), false);
    for check in checks(of) {
        let name = check.name();
        let before = excluded.len();
        excluded.retain(|own| own != name);
        if excluded.len() < before {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if let Err(why) = check.run(api) {
            // Anybody may ask.
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            tracing::warn!(check = name, why, "a health check failed");
            failed = true;
        } else {
            lines.push_str(&format!("[+]{name} ok\n"));
        }
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    if failed {
        return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{of} check failed\n")));
    }
    if values(query, "verbose").next().is_some() {
        return Ok(text(StatusCode::OK, format!("{lines}{of} check passed\n")));
    }
    Ok(text(StatusCode::OK, "ok".to_owned()))
}

/// The values of a parameter, which may be none but its name.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    query.split('&').filter_map(move |pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        (own == name).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}
