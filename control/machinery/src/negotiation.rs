//! The `Accept` header: in which media type, and as which kind of document, an answer goes out.
//!
//! `application/json;as=Table;g=meta.k8s.io;v=v1` asks for another view of the same objects. Clauses are tried in the order of
//! their quality, and the first one that the endpoint can serve wins, as in Kubernetes' "Alternate representations of resources".

use std::cmp::Reverse;

use crate::status::{Reason, Status};

/// The longest `Accept` header that is read.
pub const ACCEPT_MAX: usize = 4096;

/// The bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
    /// The same of kinds that have no messages of their own: their metadata has.
    MetadataProtobuf,
    /// The protobuf form of an OpenAPI v2 document.
    OpenApiV2Protobuf,
}

impl Media {
    /// Whether objects in it can follow each other in a stream.
    fn streams(self) -> bool {
        self != Self::Yaml
    }

    /// Whether there is such a view in it. A Table's cells have no types, so there is no protobuf form of one.
    fn has(self, view: View) -> bool {
        match self {
            Self::Protobuf => !matches!(view, View::Table(_)),
            Self::MetadataProtobuf => matches!(view, View::PartialMetadata(_) | View::PartialMetadataList(_)),
            _ => true,
        }
    }

    /// Its name in `Content-Type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf | Self::MetadataProtobuf => "application/vnd.kubernetes.protobuf",
            Self::OpenApiV2Protobuf => "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        }
    }

    fn is(self, kind: &str, subtype: &str) -> bool {
        if kind == "*" {
            return subtype == "*";
        }
        // Before Kubernetes 1.27 the name had an `@`, which is no legal media type; older clients ask for it alone.
        let old = "com.github.proto-openapi.spec.v2@v1.0+protobuf";
        let Some((own_kind, own_subtype)) = self.name().split_once('/') else { return false };
        kind == own_kind
            && (subtype == "*"
                || subtype == own_subtype
                || (self == Self::OpenApiV2Protobuf && subtype == old))
    }
}

/// A version of `meta.k8s.io`, which has the same fields in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`, which old clients ask for.
    V1Beta1,
}

impl MetaVersion {
    /// `apiVersion` of documents in it.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// A version of aggregated discovery; both have the same fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiscoveryVersion {
    /// `apidiscovery.k8s.io/v2`.
    V2,
    /// `apidiscovery.k8s.io/v2beta1`.
    V2Beta1,
}

impl DiscoveryVersion {
    /// `apiVersion` of documents in it.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V2 => "apidiscovery.k8s.io/v2",
            Self::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// As which kind of document an answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// The document itself.
    Whole,
    /// A `Table` of the objects.
    Table(MetaVersion),
    /// The object's metadata alone.
    PartialMetadata(MetaVersion),
    /// The metadata of a list's objects alone.
    PartialMetadataList(MetaVersion),
    /// Discovery of all groups at once.
    Aggregated(DiscoveryVersion),
}

/// What kind of document an endpoint has, which decides what views of it there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// One object.
    Object,
    /// A list of objects.
    List,
    /// Changes of objects.
    Watch,
    /// `/api` and `/apis`.
    Discovery,
    /// Anything that has one view only.
    Plain,
}

impl Endpoint {
    fn allows(self, view: View) -> bool {
        match view {
            View::Whole => true,
            View::Table(_) => matches!(self, Self::Object | Self::List | Self::Watch),
            View::PartialMetadata(_) => matches!(self, Self::Object | Self::Watch),
            View::PartialMetadataList(_) => self == Self::List,
            View::Aggregated(_) => self == Self::Discovery,
        }
    }
}

/// What was settled on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The bytes.
    pub media: Media,
    /// The document.
    pub view: View,
    /// Whether `pretty=1` asked for indentation.
    pub pretty: bool,
}

