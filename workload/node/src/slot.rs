//! One container of a pod: begun, watched, and begun again as the pod's policy says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::environment::resolve;
use crate::event::Kind;
use crate::image::Found;
use crate::place::Place;
use crate::pod::Life;
use crate::state::{Phase, Progress};

/// The first and the longest pause before a container that ended is started again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// How long a container must run for its next end to count as the first.
const FORGIVE: Duration = Duration::from_secs(600);
/// The first and the longest pause before something that a container lacks is looked for again.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A pause that doubles each time.
#[derive(Debug)]
pub(crate) struct BackOff {
    range: (Duration, Duration),
    next: Duration,
}

impl BackOff {
    pub(crate) fn new(range: (Duration, Duration)) -> Self {
        Self { range, next: range.0 }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.range.0;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.range.1);
        pause
    }
}

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the others begin.
    Init,
    /// Begins before the others, runs beside them and ends after them.
    Sidecar,
    /// What the pod is for.
    Main,
    /// Joins the pod while it runs, for a look at it, and never begins again.
    Guest,
    /// Nothing that runs: an image whose files are a volume.
    Volume,
}

impl Role {
    pub(crate) fn of_init(container: &Container) -> Self {
        if container.restart_policy.as_deref() == Some("Always") { Self::Sidecar } else { Self::Init }
    }

    /// What the container's place in the pod is called in its name.
    pub(crate) fn place(self, at: usize) -> String {
        let kind = match self {
            Self::Main => "c",
            Self::Init | Self::Sidecar => "i",
            Self::Guest => "e",
            Self::Volume => "v",
        };
        format!("{kind}{at}")
    }
}

/// How a container ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl End {
    pub(crate) fn of(code: i32, signal: Option<i32>, out_of_memory: bool) -> Self {
        let reason = match (out_of_memory, code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        Self { code, signal, reason, message: String::new() }
    }
}

/// One container of a pod.
pub(crate) struct Slot {
    pub(crate) life: Arc<Life>,
    pub(crate) container: Container,
    /// It is to end, and not to begin again.
    pub(crate) stop: CancellationToken,
    role: Role,
    at: usize,
    up: CancellationToken,
    /// The image, where it was looked for before the container could begin.
    early: Mutex<Option<Found>>,
}

impl Slot {
    pub(crate) fn new(
        life: Arc<Life>,
        role: Role,
        at: usize,
        container: Container,
        stop: CancellationToken,
    ) -> Self {
        Self { life, container, stop, role, at, up: CancellationToken::new(), early: Mutex::default() }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn place_name(&self) -> String {
        self.role.place(self.at)
    }

    /// Cancelled once the container has come up for the first time.
    pub(crate) fn up(&self) -> CancellationToken {
        self.up.clone()
    }

    pub(crate) fn keep_image(&self, found: Found) {
        *self.early.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Progress)) {
        self.life.change(|state| {
            let list = match self.role {
                Role::Main => &mut state.containers,
                Role::Init | Role::Sidecar => &mut state.init,
                Role::Guest => &mut state.guests,
                Role::Volume => return,
            };
            if let Some(progress) = list.get_mut(self.at) {
                change(progress);
            }
        });
    }

