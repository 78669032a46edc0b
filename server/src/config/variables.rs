//! Settings from the environment: `MILLPOND_` and the name in upper case, `_` for `-`.

use super::{Given, Source};
use commands::settings::table::{SETTINGS, Setting};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const PREFIX: &str = "MILLPOND_";

/// Values given by variables with our prefix; one that names no setting is an error.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<Given>, String> {
    let mut given = Vec::new();
    for (variable, text) in variables {
        if !variable.as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let variable = variable.to_string_lossy().into_owned();
        if is_service_link(&variable, text.as_bytes()) {
            continue;
        }
        let named = |row: &&Setting| row.variables().any(|known| known == variable);
        let Some(row) = SETTINGS.iter().find(named) else {
            return Err(format!("variable {variable}: there is no such setting"));
        };
        given.push(Given { row, text: text.into_vec(), source: Source::Variable(variable) });
    }
    Ok(given)
}

/// Whether this is one of the variables that Kubernetes and Docker links put into a container's environment when a
/// service is called `millpond`: nobody meant them as settings.
fn is_service_link(variable: &str, text: &[u8]) -> bool {
    let Some(name) = variable.strip_prefix(PREFIX) else { return false };
    name.starts_with("SERVICE_")
        || name.starts_with("PORT_")
        || name == "PORT" && text.windows(3).any(|window| window == b"://")
}
