//! Filters of HTTPRoutes and GRPCRoutes in the proxy's words.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use xebec_api::gateway as api;
use xebec_api::gateway::{
    ExternalAuthProtocol, GrpcFilter, GrpcFilterType, HttpFilter, HttpFilterType, PathModifier,
    PathModifierType,
};
use xebec_proxy::config::{
    Authorization, Cors, CorsList, Filter, HeaderModifier, Mirror, Origin, PathRewrite, Redirect,
    RedirectScheme, RedirectStatus, UrlRewrite,
};

use crate::backend::{Asker, Backends};
use crate::condition::Verdict;

/// What a list of filters asks for.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) changes: Vec<Filter>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) cors: Option<Arc<Cors>>,
    pub(crate) authorization: Option<Arc<Authorization>>,
}

/// Reads filters, which may refer to backends.
pub(crate) struct Reader<'r, 'a> {
    pub(crate) backends: &'r Backends<'a>,
    pub(crate) asker: Asker<'r, 'a>,
    pub(crate) resolved: &'r mut Verdict,
}

impl Reader<'_, '_> {
    /// The error says what the proxy cannot do.
    pub(crate) fn http(mut self, wanted: &[HttpFilter]) -> Result<Filters, String> {
        let mut read = Filters::default();
        for filter in wanted {
            let type_ = filter.type_;
            let absent = || format!("a filter of type {type_:?} lacks its field");
            match type_ {
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
                HttpFilterType::RequestMirror => {
                    let wanted = filter.request_mirror.as_ref().ok_or_else(absent)?;
                    read.changes.push(self.mirror(wanted)?);
                }
                HttpFilterType::Cors => {
                    read.cors = Some(Arc::new(cors(filter.cors.as_ref().ok_or_else(absent)?)?));
                }
                HttpFilterType::ExternalAuth => {
                    let wanted = filter.external_auth.as_ref().ok_or_else(absent)?;
                    read.authorization = Some(Arc::new(self.authorization(wanted)?));
                }
                HttpFilterType::ExtensionRef => {
                    return Err(format!("filters of type {type_:?} are not supported; remove the filter"));
                }
            }
        }
        Ok(read)
    }

    /// The error says what the proxy cannot do.
    pub(crate) fn grpc(mut self, wanted: &[GrpcFilter]) -> Result<Vec<Filter>, String> {
        let mut read = Vec::new();
        for filter in wanted {
            let type_ = filter.type_;
            let absent = || format!("a filter of type {type_:?} lacks its field");
            read.push(match type_ {
                GrpcFilterType::RequestHeaderModifier => Filter::RequestHeaders(headers(
                    filter.request_header_modifier.as_ref().ok_or_else(absent)?,
                )?),
                GrpcFilterType::ResponseHeaderModifier => Filter::ResponseHeaders(headers(
                    filter.response_header_modifier.as_ref().ok_or_else(absent)?,
                )?),
                GrpcFilterType::RequestMirror => {
                    self.mirror(filter.request_mirror.as_ref().ok_or_else(absent)?)?
                }
                GrpcFilterType::ExtensionRef => {
                    return Err(format!("filters of type {type_:?} are not supported; remove the filter"));
                }
            });
        }
        Ok(read)
    }

    fn authorization(&mut self, wanted: &api::ExternalAuth) -> Result<Authorization, String> {
        if wanted.protocol != ExternalAuthProtocol::Http {
            return Err("services are asked for authorization by HTTP alone; set protocol to HTTP".to_owned());
        }
        let backend = self.backends.backend(self.asker, &wanted.backend_ref, 1, self.resolved)?;
        let http = wanted.http.clone().unwrap_or_default();
        let names = |names: &[String]| names.iter().map(|header| name(header)).collect::<Result<_, _>>();
        let most = wanted.forward_body.as_ref().map(|body| body.max_size).filter(|most| *most > 0);
        Ok(Authorization {
            backend: Arc::new(backend),
            path_prefix: http.path.unwrap_or_default(),
            shown: names(&http.allowed_headers)?,
            taken: names(&http.allowed_response_headers)?,
            body_bytes: most.map(|most| most as usize),
        })
    }

    fn mirror(&mut self, wanted: &api::RequestMirror) -> Result<Filter, String> {
        let backend = self.backends.backend(self.asker, &wanted.backend_ref, 1, self.resolved)?;
        let number = |number: i32| u32::try_from(number).map_err(|_| format!("{number} is below 0"));
        let (part, of) = match (wanted.percent, wanted.fraction) {
            (Some(percent), _) => (number(percent)?, 100),
            (None, Some(fraction)) => (number(fraction.numerator)?, number(fraction.denominator)?.max(1)),
            (None, None) => (1, 1),
        };
        Ok(Filter::Mirror(Mirror { backend: Arc::new(backend), part, of }))
    }
}

fn cors(wanted: &api::Cors) -> Result<Cors, String> {
    let method = |method: &String| {
        method.parse().map_err(|_| format!("{method:?} is not a method; take one of RFC 9110 section 9"))
    };
    Ok(Cors {
        origins: wanted.allow_origins.iter().map(|origin| Origin::new(origin)).collect(),
        credentials: wanted.allow_credentials.unwrap_or(false),
        methods: list(&wanted.allow_methods, method)?,
        headers: list(&wanted.allow_headers, |header| name(header))?,
        exposed: list(&wanted.expose_headers, |header| name(header))?,
        max_age: u32::try_from(wanted.max_age).unwrap_or_default(),
    })
}

fn list<T>(wanted: &[String], read: impl Fn(&String) -> Result<T, String>) -> Result<CorsList<T>, String> {
    if wanted.iter().any(|word| word == "*") {
        return Ok(CorsList::All);
    }
    wanted.iter().map(read).collect::<Result<_, _>>().map(CorsList::Some)
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
