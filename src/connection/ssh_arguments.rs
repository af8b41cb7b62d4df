//! Arguments for OpenSSH's ssh, as inventories hold them (`ansible_ssh_common_args`): what of them has a meaning here.

use muster_engine::ssh::{HostKeyPolicy, Target};

use crate::environment::Environment;

/// Options of ssh_config(5) that say how ssh itself works, and so mean nothing here, and need not.
const WITHOUT_MEANING: [&str; 18] = [
    "batchmode",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "gssapiauthentication",
    "kbdinteractiveauthentication",
    "loglevel",
    "passwordauthentication",
    "preferredauthentications",
    "pubkeyauthentication",
    "serveralivecountmax",
    "serveraliveinterval",
    "tcpkeepalive",
    "userknownhostsfile",
];

/// Applies the arguments to a target. Returns those that mean nothing here and might be missed.
///
/// # Errors
/// An argument has no value, or one that makes no sense, in words.
pub(super) fn apply(
    target: &mut Target,
    text: &str,
    environment: &Environment,
) -> Result<Vec<String>, String> {
    let words = shlex::split(text).ok_or("a quote is not closed")?;
    let mut ignored = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let flag = word.get(..2).unwrap_or_default().to_owned();
        // `-p22` is the same as `-p 22` (getopt(3)).
        let mut value = || match &word[2..] {
            "" => words.next().ok_or_else(|| format!("{flag} has no value")),
            attached => Ok(attached.to_owned()),
        };
        match flag.as_str() {
            "-o" => {
                let option = value()?;
                let (key, value) =
                    option.split_once('=').or_else(|| option.split_once(' ')).unwrap_or((&option, ""));
                if !option_of_config(target, key.trim(), value.trim(), environment)? {
                    ignored.push(format!("-o {option}"));
                }
            }
            "-J" => target.jumps = jumps(&value()?, environment)?,
            "-i" => target.identity_files.push(environment.expand_home(&value()?)),
            "-p" => target.port = port(&value()?)?,
            "-l" => target.user = value()?,
            "-C" | "-q" | "-T" | "-x" | "-a" | "-A" | "-4" | "-6" | "-v" => {}
            "-F" => ignored.push(format!("-F {}", value()?)),
            _ => ignored.push(word),
        }
    }
    Ok(ignored)
}

/// Applies an option of ssh_config(5). False when it is not known here.
fn option_of_config(
    target: &mut Target,
    key: &str,
    value: &str,
    environment: &Environment,
) -> Result<bool, String> {
    match key.to_ascii_lowercase().as_str() {
        "proxyjump" => target.jumps = jumps(value, environment)?,
        "proxycommand" => match jump_of_command(value, environment)? {
            Some(jump) => target.jumps = vec![jump],
            None if value == "none" => target.jumps.clear(),
            None => {
                return Err(format!("ProxyCommand={value} is not understood; use ProxyJump=USER@HOST:PORT"));
            }
        },
        "stricthostkeychecking" => {
            target.host_key_policy = Some(match value.to_ascii_lowercase().as_str() {
                "yes" | "ask" => HostKeyPolicy::Strict,
                "accept-new" => HostKeyPolicy::AcceptNew,
                "no" | "off" => HostKeyPolicy::Off,
                _ => return Err(format!("StrictHostKeyChecking={value}: it is yes, accept-new or no")),
            });
        }
        "hostkeyalias" => target.host_key_alias = Some(value.to_owned()),
        "identityfile" => target.identity_files.push(environment.expand_home(value)),
        "identitiesonly" => target.identities_only = value.eq_ignore_ascii_case("yes"),
        "port" => target.port = port(value)?,
        "user" => target.user = value.to_owned(),
        known if WITHOUT_MEANING.contains(&known) => {}
        _ => return Ok(false),
    }
    Ok(true)
}

/// `user@host:port,...`, the nearest first (ssh_config(5), ProxyJump).
fn jumps(text: &str, environment: &Environment) -> Result<Vec<Target>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    text.split(',').map(|jump| one_jump(jump.trim().trim_start_matches("ssh://"), environment)).collect()
}

