use serde_json::{Value, json};

use super::*;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceSlice};

fn class(name: &str, spec: Value) -> Arc<DeviceClass> {
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap())
}

fn slice(name: &str, more: Value) -> Arc<ResourceSlice> {
    let mut spec = json!({
        "driver": "gpu.com", "nodeName": "edge", "pool": {"name": "edge", "generation": 1, "resourceSliceCount": 1},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap())
}

fn claim(name: &str, devices: Value) -> Arc<ResourceClaim> {
    let claim = json!({"metadata": {"namespace": "a", "name": name}, "spec": {"devices": devices}});
    Arc::new(serde_json::from_value(claim).unwrap())
}

fn one(more: Value) -> Value {
    let mut exactly = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
    exactly.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"requests": [{"name": "r", "exactly": exactly}]})
}

struct Scene {
    classes: Vec<Arc<DeviceClass>>,
    slices: Vec<Arc<ResourceSlice>>,
    claims: Vec<Arc<ResourceClaim>>,
}

impl Scene {
    fn of(devices: Value) -> Self {
        let classes =
            vec![class("gpu", json!({"selectors": [{"cel": {"expression": "device.driver == 'gpu.com'"}}]}))];
        Self { classes, slices: vec![slice("s", json!({"devices": devices}))], claims: Vec::new() }
    }

    fn ask(&self, claims: &[Arc<ResourceClaim>]) -> Result<Option<Vec<AllocationResult>>, Failure> {
        let offer = Offer { classes: &self.classes, slices: &self.slices, claims: &self.claims };
        let place = Place { name: "edge", admits: &|_| false };
        allocate(&offer, &place, claims, &mut || "share".to_owned())
    }

    /// The devices of each claim.
    fn names(&self, claims: &[Arc<ResourceClaim>]) -> Option<Vec<String>> {
        let results = self.ask(claims).unwrap()?;
        let devices = results.iter().map(|result| {
            let results = result.devices.as_ref().unwrap().results.iter().flatten();
            results
                .map(|result| format!("{}={}", result.request, result.device))
                .collect::<Vec<_>>()
                .join(" ")
        });
        Some(devices.collect())
    }

    /// Keeps what a claim was given.
    fn keep(&mut self, claim: &Arc<ResourceClaim>) {
        let allocation = self.ask(std::slice::from_ref(claim)).unwrap().unwrap().remove(0);
        let mut claim = ResourceClaim::clone(claim);
        claim.status = Some(k8s_openapi::api::resource::v1::ResourceClaimStatus {
            allocation: Some(allocation),
            ..Default::default()
        });
        self.claims.push(Arc::new(claim));
    }
}

#[test]
fn each_device_is_given_once_and_the_place_is_told() {
    let mut scene = Scene::of(json!([{"name": "d0"}, {"name": "d1"}]));
    let (a, b) = (claim("a", one(json!({}))), claim("b", one(json!({}))));
    assert_eq!(scene.names(&[a.clone(), b.clone()]), Some(vec!["r=d0".into(), "r=d1".into()]));
    let first = scene.ask(std::slice::from_ref(&a)).unwrap().unwrap().remove(0);
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["edge"]});
    assert_eq!(
        serde_json::to_value(first.node_selector).unwrap(),
        json!({"nodeSelectorTerms": [{"matchFields": [field]}]})
    );
    scene.keep(&a);
    assert_eq!(scene.names(std::slice::from_ref(&b)), Some(vec!["r=d1".into()]));
    scene.keep(&b);
    assert_eq!(scene.names(&[claim("c", one(json!({})))]), None);
    assert_eq!(scene.names(&[claim("c", one(json!({"adminAccess": true})))]), Some(vec!["r=d0".into()]));
}

