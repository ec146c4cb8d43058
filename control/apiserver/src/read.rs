//! Reading one object and pages of a collection.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{DecodeError, Engine, alphabet};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xebec_machinery::status::Status;
use xebec_machinery::{decoding, go_text};
use xebec_store::{ListRequest, Revision};

use crate::api::Api;
use crate::call::Call;
use crate::options::VersionMatch;
use crate::pods::Pods;
use crate::select::Selection;
use crate::{components, key, storage, usage};

/// How many entries are looked through at a time while a selector picks from them.
const STRIDE: usize = 500;

/// Go minds no bits that are left over at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The only form of tokens that there is, as they name it.
const FORM: &str = "meta.k8s.io/v1";

/// The revision of a page that shows what is there when it is asked for.
const NEWEST: i64 = -1;

/// Where the next page starts within the collection, and of which revision it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v", default)]
    form: String,
    /// The newest, whichever that is, where it is negative.
    #[serde(rename = "rv", default)]
    revision: i64,
    #[serde(rename = "start", default)]
    after: String,
}

impl Token {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &str) -> Result<Self, Status> {
        let refused = |why: &str| {
            Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = LENIENT.decode(text).map_err(|error| {
            let at = match error {
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
                _ => text.len().saturating_sub(1),
            };
            refused(&format!("illegal base64 data at input byte {at}"))
        })?;
        let (value, _) = decoding::parse(&bytes).map_err(|why| refused(&why))?;
        if let Some(why) = Self::misread(&value) {
            return Err(refused(&why));
        }
        let token: Self = serde_json::from_value(value).map_err(|error| refused(&error.to_string()))?;
        if token.form != FORM {
            return Err(refused(&format!("server does not recognize this encoded version {:?}", token.form)));
        }
        if token.revision == 0 {
            return Err(refused(&format!("incorrect encoded start resourceVersion (version {FORM})")));
        }
        if token.after.is_empty() {
            return Err(refused(&format!("encoded start key empty (version {FORM})")));
        }
        Ok(token)
    }

    /// What Go's decoder says of a value that is no token.
    fn misread(value: &Value) -> Option<String> {
        let Value::Object(fields) = value else {
            let word = go_text::kind(value);
            return Some(format!(
                "json: cannot unmarshal {word} into Go value of type storage.continueToken"
            ));
        };
        ["v", "rv", "start"].into_iter().find_map(|name| {
            let value = fields.get(name)?;
            let (fits, wanted) = match name {
                "rv" => (value.is_i64(), "int64"),
                _ => (value.is_string(), "string"),
            };
            (!fits).then(|| {
                let word = go_text::kind(value);
                format!(
                    "json: cannot unmarshal {word} into Go struct field continueToken.{name} of type {wanted}"
                )
            })
        })
    }
}

/// A page of a collection.
#[derive(Debug)]
pub struct Listed {
    /// The objects, as the client sees them.
    pub items: Vec<Value>,
    /// The list's metadata.
    pub metadata: Value,
}

impl Api {
    /// The object that the call names.
    pub async fn read(&self, call: &Call) -> Result<Value, Status> {
        self.reached(call)?;
        let stored = self.storage().get(&call.resource, call.namespace(), call.name())?;
        self.present(call, stored.object).await
    }

    /// [`Self::read`] of whatever can be read: what is stored, and what is found out on the spot.
    pub(crate) async fn read_any(&self, call: &Call, pods: &dyn Pods) -> Result<Value, Status> {
        if usage::is_usage(call) {
            self.usage_of(call, &pods.usage()).await
        } else if components::is_component(call) {
            self.component(call)
        } else {
            self.read(call).await
        }
    }

    /// [`Self::list`] of whatever can be listed.
    pub(crate) async fn list_any(&self, call: &Call, pods: &dyn Pods) -> Result<Listed, Status> {
        if usage::is_usage(call) {
            self.usage_list(call, &pods.usage()).await
        } else if components::is_component(call) {
            self.components(call)
        } else {
            self.list(call).await
        }
    }

    /// A read that must not be older than a revision which has not happened is refused.
    fn reached(&self, call: &Call) -> Result<(), Status> {
        let (asked, current) = (call.options().resource_version.unwrap_or(0), self.storage().revision().0);
        if asked > current {
            return Err(Status::too_large_revision(asked, current));
        }
        Ok(())
    }