fn one_jump(text: &str, environment: &Environment) -> Result<Target, String> {
    let (user, place) =
        text.rsplit_once('@').map_or((environment.user(), text), |(user, place)| (user, place));
    let (host, port_text) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon without brackets is an IPv6 address.
        None if place.matches(':').count() == 1 => {
            place.split_once(':').map_or((place, None), |(h, p)| (h, Some(p)))
        }
        None => (place, None),
    };
    if host.is_empty() || user.is_empty() {
        return Err(format!("{text:?} is no jump host: it is USER@HOST:PORT"));
    }
    let mut target = Target::new(host, user);
    if let Some(text) = port_text {
        target.port = port(text)?;
    }
    Ok(target)
}

/// `ssh -W %h:%p -q -p 2222 -i KEY user@gate`, the form that came before ProxyJump and that kubespray writes. `None` for
/// anything else.
fn jump_of_command(command: &str, environment: &Environment) -> Result<Option<Target>, String> {
    let Some(words) = shlex::split(command) else { return Ok(None) };
    let is_ssh = words.first().is_some_and(|word| word == "ssh" || word.ends_with("/ssh"));
    if !is_ssh || !words.iter().any(|word| word.contains("%h:%p")) {
        return Ok(None);
    }
    let mut rest = Vec::new();
    let mut host = None;
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-W" => drop(words.next()),
            "-o" | "-p" | "-i" | "-l" | "-F" | "-J" => rest.extend([word, words.next().unwrap_or_default()]),
            _ if word.starts_with("-W") => {}
            _ if word.starts_with('-') => rest.push(word),
            _ => host = Some(word),
        }
    }
    let Some(host) = host else { return Ok(None) };
    let mut jump = one_jump(&host, environment)?;
    let arguments = shlex::try_join(rest.iter().map(String::as_str)).map_err(|error| error.to_string())?;
    apply(&mut jump, &arguments, environment)?;
    Ok(Some(jump))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{text:?} is no port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str) -> Result<(Target, Vec<String>), String> {
        let mut target = Target::new("node1", "root");
        let ignored = apply(&mut target, text, &Environment::with(&[("USER", "teacher")]))?;
        Ok((target, ignored))
    }

    #[track_caller]
    fn check_jumps(text: &str, expected: &[&str]) {
        let (target, ignored) = applied(text).unwrap();
        let jumps: Vec<String> =
            target.jumps.iter().map(|jump| format!("{}@{}", jump.user, jump.address())).collect();
        assert_eq!(jumps, expected, "{text}");
        assert_eq!(ignored, Vec::<String>::new(), "{text}");
    }

    #[test]
    fn every_way_to_name_a_jump_host_is_understood() {
        check_jumps("-J gate", &["teacher@gate:22"]);
        check_jumps(
            "-o ProxyJump=me@gate:2222,you@[2001:db8::1]:22",
            &["me@gate:2222", "you@[2001:db8::1]:22"],
        );
        check_jumps("-o ProxyJump=2001:db8::1", &["teacher@[2001:db8::1]:22"]);
        check_jumps(
            r#"-o ProxyCommand="ssh -W %h:%p -q -p 2222 ubuntu@10.0.0.1""#,
            &["ubuntu@10.0.0.1:2222"],
        );
        check_jumps(
            r#"-o ProxyCommand='ssh -F /dev/null -o StrictHostKeyChecking=no -W %h:%p -l me gate' -o ControlPersist=30m"#,
            &["me@gate:22"],
        );
        check_jumps("-o ProxyJump=none", &[]);
    }

    #[test]
    fn other_options_are_applied_and_unknown_ones_told() {
        let (target, ignored) =
            applied("-C -p2222 -i ~/k -o StrictHostKeyChecking=no -oIdentitiesOnly=yes -o Tunnel=yes -N")
                .unwrap();
        assert_eq!(target.port, 2222);
        assert_eq!(target.identity_files, [std::path::PathBuf::from("/home/someone/k")]);
        assert_eq!(target.host_key_policy, Some(HostKeyPolicy::Off));
        assert!(target.identities_only);
        assert_eq!(ignored, ["-o Tunnel=yes", "-N"]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert_eq!(applied("-o 'x").unwrap_err(), "a quote is not closed");
        assert_eq!(applied("-p").unwrap_err(), "-p has no value");
        assert_eq!(applied("-p 0").unwrap_err(), "\"0\" is no port");
        assert!(applied("-o ProxyCommand='nc %h %p'").unwrap_err().contains("ProxyJump"));
    }
}
