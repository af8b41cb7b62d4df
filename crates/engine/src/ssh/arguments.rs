//! What users write in `ansible_ssh_common_args` and the like, and in ssh_config(5): of it that counts which says where and
//! how to log in. What only tunes a process of ssh (multiplexing, verbosity) is passed over; what we cannot honour is
//! handed back, to be told to the user. As with ssh(1), what is said first counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::target::{Agent, HostKeyPolicy};

/// What arguments of ssh, or its configuration, say about a machine.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) host_name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) certificate_files: Vec<PathBuf>,
    pub(super) identities_only: Option<bool>,
    pub(super) agent: Option<Agent>,
    pub(super) host_key_alias: Option<String>,
    pub(super) host_key_policy: Option<HostKeyPolicy>,
    /// Empty: no host key is to be kept.
    pub(super) user_known_hosts: Option<Vec<PathBuf>>,
    pub(super) global_known_hosts: Option<Vec<PathBuf>>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalive: Option<Duration>,
    pub(super) unanswered: Option<usize>,
    pub(super) proxy: Option<Proxy>,
    /// `-F`: the configuration to read instead of the usual files.
    pub(super) config_file: Option<PathBuf>,
    /// What is not honoured, as written.
    pub(super) ignored: Vec<String>,
    /// Words that are not options: in a `ProxyCommand` the jump host.
    pub(super) words: Vec<String>,
    /// `-W host:port`: forward standard input and output.
    pub(super) forward: Option<String>,
}

/// How to get to a machine, if not directly.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Proxy {
    /// Through these, the nearest to us first; directly if there are none.
    Jumps(Vec<Hop>),
    /// Through the standard input and output of this command, with its tokens.
    Program(String),
}

/// A jump host, as far as it was described.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hop {
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) host_key_policy: Option<HostKeyPolicy>,
    pub(super) config_file: Option<PathBuf>,
}

/// Options of ssh(1) that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
/// No file of configuration (ssh(1), `-F`).
pub(super) const NO_CONFIG: &str = "none";
/// Options of ssh_config(5) that are followed.
pub(super) const FOLLOWED: &[&str] = &[
    "certificatefile",
    "connecttimeout",
    "globalknownhostsfile",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];
/// Options of ssh_config(5) that change nothing about where and how we log in.
const WITHOUT_EFFECT: &[&str] = &[
    "addkeystoagent",
    "addressfamily",
    "batchmode",
    "checkhostip",
    "compression",
    "connectionattempts",
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
    "tcpkeepalive",
    "updatehostkeys",
    "verifyhostkeydns",
    "visualhostkey",
];

