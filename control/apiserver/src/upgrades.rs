//! Connections that have ceased to speak HTTP (exec, attach, port-forward, logs over a WebSocket, what pods and other servers
//! upgrade): there may be so many at once, and so many of each user.
//!
//! They last as long as their clients like and are beyond the limits of requests. Whoever comes when there is no room is told
//! to come back, and before anything is begun; those that are there stay.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use http::header::UPGRADE;
use xebec_machinery::status::Status;

use crate::user::User;

/// When a client that finds no room may come back, in seconds.
const COME_BACK: u32 = 5;

/// The upgraded connections of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Upgrades {
    all: usize,
    each: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    users: HashMap<Box<str>, usize>,
}

/// A place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    held: Arc<Mutex<Held>>,
    user: Box<str>,
}

impl Upgrades {
    /// So many, of which so many may be one user's.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all, each, held: Arc::default() }
    }

    fn permit(&self, user: &str) -> Result<Permit, Status> {
        let refused = |whose: &str, limit: usize| {
            let why = format!(
                "too many upgraded connections (exec, attach, port-forward, proxy): {whose} may have {limit} at once; \
                 end some, or try again later"
            );
            Status::too_many_requests(why, COME_BACK)
        };
        let mut held = lock(&self.held);
        let own = held.users.get(user).copied().unwrap_or_default();
        if own >= self.each {
            return Err(refused(&format!("the user {user:?}"), self.each));
        }
        if held.all >= self.all {
            return Err(refused("all users together", self.all));
        }
        held.all += 1;
        held.users.insert(user.into(), own + 1);
        Ok(Permit { held: self.held.clone(), user: user.into() })
    }
}

/// A place for the connection of a request that asks for another protocol. Requests from within the process have none that
/// could be upgraded.
///
/// # Errors
///
/// There is no room.
pub(crate) fn permit<B>(request: &Request<B>, user: &User) -> Result<Option<Permit>, Status> {
    let upgrades = request.extensions().get::<Upgrades>().filter(|_| request.headers().contains_key(UPGRADE));
    upgrades.map(|upgrades| upgrades.permit(&user.name)).transpose()
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.all -= 1;
        if let Some(own) = held.users.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                held.users.remove(&self.user);
            }
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_has_a_share_and_all_have_what_there_is() {
        let upgrades = Upgrades::new(3, 2);
        let first = upgrades.permit("a").unwrap();
        let second = upgrades.permit("a").unwrap();
        let refused = upgrades.permit("a").unwrap_err();
        assert_eq!(refused.code(), 429);
        assert!(refused.message.contains("the user \"a\" may have 2 at once"), "{}", refused.message);
        let third = upgrades.permit("b").unwrap();
        let refused = upgrades.permit("c").unwrap_err();
        assert!(refused.message.contains("all users together may have 3"), "{}", refused.message);
        drop(first);
        let fourth = upgrades.permit("c").unwrap();
        drop((second, third, fourth));
        let held = lock(&upgrades.held);
        assert!(held.all == 0 && held.users.is_empty());
    }
}
