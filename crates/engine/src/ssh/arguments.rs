//! What users write in `ansible_ssh_common_args` and the like: arguments for OpenSSH's ssh(1), of which those count that
//! say where and how to log in. Those that only tune a process of ssh (multiplexing, keepalives, verbosity) are passed
//! over; those that we cannot honour are handed back, to be told to the user.

use std::path::{Path, PathBuf};

use super::known_hosts::HostKeyPolicy;
use super::target::Target;

/// What arguments of ssh say about a machine.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) identities_only: bool,
    pub(super) host_key_alias: Option<String>,
    pub(super) host_key_policy: Option<HostKeyPolicy>,
    pub(super) jumps: Option<Vec<Hop>>,
    /// What is not honoured, as written.
    pub(super) ignored: Vec<String>,
    forgetful: bool,
    /// Words that are not options: in a `ProxyCommand` the jump host.
    words: Vec<String>,
    /// `-W host:port`: forward standard input and output.
    forward: Option<String>,
}

/// A jump host, as far as it was described.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hop {
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) host_key_policy: Option<HostKeyPolicy>,
}

/// Options of ssh(1) that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
/// Options of ssh_config(5) that change nothing about where and how we log in.
const WITHOUT_EFFECT: &[&str] = &[
    "addkeystoagent",
    "addressfamily",
    "batchmode",
    "checkhostip",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "forwardx11",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "hashknownhosts",
    "ipqos",
    "kbdinteractiveauthentication",
    "loglevel",
    "numberofpasswordprompts",
    "passwordauthentication",
    "preferredauthentications",
    "pubkeyauthentication",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "tcpkeepalive",
    "updatehostkeys",
    "verifyhostkeydns",
    "visualhostkey",
];

impl Arguments {
    /// Reads arguments, split into words already. `home` stands for `~`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn read(words: &[String], home: Option<&Path>) -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(mut letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                arguments.words.push(word.clone());
                continue;
            };
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                if WITH_VALUE.contains(letter) {
                    let value = match letters {
                        "" => words.next().ok_or_else(|| format!("-{letter} lacks its value"))?,
                        value => value,
                    };
                    arguments.option(letter, value, home)?;
                    break;
                }
            }
        }
        if arguments.forgetful && arguments.host_key_policy == Some(HostKeyPolicy::AcceptNew) {
            arguments.host_key_policy = Some(HostKeyPolicy::Off);
        }
        Ok(arguments)
    }

    fn option(&mut self, letter: char, value: &str, home: Option<&Path>) -> Result<(), String> {
        match letter {
            'o' => {
                let (key, value) =
                    value.split_once(['=', ' ']).ok_or_else(|| format!("-o {value} lacks its value"))?;
                return self.setting(
                    key,
                    value.trim_start_matches([' ', '=']).trim_end().trim_matches('"'),
                    home,
                );
            }
            'J' => return self.setting("ProxyJump", value, home),
            'i' => self.identity_files.push(expand(value, home)?),
            'l' => self.user = Some(value.to_owned()),
            'p' => self.port = Some(port(value)?),
            'W' => self.forward = Some(value.to_owned()),
            'F' if value == "/dev/null" || value == "none" => {}
            'F' => self.ignored.push(format!("-F {value}")),
            // Logging, ciphers, forwarding: nothing to log in with.
            _ => {}
        }
        Ok(())
    }

    fn setting(&mut self, key: &str, value: &str, home: Option<&Path>) -> Result<(), String> {
        match key.to_ascii_lowercase().as_str() {
            "user" => self.user = Some(value.to_owned()),
            "port" => self.port = Some(port(value)?),
            "identityfile" => self.identity_files.push(expand(value, home)?),
            "identitiesonly" => self.identities_only = value.eq_ignore_ascii_case("yes"),
            "hostkeyalias" => self.host_key_alias = Some(value.to_owned()),
            "stricthostkeychecking" => {
                self.host_key_policy = Some(match value.to_ascii_lowercase().as_str() {
                    "yes" => HostKeyPolicy::Strict,
                    // `no` would also pass a changed key. Who means that says where not to keep keys, see below.
                    "accept-new" | "ask" | "no" | "off" => HostKeyPolicy::AcceptNew,
                    other => {
                        return Err(format!(
                            "StrictHostKeyChecking is yes, no, ask or accept-new, not {other}"
                        ));
                    }
                });
            }
            "userknownhostsfile" if value == "/dev/null" || value == "none" => self.forgetful = true,
            "globalknownhostsfile" if value == "/dev/null" || value == "none" => {}
            "proxyjump" if value == "none" => self.jumps = Some(Vec::new()),
            "proxyjump" => self.jumps = Some(value.split(',').map(hop).collect::<Result<_, _>>()?),
            "proxycommand" if value == "none" => self.jumps = Some(Vec::new()),
            "proxycommand" => self.jumps = Some(proxy(value, home)?),
            known if WITHOUT_EFFECT.contains(&known) => {}
            _ => self.ignored.push(format!("-o {key}={value}")),
        }
        Ok(())
    }
}

