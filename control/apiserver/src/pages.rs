//! Collections page by page, and the tokens with which clients ask for the next page.

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{DecodeError, Engine, alphabet};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xebec_machinery::status::Status;
use xebec_machinery::{decoding, go_text};
use xebec_store::{Entry, ListRequest, Revision};

use crate::api::Api;
use crate::call::Call;
use crate::options::VersionMatch;
use crate::select::Selection;

/// How many entries are looked through at a time.
pub(crate) const STRIDE: usize = 500;

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

/// The entries of one list, some at a time, all of the same revision.
pub(crate) struct Pages<'a> {
    api: &'a Api,
    call: &'a Call,
    prefix: String,
    /// What stands before the part of a key that tokens tell.
    home: String,
    token: Option<Token>,
    at: Revision,
    after: Option<String>,
    /// How many objects the client wants at most, and has so far.
    limit: usize,
    taken: usize,
    /// Whether all that is read is selected, so that no more is read than is wanted, and what remains is counted.
    everything: bool,
    remaining: Option<u64>,
    more: bool,
}

impl<'a> Pages<'a> {
    /// What a call lists. What remains can be told where it selects everything.
    pub(crate) fn of(api: &'a Api, call: &'a Call, selection: &Selection) -> Result<Self, Status> {
        let options = call.options();
        let home = api.prefix(call);
        let token = options.continue_token.as_deref().map(Token::read).transpose()?;
        if token.is_some() && options.resource_version.is_some_and(|version| version != 0) {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(why));
        }
        let at = match (&token, options.version_match, options.resource_version) {
            (Some(token), _, _) => u64::try_from(token.revision).ok().map(Revision),
            (None, Some(VersionMatch::Exact), Some(exact)) => Some(Revision(exact)),
            // Before `resourceVersionMatch` was known, a page of a revision meant exactly that.
            (None, None, Some(exact)) if exact != 0 && options.limit.is_some() => Some(Revision(exact)),
            _ => {
                api.reached(call)?;
                None
            }
        };
        Ok(Self {
            at: at.unwrap_or_else(|| api.storage().revision()),
            after: token.as_ref().map(|token| format!("{home}{}", token.after)),
            limit: options.limit.unwrap_or(usize::MAX),
            everything: selection.is_everything(),
            taken: 0,
            remaining: None,
            more: true,
            api,
            call,
            prefix: api.narrow_prefix(call, selection),
            home,
            token,
        })
    }

    /// The next entries, while the list has room and there are any. Others are let go first: a list may be long.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Entry>>, Status> {
        if !self.more || self.taken >= self.limit {
            return Ok(None);
        }
        if self.after.is_some() {
            tokio::task::yield_now().await;
        }
        let wanted = self.limit - self.taken;
        let request = ListRequest {
            prefix: &self.prefix,
            after: self.after.as_deref(),
            limit: Some(if self.everything { wanted.clamp(1, STRIDE) } else { STRIDE }),
            at: Some(self.at),
            // Of the last that are read.
            count: self.everything && wanted <= STRIDE,
        };
        let page = self
            .api
            .storage()
            .list(&self.call.resource, &request)
            .map_err(|status| expired(status, self.token.as_ref()))?;
        self.after = page.items.last().map(|entry| entry.key.to_string());
        (self.more, self.remaining) = (page.more, page.remaining);
        Ok(Some(page.items))
    }

    /// One more of what was read last is in the list. Whether there is room for another; where there is none, what was read
    /// behind it is for the next list.
    pub(crate) fn take(&mut self, entry: &Entry) -> bool {
        self.taken += 1;
        if self.taken < self.limit {
            return true;
        }
        if self.after.as_deref() != Some(&*entry.key) {
            self.after = Some(entry.key.to_string());
            self.more = true;
        }
        false
    }

    /// The list's metadata.
    pub(crate) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.at.to_string()});
        let more = self.after.as_deref().filter(|_| self.more);
        if let Some(after) = more.and_then(|after| after.strip_prefix(&self.home)) {
            let revision = i64::try_from(self.at.0).unwrap_or(NEWEST);
            let token = Token { form: FORM.to_owned(), revision, after: after.to_owned() };
            metadata["continue"] = token.write().into();
            if let Some(remaining) = self.remaining {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        metadata
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
