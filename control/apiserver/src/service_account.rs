//! Tokens of service accounts: given to those who may ask for them, and known again while what they are bound to is there.

use std::net::SocketAddr;

use serde_json::{Value, json};
use uuid::Uuid;
use xebec_machinery::decoding;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::{Qualified, Status};

use crate::api::Api;
use crate::call::{Call, timestamp};
use crate::codec::Decoded;
use crate::jwt::Signer;
use crate::object::{self, at_path};
use crate::storage::Stored;
use crate::user::User;

/// Who signs the tokens, and for whom they are where nobody else is named.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
/// How long a token is valid, in seconds, where nothing is said; and the bounds of what can be said.
const USUAL: i64 = 3600;
const LEAST: i64 = 600;
const MOST: i64 = 1 << 32;
/// Asked for by agents that renew a pod's own token; clients that never read it again are given a year.
const RENEWED: i64 = 3607;
const YEAR: i64 = 365 * 24 * 3600;
/// How far clocks may be apart, in seconds.
const LEEWAY: i64 = 60;

/// An object that a token speaks of.
#[derive(Clone)]
struct Bound {
    /// The claim's name, such as `pod`.
    claim: &'static str,
    name: String,
    uid: String,
}

impl Api {
    /// Makes a token for the service account that the call names.
    pub fn request_token(&self, call: &Call, signer: &Signer, body: Decoded) -> Result<Value, Status> {
        let mut request = body.object;
        let unfit = |why: String| decoding::unfit("v1", KIND, &why);
        decoding::check(GROUP, "v1", KIND, &request).map_err(unfit)?;
        let account = self.storage().get(&call.resource, call.namespace(), call.name())?.object;
        let namespace = call.namespace().unwrap_or_default().to_owned();
        check_metadata(call, &request, &account)?;
        let seconds = at_path(&request, ".spec.expirationSeconds").and_then(Value::as_i64).unwrap_or(USUAL);
        check_expiration(seconds)?;
        let audiences = match texts(at_path(&request, ".spec.audiences")) {
            none if none.is_empty() => vec![ISSUER.to_owned()],
            some => some,
        };
        let bound = self.bound(call, &request, &namespace)?;
        let now = call.now.as_second();
        let own = |claim: &str| bound.iter().any(|bound| bound.claim == claim);
        let (valid, warn) = match seconds {
            RENEWED if own("pod") && audiences == [ISSUER] => (YEAR, Some(now + RENEWED)),
            seconds => (seconds, None),
        };
        let mut about = json!({
            "namespace": namespace,
            "serviceaccount": {"name": call.name(), "uid": object::meta(&account, "uid")},
        });
        for bound in &bound {
            about[bound.claim] = json!({"name": bound.name, "uid": bound.uid});
        }
        if let Some(warn) = warn {
            about["warnafter"] = warn.into();
        }
        let claims = json!({
            "iss": ISSUER,
            "sub": User::service_account(&namespace, call.name()).name,
            "aud": audiences,
            "iat": now,
            "nbf": now,
            "exp": now + valid,
            "jti": Uuid::new_v4().to_string(),
            "kubernetes.io": about,
        });
        let token = signer.sign(&claims).ok_or_else(|| Status::internal("the token cannot be signed"))?;
        request["apiVersion"] = format!("{GROUP}/v1").into();
        request["kind"] = KIND.into();
        for field in ["name", "namespace", "uid"] {
            object::set_meta(&mut request, field, object::meta(&account, field));
        }
        object::set_meta(&mut request, "creationTimestamp", call.timestamp());
        let ends = call.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(call.now);
        object::set_path(&mut request, ".spec.audiences", audiences.into());
        object::set_path(&mut request, ".spec.expirationSeconds", seconds.into());
        request["status"] = json!({"token": token, "expirationTimestamp": timestamp(ends)});
        Ok(request)
    }

