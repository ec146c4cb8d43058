//! Settings of the kernel's network (sysctl(8)), of the network namespace of the thread that asks.

use std::fs;
use std::io;

use crate::Error;

/// Makes a setting, and tells whether it was another one before.
pub(crate) fn set(name: &str, value: &str) -> Result<bool, Error> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let put = || -> io::Result<bool> {
        // One that is as it should be may be where nothing can be written.
        if fs::read_to_string(&path)?.trim() == value {
            return Ok(false);
        }
        fs::write(&path, value)?;
        Ok(true)
    };
    put().map_err(|source| Error::Setting { setting: format!("{name}={value}"), source })
}