impl Encoding {
    /// The value of `Content-Type`.
    pub fn content_type(&self) -> String {
        match self.view {
            View::Aggregated(version) => {
                let (media, version) = (self.media.name(), version.name());
                format!("{media};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
            }
            _ => self.media.name().to_owned(),
        }
    }
}

/// Picks the encoding that the client likes best among those that the endpoint serves; `served` is in the server's own order.
///
/// ```
/// use xebec_machinery::negotiation::{Endpoint, Media, MetaVersion, View, negotiate};
/// let accept = "application/json;as=Table;g=meta.k8s.io;v=v1, application/json";
/// let encoding = negotiate(accept, Endpoint::List, &[Media::Json])?;
/// assert_eq!(encoding.view, View::Table(MetaVersion::V1));
/// # Ok::<(), xebec_machinery::status::Status>(())
/// ```
pub fn negotiate(accept: &str, endpoint: Endpoint, served: &[Media]) -> Result<Encoding, Status> {
    if accept.len() > ACCEPT_MAX {
        let text = format!("the Accept header is longer than {ACCEPT_MAX} bytes; name fewer media types");
        return Err(Status::bad_request(text));
    }
    let whole = |media| Encoding { media, view: View::Whole, pretty: false };
    if accept.trim().is_empty() {
        return served.first().copied().map(whole).ok_or_else(|| refusal(served));
    }
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by_key(|clause| Reverse(clause.rank()));
    for clause in &clauses {
        for &media in served {
            if let Some(encoding) = clause.fit(endpoint, media) {
                return Ok(encoding);
            }
        }
    }
    Err(refusal(served))
}

/// [`negotiate`] where it is settled which of the served media the answer has, which decides its view. A refusal names all
/// of them.
///
/// # Errors
///
/// The client takes no view of that which the endpoint has.
pub fn negotiate_as(
    media: Media,
    accept: &str,
    endpoint: Endpoint,
    served: &[Media],
) -> Result<Encoding, Status> {
    negotiate(accept, endpoint, &[media]).map_err(|status| match status.reason {
        Reason::NotAcceptable => refusal(served),
        _ => status,
    })
}

/// The answer to who wants a stream in a medium that has none, of an endpoint that has these.
pub fn no_stream(served: &[Media]) -> Status {
    let streams = served.iter().filter(|media| media.streams());
    let names: Vec<_> = streams.map(|media| format!("{};stream=watch", media.name())).collect();
    Status::not_acceptable(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn refusal(served: &[Media]) -> Status {
    let names: Vec<_> = served.iter().map(|media| media.name()).collect();
    Status::not_acceptable(&names)
}

/// One media type that a client accepts.
#[derive(Debug, Default)]
struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths, as RFC 9110 allows three digits.
    quality: u16,
    kind_of_view: Option<&'a str>,
    group: Option<&'a str>,
    version: Option<&'a str>,
    stream: Option<&'a str>,
    pretty: bool,
}

impl<'a> Clause<'a> {
    /// Reads `type/subtype;name=value`; what is malformed or has quality zero is as if it were not there.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let media = parts.next()?.trim();
        let (kind, subtype) = if media == "*" { ("*", "*") } else { media.split_once('/')? };
        let mut clause =
            Self { kind: kind.trim(), subtype: subtype.trim(), quality: 1000, ..Self::default() };
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            match name.trim() {
                "q" => clause.quality = quality(value)?,
                "as" => clause.kind_of_view = Some(value),
                "g" => clause.group = Some(value),
                "v" => clause.version = Some(value),
                "stream" => clause.stream = Some(value),
                "pretty" => clause.pretty = value == "1",
                _ => {}
            }
        }
        (clause.quality > 0).then_some(clause)
    }

    /// Quality first, then what is named before what is any.
    fn rank(&self) -> (u16, bool, bool) {
        (self.quality, self.kind != "*", self.subtype != "*")
    }

    fn fit(&self, endpoint: Endpoint, media: Media) -> Option<Encoding> {
        let view = self.view()?;
        let stream =
            self.stream.is_none_or(|schema| schema.is_empty() || (schema == "watch" && media.streams()));
        let fits = media.is(self.kind, self.subtype) && endpoint.allows(view) && media.has(view) && stream;
        fits.then_some(Encoding { media, view, pretty: self.pretty })
    }

