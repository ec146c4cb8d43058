//! What a file of bytes is, and how the world enters the component in it.

use std::fmt;

use wasmtime::{Engine, component::Component};

use crate::Error;

/// How a component is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// It answers HTTP requests: `wasi:http/incoming-handler@0.2`.
    Http02,
    /// It answers HTTP requests: `wasi:http/handler@0.3`.
    Http03,
    /// It runs to its end: `wasi:cli/run@0.2`.
    Command02,
    /// It runs to its end: `wasi:cli/run@0.3`.
    Command03,
}

impl Kind {
    /// Whether the component answers HTTP requests.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http02 | Self::Http03)
    }

    /// Whether the component runs to its end.
    pub fn is_command(self) -> bool {
        matches!(self, Self::Command02 | Self::Command03)
    }

    /// Reads the kind off the component's exports. A service wins over a command, and 0.3 over 0.2, since a component
    /// that offers both was built to be served by hosts of either age.
    pub(crate) fn of(component: &Component, engine: &Engine, digest: &str) -> Result<Self, Error> {
        let component_type = component.component_type();
        let names: Vec<&str> = component_type.exports(engine).map(|(name, _)| name).collect();
        let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        [
            ("wasi:http/handler@0.3.", Self::Http03),
            ("wasi:http/incoming-handler@0.2.", Self::Http02),
            ("wasi:cli/run@0.3.", Self::Command03),
            ("wasi:cli/run@0.2.", Self::Command02),
        ]
        .into_iter()
        .find_map(|(prefix, kind)| has(prefix).then_some(kind))
        .ok_or_else(|| Error::NoEntry {
            digest: digest.to_owned(),
            exports: if names.is_empty() { "nothing".to_owned() } else { names.join(", ") },
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http02 => "an HTTP service (wasi:http 0.2)",
            Self::Http03 => "an HTTP service (wasi:http 0.3)",
            Self::Command02 => "a command (wasi:cli 0.2)",
            Self::Command03 => "a command (wasi:cli 0.3)",
        })
    }
}

const MAGIC: &[u8] = b"\0asm";
/// Version and layer fields of the binary format's preamble (Component Model, Binary.md).
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

/// Looks at the first eight bytes alone, so that the commonest mistakes get their own words.
pub(crate) fn check_preamble(bytes: &[u8], digest: &str) -> Result<(), Error> {
    let not_wasm = |found: &str| Error::NotWasm { digest: digest.to_owned(), found: found.to_owned() };
    let Some((magic, rest)) = bytes.split_at_checked(MAGIC.len()) else {
        return Err(not_wasm(if bytes.is_empty() {
            "it is empty"
        } else {
            "it is cut off in its first bytes"
        }));
    };
    if magic != MAGIC {
        return Err(not_wasm(match magic {
            b"\x7fELF" => "it is a native program",
            [b'(', ..] | [b';', b';', ..] => "it is WebAssembly's text form, which must be assembled first",
            [0x1f, 0x8b, ..] => "it is a gzip archive",
            [b'#', b'!', ..] => "it is a script",
            [b'{', ..] => "it is JSON, perhaps the manifest in place of its layer",
            _ => "its first bytes are not \\0asm",
        }));
    }
    match rest.first_chunk::<4>() {
        Some(&COMPONENT) => Ok(()),
        Some(&CORE_MODULE) => Err(Error::CoreModule { digest: digest.to_owned() }),
        Some(version) => Err(Error::Malformed {
            digest: digest.to_owned(),
            reason: format!("unknown version {version:02x?} in its preamble"),
        }),
        None => Err(not_wasm("it is cut off in its first bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        check_preamble(bytes, "sha256:00").unwrap_err().to_string()
    }

    #[test]
    fn a_components_preamble_passes() {
        check_preamble(b"\0asm\x0d\0\x01\0", "sha256:00").unwrap();
    }

    #[test]
    fn a_core_module_is_told_from_a_component() {
        assert!(refusal(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
    }

    #[test]
    fn each_common_mistake_has_its_own_words() {
        for (bytes, words) in [
            (&b""[..], "empty"),
            (b"\0as", "cut off"),
            (b"\0asm\x0d", "cut off"),
            (b"\0asm\x02\0\0\0", "unknown version"),
            (b"\x7fELF\x02\x01\x01\0", "native program"),
            (b"(component)", "text form"),
            (b"#!/bin/sh\n", "script"),
            (b"{\"schemaVersion\":2}", "JSON"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        ] {
            assert!(refusal(bytes).contains(words), "{}", refusal(bytes));
        }
    }
}
