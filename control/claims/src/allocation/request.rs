//! What a claim asks for, request by request, and which devices its selectors take.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::resource::v1::{
    Device, DeviceClass, DeviceRequest, DeviceSelector, DeviceTaint, DeviceToleration, ResourceClaim,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use xebec_expressions::devices::Selector;

use super::RESULTS_MAX;
use super::offer::{Candidate, Offer, Place, Pool};

/// One way to satisfy a request.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    claim: String,
    /// The name of the request, with that of the alternative if there are several.
    pub(super) name: String,
    /// The name of the request.
    pub(super) base: String,
    pub(super) class: &'a DeviceClass,
    selectors: &'a [DeviceSelector],
    pub(super) tolerations: &'a [DeviceToleration],
    pub(super) capacity: Option<&'a BTreeMap<String, Quantity>>,
    /// Whether an administrator asks, who takes nothing from others.
    pub(super) admin: bool,
    /// Whether all there are is asked for.
    pub(super) all: bool,
    /// Those, then.
    pub(super) every: Vec<Candidate<'a>>,
    pub(super) count: usize,
}

impl Asked<'_> {
    /// Whether nothing keeps from the device who asks.
    pub(super) fn tolerates(&self, device: &Device) -> bool {
        let hard = |taint: &&DeviceTaint| matches!(&*taint.effect, "NoSchedule" | "NoExecute");
        device.taints.iter().flatten().filter(hard).all(|taint| {
            self.tolerations.iter().any(|own| {
                let is_same = |own: &Option<String>, other: &str| {
                    own.as_deref().is_none_or(|own| own.is_empty() || own == other)
                };
                let value = own.value.as_deref().unwrap_or_default();
                is_same(&own.effect, &taint.effect)
                    && is_same(&own.key, &taint.key)
                    && match own.operator.as_deref() {
                        None | Some("" | "Equal") => value == taint.value.as_deref().unwrap_or_default(),
                        Some("Exists") => true,
                        Some(_) => false,
                    }
            })
        })
    }
}

/// Selectors as they were read, and what they said.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    read: HashMap<String, Result<Selector, String>>,
    said: HashMap<(String, String, String, String, String), bool>,
}

impl Selectors {
    /// Whether a device may be had by who asks so.
    pub(super) fn take(
        &mut self,
        asked: &Asked<'_>,
        device: &Candidate<'_>,
        place: &Place<'_>,
    ) -> Result<bool, String> {
        let part = |text: &str| text.to_owned();
        let id = device.id;
        let key = (asked.claim.clone(), asked.name.clone(), part(id.driver), part(id.pool), part(id.device));
        if let Some(said) = self.said.get(&key) {
            return Ok(*said);
        }
        let class = asked.class.spec.as_ref().and_then(|spec| spec.selectors.as_deref()).unwrap_or_default();
        let said = device.is_at(place)
            && self.all(class, &format!("class {}", asked.class.name_any()), device)?
            && self.all(asked.selectors, &format!("claim {}", asked.claim), device)?;
        self.said.insert(key, said);
        Ok(said)
    }

    fn all(&mut self, all: &[DeviceSelector], whose: &str, device: &Candidate<'_>) -> Result<bool, String> {
        for (number, selector) in all.iter().enumerate() {
            let expression = selector.cel.as_ref().map(|cel| cel.expression.as_str()).unwrap_or_default();
            let read = self
                .read
                .entry(expression.to_owned())
                .or_insert_with(|| Selector::compile(expression).map_err(|why| why.to_string()));
            let read = read
                .as_ref()
                .map_err(|why| format!("{whose}: selector #{number}: CEL compile error: {why}"))?;
            let fault = |why: &dyn std::fmt::Display| {
                format!("{whose}: selector #{number}: CEL runtime error: {why}")
            };
            let value = serde_json::to_value(device.device).map_err(|why| fault(&why))?;
            if !read.matches(device.id.driver, &value).map_err(|why| fault(&why))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The requests of a claim, each with its alternatives.
pub(super) fn read<'a>(
    claim: &'a ResourceClaim,
    offer: &Offer<'a>,
    place: &Place<'_>,
    pools: &[Pool<'a>],
    selectors: &mut Selectors,
) -> Result<Vec<Vec<Asked<'a>>>, String> {
    let own = format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any());
    let devices = claim.spec.as_ref().and_then(|spec| spec.devices.as_ref());
    let requests = devices.and_then(|devices| devices.requests.as_deref()).unwrap_or_default();
    let mut least = 0_usize;
    let mut all = Vec::new();
    for request in requests {
        let mut alternatives = forms(&own, request, offer)?;
        for asked in alternatives.iter_mut().filter(|asked| asked.all) {
            if let Some(pool) = pools.iter().find(|pool| pool.is_incomplete || pool.is_invalid) {
                let state = if pool.is_incomplete { "being updated" } else { "invalid" };
                return Err(format!(
                    "claim {own}, request {}: asks for all devices, but resource pool {}/{} is currently {state}",
                    asked.name, pool.driver, pool.name
                ));
            }
            for device in pools.iter().flat_map(Pool::usable) {
                if selectors.take(asked, &device, place)? {
                    asked.every.push(device);
                }
            }
            asked.count = asked.every.len();
        }
        least = alternatives.iter().map(|asked| asked.count).min().unwrap_or_default().saturating_add(least);
        all.push(alternatives);
    }
    if least > RESULTS_MAX {
        return Err(format!(
            "claim {own}: number of requested devices {least} exceeds the claim limit of {RESULTS_MAX}"
        ));
    }
    Ok(all)
}

fn forms<'a>(claim: &str, request: &'a DeviceRequest, offer: &Offer<'a>) -> Result<Vec<Asked<'a>>, String> {
    let class_of = |name: &str| {
        offer.classes.iter().find(|class| class.name_any() == name).map(|class| &**class).ok_or_else(|| {
            format!("claim {claim}, request {}: could not retrieve device class {name}", request.name)
        })
    };
    let counted = |mode: Option<&str>, count: Option<i64>| {
        let all = mode == Some("All");
        (all, if all { 0 } else { usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX / 2) })
    };
    let base = &request.name;
    if let Some(own) = &request.exactly {
        let (all, count) = counted(own.allocation_mode.as_deref(), own.count);
        return Ok(vec![Asked {
            claim: claim.to_owned(),
            name: base.clone(),
            base: base.clone(),
            class: class_of(&own.device_class_name)?,
            selectors: own.selectors.as_deref().unwrap_or_default(),
            tolerations: own.tolerations.as_deref().unwrap_or_default(),
            capacity: own.capacity.as_ref().and_then(|own| own.requests.as_ref()),
            admin: own.admin_access == Some(true),
            all,
            every: Vec::new(),
            count,
        }]);
    }
    let forms = request.first_available.iter().flatten().map(|own| {
        let (all, count) = counted(own.allocation_mode.as_deref(), own.count);
        Ok(Asked {
            claim: claim.to_owned(),
            name: format!("{base}/{}", own.name),
            base: base.clone(),
            class: class_of(&own.device_class_name)?,
            selectors: own.selectors.as_deref().unwrap_or_default(),
            tolerations: own.tolerations.as_deref().unwrap_or_default(),
            capacity: own.capacity.as_ref().and_then(|own| own.requests.as_ref()),
            admin: false,
            all,
            every: Vec::new(),
            count,
        })
    });
    forms.collect()
}
