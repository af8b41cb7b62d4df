//! What the inventory's variables say of a machine that boots from the network. They are explained in
//! `roles/netboot/defaults.yml`.

use muster_inventory::{HostVars, Kind, Origin, SourceText, Value, VarsError};

use crate::config::System;
use crate::ipxe::Boot;
use crate::mac::Mac;
use crate::mistake::Mistake;
use crate::texts;

/// How the images of Flatcar are called where they are released.
const FLATCAR_KERNEL: &str = "images/flatcar_production_pxe.vmlinuz";
const FLATCAR_INITRD: &str = "images/flatcar_production_pxe_image.cpio.gz";

/// What is said of one machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name that the machine is to have.
    pub hostname: String,
    /// Its network cards, each with the place where it was written.
    pub cards: Vec<(Mac, Origin)>,
    /// Where the folder that is rendered is served, without a slash at the end.
    pub url: String,
    /// What it boots.
    pub boot: Boot,
    /// Keys that let in whoever logs in.
    pub keys: Vec<String>,
}

/// Why variables cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable cannot be resolved.
    #[error(transparent)]
    Vars(#[from] VarsError),
    /// A variable says what cannot be.
    #[error("{0}")]
    Wrong(Mistake),
    /// A variable is needed and not set.
    #[error("{variable} of {host} is not set: {why}")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// Whose.
        host: String,
        /// What it is needed for.
        why: &'static str,
    },
}

impl Settings {
    /// Reads which network cards a host has, and nothing else.
    ///
    /// # Errors
    /// What is written of them is wrong.
    pub fn cards_of(vars: &HostVars) -> Result<Vec<(Mac, Origin)>, SettingsError> {
        Reader { vars }.cards()
    }

    /// Reads the variables of a host.
    ///
    /// # Errors
    /// One of them is missing or wrong.
    pub fn read(vars: &HostVars, system: System) -> Result<Self, SettingsError> {
        let reader = Reader { vars };
        let url = reader.url("netboot_url")?.ok_or_else(|| {
            reader.missing(
                "netboot_url",
                "machines fetch what they boot with from there, such as http://192.0.2.1:8080",
            )
        })?;
        let url = url.trim_end_matches('/').to_owned();
        let hostname =
            reader.text("kube_override_hostname", hostname)?.unwrap_or_else(|| vars.name().to_owned());
        let image = |name: &'static str, usual: Option<&str>, why: &'static str| {
            let given = reader.text(name, place)?;
            let path = given.or_else(|| usual.map(str::to_owned)).ok_or_else(|| reader.missing(name, why))?;
            let complete = path.contains("://") || path.contains("${");
            Ok::<_, SettingsError>(if complete {
                path
            } else {
                format!("{url}/{}", path.trim_start_matches('/'))
            })
        };
        const LIVE: &str = "Fedora CoreOS has its version in the names of its files, such as \
                            images/fedora-coreos-42.20250609.3.0-live-kernel.x86_64";
        let boot = match system {
            System::Flatcar => Boot {
                kernel: image("netboot_kernel", Some(FLATCAR_KERNEL), "")?,
                initrd: image("netboot_initrd", Some(FLATCAR_INITRD), "")?,
                rootfs: None,
                arguments: reader.list("netboot_kernel_arguments", argument)?,
            },
            System::FedoraCoreOs => Boot {
                kernel: image("netboot_kernel", None, LIVE)?,
                initrd: image("netboot_initrd", None, LIVE)?,
                rootfs: Some(image("netboot_rootfs", None, LIVE)?),
                arguments: reader.list("netboot_kernel_arguments", argument)?,
            },
        };
        Ok(Self {
            hostname,
            cards: reader.cards()?,
            url,
            boot,
            keys: reader.list("netboot_ssh_authorized_keys", texts::ssh_key)?,
        })
    }
}

struct Reader<'a> {
    vars: &'a HostVars,
}