impl Arguments {
    /// Reads arguments, split into words already, after what was read before. `home` stands for `~`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn read(&mut self, words: &[String], home: Option<&Path>) -> Result<(), String> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(mut letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                self.words.push(word.clone());
                continue;
            };
            while let Some(letter) = letters.chars().next() {
                letters = &letters[letter.len_utf8()..];
                if WITH_VALUE.contains(letter) {
                    let value = match letters {
                        "" => words.next().ok_or_else(|| format!("-{letter} lacks its value"))?,
                        value => value,
                    };
                    self.option(letter, value, home)?;
                    break;
                }
            }
        }
        Ok(())
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
            'i' => return self.setting("IdentityFile", value, home),
            'l' => first(&mut self.user, value.to_owned()),
            'p' => first(&mut self.port, port(value)?),
            'W' => first(&mut self.forward, value.to_owned()),
            'F' if is_nothing(value) => first(&mut self.config_file, NO_CONFIG.into()),
            'F' => first(&mut self.config_file, expand(value, home)?),
            // Logging, ciphers, forwarding: nothing to log in with.
            _ => {}
        }
        Ok(())
    }

    /// Reads an option of ssh_config(5) as `-o` takes it, or as `ssh -G` prints it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn setting(&mut self, key: &str, value: &str, home: Option<&Path>) -> Result<(), String> {
        let paths = || -> Result<Vec<PathBuf>, String> {
            let named = value.split_ascii_whitespace().filter(|path| !is_nothing(path));
            named.map(|path| expand(path, home)).collect()
        };
        match key.to_ascii_lowercase().as_str() {
            "hostname" => first(&mut self.host_name, value.to_owned()),
            "user" => first(&mut self.user, value.to_owned()),
            "port" => first(&mut self.port, port(value)?),
            "identityfile" if is_nothing(value) => {}
            "identityfile" => self.identity_files.push(expand(value, home)?),
            "certificatefile" => self.certificate_files.push(expand(value, home)?),
            "identitiesonly" => first(&mut self.identities_only, value.eq_ignore_ascii_case("yes")),
            "identityagent" if value == "none" => first(&mut self.agent, Agent::Nobody),
            "identityagent" if value == "SSH_AUTH_SOCK" => first(&mut self.agent, Agent::Usual),
            "identityagent" if !value.starts_with('$') => {
                first(&mut self.agent, Agent::At(expand(value, home)?));
            }
            "hostkeyalias" => first(&mut self.host_key_alias, value.to_owned()),
            "stricthostkeychecking" => first(
                &mut self.host_key_policy,
                match value.to_ascii_lowercase().as_str() {
                    "yes" | "true" => HostKeyPolicy::Strict,
                    // `no` would also pass a changed key. Who means that says where not to keep keys, see `policy`.
                    "accept-new" | "ask" | "no" | "off" | "false" => HostKeyPolicy::AcceptNew,
                    other => {
                        return Err(format!(
                            "StrictHostKeyChecking is yes, no, ask or accept-new, not {other}"
                        ));
                    }
                },
            ),
            "userknownhostsfile" => first(&mut self.user_known_hosts, paths()?),
            "globalknownhostsfile" => first(&mut self.global_known_hosts, paths()?),
            "proxyjump" | "proxycommand" if value == "none" => {
                first(&mut self.proxy, Proxy::Jumps(Vec::new()));
            }
            "proxyjump" => {
                let hops = value
                    .split(',')
                    .map(|text| Ok::<_, String>(Hop { config_file: self.config_file.clone(), ..hop(text)? }));
                let hops = hops.collect::<Result<_, _>>()?;
                first(&mut self.proxy, Proxy::Jumps(hops));
            }
            "proxycommand" => first(&mut self.proxy, proxy(value, home)?),
            // Zero and `none` ask for no limit and no questions; ours stay.
            "connecttimeout" => self.connect_timeout = self.connect_timeout.or(seconds(value)),
            "serveraliveinterval" => self.keepalive = self.keepalive.or(seconds(value)),
            "serveralivecountmax" => {
                self.unanswered = self.unanswered.or(value.parse().ok().filter(|count| *count > 0));
            }
            known if WITHOUT_EFFECT.contains(&known) => {}
            _ => self.ignored.push(format!("-o {key}={value}")),
        }
        Ok(())
    }

    /// What to do about an unknown host key: nothing is checked where unknown ones are accepted and none is kept.
    pub(super) fn policy(&self) -> Option<HostKeyPolicy> {
        let forgetful = self.user_known_hosts.as_ref().is_some_and(Vec::is_empty);
        match self.host_key_policy {
            Some(HostKeyPolicy::AcceptNew) if forgetful => Some(HostKeyPolicy::Off),
            policy => policy,
        }
    }
}

