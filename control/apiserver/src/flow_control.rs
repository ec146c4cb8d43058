//! Keeps the flow schemas and priority levels: those that every cluster has are there and say what they should, each schema
//! tells whether its level is there, and what is stored says who is served how.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};
use xebec_machinery::flow::{AUTO_UPDATE, EXEMPT, GROUP, Standing, levels, schemas};
use xebec_machinery::status::Status;
use xebec_store::ListRequest;

use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::Call;
use crate::codec::Decoded;
use crate::delete::DeleteOptions;
use crate::follow::Followed;
use crate::request::Verb;
use crate::strategy::Part;
use crate::{key, object, storage};

/// Who owns the fields of what is made here, and those of the statuses, as upstream names them.
const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";
const SCHEMAS: &str = "flowschemas";
const LEVELS: &str = "prioritylevelconfigurations";
/// How often levels lend and borrow anew.
const REBALANCE: Duration = Duration::from_secs(10);
/// How often it is looked whether everything is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// A status is not written more often than this in that time, whoever else writes it.
const STATUS_WRITES: (usize, Duration) = (5, Duration::from_secs(60));
/// How many objects are written at once at the first start.
const AT_ONCE: usize = 32;

/// The flow schemas and priority levels.
struct Flows<'a> {
    api: &'a Api,
    /// When the statuses of schemas were written.
    told: HashMap<String, Vec<Instant>>,
}

impl Followed for Flows<'_> {
    const NAME: &'static str = "the flow schemas";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.api;
        let served = api.catalog().served();
        let Some(resource) = served.find(GROUP, SCHEMAS) else { return Ok(()) };
        let prefix = format!("/registry/{GROUP}/");
        let mut watch = api.storage().watch(resource, &prefix, Some(api.storage().revision()))?;
        let (mut rebalance, mut looked) = (interval(REBALANCE), Instant::now());
        rebalance.reset();
        loop {
            let (flows, there) = api.adopt_flow_control()?;
            self.tell(&flows, &there).await?;
            backoff.reset();
            loop {
                tokio::select! {
                    _ = rebalance.tick() => api.fairness().rebalance(),
                    goes_on = api.changed(&mut watch, resource) => match goes_on? {
                        true => break,
                        false => return Ok(()),
                    },
                }
                if looked.elapsed() >= LOOK_AGAIN {
                    looked = Instant::now();
                    api.prepare_flow_control().await?;
                    // What was held back is told now.
                    break;
                }
            }
        }
    }
}

impl Flows<'_> {
    /// Tells of each schema whether its level is there.
    async fn tell(&mut self, schemas: &[Value], levels: &[Value]) -> Result<(), Status> {
        let (most, within) = STATUS_WRITES;
        self.told.retain(|_, told| {
            told.retain(|at| at.elapsed() < within);
            !told.is_empty()
        });
        for schema in schemas {
            let name = object::name(schema);
            let Some(condition) = news(schema, levels) else { continue };
            let told = self.told.entry(name.to_owned()).or_default();
            if told.len() >= most {
                continue;
            }
            told.push(Instant::now());
            self.api.tell_flow(schema, condition).await?;
        }
        Ok(())
    }
}

impl Api {
    /// Makes the flow schemas and priority levels that are missing, and gives back to those that are there what they lost.
    pub(crate) async fn prepare_flow_control(&self) -> Result<(), Status> {
        tokio::try_join!(self.prepare_flows(LEVELS, levels()), self.prepare_flows(SCHEMAS, schemas()))?;
        Ok(())
    }

    async fn prepare_flows(&self, plural: &str, wanted: Vec<(Standing, Value)>) -> Result<(), Status> {
        stream::iter(wanted.clone())
            .map(|(standing, object)| self.prepare_flow(plural, standing, object))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.drop_strays(plural, &wanted).await
    }

