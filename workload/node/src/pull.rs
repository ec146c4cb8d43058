//! Images on their way to this machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use xebec_oci::client::{Client as Puller, ClientOptions};
use xebec_oci::image::Platform;

use crate::Error;
use crate::credentials::Keyring;
use crate::duration::go;
use crate::event::Kind;
use crate::image::{Found, Policy, Wanted};
use crate::slot::{BackOff, Slot};

/// The first and the longest pause before an image is pulled again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// How long a failure is shown before it is shown as being waited for.
const SHOWN: Duration = Duration::from_secs(1);
/// How often the store is looked at for an image that somebody may load.
const GLANCE: Duration = Duration::from_secs(2);

/// The pulls under way: of one image one at a time, so that the second finds what the first brought.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Pulls {
    fn of(&self, image: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, pull| pull.strong_count() > 0);
        if let Some(pull) = pulls.get(image).and_then(Weak::upgrade) {
            return pull;
        }
        let pull = Arc::new(tokio::sync::Mutex::new(()));
        pulls.insert(image.to_owned(), Arc::downgrade(&pull));
        pull
    }
}

impl Slot {
    /// The container's image, as soon as it is here. Nothing when the container is to end first.
    pub(crate) async fn image(&self) -> Option<Found> {
        let mut back_off = BackOff::new(BACK_OFF);
        let image = self.container.image.clone().unwrap_or_default();
        loop {
            let tried = tokio::select! {
                () = self.stop.cancelled() => return None,
                tried = self.try_image(&image) => tried,
            };
            let error = match tried {
                Ok((wanted, found)) => {
                    self.change(|progress| {
                        progress.image = wanted.normal();
                        progress.image_id.clone_from(&found.id);
                    });
                    return Some(found);
                }
                Err(error) => error,
            };
            let reason = error.reason();
            self.note(Kind::Warning, "Failed", format!("Error: {reason}"));
            self.waiting(reason, error.to_string());
            let pause = back_off.pause();
            let shown = if reason == "ErrImagePull" { SHOWN } else { pause };
            if let Some(found) = self.glance(&image, shown).await? {
                return Some(found);
            }
            if reason == "ErrImagePull" {
                let waits = format!("Back-off pulling image {image:?}");
                self.note(Kind::Normal, "BackOff", waits.clone());
                self.note(Kind::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
                self.waiting("ImagePullBackOff", format!("{waits}: {reason}: {error}"));
                if let Some(found) = self.glance(&image, pause.saturating_sub(SHOWN)).await? {
                    return Some(found);
                }
            }
        }
    }

    /// Waits, with an eye on the store: what somebody loads there need not be pulled. The inner nothing means that the
    /// time is over, the outer that the container is to end.
    async fn glance(&self, image: &str, pause: Duration) -> Option<Option<Found>> {
        let until = tokio::time::Instant::now() + pause;
        loop {
            let next = until.min(tokio::time::Instant::now() + GLANCE);
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep_until(next) => {}
            }
            let wanted = Wanted::parse(image, self.life.node.options.registry).ok();
            let policy =
                wanted.as_ref().map(|own| Policy::of(self.container.image_pull_policy.as_deref(), own));
            let found = match (wanted, policy) {
                (Some(wanted), Some(policy)) => {
                    self.local(wanted, policy == Policy::Always).await.ok().flatten()
                }
                _ => None,
            };
            if let Some((wanted, found)) = found {
                self.present(&wanted);
                self.change(|progress| progress.image_id.clone_from(&found.id));
                return Some(Some(found));
            }
            if tokio::time::Instant::now() >= until {
                return Some(None);
            }
        }
    }

    async fn local(&self, wanted: Wanted, fresh: bool) -> Result<Option<(Wanted, Found)>, Error> {
        let store = self.life.node.options.store.clone();
        tokio::task::spawn_blocking(move || {
            let found = wanted.find(&store, fresh)?;
            Ok(found.map(|found| (wanted, found)))
        })
        .await?
    }

    fn present(&self, wanted: &Wanted) {
        let message = format!("Container image {:?} already present on machine", wanted.text);
        self.note(Kind::Normal, "Pulled", message);
    }

