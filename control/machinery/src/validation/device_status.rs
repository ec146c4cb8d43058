//! What was allocated to a claim, for whom, and what drivers say of it.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::devices::{self, CONFIGS_MAX, REQUESTS_MAX, Requests, each, each_once, label};
use super::{IMMUTABLE, device_slice, driver, given, invalid, list, number, required, scheduling, text};
use crate::address;
use crate::field::{FieldError, Path};

const RESERVED_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const DATA_MAX: usize = 10 * 1024;
const ADDRESSES_MAX: usize = 16;
const INTERFACE_MAX: usize = 256;
const HARDWARE_MAX: usize = 128;
const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;
const SOURCES: [&str; 2] = ["FromClaim", "FromClass"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const UID: &str = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
                   hexadecimal characters";
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of \
                      alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. \
                      'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used \
                      for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

type Errors = Vec<FieldError>;

/// The status of a ResourceClaim that replaces another.
pub(super) fn update(old: &Value, new: &Value, errors: &mut Errors) {
    let path = Path::ROOT.child("status");
    let [before, after] = [old, new].map(|claim| claim.get("status").unwrap_or(&Value::Null));
    let reserved = list(after, "reservedFor");
    let place = path.child("reservedFor");
    each_once(
        reserved,
        RESERVED_MAX,
        &place,
        errors,
        |of| text(of, "uid").into(),
        |of, path, errors| {
            for key in ["resource", "name", "uid"] {
                required(of, key, path, errors);
            }
        },
    );
    let allocation = given(after, "allocation");
    let allocated: HashSet<String> =
        allocation.into_iter().flat_map(results).map(|of| identity(of).to_string()).collect();
    let devices = list(after, "devices");
    each_once(devices, usize::MAX, &path.child("devices"), errors, identity, |of, path, errors| {
        device(of, &allocated, path, errors);
    });
    if !reserved.is_empty() {
        let goes = new.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
        let is_more = reserved.iter().any(|of| !list(before, "reservedFor").contains(of));
        if allocation.is_none() {
            let why = "may not be specified when `allocated` is not set";
            errors.push(FieldError::forbidden(&place, why));
        } else if goes && is_more {
            let why =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(FieldError::forbidden(&place, why));
        }
    }
    let place = path.child("allocation");
    match (given(before, "allocation"), allocation) {
        (Some(before), Some(after)) if before != after => {
            errors.push(FieldError::invalid(&place, after.clone(), IMMUTABLE));
        }
        (None, Some(after)) => {
            let claim = new.pointer("/spec/devices").unwrap_or(&Value::Null);
            result(after, &Requests::of(claim), &place, errors);
        }
        _ => {}
    }
}

/// The devices that an allocation gives.
pub(crate) fn results(allocation: &Value) -> &[Value] {
    allocation.get("devices").map(|devices| list(devices, "results")).unwrap_or_default()
}

/// Which share of which device this is.
pub(crate) fn identity(of: &Value) -> Value {
    let part = |key: &str| text(of, key);
    json!({"driver": part("driver"), "pool": part("pool"), "device": part("device"), "share": part("shareID")})
}

fn result(allocation: &Value, names: &Requests<'_>, path: &Path<'_>, errors: &mut Errors) {
    let devices = allocation.get("devices").unwrap_or(&Value::Null);
    let inner = path.child("devices");
    each(results(allocation), REQUESTS_MAX, &inner.child("results"), errors, |of, path, errors| {
        names.is_one(text(of, "request"), &path.child("request"), errors);
        driver::name(of, "driver", path, errors);
        device_slice::pool_name(text(of, "pool"), &path.child("pool"), errors);
        label(text(of, "device"), &path.child("device"), errors);
        device_slice::conditions(of, path, errors);
        share(of, path, errors);
    });
    let configs = list(devices, "config");
    each(configs, 2 * CONFIGS_MAX, &inner.child("config"), errors, |of, path, errors| {
        required(of, "source", path, errors);
        super::one_of(of, "source", &SOURCES, path, errors);
        names.are_of(of, path, errors);
        devices::configuration(of, false, path, errors);
    });
    if let Some(of) = given(allocation, "nodeSelector") {
        scheduling::node_selector(of, &path.child("nodeSelector"), errors);
    }
}

/// The identity of a share.
fn share(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(id) = given(of, "shareID").and_then(Value::as_str) else { return };
    let path = path.child("shareID");
    if let Err(why) = uuid(id) {
        errors.push(FieldError::invalid(&path, id, format!("error validating uid: {why}")));
    } else if id.len() != 36 || id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        errors.push(FieldError::invalid(&path, id, UID));
    }
}

