//! A host that is named more than once. Ansible merges its variables in silence, and the last value counts. Where the values
//! say which machine the host is, two machines have been given one name, and one of them would be lost.

use crate::error::InventoryError;
use crate::inventory::{HostId, Inventory};
use crate::value::{Kind, Value};

impl Inventory {
    /// Sets a variable of a host, which an earlier line may have set already.
    pub(crate) fn set_host_var(&mut self, host: HostId, name: &str, value: Value) {
        if let Some(first) = self.hosts[host].vars.insert(name.to_owned(), value.clone()) {
            self.compare(host, name, &first, &value);
        }
    }

    /// Notes what is to be said of two values for one variable of a host.
    pub(crate) fn compare(&mut self, host: HostId, name: &str, first: &Value, second: &Value) {
        let (Some(before), Some(here)) = (&first.origin, &second.origin) else { return };
        let text = |value: &Value| match &value.kind {
            Kind::Str(text) | Kind::Raw(text) => text.clone(),
            _ => value.to_json().to_string(),
        };
        let tells_machines_apart = self.rules.tells_machines_apart(name);
        // A port is a number or a text, and names of machines are the same in capitals.
        let is_same = text(first) == text(second)
            || tells_machines_apart && text(first).eq_ignore_ascii_case(&text(second));
        if is_same {
            return;
        }
        let host = &self.hosts[host].name;
        // What an expression comes to is not known yet.
        let is_known = ![first, second].iter().any(|value| text(value).contains("{{"));
        match (before.file() == here.file(), tells_machines_apart) {
            (true, true) if is_known => {
                let message = format!(
                    "two machines are called {host}: its {name} is {} here and {} in line {}; \
                     give one of them a name of its own, or remove the value that is wrong",
                    text(second),
                    text(first),
                    before.line(),
                );
                self.two_machines.push(InventoryError::syntax(here.clone(), message));
            }
            (_, true) => {
                let message = format!(
                    "{name} of {host} is {} here, which counts, and {} in {before}: is it the same machine?",
                    text(second),
                    text(first),
                );
                self.warn(message, Some(here.clone()));
            }
            // The values may be secrets.
            (true, false) => {
                let line = before.line();
                let message =
                    format!("{name} of {host} is given a second time; the value of line {line} is lost");
                self.warn(message, Some(here.clone()));
            }
            // So one file overrides another one.
            (false, false) => {}
        }
    }
}
