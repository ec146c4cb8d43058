//! What the server says of itself at `/version`.

use serde_json::{Value, json};

/// The version that clients are told: whose behaviour this follows.
const GIT_VERSION: &str = concat!("v1.36.0+xebec.", env!("CARGO_PKG_VERSION"));

/// The machine's architecture, by the name that Go has for it.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// The answer to `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{ARCHITECTURE}"),
    })
}
