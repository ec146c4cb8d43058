//! Filters of HTTPRoutes in the proxy's words.

use http::{HeaderName, HeaderValue};
use xebec_api::gateway as api;
use xebec_api::gateway::{HttpFilter, HttpFilterType, PathModifier, PathModifierType};
use xebec_proxy::config::{
    Filter, HeaderModifier, PathRewrite, Redirect, RedirectScheme, RedirectStatus, UrlRewrite,
};

/// What a list of filters asks for.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) changes: Vec<Filter>,
    pub(crate) redirect: Option<Redirect>,
}

/// Reads filters; the error says what the proxy cannot do.
pub(crate) fn filters(wanted: &[HttpFilter]) -> Result<Filters, String> {
    let mut read = Filters::default();
    for filter in wanted {
        let absent = || format!("a filter of type {:?} lacks its field", filter.type_);
        match filter.type_ {
            HttpFilterType::RequestHeaderModifier => {
                let modifier = filter.request_header_modifier.as_ref().ok_or_else(absent)?;
                read.changes.push(Filter::RequestHeaders(headers(modifier)?));
            }
            HttpFilterType::ResponseHeaderModifier => {
                let modifier = filter.response_header_modifier.as_ref().ok_or_else(absent)?;
                read.changes.push(Filter::ResponseHeaders(headers(modifier)?));
            }
            HttpFilterType::UrlRewrite => {
                let wanted = filter.url_rewrite.as_ref().ok_or_else(absent)?;
                let hostname = wanted.hostname.as_deref().map(value).transpose()?;
                let path = wanted.path.as_ref().map(rewrite).transpose()?;
                read.changes.push(Filter::UrlRewrite(UrlRewrite { hostname, path }));
            }
            HttpFilterType::RequestRedirect => {
                let wanted = filter.request_redirect.as_ref().ok_or_else(absent)?;
                read.redirect = Some(redirect(wanted)?);
            }
            HttpFilterType::RequestMirror | HttpFilterType::ExtensionRef | HttpFilterType::Cors => {
                return Err(format!(
                    "filters of type {:?} are not supported; remove the filter",
                    filter.type_
                ));
            }
        }
    }
    Ok(read)
}

pub(crate) fn name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{name:?} is not the name of a header; correct it"))
}

fn value(value: &str) -> Result<HeaderValue, String> {
    value.parse().map_err(|_| format!("{value:?} is not the value of a header; correct it"))
}

fn headers(wanted: &api::HeaderModifier) -> Result<HeaderModifier, String> {
    let pairs = |headers: &[api::HttpHeader]| {
        headers.iter().map(|header| Ok((name(&header.name)?, value(&header.value)?))).collect()
    };
    let set = pairs(&wanted.set)?;
    let add: Result<_, String> = pairs(&wanted.add);
    let remove = wanted.remove.iter().map(|header| name(header)).collect::<Result<_, String>>()?;
    Ok(HeaderModifier { set, add: add?, remove })
}

fn rewrite(wanted: &PathModifier) -> Result<PathRewrite, String> {
    let (path, made): (_, fn(String) -> PathRewrite) = match wanted.type_ {
        PathModifierType::ReplaceFullPath => (&wanted.replace_full_path, PathRewrite::ReplaceFull),
        PathModifierType::ReplacePrefixMatch => (&wanted.replace_prefix_match, PathRewrite::ReplacePrefix),
    };
    path.clone().map(made).ok_or_else(|| format!("a path change of type {:?} lacks its field", wanted.type_))
}

fn redirect(wanted: &api::RequestRedirect) -> Result<Redirect, String> {
    let scheme = match wanted.scheme.as_deref() {
        None => None,
        Some("http") => Some(RedirectScheme::Http),
        Some("https") => Some(RedirectScheme::Https),
        Some(other) => return Err(format!("{other:?} is not a scheme to redirect to; take http or https")),
    };
    let port = wanted.port.map(|port| u16::try_from(port).map_err(|_| format!("{port} is not a port")));
    let code = wanted.status_code;
    let status = RedirectStatus::from_code(code)
        .ok_or_else(|| format!("{code} is not a status to redirect with; take 301, 302, 303, 307 or 308"))?;
    Ok(Redirect {
        scheme,
        hostname: wanted.hostname.clone(),
        port: port.transpose()?,
        path: wanted.path.as_ref().map(rewrite).transpose()?,
        status,
    })
}
