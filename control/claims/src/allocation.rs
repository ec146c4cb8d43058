//! Which devices claims may have on a node: the first choice in which all of them have all that they ask for.
//!
//! Claims and their requests are filled one after the other, each device tried in the order of the pools; what does not lead
//! on is taken back. Kubernetes' own scheduler looks in the same order.

mod capacity;
mod offer;
mod request;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceAttribute,
    DeviceConstraint, DeviceRequestAllocationResult, ResourceClaim,
};
use kube::ResourceExt as _;

use capacity::Amounts;
use offer::{Candidate, Counters, Id};
pub use offer::{Offer, Place};
use request::{Asked, Selectors};

/// How many devices a claim has at most.
const RESULTS_MAX: usize = 32;
/// How many devices are tried before the search is given up.
const STEPS_MAX: u32 = 200_000;

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// What drivers offer to the node contradicts itself.
    Node(String),
    /// Something is wrong with a claim or with a class.
    Claim(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Claim(why)
    }
}

/// The devices of these claims, none of which has any yet; none if some of them cannot have what they ask for. `share`
/// makes up the identities of shares of devices that several may have.
///
/// # Errors
///
/// Something is wrong with a claim, with a class or with all that there is.
pub fn allocate(
    offer: &Offer<'_>,
    place: &Place<'_>,
    claims: &[Arc<ResourceClaim>],
    share: &mut dyn FnMut() -> String,
) -> Result<Option<Vec<AllocationResult>>, Failure> {
    let pools = offer.pools(place);
    let mut selectors = Selectors::default();
    let mut wanted = Vec::new();
    for claim in claims {
        wanted.push(request::read(claim, offer, place, &pools, &mut selectors)?);
    }
    let (taken, shared, counters) = offer.taken(&pools);
    let candidates = pools.iter().flat_map(|pool| pool.usable()).collect();
    let mut search = Search {
        place,
        claims,
        wanted: &wanted,
        candidates,
        selectors,
        taken,
        shared,
        counters,
        picks: vec![Vec::new(); claims.len()],
        chosen: HashMap::new(),
        steps: 0,
    };
    if search.fill(Point::default())? {
        return Ok(Some((0..claims.len()).map(|claim| search.result(claim, share)).collect()));
    }
    if pools.iter().any(|pool| pool.is_invalid) {
        return Err(Failure::Node("invalid resource pools were encountered".to_owned()));
    }
    Ok(None)
}

/// Where the search is: the nth device of an alternative of a request of a claim.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    claim: usize,
    request: usize,
    alternative: Option<usize>,
    nth: usize,
    from: usize,
}

/// A device that was chosen.
#[derive(Debug, Clone)]
struct Pick<'a> {
    candidate: Candidate<'a>,
    request: usize,
    alternative: usize,
    amounts: Option<Amounts>,
    /// Whether nobody had a part of the device before, so that it counts from here on.
    is_first: bool,
}

struct Search<'a> {
    place: &'a Place<'a>,
    claims: &'a [Arc<ResourceClaim>],
    wanted: &'a [Vec<Vec<Asked<'a>>>],
    candidates: Vec<Candidate<'a>>,
    selectors: Selectors,
    /// What nobody else may have.
    taken: HashSet<Id<'a>>,
    /// What is taken of what several may have.
    shared: HashMap<Id<'a>, Amounts>,
    counters: Counters<'a>,
    picks: Vec<Vec<Pick<'a>>>,
    chosen: HashMap<(usize, usize), usize>,
    steps: u32,
}

