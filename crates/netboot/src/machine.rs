//! What one machine gets beside what the configuration says of all: its name, whoever logs in, and its host key.

use muster_inventory::Origin;
use serde_json::{Map, Value, json};

use crate::config::{Config, System};
use crate::host_key::HostKey;
use crate::local_files::data_url;
use crate::mistake::{Mistake, Mistakes};

/// Where sshd(8) looks for the host key that it is told of.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
/// Says so to sshd. Only this key is shown: others would be new at each boot.
const SSHD: &str = "/etc/ssh/sshd_config.d/10-muster-host-key.conf";

/// A machine of the inventory.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name in the inventory.
    pub name: String,
    /// The name that it is to have.
    pub hostname: String,
    /// Who logs in to it.
    pub user: String,
    /// Public keys that let that user in, beside those of the configuration.
    pub keys: Vec<String>,
    /// Its host key, where the project has an authority.
    pub host_key: Option<HostKey>,
}

/// Whether a configuration that was rendered has this host name, and this host certificate where there is one. Who may log in is
/// not looked at: that depends on whose keys were there when it was rendered.
pub fn is_of(ignition: &str, hostname: &str, certificate: Option<&str>) -> bool {
    let has = |text: &str| ignition.contains(&data_url(format!("{text}\n").as_bytes()));
    has(hostname) && certificate.is_none_or(has)
}

impl Config {
    /// The configuration of one machine, as Ignition reads it.
    ///
    /// # Errors
    /// The configuration says something else of what is this machine's own, or nobody could log in.
    pub fn for_machine(&self, machine: &Machine) -> Result<String, Mistakes> {
        let mut found = Vec::new();
        let mut ignition = self.ignition.clone();
        let mut files = vec![("/etc/hostname".to_owned(), 0o644, format!("{}\n", machine.hostname))];
        if let Some(key) = &machine.host_key {
            let sshd = format!("HostKey {HOST_KEY}\nHostCertificate {HOST_KEY}-cert.pub\n");
            files.push((HOST_KEY.to_owned(), 0o600, key.private.clone()));
            files.push((format!("{HOST_KEY}.pub"), 0o644, format!("{}\n", key.public)));
            files.push((format!("{HOST_KEY}-cert.pub"), 0o644, format!("{}\n", key.certificate)));
            files.push((SSHD.to_owned(), 0o600, sshd));
        }
        for (path, mode, text) in files {
            match self.origin_of_path(&path) {
                Some(origin) => {
                    let message = format!(
                        "muster writes {path} itself, for each machine another one; leave it, and what is above it, out of the \
                         configuration"
                    );
                    found.push(Mistake::new(&origin, message));
                }
                None => self.add_file(&mut ignition, &path, mode, &text),
            }
        }
        if let Err(mistake) = self.let_in(&mut ignition, machine) {
            found.push(mistake);
        }
        Mistakes::none_of(found)?;
        Ok(format!("{:#}\n", in_order(ignition)))
    }

    fn is_old(&self) -> bool {
        self.ignition["ignition"]["version"].as_str().is_some_and(|version| version.starts_with("2."))
    }

    fn add_file(&self, ignition: &mut Value, path: &str, mode: u32, text: &str) {
        let mut contents = json!({ "source": data_url(text.as_bytes()) });
        let mut file = Map::new();
        if self.is_old() {
            file.insert("filesystem".to_owned(), json!("root"));
        } else {
            // What the image has there gives way; the old format overwrites unless it is told not to.
            file.insert("overwrite".to_owned(), json!(true));
            contents["compression"] = json!("");
        }
        file.insert("path".to_owned(), json!(path));
        file.insert("mode".to_owned(), json!(mode));
        file.insert("contents".to_owned(), contents);
        push(&mut ignition["storage"]["files"], Value::Object(file));
    }

    /// Makes sure that whoever logs in can.
    fn let_in(&self, ignition: &mut Value, machine: &Machine) -> Result<(), Mistake> {
        let Machine { name, user, keys, .. } = machine;
        let written =
            self.whole.list(&["passwd", "users"]).iter().find(|item| item.text("name") == Some(user));
        let origin = written.map_or_else(|| Origin::whole(&self.source), |item| item.origin.clone());
        let users = &mut ignition["passwd"]["users"];
        let at =
            users.as_array().and_then(|users| users.iter().position(|known| known["name"] == json!(user)));
        let at = match at {
            Some(at) => at,
            None => {
                let mut new = json!({ "name": user });
                // The images' own accounts are what they are. Others become root by the group that may in both systems.
                if !matches!(user.as_str(), "core" | "root") {
                    new["groups"] = json!(["sudo"]);
                }
                push(users, new)
            }
        };
        let account = &mut users[at];
        if account["shouldExist"] == json!(false) {
            let message = format!("the inventory logs in as {user}, and this takes {user} away");
            return Err(Mistake::new(&origin, message).of(name));
        }
        let all = &mut account["sshAuthorizedKeys"];
        for key in keys {
            let known = all.as_array().into_iter().flatten().filter_map(Value::as_str);
            if !known.map(without_comment).any(|known| known == without_comment(key)) {
                push(all, json!(key));
            }
        }
        let has_key = all.as_array().is_some_and(|keys| !keys.is_empty());
        if all.is_null()
            && let Value::Object(account) = account
        {
            account.remove("sshAuthorizedKeys");
        }
        if !has_key && users[at]["passwordHash"].as_str().is_none_or(str::is_empty) {
            let message = format!(
                "nobody could log in as {user}: neither the configuration nor netboot_ssh_authorized_keys has a key for \
                 that user, and no public key lies beside the private one that muster logs in with (ssh-keygen -y -f KEY \
                 >KEY.pub makes it)"
            );
            return Err(Mistake::new(&origin, message).of(name));
        }
        Ok(())
    }
}

/// Appends to a list that may not be there yet; says where.
fn push(list: &mut Value, item: Value) -> usize {
    if let Value::Array(items) = list {
        items.push(item);
        items.len() - 1
    } else {
        *list = json!([item]);
        0
    }
}

/// A key without what stands behind it, which does not matter for who is let in.
fn without_comment(key: &str) -> &str {
    let kind = key.find("ssh-").or_else(|| key.find("ecdsa-")).or_else(|| key.find("sk-")).unwrap_or(0);
    let mut words = key[kind..].split_inclusive(' ');
    let length: usize = words.by_ref().take(2).map(str::len).sum();
    key[..kind + length].trim_end()
}

/// The sections in the order in which people look for them.
fn in_order(mut ignition: Value) -> Value {
    let Value::Object(config) = &mut ignition else { return ignition };
    let mut ordered = Map::new();
    for section in ["ignition", "passwd", "storage", "systemd", "networkd"] {
        ordered.extend(config.shift_remove(section).map(|value| (section.to_owned(), value)));
    }
    ordered.extend(std::mem::take(config));
    Value::Object(ordered)
}

/// What the kernel is told besides where its configuration is.
pub(crate) fn kernel_arguments(system: System) -> &'static [&'static str] {
    match system {
        // Fedora CoreOS documentation, "Running Fedora CoreOS directly from RAM".
        System::FedoraCoreOs => &["ignition.firstboot", "ignition.platform.id=metal"],
        // Flatcar documentation, "Booting Flatcar Container Linux via iPXE".
        System::Flatcar => &["flatcar.first_boot=1"],
    }
}