    fn view(&self) -> Option<View> {
        if self.kind_of_view.is_none() && self.group.is_none() && self.version.is_none() {
            return Some(View::Whole);
        }
        let version = self.version.unwrap_or_default();
        let kind = self.kind_of_view.unwrap_or_default();
        match self.group.unwrap_or_default() {
            "meta.k8s.io" => {
                let version = match version {
                    "v1" => MetaVersion::V1,
                    "v1beta1" => MetaVersion::V1Beta1,
                    _ => return None,
                };
                match kind {
                    "Table" => Some(View::Table(version)),
                    "PartialObjectMetadata" => Some(View::PartialMetadata(version)),
                    "PartialObjectMetadataList" => Some(View::PartialMetadataList(version)),
                    _ => None,
                }
            }
            "apidiscovery.k8s.io" if kind == "APIGroupDiscoveryList" => match version {
                "v2" => Some(View::Aggregated(DiscoveryVersion::V2)),
                "v2beta1" => Some(View::Aggregated(DiscoveryVersion::V2Beta1)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A quality value in thousandths.
fn quality(text: &str) -> Option<u16> {
    let value: f64 = text.parse().ok()?;
    // In range, so that the cast is exact to the thousandth.
    (0.0..=1.0).contains(&value).then(|| (value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVED: [Media; 3] = [Media::Json, Media::Yaml, Media::Protobuf];

    fn picked(accept: &str, endpoint: Endpoint) -> (Media, View) {
        let encoding = negotiate(accept, endpoint, &SERVED).expect(accept);
        (encoding.media, encoding.view)
    }

    #[test]
    fn the_clients_of_the_field_get_what_they_ask_for() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
        assert_eq!(picked(table, Endpoint::List), (Media::Json, View::Table(MetaVersion::V1)));
        assert_eq!(picked(table, Endpoint::Discovery), (Media::Json, View::Whole));
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                        application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let expected = View::PartialMetadataList(MetaVersion::V1);
        assert_eq!(picked(metadata, Endpoint::List), (Media::Protobuf, expected));
        let json_only = negotiate(metadata, Endpoint::List, &[Media::Json]).expect("json");
        assert_eq!((json_only.media, json_only.view), (Media::Json, expected));
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                         application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(
            picked(discovery, Endpoint::Discovery),
            (Media::Json, View::Aggregated(DiscoveryVersion::V2))
        );
        assert_eq!(picked(discovery, Endpoint::Object), (Media::Json, View::Whole));
        let watch = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        assert_eq!(picked(watch, Endpoint::Watch), (Media::Json, View::PartialMetadata(MetaVersion::V1)));
        assert_eq!(
            picked("application/vnd.kubernetes.protobuf;stream=watch", Endpoint::Watch).0,
            Media::Protobuf
        );
    }

    #[test]
    fn the_best_quality_wins_and_what_is_named_goes_before_what_is_any() {
        for (accept, media) in [
            ("", Media::Json),
            ("*/*", Media::Json),
            ("*", Media::Json),
            ("application/*", Media::Json),
            ("text/html, application/yaml;q=0.5, */*;q=0.1", Media::Yaml),
            ("application/json;q=0.8, application/yaml;q=0.9", Media::Yaml),
            ("*/*, application/yaml", Media::Yaml),
            ("application/json;q=0, application/yaml", Media::Yaml),
            ("nonsense, application/json;q=x, application/vnd.kubernetes.protobuf", Media::Protobuf),
        ] {
            assert_eq!(picked(accept, Endpoint::Object), (media, View::Whole), "{accept}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused_in_the_words_of_kubernetes() {
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1";
        for accept in
            ["text/html", "application/json;as=Table;g=meta.k8s.io;v=v7", table, "application/json;q=0"]
        {
            let status = negotiate(accept, Endpoint::List, &SERVED).expect_err(accept);
            assert_eq!(status.code(), 406);
            assert_eq!(
                status.message,
                "only the following media types are accepted: application/json, application/yaml, \
                 application/vnd.kubernetes.protobuf"
            );
        }
        let long = "a/b,".repeat(2000);
        assert_eq!(negotiate(&long, Endpoint::List, &SERVED).expect_err("long").code(), 400);
    }

    #[test]
    fn an_openapi_document_is_found_under_its_old_name_too() {
        let served = [Media::Json, Media::OpenApiV2Protobuf];
        for accept in [
            "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        ] {
            let encoding = negotiate(accept, Endpoint::Plain, &served).expect(accept);
            assert_eq!(encoding.media, Media::OpenApiV2Protobuf);
        }
    }

    #[test]
    fn aggregated_discovery_names_itself_in_its_content_type() {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let encoding = negotiate(accept, Endpoint::Discovery, &SERVED).expect("discovery");
        let expected = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(encoding.content_type(), expected);
    }
}