    async fn prepare_flow(&self, plural: &str, standing: Standing, wanted: Value) -> Result<(), Status> {
        let mut call = self.own_call(GROUP, "v1", plural, None)?;
        PRODUCER.clone_into(&mut call.manager);
        let name = object::name(&wanted);
        let Some(found) = self.storage().find(&call.resource, None, name)? else {
            return self.ensure(&call, wanted).await;
        };
        let Some(object) = revised(&found.object, &wanted, standing) else { return Ok(()) };
        let mut call = Call::own(call.resource, Verb::Update, None, name);
        PRODUCER.clone_into(&mut call.manager);
        storage::unless_late(self.update(&call, Part::Main, Decoded::own(object)).await).map(drop)
    }

    /// Takes away what an earlier version of this program made, and this one does not.
    async fn drop_strays(&self, plural: &str, wanted: &[(Standing, Value)]) -> Result<(), Status> {
        let (resource, found) = self.flow_objects(plural)?;
        for object in found {
            let name = object::name(&object);
            let is_wanted = wanted.iter().any(|(_, own)| object::name(own) == name);
            if is_wanted || said(&object) != Some(true) {
                continue;
            }
            let call = Call::own(resource.clone(), Verb::Delete, None, name);
            storage::unless_late(self.delete(&call, &DeleteOptions::default()).await)?;
        }
        Ok(())
    }

    fn flow_objects(
        &self,
        plural: &str,
    ) -> Result<(std::sync::Arc<xebec_machinery::resource::Resource>, Vec<Value>), Status> {
        let served = self.catalog().served();
        let resource = served.find(GROUP, plural).cloned().ok_or_else(Status::no_such_resource)?;
        let prefix = key::prefix(GROUP, plural, None);
        let list = ListRequest { prefix: &prefix, ..ListRequest::default() };
        let page = self.storage().list(&resource, &list)?;
        let objects: Result<_, Status> =
            page.items.iter().map(|entry| Ok(storage::decode(entry)?.object)).collect();
        Ok((resource, objects?))
    }

    /// From now on requests are served as the stored schemas and levels say. Gives both.
    pub(crate) fn adopt_flow_control(&self) -> Result<(Vec<Value>, Vec<Value>), Status> {
        let ((_, schemas), (_, levels)) = (self.flow_objects(SCHEMAS)?, self.flow_objects(LEVELS)?);
        self.fairness().configure(&schemas, &levels);
        Ok((schemas, levels))
    }