    /// The image, if it is here or can be brought at once.
    pub(crate) async fn try_image(&self, image: &str) -> Result<(Wanted, Found), Error> {
        let wanted = Wanted::parse(image, self.life.node.options.registry).inspect_err(|error| {
            self.note(Kind::Warning, "InspectFailed", error.to_string());
        })?;
        let policy = Policy::of(self.container.image_pull_policy.as_deref(), &wanted);
        let fresh = policy == Policy::Always;
        if let Some(found) = self.local(wanted.clone(), fresh).await? {
            self.present(&found.0);
            return Ok(found);
        }
        if policy == Policy::Never {
            let error = Error::ImageAbsent { image: image.to_owned() };
            self.note(Kind::Warning, "ErrImageNeverPull", error.to_string());
            return Err(error);
        }
        let begun = Instant::now();
        self.note(Kind::Normal, "Pulling", format!("Pulling image {image:?}"));
        let pull = self.life.node.pulls.of(&wanted.normal());
        let pulling = async {
            let _alone = pull.lock().await;
            let alone = Instant::now();
            // Another container may have brought it.
            if let (false, Some((_, found))) = (fresh, self.local(wanted.clone(), fresh).await?) {
                return Ok((found, alone));
            }
            self.pull(&wanted).await.map(|found| (found, alone))
        };
        match pulling.await {
            Ok((found, alone)) => {
                let (took, whole) = (go(alone.elapsed()), go(begun.elapsed()));
                let size = found.size();
                let message = format!(
                    "Successfully pulled image {image:?} in {took} ({whole} including waiting). Image size: {size} bytes."
                );
                self.note(Kind::Normal, "Pulled", message);
                Ok((wanted, found))
            }
            Err(error) => {
                let message = error.to_string().replacen("failed", "Failed", 1);
                self.note(Kind::Warning, "Failed", message);
                Err(error)
            }
        }
    }

    async fn pull(&self, wanted: &Wanted) -> Result<Found, Error> {
        let refused =
            |error: xebec_oci::Error| Error::Image { image: wanted.text.clone(), detail: error.to_string() };
        if !wanted.has_remote() {
            return Err(Error::Image {
                image: wanted.text.clone(),
                detail: "not found in the built-in registry: push or load it there, or correct its name"
                    .to_owned(),
            });
        }
        let options = &self.life.node.options;
        let (from, kept) = (&wanted.reference, wanted.kept()?);
        let mut last = None;
        for credentials in self.keyring().await.find(&from.registry, from.name.as_str()) {
            let puller = Puller::new(ClientOptions { credentials, ..options.registries.clone() });
            let tag = from.tag.clone().filter(|_| from.digest.is_none());
            let tag = match from.selector() {
                xebec_oci::Selector::Tag(selected) => tag.or(Some(selected)),
                xebec_oci::Selector::Digest(_) => None,
            };
            let pulled =
                puller.pull(from, &options.store, &kept, tag.as_ref(), Some(&Platform::host())).await;
            match pulled {
                Ok(_) => {
                    let (store, wanted, kept) = (options.store.clone(), wanted.clone(), kept.clone());
                    let found = tokio::task::spawn_blocking(move || wanted.look(&store, &kept)).await??;
                    return found.ok_or_else(|| {
                        refused(xebec_oci::Error::ManifestUnknown { selector: from.selector().to_string() })
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(
            || Error::Image { image: wanted.text.clone(), detail: "nobody to be".to_owned() },
            refused,
        ))
    }

    /// What the pod's pull secrets say.
    async fn keyring(&self) -> Keyring {
        let life = &self.life;
        let secrets: Api<Secret> =
            Api::namespaced(life.node.client.clone(), &life.pod.namespace().unwrap_or_default());
        let mut keyring = Keyring::default();
        let mut missing = Vec::new();
        for named in life.spec().iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
            match secrets.get_opt(&named.name).await {
                Ok(Some(secret)) => {
                    let data = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect();
                    keyring.add(secret.type_.as_deref().unwrap_or_default(), &data);
                }
                _ => missing.push(named.name.clone()),
            }
        }
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            life.note(None, Kind::Warning, "FailedToRetrieveImagePullSecret", message);
        }
        keyring
    }
}