#[test]
fn selectors_taints_and_alternatives_narrow_the_choice() {
    let scene = Scene::of(json!([
        {"name": "old", "attributes": {"year": {"int": 2020}}},
        {"name": "ill", "attributes": {"year": {"int": 2025}}, "taints": [{"key": "ill", "effect": "NoSchedule"}]},
        {"name": "new", "attributes": {"year": {"int": 2026}}},
    ]));
    let young = json!([{"cel": {"expression": "device.attributes['gpu.com'].year > 2021"}}]);
    assert_eq!(scene.names(&[claim("a", one(json!({"selectors": young})))]), Some(vec!["r=new".into()]));
    let brave = json!({"selectors": young, "tolerations": [{"key": "ill", "operator": "Exists"}]});
    assert_eq!(scene.names(&[claim("a", one(brave))]), Some(vec!["r=ill".into()]));
    let wrong = json!([{"cel": {"expression": "device.attributes['gpu.com'].none"}}]);
    assert_eq!(
        scene.ask(&[claim("a", one(json!({"selectors": wrong})))]).unwrap_err(),
        Failure::Claim("claim a/a: selector #0: CEL runtime error: no such key: none".to_owned())
    );
    let choice = json!({"requests": [{"name": "r", "firstAvailable": [
        {"name": "four", "deviceClassName": "gpu", "count": 4}, {"name": "two", "deviceClassName": "gpu", "count": 2},
    ]}]});
    assert_eq!(scene.names(&[claim("a", choice)]), Some(vec!["r/two=old r/two=new".into()]));
    let all = one(json!({"allocationMode": "All", "count": null}));
    assert_eq!(scene.names(&[claim("a", all)]), None, "one of all is ill");
}

#[test]
fn constraints_lead_back_to_other_devices() {
    let scene = Scene::of(json!([
        {"name": "d0", "attributes": {"socket": {"int": 0}}}, {"name": "d1", "attributes": {"socket": {"int": 1}}},
        {"name": "d2", "attributes": {"socket": {"int": 1}}},
    ]));
    let asked = |kind: &str| {
        let mut devices = one(json!({"count": 2}));
        devices["constraints"] = json!([{kind: "gpu.com/socket"}]);
        scene.names(&[claim("a", devices)])
    };
    assert_eq!(asked("matchAttribute"), Some(vec!["r=d1 r=d2".into()]));
    assert_eq!(asked("distinctAttribute"), Some(vec!["r=d0 r=d1".into()]));
}

#[test]
fn parts_of_a_device_take_from_its_counters() {
    let part = |name: &str, memory: &str| json!({"name": name, "consumesCounters": [{"counterSet": "c", "counters": {"memory": {"value": memory}}}]});
    let mut scene = Scene::of(json!([part("half-a", "5Gi"), part("whole", "10Gi"), part("half-b", "5Gi")]));
    let pool = json!({"name": "edge", "generation": 1, "resourceSliceCount": 2});
    let counters = json!([{"name": "c", "counters": {"memory": {"value": "10Gi"}}}]);
    scene.slices.push(slice("t", json!({"pool": pool, "sharedCounters": counters})));
    assert_eq!(scene.names(&[claim("a", one(json!({})))]), None, "the pool is not whole");
    let devices = json!([part("half-a", "5Gi"), part("whole", "10Gi"), part("half-b", "5Gi")]);
    scene.slices[0] = slice("s", json!({"pool": pool, "devices": devices}));
    let (a, b, c) = (claim("a", one(json!({}))), claim("b", one(json!({}))), claim("c", one(json!({}))));
    assert_eq!(scene.names(&[a.clone(), b.clone()]), Some(vec!["r=half-a".into(), "r=half-b".into()]));
    scene.keep(&a);
    scene.keep(&b);
    assert_eq!(scene.names(&[c]), None);
}

#[test]
fn what_several_may_have_is_given_in_parts() {
    let policy = json!({"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}});
    let memory = json!({"memory": {"value": "4Gi", "requestPolicy": policy}});
    let mut scene = Scene::of(json!([{"name": "d0", "allowMultipleAllocations": true, "capacity": memory}]));
    let some =
        |name: &str, memory: &str| claim(name, one(json!({"capacity": {"requests": {"memory": memory}}})));
    let given =
        scene.ask(&[some("a", "1500Mi")]).unwrap().unwrap().remove(0).devices.unwrap().results.unwrap();
    assert_eq!(given[0].share_id.as_deref(), Some("share"));
    let memory = &given[0].consumed_capacity.as_ref().unwrap()["memory"];
    assert_eq!(capacity::nanos(memory), (2_i128 << 30) * 1_000_000_000);
    scene.keep(&some("a", "1500Mi"));
    assert!(scene.names(&[some("b", "3Gi")]).is_none());
    assert!(scene.names(&[some("b", "2Gi")]).is_some());
    assert!(scene.names(&[some("b", "1Gi"), some("c", "1Gi"), some("d", "1Gi")]).is_none());
}
