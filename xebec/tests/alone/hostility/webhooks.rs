//! Webhooks that hang, lie, or answer rubbish, some of it without end.

use std::time::Duration;

use serde_json::json;

use super::Attack;
use super::arena::{Arena, refused};
use crate::hooks::{Answer, Hook, patched};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
/// How long the server waits for a webhook, in seconds.
const PATIENCE: u64 = 2;

/// What a webhook does that should not.
pub(super) struct Liar {
    name: &'static str,
    answer: fn() -> Answer,
    code: u16,
    words: &'static str,
    /// How many write at once.
    attackers: usize,
}

pub(super) const LIARS: [Liar; 7] = [
    Liar {
        name: "a webhook that hangs",
        answer: || Answer::Silence,
        code: 500,
        words: "context deadline exceeded",
        attackers: 32,
    },
    Liar {
        name: "a webhook that answers for another request",
        answer: || Answer::Response(json!({"uid": "another", "allowed": true})),
        code: 500,
        words: "received invalid webhook response: expected response.uid=",
        attackers: 4,
    },
    Liar {
        name: "a webhook that changes what it may not",
        answer: || patched(&json!([{"op": "replace", "path": "/metadata", "value": 7}])),
        code: 500,
        words: "Internal error occurred",
        attackers: 4,
    },
    Liar {
        name: "a webhook whose patch is none",
        answer: || patched(&json!({"op": "explode"})),
        code: 500,
        words: "Internal error occurred",
        attackers: 4,
    },
    Liar {
        name: "a webhook that answers rubbish",
        answer: || Answer::Bytes(b"\x00\xffrubbish\r\n\r\n".to_vec()),
        code: 500,
        words: "failed to call webhook",
        attackers: 4,
    },
    Liar {
        name: "a webhook whose answer never ends",
        answer: || {
            Answer::Endless(
                "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"response\": \"",
                "aaaaaaaaaaaaaaaa",
            )
        },
        code: 500,
        words: "failed to call webhook",
        attackers: 2,
    },
    Liar {
        name: "a webhook whose headers never end",
        answer: || Answer::Endless("HTTP/1.1 200 OK\r\n", "x-more: aaaaaaaaaaaaaaaa\r\n"),
        code: 500,
        words: "failed to call webhook",
        attackers: 2,
    },
];

/// Nobody is asked any more.
pub(super) async fn forget(arena: &Arena, liar: &Liar) {
    arena.remove(&format!("{CONFIGURATIONS}/{}", label(liar))).await;
}

fn label(liar: &Liar) -> String {
    format!("asks-{}", liar.name.replace(' ', "-"))
}

/// Many who write where the webhook is asked.
pub(super) async fn attack(arena: &Arena, liar: &Liar) -> Attack {
    let label = label(liar);
    let Liar { answer, code, words, .. } = *liar;
    let namespace = label.clone();
    let body = json!({"metadata": {"name": namespace, "labels": {&label: "yes"}}});
    arena.make("/api/v1/namespaces", body).await;
    let hook = Hook::start(move |_| answer()).await;
    let mut webhook = hook.webhook(&label);
    webhook["timeoutSeconds"] = PATIENCE.into();
    arena.make(CONFIGURATIONS, json!({"metadata": {"name": label}, "webhooks": [webhook]})).await;
    let (client, hook) = (arena.attacker.clone(), std::sync::Arc::new(hook));
    Attack::new(liar.name).by(liar.attackers, Duration::from_millis(100), move |_| {
        let (client, hook) = (client.clone(), hook.clone());
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        async move {
            let body = json!({"metadata": {"generateName": "a-"}}).to_string().into_bytes();
            refused(&client, &path, "application/json", body, code, words).await;
            // It answers for as long as it is asked.
            drop(hook);
        }
    })
}