/// A jump host as `-J` takes it: `[user@]host[:port]`, or `ssh://[user@]host[:port]`.
fn hop(text: &str) -> Result<Hop, String> {
    let bare = text.trim().strip_prefix("ssh://").unwrap_or(text.trim()).trim_end_matches('/');
    let (user, address) = match bare.rsplit_once('@') {
        Some((user, address)) => (Some(user.to_owned()), address),
        None => (None, bare),
    };
    let (host, number) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon is an IPv6 address without brackets, and no port.
        None if address.matches(':').count() > 1 => (address, None),
        None => address.split_once(':').map_or((address, None), |(host, number)| (host, Some(number))),
    };
    if host.is_empty() || user.as_deref() == Some("") {
        return Err(format!("a jump host is [user@]host[:port], not {text:?}"));
    }
    Ok(Hop { host: host.to_owned(), user, port: number.map(port).transpose()?, ..Hop::default() })
}

/// The jump hosts of a `ProxyCommand` that runs ssh to forward to the machine, as kubespray's bastion settings have it.
fn proxy(command: &str, home: Option<&Path>) -> Result<Vec<Hop>, String> {
    let refused = || {
        format!(
            "ProxyCommand={command:?}: no programs are run to reach a machine; say -J [user@]host[:port] instead"
        )
    };
    let words =
        shlex::split(command).ok_or_else(|| format!("ProxyCommand={command:?}: a quote is not closed"))?;
    let (program, words) = words.split_first().ok_or_else(refused)?;
    if program.rsplit('/').next() != Some("ssh") {
        return Err(refused());
    }
    let arguments = Arguments::read(words, home)?;
    // Without -W the jump host's own netcat may do the forwarding.
    let netcat = matches!(arguments.words.get(1..), Some([nc, rest @ ..]) if nc.ends_with("nc") && rest.ends_with(&["%h".to_owned(), "%p".to_owned()]));
    let forwards = matches!(arguments.forward.as_deref(), Some("%h:%p" | "[%h]:%p"));
    let Some(word) = arguments.words.first().filter(|_| netcat || forwards) else { return Err(refused()) };
    let mut last = hop(word)?;
    last.user = arguments.user.or(last.user);
    last.port = arguments.port.or(last.port);
    last.identity_files = arguments.identity_files;
    last.host_key_policy = arguments.host_key_policy;
    let mut hops = arguments.jumps.unwrap_or_default();
    hops.push(last);
    Ok(hops)
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("a port is a number from 1 to 65535, not {text:?}"))
}

/// A path with `~` at its beginning replaced.
pub(super) fn expand(path: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    match (path.strip_prefix('~').map(|rest| rest.trim_start_matches('/')), home) {
        (None, _) => Ok(path.into()),
        (Some(_), Some(_)) if !matches!(path.as_bytes().get(1), None | Some(b'/')) => {
            Err(format!("{path}: give the whole path; other users' homes are not looked up"))
        }
        (Some(rest), Some(home)) => Ok(home.join(rest)),
        (Some(_), None) => Err(format!("{path}: give the whole path; there is no home directory here")),
    }
}