    pub(crate) fn look<T: Default>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        self.life.look(|state| {
            let list = match self.role {
                Role::Main => &state.containers,
                Role::Init | Role::Sidecar => &state.init,
                Role::Guest => &state.guests,
                Role::Volume => return T::default(),
            };
            list.get(self.at).map(look).unwrap_or_default()
        })
    }

    pub(crate) fn waiting(&self, reason: &'static str, message: String) {
        self.change(|progress| progress.phase = Phase::Waiting { reason, message });
    }

    pub(crate) fn note(&self, kind: Kind, reason: &'static str, message: String) {
        let list = match self.role {
            Role::Main => "containers",
            Role::Init | Role::Sidecar => "initContainers",
            Role::Guest => "ephemeralContainers",
            Role::Volume => "volumes",
        };
        let field = format!("spec.{list}{{{}}}", self.container.name);
        self.life.note(Some(field), kind, reason, message);
    }

    /// The container has come up: what waits for it goes on.
    pub(crate) fn came_up(&self) {
        self.change(|progress| progress.started = true);
        self.up.cancel();
    }

    fn restarts(&self, code: i32) -> bool {
        if matches!(self.role, Role::Sidecar | Role::Guest | Role::Volume) {
            return self.role == Role::Sidecar;
        }
        let policy = self.life.spec().and_then(|spec| spec.restart_policy.as_deref());
        match policy.unwrap_or("Always") {
            "Never" => false,
            "OnFailure" => code != 0,
            _ => self.role == Role::Main || code != 0,
        }
    }

    /// Runs the container again and again as the pod's policy says. Tells whether its last end was a success.
    pub(crate) async fn run(&self, place: &Place) -> bool {
        let mut going = self.life.past.take(&self.place_name());
        if let (None, Some(was_good)) = (&going, self.ended_before()) {
            return was_good;
        }
        let mut back_off = BackOff::new(BACK_OFF);
        let mut is_first = self.look(|progress| progress.restarts) == 0;
        loop {
            let clock = Instant::now();
            let ran = match going.take() {
                Some((_, container)) => self.go_on(place, container).await,
                None => self.begin(place).await,
            };
            let end = match ran {
                Ok(Some(end)) => end,
                Ok(None) => return false,
                Err(error) => self.failed_to_start(&error),
            };
            let code = end.code;
            let phase = self.note_end(end);
            if self.stop.is_cancelled() || !self.restarts(code) {
                return code == 0;
            }
            if clock.elapsed() > FORGIVE {
                back_off.reset();
            }
            let pause = if std::mem::take(&mut is_first) { Duration::ZERO } else { back_off.pause() };
            if !pause.is_zero() {
                self.backs_off(pause, phase.clone());
            }
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = tokio::time::sleep(pause) => {}
            }
            self.again(phase);
        }
    }

    /// What came of the container before this process began, if that is its end. Otherwise it begins again.
    fn ended_before(&self) -> Option<bool> {
        let (code, phase) = self.look(|progress| match &progress.phase {
            Phase::Ended { code, .. } => Some((*code, progress.phase.clone())),
            _ => None,
        })?;
        let is_done = match self.role {
            Role::Init => code == 0 && self.life.past.is_whole,
            Role::Sidecar => false,
            Role::Main | Role::Guest | Role::Volume => !self.restarts(code),
        };
        if is_done {
            return Some(code == 0);
        }
        self.again(phase);
        None
    }

    fn note_end(&self, end: End) -> Phase {
        let began = self.look(|progress| match progress.phase {
            Phase::Running { since } => Some(since),
            _ => None,
        });
        let ended = Timestamp::now();
        let is_done = self.role == Role::Init && end.code == 0;
        let phase = Phase::Ended {
            code: end.code,
            signal: end.signal,
            reason: end.reason,
            message: end.message,
            began: began.unwrap_or(ended),
            ended,
        };
        self.change(|progress| {
            progress.ready = is_done;
            progress.started = false;
            progress.phase = phase.clone();
        });
        phase
    }

    fn failed_to_start(&self, error: &Error) -> End {
        let message = error.to_string();
        self.note(Kind::Warning, "Failed", format!("Error: {message}"));
        End { code: 128, signal: None, reason: "StartError", message }
    }

    fn backs_off(&self, pause: Duration, last: Phase) {
        let (life, name) = (&self.life, &self.container.name);
        let pod =
            format!("{}_{}({})", life.pod.name_any(), life.pod.namespace().unwrap_or_default(), life.uid());
        let message =
            format!("back-off {} restarting failed container={name} pod={pod}", crate::duration::go(pause));
        self.change(|progress| {
            progress.last = Some(last);
            progress.phase = Phase::Waiting { reason: "CrashLoopBackOff", message };
        });
        let message = format!("Back-off restarting failed container {name} in pod {pod}");
        self.note(Kind::Warning, "BackOff", message);
    }

    fn again(&self, last: Phase) {
        self.change(|progress| {
            progress.last = Some(last);
            progress.restarts = progress.restarts.saturating_add(1);
            progress.started = false;
            progress.ready = false;
        });
    }

    /// Begins the container as soon as it has what it needs, and lets it run to its end. Nothing when it is to end before
    /// it could begin.
    async fn begin(&self, place: &Place) -> Result<Option<End>, Error> {
        let mut back_off = BackOff::new(LOOK_AGAIN);
        loop {
            let early = self.early.lock().unwrap_or_else(PoisonError::into_inner).take();
            let found = match early {
                Some(found) => found,
                None => match self.image().await {
                    Some(found) => found,
                    None => return Ok(None),
                },
            };
            match self.once(place, &found).await {
                Err(error) if error.may_pass() => {
                    let message = error.to_string();
                    self.note(Kind::Warning, "Failed", format!("Error: {message}"));
                    self.waiting(error.reason(), message);
                }
                done => return done.map(Some),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(back_off.pause()) => {}
            }
        }
    }

    /// Runs the container once, to its end.
    async fn once(&self, place: &Place, found: &Found) -> Result<End, Error> {
        let life = &self.life;
        let env = resolve(life, &self.container, &place.address.to_string()).await?;
        tokio::fs::create_dir_all(&life.folder)
            .await
            .map_err(|source| Error::File { path: life.folder.clone(), source })?;
        if found.is_wasm() {
            self.component(place, found, env).await
        } else {
            self.process(place, found, env).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut back_off = BackOff::new(BACK_OFF);
        let pauses: Vec<u64> = (0..7).map(|_| back_off.pause().as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
        back_off.reset();
        assert_eq!(back_off.pause(), BACK_OFF.0);
    }
}
