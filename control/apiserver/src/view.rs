//! How objects go out: whole, as tables, or as their metadata alone.

use std::time::SystemTime;

use serde_json::{Value, json};
use xebec_machinery::negotiation::{self, Encoding, Endpoint, MetaVersion};
use xebec_machinery::status::Status;
use xebec_machinery::table::{self, Include, Printer};

use crate::call::Call;
use crate::raw::{Head, ListHead};
use crate::read::Listed;
use crate::transcription::{self, Form};

/// What a client wants to see of objects.
pub struct View {
    shape: Shape,
}

enum Shape {
    Whole,
    Table { printer: Printer, options: table::Options, headers_shown: bool },
    Metadata(MetaVersion),
}

impl View {
    /// What the client's `Accept` header and query ask for at an endpoint, of what there is in a form.
    pub(crate) fn negotiate(
        call: &Call,
        (accept, form): (&str, Form),
        include: &str,
        endpoint: Endpoint,
    ) -> Result<Self, Status> {
        let encoding = form.encoding(accept, endpoint, media(call))?;
        Self::of(call, encoding, include, Printer::new(&call.resource, &call.version().name))
    }

    /// [`Self::negotiate`] for a subresource: the object itself again, or how many replicas of it there are.
    pub(crate) fn subresource(
        call: &Call,
        (accept, form): (&str, Form),
        include: &str,
        scale: bool,
    ) -> Result<Self, Status> {
        let encoding = form.encoding(accept, Endpoint::Object, media(call))?;
        let printer = match scale {
            true => Printer::scale(),
            false => Printer::new(&call.resource, &call.version().name),
        };
        Self::of(call, encoding, include, printer)
    }

    fn of(call: &Call, encoding: Encoding, include: &str, printer: Printer) -> Result<Self, Status> {
        let shape = match encoding.view {
            negotiation::View::Table(version) => Shape::Table {
                printer,
                options: table::Options {
                    version,
                    include: Include::parse(include)?,
                    headers: true,
                    now: SystemTime::from(call.now),
                },
                headers_shown: false,
            },
            negotiation::View::PartialMetadata(version) | negotiation::View::PartialMetadataList(version) => {
                Shape::Metadata(version)
            }
            _ => Shape::Whole,
        };
        Ok(Self { shape })
    }

    /// How the objects of a call begin where they are shown as they rest, whole or in part.
    pub(crate) fn head(&self, call: &Call) -> Option<Head> {
        match &self.shape {
            Shape::Whole => Some(Head::of(call)),
            Shape::Metadata(version) => Some(Head::of_metadata(*version)),
            Shape::Table { .. } => None,
        }
    }

    /// [`Self::head`] of a list of them.
    pub(crate) fn list_head(&self, call: &Call) -> Option<ListHead> {
        match &self.shape {
            Shape::Whole => Some(ListHead::of(call)),
            Shape::Metadata(version) => Some(ListHead::of_metadata(*version)),
            Shape::Table { .. } => None,
        }
    }

    /// One object. The columns of a table are described the first time alone.
    pub fn object(&mut self, object: Value) -> Value {
        match &mut self.shape {
            Shape::Whole => object,
            Shape::Metadata(version) => table::partial_metadata(&object, *version),
            Shape::Table { printer, options, headers_shown } => {
                options.headers = !*headers_shown;
                *headers_shown = true;
                options.now = SystemTime::now();
                printer.object(&object, options)
            }
        }
    }

    /// A page of objects.
    pub fn list(&self, call: &Call, listed: Listed) -> Value {
        match &self.shape {
            Shape::Whole => whole_list(call, listed),
            Shape::Metadata(version) => {
                table::partial_metadata_list(&listed.metadata, &listed.items, *version)
            }
            Shape::Table { printer, options, .. } => printer.list(&listed.metadata, &listed.items, options),
        }
    }
}

fn media(call: &Call) -> &'static [negotiation::Media] {
    transcription::media_of(&call.resource.group, &call.version().name, &call.resource.plural)
}

/// A list of objects as they are. Those of built-in kinds do not say their kind again, as upstream's typed lists do not.
fn whole_list(call: &Call, listed: Listed) -> Value {
    let Listed { mut items, metadata } = listed;
    if !call.resource.custom {
        for fields in items.iter_mut().filter_map(Value::as_object_mut) {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
    }
    json!({
        "kind": &*call.resource.list_kind,
        "apiVersion": call.api_version(),
        "metadata": metadata,
        "items": items,
    })
}