impl Hop {
    /// The jump host as a target, with what it does not say taken from the machine behind it: not the password.
    pub(super) fn target(self, behind: &Target) -> Target {
        let files =
            if self.identity_files.is_empty() { behind.identity_files.clone() } else { self.identity_files };
        Target {
            port: self.port.unwrap_or(super::DEFAULT_PORT),
            identity_files: files,
            identities_only: behind.identities_only,
            host_key_policy: self.host_key_policy,
            ..Target::new(self.host, self.user.unwrap_or_else(|| behind.user.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, String> {
        Arguments::read(&shlex::split(text).expect("closed quotes"), Some(Path::new("/home/me")))
    }

    fn jumps(text: &str) -> Vec<String> {
        let hops = read(text).unwrap_or_else(|error| panic!("{text}: {error}")).jumps.expect("jump hosts");
        hops.iter()
            .map(|hop| {
                format!(
                    "{}@{}:{} {:?}",
                    hop.user.as_deref().unwrap_or(""),
                    hop.host,
                    hop.port.unwrap_or(0),
                    hop.identity_files
                )
            })
            .collect()
    }

    #[test]
    fn options_are_read_however_they_are_written() {
        for text in [
            "-p 2222 -l admin -i ~/key -o IdentitiesOnly=yes",
            "-p2222 -ladmin -i/home/me/key -oIdentitiesOnly=yes",
            "-Cp 2222 -o 'User admin' -o IdentityFile=\"/home/me/key\" -o 'identitiesonly = yes'",
            "-4qvvo Port=2222 -o User=admin -o IdentityFile=~/key -o IdentitiesOnly=yes",
        ] {
            let arguments = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((arguments.port, arguments.user.as_deref()), (Some(2222), Some("admin")), "{text}");
            assert_eq!(arguments.identity_files, [Path::new("/home/me/key")], "{text}");
            assert!(arguments.identities_only && arguments.ignored.is_empty(), "{text}: {arguments:?}");
        }
    }

    #[test]
    fn what_changes_nothing_is_passed_over_and_what_is_not_honoured_is_told() {
        let arguments = read("-o ControlMaster=auto -o ControlPersist=60s -C -o ServerAliveInterval=5 -o BindInterface=eth1 -F my.conf").expect("fine");
        assert_eq!(arguments.ignored, ["-o BindInterface=eth1", "-F my.conf"]);
    }

    #[test]
    fn checks_are_off_only_where_nothing_is_to_be_kept_either() {
        let policy = |text| read(text).expect("fine").host_key_policy;
        assert_eq!(policy("-o StrictHostKeyChecking=no"), Some(HostKeyPolicy::AcceptNew));
        assert_eq!(
            policy("-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"),
            Some(HostKeyPolicy::Off)
        );
        assert_eq!(
            policy("-o StrictHostKeyChecking=yes -o UserKnownHostsFile=/dev/null"),
            Some(HostKeyPolicy::Strict)
        );
        assert_eq!(policy("-o UserKnownHostsFile=/dev/null"), None);
        assert!(read("-o StrictHostKeyChecking=maybe").is_err());
    }

    #[test]
    fn jump_hosts_are_found_in_all_their_forms() {
        assert_eq!(jumps("-J gate"), ["@gate:0 []"]);
        assert_eq!(jumps("-J me@gate:2222,ssh://inner:22/"), ["me@gate:2222 []", "@inner:22 []"]);
        assert_eq!(jumps("-o ProxyJump=me@[2001:db8::1]:2222"), ["me@2001:db8::1:2222 []"]);
        assert_eq!(jumps("-J 2001:db8::1"), ["@2001:db8::1:0 []"]);
        assert_eq!(jumps("-o ProxyJump=none"), Vec::<String>::new());
        assert_eq!(
            jumps(
                "-o ProxyCommand='ssh -F /dev/null -o StrictHostKeyChecking=no -W %h:%p -p 2222 me@gate -i ~/k'"
            ),
            ["me@gate:2222 [\"/home/me/k\"]"],
            "as kubespray writes it"
        );
        assert_eq!(jumps("-o 'ProxyCommand=/usr/bin/ssh -q -W [%h]:%p -l me gate'"), ["me@gate:0 []"]);
        assert_eq!(
            jumps("-o ProxyCommand=\"ssh -J outer me@gate -W %h:%p\""),
            ["@outer:0 []", "me@gate:0 []"]
        );
        assert_eq!(jumps("-o ProxyCommand='ssh gate nc -w 5 %h %p'"), ["@gate:0 []"]);
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for (text, said) in [
            ("-o ProxyCommand='nc -X 5 -x proxy:1080 %h %p'", "no programs are run"),
            ("-o ProxyCommand='ssh gate'", "no programs are run"),
            ("-p 70000", "a port is a number"),
            ("-p", "-p lacks its value"),
            ("-o Port", "-o Port lacks its value"),
            ("-J me@", "[user@]host[:port]"),
            ("-i ~other/key", "give the whole path"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