impl<'a> Search<'a> {
    /// Counts what is tried.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(format!("node {}: timed out trying to allocate devices", self.place.name));
        }
        Ok(())
    }

    fn fill(&mut self, at: Point) -> Result<bool, String> {
        self.step()?;
        let wanted = self.wanted;
        let Some(requests) = wanted.get(at.claim) else { return Ok(true) };
        let Some(alternatives) = requests.get(at.request) else {
            return self.fill(Point { claim: at.claim + 1, ..Point::default() });
        };
        let Some(alternative) = at.alternative else {
            for number in 0..alternatives.len() {
                if self.fill(Point { alternative: Some(number), ..at })? {
                    self.chosen.insert((at.claim, at.request), number);
                    return Ok(true);
                }
            }
            return Ok(false);
        };
        let asked = &alternatives[alternative];
        if asked.all && asked.count == 0 {
            return Ok(false);
        }
        if at.nth >= asked.count {
            let next = Point { claim: at.claim, request: at.request + 1, ..Point::default() };
            return self.fill(next);
        }
        if self.picks[at.claim].len() + asked.count - at.nth > RESULTS_MAX {
            return Ok(false);
        }
        if let Some(device) = asked.every.get(at.nth) {
            return self.attempt(*device, asked, at, at.from);
        }
        for index in at.from..self.candidates.len() {
            self.step()?;
            let device = self.candidates[index];
            if self.selectors.take(asked, &device, self.place)?
                && self.attempt(device, asked, at, index + 1)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a device and goes on; takes it back if that leads nowhere.
    fn attempt(
        &mut self,
        device: Candidate<'a>,
        asked: &'a Asked<'a>,
        at: Point,
        from: usize,
    ) -> Result<bool, String> {
        if !self.take(device, asked, at) {
            return Ok(false);
        }
        if self.fill(Point { nth: at.nth + 1, from, ..at })? {
            return Ok(true);
        }
        self.give_back(at.claim);
        Ok(false)
    }

    fn take(&mut self, device: Candidate<'a>, asked: &Asked<'_>, at: Point) -> bool {
        let id = device.id;
        let is_shared = device.is_shared();
        let is_own = || self.picks[at.claim].iter().any(|pick| pick.candidate.id == id);
        let blocked = if asked.admin { !is_shared && is_own() } else { self.taken.contains(&id) };
        if blocked || !asked.tolerates(device.device) || !self.keeps_constraints(&device, asked, at) {
            return false;
        }
        let before = self.shared.get(&id);
        let Some(amounts) = capacity::asked(device.device, asked.capacity, before) else { return false };
        let is_first = !(is_shared && before.is_some());
        if is_first && !self.counters.take(&device) {
            return false;
        }
        if is_shared {
            capacity::add(self.shared.entry(id).or_default(), &amounts, 1);
        } else if !asked.admin {
            self.taken.insert(id);
        }
        let amounts = is_shared.then_some(amounts);
        let alternative = at.alternative.unwrap_or_default();
        let request = at.request;
        self.picks[at.claim].push(Pick { candidate: device, request, alternative, amounts, is_first });
        true
    }

    fn give_back(&mut self, claim: usize) {
        let Some(pick) = self.picks[claim].pop() else { return };
        let id = pick.candidate.id;
        let admin = self.wanted[claim][pick.request][pick.alternative].admin;
        if let (Some(amounts), Some(shared)) = (&pick.amounts, self.shared.get_mut(&id)) {
            capacity::add(shared, amounts, -1);
        } else if !admin {
            self.taken.remove(&id);
        }
        // Picks are given back in the order opposite to that in which they were made: nobody has a part of it now.
        if pick.is_first {
            self.shared.remove(&id);
            self.counters.give_back(&pick.candidate);
        }
    }

    fn keeps_constraints(&self, device: &Candidate<'_>, asked: &Asked<'_>, at: Point) -> bool {
        let devices = self.claims[at.claim].spec.as_ref().and_then(|spec| spec.devices.as_ref());
        let constraints = devices.and_then(|devices| devices.constraints.as_deref()).unwrap_or_default();
        let concerns = |constraint: &DeviceConstraint, asked: &Asked<'_>| {
            let requests = constraint.requests.as_deref().unwrap_or_default();
            requests.is_empty() || requests.iter().any(|own| *own == asked.base || *own == asked.name)
        };
        constraints.iter().filter(|constraint| concerns(constraint, asked)).all(|constraint| {
            let name = constraint.match_attribute.as_ref().or(constraint.distinct_attribute.as_ref());
            let Some(own) = name.and_then(|name| attribute(device, name)) else { return false };
            let others = self.picks[at.claim]
                .iter()
                .filter(|pick| concerns(constraint, &self.wanted[at.claim][pick.request][pick.alternative]));
            let same = constraint.match_attribute.is_some();
            others.filter_map(|pick| attribute(&pick.candidate, name?)).all(|other| (other == own) == same)
        })
    }

    fn result(&self, claim: usize, share: &mut dyn FnMut() -> String) -> AllocationResult {
        let picks = &self.picks[claim];
        let results = picks.iter().map(|pick| {
            let asked = &self.wanted[claim][pick.request][pick.alternative];
            let device = pick.candidate.device;
            DeviceRequestAllocationResult {
                request: asked.name.clone(),
                driver: pick.candidate.id.driver.to_owned(),
                pool: pick.candidate.id.pool.to_owned(),
                device: pick.candidate.id.device.to_owned(),
                admin_access: asked.admin.then_some(true),
                tolerations: Some(asked.tolerations.to_vec()).filter(|list| !list.is_empty()),
                binding_conditions: device.binding_conditions.clone(),
                binding_failure_conditions: device.binding_failure_conditions.clone(),
                share_id: pick.amounts.as_ref().map(|_| share()),
                consumed_capacity: pick.amounts.as_ref().map(capacity::told).filter(|all| !all.is_empty()),
                ..DeviceRequestAllocationResult::default()
            }
        });
        let config = self.config(claim);
        AllocationResult {
            devices: Some(DeviceAllocationResult {
                results: Some(results.collect()),
                config: Some(config).filter(|config| !config.is_empty()),
            }),
            node_selector: reach(picks, self.place.name),
            allocation_timestamp: None,
        }
    }

    /// What the drivers are told: by the classes first, then by the claim.
    fn config(&self, claim: usize) -> Vec<DeviceAllocationConfiguration> {
        let mut config: Vec<DeviceAllocationConfiguration> = Vec::new();
        let mut classes: BTreeMap<String, std::ops::Range<usize>> = BTreeMap::new();
        let mut names: Vec<&str> = Vec::new();
        for (number, alternatives) in self.wanted[claim].iter().enumerate() {
            let chosen = self.chosen.get(&(claim, number)).copied().unwrap_or_default();
            let Some(asked) = alternatives.get(chosen) else { continue };
            names.extend([&*asked.base, &*asked.name]);
            if let Some(there) = classes.get(&asked.class.name_any()) {
                for own in &mut config[there.clone()] {
                    own.requests.get_or_insert_default().push(asked.name.clone());
                }
                continue;
            }
            let told = asked.class.spec.iter().flat_map(|spec| spec.config.iter().flatten());
            let start = config.len();
            config.extend(told.map(|own| DeviceAllocationConfiguration {
                source: "FromClass".to_owned(),
                requests: Some(vec![asked.name.clone()]),
                opaque: own.opaque.clone(),
            }));
            classes.insert(asked.class.name_any(), start..config.len());
        }
        let devices = self.claims[claim].spec.as_ref().and_then(|spec| spec.devices.as_ref());
        for own in devices.into_iter().flat_map(|devices| devices.config.iter().flatten()) {
            let requests = own.requests.as_deref().unwrap_or_default();
            if requests.is_empty() || requests.iter().any(|name| names.contains(&&**name)) {
                config.push(DeviceAllocationConfiguration {
                    source: "FromClaim".to_owned(),
                    requests: own.requests.clone(),
                    opaque: own.opaque.clone(),
                });
            }
        }
        config
    }
}