    /// [`Api::adopt_flow_control`], told on each schema.
    pub(crate) async fn begin_flow_control(&self) -> Result<(), Status> {
        let (schemas, levels) = self.adopt_flow_control()?;
        let news = schemas.into_iter().filter_map(|schema| Some((news(&schema, &levels)?, schema)));
        stream::iter(news)
            .map(|(condition, schema)| async move { self.tell_flow(&schema, condition).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Keeps the flow schemas and priority levels until the API stops, and serves requests as they say.
    pub async fn serve_flow_control(&self) {
        self.keep_following(Flows { api: self, told: HashMap::new() }).await;
    }

    /// What is counted of the requests that are served, of those that wait, and of the servers behind this one, in the
    /// Prometheus text format.
    pub fn metrics(&self) -> String {
        let mut text = self.fairness().metrics();
        text.push_str(&self.aggregation().metrics());
        text
    }

    async fn tell_flow(&self, schema: &Value, condition: Value) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find(GROUP, SCHEMAS) else { return Ok(()) };
        let mut call = Call::own(resource.clone(), Verb::Update, None, object::name(schema));
        CONSUMER.clone_into(&mut call.manager);
        let mut new = schema.clone();
        object::set_condition(&mut new, condition, &call.timestamp());
        storage::unless_late(self.update(&call, Part::Status, Decoded::own(new)).await).map(drop)
    }
}

/// What an object's annotation says of whether the API keeps its spec.
fn said(object: &Value) -> Option<bool> {
    match object.get("metadata")?.get("annotations")?.get(AUTO_UPDATE)?.as_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An object as it should be; nothing where it is so.
fn revised(found: &Value, wanted: &Value, standing: Standing) -> Option<Value> {
    let generation = found.get("metadata")?.get("generation").and_then(Value::as_i64);
    // Who says nothing has not changed it.
    let kept = standing == Standing::Mandatory || said(found).unwrap_or(generation == Some(1));
    let mut revised = found.clone();
    if said(found) != Some(kept) {
        let annotations = object::meta_mut(&mut revised).entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(AUTO_UPDATE.to_owned(), kept.to_string().into());
        }
    }
    if kept && !is_as_wanted(found, wanted) {
        revised["spec"] = wanted["spec"].clone();
    }
    (revised != *found).then_some(revised)
}

/// Whether the spec says what it should. What the exempt level has to lend is for those who run the cluster to say.
fn is_as_wanted(found: &Value, wanted: &Value) -> bool {
    let mut spec = wanted["spec"].clone();
    if object::name(wanted) == EXEMPT && spec.get("exempt").is_some() {
        match found["spec"].get("exempt") {
            Some(own) => spec["exempt"] = own.clone(),
            None => return false,
        }
    }
    spec == found["spec"]
}

/// What the status of a schema should say and does not.
fn news(schema: &Value, levels: &[Value]) -> Option<Value> {
    let level = object::at_path(schema, ".spec.priorityLevelConfiguration.name")?.as_str()?;
    let is_there = levels.iter().any(|own| object::name(own) == level);
    let named = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match is_there {
        true => ("False", "Found", format!("{named} and it exists")),
        false => ("True", "NotFound", format!("{named} but there is no such object")),
    };
    let conditions = object::at_path(schema, ".status.conditions").and_then(Value::as_array);
    let told = conditions.into_iter().flatten().find(|condition| condition["type"] == "Dangling");
    let is_told = told.is_some_and(|told| {
        told["status"] == status && told["reason"] == reason && told["message"] == *message
    });
    let condition = json!({"type": "Dangling", "status": status, "reason": reason, "message": message});
    (!is_told).then_some(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(annotation: Option<&str>, generation: u32, shares: u32) -> Value {
        let annotations = annotation.map_or_else(|| json!({}), |value| json!({AUTO_UPDATE: value}));
        json!({"metadata": {"name": "a", "annotations": annotations, "generation": generation}, "spec": {"shares": shares}})
    }

    #[test]
    fn a_spec_is_kept_where_its_annotation_says_so_or_nobody_changed_it() {
        let wanted = object(Some("true"), 1, 5);
        let revise = |found: &Value, standing| revised(found, &wanted, standing);
        assert_eq!(revise(&object(Some("true"), 4, 5), Standing::Suggested), None);
        let back = revise(&object(Some("true"), 4, 6), Standing::Suggested).unwrap();
        assert_eq!(back["spec"]["shares"], 5);
        assert_eq!(revise(&object(Some("false"), 4, 6), Standing::Suggested), None);
        let own = revise(&object(None, 2, 6), Standing::Suggested).unwrap();
        assert_eq!((&own["spec"]["shares"], said(&own)), (&json!(6), Some(false)));
        let old = revise(&object(Some("perhaps"), 1, 6), Standing::Suggested).unwrap();
        assert_eq!((&old["spec"]["shares"], said(&old)), (&json!(5), Some(true)));
        let stands = revise(&object(Some("false"), 4, 6), Standing::Mandatory).unwrap();
        assert_eq!((&stands["spec"]["shares"], said(&stands)), (&json!(5), Some(true)));
    }

    #[test]
    fn a_schema_without_its_level_dangles() {
        let mut schema = json!({"spec": {"priorityLevelConfiguration": {"name": "a"}}});
        let level = json!({"metadata": {"name": "a"}});
        let dangling = news(&schema, &[]).unwrap();
        assert_eq!((&dangling["status"], &dangling["reason"]), (&json!("True"), &json!("NotFound")));
        let found = news(&schema, std::slice::from_ref(&level)).unwrap();
        let message =
            "This FlowSchema references the PriorityLevelConfiguration object named \"a\" and it exists";
        assert_eq!((&found["status"], &found["message"]), (&json!("False"), &json!(message)));
        schema["status"] = json!({"conditions": [found]});
        assert_eq!(news(&schema, &[level]), None);
        assert!(news(&schema, &[]).is_some());
    }
}