/// What was said first counts.
fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// How ssh is told of no file at all.
fn is_nothing(path: &str) -> bool {
    matches!(path, "/dev/null" | "none")
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

/// What a `ProxyCommand` does. If it runs ssh to forward to the machine, as kubespray's bastion settings have it, we do that
/// ourselves: all machines then share one connection to the jump host.
fn proxy(command: &str, home: Option<&Path>) -> Result<Proxy, String> {
    let program = || Ok(Proxy::Program(command.to_owned()));
    let words =
        shlex::split(command).ok_or_else(|| format!("ProxyCommand={command:?}: a quote is not closed"))?;
    let Some((name, words)) = words.split_first() else {
        return Err("ProxyCommand lacks its value".to_owned());
    };
    if name.rsplit('/').next() != Some("ssh") {
        return program();
    }
    let mut arguments = Arguments::default();
    arguments.read(words, home)?;
    // Without -W the jump host's own netcat may do the forwarding.
    let netcat = matches!(arguments.words.get(1..), Some([nc, rest @ ..]) if nc.ends_with("nc") && rest.ends_with(&["%h".to_owned(), "%p".to_owned()]));
    let forwards = matches!(arguments.forward.as_deref(), Some("%h:%p" | "[%h]:%p"));
    let Some(word) = arguments.words.first().filter(|_| netcat || forwards) else { return program() };
    let mut hops = match arguments.proxy.take() {
        Some(Proxy::Program(_)) => return program(),
        Some(Proxy::Jumps(hops)) => hops,
        None => Vec::new(),
    };
    let mut last = hop(word)?;
    last.host_key_policy = arguments.policy();
    last.user = arguments.user.or(last.user);
    last.port = arguments.port.or(last.port);
    last.identity_files = arguments.identity_files;
    last.config_file = arguments.config_file;
    hops.push(last);
    Ok(Proxy::Jumps(hops))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        arguments.read(&shlex::split(text).expect("closed quotes"), Some(Path::new("/home/me")))?;
        Ok(arguments)
    }

    fn jumps(text: &str) -> Vec<String> {
        let proxy = read(text).unwrap_or_else(|error| panic!("{text}: {error}")).proxy;
        let Some(Proxy::Jumps(hops)) = proxy else { panic!("{text}: {proxy:?}") };
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
            assert!(
                arguments.identities_only == Some(true) && arguments.ignored.is_empty(),
                "{text}: {arguments:?}"
            );
        }
    }

    #[test]
    fn what_changes_nothing_is_passed_over_and_what_is_not_honoured_is_told() {
        let arguments = read(
            "-o ControlMaster=auto -o ControlPersist=60s -C -o BindInterface=eth1 -o IdentityAgent='$SOCK'",
        )
        .expect("fine");
        assert_eq!(arguments.ignored, ["-o BindInterface=eth1", "-o IdentityAgent=$SOCK"]);
    }

    #[test]
    fn checks_are_off_only_where_nothing_is_to_be_kept_either() {
        let policy = |text| read(text).expect("fine").policy();
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
    fn other_programs_on_the_way_are_run_as_they_are() {
        for command in [
            "nc -X 5 -x proxy:1080 %h %p",
            "cloudflared access ssh --hostname %h",
            "ssh gate connect-to %h",
            "ssh -o ProxyCommand='corkscrew p 80 %h %p' -W %h:%p gate",
        ] {
            let arguments = read(&format!("-o \"ProxyCommand={command}\"")).expect("fine");
            assert_eq!(arguments.proxy, Some(Proxy::Program(command.to_owned())));
        }
    }

    #[test]
    fn what_is_said_first_counts_and_keys_add_up() {
        let arguments = read(
            "-p 1 -l one -i /a -o ProxyJump=none -o Port=2 -o User=two -o IdentityFile=/b -J gate \
             -o UserKnownHostsFile='~/k1 /k2' -o ConnectTimeout=7 -o ConnectTimeout=8 -o IdentityAgent=none",
        )
        .expect("fine");
        assert_eq!((arguments.port, arguments.user.as_deref()), (Some(1), Some("one")));
        assert_eq!(arguments.identity_files, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(arguments.proxy, Some(Proxy::Jumps(Vec::new())));
        assert_eq!(arguments.user_known_hosts, Some(vec!["/home/me/k1".into(), "/k2".into()]));
        assert_eq!(arguments.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(arguments.agent, Some(Agent::Nobody));
    }

    #[test]
    fn every_option_that_is_listed_as_followed_is() {
        for key in FOLLOWED {
            let mut arguments = Arguments::default();
            let untouched = format!("{arguments:?}");
            arguments.setting(key, "1", None).or_else(|_| arguments.setting(key, "yes", None)).expect(key);
            assert_ne!(format!("{arguments:?}"), untouched, "{key}");
            assert!(arguments.ignored.is_empty(), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        for (text, said) in [
            ("-o \"ProxyCommand=ssh -W %h:%p 'gate\"", "a quote is not closed"),
            ("-o ProxyCommand=", "ProxyCommand lacks its value"),
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