    /// A page of the objects that the call selects, in the order of namespace and name.
    pub async fn list(&self, call: &Call) -> Result<Listed, Status> {
        let options = call.options();
        let selection = Selection::of(call)?;
        let prefix = self.prefix(call);
        let token = options.continue_token.as_deref().map(Token::read).transpose()?;
        if token.is_some() && options.resource_version.is_some_and(|version| version != 0) {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(why));
        }
        let at = match (&token, options.version_match, options.resource_version) {
            (Some(token), _, _) => u64::try_from(token.revision).ok().map(Revision),
            (None, Some(VersionMatch::Exact), Some(exact)) => Some(Revision(exact)),
            // A page that was cut from an exact revision before `resourceVersionMatch` was known means that revision.
            _ => {
                self.reached(call)?;
                None
            }
        };
        let at = at.unwrap_or_else(|| self.storage().revision());
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let mut after = token.as_ref().map(|token| format!("{prefix}{}", token.after));
        loop {
            let request = ListRequest {
                prefix: &prefix,
                after: after.as_deref(),
                limit: Some(limit.saturating_sub(items.len()).clamp(1, STRIDE)),
                at: Some(at),
                count: options.limit.is_some() && selection.is_everything(),
            };
            let page = self
                .storage()
                .list(&call.resource, &request)
                .map_err(|status| expired(status, token.as_ref()))?;
            let stored = page.items.iter().map(|entry| Ok(storage::decode(entry)?.object));
            let mut shown = stored.collect::<Result<Vec<_>, Status>>()?;
            self.present_list(call, &mut shown).await?;
            items.extend(shown.into_iter().filter(|object| selection.matches(object)));
            after = page.items.last().map(|entry| entry.key.to_string());
            if !page.more || items.len() >= limit {
                let more = after.filter(|_| page.more);
                let more = more.as_deref().and_then(|after| after.strip_prefix(&prefix));
                let mut metadata = json!({"resourceVersion": at.to_string()});
                if let Some(after) = more {
                    let revision = i64::try_from(at.0).unwrap_or(NEWEST);
                    let token = Token { form: FORM.to_owned(), revision, after: after.to_owned() };
                    metadata["continue"] = token.write().into();
                    if let Some(remaining) = page.remaining {
                        metadata["remainingItemCount"] = remaining.into();
                    }
                }
                return Ok(Listed { items, metadata });
            }
        }
    }

    /// The prefix of the keys that the call may see.
    pub(crate) fn prefix(&self, call: &Call) -> String {
        let (group, plural) = crate::convert::home(&call.resource);
        key::prefix(group, plural, call.namespace())
    }
}

/// A page of a revision that is no longer kept has upstream's own words, and the token of what is there now.
fn expired(status: Status, token: Option<&Token>) -> Status {
    if status.code() != 410 {
        return status;
    }
    let Some(token) = token else {
        return Status::expired("The resourceVersion for the provided list is too old.");
    };
    let why = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
               without the continue parameter, or use the continue token in this response to retrieve the remainder of \
               the results. Continuing with the provided token results in an inconsistent list - objects that were \
               created, modified, or deleted between the time the first chunk was returned and now may show up in the \
               list.";
    let newest = Token { form: FORM.to_owned(), revision: NEWEST, after: token.after.clone() };
    Status { goes_on: Some(newest.write().into()), ..Status::expired(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went_and_nothing_else_does() {
        let token = Token { form: FORM.into(), revision: 7, after: "a/b".into() };
        assert_eq!(Token::read(&token.write()).unwrap(), token);
        let written = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for (text, why) in [
            ("☃".to_owned(), "illegal base64 data at input byte 0"),
            ("e".to_owned(), "illegal base64 data at input byte 0"),
            ("rubbish".to_owned(), "invalid character '®' looking for beginning of value"),
            (written("[]"), "json: cannot unmarshal array into Go value of type storage.continueToken"),
            (
                written(r#"{"v":2}"#),
                "json: cannot unmarshal number into Go struct field continueToken.v of type string",
            ),
            (String::new(), "unexpected end of JSON input"),
            (written("{}"), "server does not recognize this encoded version \"\""),
            (
                written(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (written(r#"{"v":"meta.k8s.io/v1","rv":5}"#), "encoded start key empty (version meta.k8s.io/v1)"),
        ] {
            let status = Token::read(&text).unwrap_err();
            assert_eq!(status.code(), 400, "{text}");
            assert!(status.message.contains(why), "{text}: {}", status.message);
        }
    }
}
