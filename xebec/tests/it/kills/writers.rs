//! Those who write: each has objects of its own, and knows what it was told of them.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Error, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use xebec_dice::Dice;

use super::LABEL;
use super::ledger::{Change, Ledger, Told};

/// How many objects each writer has.
const OBJECTS: usize = 3;

/// One object of a writer.
struct Own {
    name: String,
    /// As it was last told; none where it is not there.
    last: Option<DynamicObject>,
    count: u64,
}

/// Writes in every way that there is until it is told to stop.
pub(super) async fn write(
    api: Api<DynamicObject>,
    kind: &'static str,
    number: usize,
    mut dice: Dice,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    let own = |at: usize| Own { name: format!("w{number}-{at}"), last: None, count: 0 };
    let mut objects: Vec<Own> = (0..OBJECTS).map(own).collect();
    while !stop.is_cancelled() {
        let object = &mut objects[dice.below(OBJECTS)];
        let told = match attempt(&api, kind, object, &mut dice).await {
            Ok(told) => told,
            Err(Error::Api(status)) if status.code < 500 => panic!("{kind} {}: {status:?}", object.name),
            Err(_) => found(&api, object).await,
        };
        let count = told.as_ref().map(|told| Change::of(kind, told).count).unwrap_or_default();
        let before = object.last.as_ref().map(|_| object.count);
        let may_be = [before, before.map_or(Some(object.count + 1), |count| Some(count + 1)), None];
        assert!(may_be.contains(&count), "{kind} {}: {count:?} after {before:?}", object.name);
        object.count = count.unwrap_or(object.count);
        let revision = told.as_ref().map(|told| Change::of(kind, told).revision);
        object.last = told;
        // Nothing was there and nothing was made.
        if (before, count) != (None, None) {
            ledger.note(kind, &object.name, Told { count, revision });
        }
    }
}

/// The object as it is, once the server is back.
async fn found(api: &Api<DynamicObject>, object: &Own) -> Option<DynamicObject> {
    loop {
        match api.get_opt(&object.name).await {
            Ok(found) => return found,
            Err(Error::Api(status)) if status.code < 500 => panic!("{}: {status:?}", object.name),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One write. Gives the object as it is told to be then.
async fn attempt(
    api: &Api<DynamicObject>,
    kind: &str,
    own: &Own,
    dice: &mut Dice,
) -> Result<Option<DynamicObject>, Error> {
    let (name, count) = (&own.name, (own.count + 1).to_string());
    let metadata = json!({"annotations": {"left": count}, "labels": {"right": count}});
    let params = PatchParams::default();
    let Some(last) = &own.last else {
        let whole = serde_json::from_value(whole(kind, name, &count)).expect("an object");
        return api.create(&PostParams::default(), &whole).await.map(Some);
    };
    let written = match dice.below(7) {
        0 | 1 => {
            let mut new = last.clone();
            new.annotations_mut().insert("left".to_owned(), count.clone());
            new.labels_mut().insert("right".to_owned(), count);
            api.replace(name, &PostParams::default(), &new).await
        }
        2 => api.patch(name, &params, &Patch::Merge(json!({"metadata": metadata}))).await,
        3 => api.patch(name, &params, &Patch::Strategic(json!({"metadata": metadata}))).await,
        4 => {
            let replaced = [("/metadata/annotations/left", &count), ("/metadata/labels/right", &count)];
            let operations =
                replaced.map(|(path, value)| json!({"op": "replace", "path": path, "value": value}));
            let operations = serde_json::from_value(Value::from(operations.to_vec())).expect("a patch");
            api.patch(name, &params, &Patch::<()>::Json(operations)).await
        }
        5 => {
            let params = PatchParams::apply("kills").force();
            api.patch(name, &params, &Patch::Apply(whole(kind, name, &count))).await
        }
        _ => return api.delete(name, &DeleteParams::default()).await.map(|_| None),
    };
    written.map(Some)
}

/// The object with this count.
fn whole(kind: &str, name: &str, count: &str) -> Value {
    let labels = json!({"right": count, LABEL: "yes"});
    let metadata = json!({"name": name, "annotations": {"left": count}, "labels": labels});
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata});
    match kind {
        "ConfigMap" => object["data"] = json!({"a": "b"}),
        "Secret" => object["stringData"] = json!({"a": "b"}),
        _ => object["spec"] = json!({"ports": [{"port": 80}]}),
    }
    object
}