impl Reader<'_> {
    fn missing(&self, variable: &'static str, why: &'static str) -> SettingsError {
        SettingsError::Missing { variable, host: self.vars.name().to_owned(), why }
    }

    fn value(&self, name: &str) -> Result<Option<Value>, SettingsError> {
        let value = self.vars.get(name)?;
        Ok(value.filter(|value| {
            !matches!(value.kind, Kind::Null) && value.as_str().is_none_or(|text| !text.is_empty())
        }))
    }

    fn wrong(&self, name: &str, value: &Value, why: &str) -> SettingsError {
        SettingsError::Wrong(Mistake::new(&origin(value), format!("{name}: {why}")).of(self.vars.name()))
    }

    fn text(
        &self,
        name: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Result<Option<String>, SettingsError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let Some(text) = value.as_str() else { return Err(self.wrong(name, &value, "this is no text")) };
        rule(text).map_err(|why| self.wrong(name, &value, &why))?;
        Ok(Some(text.to_owned()))
    }

    fn url(&self, name: &str) -> Result<Option<String>, SettingsError> {
        self.text(name, texts::http_url)
    }

    fn list(&self, name: &str, rule: fn(&str) -> Result<(), String>) -> Result<Vec<String>, SettingsError> {
        let Some(value) = self.value(name)? else { return Ok(Vec::new()) };
        let one = std::slice::from_ref(&value);
        let mut texts = Vec::new();
        for item in value.as_list().unwrap_or(one) {
            let Some(text) = item.as_str() else {
                return Err(self.wrong(name, &value, "a list of texts was meant"));
            };
            rule(text)
                .map_err(|why| self.wrong(name, if item.origin.is_some() { item } else { &value }, &why))?;
            texts.push(text.to_owned());
        }
        Ok(texts)
    }

    /// The addresses of the machine's cards.
    fn cards(&self) -> Result<Vec<(Mac, Origin)>, SettingsError> {
        const NAME: &str = "mac_address";
        let Some(value) = self.value(NAME)? else { return Ok(Vec::new()) };
        let one = std::slice::from_ref(&value);
        let mut cards: Vec<(Mac, Origin)> = Vec::new();
        for item in value.as_list().unwrap_or(one) {
            let place = if item.origin.is_some() { item } else { &value };
            let text = match (&item.kind, item.as_str()) {
                (_, Some(text)) => text.to_owned(),
                // YAML 1.1 reads 52:54:00:12:34:56 as a number with the base 60.
                (Kind::Int(number), _) => base_60(*number),
                _ => return Err(self.wrong(NAME, place, "an address was meant, such as 52:54:00:12:34:56")),
            };
            for text in text.split(',') {
                let mac: Mac = text.parse().map_err(|why: String| self.wrong(NAME, place, &why))?;
                if cards.iter().any(|(known, _)| *known == mac) {
                    return Err(self.wrong(NAME, place, &format!("{mac} is here twice")));
                }
                cards.push((mac, origin(place)));
            }
        }
        Ok(cards)
    }
}

fn origin(value: &Value) -> Origin {
    value.origin.clone().unwrap_or_else(|| Origin::whole(&SourceText::secret("the inventory")))
}

/// A number in the digits in which YAML 1.1 read it.
fn base_60(mut number: i64) -> String {
    let mut parts = Vec::new();
    while number > 0 {
        parts.push(format!("{:02}", number % 60));
        number /= 60;
    }
    parts.reverse();
    parts.join(":")
}

/// A name that the kernel and DNS take (RFC 1123, section 2.1; hostname(7)).
pub(crate) fn hostname(text: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if text.len() <= 64 && text.split('.').all(label) {
        return Ok(());
    }
    Err(format!(
        "\"{text}\" is no name for a machine: names have letters, digits, - and dots, and at most 64 characters"
    ))
}

/// A URL, or a path below `netboot_url`.
fn place(text: &str) -> Result<(), String> {
    if text.contains("..") || text.contains(char::is_whitespace) {
        return Err(format!("\"{text}\" is neither a URL nor a path below netboot_url"));
    }
    Ok(())
}

/// One argument of a kernel, in a line of iPXE.
fn argument(text: &str) -> Result<(), String> {
    if text.is_empty()
        || text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '|' | '&' | '#'))
    {
        return Err(format!(
            "\"{text}\" is not one argument of a kernel, such as console=ttyS0; give each as an item of its own"
        ));
    }
    Ok(())
}
