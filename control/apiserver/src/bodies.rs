//! Room for the bodies of requests. A small one is read as it comes; for a larger one room is taken first, of which there
//! is so much for all and so much for each user.
//!
//! A body is not waited for in a seat (see [`crate::fairness`]), since whoever is slow to send would keep it from others. So
//! seats do not bound how many bodies are held; this does.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most bytes of a body that are held without asking for room.
pub(crate) const SMALL: usize = 64 << 10;
/// How many bytes of larger bodies may be held, and how many of those may be one user's.
const ALL: usize = 64 << 20;
const EACH: usize = 16 << 20;

/// The larger bodies that are held.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    users: HashMap<Box<str>, usize>,
}

/// Room that was taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    bodies: Arc<Bodies>,
    user: Box<str>,
    bytes: usize,
}

impl Bodies {
    /// Takes room for so many bytes of a user's, once there is any.
    pub(crate) async fn room(self: &Arc<Self>, user: &str, bytes: usize) -> Room {
        loop {
            let mut freed = pin!(self.freed.notified());
            // Whatever is freed from here on is heard of.
            freed.as_mut().enable();
            if self.lock().take(user, bytes) {
                return Room { bodies: self.clone(), user: user.into(), bytes };
            }
            freed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn take(&mut self, user: &str, bytes: usize) -> bool {
        let own = self.users.get(user).copied().unwrap_or_default();
        if self.all + bytes > ALL || own + bytes > EACH {
            return false;
        }
        self.all += bytes;
        self.users.insert(user.into(), own + bytes);
        true
    }

    fn give_back(&mut self, user: &str, bytes: usize) {
        self.all -= bytes;
        if let Some(own) = self.users.get_mut(user) {
            *own -= bytes;
            if *own == 0 {
                self.users.remove(user);
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.lock().give_back(&self.user, self.bytes);
        self.bodies.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_user_takes_a_share_and_all_of_them_no_more_than_there_is() {
        let bodies = Arc::new(Bodies::default());
        let now = |user: String| {
            let bodies = bodies.clone();
            async move { tokio::time::timeout(Duration::from_millis(10), bodies.room(&user, EACH)).await.ok() }
        };
        let first = now("a".into()).await.unwrap();
        assert!(now("a".into()).await.is_none(), "a has its share");
        let mut others = Vec::new();
        for user in 1..ALL / EACH {
            others.push(now(user.to_string()).await.unwrap());
        }
        assert!(now("z".into()).await.is_none(), "there is no more");
        let waiting = tokio::spawn({
            let bodies = bodies.clone();
            async move { bodies.room("z", 1).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        drop(waiting.await.unwrap());
        drop(others);
        assert!(bodies.lock().users.is_empty() && bodies.lock().all == 0);
    }
}