/// Whether a text is an identity in any of its forms.
fn uuid(text: &str) -> Result<(), String> {
    let wrong = || Err("invalid UUID format".to_owned());
    let bytes = text.as_bytes();
    let plain = match bytes.len() {
        32 if bytes.iter().all(u8::is_ascii_hexdigit) => return Ok(()),
        32 => return wrong(),
        36 => bytes,
        45 if bytes[..9].eq_ignore_ascii_case(b"urn:uuid:") => &bytes[9..],
        45 => return Err(format!("invalid urn prefix: {:?}", String::from_utf8_lossy(&bytes[..9]))),
        38 if bytes[0] == b'{' && bytes[37] == b'}' => &bytes[1..37],
        38 => return Err("invalid bracketed UUID format".to_owned()),
        length => return Err(format!("invalid UUID length: {length}")),
    };
    let sound = plain.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    if sound { Ok(()) } else { wrong() }
}

/// What a driver says of a device.
fn device(of: &Value, allocated: &HashSet<String>, path: &Path<'_>, errors: &mut Errors) {
    driver::name(of, "driver", path, errors);
    device_slice::pool_name(text(of, "pool"), &path.child("pool"), errors);
    label(text(of, "device"), &path.child("device"), errors);
    share(of, path, errors);
    let own = identity(of);
    if !allocated.contains(&own.to_string()) {
        errors.push(FieldError::invalid(path, own, "must be an allocated device in the claim"));
    }
    let all = list(of, "conditions");
    let place = path.child("conditions");
    if all.len() > CONDITIONS_MAX {
        errors.push(FieldError::too_many(&place, all.len(), CONDITIONS_MAX));
    }
    let mut types = HashSet::new();
    for (at, of) in all.iter().enumerate() {
        let path = place.index(at);
        if !types.insert(text(of, "type")) {
            errors.push(FieldError::duplicate(&path.child("type"), text(of, "type")));
        }
        condition(of, &path, errors);
    }
    if let Some(data) = given(of, "data") {
        devices::raw(data, DATA_MAX, &path.child("data"), errors);
    }
    if let Some(of) = given(of, "networkData") {
        network(of, &path.child("networkData"), errors);
    }
}

fn condition(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    devices::key(text(of, "type"), &path.child("type"), errors);
    let status = text(of, "status");
    if !STATUSES.contains(&status) {
        errors.push(FieldError::not_supported(&path.child("status"), status, &STATUSES));
    }
    let generation = number(of, "observedGeneration").unwrap_or_default();
    if generation < 0 {
        let why = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&path.child("observedGeneration"), generation, why));
    }
    if given(of, "lastTransitionTime").is_none() {
        errors.push(FieldError::required(&path.child("lastTransitionTime"), ""));
    }
    if required(of, "reason", path, errors) {
        let (reason, path) = (text(of, "reason"), path.child("reason"));
        let bytes = reason.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"_,:".contains(byte);
        let ends =
            |first: &u8, last: &u8| first.is_ascii_alphabetic() && inner(last) && !b",:".contains(last);
        let sound = bytes.first().zip(bytes.last()).is_some_and(|(first, last)| ends(first, last));
        if !sound || !bytes.iter().all(inner) {
            errors.push(FieldError::invalid(&path, reason, REASON));
        }
        if reason.len() > REASON_MAX {
            errors.push(FieldError::too_long(&path, REASON_MAX));
        }
    }
    if text(of, "message").len() > MESSAGE_MAX {
        errors.push(FieldError::too_long(&path.child("message"), MESSAGE_MAX));
    }
}

fn network(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (key, most) in [("interfaceName", INTERFACE_MAX), ("hardwareAddress", HARDWARE_MAX)] {
        if text(of, key).len() > most {
            errors.push(FieldError::too_long(&path.child(key), most));
        }
    }
    each_once(
        list(of, "ips"),
        ADDRESSES_MAX,
        &path.child("ips"),
        errors,
        Value::clone,
        |of, path, errors| {
            let of = of.as_str().unwrap_or_default();
            invalid(path, of, address::interface_problems(of), errors);
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: Value) -> Vec<String> {
        let spec = json!({"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}}]}});
        let mut errors = Vec::new();
        update(&json!({"spec": spec}), &json!({"spec": spec, "status": status}), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_claim_is_reserved_once_it_has_devices() {
        let user = json!({"resource": "pods", "name": "p", "uid": "u"});
        assert_eq!(
            told(json!({"reservedFor": [user]})),
            ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
        );
        let device = json!({"driver": "a.com", "pool": "p", "device": "d"});
        let mut result = device.clone();
        result["request"] = json!("a");
        let allocation = json!({"devices": {"results": [result]}});
        assert_eq!(
            told(json!({"allocation": allocation, "reservedFor": [user], "devices": [device]})),
            [""; 0]
        );
        let other = json!({"driver": "a.com", "pool": "p", "device": "e"});
        let errors = told(json!({"allocation": allocation, "devices": [other]}));
        assert!(errors[0].ends_with("must be an allocated device in the claim"), "{errors:?}");
    }

    #[test]
    fn an_identity_has_one_form() {
        let id = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";
        assert_eq!(uuid(id), Ok(()));
        assert_eq!(uuid("x"), Err("invalid UUID length: 1".to_owned()));
        assert_eq!(uuid(&format!("{{{id}}}")), Ok(()));
        assert_eq!(uuid(&id.replace('-', "x")), Err("invalid UUID format".to_owned()));
    }
}