/// An attribute by its whole name; one of the driver's own domain may stand without it.
fn attribute<'a>(device: &Candidate<'a>, name: &str) -> Option<&'a DeviceAttribute> {
    let all = device.device.attributes.as_ref()?;
    all.get(name).or_else(|| {
        let (domain, name) = name.split_once('/')?;
        (domain == device.id.driver).then(|| all.get(name)).flatten()
    })
}

/// Which nodes can use what was chosen, where not all can.
fn reach(picks: &[Pick<'_>], node: &str) -> Option<NodeSelector> {
    let mut term = NodeSelectorTerm::default();
    for pick in picks {
        let (name, selector) = pick.candidate.place();
        if name.is_some() || pick.candidate.device.binds_to_node == Some(true) {
            let field = NodeSelectorRequirement {
                key: "metadata.name".to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![node.to_owned()]),
            };
            let term = NodeSelectorTerm { match_fields: Some(vec![field]), match_expressions: None };
            return Some(NodeSelector { node_selector_terms: vec![term] });
        }
        let Some(own) = selector.and_then(|selector| selector.node_selector_terms.first()) else { continue };
        for (into, from) in [
            (&mut term.match_fields, &own.match_fields),
            (&mut term.match_expressions, &own.match_expressions),
        ] {
            for requirement in from.iter().flatten() {
                let into = into.get_or_insert_default();
                if !into.contains(requirement) {
                    into.push(requirement.clone());
                }
            }
        }
    }
    let is_bound = term.match_fields.is_some() || term.match_expressions.is_some();
    is_bound.then(|| NodeSelector { node_selector_terms: vec![term] })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests;