    /// What the token is to be bound to: a pod with its node, a secret, or a node.
    fn bound(&self, call: &Call, request: &Value, namespace: &str) -> Result<Vec<Bound>, Status> {
        let Some(reference) = at_path(request, ".spec.boundObjectRef").filter(|of| !of.is_null()) else {
            return Ok(Vec::new());
        };
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
        let (plural, claim) = match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => ("pods", "pod"),
            ("v1", "Secret") => ("secrets", "secret"),
            ("v1", "Node") => ("nodes", "node"),
            (version, kind) => {
                let why = format!("cannot bind token to object of type {version}, Kind={kind}");
                return Err(Status::bad_request(why));
            }
        };
        let found = self.look_up(plural, namespace, text("name"))?;
        let found = found.ok_or_else(|| Status::not_found(Qualified::new("", plural), text("name")))?.object;
        let uid = object::meta(&found, "uid").to_owned();
        if !text("uid").is_empty() && text("uid") != uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                text("uid")
            );
            return Err(Status::conflict(Qualified::new("", text("kind")), text("name"), &why));
        }
        let mut bound = vec![Bound { claim, name: text("name").to_owned(), uid }];
        if claim == "pod" {
            let own = |path: &str| at_path(&found, path).and_then(Value::as_str).unwrap_or_default();
            if own(".spec.serviceAccountName") != call.name() {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    call.name()
                )));
            }
            let node = own(".spec.nodeName");
            if !node.is_empty() {
                let there = self.look_up("nodes", "", node)?;
                let uid = there.map(|node| object::meta(&node.object, "uid").to_owned()).unwrap_or_default();
                bound.push(Bound { claim: "node", name: node.to_owned(), uid });
            }
        }
        Ok(bound)
    }

    fn look_up(&self, plural: &str, namespace: &str, name: &str) -> Result<Option<Stored>, Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find("", plural) else { return Ok(None) };
        self.storage().find(resource, Some(namespace).filter(|_| resource.namespaced()), name)
    }

    /// The service account that a token is of, and for whom of `audiences` it is.
    ///
    /// # Errors
    ///
    /// `Unauthorized`, where the token is none of ours, has ended, is for others, or what it is bound to is gone.
    pub fn token_user(
        &self,
        signer: &Signer,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), Status> {
        let claims = signer.verify(token).ok_or_else(Status::unauthorized)?;
        let known = self.known(&claims, audiences, jiff::Timestamp::now().as_second())?;
        known.ok_or_else(Status::unauthorized)
    }

    fn known(
        &self,
        claims: &Value,
        audiences: &[String],
        now: i64,
    ) -> Result<Option<(User, Vec<String>)>, Status> {
        let number = |key: &str| claims.get(key).and_then(Value::as_i64).unwrap_or(i64::MAX);
        let begun = now.saturating_add(LEEWAY) >= number("nbf");
        let ended = now.saturating_sub(LEEWAY) > claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
        if !begun || ended || claims.get("iss").is_none_or(|issuer| issuer != ISSUER) {
            return Ok(None);
        }
        let mut meant = texts(claims.get("aud"));
        meant.retain(|audience| audiences.contains(audience));
        if meant.is_empty() {
            return Ok(None);
        }
        let about = claims.get("kubernetes.io").unwrap_or(&Value::Null);
        let namespace = about.get("namespace").and_then(Value::as_str).unwrap_or_default();
        let reference = |claim: &str| {
            let of = about.get(claim)?;
            let text = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Some((text("name"), text("uid")))
        };
        let Some((name, uid)) = reference("serviceaccount") else { return Ok(None) };
        let mut user = User { uid: uid.clone(), ..User::service_account(namespace, &name) };
        let mut there = vec![("serviceaccounts", (name, uid))];
        let pod = reference("pod");
        there.extend(pod.clone().map(|pod| ("pods", pod)));
        there.extend(reference("secret").map(|secret| ("secrets", secret)));
        // The node of a pod is only told of.
        there.extend(reference("node").filter(|_| pod.is_none()).map(|node| ("nodes", node)));
        for (plural, (name, uid)) in there {
            let Some(found) = self.look_up(plural, namespace, &name)? else { return Ok(None) };
            if object::meta(&found.object, "uid") != uid || long_deleted(&found.object, now) {
                return Ok(None);
            }
        }
        let mut tell = |key: &str, value: String| {
            if !value.is_empty() {
                user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
            }
        };
        let id = claims.get("jti").and_then(Value::as_str).unwrap_or_default();
        tell("credential-id", format!("JTI={id}"));
        for claim in ["pod", "node"] {
            if let Some((name, uid)) = reference(claim) {
                tell(&format!("{claim}-name"), name);
                tell(&format!("{claim}-uid"), uid);
            }
        }
        Ok(Some((user, meant)))
    }
}

/// Whether the object was to be gone before now, with some leeway.
fn long_deleted(object: &Value, now: i64) -> bool {
    let deleted = object::meta(object, "deletionTimestamp").parse::<jiff::Timestamp>();
    deleted.is_ok_and(|moment| moment.as_second() < now - LEEWAY)
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn check_metadata(call: &Call, request: &Value, account: &Value) -> Result<(), Status> {
    let path = Path::ROOT.child("metadata");
    for (field, what) in [("name", "name"), ("namespace", "namespace")] {
        let (asked, own) = (object::meta(request, field), object::meta(account, field));
        if !asked.is_empty() && asked != own {
            let why = format!("must match the service account {what} if specified");
            let error = FieldError::invalid(&path.child(field), asked, why);
            return Err(Status::invalid(Qualified::new(GROUP, KIND), call.name(), &[error]));
        }
    }
    let (asked, own) = (object::meta(request, "uid"), object::meta(account, "uid"));
    if !asked.is_empty() && asked != own {
        let why = format!(
            "the UID in the token request ({asked}) does not match the UID of the service account ({own})"
        );
        return Err(Status::conflict(Qualified::new(GROUP, KIND), call.name(), &why));
    }
    Ok(())
}

fn check_expiration(seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..LEAST => "may not specify a duration less than 10 minutes",
        LEAST..=MOST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let spec = Path::ROOT.child("spec");
    let error = FieldError::invalid(&spec.child("expirationSeconds"), seconds, why);
    Err(Status::invalid(Qualified::new(GROUP, KIND), "", &[error]))
}

/// The discovery document of the issuer (OpenID Connect Discovery 1.0) of a server at this address. Where that is the
/// machine's alone, pods look for the keys where they know the issuer.
pub fn discovery(signer: &Signer, address: &str) -> Value {
    let is_local = address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback());
    let server = if is_local { ISSUER.to_owned() } else { format!("https://{address}") };
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{server}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [signer.algorithm()],
    })
}
